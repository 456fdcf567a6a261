"""Rows that expire."""

import time

import pytest

from support.cdc import scope
from support.node import simple_rows
from support.oracle import count, wait_same_rows
from support.waiting import wait_until
from test_verify import only, run

EXPIRED = "expired rows (TTL)"


def wait_expired(node, name: str) -> None:
    """Waits until the server shows none of the collection's rows: 2.3.5 shows what has expired until it compacts."""
    there = node.collection(name)
    there.flush()

    def gone():
        there.compact()
        assert count(node, name) == 0
        return True

    wait_until(gone, 150, f"the rows of {name} to expire", every=3)


@pytest.mark.slow
def test_what_has_expired_at_the_source_is_not_brought_back(cdc, source, target, name):
    made = source.create(name, properties={"collection.ttl.seconds": "10"})
    task = cdc.create(target, scope(name))
    wait_until(lambda: target.has(name) and target.is_loaded(name), 60, "the collection")
    task.wait_caught_up()
    task.pause()
    made.insert(simple_rows(range(100)))
    wait_until(lambda: count(source, name) == 100, 30, "the rows at the source")
    wait_expired(source, name)
    task.resume()
    wait_until(lambda: task.get()["skipped"].get(EXPIRED) == 100, 60, "the rows to be passed over")
    assert count(target, name) == 0
    made.insert(simple_rows(range(200, 210)))
    wait_until(lambda: count(target, name) == 10, 30, "rows that have not expired")
    assert task.get()["skipped"] == {EXPIRED: 100}


@pytest.mark.slow
def test_rows_that_expire_later_on_the_target_are_no_difference(cdc, source, target, name):
    made = source.create(name, properties={"collection.ttl.seconds": "40"})
    task = cdc.create(target, scope(name))
    wait_until(lambda: target.has(name) and target.is_loaded(name), 60, "the collection")
    task.wait_caught_up()
    task.pause()
    made.insert(simple_rows(range(50)))
    wait_until(lambda: count(source, name) == 50, 30, "the rows at the source")
    made.insert(simple_rows(range(1000, 1010)))
    # On the target they live for as much longer as they have lived before they come there.
    time.sleep(20)
    task.resume()
    wait_same_rows(source, target, name)
    wait_expired(source, name)
    code, result = run(cdc, "verify", task.id)
    assert (code, result["verdict"]) == (0, "equal"), result
    assert only(result)["extra"] == 0 and not only(result)["counts_differ"], result
    assert only(result)["outlived"] == count(target, name) == 60, result


def test_a_ttl_that_is_removed_is_removed(cdc, source, target, name):
    made = source.create(name, properties={"collection.ttl.seconds": "15"})
    task = cdc.create(target, scope(name))
    wait_until(lambda: target.has(name) and target.is_loaded(name), 60, "the collection")
    made.set_properties({"collection.ttl.seconds": "0"})
    wait_until(lambda: run(cdc, "verify", task.id)[0] == 0, 60, "the property on the target")
    task.pause()
    made.insert(simple_rows(range(10)))
    task.resume()
    wait_same_rows(source, target, name, expect=10)
    assert EXPIRED not in task.get()["skipped"]
