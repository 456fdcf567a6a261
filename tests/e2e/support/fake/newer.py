"""A FAKE target that behaves like a Milvus 2.6 when fields are added, because no real one is available to these tests.

It is a proxy of a real Milvus Lite 3.2.2, which answers everything else and keeps the rows. The Lite cannot add fields
to a collection, so the proxy creates each collection with the fields that tests will add later and hides them until
then: a hidden field is not described, and rows that have it are refused, as a real server does.
"""

import contextlib
import threading

import grpc
import ports
from pymilvus.grpc_gen import common_pb2, milvus_pb2, schema_pb2

from .service import SERVICE, serve

NO_SUCH_FIELD = 1100
# Properties that a 3.0 refuses to alter, even at the value that they have.
RESERVED = {"namespace.sharding.enabled", "max_field_id"}
# What a 2.4 and later change only while the collection is released.
AFTER_A_RELEASE = {"mmap.enabled"}


class AddsFields(grpc.GenericRpcHandler):
    """A proxy of the Lite at `node`; `later` are the fields that can be added."""

    # Whether calls go to the Lite one at a time: it takes no others, which a client of a Milvus does not know.
    one_by_one = False

    def __init__(self, node, later: list):
        self.server, self._later = node.server, {field.name: field for field in later}
        self.added: list[str] = []
        # Every property that was sent, at the creation of a collection or later.
        self.properties: set[str] = set()
        self.port = ports.free_ports(1)[0]
        self._own = {
            "CreateCollection": self._create,
            "DescribeCollection": self._describe,
            "AddCollectionField": self._add,
            "AlterCollection": self._alter,
            "Insert": self._write,
            "Upsert": self._write,
        }
        self._turn = threading.RLock() if self.one_by_one else contextlib.nullcontext()
        self._lite = grpc.insecure_channel(node.uri.removeprefix("http://"))
        self._grpc = serve(self, self.port, "newer")

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def stop(self) -> None:
        self._grpc.stop(0).wait()
        self._lite.close()

    def service(self, details):
        answer = self._own.get(details.method.removeprefix(SERVICE), lambda request, ask: ask(request))

        def handle(request: bytes, context) -> bytes:
            def ask(request: bytes) -> bytes:
                try:
                    return self._lite.unary_unary(details.method)(request, timeout=60)
                except grpc.RpcError as error:
                    context.abort(error.code(), error.details())

            with self._turn:
                return answer(request, ask)

        return grpc.unary_unary_rpc_method_handler(handle)

    def _hidden(self) -> set[str]:
        return self._later.keys() - set(self.added)

    def _create(self, request: bytes, ask) -> bytes:
        asked = milvus_pb2.CreateCollectionRequest.FromString(request)
        self.properties.update(pair.key for pair in asked.properties)
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
        same = (field.data_type, field.nullable, list(field.type_params)) == (
            wanted.data_type,
            wanted.nullable,
            list(wanted.type_params),
        )
        assert same, f"{field} is to be added instead of {wanted}"
        self.added.append(field.name)
        return common_pb2.Status().SerializeToString()

    def _alter(self, request: bytes, ask) -> bytes:
        asked = milvus_pb2.AlterCollectionRequest.FromString(request)
        names = {pair.key for pair in asked.properties}
        self.properties.update(names)
        if names & RESERVED:
            return refusal(f"cannot alter {names & RESERVED} after collection creation").SerializeToString()
        if names & AFTER_A_RELEASE:
            return refusal("can not alter mmap properties if collection loaded").SerializeToString()
        return ask(request)

    def _write(self, request: bytes, ask) -> bytes:
        """An upsert's message has the same numbers for the fields that are read here."""
        named = {column.field_name for column in milvus_pb2.InsertRequest.FromString(request).fields_data}
        unknown = named & self._hidden()
        if unknown:
            return milvus_pb2.MutationResult(status=refusal(f"field {unknown} does not exist")).SerializeToString()
        return ask(request)


def refusal(reason: str):
    return common_pb2.Status(error_code=common_pb2.UnexpectedError, code=NO_SUCH_FIELD, reason=reason)
