"""One physical channel of the fake's log, and how `DumpMessages` reads it."""

import bisect
import dataclasses
import threading

from . import queues, vectors, wire

# Types of messages that a server does not send.
TIME_TICK, HIDDEN = 1, {1, 4, 10, 902}


@dataclasses.dataclass
class Record:
    """A message in the log. All parts of a transaction are one message, since they count as one."""

    number: int
    tick: int
    kind: int
    last_confirmed: int
    # Properties and payload of each part; parts have consecutive numbers.
    parts: list
    written: float


class Channel:
    def __init__(self, name: str, clock, queue: int, number: int):
        self.name = name
        self.queue = queue
        self._clock = clock
        self._records: list[Record] = []
        self._next = queues.first(queue, number)
        # Woodpecker: reading from the first entry on begins here, and what lies before the other is deleted.
        self._truncated_to = self._deleted_to = self._next
        self._lock = threading.Lock()
        self._last_tick = 0
        self.given: set[str] = queues.oldest_ids(queue)
        self.tick()

    def tick(self) -> None:
        """Writes an internal message, as a server does now and then. It is never sent."""
        with self._lock:
            self._tick()

    def _tick(self) -> None:
        properties, payload = vectors.record("01-timetick-rmq.pb")
        self._put(TIME_TICK, [(properties, payload)], self._next_tick(), self._next)

    def _next_tick(self) -> int:
        """Rising on this channel, and often earlier than an AllocTimestamp that was answered before."""
        self._last_tick = self._clock.tick(self._last_tick)
        return self._last_tick

    def _put(self, kind: int, parts: list, tick: int, last_confirmed: int) -> Record:
        record = Record(self._next, tick, kind, last_confirmed, parts, self._clock.seconds())
        self._next += len(parts)
        self._records.append(record)
        return record

    def append(self, *messages: list) -> list[Record]:
        """Writes messages. Each is a list of (file of the vector, vchannel, header, payload, more properties); several
        entries are the parts of a transaction. Several messages are written in the reverse order of their ticks, as
        real logs may have them."""
        with self._lock:
            # The place is sure with the tick before the last: on a new channel that is the first entry of all.
            confirmed = next(record.number for record in reversed(self._records) if record.kind == TIME_TICK)
            self._tick()
            # One behind the other: they become visible together.
            first = self._next_tick()
            self._last_tick += len(messages) - 1
            ticks = range(self._last_tick, first - 1, -1)
            return [self._put(*self._made(message), tick, confirmed) for message, tick in zip(messages, ticks)]

    def _made(self, parts: list):
        made = []
        for file, vchannel, header, payload, more in parts:
            properties, original = vectors.record(file)
            properties = {**properties, "_vc": vchannel, **({"_h": header} if header is not None else {}), **more}
            made.append((properties, original if payload is None else payload))
        return int(made[-1][0]["_t"]), made

    def cut(self, keep: int = 0) -> None:
        """Retention: removes all but the last records."""
        with self._lock:
            del self._records[: len(self._records) - keep]
            if self.queue == queues.WOODPECKER:
                self._begin_segment()
                self._truncated_to = self._deleted_to = self._records[0].number if keep else self._next
            self._tick()

    def truncate(self) -> None:
        """Woodpecker: everything that is there has been flushed. It stays readable until its files are deleted."""
        with self._lock:
            self._begin_segment()
            self._truncated_to = self._next
            self._tick()

    def _begin_segment(self) -> None:
        self._next = (self._next // queues.SEGMENT + 1) * queues.SEGMENT

    def text_of(self, number: int) -> str:
        return queues.text_of(self.queue, number)

    def message(self, record: Record, part: int, wrong_id: bool = False) -> bytes:
        properties, payload = record.parts[part]
        confirmed = self.text_of(record.last_confirmed)
        properties = {**properties, "_tt": wire.base36(record.tick), "_lc": confirmed}
        properties.pop("_lcs", None)
        self.given.add(confirmed)
        number = self.text_of(record.number + part)
        return vectors.immutable(self.queue, "!!" if wrong_id else number, properties, payload)

    def end(self) -> Record:
        with self._lock:
            return self._records[-1]

    def start_of(self, text: str) -> int | None:
        """Where a reader that asks for this message begins: there, or at the oldest if it is not there (any more).
        Woodpecker is silent for ever about what has been deleted: None."""
        number = queues.number_of(self.queue, text)
        with self._lock:
            if self.queue == queues.WOODPECKER:
                number = self._truncated_to if text == queues.BEHIND_TRUNCATION else number
                return number if number >= self._deleted_to else None
            index = bisect.bisect_left([record.number for record in self._records], number)
            found = index < len(self._records) and self._records[index].number == number
            return self._records[index].number if found else self._records[0].number

    def between(self, first: int, after: int, until: int) -> list[Record]:
        """Records from a number on whose ticks are above `after` and at most `until`, in the order of ticks."""
        with self._lock:
            found = [r for r in self._records if r.number >= first and after < r.tick <= until and r.kind not in HIDDEN]
        return sorted(found, key=lambda record: record.tick)
