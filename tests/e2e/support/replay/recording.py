"""A recording as it lies beside the checkout: an archive of plain data, read into memory and never unpacked."""

import base64
import dataclasses
import functools
import json
import os
import pathlib
import struct
import tarfile

from support.fake import wire
from support.fake.queues import KAFKA, PULSAR, ROCKSMQ, WOODPECKER

RECORDINGS = [
    "2.6.20-woodpecker",
    "3.0-woodpecker",
    "2.6.20-rocksmq",
    "2.6.20-rocksmq-rollback",
    "3.0-rocksmq",
    "2.6.20-kafka",
    "2.6.20-pulsar",
]
QUEUE_FILES = ["kafka.jsonl", "pulsar.jsonl", "rocksmq.tar.xz", "rocksmq-running.tar.xz"]
# So much earlier than an AllocTimestamp that was answered before it may a message's tick be (150 ms were seen).
EARLY_MS = 250


def folder() -> pathlib.Path:
    beside = pathlib.Path(__file__).resolve().parents[4].parent / "shared" / "recordings"
    return pathlib.Path(os.environ.get("MILVUS_CDC_RECORDINGS", beside))


def are_expected() -> bool:
    """A stranger's clone has none beside it; CI has, and must notice when they are gone."""
    return folder().is_dir() or bool(os.environ.get("CI"))


def place_of(queue: int, text: str) -> tuple:
    """An id as something that can be compared with others of its queue."""
    if queue in (ROCKSMQ, KAFKA):
        return (int(text, 36),)
    fields = dict(wire.decode(base64.b64decode(text)))
    places = tuple(fields.get(number, 0) for number in (1, 2))
    # Pulsar's oldest is all -1.
    return tuple(place - 2**64 if place >= 2**63 else place for place in places)


@dataclasses.dataclass
class Message:
    """One `DumpMessages` answer."""

    answer: bytes
    tick: int
    place: tuple
    # Where its transaction begins, or itself.
    begins: tuple
    kind: str


@dataclasses.dataclass
class Answer:
    """What a call was answered after a step."""

    step: int
    response: bytes


class Recording:
    """One server's recording."""

    def __init__(self, name: str):
        self.name = name
        files = _files(name)
        self.info = json.loads(files["info.json"])
        self.queue: int = self.info["wal_name"]
        self.steps = [json.loads(line) for line in files["steps.jsonl"].splitlines()]
        self.expected = json.loads(files["expected.json"])
        # The queue's own files or messages; of none but RocksMQ, Kafka and Pulsar.
        self.queue_files = {name: data for name, data in files.items() if name in QUEUE_FILES}
        # What reading from different places gave; not of every server.
        self.resumed = [json.loads(line) for line in files.get("resume.jsonl", b"").splitlines()]
        self.channels = {
            channel: _messages(self.queue, files[f"dump/{channel}.bin"]) for channel in self.info["channels"]
        }
        # By method and what was asked: the answers in their order.
        self.answers: dict[tuple, list[Answer]] = {}
        self.missing: bytes = b""
        # By method the answers to calls that were meant to be refused.
        self.refused: dict[str, list[bytes]] = {}
        for line in files["catalog.jsonl"].splitlines():
            self._take(json.loads(line))
        # Woodpecker: where what lies behind the truncation point begins, at the end.
        self.truncated_to = {
            pathlib.PurePath(file).stem: min(message.place for message in _messages(self.queue, data))
            for file, data in files.items()
            if file.startswith("dump-oldest-at-end/")
        }

    def _take(self, call: dict) -> None:
        asked = call["request_json"]
        if call.get("note") == "meant to be refused":
            if "response" in call:
                self.refused.setdefault(call["method"], []).append(base64.b64decode(call["response"]))
            if call["method"] == "DescribeCollection" and asked == {"collection_name": "nope"}:
                self.missing = base64.b64decode(call["response"])
            return
        if "response" not in call:
            return
        key = (call["method"], asked.get("db_name", ""), asked.get("collection_name", ""))
        self.answers.setdefault(key, []).append(Answer(call["step"], base64.b64decode(call["response"])))

    @property
    def last_step(self) -> int:
        return self.steps[-1]["step"]

    def answer(self, step: int, method: str, database: str = "", collection: str = "") -> bytes | None:
        """The last answer to a call up to a step."""
        known = [one for one in self.answers.get((method, database, collection), []) if one.step <= step]
        return known[-1].response if known else None

    def ticks(self, step: int) -> tuple[int, int]:
        """When the step was over, and the last tick that is certainly not the next one's: a message's may be earlier
        than a timestamp that was allocated before it."""
        over = max((one["tick_after"] for one in self.steps[:step]), default=self.steps[0]["tick_before"] - 1)
        later = [one["tick_before"] for one in self.steps[step:] if one["tick_before"]]
        return over, (later[0] - (EARLY_MS << 18) if later else max(over, self.info["end_tick"]))


@functools.cache
def recording(name: str) -> Recording:
    return Recording(name)


def _files(name: str) -> dict[str, bytes]:
    with tarfile.open(folder() / f"{name}.tar.xz", "r:xz") as archive:
        return {
            entry.name.removeprefix("./").removeprefix(f"{name}/"): archive.extractfile(entry).read()
            for entry in archive
            if entry.isfile()
        }


def _messages(queue: int, data: bytes) -> list[Message]:
    found, at = [], 0
    begins: dict[str, tuple] = {}
    while at < len(data):
        (length,) = struct.unpack_from("<I", data, at)
        answer = data[at + 4 : at + 4 + length]
        at += 4 + length
        message = dict(wire.decode(answer))[2]
        properties = properties_of(message)
        text = dict(wire.decode(dict(wire.decode(message))[1])).get(1, b"").decode()
        place = place_of(queue, text)
        txn = properties.get("_tx")
        if properties["_t"] == "900":
            begins[txn] = place
        begin = begins[txn] if txn else place
        found.append(Message(answer, int(properties["_tt"], 36), place, begin, properties["_t"]))
    return found


def properties_of(message: bytes) -> dict[str, str]:
    entries = [dict(wire.decode(value)) for number, value in wire.decode(message) if number == 3]
    return {entry[1].decode(): entry.get(2, b"").decode() for entry in entries}
