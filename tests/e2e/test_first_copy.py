"""Rows from before the task: replayed if the log still holds the collection's creation, else read from the source."""

from contextlib import ExitStack

import pytest
from pymilvus import utility

from support.cdc import scope
from support.load import Load, Upserts
from support.node import FLAT, simple_rows
from support.oracle import assert_same_rows, wait_readable, wait_same_rows
from support.waiting import wait_until

# Longer than the margin before the start of a copy from which the log is read again (5 s of the source's time).
BEYOND_ANY_MARGIN_MS = 14_000


def forget_log(source, *names: str) -> None:
    """Acts as retention: only the end of these collections' log remains; their rows are in segments."""
    topics = set()
    for name in names:
        source.collection(name).flush()
        topics.update(source.topics_of(name))
    source.log.cut(sorted(topics))
    for name in names:
        wait_readable(source, name)


@pytest.mark.every_log
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


@pytest.mark.every_log
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


@pytest.mark.slow
@pytest.mark.every_log
def test_copy_under_writes(cdc, source, target, name):
    """Rows written during the copy are neither lost nor duplicated."""
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


@pytest.mark.slow
@pytest.mark.every_log
def test_copies_on_shared_channels_under_upserts_and_kill_9(cdc, source, target, name):
    """What a copy's replay begins with may be half an upsert, and its channels are read again for it alone."""
    names = [f"{name}_beside", f"{name}_copied"]
    for each, shards in zip(names, (1, 16), strict=True):
        source.create(each, shards=shards).insert(simple_rows(range(5000)))
    forget_log(source, *names)
    with ExitStack() as running:
        loads = [running.enter_context(Upserts(source, each, batch=100)) for each in names]
        task = cdc.create(target, scope(*names))
        for _ in range(3):
            for load in loads:
                load.go_on(5, 30)
            cdc.kill9()
            cdc.start()
        for load in loads:
            load.go_on(20, 60)
    task.wait_caught_up()
    for each in names:
        wait_same_rows(source, target, each, expect=5000, timeout=60)


@pytest.mark.every_log
def test_collection_renamed_into_scope_while_stopped(cdc, source, target, name):
    """An earlier run has passed over its rows, on channels that it has followed for another collection."""
    beside, outside, inside = f"{name}_beside", f"{name}_outside", f"{name}_inside"
    source.create(beside, shards=16)
    made = source.create(outside)
    cdc.create(target, scope(beside, inside))
    with Upserts(source, beside, batch=100) as load:
        load.go_on(5, 30)
        made.insert(simple_rows(range(500)))
        made.upsert([list(range(100)), [[5.0] * 8] * 100])
        load.go_on(5, 30)
        cdc.kill9()
    utility.rename_collection(outside, inside, using=source.using())
    cdc.start()
    wait_same_rows(source, target, inside, expect=500, timeout=60)
    wait_same_rows(source, target, beside, expect=100, timeout=60)


@pytest.mark.slow
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


@pytest.mark.every_log
def test_adopted_rows_are_not_doubled(cdc, source, target, name):
    """A restored backup: the target already has the rows."""
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_interrupted_copy_does_not_keep_what_is_deleted_meanwhile(cdc, source, target, name):
    """The source deletes rows that an interrupted copy had already written: only the log since the first start of the
    copy shows the deletes."""
    made = source.create(name)
    for first in range(0, 100_000, 10_000):
        made.insert(simple_rows(range(first, first + 10_000)))
    forget_log(source, name)
    task = cdc.create(target, scope(name))
    reached = lambda: (task.get().get("reason") or "").rpartition(": ")[2].split(" ")[0]
    wait_until(lambda: reached().isdigit() and int(reached()) > 0, 30, "the copy to be under way", every=0.02)
    task.pause()
    source.collection(name).delete(f"id in {list(range(100))}")
    # The log continues for longer than the margin, or a second start of the copy would also find the deletes.
    source.create(f"{name}_other", load=False)
    other = cdc.create(target, scope(f"{name}_other"))
    deleted = wait_until(other.acknowledged_ms, 30, "the other collection to be followed")
    wait_until(lambda: other.acknowledged_ms() > deleted + BEYOND_ANY_MARGIN_MS, 60, "the log to go on", every=0.5)
    task.resume()
    wait_same_rows(source, target, name, expect=99_900, timeout=90)


@pytest.mark.slow
def test_index_and_load_follow_the_copy(cdc, source, target, name):
    made = source.create(name, load=False)
    made.create_index("vec", FLAT, index_name="mine")
    made.load()
    made.insert(simple_rows(range(10)))
    forget_log(source, name)
    cdc.create(target, scope(name))
    wait_same_rows(source, target, name, expect=10, timeout=60)
    assert "mine" in target.indexes(name)
