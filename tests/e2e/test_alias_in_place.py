"""An alias takes the name of a collection that the source has dropped, and the reverse.

Tasks of their own: what other tests have dropped within a minute would count for the brake on drops.
"""

from pymilvus import utility

from support.cdc import scope
from support.node import simple_rows
from support.oracle import wait_same_rows
from support.waiting import wait_until


def test_a_name_becomes_an_alias_and_a_collection_again(cdc, source, target, name):
    """Each within the next looks: neither waits for a complete look, nor the alias for the brake on drops."""
    other, *idle = [f"{name}_{end}" for end in ("other", "idle1", "idle2", "idle3")]
    for one in (name, other, *idle):
        source.create(one, load=False)
    task = cdc.create(target, scope(name, other, *idle))
    wait_until(lambda: all(target.has(one) for one in (name, other, *idle)), 60, "the collections")
    utility.drop_collection(name, using=source.using())
    utility.create_alias(other, name, using=source.using())
    wait_until(lambda: target.stands_for(name) == other, 30, "the alias in its place")
    utility.drop_alias(name, using=source.using())
    made = source.create(name)
    made.insert(simple_rows(range(10)))
    wait_same_rows(source, target, name, expect=10, timeout=60)
    task.wait_phase("Following")
