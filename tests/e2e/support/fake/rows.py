"""Rows for the fake, their comparison with a real target, and a load generator."""

import contextlib
import random
import threading

from support.oracle import count, differences, rows
from support.waiting import wait_until


def vec(key: int, mark: float = 0.0) -> list[float]:
    return [float(key % 1000), mark, 0.5, -1.0]


def some(keys, mark: float = 0.0) -> dict:
    return {key: vec(key, mark) for key in keys}


def assert_same(fake, target, name: str) -> int:
    wanted = fake.rows(name)
    there = count(target, name)
    assert there == len(wanted), f"{name}: {len(wanted)} rows at the source, {there} at the target"
    lines = differences(wanted, rows(target, name))
    assert not lines, "\n".join(lines)
    return there


def wait_same(fake, target, name: str, expect: int | None = None, timeout: float = 40.0) -> None:
    def same():
        found = assert_same(fake, target, name)
        assert expect is None or found == expect, f"{found} rows, {expect} are expected"
        return True

    wait_until(same, timeout, f"the same rows of {name} on both sides", every=0.2)


@contextlib.contextmanager
def standing_still(cdc, task, how: str):
    """What is done meanwhile is not read before the end: the task is paused, or the program killed."""
    if how == "pause":
        task.pause()
    else:
        cdc.kill9()
    yield
    if how == "pause":
        task.resume()
    else:
        cdc.start()


def wait_stopped(task, *words: str, timeout: float = 40.0) -> str:
    """Waits until the task has stopped itself with a reason that contains these words."""

    def stopped():
        told = task.get()
        assert told["state"] == "Paused" and told["phase"] == "Stopped", f"{told['phase']}: {told.get('reason')}"
        reason = told.get("reason") or ""
        missing = [word for word in words if word not in reason]
        assert not missing, f"{missing} not in {reason!r}"
        return reason

    return wait_until(stopped, timeout, f"the task to stop, naming {words}")


class Writing:
    """Writes of all kinds to the fake, from a thread."""

    def __init__(self, fake, name: str, seed: int = 1, first: int = 1):
        self.steps = 0
        self._fake, self._name, self._random = fake, name, random.Random(seed)
        self._first = self._next = first
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="writing", daemon=True)

    def __enter__(self) -> "Writing":
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._stop.set()
        self._thread.join(30)

    def _run(self) -> None:
        while not self._stop.is_set():
            new = range(self._next, self._next + 20)
            self._next += 20
            self._fake.insert(self._name, some(new))
            old = self._random.sample(range(self._first, self._next), 8)
            self._fake.delete(self._name, old[::2])
            self._fake.upsert(self._name, some(old[1::2], mark=float(self.steps)))
            self.steps += 1
            self._stop.wait(0.03)
