"""Partitions that the source drops and for which the task has no partition on the target."""

from support.cdc import scope
from support.node import FLAT, simple_rows
from support.oracle import count, wait_same_rows
from support.waiting import wait_until


def test_dropped_partition_takes_its_rows_along_without_partitions(cdc, source, target, name):
    """`ignore_partition`: the target has one partition for all rows. A partition created again is another one."""
    made = source.create(name, load=False)
    made.create_index("vec", FLAT)
    for number, partition in enumerate(("p", "q")):
        made.create_partition(partition)
        made.insert(simple_rows(range(100 * number, 100 * number + 50)), partition_name=partition)
    made.load()
    task = cdc.create(target, scope(name), connect={"ignore_partition": True})
    wait_until(lambda: count(target, name) == 100, 60, "both partitions' rows")
    made.partition("p").release()
    made.drop_partition("p")
    wait_until(lambda: count(target, name) == 50, 90, "the end of the rows of p")
    made.partition("q").release()
    made.drop_partition("q")
    made.create_partition("q")
    made.partition("q").load()
    made.insert(simple_rows(range(500, 510)), partition_name="q")
    wait_until(lambda: count(target, name) == 10, 90, "the end of the rows of the first q")
    assert task.get()["skipped"] == {}


def test_dropped_partition_of_an_adopted_collection_is_counted(cdc, source, target, name):
    for node in (source, target):
        made = node.create(name, load=False)
        made.create_index("vec", FLAT)
        made.create_partition("p")
    made = source.collection(name)
    made.insert(simple_rows(range(50)), partition_name="p")
    task = cdc.create(target, scope(name))
    made.load()
    wait_same_rows(source, target, name, expect=50, timeout=90)
    made.partition("p").release()
    made.drop_partition("p")
    task.wait_skipped({"dropped partition of an adopted collection": 1})
    assert count(target, name) == 50
