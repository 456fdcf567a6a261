"""The common part of all brokers: a Java process in a folder of its own."""

import pathlib
import shutil
import subprocess

import certificates
import maven
import ports
from kept_process import KeptProcess, ServerError, State


class JavaBroker(KeptProcess):
    """One broker. `folder` holds its state file, log file, certificates and messages."""

    # Its name; its ways to connect and other ports; the folders of its data; options of its Java.
    NAME = ""
    LISTENERS: list[str] = []
    OTHER_PORTS: list[str] = []
    DATA: list[str] = []
    JAVA_OPTIONS: list[str] = []
    UNPACKED = "unpacked"
    STATE_FILE = "broker.json"

    def __init__(self, folder, *, settings=None, outlive=False):
        super().__init__(folder, State(self._new_ports(), dict(settings or {})), f"{self.NAME}.log", outlive=outlive)

    @classmethod
    def load(cls, folder) -> "JavaBroker":
        """The broker that any process started from this folder before."""
        broker = cls(folder, outlive=True)
        broker._state = State(**cls._recalled(folder))
        return broker

    # Implemented by each kind.

    def milvus_settings(self) -> dict:
        """Settings of a Milvus that keeps its log in this broker."""
        raise NotImplementedError

    def _jars(self) -> pathlib.Path:
        raise NotImplementedError

    def _prepare(self) -> list[str]:
        """Writes the configuration; returns the main class with its arguments."""
        raise NotImplementedError

    @property
    def certificates(self) -> pathlib.Path:
        return self.folder / "certificates"

    @property
    def client_certificate(self) -> dict[str, str]:
        """Our certificates, in the form of `tls` in a source's configuration."""
        return {
            "clientPemPath": str(self.certificates / "client.pem"),
            "clientKeyPath": str(self.certificates / "client.key"),
        }

    def address(self, listener: str = "plain") -> str:
        """Host and port of one way to connect, one of `LISTENERS`."""
        return f"127.0.0.1:{self._state.ports[listener]}"

    def describe(self) -> dict:
        """Everything needed to connect to it, as `status` prints it."""
        addresses = {f"address_{name}": self.address(name) for name in self.LISTENERS}
        more = {"certificates": str(self.certificates), "log": str(self.log)}
        return {"running": self.is_running(), "pid": self.pid, **addresses, **more}

    def remove_data(self) -> None:
        """Deletes the data of a stopped broker."""
        for name in [*self.DATA, self.UNPACKED]:
            shutil.rmtree(self.folder / name, ignore_errors=True)

    def _new_ports(self) -> dict[str, int]:
        names = [*self.LISTENERS, *self.OTHER_PORTS]
        return dict(zip(names, ports.free_ports(len(names))))

    def _command(self) -> tuple[list[str], dict | None]:
        certificates.make(self.certificates)
        return self._java(*self._prepare()), None

    def _java(self, main: str, *arguments: str) -> list[str]:
        # In its own folder: a killed broker leaves behind what it unpacks, a library of 13 MB among it.
        unpacked = self.folder / self.UNPACKED
        unpacked.mkdir(exist_ok=True)
        options = ["-XX:+UseSerialGC", f"-Djava.io.tmpdir={unpacked}", *self.JAVA_OPTIONS]
        return [maven.java(), *options, "-cp", f"{self._jars()}/*", main, *arguments]

    def _run(self, main: str, *arguments: str) -> None:
        done = subprocess.run(self._java(main, *arguments), stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if done.returncode != 0:
            raise ServerError(f"{main} failed: {done.stdout}{done.stderr}")

    def _write_properties(self, path: pathlib.Path, properties: dict) -> None:
        path.touch(mode=0o600)
        path.write_text("".join(f"{key}={value}\n" for key, value in {**properties, **self._state.settings}.items()))
