"""Replica numbers: servers with two query nodes, each of which can hold one."""

import pytest

from support.cdc import scope
from support.logs import KafkaLog
from support.node import Node, simple_rows
from support.oracle import LOADING, wait_same_rows
from support.waiting import wait_until

pytestmark = pytest.mark.kafka


@pytest.fixture(scope="module")
def wide(more_servers):
    """Two servers with two query nodes each, whose logs are in one Kafka."""
    broker = more_servers.broker("kafka", "replicas")
    log = KafkaLog(broker)
    servers = [
        more_servers.launch(prefix, settings={**broker.milvus_settings(), "msgChannel.chanNamePrefix.cluster": prefix})
        for prefix in ("wide-source", "wide-target")
    ]
    for server in servers:
        server.wait_ready()
        more_servers.query_node(f"{server.folder.name}-node", server)
    return [Node(server, log) for server in servers]


def replicas(node, name: str) -> int:
    return len(node.collection(name).get_replicas().groups)


def load(node, name: str, number: int) -> None:
    made = node.collection(name)
    made.release()
    made.load(replica_number=number)


def follow(make_cdc, source):
    return make_cdc(
        source, source_config={"channelPrefix": "wide-source", "replicateChan": "wide-source-replicate-msg"}
    ).start()


def test_replicas_follow(make_cdc, wide, name):
    source, target = wide
    source.create(name).insert(simple_rows(range(10)))
    load(source, name, 2)
    task = follow(make_cdc, source).create(target, scope(name))
    wait_same_rows(source, target, name, expect=10)
    wait_until(lambda: replicas(target, name) == 2, LOADING, "two replicas")
    load(source, name, 1)
    wait_until(lambda: replicas(target, name) == 1, LOADING, "one replica")
    load(source, name, 2)
    wait_until(lambda: replicas(target, name) == 2, LOADING, "two replicas again")
    wait_same_rows(source, target, name, expect=10)
    assert task.get()["skipped"] == {}


def test_more_replicas_than_the_target_can_hold(make_cdc, wide, target, name):
    """Loaded with what the target has, and counted."""
    source, _ = wide
    source.create(name).insert(simple_rows(range(10)))
    load(source, name, 2)
    cdc = follow(make_cdc, source)
    task = cdc.create(target, scope(name))
    wait_same_rows(source, target, name, expect=10)
    target.wait_loaded(name)
    assert replicas(target, name) == 1
    assert task.get()["skipped"] == {"replicas": 1}
    assert f"default.{name}" in cdc.log.read_text()
