"""Inserts at a server from a thread, and what of them was acknowledged when."""

import threading
import time

from .node import simple_rows
from .waiting import wait_until


class Acknowledged:
    """Inserts new keys until stopped, and lists those that the server has acknowledged, with the moment (milliseconds
    since 1970) at which the client knew."""

    def __init__(self, node, name: str, *, first_key: int = 0, batch: int = 20):
        self.keys: dict[int, int] = {}
        self._name = name
        self._collection = node.collection(name)
        self._writing = threading.Lock()
        self._next = first_key
        self._batch = batch
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="acknowledged", daemon=True)

    def __enter__(self) -> "Acknowledged":
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._stop.set()
        self._thread.join(60)
        assert not self._thread.is_alive(), "the last call hangs"

    def go_on(self, rows: int) -> None:
        """Waits until so many further rows were acknowledged."""
        seen = len(self.keys)
        wait_until(lambda: len(self.keys) >= seen + rows, 60, "acknowledged rows")

    def move(self, node) -> None:
        """Writes to another server from now on; returns when no call to the one before is under way."""
        collection = node.collection(self._name)
        with self._writing:
            self._collection = collection

    def before(self, ms: int) -> set[int]:
        """What was acknowledged before this moment."""
        return {key for key, at in self.keys.items() if at < ms}

    def _run(self) -> None:
        while not self._stop.is_set():
            keys = range(self._next, self._next + self._batch)
            self._next += self._batch
            with self._writing:
                is_acknowledged = self._insert(keys)
            # Whoever wants to move it gets the lock.
            self._stop.wait(0.01 if is_acknowledged else 0.1)

    def _insert(self, keys) -> bool:
        try:
            self._collection.insert(simple_rows(keys), timeout=3)
        except Exception:  # the server is killed on purpose: this batch is not acknowledged
            return False
        now = time.time_ns() // 1_000_000
        self.keys.update((key, now) for key in keys)
        return True
