"""A real Kafka broker (one node, KRaft) in a folder of its own, which keeps its ports and its log across restarts.

It listens on 127.0.0.1 only, four times: in plain text without a login (for Milvus and for the broker itself), with TLS
alone, with SASL/PLAIN in plain text, and with SASL/PLAIN over TLS. One broker thus serves every way to connect.
"""

import base64
import pathlib
import socket
import uuid

import kafka_install
from java_broker import JavaBroker

# Messages of Milvus have up to some 10 MB.
LARGEST_MESSAGE = 10 * 1024 * 1024
# Name, security protocol.
LISTENERS = {"plain": "PLAINTEXT", "tls": "SSL", "sasl": "SASL_PLAINTEXT", "sasl_tls": "SASL_SSL"}
USER, PASSWORD = "milvus-cdc", "s3cret, with = and spaces"


class KafkaBroker(JavaBroker):
    """One broker. It joins the cluster of `beside`, if given: a running broker, which stays the only controller."""

    NAME = "kafka"
    LISTENERS = list(LISTENERS)
    OTHER_PORTS = ["controller"]
    DATA = ["topics"]
    JAVA_OPTIONS = ["-Xmx512m", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]

    def __init__(self, folder, *, settings=None, beside=None, outlive=False):
        super().__init__(folder, settings=settings, outlive=outlive)
        self._cluster = base64.urlsafe_b64encode(uuid.UUID(int=uuid.uuid4().int >> 1).bytes).decode().rstrip("=")
        if beside:
            self._cluster = beside._cluster
            self._state.settings.update(self._membership(beside))

    def milvus_settings(self) -> dict:
        return {"mq.type": "kafka", "kafka.brokerList": self.address()}

    def describe(self) -> dict:
        return {**super().describe(), "user": USER, "password": PASSWORD}

    def _jars(self) -> pathlib.Path:
        return kafka_install.jars()

    def _prepare(self) -> list[str]:
        config = self.folder / "server.properties"
        self._write_properties(config, {**self._listeners(), **self._security(), **self._storage()})
        if not (self.folder / "topics" / "meta.properties").exists():
            self._run("kafka.tools.StorageTool", "format", "-t", self._cluster, "-c", str(config))
        return ["kafka.Kafka", str(config)]

    def _answers(self) -> bool:
        return all(self._accepts(name) for name in LISTENERS)

    def _accepts(self, listener: str) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self._state.ports[listener]), timeout=5).close()
            return True
        except OSError:
            return False

    def _membership(self, beside: "KafkaBroker") -> dict:
        own = self._listeners()
        return {
            "process.roles": "broker",
            "node.id": 2,
            "controller.quorum.voters": f"1@127.0.0.1:{beside._state.ports['controller']}",
            "listeners": own["advertised.listeners"],
        }

    def _listeners(self) -> dict:
        names = {**{name: protocol for name, protocol in LISTENERS.items()}, "controller": "PLAINTEXT"}
        addresses = {name: f"{name.upper()}://127.0.0.1:{self._state.ports[name]}" for name in names}
        return {
            "process.roles": "broker,controller",
            "node.id": 1,
            "controller.quorum.voters": f"1@127.0.0.1:{self._state.ports['controller']}",
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "PLAIN",
            "listeners": ",".join(addresses.values()),
            "advertised.listeners": ",".join(addresses[name] for name in LISTENERS),
            "listener.security.protocol.map": ",".join(
                f"{name.upper()}:{protocol}" for name, protocol in names.items()
            ),
        }

    def _security(self) -> dict:
        folder = self.certificates
        # One PEM file with key and certificate is what the broker calls a keystore.
        (folder / "server-both.pem").write_text(
            (folder / "server.key").read_text() + (folder / "server.pem").read_text()
        )
        settings = {
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": folder / "server-both.pem",
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": folder / "ca.pem",
            "listener.name.tls.ssl.client.auth": "required",
        }
        login = "org.apache.kafka.common.security.plain.PlainLoginModule required"
        for listener in ("sasl", "sasl_tls"):
            prefix = f"listener.name.{listener}"
            settings[f"{prefix}.sasl.enabled.mechanisms"] = "PLAIN"
            settings[f"{prefix}.plain.sasl.jaas.config"] = f'{login} user_{USER}="{PASSWORD}";'
        return settings

    def _storage(self) -> dict:
        return {
            "log.dirs": self.folder / "topics",
            # Milvus creates topics by writing to them.
            "auto.create.topics.enable": "true",
            "num.partitions": 1,
            "offsets.topic.replication.factor": 1,
            "offsets.topic.num.partitions": 1,
            "transaction.state.log.replication.factor": 1,
            "transaction.state.log.min.isr": 1,
            "message.max.bytes": LARGEST_MESSAGE,
            "replica.fetch.max.bytes": LARGEST_MESSAGE,
            "group.initial.rebalance.delay.ms": 0,
        }
