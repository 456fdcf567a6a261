"""The fake server: collections with their rows, the log that tells of them, and the calls of a source."""

import collections
import dataclasses
import threading
import time
import types

import ports
from pymilvus.grpc_gen import common_pb2, msg_pb2, schema_pb2

from . import vectors, wire
from .channel import Channel
from .faults import Faults
from .service import Service

INT64, VARCHAR, FLOAT_VECTOR = 5, 21, 101
PREFIX = "by-dev-rootcoord-dml"


class Clock:
    """Hybrid timestamps, each given once."""

    def __init__(self):
        self._last = 0
        self._ahead_ms = 0
        self._lock = threading.Lock()

    def jump(self, seconds: int) -> None:
        """As if so long had passed."""
        self._ahead_ms += 1000 * seconds

    def now(self) -> int:
        return time.time_ns() // 1_000_000 + self._ahead_ms << 18

    def next(self) -> int:
        with self._lock:
            self._last = max(self._last + 1, self.now())
            return self._last

    def seconds(self) -> float:
        return time.monotonic()


@dataclasses.dataclass
class Shard:
    channel: Channel
    vchannel: str


@dataclasses.dataclass
class Kept:
    """A collection: `id` and `vec` unless the test gives other fields."""

    id: int
    name: str
    fields: list
    shards: list[Shard]
    partitions: dict[str, int]
    created: int
    begins: dict[str, int]
    rows: dict = dataclasses.field(default_factory=dict)
    # Fields of text that were added or dropped later: by name their number, and by key what rows have in them.
    texts: dict[str, int] = dataclasses.field(default_factory=dict)
    values: dict[str, dict] = dataclasses.field(default_factory=dict)


class FakeMilvus:
    """One server on a port of its own; stopping keeps what it holds."""

    def __init__(self, *, version: str = "v2.6.22", channels: int = 2, has_dump: bool = True):
        self.version = version
        self.has_dump = has_dump
        self.faults = Faults()
        self.clock = Clock()
        self.lock = threading.RLock()
        first = 453718800000000000
        self.channels = {f"{PREFIX}_{n}": Channel(f"{PREFIX}_{n}", self.clock, first + n * 10**12) for n in range(channels)}
        self.collections: dict[str, Kept] = {}
        # Methods by how often they were called.
        self.calls: collections.Counter = collections.Counter()
        # Ids that were asked for and never given.
        self.strange_ids: list[str] = []
        self._ids = iter(range(453718835200001, 2**62))
        self._broadcasts = iter(range(1, 2**62))
        self.port = ports.free_ports(1)[0]
        self.server = types.SimpleNamespace(token="", rocksmq="/nonexistent", tls=None, certificates=None)
        self._grpc = None

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> "FakeMilvus":
        self._service = Service(self)
        self._grpc = self._service.serve(self.port)
        return self

    def stop(self) -> None:
        if self._grpc:
            self._service.ending.set()
            self._grpc.stop(0).wait()
            self._grpc = None

    def restart(self) -> None:
        self.stop()
        self.start()

    # What users do.

    def create(self, name: str, *, shards: int = 1, fields=None, logged: bool = True, dim: int = 4) -> Kept:
        with self.lock:
            number = next(self._ids)
            on = list(self.channels.values())[:shards]
            made = [Shard(channel, f"{channel.name}_{number}v{n}") for n, channel in enumerate(on)]
            fields = fields or [field("id", INT64, 100, is_primary_key=True), field("vec", FLOAT_VECTOR, 101, dim=dim)]
            kept = Kept(number, name, fields, made, {"_default": next(self._ids)}, self.clock.next(), {})
            for shard in made:
                if logged:
                    header = wire.b64((1, number), (2, kept.partitions["_default"]), (3, 1))
                    told = self._broadcast(kept, header)
                    (record,) = shard.channel.append([("24-create-collection-shard0.pb", shard.vchannel, header, None, told)])
                    kept.begins[shard.channel.name] = record.last_confirmed
            self.collections[name] = kept
            return kept

    def create_partition(self, name: str, partition: str) -> None:
        with self.lock:
            kept = self.collections[name]
            kept.partitions[partition] = next(self._ids)
            header = wire.b64((1, kept.id), (2, kept.partitions[partition]))
            self._on_every_shard(kept, "27-create-partition.pb", header)

    def insert(self, name: str, rows: dict, partition: str = "_default", texts: dict | None = None) -> None:
        """`rows` by key. Keys that are there already are doubled by a real server; tests do not do that. `texts`: by name of a field
        that was added, and key."""
        with self.lock:
            kept = self.collections[name]
            for field_name, values in (texts or {}).items():
                kept.values[field_name].update(values)
            for shard, mine in self._by_shard(kept, rows):
                shard.channel.append([self._insert(kept, shard, mine, partition)])
            kept.rows.update({(key, partition): vec for key, vec in rows.items()})

    def insert_pair(self, name: str, first: dict, second: dict) -> None:
        """Two inserts of one shard that lie in the log in the wrong order, and come together."""
        with self.lock:
            kept = self.collections[name]
            (shard,) = kept.shards
            both = [[self._insert(kept, shard, rows, "_default")] for rows in (second, first)]
            shard.channel.append(*both)
            kept.rows.update({(key, "_default"): vec for rows in (first, second) for key, vec in rows.items()})

    def delete(self, name: str, keys) -> None:
        with self.lock:
            kept = self.collections[name]
            for shard, mine in self._by_shard(kept, dict.fromkeys(keys)):
                shard.channel.append([self._delete(kept, shard, list(mine))])
            for place in [place for place in kept.rows if place[0] in set(keys)]:
                del kept.rows[place]

    def upsert(self, name: str, rows: dict, partition: str = "_default") -> None:
        """On each shard a transaction of inserts and, behind them, the delete of what was there: that is an upsert's order."""
        with self.lock:
            kept = self.collections[name]
            for shard, mine in self._by_shard(kept, rows):
                items = list(mine.items())
                halves = [dict(half) for half in (items[: len(items) // 2], items[len(items) // 2 :]) if half]
                parts = [self._insert(kept, shard, half, partition) for half in halves]
                txn = {"_tx": wire.b64((1, next(self._ids)), (2, 10_000))}
                parts = [
                    ("16-txn-begin.pb", shard.vchannel, None, None, {}),
                    *parts,
                    self._delete(kept, shard, list(mine)),
                    ("20-txn-commit.pb", shard.vchannel, None, None, {}),
                ]
                shard.channel.append([(file, v, h, p, {**more, **txn}) for file, v, h, p, more in parts])
            for place in [place for place in kept.rows if place[0] in rows]:
                del kept.rows[place]
            kept.rows.update({(key, partition): vec for key, vec in rows.items()})

    def add_field(self, name: str, added, *, told: bool = True, described: bool = True) -> None:
        """A nullable field of text. `told`: the log says so before rows have it. `described`: so does the catalog."""
        with self.lock:
            kept = self.collections[name]
            if described:
                kept.fields.append(added)
            kept.texts[added.name] = added.fieldID
            kept.values[added.name] = {}
            if told:
                header = wire.b64((2, kept.id), (3, wire.encode((1, "schema"))))
                self._on_every_shard(kept, "31-alter-collection-add-field.pb", header)

    def drop_field(self, name: str, dropped: str) -> None:
        """Milvus 3."""
        with self.lock:
            kept = self.collections[name]
            kept.fields = [field for field in kept.fields if field.name != dropped]
            del kept.texts[dropped], kept.values[dropped]

    def truncate(self, name: str, between=lambda: None) -> None:
        """`between` happens when one shard's message is written and the others' are not."""
        kept = self.collections[name]
        told = self._broadcast(kept, None)
        header = wire.b64((1, 1), (2, kept.id))
        for number, shard in enumerate(kept.shards):
            with self.lock:
                gone = [place for place in kept.rows if self._shard_of(kept, place[0]) is shard]
                shard.channel.append([("30-truncate-collection.pb", shard.vchannel, header, None, told)])
                for place in gone:
                    del kept.rows[place]
            if number == 0:
                between()

    def drop(self, name: str) -> None:
        with self.lock:
            kept = self.collections.pop(name)
            self._on_every_shard(kept, "29-drop-collection.pb", wire.b64((1, kept.id), (2, 1)))

    def tell(self, name: str, file: str, *, header=None, payload=None) -> None:
        """A record of a vector, as it is, about a collection: on every shard."""
        with self.lock:
            kept = self.collections[name]
            told = self._broadcast(kept, None) if "_bh" in vectors.record(file)[0] else {}
            for shard in kept.shards:
                shard.channel.append([(file, shard.vchannel, header, payload, told)])

    def told_by(self, name: str, files: list[str]) -> None:
        """Vectors byte by byte on a collection's first shard, one message or a whole transaction."""
        with self.lock:
            shard = self.collections[name].shards[0]
            shard.channel.append([(file, shard.vchannel, None, None, {}) for file in files])

    def cut_log(self, keep: int = 0) -> None:
        """Retention removes all that the log holds but the last records of each channel."""
        with self.lock:
            for channel in self.channels.values():
                channel.cut(keep)

    def rows(self, name: str) -> dict:
        """As the oracle tells of a real server's rows."""
        with self.lock:
            kept = self.collections[name]
            texts = {key: {name: kept.values[name].get(key) for name in kept.texts} for key, _ in kept.rows}
            return {place: {"id": place[0], "vec": list(vec), **texts[place[0]]} for place, vec in kept.rows.items()}

    # How that looks in the log.

    def _shard_of(self, kept: Kept, key: int) -> Shard:
        return kept.shards[key % len(kept.shards)]

    def _by_shard(self, kept: Kept, rows: dict):
        for number, shard in enumerate(kept.shards):
            mine = {key: vec for key, vec in rows.items() if key % len(kept.shards) == number}
            if mine:
                yield shard, mine

    def _broadcast(self, kept: Kept, _header) -> dict:
        vchannels = [shard.vchannel for shard in kept.shards] + [f"{PREFIX}_0_vcchan"]
        return {"_bh": wire.b64((1, next(self._broadcasts)), *((2, vchannel) for vchannel in vchannels))}

    def _on_every_shard(self, kept: Kept, file: str, header: str) -> None:
        told = self._broadcast(kept, header)
        for shard in kept.shards:
            shard.channel.append([(file, shard.vchannel, header, None, told)])

    def _insert(self, kept: Kept, shard: Shard, rows: dict, partition: str):
        columns = fields_data(rows) + text_columns(kept, rows)
        body = msg_pb2.InsertRequest(
            shardName=shard.vchannel,
            db_name="default",
            collection_name=kept.name,
            partition_name=partition,
            collectionID=kept.id,
            partitionID=kept.partitions[partition],
            fields_data=columns,
            num_rows=len(rows),
            version=msg_pb2.ColumnBased,
        )
        header = wire.b64((1, kept.id))
        return ("05-insert-two-partitions-in-header.pb", shard.vchannel, header, body.SerializeToString(), {})

    def _delete(self, kept: Kept, shard: Shard, keys: list):
        body = msg_pb2.DeleteRequest(
            shardName=shard.vchannel,
            collection_name=kept.name,
            collectionID=kept.id,
            partitionID=-1,
            num_rows=len(keys),
            primary_keys=schema_pb2.IDs(int_id=schema_pb2.LongArray(data=keys)),
        )
        header = wire.b64((1, kept.id), (2, len(keys)))
        return ("13-delete-int64-all-partitions.pb", shard.vchannel, header, body.SerializeToString(), {})


def fields_data(rows: dict) -> list:
    """Columns of rows by key."""
    vectors_ = [value for vec in rows.values() for value in vec]
    dim = len(next(iter(rows.values()))) if rows else 0
    ids = schema_pb2.FieldData(type=INT64, field_name="id", field_id=100)
    ids.scalars.long_data.data.extend(rows)
    vecs = schema_pb2.FieldData(type=FLOAT_VECTOR, field_name="vec", field_id=101)
    vecs.vectors.dim = dim
    vecs.vectors.float_vector.data.extend(vectors_)
    return [ids, vecs]


def text_columns(kept: Kept, keys) -> list:
    """What these rows have in fields that were added, as the log holds it: a filler where there is nothing."""
    columns = []
    for name, number in kept.texts.items():
        texts = [kept.values[name].get(key) for key in keys]
        column = schema_pb2.FieldData(type=VARCHAR, field_name=name, field_id=number)
        column.scalars.string_data.data.extend(text or "" for text in texts)
        column.valid_data.extend(text is not None for text in texts)
        columns.append(column)
    return columns


def field(name: str, kind: int, number: int, *, dim: int = 0, **more):
    params = [common_pb2.KeyValuePair(key="dim", value=str(dim))] if dim else []
    return schema_pb2.FieldSchema(name=name, data_type=kind, fieldID=number, type_params=params, **more)
