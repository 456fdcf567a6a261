"""A server process that comes and goes in a folder of its own, on the same ports with the same data."""

import json
import pathlib
import time
from dataclasses import asdict, dataclass, field

import processes

START_TRIES = 3


class ServerError(Exception):
    """A server did not do what it should."""


@dataclass
class State:
    """What a server's folder remembers about it."""

    ports: dict[str, int]
    settings: dict = field(default_factory=dict)
    pid: int | None = None
    born: int | None = None


class KeptProcess:
    """One server. Everything of it is in `folder`: state file, log, and its data unless they are elsewhere."""

    # Where its state is kept; how long it may take to start.
    STATE_FILE = ""
    START_SECONDS = 60

    def __init__(self, folder, state: State, log: str, *, outlive: bool):
        self.folder = pathlib.Path(folder).resolve()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.log = self.folder / log
        self._outlive = outlive
        self._state = state

    # What differs between kinds of servers.

    def _command(self) -> tuple[list[str], dict | None]:
        """How its process is started: command and environment, its own if None. Prepares what the process needs."""
        raise NotImplementedError

    def _answers(self) -> bool:
        """Whether it serves."""
        raise NotImplementedError

    def _new_ports(self) -> dict[str, int]:
        raise NotImplementedError

    def _remembered(self) -> dict:
        """What its state file holds."""
        return asdict(self._state)

    def _start_over(self) -> None:
        """It has never served, perhaps because it lost a race for a port."""
        self._state.ports = self._new_ports()

    # What does not.

    @property
    def pid(self) -> int | None:
        return self._state.pid

    def is_running(self) -> bool:
        return self._state.pid is not None and processes.birth(self._state.pid) == self._state.born

    def start(self):
        """Starts it and waits until it serves."""
        self.launch()
        return self.wait_ready()

    def launch(self):
        """Starts the process without waiting, so that several can start at the same time."""
        if self.is_running():
            raise ServerError(f"{self.folder} is running already, pid {self.pid}")
        command, environment = self._command()
        child = processes.spawn(command, log=self.log, outlive=self._outlive, env=environment, cwd=self.folder)
        self._state.pid, self._state.born = child.pid, processes.birth(child.pid)
        self._remember()
        return self

    def wait_ready(self):
        """Waits until it serves. One that does not is started again a few times."""
        for attempt in range(1, START_TRIES + 1):
            if self._becomes_ready():
                return self
            self.stop(kill=True)
            if attempt < START_TRIES:
                if not self._was_ready.exists():
                    self._start_over()
                self.launch()
        raise ServerError(f"{self.folder} did not start:\n{processes.tail(self.log)}")

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

    @classmethod
    def _recalled(cls, folder) -> dict:
        """What the state file in this folder holds."""
        return json.loads((pathlib.Path(folder) / cls.STATE_FILE).read_text())

    def _remember(self) -> None:
        partial = self.folder / f"{self.STATE_FILE}.new"
        partial.write_text(json.dumps(self._remembered(), indent=1))
        partial.rename(self.folder / self.STATE_FILE)

    @property
    def _was_ready(self) -> pathlib.Path:
        return self.folder / ".was-ready"

    def _becomes_ready(self) -> bool:
        deadline = time.monotonic() + self.START_SECONDS
        while time.monotonic() < deadline and self.is_running():
            if self._answers():
                self._was_ready.touch()
                return True
            time.sleep(0.1)
        return False
