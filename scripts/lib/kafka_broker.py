"""A real Kafka broker (one node, KRaft) in a folder of its own, started and stopped at will on the same ports with the same log.

It listens on 127.0.0.1 only, four times: in plain text without a login (for Milvus and for the broker itself), with TLS alone, with
SASL/PLAIN in plain text, and with SASL/PLAIN over TLS. So one broker serves every way to connect.
"""

import base64
import json
import os
import pathlib
import socket
import subprocess
import time
import uuid
from dataclasses import asdict, dataclass, field

import certificates
import kafka_install
import ports
import processes

START_SECONDS = 60
START_TRIES = 3
# Messages of Milvus have up to some 10 MB.
LARGEST_MESSAGE = 10 * 1024 * 1024
# Name, security protocol.
LISTENERS = {"plain": "PLAINTEXT", "tls": "SSL", "sasl": "SASL_PLAINTEXT", "sasl_tls": "SASL_SSL"}
USER, PASSWORD = "milvus-cdc", "s3cret, with = and spaces"


class KafkaError(Exception):
    """A broker did not do what it should."""


@dataclass
class State:
    """What a broker's folder remembers about it."""

    ports: dict[str, int]
    settings: dict = field(default_factory=dict)
    pid: int | None = None
    born: int | None = None


def _new_ports() -> dict[str, int]:
    names = [*LISTENERS, "controller"]
    return dict(zip(names, ports.free_ports(len(names))))


class KafkaBroker:
    """One broker. Everything of it is in `folder`: state file, log file, certificates, topics."""

    def __init__(self, folder, *, settings=None, outlive=False):
        self.folder = pathlib.Path(folder).resolve()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.data = self.folder / "topics"
        self.log = self.folder / "kafka.log"
        self._outlive = outlive
        self._state = State(_new_ports(), dict(settings or {}))

    @classmethod
    def load(cls, folder) -> "KafkaBroker":
        """The broker that was started from this folder before, by whichever process."""
        broker = cls(folder, outlive=True)
        broker._state = State(**json.loads((broker.folder / "broker.json").read_text()))
        return broker

    @property
    def pid(self) -> int | None:
        return self._state.pid

    @property
    def certificates(self) -> pathlib.Path:
        return self.folder / "certificates"

    def address(self, listener: str = "plain") -> str:
        """Host and port of one way to connect, a key of `LISTENERS`."""
        return f"127.0.0.1:{self._state.ports[listener]}"

    def milvus_settings(self) -> dict:
        """What a Milvus needs in its configuration to keep its log here."""
        return {"mq.type": "kafka", "kafka.brokerList": self.address()}

    def is_running(self) -> bool:
        return self._state.pid is not None and processes.birth(self._state.pid) == self._state.born

    def describe(self) -> dict:
        """What a person or a script needs to know of it."""
        return {
            "running": self.is_running(),
            "pid": self.pid,
            **{f"address_{name}": self.address(name) for name in LISTENERS},
            "user": USER,
            "password": PASSWORD,
            "certificates": str(self.certificates),
            "log": str(self.log),
        }

    def start(self) -> "KafkaBroker":
        """Starts it and waits until it answers."""
        self.launch()
        return self.wait_ready()

    def launch(self) -> "KafkaBroker":
        """Starts the process without waiting."""
        if self.is_running():
            raise KafkaError(f"{self.folder} is running already, pid {self.pid}")
        certificates.make(self.certificates)
        self._write_config()
        if not (self.data / "meta.properties").exists():
            cluster = base64.urlsafe_b64encode(uuid.UUID(int=uuid.uuid4().int >> 1).bytes).decode().rstrip("=")
            self._run("kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(self._config))
        command = self._java("kafka.Kafka", str(self._config))
        child = processes.spawn(command, log=self.log, outlive=self._outlive, cwd=self.folder)
        self._state.pid, self._state.born = child.pid, processes.birth(child.pid)
        self._remember()
        return self

    def wait_ready(self) -> "KafkaBroker":
        """Waits until every listener answers. A new broker that lost a race for a port tries others."""
        for attempt in range(1, START_TRIES + 1):
            deadline = time.monotonic() + START_SECONDS
            while time.monotonic() < deadline and self.is_running():
                if all(self._accepts(name) for name in LISTENERS):
                    (self.folder / ".was-ready").touch()
                    return self
                time.sleep(0.1)
            self.stop(kill=True)
            if attempt < START_TRIES:
                if not (self.folder / ".was-ready").exists():
                    self._state.ports = _new_ports()
                self.launch()
        raise KafkaError(f"{self.folder} did not start:\n{processes.tail(self.log)}")

    def stop(self, *, kill: bool = False) -> None:
        """Stops it and waits until it is gone. `kill` is kill -9."""
        if self._state.pid is not None and self._state.born is not None:
            processes.stop(self._state.pid, self._state.born, kill=kill)
        self._state.pid = self._state.born = None
        self._remember()

    def kill(self) -> None:
        """kill -9."""
        self.stop(kill=True)

    def restart(self) -> "KafkaBroker":
        """Stops and starts it, with the same log on the same ports."""
        self.stop()
        return self.start()

    @property
    def _config(self) -> pathlib.Path:
        return self.folder / "server.properties"

    def _java(self, main: str, *arguments: str) -> list[str]:
        options = ["-Xmx512m", "-XX:+UseSerialGC", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]
        return [kafka_install.java(), *options, "-cp", f"{kafka_install.jars()}/*", main, *arguments]

    def _run(self, main: str, *arguments: str) -> None:
        done = subprocess.run(self._java(main, *arguments), stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if done.returncode != 0:
            raise KafkaError(f"{main} failed: {done.stdout}{done.stderr}")

    def _accepts(self, listener: str) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self._state.ports[listener]), timeout=5).close()
            return True
        except OSError:
            return False

    def _remember(self) -> None:
        partial = self.folder / "broker.json.new"
        partial.write_text(json.dumps(asdict(self._state), indent=1))
        partial.rename(self.folder / "broker.json")

    def _write_config(self) -> None:
        settings = {**self._listeners(), **self._security(), **self._storage(), **self._state.settings}
        self._config.touch(mode=0o600)
        self._config.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))

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
            "listener.security.protocol.map": ",".join(f"{name.upper()}:{protocol}" for name, protocol in names.items()),
        }

    def _security(self) -> dict:
        folder = self.certificates
        # One PEM file with key and certificate is what the broker calls a keystore.
        (folder / "server-both.pem").write_text((folder / "server.key").read_text() + (folder / "server.pem").read_text())
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
            "log.dirs": self.data,
            # Milvus makes its topics by writing to them.
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
