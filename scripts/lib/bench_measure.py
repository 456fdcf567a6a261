"""Measurements that run beside the workload of a benchmark."""

import re
import statistics
import threading
import time
import urllib.request

import processes

WRITTEN = re.compile(rb"^milvus_proxy_(?:insert|upsert)_vectors_count\{[^}]*\} (\S+)", re.MULTILINE)

CARRIED = re.compile(r"^milvus_cdc_task_rows_total\{[^}]*\} (\S+)", re.MULTILINE)


def rows_written(server) -> int:
    """Rows acknowledged since the server started, from its metrics, which cost it nothing."""
    with urllib.request.urlopen(f"http://127.0.0.1:{server.metrics_port}/metrics", timeout=10) as answer:
        return int(sum(float(number) for number in WRITTEN.findall(answer.read())))


def watch_backlog(server, before: int, rows: int, timeout: float = 300.0) -> tuple[float, float]:
    """Waits until `rows` more rows are acknowledged; returns the times of the first and the last (perf_counter)."""
    first = None
    deadline = time.perf_counter() + timeout
    while time.perf_counter() < deadline:
        asked = time.perf_counter()
        written = rows_written(server) - before
        if written and first is None:
            first = asked
        if written >= rows:
            return first, asked
        time.sleep(0.05 if first else 0.005)
    raise RuntimeError(f"only {rows_written(server) - before} of {rows} rows came within {timeout:g} s")


def cpu_share(pid: int, seconds: float) -> dict:
    """CPU of a process over a period, in percent of one core, and its memory at the end."""
    before = processes.usage(pid)
    started = time.perf_counter()
    time.sleep(seconds)
    after = processes.usage(pid)
    share = 100 * (after["cpu_s"] - before["cpu_s"]) / (time.perf_counter() - started)
    return {"cpu_percent": round(share, 2), "rss_mb": round(after["rss_mb"], 1), "threads": after["threads"]}


def spread(seconds: list[float]) -> dict:
    """Percentiles in milliseconds."""
    ordered = sorted(seconds)
    at = lambda share: ordered[min(len(ordered) - 1, int(share * len(ordered)))]
    return {
        "count": len(ordered),
        "p50_ms": round(1000 * statistics.median(ordered)),
        "p95_ms": round(1000 * at(0.95)),
        "max_ms": round(1000 * ordered[-1]),
    }


class Watch:
    """Samples continuously in a thread of its own while the block runs."""

    def __init__(self, every: float):
        self._every = every
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._stop.set()
        self._thread.join(10)

    def _run(self) -> None:
        while not self._stop.is_set():
            self._look()
            self._stop.wait(self._every)

    def _look(self) -> None:
        raise NotImplementedError


class Writes(Watch):
    """Records when milvus-cdc counts the n-th row as acknowledged by the target."""

    def __init__(self, cdc):
        super().__init__(every=0.005)
        self.times: list[float] = []
        self._cdc = cdc
        self._before = self._count()

    def _count(self) -> int:
        return int(sum(float(number) for number in CARRIED.findall(self._cdc.get_text("/metrics"))))

    def _look(self) -> None:
        count = self._count() - self._before
        self.times += [time.perf_counter()] * (count - len(self.times))


class Arrivals(Watch):
    """Records when each key of a collection (0, 1, 2 …) becomes visible."""

    def __init__(self, node, name: str):
        super().__init__(every=0.01)
        self.seen: dict[int, float] = {}
        self._collection = node.collection(name)
        # All keys below have been seen. Rows of two concurrent calls may become visible in any order.
        self._next = 0

    def _look(self) -> None:
        # Consistency Eventually: reads what is visible now and waits for no tick.
        found = self._collection.query(f"id >= {self._next}", output_fields=["id"], consistency_level="Eventually")
        now = time.perf_counter()
        for row in found:
            self.seen.setdefault(row["id"], now)
        while self._next in self.seen:
            self._next += 1
