"""What one collection has to wait for on the target, no other collection waits for."""

import random

import pytest

from support.cdc import EVERYTHING
from support.node import Node, key_field, simple_rows, vector_field
from support.oracle import count, wait_same_rows
from support.waiting import wait_until

QUOTA = "collection.diskProtection.diskQuota.mb"
# Rows of about 1 kB, and so many of two collections that they fill the memory of a task (8 MiB) with room to spare.
DIM, MANY, AT_ONCE = 256, 6_000, 1_000


@pytest.fixture
def narrow_target(more_servers):
    """A target that heeds quotas of collections, and lets each have one partition beside the default one."""
    settings = {
        "quotaAndLimits.enabled": True,
        "quotaAndLimits.limitWriting.diskProtection.enabled": True,
        "quotaAndLimits.quotaCenterCollectInterval": 1,
        "rootCoord.maxPartitionNum": 2,
    }
    node = Node(more_servers.launch("narrow-target", settings=settings).wait_ready())
    yield node
    node.wipe()


def wide_rows(keys) -> list[dict]:
    """Rows that nothing makes smaller on the way to a disk."""
    dice = random.Random(1)
    return [{"id": key, "vec": [dice.random() for _ in range(DIM)]} for key in keys]


def insert_many(made, first: int, rows: int, **where) -> None:
    for key in range(first, first + rows, AT_ONCE):
        made.insert(wide_rows(range(key, key + AT_ONCE)), **where)


def exhaust_quota(task, source, target, name: str) -> int:
    """Has the target refuse more rows of a collection of 1,000. Answers how many it has at the source then."""
    made, written = source.collection(name), 1_000
    # What is written counts against the quota once it is on disk.
    target.collection(name).flush()
    target.collection(name).set_properties({QUOTA: "0.5"})

    def is_refused() -> bool:
        nonlocal written
        made.insert(wide_rows([written]))
        written += 1
        return name in (task.get().get("reason") or "")

    wait_until(is_refused, 60, "the quota to be met", every=0.5)
    return written


def test_one_over_its_quota_and_one_with_a_partition_too_many(cdc, source, narrow_target, name):
    """More of both waits than the task keeps in memory: both are named, the others follow, and once there is room,
    all of it arrives, also after a restart."""
    over, full, other = (f"{name}_{which}" for which in ("over", "full", "other"))
    made = {one: source.create(one, fields=[key_field(), vector_field(DIM)]) for one in (over, full)}
    made[full].create_partition("first")
    source.create(other).insert(simple_rows(range(5)))
    insert_many(made[over], 0, 1_000)
    made[full].insert(wide_rows(range(5)), partition_name="first")
    task = cdc.create(narrow_target, EVERYTHING)
    for one, rows in ((over, 1_000), (full, 5), (other, 5)):
        wait_same_rows(source, narrow_target, one, expect=rows, timeout=60)
    made[full].create_partition("second")
    written = exhaust_quota(task, source, narrow_target, over)
    # More calls than there are threads that make them, and then more rows than there is memory.
    for key in range(4):
        made[over].delete(f"id == {key}")
        made[over].insert(wide_rows([5_000 + key]))
    insert_many(made[over], 10_000, MANY)
    insert_many(made[full], 10_000, MANY, partition_name="second")
    for key in range(5, 8):
        source.collection(other).insert(simple_rows([key]))
        wait_same_rows(source, narrow_target, other, expect=key + 1, timeout=60)
    told = task.wait_reason(over, full, phase="Retrying")
    assert other not in told["reason"] and told["lag_ms"] > 0, told
    assert count(narrow_target, over) <= written and count(narrow_target, full) == 5
    cdc.restart()
    source.collection(other).insert(simple_rows([8]))
    wait_same_rows(source, narrow_target, other, expect=9, timeout=60)
    narrow_target.collection(over).set_properties({QUOTA: "1000"})
    made[full].release()
    made[full].drop_partition("first")
    made[full].load()
    for one, rows in ((over, written + MANY), (full, MANY), (other, 9)):
        wait_same_rows(source, narrow_target, one, expect=rows, timeout=120)
    task.wait_caught_up()
