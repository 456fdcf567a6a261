"""A source that keeps its log in Pulsar: tokens and TLS, brokers that go away, ledgers that go, and who holds them."""

import time

import pulsar_broker
import pytest
from support import pulsar
from support.cdc import scope
from support.load import Load
from support.logs import PulsarLog, start_again
from support.network import connections_to
from support.node import Node, simple_rows
from support.oracle import count, differences, rows, wait_same_rows
from support.waiting import wait_until
from test_check import check

pytestmark = pytest.mark.pulsar

# Milvus gives up a message that no broker has taken for so many seconds.
MILVUS_GIVES_UP = 30


@pytest.fixture
def broker(source):
    """The source's broker, after the test running again and with its own retention."""
    yield source.log.broker
    start_again(source)
    pulsar.forget_retention(source.log.broker)


def pulsar_source(servers, name, broker, prefix="by-dev") -> Node:
    settings = {**broker.milvus_settings(), "msgChannel.chanNamePrefix.cluster": prefix}
    return Node(servers.launch(name, settings=settings).wait_ready(), PulsarLog(broker))


def config(broker, **more) -> dict:
    """`sourceConfig` with more under `pulsar`; what is `None` is left out."""
    keys = {**PulsarLog(broker).config()["pulsar"], **more}
    return {"pulsar": {key: value for key, value in keys.items() if value is not None}}


def tls(broker, authority="ca.pem") -> dict:
    return {
        "address": f"pulsar+ssl://{broker.address('tls')}",
        "tls": {"caPemPath": str(broker.certificates / authority)},
    }


def why(task) -> str:
    """Why this log is read, and how."""
    return wait_until(lambda: task.get().get("source_log"), 20, "the log to be open")["why"]


def wait_each_row_once(source, target, name) -> None:
    """Milvus sends again what a broker had not confirmed when it went, and so doubles some rows in itself: not how
    often they are there is compared, and the target must have none twice."""

    def same():
        found = rows(target, name)
        assert not differences(rows(source, name), found)
        assert count(target, name) == len(found)
        return True

    wait_until(same, 60, "each row once")


def test_tls(make_cdc, source, target, broker, name):
    cdc = make_cdc(source, log=config(broker, **tls(broker))).start()
    made = source.create(name, shards=2)
    made.insert(simple_rows(range(100)))
    cdc.create(target, scope(name))
    made.delete("id in [1, 2]")
    wait_same_rows(source, target, name, expect=98)


def test_certificates_are_looked_at(make_cdc, source, target, broker, name):
    cdc = make_cdc(source, log=config(broker, **tls(broker, "client.pem"))).start()
    source.create(name)
    task = cdc.create(target, scope(name))
    task.wait_reason(broker.address("tls"), "certificate", phase="Retrying")
    task.pause()


def test_https_of_the_administration(make_cdc, source, target, broker, name):
    """What the namespace keeps is asked for with TLS; a certificate of somebody else is refused."""
    source.create(name)
    secure = {"webAddress": f"https://{broker.address('web_tls')}"}
    cdc = make_cdc(source, log=config(broker, **tls(broker), **secure)).start()
    task = cdc.create(target, scope(name))
    assert "the namespace keeps them 168 h" in why(task)
    task.delete()
    cdc = make_cdc(source, log=config(broker, tls=tls(broker, "client.pem")["tls"], **secure)).start()
    task = cdc.create(target, scope(name))
    assert "cannot be asked for" in why(task) and "certificate" in why(task)


def test_client_certificate(make_cdc, more_servers, target, name):
    """A broker that wants a certificate from everybody who comes with TLS, also for its administration."""
    wanted = {"tlsRequireTrustedClientCertOnConnect": "true"}
    broker = more_servers.broker("pulsar", "mutual", settings=wanted)
    source = pulsar_source(more_servers, "mutual", broker)
    source.create(name).insert(simple_rows(range(100)))
    web = {"webAddress": f"https://{broker.address('web_tls')}"}
    refused = make_cdc(source, log=config(broker, **tls(broker), **web)).start().create(target, scope(name))
    refused.wait_reason(broker.address("tls"), "certificate")
    refused.delete()
    way = tls(broker)
    way["tls"].update(broker.client_certificate)
    task = make_cdc(source, log=config(broker, **way, **web)).start().create(target, scope(name))
    wait_same_rows(source, target, name, expect=100)
    assert "the namespace keeps read ones not at all" in why(task)


def test_token(make_cdc, more_servers, target, name, tmp_path):
    """A broker that wants a token from everybody; one that is wrong or missing is told, and never shown."""
    broker = more_servers.broker("pulsar", "token", token=True)
    source = pulsar_source(more_servers, "token", broker)
    made = source.create(name)
    made.insert(simple_rows(range(100)))
    token = tmp_path / "token"
    token.write_text(pulsar_broker.token() + "\n")
    cdc = make_cdc(source, log=config(broker, **tls(broker), authPlugin="token", authParamsFile=str(token))).start()
    cdc.create(target, scope(name))
    wait_same_rows(source, target, name, expect=100)
    assert pulsar_broker.token() not in cdc.log.read_text()
    for wrong in ("token:" + pulsar_broker.token()[:-4] + "AAAA", None):
        refused = make_cdc(source, log=config(broker, authParams=wrong)).start()
        task = refused.create(target, scope(name))
        task.wait_reason(broker.address(), "uthentication")
        shown = refused.log.read_text() + str(refused.call("list"))
        assert pulsar_broker.token()[:-4] not in shown
        refused.kill9()


def test_broker_killed_under_load(cdc, source, target, broker, name):
    """Nothing is lost, and nothing is copied; unless it was away for so long that Milvus has given up messages."""
    source.create(name, shards=2)
    task = cdc.create(target, scope(name))
    with Load(source, name) as load:
        wait_until(lambda: load.batches > 10, 30, "the load")
        broker.kill()
        away = time.monotonic()
        task.wait_reason(broker.address(), phase="Retrying")
        task.pause()  # which is answered while the broker is away
        task.resume()
        broker.start()
        seen = load.batches
        wait_until(lambda: load.batches > seen, 90, "the load to go on")
        away = time.monotonic() - away
        wait_until(lambda: load.batches > seen + 15, 90, "the load to go on")
    task.wait_caught_up()
    assert set(task.get()["skipped"]) <= ({"gap in the log, copied again"} if away > MILVUS_GIVES_UP else set())
    wait_each_row_once(source, target, name)


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
    source.log.cut(source.topics_of(name))
    task.resume()
    wait_same_rows(source, target, name, expect=397, timeout=60)
    assert task.get()["skipped"] == {"gap in the log, copied again": 1}
    assert name in cdc.log.read_text()


def test_ledgers_roll_over_during_a_pause(cdc, source, target, broker, name):
    """Several ledgers were closed, and the namespace keeps them: nothing is missing, nothing is copied."""
    made = source.create(name)
    task = cdc.create(target, scope(name))
    assert "no subscription holds messages: the namespace keeps them 168 h" in why(task)
    made.insert(simple_rows(range(100)))
    wait_same_rows(source, target, name, expect=100)
    task.pause()
    [topic] = source.topics_of(name)
    for first in range(100, 400, 100):
        made.insert(simple_rows(range(first, first + 100)))
        pulsar.unload(broker, topic)
    task.resume()
    wait_same_rows(source, target, name, expect=400, timeout=60)
    assert task.get()["skipped"] == {}
    assert pulsar.subscriptions(broker, topic, "milvus-cdc-reader") != [], "it is read"
    task.delete()
    wait_until(lambda: pulsar.subscriptions(broker, topic) == [], 20, "our subscriptions to go")


def test_ledgers_roll_over_under_load(cdc, source, target, broker, name):
    """A topic that is unloaded again and again while it is read: every reader is closed, looks it up and goes on behind
    its last message."""
    source.create(name, shards=2)
    task = cdc.create(target, scope(name))
    with Load(source, name) as load:
        wait_until(lambda: load.batches > 5, 30, "the load")
        for _ in range(4):
            seen = load.batches
            for topic in source.topics_of(name):
                pulsar.unload(broker, topic)
            wait_until(lambda: load.batches > seen + 5, 60, "the load to go on")
    task.wait_caught_up()
    assert task.get()["skipped"] == {}
    wait_each_row_once(source, target, name)


@pytest.mark.slow
def test_durable_subscription(cdc, source, target, broker, name):
    """Where the namespace keeps nothing, `auto` takes a subscription: it holds what a paused task has not read, lets go
    behind the checkpoint, and is gone with the task."""
    pulsar.set_retention(broker, 0)
    made = source.create(name)
    task = cdc.create(target, scope(name))
    assert "a durable subscription holds messages: the namespace keeps read ones not at all" in why(task)
    made.insert(simple_rows(range(100)))
    wait_same_rows(source, target, name, expect=100)
    [topic] = source.topics_of(name)
    [subscription] = wait_until(lambda: durable(broker, topic), 30, "the subscription")
    task.pause()
    [written] = pulsar.ledgers(broker, topic)[-1:]
    made.insert(simple_rows(range(100, 200)))
    made.delete("id in [1, 2]")
    for _ in range(2):
        pulsar.unload(broker, topic)
        made.insert(simple_rows([pulsar.ledgers(broker, topic)[-1] + 1000]))
    pulsar.trim(broker, topic)
    assert written in pulsar.ledgers(broker, topic)
    cdc.kill9()
    cdc.start()
    task.resume()
    wait_same_rows(source, target, name, expect=200, timeout=60)
    assert task.get()["skipped"] == {}
    assert durable(broker, topic) == [subscription], "the same one goes on"

    # Milvus nodes that earlier tests have killed hold as much.
    pulsar.end_left_behind(broker, topic, spared=(subscription,))

    def lets_go():
        pulsar.trim(broker, topic)
        assert written not in pulsar.ledgers(broker, topic)
        return True

    wait_until(lets_go, 60, "the subscription to follow the checkpoint", every=0.5)
    task.delete()
    assert durable(broker, topic) == []
    wait_until(lambda: pulsar.subscriptions(broker, topic) == [], 20, "the readers' subscriptions to go")


def durable(broker, topic: str) -> list[str]:
    return [name for name in pulsar.subscriptions(broker, topic) if "reader" not in name and "search" not in name]


@pytest.mark.parametrize(
    "retention_minutes, mode, told",
    [
        (
            120,
            "reader",
            {
                24: ("warning", "longer than pulsar keeps messages (2 h)"),
                2: ("good", "no longer than pulsar keeps messages (2 h)"),
            },
        ),
        (0, "reader", {24: ("warning", "longer than pulsar keeps messages (only until the source has read them)")}),
        (
            0,
            "auto",
            {500: ("good", "no longer than pulsar keeps messages (until they are read, as far as there is room)")},
        ),
    ],
)
def test_check_of_the_retention(make_cdc, source, target, broker, name, retention_minutes, mode, told):
    """A pause is compared with what the namespace, or a subscription, keeps."""
    pulsar.set_retention(broker, retention_minutes)
    source.create(name)
    cdc = make_cdc(source, log=config(broker, subscription=mode)).start()
    for hours, (level, text) in told.items():
        report = check(cdc, target, scope(name), pause_hours=hours)
        findings = [finding for finding in report["findings"] if finding["about"] == "retention"]
        assert any(text in finding["text"] and finding["level"] == level for finding in findings), findings


def test_subscription_is_ended_when_it_is_not_wanted_any_more(make_cdc, source, target, broker, name):
    """The namespace has got a retention since the task began."""
    pulsar.set_retention(broker, 0)
    made = source.create(name)
    cdc = make_cdc(source).start()
    task = cdc.create(target, scope(name))
    [topic] = source.topics_of(name)
    wait_until(lambda: durable(broker, topic), 30, "the subscription")
    pulsar.forget_retention(broker)
    task.pause()
    task.resume()
    wait_until(lambda: durable(broker, topic) == [], 30, "the subscription to go")
    assert "no subscription holds messages" in why(task)
    made.insert(simple_rows(range(10)))
    wait_same_rows(source, target, name, expect=10)


def test_delete_while_the_broker_is_away(make_cdc, source, target, broker, name):
    """The task goes; what is left at the broker is told, with how to end it."""
    source.create(name)
    cdc = make_cdc(source, log=config(broker, subscription="durable")).start()
    task = cdc.create(target, scope(name))
    [topic] = source.topics_of(name)
    [subscription] = wait_until(lambda: durable(broker, topic), 30, "the subscription")
    broker.kill()
    task.delete()
    assert cdc.ask("list")["tasks"] == []
    told = cdc.log.read_text()
    assert (
        f"unsubscribe --force --subscription {subscription}" in told and f"persistent://public/default/{topic}" in told
    )


def test_check(make_cdc, source, target, broker, name):
    """It says how messages are kept, and makes no subscription even where a task would have one."""
    made = source.create(name)
    made.insert(simple_rows(range(10)))
    for subscription, told in (
        ("auto", "the namespace keeps them 168 h"),
        ("durable", "a durable subscription holds messages"),
    ):
        cdc = make_cdc(source, log=config(broker, subscription=subscription)).start()
        report = cdc.ask("check", milvus_connect_param={"uri": target.uri, "connect_timeout": 5}, **scope(name))
        assert report["ok"], report
        texts = {finding["about"]: finding["text"] for finding in report["findings"]}
        assert "`pulsar` can be read" in texts["log"] and told in texts["log"], texts
        assert "the log still has everything since the collections were created" in str(report), report
        cdc.kill9()
    [topic] = source.topics_of(name)
    wait_until(lambda: pulsar.subscriptions(broker, topic) == [], 20, "the questions' subscriptions to go")


def test_topics_are_milvus_own_business(make_cdc, more_servers, source, target, broker, name):
    """Without a collection nothing is read, and no topic is made; without webAddress nothing is held."""
    before = pulsar.topics(broker)
    log = {**config(broker, webAddress=None), "channelPrefix": "lonely"}
    cdc = make_cdc(source, log=log).start()
    task = cdc.create(target, scope("nothing_of_that_name"))
    task.wait_phase("Following")
    assert "webAddress is not set" in why(task)
    assert sorted(pulsar.topics(broker)) == sorted(before)
    assert not any(topic.startswith("lonely") for topic in pulsar.topics(broker))


@pytest.mark.slow
def test_connections_do_not_grow_with_collections(cdc, source, target, broker, name):
    """One connection for all topics of a task, and one for questions while there are some."""
    names = [f"{name}_{number}" for number in range(24)]
    task = cdc.create(target, scope("*"))
    for one in names:
        source.create(one, load=False)
    wait_until(lambda: target.collections() == sorted(names), 90, "the collections")
    task.wait_caught_up()
    port = int(broker.address().rpartition(":")[2])
    assert 1 <= connections_to(cdc.pid, port) <= 2
    wait_until(lambda: connections_to(cdc.pid, port) == 1, 40, "the questions' connection to be closed")
