"""A reference Milvus 2.3.5 in a folder of its own, started and stopped at will on the same ports with the same data."""

import json
import os
import pathlib
import shutil
import socket
import time
import urllib.request
from dataclasses import asdict, dataclass, field

import certificates
import install
import milvus_config
import processes

START_SECONDS = 90
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


class MilvusServer:
    """One server. Everything of it is in `folder`: state file, log, certificates; the data may be elsewhere."""

    def __init__(self, folder, *, data_dir=None, settings=None, tls=None, auth=False, port=None, outlive=False):
        self.folder = pathlib.Path(folder).resolve()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.data = pathlib.Path(data_dir).resolve() if data_dir else self.folder / "data"
        self.log = self.folder / "milvus.log"
        self._outlive = outlive
        self._state = State(milvus_config.new_ports(port), dict(settings or {}), tls, auth)
        self._state.settings.update(self._mode_settings())

    @classmethod
    def load(cls, folder) -> "MilvusServer":
        """The server that was started from this folder before, by whichever process."""
        remembered = json.loads((pathlib.Path(folder) / "server.json").read_text())
        server = cls(folder, data_dir=remembered.pop("data"), outlive=True)
        server._state = State(**remembered)
        return server

    @property
    def pid(self) -> int | None:
        return self._state.pid

    @property
    def port(self) -> int:
        return self._state.ports["proxy"]

    @property
    def metrics_port(self) -> int:
        return self._state.ports["metrics"]

    @property
    def uri(self) -> str:
        return f"{'https' if self._state.tls else 'http'}://127.0.0.1:{self.port}"

    @property
    def rocksmq(self) -> pathlib.Path:
        return milvus_config.rocksmq_path(self.data)

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
            "uri": self.uri,
            "token": self.token,
            "running": self.is_running(),
            "pid": self.pid,
            "data_dir": str(self.data),
            "rocksmq_path": str(self.rocksmq),
            "metrics_port": self.metrics_port,
            "log": str(self.log),
            "certificates": str(self.certificates) if self.certificates else None,
        }

    def start(self) -> "MilvusServer":
        """Starts it and waits until it is healthy."""
        self.launch()
        return self.wait_ready()

    def launch(self) -> "MilvusServer":
        """Starts the process without waiting, so that several servers can start at the same time."""
        if self.is_running():
            raise MilvusError(f"{self.folder} is running already, pid {self.pid}")
        unpacked = install.milvus()
        if self._state.tls:
            certificates.make(self.certificates)
        config = milvus_config.write(self.data, self._state.ports, self._state.settings, unpacked)
        environment = {
            **os.environ,
            "LD_LIBRARY_PATH": str(unpacked / "bin"),
            "MILVUSCONF": str(config),
            "DEPLOY_MODE": "STANDALONE",
            "METRICS_PORT": str(self.metrics_port),
            "MALLOC_ARENA_MAX": "4",
        }
        command = [str(unpacked / "bin" / "milvus"), "run", "standalone"]
        child = processes.spawn(command, log=self.log, outlive=self._outlive, env=environment, cwd=self.folder)
        self._state.pid, self._state.born = child.pid, processes.birth(child.pid)
        self._remember()
        return self

    def wait_ready(self) -> "MilvusServer":
        """Waits until it is healthy. A new server that lost a race for a port tries others."""
        for attempt in range(1, START_TRIES + 1):
            if self._becomes_healthy():
                return self
            self.stop(kill=True)
            if attempt < START_TRIES:
                if not self._was_ever_ready():
                    shutil.rmtree(self.data, ignore_errors=True)
                    self._state.ports = milvus_config.new_ports()
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

    def restart(self) -> "MilvusServer":
        """Stops and starts it, with the same data on the same ports."""
        self.stop()
        return self.start()

    def _mode_settings(self) -> dict:
        settings: dict = {}
        if self._state.auth:
            settings["common.security.authorizationEnabled"] = True
        if self._state.tls:
            folder = self.folder / "certificates"
            settings["common.security.tlsMode"] = 2 if self._state.tls == "mutual" else 1
            settings["tls.serverPemPath"] = str(folder / "server.pem")
            settings["tls.serverKeyPath"] = str(folder / "server.key")
            settings["tls.caPemPath"] = str(folder / "ca.pem")
        return settings

    def _remember(self) -> None:
        partial = self.folder / "server.json.new"
        partial.write_text(json.dumps({**asdict(self._state), "data": str(self.data)}, indent=1))
        partial.rename(self.folder / "server.json")

    def _was_ever_ready(self) -> bool:
        return (self.data / ".was-ready").exists()

    def _becomes_healthy(self) -> bool:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.is_running():
            if self._answers_ok() and self._accepts():
                (self.data / ".was-ready").touch()
                return True
            time.sleep(0.1)
        return False

    def _answers_ok(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/healthz", timeout=1) as answer:
                return answer.status == 200
        except OSError:
            return False

    def _accepts(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
            return True
        except OSError:
            return False
