"""Recorded queues of real Milvus 2.6.20 and 3.0 servers, followed to a real Milvus 2.3.5: RocksMQ's files as they lay
there, and Kafka's and Pulsar's messages in real brokers. The catalog is a replay (see `support/replay`). What arrives
are the rows that the recorded workload left. Of 3.0 there is no recording of Kafka and Pulsar.
"""

from contextlib import closing

import pytest

from support.fake.queues import WOODPECKER
from support.replay import are_expected
from support.replay.expected import assert_followed, scope
from support.replay.older import as_before
from support.replay.queues import (
    KafkaTopics,
    PulsarTopics,
    RocksMqFiles,
    alter_wal,
    of_kafka,
    of_pulsar,
    of_rocksmq,
    unpack,
)
from support.replay.recording import recording
from support.waiting import wait_until
from test_replay import NAMES

pytestmark = pytest.mark.skipif(not are_expected(), reason="the recordings are not beside this checkout")

# Before anything that Milvus 2.5 could not do, and before the aliases: one that is created in the moment of a kill, and
# dropped at the source until the next start, stays.
BEFORE_UPGRADE = 19


def check(server, task, target) -> None:
    """The rows are there, all of them from the queue."""
    assert_followed(server, task, target, NAMES)
    assert not server.calls["DumpMessages"], "the queue is what is read"


@pytest.mark.parametrize(
    ("name", "state"), [("2.6.20-rocksmq-rollback", "rocksmq"), ("3.0-rocksmq", "rocksmq-running")]
)
def test_a_folder_as_it_lay_there(follow, replay, target, tmp_path, name, state):
    """After the server had stopped, and while it ran."""
    server = replay(name, recording(name).last_step)
    folder = unpack(server.recording, state, tmp_path)
    task = follow(server, {"rocksmq": {"path": str(folder)}}).create(target, scope(server.recording, NAMES))
    check(server, task, target)
    assert task.get()["source_log"]["kind"] == "rocksmq"


@pytest.fixture(scope="module")
def kafka_broker(more_servers):
    """Without topics: those of the source's own broker have the same names."""
    return more_servers.broker("kafka", "recorded")


@pytest.fixture
def queue(request, tmp_path):
    """Makes a queue for a recording's messages; the queue and the part of `sourceConfig` that names it."""
    kind = request.param
    if kind == "rocksmq":

        def make(recorded):
            files = RocksMqFiles(tmp_path / "rdb_data", of_rocksmq(recorded, tmp_path / "recorded"))
            return files, {"rocksmq": {"path": str(files.path)}}

    elif kind == "kafka":
        broker = request.getfixturevalue("kafka_broker")

        def make(recorded):
            return KafkaTopics(broker, of_kafka(recorded)), {"kafka": {"address": broker.address()}}

    else:
        broker = request.getfixturevalue("broker")

        def make(recorded):
            where = {"address": f"pulsar://{broker.address()}", "namespace": "recorded"}
            return PulsarTopics(broker, "recorded", of_pulsar(recorded)), {"pulsar": where}

    return make


def go_on(server, messages, step: int) -> None:
    """The source comes to the end of a step. What the catalog shows is in the log before; but no Milvus writes rows
    into a partition that its catalog does not show yet, so that the two go on step by step."""
    recorded = server.recording
    while server.step < step:
        then = server.step + 1
        messages.write(None if then == recorded.last_step else recorded.ticks(then)[0])
        server.advance()


def load_truncated(target) -> None:
    """Milvus 2.3 has no truncation: the rows are deleted by their keys, which have to be read there."""
    for name in ["trunc1", "trunc3"]:
        wait_until(lambda: target.has(name) and target.indexes(name), 30, f"{name} on the target")
        target.collection(name).load(_async=True)


def furthest(task) -> int:
    """How far the channel is that has come furthest: the others may still be reading."""
    positions = task.cdc.ask("position", task_id=task.id)["positions"] or []
    return max((position["time"] for position in positions), default=0)


@pytest.mark.parametrize(
    ("name", "queue"),
    [
        ("2.6.20-rocksmq", "rocksmq"),
        pytest.param("2.6.20-kafka", "kafka", marks=pytest.mark.kafka),
        pytest.param("2.6.20-pulsar", "pulsar", marks=pytest.mark.pulsar),
    ],
    indirect=["queue"],
)
def test_a_queue_that_is_written_meanwhile(follow, replay, target, name, queue):
    """Some steps at a time, and within each of them the program is killed."""
    server = replay(name)
    messages, config = queue(server.recording)
    with closing(messages):
        messages.write(server.now())
        cdc = follow(server, config)
        task = cdc.create(target, scope(server.recording, NAMES))
        go_on(server, messages, 9)
        load_truncated(target)
        for step in [17, server.recording.last_step]:
            before = server.now()
            go_on(server, messages, step)
            wait_until(lambda: furthest(task) > before >> 18, 30, f"rows of step {step}", every=0.01)
            cdc.kill9()
            cdc.start()
        check(server, task, target)


def test_an_upgrade_under_a_running_task_and_a_move_to_another_queue(follow, replay, target, tmp_path):
    """The first steps as Milvus 2.5 would have written them (made of the recorded messages), the others as 2.6 did,
    behind them in the same files. Then the log moves to Woodpecker."""
    server = replay("2.6.20-rocksmq", BEFORE_UPGRADE)
    recorded = server.recording
    messages = of_rocksmq(recorded, tmp_path / "recorded")
    with closing(RocksMqFiles(tmp_path / "rdb_data", messages)) as files:
        for older in files.take(recorded.ticks(BEFORE_UPGRADE)[0]):
            for key, value in as_before(older):
                files.put(key, value)
        cdc = follow(server, {"rocksmq": {"path": str(files.path)}})
        task = cdc.create(target, scope(recorded, NAMES))
        load_truncated(target)
        cdc.restart()
        upgraded = server.now()
        go_on(server, files, recorded.last_step)
        wait_until(lambda: furthest(task) > upgraded >> 18, 30, "rows of 2.6", every=0.01)
        cdc.kill9()
        cdc.start()
        check(server, task, target)
        files.append([alter_wal(messages[-1], WOODPECKER)])
        task.wait_reason("has moved its log from RocksMQ to Woodpecker", "set sourceConfig.log", phase="Stopped")
