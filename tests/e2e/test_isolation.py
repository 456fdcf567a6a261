"""A dead or slow target neither stops nor slows a task of another target."""

import statistics
import time

import pytest

from support.cdc import scope
from support.network import Relay
from support.node import Node, simple_rows
from support.oracle import count, wait_same_rows
from support.waiting import wait_until, while_it_fails

pytestmark = pytest.mark.alone


@pytest.fixture(scope="module")
def second_target(more_servers) -> Node:
    return Node(more_servers.launch("second-target").wait_ready())


@pytest.fixture
def relay(second_target):
    one = Relay(second_target.server.port)
    yield one
    one.close()
    second_target.wipe()


def delays(source, target, name, keys) -> list[float]:
    """From the source's acknowledgement of a row to its visibility at the target, one row after the other."""
    found = []
    collection = source.collection(name)
    for key in keys:
        before = count(target, name)
        collection.insert(simple_rows([key]))
        started = time.monotonic()
        wait_until(lambda: count(target, name) > before, 20, "the row", every=0.01)
        found.append(time.monotonic() - started)
    return found


@pytest.mark.parametrize("way", ["stall", "cut"])
def test_dead_target_does_not_slow_another_task(cdc, source, target, second_target, relay, name, way):
    made = source.create(name)
    healthy = cdc.create(target, scope(name))
    doomed = cdc.create(second_target, scope(name), uri=relay.uri)
    made.insert(simple_rows(range(10)))
    wait_same_rows(source, target, name, expect=10)

    def measure(first_key: int) -> tuple[list[float], list[float]]:
        wait_same_rows(source, second_target, name, timeout=60)
        doomed.wait_caught_up()
        alone = delays(source, target, name, range(first_key, first_key + 15))
        getattr(relay, way)()
        made.insert(simple_rows(range(first_key + 1000, first_key + 3000)))
        wait_same_rows(source, target, name)
        beside = delays(source, target, name, range(first_key + 100, first_key + 115))
        healthy.wait_phase("Following")
        relay.flow() if way == "stall" else relay.mend()
        return alone, beside

    def is_slower(alone: list[float], beside: list[float]) -> bool:
        return statistics.median(beside) > statistics.median(alone) * 1.5 + 0.1 or max(beside) > max(alone) + 1.0

    slower = while_it_fails(lambda turn: measure(10_000 * (turn + 1)), lambda pair: is_slower(*pair))
    assert not slower, f"alone and beside the dead one: {slower}"
    wait_same_rows(source, second_target, name, timeout=60)
    doomed.wait_caught_up()


def test_dead_target_does_not_delay_the_api(cdc, source, target, second_target, relay, name):
    source.create(name).insert(simple_rows(range(10)))
    cdc.create(second_target, scope(name), uri=relay.uri)
    wait_same_rows(source, second_target, name, expect=10)
    relay.stall()
    source.collection(name).insert(simple_rows(range(10, 20)))

    def slowest(_turn: int) -> float:
        return max(timed_list(cdc) for _ in range(10))

    slow = while_it_fails(slowest, lambda seconds: seconds > 1.0)
    assert not slow, f"the slowest of ten answers: {slow}"


def timed_list(cdc) -> float:
    started = time.monotonic()
    assert cdc.call("list")["code"] == 200
    return time.monotonic() - started
