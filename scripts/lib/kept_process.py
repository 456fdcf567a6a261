"""A server process in a folder of its own, which keeps its ports and data across restarts."""

import json
import pathlib
import time
from dataclasses import asdict, dataclass, field

import processes

START_TRIES = 3


class ServerError(Exception):
    """A server did not start, stop or answer as expected."""


@dataclass
class State:
    """State file in the folder of a server."""

    ports: dict[str, int]
    settings: dict = field(default_factory=dict)
    pid: int | None = None
    born: int | None = None


class KeptProcess:
    """One server. `folder` holds its state file, its log, and its data unless another folder is given."""

    # Where its state is kept; how long it may take to start.
    STATE_FILE = ""
    START_SECONDS = 60

    def __init__(self, folder, state: State, log: str, *, outlive: bool):
        self.folder = pathlib.Path(folder).resolve()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.log = self.folder / log
        self._outlive = outlive
        self._state = state

    # Implemented by each kind of server.

    def _command(self) -> tuple[list[str], dict | None]:
        """Prepares a start; returns command and environment (`None`: that of this process)."""
        raise NotImplementedError

    def _answers(self) -> bool:
        """Whether it answers requests."""
        raise NotImplementedError

    def _new_ports(self) -> dict[str, int]:
        raise NotImplementedError

    def _remembered(self) -> dict:
        """Contents of its state file."""
        return asdict(self._state)

    def _start_over(self) -> None:
        """Called when it never answered, for example because another process took one of its ports."""
        self._state.ports = self._new_ports()

    # Common to all kinds.

    @property
    def pid(self) -> int | None:
        return self._state.pid

    def is_running(self) -> bool:
        return self._state.pid is not None and processes.birth(self._state.pid) == self._state.born

    def start(self):
        """Starts it and waits until it answers."""
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
        """Waits until it answers; restarts it a few times if it does not."""
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

    def restart(self, **changed):
        """Stops and starts it with the same data and ports. Settings may be changed: `a.b` is given as `a__b`, and
        None removes a setting."""
        self.stop()
        for name, value in changed.items():
            path = name.replace("__", ".")
            if value is None:
                self._state.settings.pop(path, None)
            else:
                self._state.settings[path] = value
        return self.start()

    @classmethod
    def _recalled(cls, folder) -> dict:
        """Contents of the state file in this folder."""
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
