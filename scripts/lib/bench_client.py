"""The plain client that replication is measured against: several processes that send prepared requests.

Rows are built and encoded before the clock starts and nothing is decoded while it runs, so Python costs next to nothing
and the server is what is measured.
"""

import dataclasses
import multiprocessing
import time

import numpy

QUERY = "/milvus.proto.milvus.MilvusService/Query"
INSERT = "/milvus.proto.milvus.MilvusService/Insert"
MAX_MESSAGE = 256 * 1024 * 1024
TEXT_LENGTH = 20
# The most rows that one Query answers.
QUERY_ROWS = 16_384


@dataclasses.dataclass(frozen=True)
class Workload:
    """Rows of an int64 key, a float vector and a string, written by several clients at once."""

    rows: int = 1_000_000
    dim: int = 128
    batch: int = 10_000
    clients: int = 4

    @property
    def batches(self) -> int:
        return self.rows // self.batch

    def bytes(self) -> int:
        """Size of the rows in bytes, keys and strings included."""
        return self.rows * (4 * self.dim + 8 + TEXT_LENGTH)


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _packed(values: numpy.ndarray) -> bytes:
    """A message whose field 1 is a packed list of fixed-size numbers: their bytes as they are."""
    raw = values.tobytes()
    return b"\x0a" + _varint(len(raw)) + raw


def insert_request(workload: Workload, number: int, collection: str) -> bytes:
    """The bytes of one batch's InsertRequest."""
    from pymilvus.grpc_gen import milvus_pb2, schema_pb2

    first, count = number * workload.batch, workload.batch
    vectors = numpy.random.default_rng(number).random(count * workload.dim, dtype=numpy.float32)
    keys = schema_pb2.ScalarField(long_data=schema_pb2.LongArray(data=range(first, first + count)))
    texts = [f"{key:020}" for key in range(first, first + count)]
    vector = schema_pb2.VectorField(dim=workload.dim, float_vector=schema_pb2.FloatArray.FromString(_packed(vectors)))
    text = schema_pb2.ScalarField(string_data=schema_pb2.StringArray(data=texts))
    fields = [
        schema_pb2.FieldData(type=schema_pb2.Int64, field_name="id", scalars=keys),
        schema_pb2.FieldData(type=schema_pb2.FloatVector, field_name="vec", vectors=vector),
        schema_pb2.FieldData(type=schema_pb2.VarChar, field_name="text", scalars=text),
    ]
    request = milvus_pb2.InsertRequest(collection_name=collection, fields_data=fields, num_rows=count)
    return request.SerializeToString()


def _client(workload: Workload, number: int, address: str, collection: str, ready, answers) -> None:
    import grpc

    mine = range(number, workload.batches, workload.clients)
    requests = [insert_request(workload, batch, collection) for batch in mine]
    options = [("grpc.max_send_message_length", MAX_MESSAGE), ("grpc.max_receive_message_length", MAX_MESSAGE)]
    with grpc.insecure_channel(address, options) as channel:
        grpc.channel_ready_future(channel).result(30)
        insert = channel.unary_unary(INSERT)
        ready.wait()
        received = [insert(request, timeout=120) for request in requests]
    answers.put(received)


def write(workload: Workload, server, collection: str) -> float:
    """Writes the whole workload into a collection; returns the seconds from the first request to the last answer."""
    from pymilvus.grpc_gen import milvus_pb2

    context = multiprocessing.get_context("spawn")
    ready, answers = context.Barrier(workload.clients + 1), context.Queue()
    common = (f"127.0.0.1:{server.port}", collection, ready, answers)
    clients = [
        context.Process(target=_client, args=(workload, n, *common), daemon=True) for n in range(workload.clients)
    ]
    for client in clients:
        client.start()
    ready.wait(600)
    started = time.perf_counter()
    received = [answers.get(timeout=600) for _ in clients]
    seconds = time.perf_counter() - started
    for client in clients:
        client.join()
    acknowledged = sum(milvus_pb2.MutationResult.FromString(raw).insert_cnt for each in received for raw in each)
    if acknowledged != workload.rows:
        raise RuntimeError(f"the target acknowledged {acknowledged} of {workload.rows} rows")
    return seconds


def read(workload: Workload, server, collection: str, consistency: int) -> float:
    """Reads every row with one `Query` after the other, as large as the server allows; returns the seconds.

    The keys are known, so nothing of the answers is decoded: this is the server's own speed. Consistency is Milvus's
    number: with 0 (Strong) every page waits for the server's next time tick, with 2 (Bounded) none does.
    """
    import grpc
    from pymilvus.grpc_gen import common_pb2, milvus_pb2

    limit = common_pb2.KeyValuePair(key="limit", value=str(QUERY_ROWS))
    options = [("grpc.max_receive_message_length", MAX_MESSAGE)]
    received = 0
    with grpc.insecure_channel(f"127.0.0.1:{server.port}", options) as channel:
        query = channel.unary_unary(QUERY)
        started = time.perf_counter()
        for last in range(-1, workload.rows - 1, QUERY_ROWS):
            request = milvus_pb2.QueryRequest(
                collection_name=collection,
                expr=f"id > {last}",
                output_fields=["*"],
                query_params=[limit],
                consistency_level=consistency,
            )
            received += len(query(request.SerializeToString(), timeout=120))
        seconds = time.perf_counter() - started
    if received < 4 * workload.dim * workload.rows:
        raise RuntimeError(f"only {received} bytes came")
    return seconds
