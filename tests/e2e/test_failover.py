"""A primary that is gone: what its log still holds is applied, and a promoted standby is nobody's copy any more."""

import pytest

from support.acknowledged import Acknowledged
from support.cdc import ApiError, scope
from support.node import Node, simple_rows
from support.oracle import count, rows, wait_same_rows
from support.runbook import follow_runbook
from support.waiting import wait_until


def _keys(node, name: str) -> list[int]:
    return sorted(key for key, _ in rows(node, name))


@pytest.mark.every_log
@pytest.mark.identified_log
def test_a_backlog_is_applied_while_the_source_is_away(cdc, source, target, name):
    """The server starts while the source is dead and its log can be read: the rows of known collections arrive. What
    came meanwhile and nobody knows joins when the source is back."""
    made, late = source.create(name, shards=2), f"{name}_late"
    task = cdc.create(target, scope(name, late))
    made.insert(simple_rows(range(50)))
    wait_same_rows(source, target, name, expect=50)
    cdc.kill9()
    made.insert(simple_rows(range(50, 300)))
    made.delete("id in [3, 60]")
    source.create(late).insert(simple_rows(range(10)))
    # A strong read waits until the source's ticks are beyond all that was written.
    count(source, late)
    count(source, name)
    source.disconnect()
    source.server.kill()
    cdc.start()
    acknowledged = sorted(set(range(300)) - {3, 60})
    wait_until(lambda: _keys(target, name) == acknowledged, 60, "the rows of the log")
    assert not target.has(late)
    task.wait_reason("the source does not answer", "what its log still holds is applied", phase="Retrying")
    source.server.start()
    wait_same_rows(source, target, late, expect=10, timeout=90)
    wait_same_rows(source, target, name, expect=298)
    assert count(target, name) == 298


def _failover(cdc, task, **how) -> dict:
    """Asks for it and waits for its end."""
    cdc.ask("failover", task_id=task.id, **how)
    over = lambda: cdc.ask("failover", task_id=task.id, action="status")

    def is_over():
        answer = over()
        assert answer["state"] == "failed_over", answer
        return answer

    return wait_until(is_over, 60, "the failover")


def _assert_untouched(cdc, source, target, name, task, report) -> None:
    """The old primary is back and writes: nothing of that comes to the standby, which has newer rows."""
    source.server.start()
    wait_until(lambda: cdc.ask("pair", task_id=task.id)["sites"][0]["answers"], 90, "the old primary")
    newer = [[1, 2], [[9.0] * 8] * 2]
    target.collection(name).upsert(newer)
    before = rows(target, name)
    source.collection(name).upsert([[1, 2, 900_001], [[5.0] * 8] * 3])
    source.collection(name).release()
    cdc.restart()
    # Whoever follows the source has all of that: another task shows that it is followed again.
    control = f"{name}_control"
    source.create(control).insert(simple_rows(range(5)))
    cdc.create(target, scope(control))
    wait_same_rows(source, target, control, expect=5, timeout=90)
    assert rows(target, name) == before and target.is_loaded(name)
    with pytest.raises(ApiError, match="nothing of its source is applied any more"):
        task.resume()
    assert _failover(cdc, task, force=True)["report"] == report


@pytest.mark.every_log
@pytest.mark.identified_log
def test_a_primary_that_is_killed_under_load(cdc, source, target, name):
    """Its log outlives it: every acknowledged row is on the standby, those behind the last tick, too. The runbook is
    followed as it is written, the command is given again, with restarts between, and the old primary comes back."""
    source.create(name, shards=2)
    task = cdc.create(target, scope(name), task_id="standby")
    wait_same_rows(source, target, name, expect=0)
    with Acknowledged(source, name) as load:
        load.go_on(200)
        with pytest.raises(ApiError, match="answers: a failover is for a primary that is gone"):
            cdc.ask("failover", task_id=task.id)
        assert cdc.ask("failover", task_id=task.id, dry_run=True)["possible"] is False
        load.go_on(200)
        source.disconnect()
        source.server.kill()
    said = follow_runbook(cdc, "Lost primary")
    assert "primary" in said[-1] and "failed over: everything that the source acknowledged" in said[2], said
    answer = _failover(cdc, task)
    report = answer["report"]
    assert report["log_read_to_end"] and report["incomplete"] == [] and report["unknown_collections"] == 0, report
    assert load.keys.keys() <= set(_keys(target, name)), report
    assert len(_keys(target, name)) == count(target, name), "none is doubled"
    assert "everything that the source acknowledged is on the target" in report["sentence"]
    assert report["sentence"] in task.get()["reason"] and task.get()["role"]["state"] == "failed_over"
    for _ in range(2):
        assert _failover(cdc, task) == answer
        cdc.restart()
    _assert_untouched(cdc, source, target, name, task, report)


def test_a_primary_that_is_lost_with_its_log(make_cdc, own_source, target, name):
    """Nothing is left of it but what had come across. The report bounds what may be missing, and a failover that does
    not insist waits for the log instead."""
    cdc = make_cdc(own_source).start()
    own_source.create(name, shards=2)
    task = cdc.create(target, scope(name))
    wait_same_rows(own_source, target, name, expect=0)
    with Acknowledged(own_source, name) as load:
        load.go_on(200)
        crossed = max(load.keys.values())
        wait_until(lambda: task.acknowledged_ms() > crossed, 30, "rows that have come across")
        cdc.terminate()
        load.go_on(200)
        own_source.disconnect()
        own_source.server.kill()
    gone = own_source.server.data.with_name("gone")
    own_source.server.data.rename(gone)
    cdc.start()
    cdc.ask("failover", task_id=task.id)
    waits = lambda: cdc.ask("failover", task_id=task.id, action="status")["waiting_for"] or ""
    wait_until(lambda: "`force` goes on without what its log may still hold" in waits(), 60, "what is waited for")
    cdc.ask("failover", task_id=task.id, action="cancel")
    assert task.get()["role"]["state"] == "forward"
    report = _failover(cdc, task, force=True)["report"]
    found = set(_keys(target, name))
    certain = load.before(report["acknowledged_ms"])
    assert certain and certain <= found, report
    missing = load.keys.keys() - found
    assert missing and not report["log_read_to_end"], report
    assert "may be missing" in report["sentence"] and "nothing was heard of it after that" in report["sentence"]
    assert min(load.keys[key] for key in missing) >= report["acknowledged_ms"]
    gone.rename(own_source.server.data)
    own_source.server.start()
    cdc.restart()
    wait_until(lambda: cdc.ask("pair", task_id=task.id)["sites"][0]["answers"], 90, "the old primary")
    assert set(_keys(target, name)) == found
