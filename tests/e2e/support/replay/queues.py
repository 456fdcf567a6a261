"""What a recorded server had in its queue, message by message, and the queues that it is written into again: RocksMQ's
files, and the topics of real brokers."""

import base64
import dataclasses
import io
import json
import pathlib
import tarfile

import confluent_kafka as kafka
from kafka_broker import LARGEST_MESSAGE
from rocksdict import DBCompressionType, Options, Rdict

from support.fake import wire
from support.kafka import PARTITION, SECONDS
from support.rocksmq import opened

from .producer import PulsarProducer
from .recording import Recording

# A value in RocksMQ begins with this; the payload and the properties follow.
MAGIC = b"\xff\xfe\xfd\xfcSTREAM"
TIME_TICK = "1"


@dataclasses.dataclass
class Stored:
    """A message of a queue."""

    channel: str
    # Its key in RocksMQ, its offset in Kafka, its ledger and entry in Pulsar.
    place: object
    properties: dict[str, str]
    payload: bytes

    @property
    def tick(self) -> int:
        return int(self.properties["_tt"], 36)

    @property
    def kind(self) -> str:
        return self.properties["_t"]

    def value(self) -> bytes:
        """As RocksMQ holds it."""
        entries = [(2, wire.encode((1, key), (2, value))) for key, value in self.properties.items()]
        return MAGIC + wire.encode((1, self.payload), *entries)


def unpack(recording: Recording, state: str, folder: pathlib.Path) -> pathlib.Path:
    """The RocksMQ as it lay there: `rocksmq` after the server had stopped, `rocksmq-running` before."""
    with tarfile.open(fileobj=io.BytesIO(recording.queue_files[f"{state}.tar.xz"])) as archive:
        archive.extractall(folder, filter="data")
    return folder / "rdb_data"


def of_rocksmq(recording: Recording, folder: pathlib.Path) -> list[Stored]:
    with opened(unpack(recording, "rocksmq", folder)) as database:
        return [_of_value(bytes(key), bytes(value)) for key, value in database.items()]


def _of_value(key: bytes, value: bytes) -> Stored:
    assert value.startswith(MAGIC), value[:20]
    fields = wire.decode(value[len(MAGIC) :])
    entries = [dict(wire.decode(entry)) for number, entry in fields if number == 2]
    properties = {entry[1].decode(): entry.get(2, b"").decode() for entry in entries}
    return Stored(key.rpartition(b"/")[0].decode(), key, properties, dict(fields).get(1, b""))


def of_kafka(recording: Recording) -> list[Stored]:
    found = []
    for one in map(json.loads, recording.queue_files["kafka.jsonl"].splitlines()):
        value = base64.b64decode(one["value"] or "")
        found.append(Stored(one["topic"], one["offset"], one["headers"], value))
    return sorted(found, key=lambda message: (message.channel, message.place))


def of_pulsar(recording: Recording) -> list[Stored]:
    found = []
    for one in map(json.loads, recording.queue_files["pulsar.jsonl"].splitlines()):
        place = one["ledger"], one["entry"]
        channel, payload = one["topic"].rpartition("/")[2], base64.b64decode(one["payload"] or "")
        found.append(Stored(channel, place, one["properties"], payload))
    return sorted(found, key=lambda message: (message.channel, message.place))


def alter_wal(last: Stored, queue: int) -> Stored:
    """The message behind a RocksMQ channel's last one by which its source moves its log to another queue."""
    name, _, number = last.place.rpartition(b"/")
    place = name + b"/" + str(int(number) + 1).encode()
    own = {"_t": "700", "_tt": wire.base36(last.tick + 1), "_vc": last.channel, "_h": wire.b64((1, queue))}
    return Stored(last.channel, place, {"_v": "1", "_lc": last.properties["_lc"], **own}, b"")


class Queue:
    """A queue that is being written."""

    def __init__(self, messages: list[Stored]):
        self._left: dict[str, list[Stored]] = {}
        for message in messages:
            self._left.setdefault(message.channel, []).append(message)

    def write(self, until: int | None = None) -> None:
        """Every channel's messages up to this tick, or all."""
        for now in self.take(until):
            self.append(now)

    def take(self, until: int | None) -> list[list[Stored]]:
        """What is to be written up to this tick, channel by channel."""
        taken = []
        for left in self._left.values():
            end = next((at for at, one in enumerate(left) if until is not None and one.tick > until), len(left))
            taken.append(left[:end])
            del left[:end]
        return taken

    def append(self, messages: list[Stored]) -> None:
        """Messages of one channel."""
        raise NotImplementedError

    def close(self) -> None:
        """Most have nothing to close."""


class RocksMqFiles(Queue):
    """RocksMQ's files, written by another hand than Milvus's, with the same keys and values."""

    def __init__(self, folder: pathlib.Path, messages: list[Stored]):
        super().__init__(messages)
        self.path = folder
        options = Options(raw_mode=True)
        # The program reads them with a RocksDB without Snappy.
        options.set_compression_type(DBCompressionType.none())
        self._database = Rdict(str(folder), options)

    def put(self, key: bytes, value: bytes) -> None:
        self._database[key] = value

    def append(self, messages: list[Stored]) -> None:
        for message in messages:
            self.put(message.place, message.value())

    def close(self) -> None:
        self._database.close()


class KafkaTopics(Queue):
    """Topics of a broker that has none of these yet, so that every message gets the offset that it had."""

    def __init__(self, broker, messages: list[Stored]):
        super().__init__(messages)
        self._producer = kafka.Producer(
            {"bootstrap.servers": broker.address(), "compression.type": "zstd", "message.max.bytes": LARGEST_MESSAGE}
        )

    def append(self, messages: list[Stored]) -> None:
        wrong = []

        def delivered(message: Stored):
            return lambda error, told: error or told.offset() != message.place and wrong.append((error, message.place))

        for message in messages:
            self._producer.produce(
                message.channel,
                message.payload,
                partition=PARTITION,
                headers=list(message.properties.items()),
                on_delivery=delivered(message),
            )
        assert self._producer.flush(SECONDS) == 0 and not wrong, wrong[:3]


class PulsarTopics(Queue):
    """Topics of a namespace of their own. The broker numbers messages by its own ledgers, so the ids in a message's
    properties are changed to those."""

    def __init__(self, broker, namespace: str, messages: list[Stored]):
        super().__init__(messages)
        broker.admin("PUT", f"namespaces/public/{namespace}", {})
        self._producer = PulsarProducer(broker.address())
        self._topics = f"persistent://public/{namespace}"
        self._places: dict[tuple, tuple] = {}

    def append(self, messages: list[Stored]) -> None:
        for message in messages:
            properties = dict(message.properties)
            if properties.get("_lc"):
                properties["_lc"] = self._here(message.channel, properties["_lc"])
            place = self._producer.send(f"{self._topics}/{message.channel}", properties, message.payload)
            self._places[message.channel, message.place] = place

    def _here(self, channel: str, text: str) -> str:
        fields = dict(wire.decode(base64.b64decode(text)))
        ledger, entry = self._places[channel, (fields[1], fields.get(2, 0))]
        return wire.b64(*{**fields, 1: ledger, 2: entry}.items())

    def close(self) -> None:
        self._producer.close()
