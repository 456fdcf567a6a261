"""The sites of a task change places while both are well: no acknowledged row is missing, and nothing is copied."""

import os

import pytest

from support.acknowledged import Acknowledged
from support.cdc import ApiError, Task, scope
from support.node import simple_rows
from support.oracle import rows, wait_same_rows
from support.runbook import command, follow_runbook
from support.waiting import wait_until
from test_check import problems
from test_opposite import _sent

pytestmark = pytest.mark.every_log

# Some more than there and back; twenty, by hand: MILVUS_CDC_SWITCHOVERS=20.
SWITCHOVERS = int(os.environ.get("MILVUS_CDC_SWITCHOVERS", "4"))


@pytest.fixture
def site(make_cdc, source, target):
    """A server that knows the target as its peer `east`."""
    east = {"milvus": {"uri": target.uri}, **target.log.config()}
    return make_cdc(source, peers={"east": east}).start()


@pytest.fixture
def standby(site, source, target, name):
    source.create(name, shards=2).insert(simple_rows(range(20)))
    task = site.create(target, scope(name), task_id="standby")
    wait_same_rows(source, target, name, expect=20)
    task.wait_caught_up()
    return task


def _status(site, task_id: str) -> dict:
    return site.ask("switchover", task_id=task_id, action="status")


def _await_step(site, task_id: str, step: str) -> dict:
    """Waits until a switchover has come to this step, or is behind it."""
    steps = ["opening", "draining", "comparing", "done"]

    def come():
        answer = _status(site, task_id)
        assert answer["ended"] is None, answer
        now = answer["step"] if answer["state"] == "switching" else "done"
        return answer if steps.index(now) >= steps.index(step) else None

    return wait_until(come, 90, f"the switchover to be {step}")


def _killed_at(site, task_id: str, step: str, kill_at: str | None) -> None:
    _await_step(site, task_id, step)
    if step == kill_at:
        site.kill9()
        site.start()


def _keys(node, name: str) -> set[int]:
    return {key for key, _ in rows(node, name)}


@pytest.mark.slow
def test_every_acknowledged_row_is_on_both_sides_after_switchovers_with_a_writer_that_moves(
    site, standby, source, target, name
):
    """There and back again, each with a `kill -9` of the server at another step."""
    primary, other, task = source, target, "standby"
    with Acknowledged(source, name, first_key=1000) as writer:
        for turn in range(SWITCHOVERS):
            writer.go_on(40)
            site.ask("switchover", task_id=task, quiet_s=2)
            kill_at = ["opening", "draining", "comparing", None][turn % 4]
            _killed_at(site, task, "opening", kill_at)
            _killed_at(site, task, "draining", kill_at)
            writer.move(other)
            moved_to = len(writer.keys)
            _killed_at(site, task, "comparing", kill_at)
            done = _await_step(site, task, "done")
            assert done["state"] == "reversed" and done["report"]["compared"] >= moved_to, done
            primary, other, task = other, primary, done["by"]
            assert task == ("standby-reverse" if turn % 2 == 0 else "standby")
        writer.go_on(40)
    wait_same_rows(source, target, name)
    assert set(writer.keys) | set(range(20)) <= _keys(other, name)


@pytest.mark.slow
def test_servers_that_die_in_the_middle(site, standby, source, target, name):
    """A `kill -9` of the primary of the moment, twice, and of the standby, while both directions are open."""
    other, task = target, "standby"
    with Acknowledged(source, name, first_key=1000) as writer:
        for victim in (source, target, target):
            writer.go_on(40)
            # Clients that come back after a crash must not find the sites changed: a long time, until they have moved.
            site.ask("switchover", task_id=task, quiet_s=600)
            _await_step(site, task, "draining")
            victim.server.kill()
            victim.server.start()
            victim.wait_loaded(name)
            writer.go_on(40)
            writer.move(other)
            site.ask("switchover", task_id=task, quiet_s=2)
            task = _await_step(site, task, "done")["by"]
            other = source if other is target else target
        writer.go_on(40)
    wait_same_rows(source, target, name)
    assert set(writer.keys) | set(range(20)) <= _keys(source, name)


def test_nothing_is_copied_and_the_report_says_what_is_certain(site, standby, source, target, name):
    site.ask("switchover", task_id="standby", quiet_s=1, verify="rows")
    done = _await_step(site, "standby", "done")
    report = done["report"]
    assert done["by"] == "standby-reverse" and (report["verify"], report["compared"]) == ("rows", 20), done
    assert "20 rows were compared, and both sides are equal" in report["sentence"]
    site.kill9()
    site.start()
    back = Task(site, "standby-reverse")
    target.collection(name).upsert(simple_rows(range(5), mark=2.0))
    target.collection(name).delete("id in [7]")
    wait_same_rows(source, target, name, expect=19)
    back.wait_caught_up()
    # Five upserts, each as a delete and an insert at most, and a delete; none of the 20 rows before.
    assert _sent(back) <= 11
    sites = site.ask("pair", task_id="standby")["sites"]
    assert [one["role"] for one in sites] == ["standby", "primary"]
    # The old primary is the standby: what somebody writes there comes to nobody.
    source.collection(name).insert(simple_rows([500]))
    target.collection(name).insert(simple_rows([501]))
    wait_until(lambda: {500, 501} <= _keys(source, name), 60, "rows at the old primary")
    assert 500 not in _keys(target, name)
    for request in ("pause", "resume"):
        with pytest.raises(ApiError, match="have changed places: .* by the task standby-reverse"):
            site.ask(request, task_id="standby")


def test_sites_that_differ_keep_their_places(site, standby, source, target, name):
    """A row that somebody has taken from the standby; what is repaired is switched over."""
    target.collection(name).delete("id in [3]")
    wait_until(lambda: 3 not in _keys(target, name), 60, "the row to be gone")
    code, said = command(site, "milvus-cdc switchover standby --quiet 1 --verify keys")
    assert code == 1 and "not switched over: the sites keep their places: both sides differ in" in said, said
    assert "by the task standby-reverse: delete that task to close it" in said, said
    assert _status(site, "standby")["state"] == "forward"
    code, said = command(site, "milvus-cdc repair standby")
    assert code == 0, said
    code, said = command(site, "milvus-cdc switchover standby --quiet 1")
    assert code == 0 and "switched over to the task standby-reverse: everything" in said, said
    wait_same_rows(source, target, name, expect=20)


def test_a_switchover_is_given_up(site, standby, source, target, name):
    """While somebody goes on writing to the source; then both directions are open."""
    with Acknowledged(source, name, first_key=1000) as writer:
        site.ask("switchover", task_id="standby", quiet_s=3600)
        _await_step(site, "standby", "draining")
        writer.go_on(40)
        moving = lambda: "move the clients to the target" in (_status(site, "standby")["waiting_for"] or "")
        wait_until(moving, 60, "the switchover to wait for the clients")
        for refused in ("pause", "failover"):
            with pytest.raises(ApiError, match="a switchover of the task is under way"):
                site.ask(refused, task_id="standby", **({"force": True} if refused == "failover" else {}))
        code, said = command(site, "milvus-cdc switchover standby --cancel")
        assert code == 0 and "it was given up" in said, said
    with pytest.raises(ApiError, match="no switchover of the task is under way"):
        site.ask("switchover", task_id="standby", action="cancel")
    target.collection(name).insert(simple_rows([700]))
    wait_same_rows(source, target, name)
    assert site.ask("pair", task_id="standby")["direction"] == "forward"


def test_the_runbook_of_a_planned_move(site, standby, source, target, name):
    said = follow_runbook(site, "Planned move")
    assert "would begin" in said[1] and "switched over to the task standby-reverse" in said[2], said
    assert "both sides are equal" in said[-1], said


def test_what_a_recovery_needs_is_checked_beforehand(site, make_cdc, source, target, name):
    """Of a task that exists, with the target among the peers and without."""
    source.create(name, shards=2).insert(simple_rows(range(5)))
    task = site.create(target, scope(name), task_id="standby")
    wait_same_rows(source, target, name, expect=5)
    task.wait_caught_up()
    report = site.ask("check", task_id="standby", dr=True)
    kinds = ("way back", "clocks", "task")
    about = {kind: [one for one in report["findings"] if one["about"] == kind] for kind in kinds}
    assert problems(report) == [] and about["task"][0]["level"] == "good", report
    assert [one["level"] for one in about["clocks"]] == ["good"], report
    back = {one["text"].split(":")[0]: one for one in about["way back"]}
    assert {"source", "target", "log", "retention", "marks"} <= set(back), back
    assert all(one["level"] == "good" for what, one in back.items() if what != "retention"), back
    alone = make_cdc(source).start()
    report = alone.ask("check", milvus_connect_param={"uri": target.uri}, dr=True, **scope(name))
    told = [one for one in report["findings"] if one["about"] == "way back"]
    assert report["ok"] and len(told) == 1 and told[0]["level"] == "warning", report
    assert "is not among the `peers`" in told[0]["text"] and "`peers`" in told[0]["remedy"], told


def test_a_switchover_needs_both_sites(make_cdc, source, target, name):
    cdc = make_cdc(source).start()
    source.create(name).insert(simple_rows([1]))
    task = cdc.create(target, scope(name), task_id="standby")
    wait_same_rows(source, target, name, expect=1)
    task.wait_caught_up()
    code, said = command(cdc, "milvus-cdc switchover standby --dry-run")
    assert code == 1 and "is not among the `peers` of the configuration" in said, said
    with pytest.raises(ApiError, match="the sites cannot change places now: .* is not among the `peers`"):
        cdc.ask("switchover", task_id="standby")
