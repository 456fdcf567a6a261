"""One more query node for a running reference Milvus, which can then hold one more replica.

The server's log must be in a broker: a second process cannot read the queue inside the first one.
"""

import milvus_config
import ports
from milvus_server import MilvusServer
from reference_server import ReferenceServer

__all__ = ["QueryNode"]


class QueryNode(MilvusServer):
    """A query node in a process of its own, over the storage and the etcd of `server`."""

    ROLE = "querynode"

    def __init__(self, folder, server: MilvusServer, *, outlive=False):
        self._server = server
        super().__init__(folder, settings=server._state.settings, outlive=outlive)
        self._state.ports = self._new_ports()
        storage = milvus_config.storage_path(server.data)
        self._state.settings.update({"etcd.use.embed": False, "localStorage.path": str(storage)})

    def stop(self, *, kill: bool = False) -> None:
        # The sessions in the shared etcd are those of `server`.
        ReferenceServer.stop(self, kill=kill)

    def _new_ports(self) -> dict[str, int]:
        # It answers nothing but its own service.
        service, metrics = ports.free_ports(2)
        return {**self._server._state.ports, "proxy": service, "query_node": service, "metrics": metrics}
