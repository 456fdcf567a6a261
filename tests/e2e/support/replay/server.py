"""Serves a recording over gRPC. What was not recorded is UNIMPLEMENTED, but for what follows from the recording."""

import collections
import threading
import time
import types

import grpc
import ports
from pymilvus.grpc_gen import common_pb2, milvus_pb2, schema_pb2

from support.fake import wire
from support.fake.queues import KAFKA, WOODPECKER
from support.fake.service import PAUSE, SERVICE, serve

from .recording import Recording, place_of

# The steps in which the server was restarted, which broke every stream off.
RESTART = "graceful restart of the server"


class Replay(grpc.GenericRpcHandler):
    """The recorded server after one of its steps; `advance` goes on.

    Its clock runs from the end of the step, and stands before the next one begins.
    """

    def __init__(self, recording: Recording, step: int = 0, *, deleted: bool = False):
        self.recording = recording
        self.port = ports.free_ports(1)[0]
        self.server = types.SimpleNamespace(token="", rocksmq="/nonexistent", tls=None, certificates=None)
        # What lies before Woodpecker's truncation point is gone from the disk, too.
        self.deleted = deleted
        self.calls: collections.Counter = collections.Counter()
        # Queries for rows, which a recording does not hold.
        self.queries: list[str] = []
        # Messages sent, and how many may be sent before all streams stand still; None: any number.
        self.sent = 0
        self.allowed: int | None = None
        self._step, self._since = step, time.monotonic()
        self._lives = 0
        self._changed = threading.Lock()
        self._ending = threading.Event()
        self._grpc = None

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> "Replay":
        self._grpc = serve(self, self.port, "replay")
        return self

    def stop(self) -> None:
        self._ending.set()
        self._grpc.stop(0).wait()

    @property
    def step(self) -> int:
        return self._step

    def advance(self) -> None:
        """To the next step."""
        with self._changed:
            self._lives += self.recording.steps[self._step]["name"] == RESTART
            self._step, self._since = self._step + 1, time.monotonic()

    def now(self) -> int:
        over, limit = self.recording.ticks(self._step)
        time_ = over + (int((time.monotonic() - self._since) * 1000) << 18)
        return time_ if self._step == self.recording.last_step else min(time_, limit)

    def service(self, details):
        method = details.method.removeprefix(SERVICE)
        self.calls[method] += 1
        if method == "DumpMessages":
            return grpc.unary_stream_rpc_method_handler(self._dump)
        answer = getattr(self, f"_{method}", None)
        return grpc.unary_unary_rpc_method_handler(answer) if answer else None

    # The log.

    def _dump(self, request: bytes, context):
        asked = dict(wire.decode(request))
        channel = asked.get(1, b"").decode()
        place = {number: value for number, value in wire.decode(asked.get(2, b""))}
        begin, end, inclusive = asked.get(3, 0), asked.get(4, 0), bool(asked.get(5, 0))
        if not channel or not place.get(1):
            what = "start_message_id" if channel else "pchannel"
            context.abort(grpc.StatusCode.UNKNOWN, f"missing parameter[missing_param={what}]")
        if end and end < begin:
            context.abort(
                grpc.StatusCode.UNKNOWN,
                "end_timetick must be greater than or equal to start_timetick: invalid parameter",
            )
        messages = self.readable(channel, place[1].decode(), inclusive)
        life, at = self._lives, 0
        while context.is_active() and not self._ending.is_set():
            if life != self._lives:
                context.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")
            now = self.now()
            while messages is not None and at < len(messages) and messages[at].tick <= now:
                message = messages[at]
                if end and message.tick > end:
                    return
                if message.tick >= begin:
                    if not self._may_send():
                        break
                    yield message.answer
                at += 1
            else:
                if messages is not None and end and now > end:
                    return
            time.sleep(PAUSE)
        context.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")

    def _may_send(self) -> bool:
        with self._changed:
            if self.allowed is not None and self.sent >= self.allowed:
                return False
            self.sent += 1
            return True

    def restrict(self, messages: int | None) -> None:
        """From now on so many messages are sent, over all streams."""
        with self._changed:
            self.sent, self.allowed = 0, messages

    def readable(self, channel: str, text: str, inclusive: bool) -> list | None:
        """What a reader gets that begins at this id. None: nothing, for ever."""
        recording = self.recording
        messages = recording.channels.get(channel)
        if messages is None:
            return None
        start = place_of(recording.queue, text)
        if recording.queue == WOODPECKER:
            truncated_to = recording.truncated_to[channel] if self._is_truncated() else (0, 0)
            if start == (0, 0) and inclusive:
                # Begins behind the truncation point.
                start = truncated_to
            elif self.deleted and start < truncated_to:
                return None
        elif recording.queue == KAFKA and start > max(message.place for message in messages):
            start = (0,)
        elif all(message.place < start for message in messages):
            start = messages[0].place
        return [m for m in messages if m.begins > start or inclusive and m.begins == start]

    def _is_truncated(self) -> bool:
        """What is known of the truncation points is how they stood at the end, long after the flush of everything."""
        return self._step == self.recording.last_step

    def _FlushAll(self, _request: bytes, _context) -> bytes:
        return self._recorded("FlushAll")

    def _AllocTimestamp(self, _request: bytes, _context) -> bytes:
        return milvus_pb2.AllocTimestampResponse(timestamp=self.now()).SerializeToString()

    # The catalog.

    def _recorded(self, method: str, database: str = "", collection: str = "") -> bytes:
        answer = self.recording.answer(self._step, method, database, collection)
        assert answer is not None, f"{method} {database}.{collection} was not recorded up to step {self._step}"
        return answer

    def _Connect(self, _request: bytes, _context) -> bytes:
        return self._recorded("Connect")

    def _GetVersion(self, _request: bytes, _context) -> bytes:
        return self._recorded("GetVersion")

    def _ListDatabases(self, _request: bytes, _context) -> bytes:
        return self._recorded("ListDatabases")

    def _databases(self) -> list[str]:
        return list(milvus_pb2.ListDatabasesResponse.FromString(self._recorded("ListDatabases")).db_names)

    def _ShowCollections(self, request: bytes, _context) -> bytes:
        asked = milvus_pb2.ShowCollectionsRequest.FromString(request)
        database = asked.db_name or "default"
        if database not in self._databases():
            status = common_pb2.Status(code=800, reason=f"database not found[database={database}]")
            return milvus_pb2.ShowCollectionsResponse(status=status).SerializeToString()
        told = self._recorded("ShowCollections", database)
        if asked.type != milvus_pb2.ShowType.InMemory:
            return told
        every = milvus_pb2.ShowCollectionsResponse.FromString(told)
        loaded = [
            (name, number, created)
            for name, number, created in zip(every.collection_names, every.collection_ids, every.created_timestamps)
            if self._is_loaded(database, name)
        ]
        answer = milvus_pb2.ShowCollectionsResponse(status=common_pb2.Status())
        for name, number, created in loaded:
            answer.collection_names.append(name)
            answer.collection_ids.append(number)
            answer.created_timestamps.append(created)
            answer.inMemory_percentages.append(100)
            answer.query_service_available.append(True)
        return answer.SerializeToString()

    def _collections(self, database: str) -> list[str]:
        if database not in self._databases():
            return []
        told = self._recorded("ShowCollections", database)
        return list(milvus_pb2.ShowCollectionsResponse.FromString(told).collection_names)

    def _is_loaded(self, database: str, collection: str) -> bool:
        told = self.recording.answer(self._step, "GetLoadState", database, collection)
        state = milvus_pb2.GetLoadStateResponse.FromString(told or b"").state
        return state in (common_pb2.LoadStateLoaded, common_pb2.LoadStateLoading)

    def _named(self, request: bytes) -> tuple[str, str]:
        """Database and own name of what a request is about, which may name an alias. Most requests about a collection
        have both in the same fields."""
        asked = milvus_pb2.DescribeCollectionRequest.FromString(request)
        return self._own_name(asked.db_name, asked.collection_name)

    def _own_name(self, database: str, name: str) -> tuple[str, str]:
        database = database or "default"
        known = self._collections(database)
        if name not in known:
            for other in known:
                told = self.recording.answer(self._step, "ListAliases", database, other)
                if name in milvus_pb2.ListAliasesResponse.FromString(told or b"").aliases:
                    return database, other
        return database, name

    def _about(self, method: str, request: bytes) -> bytes:
        """The recorded answer, or that of a collection that is not there: all begin with the status."""
        database, name = self._named(request)
        if name not in self._collections(database):
            status = dict(wire.decode(self.recording.missing))[1]
            return wire.encode((1, status))
        return self._recorded(method, database, name)

    def _DescribeCollection(self, request: bytes, _context) -> bytes:
        return self._about("DescribeCollection", request)

    def _ListAliases(self, request: bytes, _context) -> bytes:
        return self._about("ListAliases", request)

    def _DescribeIndex(self, request: bytes, _context) -> bytes:
        return self._about("DescribeIndex", request)

    def _ShowPartitions(self, request: bytes, _context) -> bytes:
        told = self._about("ShowPartitions", request)
        if milvus_pb2.ShowPartitionsRequest.FromString(request).type != milvus_pb2.ShowType.InMemory:
            return told
        database, name = self._named(request)
        if not self._is_loaded(database, name):
            status = common_pb2.Status(code=101, reason=f"collection not loaded[collection={name}]")
            return milvus_pb2.ShowPartitionsResponse(status=status).SerializeToString()
        answer = milvus_pb2.ShowPartitionsResponse.FromString(told)
        answer.inMemory_percentages.extend([100] * len(answer.partition_names))
        return answer.SerializeToString()

    def _GetLoadState(self, request: bytes, _context) -> bytes:
        # The one request about a collection whose fields are others.
        asked = milvus_pb2.GetLoadStateRequest.FromString(request)
        database, name = self._own_name(asked.db_name, asked.collection_name)
        if name not in self._collections(database):
            return milvus_pb2.GetLoadStateResponse(status=common_pb2.Status()).SerializeToString()
        return self._recorded("GetLoadState", database, name)

    def _GetReplicas(self, _request: bytes, _context) -> bytes:
        return milvus_pb2.GetReplicasResponse(replicas=[milvus_pb2.ReplicaInfo(replicaID=1)]).SerializeToString()

    def _Query(self, request: bytes, context) -> bytes:
        """Only whether a loaded collection can be read."""
        asked = milvus_pb2.QueryRequest.FromString(request)
        if list(asked.output_fields) != ["count(*)"]:
            self.queries.append(f"{asked.db_name}.{asked.collection_name}: {asked.expr}")
            context.abort(grpc.StatusCode.UNAVAILABLE, "a recording has no rows to be queried")
        column = schema_pb2.FieldData(type=5, field_name="count(*)")
        column.scalars.long_data.data.append(0)
        return milvus_pb2.QueryResults(fields_data=[column]).SerializeToString()
