"""What a task touches on the target and what it leaves alone: adopted, foreign and mapped collections, and scopes."""

import pytest
from pymilvus import db, utility

from support.cdc import scope
from support.node import simple_rows
from support.oracle import count, wait_same_rows
from support.waiting import wait_until


def test_collections_of_others_stay_untouched(cdc, source, target, name):
    mine, theirs = f"{name}_mine", f"{name}_theirs"
    target.create(theirs).insert(simple_rows(range(7)))
    task = cdc.create(target, scope("*"))
    source.create(mine).insert(simple_rows(range(3)))
    wait_same_rows(source, target, mine, expect=3)
    utility.drop_collection(mine, using=source.using())
    wait_until(lambda: not target.has(mine), 60, "the drop")
    task.delete()
    assert count(target, theirs) == 7


def test_adopted_collection_is_not_dropped(cdc, source, target, name):
    """What was there before the task is not the task's to delete; made again at the source, it does not keep the rows
    of the one before in silence."""
    target.create(name).insert(simple_rows(range(3)))
    source.create(name).insert(simple_rows(range(3)))
    task = cdc.create(target, scope("*"))
    wait_same_rows(source, target, name, expect=3)
    utility.drop_collection(name, using=source.using())
    marker = f"{name}_marker"
    source.create(marker)
    wait_until(lambda: target.has(marker), 60, "a later change")
    assert target.has(name)
    source.create(name).insert(simple_rows(range(10, 15)))
    wait_until(lambda: count(target, name) == 8, 60, "the new rows beside the old ones")
    task.wait_skipped({"removal of an earlier collection's rows": 1})
    assert "`repair` removes them" in cdc.log.read_text()
    wait_until(lambda: target.is_loaded(marker), 60, "what a comparison can read")
    cdc.ask("repair", task_id=task.id)
    wait_same_rows(source, target, name, expect=5, timeout=60)


@pytest.mark.slow
def test_rename_onto_a_name_that_is_taken_holds_up_nobody(cdc, source, target, name):
    """The target refuses it for as long as somebody else's collection has the name. Rows go on under the old one, and
    the others' go on, too."""
    renamed, taken, other = f"{name}_renamed", f"{name}_taken", f"{name}_other"
    target.create(taken, dim=16, load=False)
    made = {one: source.create(one, dim=256) for one in (renamed, other)}
    task = cdc.create(target, scope("*"))
    for one in made.values():
        one.insert(simple_rows(range(10), dim=256))
        wait_same_rows(source, target, one.name, expect=10)
    utility.rename_collection(renamed, taken, using=source.using())
    task.wait_reason(taken)
    # More than the task keeps in memory.
    for first in range(1000, 31_000, 3000):
        source.collection(taken).insert(simple_rows(range(first, first + 3000), dim=256))
    made[other].insert(simple_rows(range(10, 20), dim=256))
    wait_same_rows(source, target, other, expect=20, timeout=60)
    wait_same_rows(source, target, taken, expect=30_010, timeout=60, target_name=renamed)
    # Everything else of it follows, too, also after a restart.
    cdc.restart()
    source.collection(taken).create_partition("later")
    source.collection(taken).insert(simple_rows(range(90_000, 90_010), dim=256), partition_name="later")
    wait_same_rows(source, target, taken, expect=30_020, timeout=60, target_name=renamed)
    utility.drop_collection(taken, using=target.using())
    wait_same_rows(source, target, taken, expect=30_020, timeout=60)
    assert not target.has(renamed)


def test_name_mapping(cdc, source, target, name):
    here, there = f"{name}_here", f"{name}_there"
    db.create_database("mapped", using=target.using())
    mapping = [{"source_db": "default", "target_db": "mapped", "collection_mapping": {here: there}}]
    cdc.create(target, scope(here), name_mapping=mapping)
    made = source.create(here)
    made.insert(simple_rows(range(25)))
    wait_same_rows(source, target, here, expect=25, target_name=there, target_database="mapped")
    made.delete("id in [1, 2]")
    wait_same_rows(source, target, here, expect=23, target_name=there, target_database="mapped")
    assert not target.has(here)


def test_scope_of_one_collection(cdc, source, target, name):
    wanted, other = f"{name}_wanted", f"{name}_other"
    task = cdc.create(target, scope(wanted))
    source.create(other).insert(simple_rows(range(5)))
    source.create(wanted).insert(simple_rows(range(5)))
    wait_same_rows(source, target, wanted, expect=5)
    task.wait_caught_up()
    assert not target.has(other)


def test_scope_of_one_database(cdc, source, target, name):
    db.create_database("inside", using=source.using())
    task = cdc.create(target, scope("*", database="inside"))
    source.create(f"{name}_out", load=False)
    source.create(name, "inside").insert(simple_rows(range(5)))
    wait_same_rows(source, target, name, "inside", expect=5)
    task.wait_caught_up()
    assert not target.has(f"{name}_out")


def test_drop_and_create_while_paused(cdc, source, target, name):
    """The Go server leaves the rows of the ones before beside those of the last."""
    task = cdc.create(target, scope(name))
    source.create(name).insert(simple_rows(range(50)))
    wait_same_rows(source, target, name, expect=50)
    task.pause()
    for turn in range(1, 4):
        utility.drop_collection(name, using=source.using())
        source.create(name).insert(simple_rows(range(1000 * turn, 1000 * turn + 20)))
    task.resume()
    wait_same_rows(source, target, name, expect=20, timeout=60)
