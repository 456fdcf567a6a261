"""A source that keeps its log in Kafka: logins and TLS, lost brokers, retention, and topics that others write to."""

import pytest

import kafka_broker
from support import kafka
from support.cdc import scope
from support.load import Load
from support.logs import KafkaLog
from support.network import connections_to
from support.node import Node, simple_rows
from support.oracle import wait_same_rows
from support.waiting import wait_until
from test_check import check

pytestmark = pytest.mark.kafka

LOGIN = {"saslUsername": kafka_broker.USER, "saslPassword": kafka_broker.PASSWORD}


def ways_in(broker, folder) -> dict[str, dict]:
    """`sourceConfig.kafka` for each way to connect."""
    password = folder / "password"
    password.write_text(kafka_broker.PASSWORD + "\n")
    ca = {"caPemPath": str(broker.certificates / "ca.pem")}
    return {
        "sasl": {
            "address": broker.address("sasl"),
            "securityProtocol": "SASL_PLAINTEXT",
            "saslMechanisms": "PLAIN",
            **LOGIN,
        },
        "sasl-tls": {
            "address": broker.address("sasl_tls"),
            "saslUsername": kafka_broker.USER,
            "saslPasswordFile": str(password),
            "tls": ca,
        },
        "mutual-tls": {"address": broker.address("tls"), "tls": {**ca, **broker.client_certificate}},
    }


@pytest.mark.parametrize("way", ["sasl", "sasl-tls", "mutual-tls"])
def test_ways_in(make_cdc, source, target, broker, name, tmp_path, way):
    cdc = make_cdc(source, log={"kafka": ways_in(broker, tmp_path)[way]}).start()
    made = source.create(name, shards=2)
    made.insert(simple_rows(range(100)))
    cdc.create(target, scope(name))
    made.delete("id in [1, 2]")
    wait_same_rows(source, target, name, expect=98)
    assert kafka_broker.PASSWORD not in cdc.log.read_text()


@pytest.mark.parametrize(
    "wrong, told",
    [
        ({"saslPassword": "geheimnis"}, "uthentication"),
        ({"tls": {}}, "certificate"),
        ({"securityProtocol": "SASL_PLAINTEXT", "tls": None}, "roker"),
    ],
)
def test_refused_by_the_broker(make_cdc, source, target, broker, name, tmp_path, wrong, told):
    """The task reports the reason and keeps trying; no password is shown."""
    way = {**ways_in(broker, tmp_path)["sasl-tls"], **LOGIN}
    way.pop("saslPasswordFile")
    way = {key: value for key, value in {**way, **wrong}.items() if value is not None}
    cdc = make_cdc(source, log={"kafka": way}).start()
    source.create(name)
    task = cdc.create(target, scope(name))
    task.wait_reason(broker.address("sasl_tls"), told, phase="Retrying")
    shown = cdc.log.read_text() + str(cdc.call("list"))
    assert "geheimnis" not in shown and kafka_broker.PASSWORD not in shown
    task.pause()


@pytest.mark.slow
def test_broker_killed_under_load(cdc, source, target, broker, name):
    source.create(name, shards=2)
    task = cdc.create(target, scope(name))
    with Load(source, name) as load:
        wait_until(lambda: load.batches > 10, 30, "the load")
        broker.kill()
        task.wait_reason(broker.address(), phase="Retrying")
        task.pause()  # which is answered while the broker is away
        task.resume()
        broker.start()
        load.go_on(15, 90)
    task.wait_caught_up()
    assert task.get()["skipped"] == {}
    wait_same_rows(source, target, name, timeout=60)


@pytest.mark.slow
def test_leader_changes(make_cdc, more_servers, target, name):
    """Two brokers. The second is killed under load and restarted; the leaders of the topics move both times."""
    moves_back = {"leader.imbalance.check.interval.seconds": 2, "leader.imbalance.per.broker.percentage": 0}
    copies = {"default.replication.factor": 2, "min.insync.replicas": 1}
    first = more_servers.broker("kafka", "first", settings={**moves_back, **copies})
    second = more_servers.broker("kafka", "second", settings=copies, beside=first)
    both = f"{first.address()},{second.address()}"
    settings = {**first.milvus_settings(), "kafka.brokerList": both}
    source = Node(more_servers.launch("leaders", settings=settings).wait_ready(), KafkaLog(first))
    source.create(name, shards=16)
    topics = source.topics_of(name)
    cdc = make_cdc(source, log={"kafka": {"address": both}}).start()
    task = cdc.create(target, scope(name))
    spread = wait_until(lambda: leads_both(first, topics), 60, "leaders on both brokers", every=0.5)
    with Load(source, name) as load:
        load.go_on(10, 60)
        second.kill()
        wait_until(
            lambda: {leader for leader, _, _ in kafka.leaders(first, topics).values()} == {1},
            60,
            "the first to lead all",
            every=0.5,
        )
        load.go_on(10, 60)
        second.start()
        wait_until(lambda: kafka.leaders(first, topics) == spread, 90, "the second to lead its topics again", every=0.5)
        load.go_on(10, 60)
    task.wait_caught_up()
    assert task.get()["skipped"] == {}
    wait_same_rows(source, target, name, timeout=60)


def leads_both(broker, topics) -> dict:
    """The leaders, once every topic has its preferred leader and all replicas are in sync."""
    found = kafka.leaders(broker, topics)
    assert {leader for leader, _, _ in found.values()} == {1, 2}, found
    assert all(leader == preferred and copies == 2 for leader, preferred, copies in found.values()), found
    return found


def test_retention_during_a_pause(cdc, source, target, broker, name):
    """The broker itself deletes what the paused task has not read."""
    made = source.create(name)
    made.insert(simple_rows(range(300)))
    task = cdc.create(target, scope(name))
    wait_same_rows(source, target, name, expect=300)
    task.wait_caught_up()
    task.pause()
    made.insert(simple_rows(range(300, 400)))
    made.delete("id in [1, 2, 3]")
    made.flush()
    [topic] = source.topics_of(name)
    end = kafka.span(broker, topic)[1]
    kafka.configure(broker, topic, segment_ms=500, retention_ms=1000)
    try:
        kafka.wait_for_retention(broker, topic, end)
    finally:
        kafka.configure(broker, topic, segment_ms=604_800_000, retention_ms=604_800_000)
    task.resume()
    wait_same_rows(source, target, name, expect=397, timeout=60)
    assert task.get()["skipped"] == {"gap in the log, copied again": 1}
    assert name in cdc.log.read_text()


def test_check_of_the_retention(cdc, source, target, broker, name):
    """A pause is compared with the shortest retention of the topics; `-1` is unlimited."""
    source.create(name, shards=2)
    topics = source.topics_of(name)
    kafka.configure(broker, topics[0], retention_ms=3 * 3_600_000)
    try:
        for hours, level, text in (
            (2, "good", "a pause of 2 h is no longer than kafka keeps messages (3 h)"),
            (24, "warning", "a pause of 24 h is longer than kafka keeps messages (3 h)"),
        ):
            findings = check(cdc, target, scope(name), pause_hours=hours)["findings"]
            assert any(found["level"] == level and found["text"] == text for found in findings), findings
        for topic in topics:
            kafka.configure(broker, topic, retention_ms=-1)
        findings = check(cdc, target, scope(name), pause_hours=500)["findings"]
        assert any(
            "no longer than kafka keeps messages (until they are read" in found["text"] for found in findings
        ), findings
    finally:
        for topic in topics:
            kafka.configure(broker, topic, retention_ms=604_800_000)


def test_topics_are_milvus_own_business(make_cdc, more_servers, target, broker, name):
    """A source without collections has no topic yet: the task creates none, and joins no consumer group."""
    lonely = kafka_source(more_servers, "lonely", broker, prefix="lonely")
    cdc = make_cdc(lonely, log={**lonely.log.config(), "channelPrefix": "lonely"}).start()
    task = cdc.create(target)
    task.wait_phase("Following")
    assert not [topic for topic in kafka.topics(broker) if topic.startswith("lonely")]
    lonely.create(name).insert(simple_rows(range(50)))
    wait_same_rows(lonely, target, name, expect=50)
    task.wait_caught_up()
    assert kafka.topics(broker)[lonely.topics_of(name)[0]] == 3, "the broker makes topics with three partitions"
    assert "milvus-cdc" not in kafka.groups(broker)


def kafka_source(servers, name, broker, prefix="by-dev") -> Node:
    settings = {**broker.milvus_settings(), "msgChannel.chanNamePrefix.cluster": prefix}
    return Node(servers.launch(name, settings=settings).wait_ready(), KafkaLog(broker))


def test_topics_that_others_write_to(cdc, more_servers, source, target, broker, name):
    """Rows, deletes and collections of another Milvus in the same topics are skipped. They are copied from the topics
    of that server: two servers that really share a topic disturb each other with their ticks, so that not even the
    source shows its rows."""
    other = kafka_source(more_servers, "other", broker, prefix="other")
    foreign = other.create(f"{name}_other", shards=1)
    foreign.insert(simple_rows(range(500)))
    foreign.delete("id in [1, 2, 3]")
    source.create(name, shards=1)
    [theirs], [ours] = other.topics_of(f"{name}_other"), source.topics_of(name)
    task = cdc.create(target, scope("*"))
    with Load(source, name) as load:
        wait_until(lambda: load.batches > 10, 60, "the load")
        assert kafka.copy_all_but_ticks(broker, theirs, ours) >= 3
        wait_until(lambda: load.batches > 30, 60, "the load")
    task.wait_caught_up()
    wait_same_rows(source, target, name, timeout=60)
    assert target.collections() == [name]
    assert task.get()["skipped"] == {}


@pytest.mark.slow
def test_connections_do_not_grow_with_collections(cdc, source, target, broker, name):
    """One consumer for all topics of a task, and one for questions while there are some."""
    names = [f"{name}_{number}" for number in range(24)]
    task = cdc.create(target, scope("*"))
    for one in names:
        source.create(one, load=False)
    wait_until(lambda: target.collections() == sorted(names), 90, "the collections")
    task.wait_caught_up()
    port = int(broker.address().rpartition(":")[2])
    # Each consumer has a connection to the configured broker, and one to the same broker as leader.
    assert 1 <= connections_to(cdc.pid, port) <= 6
    wait_until(lambda: connections_to(cdc.pid, port) <= 3, 40, "the questions' connections to be closed")
