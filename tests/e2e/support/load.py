"""Writes of all kinds at the source, from a thread, until stopped."""

import random
import threading

from .node import simple_rows
from .waiting import wait_until


class Load:
    """Inserts new keys, upserts and deletes old ones. It never inserts a key twice, so the source itself has no
    duplicates."""

    def __init__(
        self, source, name: str, *, batch: int = 200, seed: int = 1, first_key: int = 0, patience: float = 5.0
    ):
        self.errors = 0
        self.batches = 0
        self.next_key = first_key
        self._collection = source.collection(name)
        self._batch = batch
        self._patience = patience
        self._random = random.Random(seed)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="load", daemon=True)

    def __enter__(self) -> "Load":
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._stop.set()
        self._thread.join(90)
        assert not self._thread.is_alive(), "the load's last call hangs"

    def go_on(self, batches: int, seconds: float) -> None:
        """Waits until more than this many further batches have been written."""
        seen = self.batches
        wait_until(lambda: self.batches > seen + batches, seconds, "the load to go on")

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._step()
                self.batches += 1
            except Exception:  # the source may be dead on purpose; acknowledged rows are durable
                self.errors += 1
                self._stop.wait(0.2)

    def _step(self) -> None:
        keys = range(self.next_key, self.next_key + self._batch)
        self.next_key += self._batch
        self._collection.insert(simple_rows(keys), timeout=self._patience)
        if self.next_key > 2 * self._batch:
            old = self._random.sample(range(self.next_key), self._batch // 4)
            self._collection.delete(f"id in {old[::2]}", timeout=self._patience)
            self._upsert(old[1::2])
        self._stop.wait(0.02)

    def _upsert(self, keys) -> None:
        columns = simple_rows(keys, mark=float(self.batches))
        self._collection.upsert(
            [[row["id"] for row in columns], [row["vec"] for row in columns]], timeout=self._patience
        )


class Upserts(Load):
    """Replaces the same few keys continuously, so that a remainder of an upsert soon conflicts with the next
    one."""

    def _step(self) -> None:
        self._upsert(range(self.next_key, self.next_key + self._batch))
