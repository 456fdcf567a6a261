"""The gRPC calls of the fake. Others are UNIMPLEMENTED."""

import concurrent.futures
import threading
import time

import grpc
from pymilvus.grpc_gen import common_pb2, milvus_pb2, schema_pb2

from . import vectors, wire

SERVICE = "/milvus.proto.milvus.MilvusService/"
PAUSE = 0.01
GOOD = common_pb2.Status()


def serve(handler: grpc.GenericRpcHandler, port: int, name: str, options=()) -> grpc.Server:
    """Answers by the handler on this port, in threads of this name. `options`: gRPC's."""
    pool = concurrent.futures.ThreadPoolExecutor(64, thread_name_prefix=name)
    server = grpc.server(pool, handlers=(handler,), options=[("grpc.so_reuseport", 0), *options])
    if not server.add_insecure_port(f"127.0.0.1:{port}"):
        raise OSError(f"port {port} is taken")
    server.start()
    return server


class Service(grpc.GenericRpcHandler):
    def __init__(self, milvus):
        self._milvus = milvus
        self.ending = threading.Event()
        self._unary = {
            "Connect": (milvus_pb2.ConnectRequest, self._connect),
            "GetVersion": (milvus_pb2.GetVersionRequest, self._version),
            "AllocTimestamp": (milvus_pb2.AllocTimestampRequest, self._time),
            "ListDatabases": (milvus_pb2.ListDatabasesRequest, self._databases),
            "ShowCollections": (milvus_pb2.ShowCollectionsRequest, self._collections),
            "DescribeCollection": (milvus_pb2.DescribeCollectionRequest, self._describe),
            "ListAliases": (milvus_pb2.ListAliasesRequest, self._aliases),
            "ShowPartitions": (milvus_pb2.ShowPartitionsRequest, self._partitions),
            "DescribeIndex": (milvus_pb2.DescribeIndexRequest, self._indexes),
            "GetLoadState": (milvus_pb2.GetLoadStateRequest, self._load_state),
            "GetReplicas": (milvus_pb2.GetReplicasRequest, self._replicas),
            "Query": (milvus_pb2.QueryRequest, self._query),
            "FlushAll": (milvus_pb2.FlushAllRequest, self._flush_all),
        }

    def methods(self) -> set[str]:
        """Those that have one answer."""
        return set(self._unary)

    def serve(self, port: int) -> grpc.Server:
        return serve(self, port, "fake")

    def service(self, details):
        method = details.method.removeprefix(SERVICE)
        self._milvus.calls[method] += 1
        if method == "DumpMessages" and self._milvus.has_dump:
            return grpc.unary_stream_rpc_method_handler(self._dump)
        if method not in self._unary:
            return None

        def handle(request: bytes, context) -> bytes:
            if self._milvus.faults.unavailable:
                context.abort(grpc.StatusCode.UNAVAILABLE, "the fake is told to be away")
            if method in self._milvus.faults.denied:
                text = f"Privilege{method}: permission deny to reader in the `default` database"
                context.abort(grpc.StatusCode.PERMISSION_DENIED, text)
            return self.answer(method, request)

        return grpc.unary_unary_rpc_method_handler(handle)

    def answer(self, method: str, request: bytes) -> bytes:
        kind, answer = self._unary[method]
        with self._milvus.lock:
            answered = answer(kind.FromString(request))
        return answered if isinstance(answered, bytes) else answered.SerializeToString()

    # The log.

    def _dump(self, request: bytes, context):
        """Follows the reference: in the order of ticks, complete transactions only, the end once the tick has
        passed."""
        faults = self._milvus.faults
        asked = dict(wire.decode(request))
        if faults.unavailable:
            context.abort(grpc.StatusCode.UNAVAILABLE, "the fake is told to be away")
        name = asked.get(1, b"").decode()
        start = dict(wire.decode(asked.get(2, b""))).get(1, b"").decode()
        if not name or not start:
            what = "start_message_id" if name else "pchannel"
            context.abort(grpc.StatusCode.UNKNOWN, f"missing parameter[missing_param={what}]")
        channel = self._milvus.channels.get(name)
        if channel and start not in channel.given:
            self._milvus.strange_ids.append(start)
        first = channel.start_of(start) if channel else None
        begin, end = asked.get(3, 0), asked.get(4, 0)
        after = 0 if faults.repeat else begin - 1
        sent = 0
        while context.is_active() and not self.ending.is_set():
            if first is None or name in faults.hung:
                time.sleep(PAUSE)
                continue
            # Ticks from now on are later than this.
            passed = self._milvus.clock.passed() - (int(faults.delayed.get(name, 0) * 1000) << 18)
            found = channel.between(first, after, min(passed, end) if end else passed)
            if faults.swaps and len(found) > 1:
                faults.swaps -= 1
                found.reverse()
            for record in found:
                for part in range(len(record.parts)):
                    if faults.break_after is not None and sent >= faults.break_after:
                        context.abort(grpc.StatusCode.UNAVAILABLE, "the fake is told to break off")
                    yield vectors.answer(channel.message(record, part, faults.wrong_ids))
                    sent += 1
                after = max(after, record.tick)
            if end and passed > end:
                return
            after = max(after, passed)
            time.sleep(PAUSE)
        if not faults.early_end:
            context.abort(grpc.StatusCode.UNAVAILABLE, "the fake shuts down")

    def _flush_all(self, _request) -> bytes:
        """Writes a message to every channel and answers the positions."""
        milvus, messages = self._milvus, []
        vchannels = [f"{name}_vcchan" if name.endswith("_0") else name for name in milvus.channels]
        told = {"_bh": wire.b64((1, 7), *((2, vchannel) for vchannel in vchannels))}
        for (name, channel), vchannel in zip(milvus.channels.items(), vchannels):
            (record,) = channel.append([("40-flush-all-pchannel.pb", vchannel, "", b"", told)])
            messages.append((4, wire.encode((1, name), (2, channel.message(record, 0)))))
        info = wire.encode((1, "0"), (2, vchannels[0]), *((3, name) for name in milvus.channels))
        return wire.encode((1, b""), (2, milvus.clock.next()), *messages, (5, info))

    def _time(self, _request):
        return milvus_pb2.AllocTimestampResponse(status=GOOD, timestamp=self._milvus.clock.next())

    # The catalog.

    def _connect(self, _request):
        info = common_pb2.ServerInfo(build_tags=self._milvus.version, deploy_mode="STANDALONE")
        return milvus_pb2.ConnectResponse(status=GOOD, server_info=info, identifier=1)

    def _version(self, _request):
        return milvus_pb2.GetVersionResponse(status=GOOD, version=self._milvus.version)

    def _databases(self, _request):
        made = [self._milvus.made]
        told = milvus_pb2.ListDatabasesResponse(status=GOOD, db_names=["default"], created_timestamp=made)
        # Their ids, which pymilvus 2.3.7 does not know.
        return told.SerializeToString() + wire.encode((4, b"\x01"))

    def _collections(self, request):
        kept = list(self._milvus.collections.values())
        loaded_only = request.type == milvus_pb2.ShowType.InMemory
        if loaded_only:
            kept = [one for one in kept if one.load != "released"]
        told = milvus_pb2.ShowCollectionsResponse(
            status=GOOD,
            collection_names=[one.name for one in kept],
            collection_ids=[one.id for one in kept],
            created_timestamps=[one.created for one in kept],
            created_utc_timestamps=[one.created >> 18 for one in kept],
            inMemory_percentages=[100 if one.load == "loaded" else 0 for one in kept] if loaded_only else [],
        )
        # Their numbers of shards, which pymilvus 2.3.7 does not know.
        shards = bytes(len(one.shards) for one in kept)
        return told.SerializeToString() + (wire.encode((8, shards)) if shards else b"")

    def _describe(self, request):
        kept = self._milvus.collections.get(request.collection_name)
        if kept is None:
            name = request.collection_name
            status = missing(name)
            if not self._milvus.version.startswith("3"):
                # The old code alone.
                status.code = 0
            return milvus_pb2.DescribeCollectionResponse(status=status, collection_name=name, db_name="default")
        schema = schema_pb2.CollectionSchema(name=kept.name)
        answer = milvus_pb2.DescribeCollectionResponse(
            status=GOOD,
            schema=schema,
            collectionID=kept.id,
            collection_name=kept.name,
            virtual_channel_names=[shard.vchannel for shard in kept.shards],
            physical_channel_names=[shard.channel.name for shard in kept.shards],
            created_timestamp=kept.created,
            created_utc_timestamp=kept.created >> 18,
            consistency_level=common_pb2.Bounded,
            db_name="default",
            shards_num=len(kept.shards),
            num_partitions=len(kept.partitions),
        )
        for field in kept.fields:
            # Raw bytes are fields that pymilvus 2.3.7 does not know.
            answer.schema.fields.append(
                field if not isinstance(field, bytes) else schema_pb2.FieldSchema.FromString(field)
            )
        for name, value in {**self._milvus.server_made(kept), **kept.properties}.items():
            answer.properties.append(common_pb2.KeyValuePair(key=name, value=value))
        answer.aliases.extend(sorted(kept.described_aliases))
        # A field that pymilvus 2.3.7 does not know: when the description was renewed last.
        return answer.SerializeToString() + wire.encode((18, kept.updated), (19, str(kept.updated)), *self._of_3())

    def _of_3(self) -> list:
        """What the description of a 3.0 has more."""
        return [(16, 1)] if self._milvus.version.startswith("3") else []

    def _aliases(self, request):
        kept = self._milvus.collections.get(request.collection_name)
        if kept is None:
            return milvus_pb2.ListAliasesResponse(status=missing(request.collection_name))
        return milvus_pb2.ListAliasesResponse(
            status=GOOD, db_name="default", collection_name=kept.name, aliases=sorted(kept.aliases)
        )

    def _partitions(self, request):
        kept = self._milvus.collections.get(request.collection_name)
        if kept is None:
            return milvus_pb2.ShowPartitionsResponse(status=missing(request.collection_name))
        if request.type == milvus_pb2.ShowType.InMemory and kept.load != "loaded":
            return milvus_pb2.ShowPartitionsResponse(status=not_loaded(kept))
        names = list(kept.partitions)
        return milvus_pb2.ShowPartitionsResponse(
            status=GOOD,
            partition_names=names,
            partitionIDs=list(kept.partitions.values()),
            created_timestamps=[kept.created] * len(names),
            created_utc_timestamps=[kept.created >> 18] * len(names),
            inMemory_percentages=[100] * len(names) if request.type == milvus_pb2.ShowType.InMemory else [],
        )

    def _indexes(self, request):
        kept = self._milvus.collections.get(request.collection_name)
        if kept is None:
            return milvus_pb2.DescribeIndexResponse(status=missing(request.collection_name))
        vector = next(field.name for field in kept.fields if not isinstance(field, bytes) and field.data_type == 101)
        params = {"index_type": "FLAT", "metric_type": "L2", "params": "{}"}
        pairs = [common_pb2.KeyValuePair(key=key, value=value) for key, value in params.items()]
        index = milvus_pb2.IndexDescription(index_name=vector, field_name=vector, params=pairs)
        return milvus_pb2.DescribeIndexResponse(status=GOOD, index_descriptions=[index])

    def _load_state(self, request):
        states = {
            "loaded": common_pb2.LoadStateLoaded,
            "loading": common_pb2.LoadStateLoading,
            "released": common_pb2.LoadStateNotLoad,
        }
        kept = self._milvus.collections.get(request.collection_name)
        state = states[kept.load] if kept else common_pb2.LoadStateNotExist
        return milvus_pb2.GetLoadStateResponse(status=GOOD, state=state)

    def _replicas(self, request):
        kept = self._milvus.collections.get(request.collection_name)
        # A starting server has no replica yet, and answers as if the collection were not loaded.
        if kept and kept.load != "loaded":
            return milvus_pb2.GetReplicasResponse(status=not_loaded(kept))
        return milvus_pb2.GetReplicasResponse(replicas=[milvus_pb2.ReplicaInfo(replicaID=1)])

    def _query(self, request):
        """Rows ordered by key, as 2.3.5 answers them."""
        from .milvus import fields_data, text_columns

        kept = self._milvus.collections.get(request.collection_name)
        if kept is None:
            return milvus_pb2.QueryResults(status=missing(request.collection_name))
        expression = request.expr.replace("&&", " and ").replace("||", " or ")
        limits = [int(pair.value) for pair in request.query_params if pair.key == "limit"]
        places = sorted(
            place
            for place in kept.rows
            if (not request.partition_names or place[1] in request.partition_names)
            and (not expression or eval(expression, {"__builtins__": {}}, {"id": place[0]}))
        )
        if list(request.output_fields) == ["count(*)"]:
            column = schema_pb2.FieldData(type=5, field_name="count(*)")
            column.scalars.long_data.data.append(len(places))
            return milvus_pb2.QueryResults(fields_data=[column])
        places = places[: limits[0]] if limits else places
        if not places:
            return milvus_pb2.QueryResults()
        found = {place[0]: kept.rows[place] for place in places}
        columns = fields_data(found) + text_columns(kept, found)
        keys_only = "*" not in request.output_fields and "vec" not in request.output_fields
        return milvus_pb2.QueryResults(fields_data=columns[:1] if keys_only else columns)


def not_loaded(kept):
    return common_pb2.Status(code=101, reason=f"collection not loaded[collection={kept.id}]")


def missing(name: str):
    return common_pb2.Status(
        error_code=common_pb2.CollectionNotExists, code=100, reason=f"collection not found[collection={name}]"
    )
