"""One collection that cannot be replicated is held, and the others go on."""

import pytest
from pymilvus import MilvusException, utility

from support.cdc import EVERYTHING, scope
from support.node import simple_rows
from support.oracle import count, wait_same_rows
from support.waiting import wait_until


# What a Milvus answers whose quota is used up, or that was told to deny writing.
QUOTA_EXCEEDED = 9


@pytest.fixture
def denying(target, name):
    """Denies all writing on the target, as one over its quota does, until the test says otherwise."""
    probe = target.create(f"{name}_probe", load=False).name

    def is_denying() -> bool:
        try:
            target.collection(probe).insert(simple_rows(range(1)))
        except MilvusException as error:
            return error.code == QUOTA_EXCEEDED
        return False

    def deny(is_denied: bool) -> None:
        target.server.restart(quotaAndLimits__limitWriting__forceDeny=is_denied or None)
        target.disconnect()
        # It comes into force some seconds after the start.
        wait_until(lambda: is_denying() == is_denied, 60, f"writing to be {'denied' if is_denied else 'allowed'}")

    yield deny
    deny(False)


def held_collections(task) -> dict:
    """The collections that the task holds, by their names at the source, with what is told of each."""
    told = task.cdc.ask("get", task_id=task.id, details=True)["task"]["details"]["collections"]
    return {one["source"]: one["held"] for one in told if one["state"] == "held"}


def test_one_bad_of_twenty(cdc, source, target, name):
    """Another schema on the target holds that collection only; its rows there stay, and once the name is free there,
    everything of it arrives, also what was written meanwhile."""
    good, bad = [f"{name}_{number}" for number in range(19)], f"{name}_bad"
    target.create(bad, dim=16).insert(simple_rows(range(3), dim=16))
    for one in [*good, bad]:
        source.create(one).insert(simple_rows(range(5)))
    task = cdc.create(target, EVERYTHING)
    for one in good:
        wait_same_rows(source, target, one, expect=5, timeout=120)
    told = task.wait_reason(f"default.{bad}", "dim 16", "8", phase="Retrying")
    assert told["collections"] == {"following": 19, "waiting": 0, "copying": 0, "held": 1, "paused": 0}, told
    assert list(held_collections(task)) == [f"default.{bad}"]
    # It goes on so while rows come, and after a restart.
    for one in [*good[:2], bad]:
        source.collection(one).insert(simple_rows(range(5, 9)))
    cdc.restart()
    for one in good[:2]:
        wait_same_rows(source, target, one, expect=9)
    task.wait_reason(f"default.{bad}", "dim 16", phase="Retrying")
    assert count(target, bad) == 3
    utility.drop_collection(bad, using=target.using())
    wait_same_rows(source, target, bad, expect=9, timeout=60)
    source.collection(bad).insert(simple_rows(range(9, 11)))
    source.collection(bad).delete("id in [0, 1]")
    wait_same_rows(source, target, bad, expect=9, timeout=60)
    task.wait_phase("Following", timeout=60)
    assert task.get()["collections"]["held"] == 0


def test_a_held_collection_that_is_dropped_is_held_no_more(cdc, source, target, name):
    target.create(name, dim=16, load=False)
    source.create(name, load=False)
    task = cdc.create(target, scope(name))
    task.wait_reason(name, phase="Retrying")
    utility.drop_collection(name, using=source.using())
    wait_until(lambda: not held_collections(task), 60, "the end of the hold")
    task.wait_phase("Following")
    assert target.has(name)


def test_drop_while_writing_is_denied(cdc, source, target, name, denying):
    """A drop waits for no insert that the target refuses for as long as what is dropped is there."""
    dropped, other, made = (f"{name}_{which}" for which in ("dropped", "other", "made"))
    for one in (dropped, other):
        source.create(one).insert(simple_rows(range(5)))
    task = cdc.create(target, EVERYTHING)
    for one in (dropped, other):
        wait_same_rows(source, target, one, expect=5, timeout=60)
    denying(True)
    source.collection(dropped).insert(simple_rows(range(5, 10)))
    task.wait_reason(f"code {QUOTA_EXCEEDED}", dropped, phase="Retrying")
    utility.drop_collection(dropped, using=source.using())
    source.create(made)
    utility.create_alias(other, f"{name}_alias", using=source.using())
    wait_until(lambda: not target.has(dropped), 60, "the drop")
    wait_until(lambda: target.has(made), 60, "the new collection")
    wait_until(lambda: target.aliases(other) == [f"{name}_alias"], 60, "the alias")
    denying(False)
    source.collection(made).insert(simple_rows(range(3)))
    source.collection(other).insert(simple_rows(range(5, 10)))
    wait_same_rows(source, target, made, expect=3, timeout=90)
    wait_same_rows(source, target, other, expect=10, timeout=90)


def test_lost_on_the_target(cdc, source, target, name):
    """What somebody drops on the target is made again and filled, also while nothing happens at the source; what
    somebody drops and makes anew there is filled, and stays when the source drops it."""
    dropped, remade, other = (f"{name}_{which}" for which in ("dropped", "remade", "other"))
    for one in (dropped, remade, other):
        source.create(one).insert(simple_rows(range(100)))
    task = cdc.create(target, EVERYTHING)
    for one in (dropped, remade, other):
        wait_same_rows(source, target, one, expect=100, timeout=60)
    utility.drop_collection(dropped, using=target.using())
    utility.drop_collection(remade, using=target.using())
    target.create(remade)
    for one in (dropped, remade):
        wait_same_rows(source, target, one, expect=100, timeout=90)
    task.wait_skipped({"lost on the target, copied again": 2})
    for one in (dropped, remade, other):
        source.collection(one).insert(simple_rows(range(100, 101)))
        source.collection(one).delete("id in [0]")
        wait_same_rows(source, target, one, expect=100, timeout=60)
    # At the first error, too, and while the server is away.
    cdc.terminate()
    utility.drop_collection(dropped, using=target.using())
    source.collection(dropped).insert(simple_rows(range(101, 102)))
    cdc.start()
    wait_same_rows(source, target, dropped, expect=101, timeout=90)
    for one in (dropped, remade):
        utility.drop_collection(one, using=source.using())
    wait_until(lambda: not target.has(dropped), 60, "the drop of what the task has made")
    source.create(f"{name}_marker", load=False)
    wait_until(lambda: target.has(f"{name}_marker"), 60, "a later change")
    assert target.has(remade)
