"""A reference Milvus Lite: one process, one port, no log and no ids. The two versions share little but the name."""

import os

import lite_install
import ports
from reference_server import ReferenceServer, ServerState


class LiteServer(ReferenceServer):
    """One Milvus Lite, 3.2.2 (Python) or 2.5.1 (C++), listening on 127.0.0.1 only."""

    START_SECONDS = 60

    def __init__(self, folder, version: str = lite_install.VERSIONS[0], *, data_dir=None, port=None, outlive=False):
        chosen = {"proxy": port} if port else self._new_ports()
        super().__init__(folder, ServerState(chosen, kind=f"lite-{version}"), data_dir=data_dir, outlive=outlive)

    @property
    def version(self) -> str:
        return self._state.kind.removeprefix("lite-")

    def _new_ports(self) -> dict[str, int]:
        return {"proxy": ports.free_ports(1)[0]}

    def _command(self) -> tuple[list[str], dict]:
        self.data.mkdir(parents=True, exist_ok=True)
        package = lite_install.lite(self.version)
        if self.version.startswith("3."):
            options = ["--data-dir", str(self.data), "--host", "127.0.0.1", "--port", str(self.port)]
            return [str(package / "bin" / "milvus-lite"), "server", *options], dict(os.environ)
        binaries = lite_install.binaries(self.version)
        environment = {**os.environ, "LD_LIBRARY_PATH": str(binaries)}
        return [str(binaries / "milvus"), str(self.data / "lite.db"), f"127.0.0.1:{self.port}", "ERROR"], environment
