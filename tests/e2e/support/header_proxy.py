"""A gRPC proxy before a Milvus that removes headers, as service meshes do."""

import grpc

import ports

from .fake.service import serve

UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
# Of the connection itself, and of no concern to whom a call is passed on.
OF_CONNECTION = ("user-agent", "content-type", "te", "grpc-")


class HeaderProxy(grpc.GenericRpcHandler):
    """Passes every call on, without the headers named in `removed`."""

    def __init__(self, port: int):
        self.removed: set[str] = set()
        self.port = ports.free_ports(1)[0]
        self._channel = grpc.insecure_channel(f"127.0.0.1:{port}", options=UNLIMITED)
        self._server = serve(self, self.port, "header-proxy", UNLIMITED)

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def close(self) -> None:
        self._server.stop(None).wait()
        self._channel.close()

    def service(self, handler_call_details):
        call = self._channel.unary_unary(handler_call_details.method)

        def passes(key: str) -> bool:
            return key not in self.removed and not key.startswith(OF_CONNECTION)

        def forward(request: bytes, context: grpc.ServicerContext) -> bytes:
            metadata = [(key, value) for key, value in context.invocation_metadata() if passes(key)]
            try:
                return call(request, metadata=metadata, timeout=context.time_remaining())
            except grpc.RpcError as error:
                context.abort(error.code(), error.details())

        return grpc.unary_unary_rpc_method_handler(forward)
