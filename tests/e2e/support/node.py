"""A Milvus server, accessed through pymilvus."""

import grpc
from pymilvus import Collection, CollectionSchema, DataType, FieldSchema, connections, db, utility
from pymilvus.grpc_gen import milvus_pb2

import certificates

from .logs import RocksMqLog
from .waiting import wait_until

# A flat index answers exactly and needs no training, whatever the number of rows.
FLAT = {"index_type": "FLAT", "metric_type": "L2", "params": {}}
INDEX_OF = {
    DataType.FLOAT_VECTOR: FLAT,
    DataType.BINARY_VECTOR: {"index_type": "BIN_FLAT", "metric_type": "HAMMING", "params": {}},
}
# Types that pymilvus 2.3 does not know.
SPARSE = {"index_type": "SPARSE_INVERTED_INDEX", "metric_type": "IP", "params": {}}
NEWER = {"FLOAT16_VECTOR": FLAT, "BFLOAT16_VECTOR": FLAT, "SPARSE_FLOAT_VECTOR": SPARSE}
INDEX_OF.update({getattr(DataType, kind): index for kind, index in NEWER.items() if hasattr(DataType, kind)})


def _if_there_is_such_a_thing(ask, otherwise):
    """The server's answer, or `otherwise` if it does not know the call (Milvus Lite 2.5)."""
    try:
        return ask()
    except grpc.RpcError as error:
        if error.code() == grpc.StatusCode.UNIMPLEMENTED:
            return otherwise
        raise


class Node:
    """One server, with a connection per database. Its log is in its own folder unless another one is given."""

    def __init__(self, server, log=None):
        self.server = server
        self.log = log or RocksMqLog(server)
        self._aliases: set[str] = set()

    @property
    def uri(self) -> str:
        return self.server.uri

    def using(self, database: str = "default") -> str:
        """The pymilvus alias of one database."""
        alias = f"{self.server.uri}/{database}"
        if alias not in self._aliases:
            connections.connect(alias, uri=self.server.uri, token=self.server.token, db_name=database, **self._tls())
            self._aliases.add(alias)
        return alias

    def _tls(self) -> dict:
        folder = self.server.certificates
        if not folder:
            return {}
        name = {"secure": True, "server_name": certificates.SERVER_NAME}
        if self.server.tls == "one-way":
            return {**name, "server_pem_path": str(folder / "server.pem")}
        client = {"client_pem_path": str(folder / "client.pem"), "client_key_path": str(folder / "client.key")}
        return {**name, **client, "ca_pem_path": str(folder / "ca.pem")}

    def disconnect(self) -> None:
        for alias in self._aliases:
            connections.remove_connection(alias)
        self._aliases.clear()

    def collection(self, name: str, database: str = "default") -> Collection:
        return Collection(name, using=self.using(database))

    def has(self, name: str, database: str = "default") -> bool:
        return utility.has_collection(name, using=self.using(database))

    def collections(self, database: str = "default") -> list[str]:
        return sorted(utility.list_collections(using=self.using(database)))

    def databases(self) -> list[str]:
        return sorted(_if_there_is_such_a_thing(lambda: db.list_database(using=self.using()), ["default"]))

    def describe(self, name: str, database: str = "default") -> dict:
        """The server's description of the collection, without the ids that it assigned."""
        told = self.collection(name, database).describe()
        own = {"collection_id", "created_timestamp", "created_utc_timestamp"}
        return {key: value for key, value in told.items() if key not in own}

    def indexes(self, name: str, database: str = "default") -> dict:
        """Index name -> field and parameters."""
        found = self.collection(name, database).indexes
        return {index.index_name: (index.field_name, index.params) for index in found}

    def partitions(self, name: str, database: str = "default") -> list[str]:
        found = _if_there_is_such_a_thing(lambda: self.collection(name, database).partitions, [])
        return sorted(partition.name for partition in found)

    def aliases(self, name: str, database: str = "default") -> list[str]:
        if self.server.kind == "milvus":
            return sorted(self.describe(name, database)["aliases"])
        handler = connections._fetch_handler(self.using(database))
        return sorted(_if_there_is_such_a_thing(lambda: handler.list_aliases(name, db_name=database)["aliases"], []))

    def stands_for(self, name: str, database: str = "default") -> str | None:
        """The collection that has this name or alias."""
        request = milvus_pb2.DescribeCollectionRequest(db_name=database, collection_name=name)
        told = connections._fetch_handler(self.using(database))._stub.DescribeCollection(request)
        return None if told.status.code or told.status.error_code else told.schema.name

    def topics_of(self, name: str, database: str = "default") -> list[str]:
        """The topics of the log that carry the shards of a collection."""
        request = milvus_pb2.DescribeCollectionRequest(db_name=database, collection_name=name)
        # pymilvus omits the channels from its own answer.
        told = connections._fetch_handler(self.using(database))._stub.DescribeCollection(request)
        return sorted(set(told.physical_channel_names))

    def is_loaded(self, name: str, database: str = "default") -> bool:
        return str(utility.load_state(name, using=self.using(database))) == "Loaded"

    def wait_loaded(self, name: str, database: str = "default") -> None:
        wait_until(lambda: self.is_loaded(name, database), 60, f"{name} to be loaded at {self.uri}")

    def create(self, name, database="default", *, fields=None, load=True, dim=8, shards=1, **properties) -> Collection:
        """A collection, `id` and `vec` unless told otherwise, indexed and loading unless told otherwise.

        Loading continues after this returns: readers wait anyway, and `wait_loaded` is for the few other callers that
        must. But a Milvus that keeps its log in Pulsar may never show rows that were written while it loaded: its
        consumer may reconnect before its seek is done (seen in the broker's log).
        """
        fields = fields or [key_field(), vector_field(dim)]
        known = ("enable_dynamic_field", "description", "partition_key_field", "auto_id")
        schema = CollectionSchema(fields, **{key: properties.pop(key) for key in known if key in properties})
        made = Collection(name, schema, using=self.using(database), shards_num=shards, **properties)
        if load:
            for field in schema.fields:
                if field.dtype in INDEX_OF:
                    made.create_index(field.name, INDEX_OF[field.dtype], _async=True).result()
            made.load(_async=True)
            if self.log.kind == "pulsar":
                self.wait_loaded(name, database)
        return made

    def wipe(self) -> None:
        """Removes every collection and every database but `default`."""
        for database in self.databases():
            alias = self.using(database)
            for name in utility.list_collections(using=alias):
                for nickname in self.aliases(name, database):
                    utility.drop_alias(nickname, using=alias)
                utility.drop_collection(name, using=alias)
            if database != "default":
                connections.remove_connection(alias)
                self._aliases.discard(alias)
                db.drop_database(database, using=self.using())


def key_field(name: str = "id", kind=DataType.INT64, **more) -> FieldSchema:
    if kind == DataType.VARCHAR:
        more.setdefault("max_length", 512)
    return FieldSchema(name, kind, is_primary=True, **more)


def vector_field(dim: int = 8, name: str = "vec") -> FieldSchema:
    return FieldSchema(name, DataType.FLOAT_VECTOR, dim=dim)


def simple_rows(keys, dim: int = 8, mark: float = 0.0) -> list[dict]:
    """Rows for `create`'s default fields; their vectors encode the key and a mark."""
    return [{"id": key, "vec": [float(abs(hash(key)) % 1000), mark] + [0.5] * (dim - 2)} for key in keys]
