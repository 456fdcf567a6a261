"""The reference servers and brokers of one scope of fixtures, stopped together at its end."""

import pathlib
import shutil

from java_broker import JavaBroker
from kafka_broker import KafkaBroker
from lite_server import LiteServer
from milvus_server import MilvusServer
from pulsar_broker import PulsarBroker
from query_node import QueryNode
from reference_server import ReferenceServer

from .artefacts import LIVE_LOGS
from .node import Node

# Tests mostly wait for their servers. These settings change how long a Milvus waits, not what it does.
QUICK = {
    # A collection loads in half of the time.
    "queryCoord.checkInterval": 100,
    "queryCoord.checkChannelInterval": 100,
    "queryCoord.checkSegmentInterval": 100,
    "queryCoord.distPullInterval": 50,
    # Stopping ends at once: by default a query node waits half an hour for another one to take its segments.
    "common.gracefulStopTimeout": 0,
    "queryNode.gracefulStopTimeout": 0,
    # After a restart, components look for each other's successors without pauses of up to 10 s.
    "grpc.client.initialBackOff": 0.1,
    "grpc.client.maxBackoff": 0.4,
}
BROKERS = {"kafka": KafkaBroker, "pulsar": PulsarBroker}
BROKER_SETTINGS = {
    # Milvus uses the first of three partitions, and retention looks for old messages often.
    "kafka": {"num.partitions": 3, "log.retention.check.interval.ms": 500, "log.segment.delete.delay.ms": 0},
    # Retention as an operator sets it. A ledger may be closed as soon as it has a message.
    "pulsar": {
        "defaultRetentionTimeInMinutes": 10080,
        "defaultRetentionSizeInMB": -1,
        "managedLedgerMinLedgerRolloverTimeMinutes": 0,
    },
}


class ServerPool:
    """Starts servers in a folder; `stop_all` stops them and removes their data."""

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
        """Starts a Milvus Lite, which takes a second."""
        server = LiteServer(self._folder / name, version)
        self._servers.append(server)
        LIVE_LOGS[f"lite-{name}"] = server.log
        return Node(server.start())

    def launch(self, name: str, **how) -> MilvusServer:
        """Starts a server without waiting for it, so that several can start at the same time."""
        settings = {**QUICK, **how.pop("settings", {})}
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


def wipe(nodes: list[Node]) -> None:
    """Leaves servers running and empty."""
    for node in nodes:
        if not node.server.is_running():
            node.server.start()
        node.wipe()
