"""What brokers of every kind have in common: a Java process in a folder of its own, started and stopped at will on the same ports with
the same messages."""

import json
import pathlib
import shutil
import subprocess
import time
from dataclasses import asdict, dataclass, field

import certificates
import maven
import ports
import processes

START_TRIES = 3


class BrokerError(Exception):
    """A broker did not do what it should."""


@dataclass
class State:
    """What a broker's folder remembers about it."""

    ports: dict[str, int]
    settings: dict = field(default_factory=dict)
    pid: int | None = None
    born: int | None = None


class JavaBroker:
    """One broker. Everything of it is in `folder`: state file, log file, certificates, messages."""

    # Its name; its ways to connect and other ports; the folders of its data; options of its Java; how long it may take to start.
    NAME = ""
    LISTENERS: list[str] = []
    OTHER_PORTS: list[str] = []
    DATA: list[str] = []
    JAVA_OPTIONS: list[str] = []
    START_SECONDS = 60

    def __init__(self, folder, *, settings=None, outlive=False):
        self.folder = pathlib.Path(folder).resolve()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.log = self.folder / f"{self.NAME}.log"
        self._outlive = outlive
        self._state = State(self._new_ports(), dict(settings or {}))

    @classmethod
    def load(cls, folder) -> "JavaBroker":
        """The broker that was started from this folder before, by whichever process."""
        broker = cls(folder, outlive=True)
        broker._state = State(**json.loads((broker.folder / "broker.json").read_text()))
        return broker

    # What each kind does its own way.

    def milvus_settings(self) -> dict:
        """What a Milvus needs in its configuration to keep its log here."""
        raise NotImplementedError

    def _jars(self) -> pathlib.Path:
        raise NotImplementedError

    def _prepare(self) -> list[str]:
        """Writes its configuration; answers the main class with its arguments."""
        raise NotImplementedError

    def _answers(self) -> bool:
        raise NotImplementedError

    @property
    def pid(self) -> int | None:
        return self._state.pid

    @property
    def certificates(self) -> pathlib.Path:
        return self.folder / "certificates"

    @property
    def client_certificate(self) -> dict[str, str]:
        """Ours, as the `tls` of a source's configuration names it."""
        return {"clientPemPath": str(self.certificates / "client.pem"), "clientKeyPath": str(self.certificates / "client.key")}

    def address(self, listener: str = "plain") -> str:
        """Host and port of one way to connect, one of `LISTENERS`."""
        return f"127.0.0.1:{self._state.ports[listener]}"

    def is_running(self) -> bool:
        return self._state.pid is not None and processes.birth(self._state.pid) == self._state.born

    def describe(self) -> dict:
        """What a person or a script needs to know of it."""
        addresses = {f"address_{name}": self.address(name) for name in self.LISTENERS}
        more = {"certificates": str(self.certificates), "log": str(self.log)}
        return {"running": self.is_running(), "pid": self.pid, **addresses, **more}

    def start(self) -> "JavaBroker":
        """Starts it and waits until it answers."""
        self.launch()
        return self.wait_ready()

    def launch(self) -> "JavaBroker":
        """Starts the process without waiting."""
        if self.is_running():
            raise BrokerError(f"{self.folder} is running already, pid {self.pid}")
        certificates.make(self.certificates)
        command = self._java(*self._prepare())
        child = processes.spawn(command, log=self.log, outlive=self._outlive, cwd=self.folder)
        self._state.pid, self._state.born = child.pid, processes.birth(child.pid)
        self._remember()
        return self

    def wait_ready(self) -> "JavaBroker":
        """Waits until it answers. A new broker that lost a race for a port tries others."""
        for attempt in range(1, START_TRIES + 1):
            deadline = time.monotonic() + self.START_SECONDS
            while time.monotonic() < deadline and self.is_running():
                if self._answers():
                    (self.folder / ".was-ready").touch()
                    return self
                time.sleep(0.1)
            self.stop(kill=True)
            if attempt < START_TRIES:
                if not (self.folder / ".was-ready").exists():
                    self._state.ports = self._new_ports()
                self.launch()
        raise BrokerError(f"{self.folder} did not start:\n{processes.tail(self.log)}")

    def stop(self, *, kill: bool = False) -> None:
        """Stops it and waits until it is gone. `kill` is kill -9."""
        if self._state.pid is not None and self._state.born is not None:
            processes.stop(self._state.pid, self._state.born, kill=kill)
        self._state.pid = self._state.born = None
        self._remember()

    def kill(self) -> None:
        """kill -9."""
        self.stop(kill=True)

    def restart(self) -> "JavaBroker":
        """Stops and starts it, with the same messages on the same ports."""
        self.stop()
        return self.start()

    def remove_data(self) -> None:
        """Of a stopped broker that is not needed any more."""
        for name in self.DATA:
            shutil.rmtree(self.folder / name, ignore_errors=True)

    def _new_ports(self) -> dict[str, int]:
        names = [*self.LISTENERS, *self.OTHER_PORTS]
        return dict(zip(names, ports.free_ports(len(names))))

    def _java(self, main: str, *arguments: str) -> list[str]:
        options = ["-XX:+UseSerialGC", *self.JAVA_OPTIONS]
        return [maven.java(), *options, "-cp", f"{self._jars()}/*", main, *arguments]

    def _run(self, main: str, *arguments: str) -> None:
        done = subprocess.run(self._java(main, *arguments), stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if done.returncode != 0:
            raise BrokerError(f"{main} failed: {done.stdout}{done.stderr}")

    def _remember(self) -> None:
        partial = self.folder / "broker.json.new"
        partial.write_text(json.dumps(asdict(self._state), indent=1))
        partial.rename(self.folder / "broker.json")

    def _write_properties(self, path: pathlib.Path, properties: dict) -> None:
        path.touch(mode=0o600)
        path.write_text("".join(f"{key}={value}\n" for key, value in {**properties, **self._state.settings}.items()))
