"""What every reference server has in common: a folder of its own, a process that comes and goes, ports and data that stay."""

import json
import pathlib
import shutil
import socket
import time
from dataclasses import asdict, dataclass, field

import processes

START_TRIES = 3


class MilvusError(Exception):
    """A reference server did not do what it should."""


@dataclass
class State:
    """What a server's folder remembers about it."""

    ports: dict[str, int]
    settings: dict = field(default_factory=dict)
    tls: str | None = None
    auth: bool = False
    pid: int | None = None
    born: int | None = None
    kind: str = "milvus"


class ReferenceServer:
    """One server. Everything of it is in `folder`: state file, log; the data may be elsewhere."""

    START_SECONDS = 90

    def __init__(self, folder, state: State, *, data_dir=None, outlive=False):
        self.folder = pathlib.Path(folder).resolve()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.data = pathlib.Path(data_dir).resolve() if data_dir else self.folder / "data"
        self.log = self.folder / "milvus.log"
        self._outlive = outlive
        self._state = state

    @classmethod
    def load(cls, folder):
        """The server that was started from this folder before, by whichever process."""
        remembered = json.loads((pathlib.Path(folder) / "server.json").read_text())
        server = cls(folder, data_dir=remembered.pop("data"), outlive=True)
        server._state = State(**remembered)
        return server

    # What differs between kinds of servers.

    def _command(self) -> tuple[list[str], dict]:
        """How its process is started: command and environment. Prepares the data folder."""
        raise NotImplementedError

    def _answers_ok(self) -> bool:
        """Whether it says of itself that it is healthy; listening is found out anyway."""
        return True

    def _new_ports(self) -> dict[str, int]:
        raise NotImplementedError

    # What does not.

    @property
    def pid(self) -> int | None:
        return self._state.pid

    @property
    def kind(self) -> str:
        """`milvus` or `lite-<version>`."""
        return self._state.kind

    @property
    def port(self) -> int:
        return self._state.ports["proxy"]

    @property
    def uri(self) -> str:
        return f"{'https' if self._state.tls else 'http'}://127.0.0.1:{self.port}"

    @property
    def rocksmq(self) -> pathlib.Path | None:
        """Where its log is, when it has one that files hold."""
        return None

    @property
    def token(self) -> str:
        """What a client must present."""
        return "root:Milvus" if self._state.auth else ""

    @property
    def tls(self) -> str | None:
        return self._state.tls

    @property
    def certificates(self) -> pathlib.Path | None:
        return self.folder / "certificates" if self._state.tls else None

    def is_running(self) -> bool:
        return self._state.pid is not None and processes.birth(self._state.pid) == self._state.born

    def describe(self) -> dict:
        """What a person or a script needs to know of it."""
        return {
            "kind": self._state.kind,
            "uri": self.uri,
            "token": self.token,
            "running": self.is_running(),
            "pid": self.pid,
            "data_dir": str(self.data),
            "log": str(self.log),
        }

    def start(self):
        """Starts it and waits until it is healthy."""
        self.launch()
        return self.wait_ready()

    def launch(self):
        """Starts the process without waiting, so that several servers can start at the same time."""
        if self.is_running():
            raise MilvusError(f"{self.folder} is running already, pid {self.pid}")
        command, environment = self._command()
        child = processes.spawn(command, log=self.log, outlive=self._outlive, env=environment, cwd=self.folder)
        self._state.pid, self._state.born = child.pid, processes.birth(child.pid)
        self._remember()
        return self

    def wait_ready(self):
        """Waits until it is healthy. A new server that lost a race for a port tries others."""
        for attempt in range(1, START_TRIES + 1):
            if self._becomes_healthy():
                return self
            self.stop(kill=True)
            if attempt < START_TRIES:
                if not self._was_ever_ready():
                    shutil.rmtree(self.data, ignore_errors=True)
                    self._state.ports = self._new_ports()
                self.launch()
        raise MilvusError(f"{self.folder} did not start:\n{processes.tail(self.log)}")

    def stop(self, *, kill: bool = False) -> None:
        """Stops it and waits until it is gone. `kill` is kill -9."""
        if self._state.pid is not None and self._state.born is not None:
            processes.stop(self._state.pid, self._state.born, kill=kill)
        self._state.pid = self._state.born = None
        self._remember()

    def kill(self) -> None:
        """kill -9."""
        self.stop(kill=True)

    def restart(self):
        """Stops and starts it, with the same data on the same ports."""
        self.stop()
        return self.start()

    def _remember(self) -> None:
        partial = self.folder / "server.json.new"
        partial.write_text(json.dumps({**asdict(self._state), "data": str(self.data)}, indent=1))
        partial.rename(self.folder / "server.json")

    def _was_ever_ready(self) -> bool:
        return (self.folder / ".was-ready").exists()

    def _becomes_healthy(self) -> bool:
        deadline = time.monotonic() + self.START_SECONDS
        while time.monotonic() < deadline and self.is_running():
            if self._answers_ok() and self._accepts():
                (self.folder / ".was-ready").touch()
                return True
            time.sleep(0.1)
        return False

    def _accepts(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
            return True
        except OSError:
            return False
