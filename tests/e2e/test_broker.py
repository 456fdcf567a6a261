"""Behaviour common to all sources that keep their log in a broker."""

import itertools

import numpy
import pytest

from support.cdc import scope
from support.node import simple_rows
from support.oracle import assert_same_rows, count, wait_readable, wait_same_rows
from support.waiting import wait_until
from test_check import check, problems

pytestmark = pytest.mark.broker


def test_server_starts_while_the_broker_is_down(cdc, source, target, broker, name):
    made = source.create(name)
    made.insert(simple_rows(range(100)))
    task = cdc.create(target, scope(name))
    wait_same_rows(source, target, name, expect=100)
    cdc.kill9()
    broker.stop()
    cdc.start()
    task.wait_reason(broker.address(), phase="Retrying")
    broker.start()
    # A row that was not acknowledged may be there all the same: each try has a key of its own.
    keys = itertools.count(1000)
    write = lambda: source.collection(name).insert(simple_rows([next(keys)]), timeout=5)
    wait_until(write, 60, "the source to write again")
    task.wait_caught_up()
    wait_same_rows(source, target, name, timeout=60)


def test_large_messages(cdc, source, target, name):
    """Messages of several megabytes arrive."""
    made = source.create(name, dim=768)
    task = cdc.create(target, scope(name))
    vectors = numpy.random.default_rng(1).random((9000, 768), dtype=numpy.float32)
    for first in range(0, 9000, 3000):
        made.insert([list(range(first, first + 3000)), list(vectors[first : first + 3000])])
    wait_readable(source, name)
    wait_until(lambda: count(target, name) == 9000, 60, "the rows")
    task.wait_caught_up()
    assert_same_rows(source, target, name)


def test_check(cdc, source, target, name):
    source.create(name).insert(simple_rows(range(10)))
    report = check(cdc, target, scope(name))
    assert report["ok"] and not problems(report), report
    told = {finding["about"]: finding["text"] for finding in report["findings"]}
    assert f"`{source.log.kind}` can be read" in told["log"], told
    kept = [finding["text"] for finding in report["findings"] if finding["about"] == "retention"]
    assert any("everything since the collections were created" in text for text in kept), kept


def test_check_of_a_broker_that_is_away(cdc, source, target, broker, name):
    source.create(name)
    address = broker.address()
    broker.stop()
    found = problems(check(cdc, target, scope(name)))
    assert any(address in text for text in found), found
