//! The methods of `MilvusService` that are in use. Written by hand, because grpcio's generator needs a C++ plugin.

use std::io::Read as _;

use bytes::Bytes;
use grpcio::{GrpcSlice, Marshaller, MessageReader, Method, MethodType};

use super::change_method::ChangeMethod;
use super::pb::api::*;
use super::pb::common::Status;
use super::pb::wal::{
    AllocTimestampRequest, AllocTimestampResponse, DumpMessagesRequest, FlushAllRequest, FlushAllResponse,
};

macro_rules! unary {
    ($name:literal) => {
        Method {
            ty: MethodType::Unary,
            name: concat!("/milvus.proto.milvus.MilvusService/", $name),
            req_mar: Marshaller { ser: grpcio::pb_ser, de: grpcio::pb_de },
            resp_mar: Marshaller { ser: grpcio::pb_ser, de: grpcio::pb_de },
        }
    };
}

macro_rules! methods {
    ($($constant:ident = $name:literal: $request:ty => $answer:ty;)*) => {$(
        pub(super) const $constant: Method<$request, $answer> = unary!($name);
    )*};
}

macro_rules! change_methods {
    ($($constant:ident = $name:literal: $request:ty => $answer:ty;)*) => {$(
        pub(super) const $constant: ChangeMethod<$request, $answer> = ChangeMethod::new(unary!($name));
    )*};
}

// Calls that change nothing of what users see.
methods! {
    CONNECT = "Connect": ConnectRequest => ConnectResponse;
    GET_VERSION = "GetVersion": GetVersionRequest => GetVersionResponse;
    REPLICATE_MESSAGE = "ReplicateMessage": ReplicateMessageRequest => ReplicateMessageResponse;
    LIST_DATABASES = "ListDatabases": ListDatabasesRequest => ListDatabasesResponse;
    DESCRIBE_DATABASE = "DescribeDatabase": DatabaseRequest => DescribeDatabaseResponse;
    SHOW_COLLECTIONS = "ShowCollections": ShowCollectionsRequest => ShowCollectionsResponse;
    DESCRIBE_COLLECTION = "DescribeCollection": CollectionRequest => DescribeCollectionResponse;
    SHOW_PARTITIONS = "ShowPartitions": ShowPartitionsRequest => ShowPartitionsResponse;
    LIST_ALIASES = "ListAliases": CollectionRequest => ListAliasesResponse;
    DESCRIBE_INDEX = "DescribeIndex": DescribeIndexRequest => DescribeIndexResponse;
    GET_LOAD_STATE = "GetLoadState": GetLoadStateRequest => GetLoadStateResponse;
    GET_REPLICAS = "GetReplicas": GetReplicasRequest => GetReplicasResponse;
    LIST_IMPORT_TASKS = "ListImportTasks": ListImportTasksRequest => ListImportTasksResponse;
    GET_QUERY_SEGMENT_INFO = "GetQuerySegmentInfo": GetQuerySegmentInfoRequest => GetQuerySegmentInfoResponse;
    FLUSH_ALL = "FlushAll": FlushAllRequest => FlushAllResponse;
    ALLOC_TIMESTAMP = "AllocTimestamp": AllocTimestampRequest => AllocTimestampResponse;
    QUERY = "Query": QueryRequest => QueryResults;
}

change_methods! {
    CREATE_DATABASE = "CreateDatabase": DatabaseRequest => Status;
    ALTER_DATABASE = "AlterDatabase": AlterDatabaseRequest => Status;
    DROP_DATABASE = "DropDatabase": DatabaseRequest => Status;
    CREATE_COLLECTION = "CreateCollection": CreateCollectionRequest => Status;
    ALTER_COLLECTION = "AlterCollection": AlterCollectionRequest => Status;
    ALTER_COLLECTION_FIELD = "AlterCollectionField": AlterCollectionFieldRequest => Status;
    ADD_COLLECTION_FIELD = "AddCollectionField": AddCollectionFieldRequest => Status;
    ADD_COLLECTION_STRUCT_FIELD = "AddCollectionStructField": AddCollectionStructFieldRequest => Status;
    ADD_COLLECTION_FUNCTION = "AddCollectionFunction": AddCollectionFunctionRequest => Status;
    ALTER_COLLECTION_FUNCTION = "AlterCollectionFunction": AlterCollectionFunctionRequest => Status;
    DROP_COLLECTION_FUNCTION = "DropCollectionFunction": DropCollectionFunctionRequest => Status;
    ALTER_COLLECTION_SCHEMA = "AlterCollectionSchema": AlterCollectionSchemaRequest => AlterCollectionSchemaResponse;
    RENAME_COLLECTION = "RenameCollection": RenameCollectionRequest => Status;
    DROP_COLLECTION = "DropCollection": CollectionRequest => Status;
    CREATE_PARTITION = "CreatePartition": PartitionRequest => Status;
    DROP_PARTITION = "DropPartition": PartitionRequest => Status;
    LOAD_PARTITIONS = "LoadPartitions": PartitionsRequest => Status;
    RELEASE_PARTITIONS = "ReleasePartitions": PartitionsRequest => Status;
    CREATE_ALIAS = "CreateAlias": AliasRequest => Status;
    ALTER_ALIAS = "AlterAlias": AliasRequest => Status;
    DROP_ALIAS = "DropAlias": DropAliasRequest => Status;
    CREATE_INDEX = "CreateIndex": CreateIndexRequest => Status;
    ALTER_INDEX = "AlterIndex": AlterIndexRequest => Status;
    DROP_INDEX = "DropIndex": DropIndexRequest => Status;
    LOAD_COLLECTION = "LoadCollection": LoadCollectionRequest => Status;
    RELEASE_COLLECTION = "ReleaseCollection": CollectionRequest => Status;
    TRUNCATE_COLLECTION = "TruncateCollection": TruncateCollectionRequest => TruncateCollectionResponse;
    DELETE = "Delete": DeleteRequest => MutationResult;
}

/// A method's name without its service, such as `Insert`: for errors and metrics.
pub(super) fn short_name<Q, A>(method: &Method<Q, A>) -> &'static str {
    method.name.rsplit('/').next().unwrap_or(method.name)
}

/// The messages of the write-ahead log, undecoded.
pub(super) const DUMP_MESSAGES: Method<DumpMessagesRequest, Bytes> = Method {
    ty: MethodType::ServerStreaming,
    name: "/milvus.proto.milvus.MilvusService/DumpMessages",
    req_mar: Marshaller { ser: grpcio::pb_ser, de: grpcio::pb_de },
    resp_mar: Marshaller { ser: |_, _| Err(only_received()), de: take_bytes },
};

fn take_bytes(mut reader: MessageReader) -> grpcio::Result<Bytes> {
    let mut message = Vec::with_capacity(reader.len());
    reader.read_to_end(&mut message).map_err(|error| grpcio::Error::Codec(error.into()))?;
    Ok(message.into())
}

/// A client never sends a response.
fn only_received() -> grpcio::Error {
    grpcio::Error::Codec("this message is only received".into())
}

/// A request that serializes itself, without an intermediate message.
pub(super) trait SerializeRequest {
    /// Writes the request's bytes.
    fn serialize(&self, out: &mut GrpcSlice) -> grpcio::Result<()>;
}

/// A method whose request serializes itself.
pub(super) const fn write<R: SerializeRequest>(name: &'static str) -> ChangeMethod<R, MutationResult> {
    ChangeMethod::new(Method {
        ty: MethodType::Unary,
        name,
        req_mar: Marshaller { ser: |request, out| request.serialize(out), de: |_| Err(only_sent()) },
        resp_mar: Marshaller { ser: grpcio::pb_ser, de: grpcio::pb_de },
    })
}

/// A client never receives its own requests.
fn only_sent() -> grpcio::Error {
    grpcio::Error::Codec("this message is only sent".into())
}
