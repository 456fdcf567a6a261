"""Rows from before the task: replayed from the log where it holds the collection's birth, read from the source where not."""

import time

from pymilvus import utility

from support.cdc import scope
from support.load import Load
from support.node import FLAT, simple_rows
from support.oracle import assert_same_rows, wait_readable, wait_same_rows
from support.waiting import wait_until


def forget_log(source, *names: str) -> None:
    """Retention at work: the log of these collections is gone but for its end; their rows are in segments."""
    topics = set()
    for name in names:
        source.collection(name).flush()
        topics.update(source.topics_of(name))
    source.log.cut(sorted(topics))
    for name in names:
        wait_readable(source, name)


def test_births_are_in_the_log(cdc, source, target, name):
    made = source.create(name, shards=2)
    made.insert(simple_rows(range(3000)))
    made.upsert([list(range(100)), [[5.0] * 8] * 100])
    made.delete("id in [7, 8, 9]")
    cdc.create(target, scope(name))
    wait_same_rows(source, target, name, expect=2997)


def test_rows_of_a_collection_that_was_dropped_meanwhile_do_not_disturb(cdc, source, target, name):
    source.create(f"{name}_gone").insert(simple_rows(range(500)))
    utility.drop_collection(f"{name}_gone", using=source.using())
    source.create(name).insert(simple_rows(range(10)))
    task = cdc.create(target, scope("*"))
    wait_same_rows(source, target, name, expect=10)
    task.wait_caught_up()
    assert target.collections() == [name]


def test_log_without_the_birth(cdc, source, target, name):
    made = source.create(name, shards=2)
    made.create_partition("p")
    made.insert(simple_rows(range(2000)))
    made.insert(simple_rows(range(2000, 2500)), partition_name="p")
    made.delete("id in [1, 2, 3]")
    forget_log(source, name)
    task = cdc.create(target, scope(name))
    source.collection(name).insert(simple_rows(range(3000, 3100)))
    wait_same_rows(source, target, name, expect=2597, timeout=60)
    task.wait_caught_up()
    assert_same_rows(source, target, name)


def test_copy_under_writes(cdc, source, target, name):
    """What is written while rows are copied is neither lost nor doubled."""
    made = source.create(name, shards=2)
    for first in range(0, 40_000, 10_000):
        made.insert(simple_rows(range(first, first + 10_000)))
    forget_log(source, name)
    with Load(source, name, first_key=100_000) as load:
        wait_until(lambda: load.batches > 2, 30, "the load")
        task = cdc.create(target, scope(name))
        task.wait_phase("Following", "CatchingUp", timeout=60)
        wait_until(lambda: load.batches > 30, 30, "the load")
    task.wait_caught_up()
    wait_same_rows(source, target, name, timeout=60)


def test_collection_that_is_not_loaded_waits_and_says_so(cdc, source, target, name):
    waiting, other = f"{name}_waiting", f"{name}_other"
    source.create(waiting).insert(simple_rows(range(50)))
    source.create(other).insert(simple_rows(range(20)))
    forget_log(source, waiting, other)
    source.collection(waiting).release()
    task = cdc.create(target, scope(waiting, other))
    wait_same_rows(source, target, other, expect=20, timeout=60)
    task.wait_reason(f"{waiting} is not loaded")
    source.collection(waiting).load()
    wait_same_rows(source, target, waiting, expect=50, timeout=60)


def test_adopted_rows_are_not_doubled(cdc, source, target, name):
    """A restored backup: the target has the rows already."""
    for node in (source, target):
        node.create(name).insert(simple_rows(range(1000)))
    task = cdc.create(target, scope(name))
    source.collection(name).insert(simple_rows(range(1000, 1010)))
    wait_same_rows(source, target, name, expect=1010)
    task.wait_caught_up()
    assert_same_rows(source, target, name)


def test_deleted_and_created_task_doubles_nothing(cdc, source, target, name):
    made = source.create(name, shards=2)
    made.insert(simple_rows(range(2000)))
    for turn in range(3):
        task = cdc.create(target, scope(name))
        made.insert(simple_rows(range(10_000 + 100 * turn, 10_050 + 100 * turn)))
        wait_same_rows(source, target, name, expect=2000 + 50 * (turn + 1))
        task.wait_caught_up()
        assert_same_rows(source, target, name)
        task.delete()
        made.delete(f"id in [{turn}]")
        made.insert(simple_rows([turn]))


def test_copied_progress_survives_kill_9(cdc, source, target, name):
    made = source.create(name)
    for first in range(0, 60_000, 10_000):
        made.insert(simple_rows(range(first, first + 10_000)))
    forget_log(source, name)
    task = cdc.create(target, scope(name))
    wait_until(lambda: target.has(name) or task.get()["phase"] == "Copying", 30, "the copy to begin", every=0.02)
    cdc.kill9()
    cdc.start()
    wait_same_rows(source, target, name, expect=60_000, timeout=60)


def test_interrupted_copy_does_not_keep_what_is_deleted_meanwhile(cdc, source, target, name):
    """Rows that an interrupted copy has brought over and the source then deletes: only the log since the copy's first
    beginning tells of them."""
    made = source.create(name)
    for first in range(0, 100_000, 10_000):
        made.insert(simple_rows(range(first, first + 10_000)))
    forget_log(source, name)
    task = cdc.create(target, scope(name))
    reached = lambda: (task.get().get("reason") or "").rpartition(": ")[2].split(" ")[0]
    wait_until(lambda: reached().isdigit() and int(reached()) > 0, 30, "the copy to be under way", every=0.02)
    task.pause()
    source.collection(name).delete(f"id in {list(range(100))}")
    # Longer than the margin by which a copy's replay starts early, or a second beginning would find the deletes, too.
    time.sleep(14)
    task.resume()
    wait_same_rows(source, target, name, expect=99_900, timeout=90)


def test_index_and_load_follow_the_copy(cdc, source, target, name):
    made = source.create(name, load=False)
    made.create_index("vec", FLAT, index_name="mine")
    made.load()
    made.insert(simple_rows(range(10)))
    forget_log(source, name)
    cdc.create(target, scope(name))
    wait_same_rows(source, target, name, expect=10, timeout=60)
    assert "mine" in target.indexes(name)
