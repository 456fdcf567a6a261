"""The calls that the fake answers, over gRPC. What is not here is UNIMPLEMENTED."""

import concurrent.futures
import threading
import time

import grpc
from pymilvus.grpc_gen import common_pb2, milvus_pb2, schema_pb2

from . import vectors, wire

SERVICE = "/milvus.proto.milvus.MilvusService/"
PAUSE = 0.01


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
            "ShowPartitions": (milvus_pb2.ShowPartitionsRequest, self._partitions),
            "DescribeIndex": (milvus_pb2.DescribeIndexRequest, self._indexes),
            "GetLoadState": (milvus_pb2.GetLoadStateRequest, self._load_state),
            "GetReplicas": (milvus_pb2.GetReplicasRequest, self._replicas),
            "Query": (milvus_pb2.QueryRequest, self._query),
            "FlushAll": (milvus_pb2.FlushAllRequest, self._flush_all),
        }

    def serve(self, port: int) -> grpc.Server:
        pool = concurrent.futures.ThreadPoolExecutor(64, thread_name_prefix="fake")
        options = [("grpc.so_reuseport", 0)]
        server = grpc.server(pool, handlers=(self,), options=options)
        if not server.add_insecure_port(f"127.0.0.1:{port}"):
            raise OSError(f"port {port} is taken")
        server.start()
        return server

    def service(self, details):
        method = details.method.removeprefix(SERVICE)
        self._milvus.calls[method] += 1
        if method == "DumpMessages" and self._milvus.has_dump:
            return grpc.unary_stream_rpc_method_handler(self._dump)
        if method not in self._unary:
            return None
        kind, answer = self._unary[method]

        def handle(request, context):
            if self._milvus.faults.unavailable:
                context.abort(grpc.StatusCode.UNAVAILABLE, "the fake is told to be away")
            with self._milvus.lock:
                answered = answer(request)
            return answered if isinstance(answered, bytes) else answered.SerializeToString()

        return grpc.unary_unary_rpc_method_handler(handle, request_deserializer=kind.FromString)

    # The log.

    def _dump(self, request: bytes, context):
        """As the reference describes it: in the order of ticks, whole transactions only, an end when the tick has passed."""
        faults = self._milvus.faults
        asked = dict(wire.decode(request))
        if faults.unavailable:
            context.abort(grpc.StatusCode.UNAVAILABLE, "the fake is told to be away")
        name = asked.get(1, b"").decode()
        start = dict(wire.decode(asked.get(2, b""))).get(1, b"").decode()
        if not name or not start:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "pchannel and start_message_id are required")
        channel = self._milvus.channels.get(name)
        number = self._number(channel, start)
        first = channel.start_of(number) if channel else 0
        begin, end = asked.get(3, 0), asked.get(4, 0)
        after = 0 if faults.repeat else begin - 1
        sent = 0
        while context.is_active() and not self.ending.is_set():
            if channel is None or name in faults.hung:
                time.sleep(PAUSE)
                continue
            # Ticks from now on are later than this.
            passed = self._milvus.clock.now() - 1 - (int(faults.delayed.get(name, 0) * 1000) << 18)
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

    def _number(self, channel, text: str) -> int:
        try:
            number = int(text, 36)
        except ValueError:
            number = -1
        if channel and number not in channel.given:
            self._milvus.strange_ids.append(text)
        return number

    def _flush_all(self, _request) -> bytes:
        """Leaves a message on every channel and answers where."""
        milvus, messages = self._milvus, []
        vchannels = [f"{name}_vcchan" if name.endswith("_0") else name for name in milvus.channels]
        told = {"_bh": wire.b64((1, 7), *((2, vchannel) for vchannel in vchannels))}
        for (name, channel), vchannel in zip(milvus.channels.items(), vchannels):
            (record,) = channel.append([("40-flush-all-pchannel.pb", vchannel, "", b"", told)])
            messages.append((4, wire.encode((1, name), (2, channel.message(record, 0)))))
        info = wire.encode((1, "by-dev"), (2, vchannels[0]), *((3, name) for name in milvus.channels))
        return wire.encode(*messages, (5, info))

    def _time(self, _request):
        return milvus_pb2.AllocTimestampResponse(timestamp=self._milvus.clock.next())

    # The catalog.

    def _connect(self, _request):
        return milvus_pb2.ConnectResponse(server_info=common_pb2.ServerInfo(build_tags=self._milvus.version))

    def _version(self, _request):
        return milvus_pb2.GetVersionResponse(version=self._milvus.version)

    def _databases(self, _request):
        return milvus_pb2.ListDatabasesResponse(db_names=["default"])

    def _collections(self, _request):
        kept = self._milvus.collections.values()
        return milvus_pb2.ShowCollectionsResponse(
            collection_names=[one.name for one in kept],
            collection_ids=[one.id for one in kept],
            created_timestamps=[one.created for one in kept],
            inMemory_percentages=[100] * len(kept),
        )

    def _describe(self, request):
        kept = self._milvus.collections.get(request.collection_name)
        if kept is None:
            return milvus_pb2.DescribeCollectionResponse(status=missing(request.collection_name))
        schema = schema_pb2.CollectionSchema(name=kept.name)
        answer = milvus_pb2.DescribeCollectionResponse(
            schema=schema,
            collectionID=kept.id,
            collection_name=kept.name,
            virtual_channel_names=[shard.vchannel for shard in kept.shards],
            physical_channel_names=[shard.channel.name for shard in kept.shards],
            created_timestamp=kept.created,
            shards_num=len(kept.shards),
            num_partitions=len(kept.partitions),
        )
        for field in kept.fields:
            # Raw bytes are fields that pymilvus 2.3.7 does not know.
            answer.schema.fields.append(field if not isinstance(field, bytes) else schema_pb2.FieldSchema.FromString(field))
        for channel, number in kept.begins.items():
            place = common_pb2.KeyDataPair(key=channel, data=number.to_bytes(8, "little"))
            answer.start_positions.append(place)
            self._milvus.channels[channel].given.add(number)
        return answer

    def _partitions(self, request):
        kept = self._milvus.collections.get(request.collection_name)
        if kept is None:
            return milvus_pb2.ShowPartitionsResponse(status=missing(request.collection_name))
        names = list(kept.partitions)
        return milvus_pb2.ShowPartitionsResponse(
            partition_names=names,
            partitionIDs=list(kept.partitions.values()),
            inMemory_percentages=[100] * len(names),
        )

    def _indexes(self, request):
        kept = self._milvus.collections.get(request.collection_name)
        vector = next(field.name for field in kept.fields if not isinstance(field, bytes) and field.data_type == 101)
        params = {"index_type": "FLAT", "metric_type": "L2", "params": "{}"}
        pairs = [common_pb2.KeyValuePair(key=key, value=value) for key, value in params.items()]
        index = milvus_pb2.IndexDescription(index_name=vector, field_name=vector, params=pairs)
        return milvus_pb2.DescribeIndexResponse(index_descriptions=[index])

    def _load_state(self, _request):
        return milvus_pb2.GetLoadStateResponse(state=common_pb2.LoadStateLoaded)

    def _replicas(self, _request):
        return milvus_pb2.GetReplicasResponse(replicas=[milvus_pb2.ReplicaInfo(replicaID=1)])

    def _query(self, request):
        """Rows by key, as 2.3.5 answers them: in its order."""
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


def missing(name: str):
    return common_pb2.Status(error_code=common_pb2.CollectionNotExists, code=100, reason=f"collection not found[collection={name}]")
