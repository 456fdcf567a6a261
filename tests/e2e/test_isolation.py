"""A dead target neither stops a task of another target nor the API; `scripts/bench isolation` measures their speed."""

import pytest

from support.cdc import scope
from support.network import Relay
from support.node import Node, simple_rows
from support.oracle import count, wait_same_rows
from support.waiting import wait_until


@pytest.fixture(scope="module")
def second_target(more_servers) -> Node:
    return Node(more_servers.launch("second-target").wait_ready())


@pytest.fixture
def relay(second_target):
    one = Relay(second_target.server.port)
    yield one
    one.close()
    second_target.wipe()


@pytest.mark.parametrize("way", ["stall", "cut"])
def test_dead_target_does_not_hold_up_another_task(cdc, source, target, second_target, relay, name, way):
    made = source.create(name)
    healthy = cdc.create(target, scope(name))
    doomed = cdc.create(second_target, scope(name), uri=relay.uri)
    made.insert(simple_rows(range(10)))
    wait_same_rows(source, target, name, expect=10)
    wait_same_rows(source, second_target, name, expect=10, timeout=60)
    doomed.wait_caught_up()
    getattr(relay, way)()
    # Everything up to the repair arrives while the other target accepts nothing.
    made.insert(simple_rows(range(1000, 3000)))
    wait_same_rows(source, target, name, expect=2010)
    for key in range(100, 105):
        made.insert(simple_rows([key]))
        wait_same_rows(source, target, name, expect=1911 + key)
    healthy.wait_caught_up()
    assert count(second_target, name) == 10, "the dead target has taken rows"
    relay.flow() if way == "stall" else relay.mend()
    wait_same_rows(source, second_target, name, expect=2015, timeout=60)
    doomed.wait_caught_up()


def test_dead_target_does_not_hold_up_the_api(cdc, source, target, second_target, relay, name):
    source.create(name).insert(simple_rows(range(10)))
    task = cdc.create(second_target, scope(name), uri=relay.uri)
    wait_same_rows(source, second_target, name, expect=10)
    relay.stall()
    source.collection(name).insert(simple_rows(range(10, 20)))
    wait_until(lambda: task.lag_ms() > 1000, 30, "the insert to be under way")
    for _ in range(10):
        assert cdc.call("list")["code"] == 200
        assert cdc.call("get", {"task_id": task.id})["code"] == 200
    # The same call is unanswered throughout: no answer of the API waited for it.
    told = task.get()
    assert told["phase"] != "Retrying" and "reason" not in told, told
