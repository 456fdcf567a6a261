"""A primary that was given up is back: what it has written that never got across is listed, exported, merged or
discarded, and nothing of it happens unasked."""

import json
import subprocess
import sys

import install
import pytest

from support.cdc import ApiError, scope
from support.node import Node, simple_rows
from support.oracle import count, rows, wait_same_rows
from support.runbook import command, follow_runbook
from support.waiting import wait_until


def _upsert(node, name: str, keys, mark: float) -> None:
    written = simple_rows(keys, mark=mark)
    node.collection(name).upsert([[row["id"] for row in written], [row["vec"] for row in written]])


def _marks(node, name: str) -> dict[int, float]:
    """By key what tells whose row it is."""
    return {key: row["vec"][1] for (key, _), row in rows(node, name).items()}


def _ended(cdc, **how) -> dict:
    """Asks for a failback and waits for its end."""
    cdc.ask("failback", task_id="standby", **how)

    def ended():
        answer = cdc.ask("failback", task_id="standby", action="status")
        assert answer["state"] == "failed_over", answer
        return answer["lost_writes"]

    return wait_until(ended, 60, "the failback")


def _lose_the_primary(cdc, source, target, name) -> None:
    """The primary goes on without the server and dies, with its log, and the standby takes over."""
    made = source.create(name, shards=2)
    made.insert(simple_rows(range(20)))
    cdc.create(target, scope(name), task_id="standby")
    wait_same_rows(source, target, name, expect=20)
    cdc.terminate()
    made.insert(simple_rows(range(100, 400), mark=1))
    _upsert(source, name, [5, 6, 7], mark=1)
    made.delete("id in [9, 350]")
    count(source, name)
    source.disconnect()
    source.server.kill()
    gone = source.server.data.with_name("gone")
    source.server.data.rename(gone)
    cdc.start()
    cdc.ask("failover", task_id="standby", force=True)
    is_over = lambda: cdc.ask("failover", task_id="standby", action="status")["state"] == "failed_over"
    wait_until(is_over, 60, "the failover")
    _upsert(target, name, [6, 100, 101, 102, 103, 104], mark=2)
    gone.rename(source.server.data)


def _assert_listed(found: dict, name: str) -> None:
    counts = found["collections"][0]
    expected = {"collection": f"default.{name}", "target": f"default.{name}", "puts": 302, "deletes": 1}
    # 350 came and went; the standby has rows of its own for five new keys, and three others that were there before.
    assert counts == {**expected, "mergeable": 294, "undecided": 9, "same": 1}, found
    assert found["primary"] == "same" and found["unlisted"] is None and found["unknown"] == [], found
    assert "writes of 303 keys never got across (302 rows and 1 deletes" in found["sentence"], found
    assert found["would"]["merge"]["writes"] == 294 and not found["would"]["ask"]["possible"], found


def _take_by_hand(cdc, target, name, keys: set[int]) -> None:
    """Applies lines of the export as the documentation says."""
    lines = [json.loads(line) for line in (cdc.folder / "lost.jsonl").read_text().splitlines()]
    assert len(lines) == 303 and (cdc.folder / "lost.jsonl").stat().st_mode & 0o777 == 0o600
    assert {line["merge"] for line in lines if int(line["key"]) in keys} == {"undecided"}
    some = cdc.folder / "some.jsonl"
    some.write_text("".join(f"{json.dumps(line)}\n" for line in lines if int(line["key"]) in keys))
    script = install.REPOSITORY / "examples" / "apply_refused_rows.py"
    subprocess.run([sys.executable, str(script), str(some), target.uri], check=True, timeout=60)


def test_an_old_primary_with_writes_that_never_got_across(make_cdc, own_source, target, name):
    """Its log was gone when the standby took over, and is back. The runbook is followed as it is written, with a
    `kill -9` of the server in between, and every command is given twice."""
    source, cdc = own_source, make_cdc(own_source).start()
    _lose_the_primary(cdc, source, target, name)
    cdc.ask("failback", task_id="standby", action="list")
    waits = lambda: cdc.ask("failback", task_id="standby", action="status").get("waiting_for") or ""
    wait_until(lambda: "the old primary does not answer" in waits(), 30, "what is waited for")
    cdc.kill9()
    source.server.start()
    cdc.start()
    # Nobody asks again: it goes on where it was.
    listed = lambda: cdc.ask("failback", task_id="standby", action="status")["lost_writes"]
    _assert_listed(wait_until(lambda: listed() or False, 90, "the list"), name)
    before = _marks(target, name)
    code, said = command(cdc, "milvus-cdc failback standby")
    assert code == 1 and "`merge` writes 294 keys to the target and leaves 9" in said, said
    assert _marks(target, name) == before, "it has asked, and done nothing"
    said = follow_runbook(cdc, "The old primary returns")
    assert "294 lost writes were merged" in said[-1], said
    kept = {key: 2 for key in [6, 100, 101, 102, 103, 104]}
    merged = {**{key: 0 for key in range(20)}, **{key: 1 for key in range(105, 400) if key != 350}, **kept}
    assert _marks(target, name) == merged and count(target, name) == len(merged), "none is doubled"
    _take_by_hand(cdc, target, name, {5, 9})
    del merged[9]
    merged[5] = 1
    assert _marks(target, name) == merged
    again = _ended(cdc, lost_writes="merge")
    assert again["outcome"]["is"] == "settled" and again["keys"] == 7 and again["mergeable"] == 0, again
    _discard(cdc, source, target, name, merged)
    _empty(cdc, source, target, name)


def _discard(cdc, source, target, name, standing: dict[int, float]) -> None:
    """Writes that the old primary takes by now stay there alone."""
    source.collection(name).insert(simple_rows(range(500, 510), mark=1))
    for _ in range(2):
        code, said = command(cdc, "milvus-cdc failback standby --lost-writes discard")
        assert code == 0 and "lost writes of 17 keys are discarded" in said, said
        cdc.kill9()
        cdc.start()
    assert cdc.ask("failback", task_id="standby", action="status")["lost_writes"]["outcome"]["is"] == "settled"
    assert _marks(target, name) == standing


def _empty(cdc, source, target, name) -> None:
    """It is the same server and has nothing any more: that is no reason to take anything from the standby."""
    source.collection(name).drop()
    found = _ended(cdc, lost_writes="discard")
    assert found["primary"] == "emptied" and found["outcome"]["is"] == "refused", found
    assert "has none of the task's collections any more; `rebuild`" in found["outcome"]["sentence"], found
    assert target.has(name)
    with pytest.raises(ApiError, match="no failback of the task is under way"):
        cdc.ask("failback", task_id="standby", action="cancel")


def _is_reversed(cdc) -> dict:
    answer = cdc.ask("failback", task_id="standby", action="status")
    assert answer["state"] == "reversed", answer
    return answer


def test_an_old_primary_becomes_the_standby(make_cdc, source, target, name):
    """Discarded: a comparison gives each key the new primary's row, and what clients write there follows. The commands
    are given twice, with a `kill -9` of the server in between."""
    east = {"milvus": {"uri": target.uri}, **target.log.config()}
    cdc = make_cdc(source, peers={"east": east}).start()
    source.create(name, shards=2).insert(simple_rows(range(200)))
    cdc.create(target, scope(name), task_id="standby")
    wait_same_rows(source, target, name, expect=200)
    source.disconnect()
    source.server.kill()
    assert command(cdc, "milvus-cdc failover standby")[0] == 0
    target.collection(name).delete("id in [1, 2]")
    _upsert(target, name, [3, 4, 300], mark=2)
    source.server.start()
    source.collection(name).insert(simple_rows([300, 301], mark=1))
    _upsert(source, name, [4], mark=1)
    source.collection(name).delete("id in [5]")
    standing = {**{key: 0 for key in range(6, 200)}, 0: 0, 3: 2, 4: 2, 5: 0, 300: 2}
    for _ in range(2):
        code, said = command(cdc, "milvus-cdc failback standby --lost-writes discard")
        assert code == 0 and "the task standby-reverse" in said, said
        cdc.kill9()
        cdc.start()
    assert _is_reversed(cdc)["by"] == "standby-reverse"
    wait_until(lambda: _marks(source, name) == standing, 90, "the old primary to have the new one's rows")
    assert _marks(target, name) == standing, "nothing of the old primary has come here"
    _upsert(target, name, [7, 400], mark=3)
    wait_same_rows(target, source, name, expect=len(standing) + 1, timeout=60)
    assert count(source, name) == len(standing) + 1, "none is doubled"
    code, said = command(cdc, "milvus-cdc verify standby-reverse")
    assert code == 0, said
    with pytest.raises(ApiError, match="by the task standby-reverse"):
        cdc.ask("resume", task_id="standby")
