"""The server under test: its process and its HTTP API."""

import http.client
import json
import pathlib
import signal
import subprocess
import time

import ports
import processes

from .waiting import wait_until

EVERYTHING = {"collection_infos": [{"name": "*"}]}


class ApiError(Exception):
    """An answer whose code is not 200."""

    def __init__(self, answer: dict):
        super().__init__(f"{answer.get('code')}: {answer.get('message')}")
        self.code = answer.get("code")
        self.message = answer.get("message", "")


def scope(*names: str, database: str = "default") -> dict:
    """The part of a create request that says which collections to follow."""
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
    """One milvus-cdc process with a folder of its own. Restarts keep the folder and the address."""

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
            assert self._process.poll() is None, f"exited with {self._process.returncode}: {processes.tail(self.log, 5)}"
            return self.call("list")["code"] == 200

        wait_until(answers, 20, "an answer of milvus-cdc", every=0.05)
        return self

    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def terminate(self, timeout: float = 30.0) -> tuple[int, float]:
        """SIGTERM; answers the exit code and how long it took."""
        started = time.monotonic()
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(timeout), time.monotonic() - started

    def end(self) -> None:
        """Ends it in order, by force if it does not go."""
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
        """One request, the whole answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            body = {"request_type": kind, "request_data": data or {}}
            connection.request("POST", "/cdc", json.dumps(body), {"Content-Type": "application/json"})
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()

    def get_text(self, path: str, **headers) -> str:
        """What a GET answers."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("GET", path, headers=headers)
            return connection.getresponse().read().decode()
        finally:
            connection.close()

    def ask(self, kind: str, timeout: float = 60.0, **data) -> dict:
        """One request that must succeed; its `data`."""
        answer = self.call(kind, data, timeout)
        if answer.get("code") != 200:
            raise ApiError(answer)
        return answer.get("data", {})

    def create(self, target, scope_of=None, *, uri=None, **more) -> "Task":
        """A task that follows everything, or what `scope(…)` says, to `target`."""
        connect = {"uri": uri or target.uri, "connect_timeout": 10, **more.pop("connect", {})}
        if target.server.token:
            connect.setdefault("token", target.server.token)
        data = {"milvus_connect_param": connect, **(scope_of or EVERYTHING), **more}
        return Task(self, self.ask("create", **data)["task_id"])


class Task:
    """One task of a server."""

    def __init__(self, cdc: Cdc, task_id: str):
        self.cdc = cdc
        self.id = task_id

    def get(self) -> dict:
        return self.cdc.ask("get", task_id=self.id)["task"]

    def pause(self) -> float:
        """Answers how long it took."""
        started = time.monotonic()
        self.cdc.ask("pause", task_id=self.id)
        return time.monotonic() - started

    def resume(self) -> None:
        self.cdc.ask("resume", task_id=self.id)

    def delete(self) -> None:
        self.cdc.ask("delete", task_id=self.id)

    def wait_phase(self, *phases: str, timeout: float = 30.0) -> dict:
        def reached():
            task = self.get()
            assert task["phase"] in phases, f"phase {task['phase']}, reason {task.get('reason')!r}"
            return task

        return wait_until(reached, timeout, f"phase {' or '.join(phases)}")

    def wait_reason(self, *words: str, phase: str | None = None, timeout: float = 60.0) -> dict:
        """Waits for a reason that holds these words (a first try may have been too slow to learn them), and answers the task as it is then."""

        def told():
            task = self.get()
            missing = [word for word in words if word not in (task.get("reason") or "")]
            assert task.get("reason") and not missing, f"{missing} not in {task.get('reason')!r}"
            assert phase in (None, task["phase"]), f"phase {task['phase']}, reason {task['reason']!r}"
            return task

        return wait_until(told, timeout, f"a reason with {words}", every=0.05)

    def wait_skipped(self, expected: dict) -> None:
        """Waits until exactly this is counted as skipped: it may be shown a moment later than rows are."""
        wait_until(lambda: self.get()["skipped"] == expected, 30, f"skipped {expected}")

    def wait_caught_up(self, timeout: float = 60.0) -> None:
        """Waits until everything that was acknowledged at the source before this call is on the target."""
        since = time.time()

        def caught_up():
            asked = time.time()
            task = self.get()
            assert task["phase"] == "Following", f"phase {task['phase']}, reason {task.get('reason')!r}"
            # A lag of L at a time T says that everything up to T - L has been carried over.
            assert task["lag_ms"] is not None and asked - task["lag_ms"] / 1000 >= since, f"lag_ms {task['lag_ms']}"
            return True

        wait_until(caught_up, timeout, "the task to catch up", every=0.05)
