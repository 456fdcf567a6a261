"""Fixtures: servers for the whole run, for a module and for a test.

Run by `scripts/test e2e`, which names the binary in MILVUS_CDC_BIN and the folder for logs in MILVUS_CDC_TEST_LOGS.
"""

import os
import pathlib
import re

# Servers are forked from a process with gRPC threads; the fork handlers of newer grpcio would abort the child.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
# A broker that lives for one test does not recoup the cost of the optimizing compiler.
os.environ.setdefault("JAVA_TOOL_OPTIONS", "-XX:TieredStopAtLevel=1")

import pytest

from support.artefacts import LIVE_CDCS
from support.cdc import Cdc
from support.logs import BROKER_LOGS, start_again
from support.network import Relay
from support.node import Node
from support.pool import BROKER_SETTINGS, BROKERS, ServerPool, wipe
from support.rerun import WATCHED

pytest_plugins = ["support.artefacts", "support.order", "support.rerun", "support.selection", "support.time_limit"]


@pytest.fixture(scope="session")
def binary() -> pathlib.Path:
    named = os.environ.get("MILVUS_CDC_BIN")
    if not named:
        pytest.exit("MILVUS_CDC_BIN must name the milvus-cdc binary; scripts/test e2e does so", returncode=2)
    return pathlib.Path(named)


@pytest.fixture(scope="session")
def pair(tmp_path_factory, request):
    """Source and target, started together once for the whole run; with `--source-log kafka` or `pulsar` after a
    broker."""
    servers = ServerPool(tmp_path_factory.mktemp("pair"))
    log, settings = None, {}
    try:
        kind = request.config.getoption("--source-log")
        if kind in BROKERS:
            log = BROKER_LOGS[kind](servers.broker(kind, "broker", settings=BROKER_SETTINGS[kind]))
            settings = log.broker.milvus_settings()
        source, target = servers.launch("source", settings=settings), servers.launch("target")
        WATCHED[:] = Node(source.wait_ready(), log), Node(target.wait_ready())
        yield WATCHED
    finally:
        WATCHED.clear()
        servers.stop_all()


@pytest.fixture(scope="session")
def source(pair) -> Node:
    return pair[0]


@pytest.fixture
def broker(source):
    """The source's broker, which is running again after the test."""
    yield source.log.broker
    start_again(source)


@pytest.fixture(scope="session")
def target(pair) -> Node:
    return pair[1]


@pytest.fixture
def relay(target):
    """A relay to the target that can be stalled and cut."""
    one = Relay(target.server.port)
    yield one
    one.close()


@pytest.fixture(scope="module")
def more_servers(tmp_path_factory):
    """For modules that need servers of another kind."""
    servers = ServerPool(tmp_path_factory.mktemp("more"))
    yield servers
    servers.stop_all()


@pytest.fixture
def own_source(more_servers) -> Node:
    """A source that a test may lose: its disk, or its log for a while."""
    node = Node(more_servers.launch("own-source").wait_ready())
    yield node
    node.disconnect()
    node.server.stop()


@pytest.fixture(scope="module", autouse=True)
def clean_slate(request):
    """Leaves both servers running and empty after every module. Requests the pair first, so that it outlives the
    servers of the module."""
    both = request.getfixturevalue("pair")
    yield
    wipe(both)


@pytest.fixture
def make_cdc(binary, pair, tmp_path):
    """Creates servers under test without starting them. After the test all are stopped, and source and target are
    empty."""
    made: list[Cdc] = []

    def make(source: Node, **settings) -> Cdc:
        cdc = Cdc(binary, tmp_path / f"cdc{len(made)}", source, **settings)
        made.append(cdc)
        LIVE_CDCS[f"cdc{len(made)}"] = cdc
        return cdc

    yield make
    for number, cdc in enumerate(made, 1):
        cdc.kill9()
        LIVE_CDCS.pop(f"cdc{number}", None)
    wipe(pair)


@pytest.fixture
def cdc(make_cdc, source) -> Cdc:
    """A started server that follows `source`."""
    return make_cdc(source).start()


@pytest.fixture(scope="module")
def following(binary, source, target, tmp_path_factory):
    """One server with one task that follows everything, for all tests of a module."""
    cdc = Cdc(binary, tmp_path_factory.mktemp("following"), source).start()
    LIVE_CDCS["cdc-following"] = cdc
    try:
        task = cdc.create(target)
        task.wait_phase("Following")
        yield task
    finally:
        cdc.kill9()
        LIVE_CDCS.pop("cdc-following", None)


@pytest.fixture
def name(request) -> str:
    """A collection name that is unique to the test."""
    return re.sub(r"\W+", "_", request.node.name)[:120]


@pytest.fixture
def fake():
    """A source whose log is read over gRPC: see `support/fake`."""
    from support.fake import FakeMilvus

    fake = FakeMilvus().start()
    yield fake
    fake.stop()
    assert not fake.strange_ids, f"ids were asked for that were never given: {fake.strange_ids}"


@pytest.fixture
def replay():
    """Starts servers that replay a recording, from a step on: see `support/replay`."""
    from support.replay import Replay
    from support.replay.recording import recording

    started: list[Replay] = []

    def start(name: str, step: int = 0, **how) -> Replay:
        started.append(Replay(recording(name), step, **how).start())
        return started[-1]

    yield start
    for one in started:
        one.stop()


@pytest.fixture
def follow(make_cdc):
    """Starts servers that follow a fake. `log`: a part of `sourceConfig`."""

    def start(fake, log: dict | str = "wal") -> Cdc:
        log = {"log": log} if isinstance(log, str) else log
        return make_cdc(fake, milvus={"connectTimeout": 2}, log=log).start()

    return start


@pytest.fixture
def wal(follow, fake) -> Cdc:
    """A started server that follows `fake`."""
    return follow(fake)
