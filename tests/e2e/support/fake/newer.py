"""A FAKE target: a Milvus 2.6 as far as fields go that are added to a collection, because no real one can be had here.

It stands before a real Milvus Lite 3.2.2, which answers everything else and keeps the rows. The Lite cannot add fields to a collection: so
it makes each with those that will be added one day, and until somebody adds one it is hidden. It is not described, and rows that have
it are refused, as a real server does.
"""

import concurrent.futures

import grpc
import ports
from pymilvus.grpc_gen import common_pb2, milvus_pb2, schema_pb2

from .service import SERVICE

NO_SUCH_FIELD = 1100


class AddsFields(grpc.GenericRpcHandler):
    """Before the Lite at `node`; `later` are the fields that can be added."""

    def __init__(self, node, later: list):
        self.server, self._later = node.server, {field.name: field for field in later}
        self.added: list[str] = []
        self.port = ports.free_ports(1)[0]
        self._lite = grpc.insecure_channel(node.uri.removeprefix("http://"))
        pool = concurrent.futures.ThreadPoolExecutor(16, thread_name_prefix="newer")
        self._grpc = grpc.server(pool, handlers=(self,), options=[("grpc.so_reuseport", 0)])
        if not self._grpc.add_insecure_port(f"127.0.0.1:{self.port}"):
            raise OSError(f"port {self.port} is taken")
        self._grpc.start()

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def stop(self) -> None:
        self._grpc.stop(0).wait()
        self._lite.close()

    def service(self, details):
        own = {
            "CreateCollection": self._create,
            "DescribeCollection": self._describe,
            "AddCollectionField": self._add,
            "Insert": self._write,
            "Upsert": self._write,
        }
        answer = own.get(details.method.removeprefix(SERVICE), lambda request, ask: ask(request))

        def handle(request: bytes, context) -> bytes:
            def ask(request: bytes) -> bytes:
                try:
                    return self._lite.unary_unary(details.method)(request, timeout=60)
                except grpc.RpcError as error:
                    context.abort(error.code(), error.details())

            return answer(request, ask)

        return grpc.unary_unary_rpc_method_handler(handle)

    def _hidden(self) -> set[str]:
        return self._later.keys() - set(self.added)

    def _create(self, request: bytes, ask) -> bytes:
        asked = milvus_pb2.CreateCollectionRequest.FromString(request)
        schema = schema_pb2.CollectionSchema.FromString(asked.schema)
        schema.fields.extend(self._later.values())
        asked.schema = schema.SerializeToString()
        return ask(asked.SerializeToString())

    def _describe(self, request: bytes, ask) -> bytes:
        answer = milvus_pb2.DescribeCollectionResponse.FromString(ask(request))
        hidden = self._hidden()
        shown = [field for field in answer.schema.fields if field.name not in hidden]
        del answer.schema.fields[:]
        answer.schema.fields.extend(shown)
        return answer.SerializeToString()

    def _add(self, request: bytes, _ask) -> bytes:
        field = schema_pb2.FieldSchema.FromString(milvus_pb2.AddCollectionFieldRequest.FromString(request).schema)
        if field.name not in self._hidden():
            return refusal(f"duplicate field name: {field.name}").SerializeToString()
        wanted = self._later[field.name]
        same = (field.data_type, field.nullable, list(field.type_params)) == (wanted.data_type, wanted.nullable, list(wanted.type_params))
        assert same, f"{field} is to be added instead of {wanted}"
        self.added.append(field.name)
        return common_pb2.Status().SerializeToString()

    def _write(self, request: bytes, ask) -> bytes:
        """An upsert's message has the same numbers for what is looked at here."""
        named = {column.field_name for column in milvus_pb2.InsertRequest.FromString(request).fields_data}
        unknown = named & self._hidden()
        if unknown:
            return milvus_pb2.MutationResult(status=refusal(f"field {unknown} does not exist")).SerializeToString()
        return ask(request)


def refusal(reason: str):
    return common_pb2.Status(error_code=common_pb2.UnexpectedError, code=NO_SUCH_FIELD, reason=reason)
