"""The common part of all reference servers, Milvus and Milvus Lite."""

import pathlib
import shutil
import socket
from dataclasses import asdict, dataclass

from kept_process import KeptProcess, State


@dataclass
class ServerState(State):
    """State file in the folder of a server."""

    tls: str | None = None
    auth: bool = False
    kind: str = "milvus"


class ReferenceServer(KeptProcess):
    """One server. Its data may lie outside `folder`."""

    STATE_FILE = "server.json"
    START_SECONDS = 90

    def __init__(self, folder, state: ServerState, *, data_dir=None, outlive=False):
        super().__init__(folder, state, "milvus.log", outlive=outlive)
        self.data = pathlib.Path(data_dir).resolve() if data_dir else self.folder / "data"

    @classmethod
    def load(cls, folder):
        """The server that any process started from this folder before."""
        remembered = cls._recalled(folder)
        server = cls(folder, data_dir=remembered.pop("data"), outlive=True)
        server._state = ServerState(**remembered)
        return server

    def _answers_ok(self) -> bool:
        """Whether it reports itself as healthy; the caller checks separately whether it listens."""
        return True

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
        """Folder of its log, if files hold it."""
        return None

    @property
    def token(self) -> str:
        """Credentials for clients."""
        return "root:Milvus" if self._state.auth else ""

    @property
    def tls(self) -> str | None:
        return self._state.tls

    @property
    def certificates(self) -> pathlib.Path | None:
        return self.folder / "certificates" if self._state.tls else None

    def describe(self) -> dict:
        """Everything needed to connect to it, as `status` prints it."""
        return {
            "kind": self._state.kind,
            "uri": self.uri,
            "token": self.token,
            "running": self.is_running(),
            "pid": self.pid,
            "data_dir": str(self.data),
            "log": str(self.log),
        }

    def _remembered(self) -> dict:
        return {**asdict(self._state), "data": str(self.data)}

    def _start_over(self) -> None:
        shutil.rmtree(self.data, ignore_errors=True)
        super()._start_over()

    def _answers(self) -> bool:
        return self._answers_ok() and self._accepts()

    def _accepts(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
            return True
        except OSError:
            return False
