"""A real Prometheus that scrapes a server under test, set up with examples/monitoring."""

import json
import pathlib
import shutil
import time
import urllib.error
import urllib.parse
import urllib.request

import install
import ports
import processes

from .waiting import wait_until

EXAMPLES = install.REPOSITORY / "examples" / "monitoring"


class Prometheus:
    """A Prometheus that scrapes every second."""

    def __init__(self, program: pathlib.Path, folder: pathlib.Path, cdc):
        folder.mkdir(parents=True)
        shutil.copy(EXAMPLES / "alerts.yml", folder)
        config = (EXAMPLES / "prometheus.yml").read_text()
        for example, ours in (
            ("scrape_interval: 15s", "scrape_interval: 1s"),
            ("127.0.0.1:8444", f"127.0.0.1:{cdc.port}"),
        ):
            assert example in config
            config = config.replace(example, ours)
        (folder / "prometheus.yml").write_text(config)
        self._port = ports.free_ports(1)[0]
        arguments = [
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self._port}",
        ]
        self.started = time.time()
        self._process = processes.spawn([str(program), *arguments], log=folder / "prometheus.log", outlive=False)
        wait_until(lambda: self.now("up") and True, 60, "Prometheus")

    def close(self) -> None:
        self._process.kill()
        self._process.wait()

    def _ask(self, path: str, **data) -> list:
        url = f"http://127.0.0.1:{self._port}/api/v1/{path}?{urllib.parse.urlencode(data)}"
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return json.loads(answer.read())["data"]["result"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{data['query']}: {error.read().decode()}") from None

    def now(self, query: str) -> list:
        return self._ask("query", query=query)

    def ever(self, query: str) -> list:
        """The results of the query since the start, second by second."""
        return self._ask("query_range", query=query, start=self.started, end=time.time(), step=1)
