"""One collection is paused, resumed and compared at a user's wish, and the others go on."""

import subprocess

import pytest
from pymilvus import Collection, utility

from support.cdc import EVERYTHING, ApiError
from support.node import simple_rows
from support.oracle import count, wait_same_rows
from support.waiting import wait_until


def states(task) -> dict:
    """The states of the task's collections, by their names at the source."""
    told = task.cdc.ask("get", task_id=task.id, details=True)["task"]["details"]["collections"]
    return {one["source"]: one["state"] for one in told}


def test_pause_resume_and_resync(cdc, source, target, name, binary):
    paused, other, dropped = (f"{name}_{which}" for which in ("paused", "other", "dropped"))
    for one in (paused, other, dropped):
        source.create(one).insert(simple_rows(range(100)))
    task = cdc.create(target, EVERYTHING)
    for one in (paused, other, dropped):
        wait_same_rows(source, target, one, expect=100, timeout=60)
    task.wait_phase("Following")

    # Nothing of what is paused changes, also after a restart; the other one goes on.
    assert task.change_collection("pause", f"default.{paused}") == "paused"
    assert task.change_collection("pause", f"default.{dropped}") == "paused"
    source.collection(paused).insert(simple_rows(range(100, 150)))
    source.collection(paused).delete("id in [0, 1, 2]")
    utility.drop_collection(dropped, using=source.using())
    source.collection(other).insert(simple_rows(range(100, 150)))
    wait_same_rows(source, target, other, expect=150, timeout=60)
    told = task.wait_reason(f"paused: default.{paused}", f"paused: default.{dropped}", phase="CatchingUp")
    assert told["collections"]["paused"] == 2 and told["lag_ms"] > 0, told
    assert count(target, paused) == 100
    cdc.restart()
    source.collection(paused).insert(simple_rows(range(150, 160)))
    source.collection(paused).create_partition("later")
    source.collection(other).insert(simple_rows(range(150, 160)))
    source.create(f"{name}_marker", load=False)
    wait_same_rows(source, target, other, expect=160, timeout=60)
    wait_until(lambda: target.has(f"{name}_marker"), 60, "a later change of the catalog")
    assert states(task)[f"default.{paused}"] == "paused"
    assert count(target, paused) == 100 and target.has(dropped)
    assert target.partitions(paused) == ["_default"]

    # What is refused says what to do.
    for request, collection, words in [
        ("pause", f"default.{paused}", "paused already"),
        ("resync", f"default.{paused}", "resume it"),
        ("resume", f"default.{other}", "`resync`"),
        ("pause", "default.none", f"default.{other}"),
    ]:
        with pytest.raises(ApiError, match=words):
            task.change_collection(request, collection)

    # It goes on: what it missed follows, deletes and drops too.
    assert task.change_collection("resume", f"default.{paused}") == "resumed"
    wait_same_rows(source, target, paused, expect=157, timeout=90)
    assert task.change_collection("resume", f"default.{dropped}") == "resumed"
    wait_until(lambda: not target.has(dropped), 60, "the drop")
    source.collection(paused).insert(simple_rows(range(160, 170)))
    wait_same_rows(source, target, paused, expect=167, timeout=60)
    wait_until(lambda: "later" in target.partitions(paused), 60, "the partition")
    task.wait_phase("Following", timeout=60)

    # What somebody has changed on the target is mended at a wish, here by the command line.
    Collection(other, using=target.using()).delete("id in [5, 6, 7]")
    wait_until(lambda: count(target, other) == 157, 60, "the rows to be gone")
    arguments = ["task", "--server", f"http://127.0.0.1:{cdc.port}", "resync", task.id, "--collection", other]
    said = subprocess.run([str(binary), *arguments], check=True, capture_output=True, text=True, timeout=60).stdout
    assert said == f"default.{other}: comparing\n", said
    wait_same_rows(source, target, other, expect=160, timeout=60)
    task.pause()
    with pytest.raises(ApiError, match="resume the task first"):
        task.change_collection("resume", f"default.{other}")
