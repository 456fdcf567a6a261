"""The fake server: collections with their rows, their log, and the calls of a source."""

import collections
import dataclasses
import random
import threading
import time
import types

import ports
from pymilvus.grpc_gen import common_pb2, msg_pb2, schema_pb2

from . import queues, vectors, wire
from .channel import Channel
from .faults import Faults
from .service import Service

INT64, VARCHAR, FLOAT_VECTOR = 5, 21, 101
PREFIX = "by-dev-rootcoord-dml"
# Lives on the first channel.
CONTROL = f"{PREFIX}_0_vcchan"
# How many of a hundred upserts have their delete in front.
DELETE_FIRST = 0.9


# Ticks are handed out to the channels in batches: so much earlier may a message's be than an AllocTimestamp.
BATCH_MS = 150
# What a server has in its log by now, it has by ticks up to this long ago.
PASSED_MS = 200


class Clock:
    """Hybrid timestamps; what AllocTimestamp answers is given once."""

    def __init__(self):
        self._last = 0
        self._random = random.Random(1)
        self._ahead_ms = 0
        self._lock = threading.Lock()

    def jump(self, seconds: int) -> None:
        """Moves the clock forward."""
        self._ahead_ms += 1000 * seconds

    def now(self) -> int:
        return time.time_ns() // 1_000_000 + self._ahead_ms << 18

    def next(self) -> int:
        with self._lock:
            self._last = max(self._last + 1, self.now())
            return self._last

    def tick(self, last: int) -> int:
        """For a message of a channel whose last one was that: later than it, and than what counts as passed."""
        early = self._random.randrange(BATCH_MS)
        return max(last + 1, self.now() - (early << 18) + self._random.randrange(1 << 10))

    def passed(self) -> int:
        """Every message up to here has been written."""
        return self.now() - (PASSED_MS << 18)

    def seconds(self) -> float:
        return time.monotonic()


@dataclasses.dataclass
class Shard:
    channel: Channel
    vchannel: str


@dataclasses.dataclass
class Kept:
    """A collection with the fields `id` and `vec`, unless the test gives others."""

    id: int
    name: str
    fields: list
    shards: list[Shard]
    partitions: dict[str, int]
    created: int
    rows: dict = dataclasses.field(default_factory=dict)
    # `loaded`, `loading` or `released`.
    load: str = "loaded"
    # Text fields that were added or dropped later: number by name, and values by key.
    texts: dict[str, int] = dataclasses.field(default_factory=dict)
    values: dict[str, dict] = dataclasses.field(default_factory=dict)
    # What a user has set.
    properties: dict[str, str] = dataclasses.field(default_factory=dict)
    aliases: set[str] = dataclasses.field(default_factory=set)
    # What DescribeCollection says of them, out of a cache that a change of an alias does not renew (2.6).
    described_aliases: set[str] = dataclasses.field(default_factory=set)
    # When the description was renewed.
    updated: int = 0


class FakeMilvus:
    """One server on a port of its own; its data survives a stop."""

    def __init__(
        self,
        *,
        version: str = "2.6.20",
        channels: int = 2,
        has_dump: bool = True,
        queue: int = queues.ROCKSMQ,
    ):
        self.version = version
        self.random = random.Random(1)
        self.has_dump = has_dump
        self.faults = Faults()
        # When it made its first database, in nanoseconds: what it is known by.
        self.made = time.time_ns()
        self.clock = Clock()
        self.lock = threading.RLock()
        self.channels = {f"{PREFIX}_{n}": Channel(f"{PREFIX}_{n}", self.clock, queue, n) for n in range(channels)}
        self.collections: dict[str, Kept] = {}
        # Number of calls by method.
        self.calls: collections.Counter = collections.Counter()
        # Requested ids that it never issued.
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
        self._service = self.make_service()
        self._grpc = self._service.serve(self.port)
        return self

    def make_service(self) -> Service:
        """What answers the calls, without a network before it."""
        return Service(self)

    def stop(self) -> None:
        if self._grpc:
            self._service.ending.set()
            self._grpc.stop(0).wait()
            self._grpc = None

    def restart(self) -> None:
        self.stop()
        self.start()

    # Actions of users.

    def create(self, name: str, *, shards: int = 1, fields=None, logged: bool = True, dim: int = 4) -> Kept:
        with self.lock:
            number = next(self._ids)
            on = list(self.channels.values())[:shards]
            made = [Shard(channel, f"{channel.name}_{number}v{n}") for n, channel in enumerate(on)]
            fields = fields or [field("id", INT64, 100, is_primary_key=True), field("vec", FLOAT_VECTOR, 101, dim=dim)]
            kept = Kept(number, name, fields, made, {"_default": next(self._ids)}, self.clock.now())
            if logged:
                header = wire.b64((1, number), (2, kept.partitions["_default"]), (3, 1))
                self._on_every_shard(kept, "24-create-collection-shard0.pb", header)
            kept.updated = kept.created
            self.collections[name] = kept
            return kept

    def create_partition(self, name: str, partition: str) -> None:
        with self.lock:
            kept = self.collections[name]
            kept.partitions[partition] = next(self._ids)
            header = wire.b64((1, kept.id), (2, kept.partitions[partition]))
            self._on_every_shard(kept, "27-create-partition.pb", header)

    def insert(self, name: str, rows: dict, partition: str = "_default", texts: dict | None = None) -> None:
        """Inserts `rows` (by key). A real server would duplicate an existing key; tests do not insert one. `texts`:
        values of added fields by name and key."""
        with self.lock:
            kept = self.collections[name]
            for field_name, values in (texts or {}).items():
                kept.values[field_name].update(values)
            for shard, mine in self._by_shard(kept, rows):
                shard.channel.append([self._insert(kept, shard, mine, partition)])
            kept.rows.update({(key, partition): vec for key, vec in rows.items()})

    def insert_pair(self, name: str, first: dict, second: dict) -> None:
        """Two inserts of one shard that stand in the log in the wrong order and arrive together."""
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
        """On each shard a transaction of inserts and the delete of what was there, which comes first or last."""
        with self.lock:
            kept = self.collections[name]
            for shard, mine in self._by_shard(kept, rows):
                items = list(mine.items())
                halves = [dict(half) for half in (items[: len(items) // 2], items[len(items) // 2 :]) if half]
                parts = [self._insert(kept, shard, half, partition) for half in halves]
                txn = {"_tx": wire.b64((1, next(self._ids)), (2, 10_000))}
                parts.append(self._delete(kept, shard, list(mine)))
                if self.random.random() < DELETE_FIRST:
                    parts.insert(0, parts.pop())
                parts = [
                    ("16-txn-begin.pb", shard.vchannel, "", None, {}),
                    *parts,
                    ("20-txn-commit.pb", shard.vchannel, None, None, {}),
                ]
                shard.channel.append([(file, v, h, p, {**more, **txn}) for file, v, h, p, more in parts])
            for place in [place for place in kept.rows if place[0] in rows]:
                del kept.rows[place]
            kept.rows.update({(key, partition): vec for key, vec in rows.items()})

    def alter(self, name: str, **properties: str | None) -> None:
        """Sets properties, or removes those that are None; a dot is written as two underscores."""
        with self.lock:
            kept = self.collections[name]
            kept.properties.update({key.replace("__", "."): value for key, value in properties.items()})
            kept.properties = {key: value for key, value in kept.properties.items() if value is not None}
            self._renew(kept)
            header = wire.b64((1, 1), (2, kept.id), (3, wire.encode((1, "properties"))), (4, b""))
            self._on_every_shard(kept, "33-alter-collection-properties.pb", header)

    def set_alias(self, name: str, alias: str) -> None:
        """A new one, or one of another collection."""
        with self.lock:
            kept = self.collections[name]
            for other in self.collections.values():
                other.aliases.discard(alias)
            kept.aliases.add(alias)
            before = [(6, kept.id)] if self.version.startswith("3") else []
            header = wire.b64((1, 1), (2, "default"), (3, kept.id), (4, name), (5, alias), *before)
            self._on_control_channel("46-alter-alias.pb", header)

    def drop_alias(self, alias: str) -> None:
        with self.lock:
            for kept in self.collections.values():
                kept.aliases.discard(alias)
            self._on_control_channel("47-drop-alias.pb", wire.b64((1, 1), (2, "default"), (3, alias)))

    def _renew(self, kept: Kept) -> None:
        """The cache takes the collection as it is."""
        kept.described_aliases, kept.updated = set(kept.aliases), self.clock.next()

    def server_made(self, kept: Kept) -> dict[str, str]:
        """Properties that a server gives to every collection."""
        made = {"timezone": "UTC"}
        if self.version.startswith("3"):
            made.update({"namespace.sharding.enabled": "false", "max_field_id": str(99 + len(kept.fields))})
        return made

    def add_field(self, name: str, added, *, told: bool = True, described: bool = True) -> None:
        """Adds a nullable text field. `told`: the log announces it before rows have it. `described`: the catalog shows
        it."""
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
        """Drops a field, as Milvus 3 can."""
        with self.lock:
            kept = self.collections[name]
            kept.fields = [field for field in kept.fields if field.name != dropped]
            del kept.texts[dropped], kept.values[dropped]

    def truncate(self, name: str, between=lambda: None) -> None:
        """`between` happens when one shard's message is written and the others' are not. The control channel's copy
        comes at any time."""
        kept = self.collections[name]
        told = self._broadcast(kept, waits_for_all=True)
        kept.properties["collection.on.truncating"] = "1"
        of_control = wire.b64((1, 1), (2, kept.id))
        header = wire.b64((1, 1), (2, kept.id), (3, b"\x01"))
        control = self.random.randrange(len(kept.shards) + 1)
        for number, shard in enumerate(kept.shards):
            with self.lock:
                if number == control:
                    self._on_control_channel("30-truncate-collection.pb", of_control, told)
                gone = [place for place in kept.rows if self._shard_of(kept, place[0]) is shard]
                shard.channel.append([("30-truncate-collection.pb", shard.vchannel, header, None, told)])
                for place in gone:
                    del kept.rows[place]
            if number == 0:
                between()
        with self.lock:
            if control == len(kept.shards):
                self._on_control_channel("30-truncate-collection.pb", of_control, told)
            del kept.properties["collection.on.truncating"]

    def truncate_log(self) -> None:
        """Woodpecker: all that the channels hold has been flushed."""
        with self.lock:
            for channel in self.channels.values():
                channel.truncate()

    def drop(self, name: str) -> None:
        with self.lock:
            kept = self.collections.pop(name)
            waits = self.version.startswith("3")
            header = wire.b64((1, kept.id), (2, 1))
            self._on_every_shard(kept, "29-drop-collection.pb", header, waits_for_all=waits)

    def show_load(self, name: str, load: str) -> None:
        """Changes the load state without a request of a user; the log does not show it."""
        with self.lock:
            self.collections[name].load = load

    def release(self, name: str) -> None:
        """What a user does. Only the control channel tells."""
        with self.lock:
            kept = self.collections[name]
            kept.load = "released"
            self._on_control_channel("42-drop-load-config.pb", wire.b64((1, 1), (2, kept.id)))

    def tell(self, name: str, file: str, *, header=None, payload=None) -> None:
        """Writes an unchanged record of a vector about a collection to every shard."""
        with self.lock:
            kept = self.collections[name]
            told = self._broadcast(kept) if "_bh" in vectors.record(file)[0] else {}
            for shard in kept.shards:
                shard.channel.append([(file, shard.vchannel, header, payload, told)])

    def told_by(self, name: str, files: list[str]) -> None:
        """Writes unchanged vectors to a collection's first shard: one message, or a whole transaction."""
        with self.lock:
            shard = self.collections[name].shards[0]
            shard.channel.append([(file, shard.vchannel, None, None, {}) for file in files])

    def cut_log(self, keep: int = 0) -> None:
        """Retention: removes all but the last records of each channel."""
        with self.lock:
            for channel in self.channels.values():
                channel.cut(keep)

    def rows(self, name: str) -> dict:
        """The rows in the form in which the oracle returns those of a real server."""
        with self.lock:
            kept = self.collections[name]
            texts = {key: {name: kept.values[name].get(key) for name in kept.texts} for key, _ in kept.rows}
            return {place: {"id": place[0], "vec": list(vec), **texts[place[0]]} for place, vec in kept.rows.items()}

    # The messages in the log.

    def _shard_of(self, kept: Kept, key: int) -> Shard:
        return kept.shards[key % len(kept.shards)]

    def _by_shard(self, kept: Kept, rows: dict):
        for number, shard in enumerate(kept.shards):
            mine = {key: vec for key, vec in rows.items() if key % len(kept.shards) == number}
            if mine:
                yield shard, mine

    def _broadcast(self, kept: Kept | None, *, waits_for_all: bool = False) -> dict:
        vchannels = [CONTROL, *(shard.vchannel for shard in (kept.shards if kept else []))]
        self.random.shuffle(vchannels)
        keys = (3, wire.encode((1, 3), (2, "default"), (3, 1)))
        ack = [(4, 1)] if waits_for_all else []
        return {"_bh": wire.b64((1, next(self._broadcasts)), *((2, name) for name in vchannels), keys, *ack)}

    def _on_every_shard(self, kept: Kept, file: str, header: str, *, waits_for_all: bool = False) -> None:
        """And on the control channel, before, between or behind."""
        told = self._broadcast(kept, waits_for_all=waits_for_all)
        copies = [(shard.channel, shard.vchannel) for shard in kept.shards]
        copies.insert(self.random.randrange(len(copies) + 1), (self.channels[f"{PREFIX}_0"], CONTROL))
        for channel, vchannel in copies:
            channel.append([(file, vchannel, header, None, told)])

    def _on_control_channel(self, file: str, header: str, told: dict | None = None) -> None:
        told = self._broadcast(None) if told is None else told
        self.channels[f"{PREFIX}_0"].append([(file, CONTROL, header, None, told)])

    def _insert(self, kept: Kept, shard: Shard, rows: dict, partition: str):
        columns = fields_data(rows) + text_columns(kept, rows)
        times = [self.clock.now()] * len(rows)
        body = msg_pb2.InsertRequest(
            base=common_pb2.MsgBase(msg_type=common_pb2.Insert, timestamp=times[0] if times else 0),
            timestamps=times,
            rowIDs=[next(self._ids) for _ in rows],
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
        schema = [(3, 1)] if self.version.startswith("3") else []
        header = wire.b64((1, kept.id), (2, wire.encode((1, kept.partitions[partition]), (2, len(rows)))), *schema)
        return ("05-insert-two-partitions-in-header.pb", shard.vchannel, header, body.SerializeToString(), {})

    def _delete(self, kept: Kept, shard: Shard, keys: list):
        times = [self.clock.now()] * len(keys)
        body = msg_pb2.DeleteRequest(
            base=common_pb2.MsgBase(msg_type=common_pb2.Delete, timestamp=times[0]),
            timestamps=times,
            shardName=shard.vchannel,
            db_name="default",
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
    """Values of these rows in added fields, as the log holds them: a filler for null."""
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
