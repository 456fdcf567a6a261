"""The server under test: its process and its HTTP API."""

import http.client
import json
import pathlib
import signal
import subprocess
import time

import ports
import processes

from .waiting import Refusal, wait_until

EVERYTHING = {"collection_infos": [{"name": "*"}]}


class ApiError(Refusal):
    """An answer with a code other than 200."""

    def __init__(self, answer: dict):
        super().__init__(f"{answer.get('code')}: {answer.get('message')}")
        self.code = answer.get("code")
        self.message = answer.get("message", "")


def scope(*names: str, database: str = "default") -> dict:
    """The part of a create request that selects collections."""
    infos = [{"name": name} for name in names]
    return {"collection_infos": infos} if database == "default" else {"db_collections": {database: infos}}


def _yaml(tree: dict, indent: int = 0) -> str:
    lines = []
    for key, value in tree.items():
        if isinstance(value, dict):
            lines.append(f"{' ' * indent}{key}:\n{_yaml(value, indent + 2)}")
        else:
            lines.append(f"{' ' * indent}{key}: {json.dumps(value)}\n")
    return "".join(lines)


class Cdc:
    """One milvus-cdc process with a folder of its own. Folder and address survive restarts."""

    def __init__(self, binary, folder, source, *, outlive=False, **settings):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.data = self.folder / "data"
        self.log = self.folder / "cdc.log"
        self.port = ports.free_ports(1)[0]
        self.config = self.folder / "cdc.yaml"
        self._binary = binary
        self._outlive = outlive
        self._process = None
        self._born = None
        milvus = {"uri": source.uri, **({"token": source.server.token} if source.server.token else {})}
        milvus.update(settings.pop("milvus", {}))
        source_config = settings.pop("source_config", {})
        tree = {
            "address": f"127.0.0.1:{self.port}",
            "dataDir": str(self.data),
            "sourceConfig": {"milvus": milvus, **(settings.pop("log", None) or source.log.config()), **source_config},
            **settings,
        }
        self.config.write_text(_yaml(tree))
        self.config.chmod(0o600)

    @property
    def pid(self) -> int:
        return self._process.pid

    def launch(self):
        """Starts the process without waiting for it to answer."""
        command = [str(self._binary), "--config", str(self.config)]
        self._process = processes.spawn(command, log=self.log, outlive=self._outlive, cwd=self.folder)
        self._born = processes.birth(self.pid)
        return self._process

    def start(self) -> "Cdc":
        self.launch()

        def answers():
            assert (
                self._process.poll() is None
            ), f"exited with {self._process.returncode}: {processes.tail(self.log, 5)}"
            return self.call("list")["code"] == 200

        wait_until(answers, 20, "an answer of milvus-cdc", every=0.05)
        return self

    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def terminate(self, timeout: float = 30.0) -> int:
        """Sends SIGTERM; returns the exit code."""
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(timeout)

    def end(self) -> None:
        """Stops it with SIGTERM, and kills it if it does not stop."""
        if self.is_running():
            try:
                self.terminate()
            except subprocess.TimeoutExpired:
                self.kill9()

    def kill9(self) -> None:
        if self.is_running():
            self._process.kill()
            self._process.wait()

    def restart(self) -> "Cdc":
        if self.is_running():
            self.terminate()
        return self.start()

    def usage(self) -> dict:
        return processes.usage(self.pid)

    def call(self, kind: str, data: dict | None = None, timeout: float = 60.0) -> dict:
        """Sends one request; returns the whole answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            body = {"request_type": kind, "request_data": data or {}}
            connection.request("POST", "/cdc", json.dumps(body), {"Content-Type": "application/json"})
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()

    def get_text(self, path: str, **headers) -> str:
        """Sends a GET; returns the answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("GET", path, headers=headers)
            return connection.getresponse().read().decode()
        finally:
            connection.close()

    def ask(self, kind: str, timeout: float = 60.0, **data) -> dict:
        """Sends one request that must succeed; returns its `data`."""
        answer = self.call(kind, data, timeout)
        if answer.get("code") != 200:
            raise ApiError(answer)
        return answer.get("data", {})

    def create(self, target, scope_of=None, *, uri=None, **more) -> "Task":
        """Creates a task to `target` that replicates everything, or the collections of `scope(…)`."""
        connect = {"uri": uri or target.uri, "connect_timeout": 10, **more.pop("connect", {})}
        if target.server.token:
            connect.setdefault("token", target.server.token)
        data = {"milvus_connect_param": connect, **(scope_of or EVERYTHING), **more}
        created = self.ask("create", **data)
        return Task(self, created["task_id"], created.get("warnings", []))


class Task:
    """One task of a server."""

    def __init__(self, cdc: Cdc, task_id: str, warnings: list[str] = ()):
        self.cdc = cdc
        self.id = task_id
        # What `create` has said.
        self.warnings = list(warnings)

    def get(self) -> dict:
        return self.cdc.ask("get", task_id=self.id)["task"]

    def pause(self) -> None:
        self.cdc.ask("pause", task_id=self.id)

    def resume(self) -> None:
        self.cdc.ask("resume", task_id=self.id)

    def change_collection(self, request: str, collection: str) -> str:
        """`pause`, `resume` or `resync` of one collection; answers the outcome."""
        return self.cdc.ask(request, task_id=self.id, collection=collection)["outcome"]

    def delete(self) -> None:
        self.cdc.ask("delete", task_id=self.id)

    def lag_ms(self) -> int:
        """Its lag, which must be known."""
        lag = self.get()["lag_ms"]
        assert lag is not None, "no lag is known"
        return lag

    def acknowledged_ms(self) -> int:
        """The time at the source, in Unix milliseconds, up to which every channel has been replicated."""
        positions = self.cdc.ask("position", task_id=self.id)["positions"]
        assert positions, "no channel has a position"
        return min(position["time"] for position in positions)

    def wait_phase(self, *phases: str, timeout: float = 30.0) -> dict:
        def reached():
            task = self.get()
            assert task["phase"] in phases, f"phase {task['phase']}, reason {task.get('reason')!r}"
            return task

        return wait_until(reached, timeout, f"phase {' or '.join(phases)}")

    def wait_reason(self, *words: str, phase: str | None = None, timeout: float = 60.0) -> dict:
        """Waits until the reason contains these words (a first attempt may have timed out before it learned them);
        returns the task."""

        def told():
            task = self.get()
            missing = [word for word in words if word not in (task.get("reason") or "")]
            assert task.get("reason") and not missing, f"{missing} not in {task.get('reason')!r}"
            assert phase in (None, task["phase"]), f"phase {task['phase']}, reason {task['reason']!r}"
            return task

        return wait_until(told, timeout, f"a reason with {words}", every=0.05)

    def wait_skipped(self, expected: dict, timeout: float = 30.0) -> None:
        """Waits until exactly this is counted as skipped, which may appear a moment after the rows."""
        wait_until(lambda: self.get()["skipped"] == expected, timeout, f"skipped {expected}")

    def wait_caught_up(self, timeout: float = 60.0) -> None:
        """Waits until everything that the source acknowledged before this call is on the target."""
        since = time.time()

        def caught_up():
            asked = time.time()
            task = self.get()
            assert task["phase"] == "Following", f"phase {task['phase']}, reason {task.get('reason')!r}"
            # A lag of L at time T means that everything up to T - L has been replicated.
            assert task["lag_ms"] is not None and asked - task["lag_ms"] / 1000 >= since, f"lag_ms {task['lag_ms']}"
            return True

        wait_until(caught_up, timeout, "the task to catch up", every=0.05)
