"""Comparing source and target of a running task, and repairing what differs, on real servers with faults planted behind
the task's back."""

import json
import subprocess

import pytest
from pymilvus import utility

from support.cdc import scope
from support.load import Load
from support.node import simple_rows
from support.oracle import assert_same_rows, count, wait_same_rows
from support.waiting import wait_until


def run(cdc, command: str, *arguments: str, timeout: float = 240.0) -> tuple[int, dict]:
    """`milvus-cdc verify` or `repair` as a user runs it; answers the exit code and the JSON."""
    words = [str(cdc._binary), command, *arguments, "--json", "--server", f"http://127.0.0.1:{cdc.port}"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=timeout, check=False)
    return done.returncode, (
        json.loads(done.stdout) if done.stdout.strip() not in ("", "null") else {"stderr": done.stderr}
    )


def only(result: dict) -> dict:
    assert len(result["collections"]) == 1, result
    return result["collections"][0]


@pytest.fixture(params=["rocksmq", "scan"])
def anyhow(request, make_cdc, source):
    """A server that follows by the log, and one that scans."""
    return make_cdc(source, source_config={"log": request.param, "scan": {"interval": 1}}).start()


def plant(target, name: str) -> None:
    """One row of each fault."""
    there = target.collection(name)
    there.delete("id in [5]")
    there.insert(simple_rows([9000]))
    there.upsert([[7], [[99.0] * 8]])
    there.delete("id in [150]", partition_name="p")
    there.insert(simple_rows([150]))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_planted_differences_are_found_and_mended(anyhow, source, target, name):
    made = source.create(name)
    made.create_partition("p")
    made.insert(simple_rows(range(100)))
    made.insert(simple_rows(range(100, 200)), partition_name="p")
    task = anyhow.create(target, scope(name))
    wait_same_rows(source, target, name, expect=200)
    task.wait_caught_up()
    code, result = run(anyhow, "verify", task.id)
    assert (code, result["verdict"]) == (0, "equal"), result
    assert only(result)["compared"] == 200

    plant(target, name)
    code, result = run(anyhow, "verify", task.id)
    assert code == 1, result
    found = only(result)
    assert {(row["kind"], row["key"]) for row in found["first"]} == {
        ("missing", "5"),
        ("extra", "9000"),
        ("different", "7"),
        ("misplaced", "150"),
    }, found
    code, by_keys = run(anyhow, "verify", task.id, "--keys-only")
    assert code == 1 and only(by_keys)["different"] == 0 and only(by_keys)["missing"] == 1, by_keys
    code, sampled = run(anyhow, "verify", task.id, "--sample", "200")
    assert code == 1 and only(sampled)["different"] == 1, sampled

    code, result = run(anyhow, "repair", task.id, "--dry-run")
    assert code == 1 and only(result)["extra"] == 1, result
    assert count(target, name) == 200, "a dry run changes nothing"
    code, result = run(anyhow, "repair", task.id)
    assert code == 0, result
    assert result["before"]["verdict"] == "different" and result["verdict"] == "equal"
    assert_same_rows(source, target, name)
    # The task goes on as before.
    made.insert(simple_rows(range(300, 310)))
    made.delete("id in [1]")
    wait_same_rows(source, target, name, expect=209)


def test_catalog(cdc, source, target, name):
    source.create(name).insert(simple_rows(range(10)))
    utility.create_alias(name, f"{name}_alias", using=source.using())
    source.collection(name).create_partition("p")
    task = cdc.create(target, scope(name))
    wait_same_rows(source, target, name, expect=10)
    wait_until(lambda: run(cdc, "verify", task.id)[0] == 0, 30, "both sides to be equal")
    there = target.collection(name)
    utility.drop_alias(f"{name}_alias", using=target.using())
    there.release()
    there.drop_partition("p")
    code, result = run(cdc, "verify", task.id)
    assert code == 1, result
    assert {found["what"] for found in only(result)["catalog"]} == {"alias", "load state", "partition"}, result
    code, result = run(cdc, "repair", task.id)
    # The target may still be loading.
    wait_until(lambda: run(cdc, "verify", task.id)[0] == 0, 30, "both sides to be equal")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_under_load(anyhow, source, target, name):
    """What is only under way does not count; what is planted does, and is mended while writes go on."""
    source.create(name, shards=2).insert(simple_rows(range(1_000_000, 1_020_000)))
    task = anyhow.create(target, scope(name))
    wait_until(lambda: count(target, name) >= 20_000, 60, "the first copy")
    # Few rows a second: comparing waits for rounds where there is no log.
    with Load(source, name, batch=20) as load:
        wait_until(lambda: load.batches > 5, 30, "the load")
        code, result = run(anyhow, "verify", task.id)
        assert code == 0 and not only(result)["counts_differ"], result
        assert only(result)["first"] == [] and only(result)["reason"] is None, result
        target.collection(name).delete(f"id in {list(range(1_000_100, 1_000_120))}")
        code, result = run(anyhow, "verify", task.id)
        assert code == 1 and only(result)["missing"] == 20 and only(result)["extra"] == 0, result
        code, result = run(anyhow, "repair", task.id)
        assert only(result["before"])["missing"] == 20 and only(result)["first"] == [], result
    wait_same_rows(source, target, name, timeout=60)


@pytest.mark.slow
def test_kill_9_during_a_repair(anyhow, source, target, name):
    made = source.create(name)
    for first in range(0, 60_000, 10_000):
        made.insert(simple_rows(range(first, first + 10_000)))
    task = anyhow.create(target, scope(name))
    wait_same_rows(source, target, name, expect=60_000, timeout=60)
    task.wait_caught_up()
    target.collection(name).delete("id >= 20000")
    target.collection(name).insert(simple_rows(range(100_000, 100_100)))
    wait_until(lambda: count(target, name) == 20_100, 30, "the planted damage")
    anyhow.ask("repair", task_id=task.id)
    wait_until(lambda: count(target, name) != 20_100, 60, "the repair to write", every=0.01)
    anyhow.kill9()
    anyhow.start()
    wait_same_rows(source, target, name, expect=60_000, timeout=90)
    code, result = run(anyhow, "verify", task.id)
    assert code == 0, result


def test_what_cannot_be_compared(cdc, source, target, name):
    made = source.create(name)
    made.insert(simple_rows(range(10)))
    task = cdc.create(target, scope(name))
    wait_same_rows(source, target, name, expect=10)
    task.pause()
    assert run(cdc, "verify", task.id)[0] == 2
    assert run(cdc, "verify", "no-such-task")[0] == 2
    task.resume()
    task.wait_phase("Following")
    made.release()
    wait_until(lambda: not target.is_loaded(name), 30, "the release on the target")
    code, result = run(cdc, "verify", task.id)
    assert code == 2 and "not loaded" in only(result)["reason"], result


def test_a_repair_tells_what_it_could_not_compare(cdc, source, target, name):
    released, damaged = f"{name}_released", f"{name}_damaged"
    for each in (released, damaged):
        source.create(each).insert(simple_rows(range(10)))
    task = cdc.create(target, scope(released, damaged))
    for each in (released, damaged):
        wait_same_rows(source, target, each, expect=10)
    source.collection(released).release()
    wait_until(lambda: not target.is_loaded(released), 30, "the release on the target")
    target.collection(damaged).delete("id in [5]")
    code, result = run(cdc, "repair", task.id)
    assert code == 2 and result["verdict"] == "not compared", result
    reasons = {found["source"]: found["reason"] for found in result["collections"]}
    assert "not loaded" in reasons[f"default.{released}"] and reasons[f"default.{damaged}"] is None, result
    assert_same_rows(source, target, damaged)


def test_rows_that_are_there_twice(cdc, source, target, name):
    source.create(name, shards=2).insert(simple_rows(range(2000)))
    task = cdc.create(target, scope(name))
    wait_same_rows(source, target, name, expect=2000)
    target.collection(name).insert(simple_rows([3, 1777]))
    target.collection(name).insert(simple_rows([3]))
    code, result = run(cdc, "verify", task.id)
    found = only(result)
    assert (
        code == 1 and found["counts_differ"] and (found["source_count"], found["target_count"]) == (2000, 2003)
    ), result
    # Now the target counts fewer rows than the source, and the doubles are found all the same.
    target.collection(name).delete("id in [5, 6, 7, 8, 9]")
    code, result = run(cdc, "repair", task.id)
    assert code == 0 and only(result)["target_count"] == 2000, result
    wait_same_rows(source, target, name, expect=2000)


def test_a_comparison_can_be_watched_and_cancelled(cdc, source, target, name):
    source.create(name).insert(simple_rows(range(10)))
    task = cdc.create(target, scope(name))
    wait_same_rows(source, target, name, expect=10)
    assert cdc.ask("verify", task_id=task.id, action="status") == {"state": "none"}
    assert cdc.ask("verify", task_id=task.id)["state"] in ("running", "done")
    done = wait_until(
        lambda: (seen := cdc.ask("verify", task_id=task.id, action="status"))["state"] == "done" and seen, 30, "the end"
    )
    assert done["result"]["verdict"] == "equal" and done["progress"]["rows"] == 10, done
    cdc.ask("verify", task_id=task.id)
    assert cdc.ask("verify", task_id=task.id, action="cancel")["state"] in ("running", "done", "cancelled")
    task.pause()
    assert task.get()["state"] == "Paused"


def test_a_property_that_was_changed_on_the_target_is_found_and_mended(cdc, source, target, name):
    source.create(name, properties={"collection.ttl.seconds": "86400"})
    task = cdc.create(target, scope(name))
    wait_until(lambda: target.has(name) and target.is_loaded(name), 60, "the collection")
    task.wait_caught_up()
    target.collection(name).set_properties({"collection.ttl.seconds": "172800", "collection.insertRate.max.mb": "10"})
    code, result = run(cdc, "verify", task.id)
    told = 'collection.ttl.seconds is "86400" at the source and "172800" on the target'
    assert code == 1 and only(result)["catalog"] == [{"what": "property", "difference": told}], result
    code, result = run(cdc, "repair", task.id)
    assert (code, result["verdict"]) == (0, "equal"), result
    found = target.describe(name)["properties"]
    assert found == {"collection.ttl.seconds": "86400", "collection.insertRate.max.mb": "10"}, found
