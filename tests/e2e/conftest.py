"""The harness: servers, time limits, and the logs of a test that failed.

Run by `scripts/test e2e`, which names the binary in MILVUS_CDC_BIN and the folder for logs in MILVUS_CDC_TEST_LOGS.
"""

import os
import pathlib
import re
import shutil
import signal
import sys

# Servers are started from a process that has gRPC's threads: its handlers of a fork abort the child of a newer grpcio.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
# A broker that lives for a test or a minute does not earn back what compiling it twice costs.
os.environ.setdefault("JAVA_TOOL_OPTIONS", "-XX:TieredStopAtLevel=1")

import pymilvus
import pytest
from _pytest.runner import runtestprotocol

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "scripts" / "lib")]

import processes
from java_broker import JavaBroker
from kafka_broker import KafkaBroker
from lite_server import LiteServer
from milvus_server import MilvusServer
from pulsar_broker import PulsarBroker
from query_node import QueryNode
from reference_server import ReferenceServer
from support.cdc import Cdc
from support.logs import BROKER_LOGS, start_again
from support.network import Relay
from support.node import Node
from support.stuck import stuck

# Milvus Lite is driven by a newer pymilvus than Milvus 2.3.5 (see `scripts/lib/lite_install.py`): each environment runs its own tests.
IS_NEW = int(pymilvus.__version__.split(".")[1]) > 3
collect_ignore_glob = [name for name in os.listdir(HERE) if name.startswith("test_lite") != IS_NEW and name.startswith("test_")]

DEFAULT_LIMIT = 300
# Loading a collection is most of what a small test waits for; these intervals of Milvus make it twice as fast.
QUICK_LOADING = {
    "queryCoord.checkInterval": 100,
    "queryCoord.checkChannelInterval": 100,
    "queryCoord.checkSegmentInterval": 100,
    "queryCoord.distPullInterval": 50,
}
BROKERS = {"kafka": KafkaBroker, "pulsar": PulsarBroker}
BROKER_SETTINGS = {
    # Milvus uses the first partition of three, and retention looks for old messages often.
    "kafka": {"num.partitions": 3, "log.retention.check.interval.ms": 500, "log.segment.delete.delay.ms": 0},
    # As an operator sets it. A ledger may be closed as soon as it has a message.
    "pulsar": {"defaultRetentionTimeInMinutes": 10080, "defaultRetentionSizeInMB": -1, "managedLedgerMinLedgerRolloverTimeMinutes": 0},
}
# A second query node cannot read the queue inside a server.
NEEDED_LOGS = {"test_kafka": ["kafka"], "test_pulsar": ["pulsar"], "test_broker": list(BROKERS), "test_replicas": ["kafka"]}
LIVE_LOGS: dict[str, pathlib.Path] = {}
PAIR: list[Node] = []
# What they have not answered.
STUCK: dict[Node, str] = {}
RAN_AGAIN = "ran again"


def pytest_addoption(parser):
    kinds = ["rocksmq", *BROKERS]
    parser.addoption("--source-log", choices=kinds, default=kinds[0], help="where the source keeps its log")


def pytest_ignore_collect(collection_path, config):
    """What is about a broker needs one."""
    wanted = NEEDED_LOGS.get(collection_path.stem)
    if wanted and config.getoption("--source-log") not in wanted:
        return True


def pytest_configure(config):
    config.addinivalue_line("markers", f"limit(seconds): time limit of one test, {DEFAULT_LIMIT} s unless given")
    config.addinivalue_line("markers", "alone: it measures time or CPU, so nothing else may run beside it")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item, nextitem):
    """A time limit for each test, its fixtures included. One that fails beside a reference server that is stuck by itself runs once more."""
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    STUCK.clear()
    reports = run_limited(item, nextitem)
    if STUCK:
        why = ", ".join(STUCK.values())
        for node in STUCK:
            node.server.restart()
        wipe(PAIR)
        item._initrequest()
        reports = run_limited(item, nextitem)
        for report in reports:
            report.user_properties.append((RAN_AGAIN, why))
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


def run_limited(item, nextitem) -> list:
    mark = item.get_closest_marker("limit")
    seconds = mark.args[0] if mark else DEFAULT_LIMIT

    def expired(_signal, _frame):
        # Not an Exception: no retry loop of a test or of pymilvus may take it for a failed try.
        pytest.fail(f"the test took longer than {seconds} s")

    signal.signal(signal.SIGALRM, expired)
    signal.alarm(seconds)
    try:
        return runtestprotocol(item, nextitem=nextitem, log=False)
    finally:
        signal.alarm(0)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Shows and keeps the logs of a failed test, and looks whether a reference server is stuck."""
    outcome = yield
    report = outcome.get_result()
    if not report.failed:
        return
    STUCK.update({node: why for node in PAIR if (why := stuck(node))})
    kept = logs_folder() / re.sub(r"[^\w.-]+", "_", item.nodeid)
    kept.mkdir(parents=True, exist_ok=True)
    for name, log in LIVE_LOGS.items():
        report.sections.append((f"end of {name}", processes.tail(log, 30 if "cdc" in name else 8)))
        if log.exists():
            shutil.copy(log, kept / f"{name}.log")
    report.sections.append(("logs kept in", str(kept)))


def pytest_terminal_summary(terminalreporter):
    reports = [report for reports in terminalreporter.stats.values() for report in reports if getattr(report, "when", None) == "call"]
    for report in reports:
        for why in [value for name, value in report.user_properties if name == RAN_AGAIN]:
            terminalreporter.write_line(f"ran a second time: {report.nodeid}: {why}")


def logs_folder() -> pathlib.Path:
    return pathlib.Path(os.environ.get("MILVUS_CDC_TEST_LOGS", HERE / "logs"))


@pytest.fixture(scope="session")
def binary() -> pathlib.Path:
    named = os.environ.get("MILVUS_CDC_BIN")
    if not named:
        pytest.exit("MILVUS_CDC_BIN must name the milvus-cdc binary; scripts/test e2e does so", returncode=2)
    return pathlib.Path(named)


class Servers:
    """Reference servers and brokers of one scope, all stopped and their data removed at its end."""

    def __init__(self, folder: pathlib.Path):
        self._folder = folder
        self._servers: list[ReferenceServer] = []
        self._brokers: list[JavaBroker] = []

    def broker(self, kind: str, name: str, **settings) -> JavaBroker:
        """Starts a broker and waits for it."""
        broker = BROKERS[kind](self._folder / name, **settings)
        self._brokers.append(broker)
        LIVE_LOGS[f"{kind}-{name}"] = broker.log
        return broker.start()

    def lite(self, name: str, version: str) -> Node:
        """Starts a Milvus Lite; a second is all it needs."""
        server = LiteServer(self._folder / name, version)
        self._servers.append(server)
        LIVE_LOGS[f"lite-{name}"] = server.log
        return Node(server.start())

    def launch(self, name: str, **how) -> MilvusServer:
        """Starts one without waiting for it, so that several start at the same time."""
        settings = {**QUICK_LOADING, **how.pop("settings", {})}
        server = MilvusServer(self._folder / name, settings=settings, **how)
        self._servers.append(server)
        LIVE_LOGS[f"milvus-{name}"] = server.log
        return server.launch()

    def query_node(self, name: str, server: MilvusServer) -> QueryNode:
        """Starts one more query node of a running server and waits for it."""
        node = QueryNode(self._folder / name, server)
        self._servers.append(node)
        LIVE_LOGS[f"milvus-{name}"] = node.log
        return node.start()

    def stop_all(self) -> None:
        for server in self._servers:
            server.kill()
            for kind in ("milvus", "lite"):
                LIVE_LOGS.pop(f"{kind}-{server.folder.name}", None)
            shutil.rmtree(server.data, ignore_errors=True)
        for broker in self._brokers:
            broker.kill()
            LIVE_LOGS.pop(f"{broker.NAME}-{broker.folder.name}", None)
            broker.remove_data()


@pytest.fixture(scope="session")
def pair(tmp_path_factory, request):
    """Source and target, started once for the whole run, side by side; with `--source-log kafka` or `pulsar` a broker before them."""
    servers = Servers(tmp_path_factory.mktemp("pair"))
    log, settings = None, {}
    try:
        kind = request.config.getoption("--source-log")
        if kind in BROKERS:
            log = BROKER_LOGS[kind](servers.broker(kind, "broker", settings=BROKER_SETTINGS[kind]))
            settings = log.broker.milvus_settings()
        source, target = servers.launch("source", settings=settings), servers.launch("target")
        PAIR[:] = Node(source.wait_ready(), log), Node(target.wait_ready())
        yield PAIR
    finally:
        PAIR.clear()
        servers.stop_all()


@pytest.fixture(scope="session")
def source(pair) -> Node:
    return pair[0]


@pytest.fixture
def broker(source):
    """The source's broker, running again after the test."""
    yield source.log.broker
    start_again(source)


@pytest.fixture(scope="session")
def target(pair) -> Node:
    return pair[1]


@pytest.fixture
def relay(target):
    """A way to the target that can be stalled and cut."""
    one = Relay(target.server.port)
    yield one
    one.close()


@pytest.fixture(scope="module")
def more_servers(tmp_path_factory):
    """For modules that need servers of another kind."""
    servers = Servers(tmp_path_factory.mktemp("more"))
    yield servers
    servers.stop_all()


@pytest.fixture(scope="module", autouse=True)
def clean_slate(request):
    """Every module leaves both servers running and empty. (The pair is made here, so that it outlives the module's own.)"""
    both = request.getfixturevalue("pair")
    yield
    wipe(both)


def wipe(nodes: list[Node]) -> None:
    for node in nodes:
        if not node.server.is_running():
            node.server.start()
        node.wipe()


@pytest.fixture
def make_cdc(binary, pair, tmp_path):
    """Makes servers under test, not started yet. All end with the test, which leaves source and target empty."""
    made: list[Cdc] = []

    def make(source: Node, **settings) -> Cdc:
        cdc = Cdc(binary, tmp_path / f"cdc{len(made)}", source, **settings)
        made.append(cdc)
        LIVE_LOGS[f"cdc{len(made)}"] = cdc.log
        return cdc

    yield make
    for number, cdc in enumerate(made, 1):
        cdc.kill9()
        LIVE_LOGS.pop(f"cdc{number}", None)
    wipe(pair)


@pytest.fixture
def cdc(make_cdc, source) -> Cdc:
    """A started server that follows `source`."""
    return make_cdc(source).start()


@pytest.fixture(scope="module")
def following(binary, source, target, tmp_path_factory):
    """One server with one task that follows everything, for all tests of a module."""
    cdc = Cdc(binary, tmp_path_factory.mktemp("following"), source).start()
    LIVE_LOGS["cdc-following"] = cdc.log
    try:
        task = cdc.create(target)
        task.wait_phase("Following")
        yield task
    finally:
        cdc.kill9()
        LIVE_LOGS.pop("cdc-following", None)


@pytest.fixture
def name(request) -> str:
    """A collection name of the test's own."""
    return re.sub(r"\W+", "_", request.node.name)[:120]


@pytest.fixture
def fake():
    """A source that tells of its log over gRPC: see `support/fake`."""
    from support.fake import FakeMilvus

    fake = FakeMilvus().start()
    yield fake
    fake.stop()
    assert not fake.strange_ids, f"ids were asked for that were never given: {fake.strange_ids}"


@pytest.fixture
def follow(make_cdc):
    """Starts servers that follow a fake."""

    def start(fake, log: str = "wal") -> Cdc:
        return make_cdc(fake, milvus={"connectTimeout": 2}, log={"log": log}).start()

    return start


@pytest.fixture
def wal(follow, fake) -> Cdc:
    """A started server that follows `fake`."""
    return follow(fake)
