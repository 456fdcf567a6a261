"""A gRPC relay in front of a real server that changes some of its answers: a fake, for what the reference server cannot be made
to say (replica numbers need several query nodes, and a server with RocksMQ has one)."""

import contextlib
from concurrent import futures

import grpc
import ports
from pymilvus.grpc_gen import milvus_pb2

SERVICE = "/milvus.proto.milvus.MilvusService/"


class _PassOn(grpc.GenericRpcHandler):
    def __init__(self, channel: grpc.Channel, changes: dict):
        self._channel = channel
        self._changes = changes

    def service(self, details):
        change = self._changes.get(details.method.removeprefix(SERVICE), lambda answer: answer)
        call = self._channel.unary_unary(details.method)

        def handle(request, context):
            try:
                return change(call(request, metadata=context.invocation_metadata(), timeout=60))
            except grpc.RpcError as error:
                context.abort(error.code(), error.details())

        return grpc.unary_unary_rpc_method_handler(handle)


@contextlib.contextmanager
def changed_answers(node, changes: dict):
    """The uri of a server that answers as `node` does, but for the methods named in `changes` (bytes to bytes)."""
    port = ports.free_ports(1)[0]
    with grpc.insecure_channel(f"127.0.0.1:{node.server.port}") as channel:
        server = grpc.server(futures.ThreadPoolExecutor(16), handlers=[_PassOn(channel, changes)])
        server.add_insecure_port(f"127.0.0.1:{port}")
        server.start()
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            server.stop(0).wait()


def with_replicas(number: int):
    """A change to the answer of `GetReplicas`: as if every collection were loaded so many times."""

    def change(answer: bytes) -> bytes:
        told = milvus_pb2.GetReplicasResponse.FromString(answer)
        while told.replicas and len(told.replicas) < number:
            told.replicas.append(told.replicas[0])
        return told.SerializeToString()

    return change
