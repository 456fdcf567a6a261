"""One physical channel of the fake's log, and how `DumpMessages` reads it."""

import bisect
import dataclasses
import threading

from . import vectors, wire

# The types that a server keeps to itself.
TIME_TICK, HIDDEN = 1, {1, 4, 10, 902}


@dataclasses.dataclass
class Record:
    """A message as it lies in the log. The parts of a transaction are one, since they count as one."""

    number: int
    tick: int
    kind: int
    last_confirmed: int
    # Properties and payload of each part; the first has the number, the others those behind it.
    parts: list
    written: float


class Channel:
    def __init__(self, name: str, clock, first_number: int):
        self.name = name
        self._clock = clock
        self._records: list[Record] = []
        self._next = first_number
        self._lock = threading.Lock()
        self.given: set[int] = set()
        self.tick()

    def tick(self) -> None:
        """What a server writes now and then: nothing of it is ever sent."""
        with self._lock:
            self._tick()

    def _tick(self) -> None:
        tick = self._clock.next()
        properties, payload = vectors.record("01-timetick-rmq.pb")
        self._put(TIME_TICK, [(properties, payload)], tick, self._next)

    def _put(self, kind: int, parts: list, tick: int, last_confirmed: int) -> Record:
        record = Record(self._next, tick, kind, last_confirmed, parts, self._clock.seconds())
        self._next += len(parts)
        self._records.append(record)
        return record

    def append(self, *messages: list) -> list[Record]:
        """Writes messages, each a list of (file of the vector, vchannel, header, payload, more properties): more than one are a
        transaction's parts. Several messages lie in the log in the reverse order of their ticks, as may happen."""
        with self._lock:
            self._tick()
            confirmed = self._records[-1].number
            ticks = sorted((self._clock.next() for _ in messages), reverse=True)
            return [self._put(*self._made(message), tick, confirmed) for message, tick in zip(messages, ticks)]

    def _made(self, parts: list):
        made = []
        for file, vchannel, header, payload, more in parts:
            properties, original = vectors.record(file)
            properties = {**properties, "_vc": vchannel, **({"_h": header} if header is not None else {}), **more}
            made.append((properties, original if payload is None else payload))
        return int(made[-1][0]["_t"]), made

    def cut(self, keep: int = 0) -> None:
        """Retention removes everything that is there but the last records."""
        with self._lock:
            del self._records[: len(self._records) - keep]
            self._tick()

    def message(self, record: Record, part: int, wrong_id: bool = False) -> bytes:
        properties, payload = record.parts[part]
        confirmed = wire.base36(record.last_confirmed)
        properties = {**properties, "_tt": wire.base36(record.tick), "_lc": confirmed}
        properties.pop("_lcs", None)
        self.given.add(record.last_confirmed)
        number = record.number + part
        return vectors.immutable("!!" if wrong_id else wire.base36(number), properties, payload)

    def end(self) -> Record:
        with self._lock:
            return self._records[-1]

    def start_of(self, number: int) -> int:
        """Where a reader that asks for this message begins: there, or at the oldest if it is not there (any more)."""
        with self._lock:
            index = bisect.bisect_left([record.number for record in self._records], number)
            found = index < len(self._records) and self._records[index].number == number
            return self._records[index].number if found else self._records[0].number

    def between(self, first: int, after: int, until: int) -> list[Record]:
        """Records from a number on with ticks above `after` and up to `until`, in the order of ticks."""
        with self._lock:
            found = [r for r in self._records if r.number >= first and after < r.tick <= until and r.kind not in HIDDEN]
        return sorted(found, key=lambda record: record.tick)
