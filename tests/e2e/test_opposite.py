"""Tasks in opposite directions and in a ring: every row goes once to every other server, and nothing is sent back."""

import re

import pytest
from pymilvus import connections, utility
from pymilvus.grpc_gen import milvus_pb2

from support.cdc import scope
from support.header_proxy import HeaderProxy
from support.node import Node, simple_rows
from support.oracle import count, wait_same_rows
from support.waiting import wait_until
from test_check import check, problems

pytestmark = pytest.mark.every_log


def _sent(task) -> int:
    """Rows and deleted keys that the task's target has acknowledged since the server was started."""
    pattern = rf'^milvus_cdc_task_rows_total{{task_id="{task.id}"}} (\d+)$'
    found = re.search(pattern, task.cdc.get_text("/metrics"), re.MULTILINE)
    return int(found[1]) if found else 0


def _echoes(task) -> int:
    """Rows that came from the task's target and were not sent back."""
    return task.cdc.ask("get", task_id=task.id, details=True)["task"]["details"]["echoes"]


def _rest(*tasks) -> None:
    """Waits until each task has read what the others have written by now, and what came of that."""
    for task in (*tasks, *tasks):
        task.wait_caught_up()


@pytest.fixture
def there_and_back(make_cdc, source, target, name):
    """A collection with 20 rows at the source, a task that brings it to the target, and one that brings it back."""
    source.create(name).insert(simple_rows(range(20)))
    there = make_cdc(source).start().create(target, scope(name))
    wait_same_rows(source, target, name, expect=20)
    back = make_cdc(target).start().create(source, scope(name))
    back.wait_phase("Following")
    return there, back


def test_opposite_tasks_rest(there_and_back, source, target, name):
    there, back = there_and_back
    target.collection(name).insert(simple_rows(range(30, 40), mark=2.0))
    wait_same_rows(source, target, name, expect=30)
    source.collection(name).upsert(simple_rows(range(5), mark=1.0))
    target.collection(name).delete("id in [15, 16, 17]")
    wait_same_rows(source, target, name, expect=27)
    _rest(there, back)
    assert (_sent(there), _sent(back)) == (25, 13), "each write of a user once"
    # An upsert is a delete and an insert in the log.
    assert (_echoes(there), _echoes(back)) == (13, 20 + 10)
    wait_same_rows(source, target, name, expect=27)


def test_killed_servers_send_nothing_back(there_and_back, source, target, name):
    there, back = there_and_back
    for first in (100, 200):
        source.collection(name).insert(simple_rows(range(first, first + 10)))
        there.cdc.kill9()
        target.collection(name).insert(simple_rows(range(first + 50, first + 60)))
        back.cdc.kill9()
        there.cdc.start()
        back.cdc.start()
    wait_same_rows(source, target, name, expect=60)
    _rest(there, back)
    sent = _sent(there), _sent(back)
    source.collection(name).insert(simple_rows([500]))
    wait_same_rows(source, target, name, expect=61)
    _rest(there, back)
    assert (_sent(there), _sent(back)) == (sent[0] + 1, sent[1])


def test_what_bears_headers_of_a_users_own_is_followed(there_and_back, source, target, name):
    there, back = there_and_back
    for node, key, baggage in ((source, 1, "user=alice,milvus=1"), (target, 2, "milvus-cdc=2.a.b.c")):
        trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
        request = milvus_pb2.DeleteRequest(collection_name=name, expr=f"id in [{key}]")
        stub = connections._fetch_handler(node.using())._stub
        answer = stub.Delete(request, metadata=(("baggage", baggage), ("traceparent", trace)))
        assert answer.status.code == 0, answer
    wait_same_rows(source, target, name, expect=18)
    _rest(there, back)
    assert (_sent(there), _sent(back)) == (21, 1)


def test_both_directions_make_collections(make_cdc, source, target, name):
    """Each makes on the other side what is made on its own, with partitions and load states, and rests."""
    there = make_cdc(source).start().create(target, scope("*"))
    back = make_cdc(target).start().create(source, scope("*"))
    made = {source: f"{name}_a", target: f"{name}_b"}
    for node, one in made.items():
        collection = node.create(one)
        collection.create_partition("p")
        collection.insert(simple_rows(range(10)), partition_name="p")
    for one in made.values():
        wait_same_rows(source, target, one, expect=10)
        for node in made:
            assert node.partitions(one) == ["_default", "p"] and node.is_loaded(one)
    _rest(there, back)
    assert (_sent(there), _sent(back)) == (10, 10)
    _drops_in_a_pair(there, back, (source, target), made[source])


def _drops_in_a_pair(there, back, nodes, one) -> None:
    """What a user drops where it was brought to is not created again by itself; where it was made, it goes on both."""
    source, target = nodes
    wait_until(lambda: "a task replicates in the opposite direction" in there.cdc.log.read_text(), 30, "the pair")
    utility.drop_collection(one, using=target.using())
    source.collection(one).insert(simple_rows([10]))
    there.wait_reason(f"default.{one}", "`resync`", phase="Retrying")
    assert not utility.has_collection(one, using=target.using()) and count(source, one) == 11
    there.change_collection("resync", f"default.{one}")
    wait_same_rows(source, target, one, expect=11)
    utility.drop_collection(one, using=source.using())
    wait_until(lambda: not utility.has_collection(one, using=target.using()), 60, "the drop")
    for task in (there, back):
        task.wait_phase("Following", timeout=60)
    _rest(there, back)
    assert not any(utility.has_collection(one, using=node.using()) for node in nodes)


def test_a_ring_of_three_rests(make_cdc, source, target, more_servers, name):
    third = Node(more_servers.launch("third").wait_ready())
    ring = (source, target, third)
    tasks = []
    source.create(name).insert(simple_rows(range(10)))
    for node, following in zip(ring, (target, third, source)):
        tasks.append(make_cdc(node).start().create(following, scope(name)))
        wait_same_rows(source, following, name, expect=10)
    tasks[-1].wait_phase("Following")
    for number, node in enumerate(ring, 1):
        node.collection(name).insert(simple_rows(range(number * 100, number * 100 + 5)))
    for following in (target, third):
        wait_same_rows(source, following, name, expect=25, timeout=90)
    _rest(*tasks)
    # Each sends on what it gets, but for the next one's own.
    assert [_sent(task) for task in tasks] == [10 + 5 + 5, 10 + 5 + 5, 5 + 5]
    assert all(_echoes(task) for task in tasks)


@pytest.fixture
def header_proxy(target):
    proxy = HeaderProxy(target.server.port)
    yield proxy
    proxy.close()


def test_a_task_whose_counterparts_marks_are_removed_sends_nothing(make_cdc, source, target, header_proxy, name):
    header_proxy.removed = {"baggage", "traceparent"}
    source.create(name).insert(simple_rows(range(20)))
    there = make_cdc(source).start().create(target, scope(name), uri=header_proxy.uri)
    wait_same_rows(source, target, name, expect=20)
    back = make_cdc(target).start().create(source, scope(name))
    back.wait_reason("marks of its writes do not come back", "`baggage`", phase="Retrying")
    target.collection(name).insert(simple_rows(range(30, 40)))
    source.collection(name).insert(simple_rows(range(40, 45)))
    wait_until(lambda: count(target, name) == 35, 60, "the rows that go there")
    there.wait_caught_up()
    assert (_sent(there), _sent(back)) == (25, 0) and count(source, name) == 25
    # What was written without marks cannot be told from users' rows; it comes back once, and no more than that.
    header_proxy.removed = set()
    wait_same_rows(source, target, name, expect=35, timeout=90)
    _rest(there, back)
    sent = _sent(back)
    assert sent == 25 + 10 and _sent(there) == 25, (sent, _sent(there))


def test_marks_that_stop_to_come_back_are_noticed(make_cdc, source, target, header_proxy, name):
    source.create(name).insert(simple_rows(range(20)))
    there = make_cdc(source).start().create(target, scope(name), uri=header_proxy.uri)
    wait_same_rows(source, target, name, expect=20)
    back = make_cdc(target).start().create(source, scope(name))
    back.wait_phase("Following")
    assert "its marks come through" in back.cdc.log.read_text()
    there.pause()
    header_proxy.removed = {"baggage", "traceparent"}
    there.resume()
    back.wait_reason("marks of its writes do not come back", phase="Retrying")


def test_one_header_is_enough(make_cdc, source, target, header_proxy, name):
    """A proxy that knows traces and nothing else."""
    header_proxy.removed = {"baggage"}
    source.create(name).insert(simple_rows(range(20)))
    there = make_cdc(source).start().create(target, scope(name), uri=header_proxy.uri)
    wait_same_rows(source, target, name, expect=20)
    back = make_cdc(target).start().create(source, scope(name))
    target.collection(name).insert(simple_rows(range(30, 40)))
    wait_same_rows(source, target, name, expect=30)
    _rest(there, back)
    assert (_sent(there), _sent(back)) == (20, 10)


def test_check_tells_of_a_task_in_the_opposite_direction(make_cdc, source, target, header_proxy, name):
    source.create(name).insert(simple_rows(range(20)))
    there = make_cdc(source).start().create(target, scope(name), uri=header_proxy.uri)
    wait_same_rows(source, target, name, expect=20)
    cdc = make_cdc(target).start()
    found = [finding["text"] for finding in check(cdc, source, scope(name))["findings"]]
    assert any("opposite direction" in text and "come through" in text for text in found), found
    header_proxy.removed = {"baggage", "traceparent"}
    found = problems(check(cdc, source, scope(name)))
    assert any("do not come back" in text for text in found), found
    there.pause()
    found = [finding["text"] for finding in check(cdc, source, scope(name))["findings"]]
    assert not any("opposite direction" in text for text in found), found
