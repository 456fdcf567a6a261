"""A reference Milvus 2.3.5 in a folder of its own, which keeps its ports and data across restarts."""

import os
import pathlib
import urllib.request

import certificates
import install
import milvus_config
from embedded_etcd import EmbeddedEtcd
from reference_server import ReferenceServer, ServerState


class MilvusServer(ReferenceServer):
    """One Milvus 2.3.5: embedded etcd, RocksMQ, local storage."""

    ROLE = "standalone"

    def __init__(self, folder, *, data_dir=None, settings=None, tls=None, auth=False, port=None, outlive=False):
        state = ServerState(milvus_config.new_ports(port), dict(settings or {}), tls=tls, auth=auth)
        super().__init__(folder, state, data_dir=data_dir, outlive=outlive)
        state.settings.update(self._mode_settings())
        # Leases of the sessions of the process that was stopped last.
        self._ended_sessions: list[str] = []

    @property
    def metrics_port(self) -> int:
        return self._state.ports["metrics"]

    @property
    def rocksmq(self) -> pathlib.Path:
        return milvus_config.rocksmq_path(self.data)

    def describe(self) -> dict:
        return {
            **super().describe(),
            "rocksmq_path": str(self.rocksmq),
            "metrics_port": self.metrics_port,
            "certificates": str(self.certificates) if self.certificates else None,
        }

    def stop(self, *, kill: bool = False) -> None:
        if self.is_running():
            self._ended_sessions = self._etcd().leases()
        super().stop(kill=kill)

    def _etcd(self) -> EmbeddedEtcd:
        return EmbeddedEtcd(self._state.ports["etcd"])

    def _new_ports(self) -> dict[str, int]:
        return milvus_config.new_ports()

    def _command(self) -> tuple[list[str], dict]:
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
        return [str(unpacked / "bin" / "milvus"), "run", self.ROLE], environment

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

    def _answers_ok(self) -> bool:
        # Until the sessions of a dead process have expired, its successor waits for it: rows would be readable after
        # 10 to 15 s instead of 4.
        if self._ended_sessions and self._etcd().revoke(self._ended_sessions):
            self._ended_sessions = []
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/healthz", timeout=1) as answer:
                return answer.status == 200
        except OSError:
            return False
