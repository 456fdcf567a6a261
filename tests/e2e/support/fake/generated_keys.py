"""A FAKE target that treats collections with autoID as a Milvus of 2.6.20 and 3.0 was seen to, because no real one is
available to these tests.

It is a proxy of a real Milvus Lite 3.2.2, which keeps the rows: also under given keys, whatever a property says. What
the proxy adds is what the Lite does differently: given keys are refused without `allow_insert_auto_id`, an upsert gives
the rows new keys, and an insert of a key that is there makes a second row, which the Lite would replace.
"""

from pymilvus.grpc_gen import common_pb2, milvus_pb2, schema_pb2

from .newer import AddsFields, refusal
from .service import SERVICE

TAKES_KEYS = "allow_insert_auto_id"


class GeneratesKeys(AddsFields):
    """`doubled`: keys that were inserted although they were there. `rekeyed`: number of rows whose keys were lost."""

    one_by_one = True

    def __init__(self, node, version: str = "2.6.20"):
        self.version = version
        self.doubled: list[int] = []
        self.rekeyed = 0
        # By name: the key's field, and whether given keys are taken.
        self.keys: dict[str, str] = {}
        self.takes_keys: set[str] = set()
        super().__init__(node, [])
        self._own.update(
            {
                "Connect": lambda *_: self._answer(milvus_pb2.ConnectResponse(server_info=self._info())),
                "GetVersion": lambda *_: self._answer(milvus_pb2.GetVersionResponse(version=self.version)),
                "CreateCollection": self._create_with_keys,
                "Insert": self._insert,
                "Upsert": self._upsert,
            }
        )

    def _info(self):
        return common_pb2.ServerInfo(build_tags=self.version, git_commit="fake")

    @staticmethod
    def _answer(message) -> bytes:
        return message.SerializeToString()

    def _create_with_keys(self, request: bytes, ask) -> bytes:
        asked = milvus_pb2.CreateCollectionRequest.FromString(request)
        name = asked.collection_name
        fields = schema_pb2.CollectionSchema.FromString(asked.schema).fields
        self.keys.update({name: field.name for field in fields if field.is_primary_key and field.autoID})
        if any((pair.key, pair.value) == (TAKES_KEYS, "true") for pair in asked.properties):
            self.takes_keys.add(name)
        return ask(request)

    def _given(self, asked) -> list[int]:
        """The keys of a request for a collection with autoID."""
        field = self.keys.get(asked.collection_name)
        columns = [column for column in asked.fields_data if column.field_name == field]
        return [key for column in columns for key in column.scalars.long_data.data]

    def _insert(self, request: bytes, ask) -> bytes:
        asked = milvus_pb2.InsertRequest.FromString(request)
        given = self._given(asked)
        if given and asked.collection_name not in self.takes_keys:
            why = "can not assign primary field data when auto id enabled and allow_insert_auto_id is false"
            return self._answer(milvus_pb2.MutationResult(status=refusal(why)))
        self.doubled += [key for key in given if key in self._present(asked, given)]
        return ask(request)

    def _present(self, asked, keys: list[int]) -> set[int]:
        field = self.keys[asked.collection_name]
        query = milvus_pb2.QueryRequest(
            db_name=asked.db_name,
            collection_name=asked.collection_name,
            expr=f"{field} in {keys}",
            output_fields=[field],
        )
        answer = self._lite.unary_unary(f"{SERVICE}Query")(query.SerializeToString(), timeout=60)
        columns = milvus_pb2.QueryResults.FromString(answer).fields_data
        return {key for column in columns for key in column.scalars.long_data.data}

    def _upsert(self, request: bytes, ask) -> bytes:
        asked = milvus_pb2.UpsertRequest.FromString(request)
        self.rekeyed += len(self._given(asked))
        return ask(request)
