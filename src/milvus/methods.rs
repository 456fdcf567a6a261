//! The methods of `MilvusService` in use. Written by hand: grpcio's generator needs a C++ plugin.

use std::io::Read as _;

use bytes::Bytes;
use grpcio::{Marshaller, MessageReader, Method, MethodType};

use super::pb::api::*;
use super::pb::common::Status;
use super::pb::wal::{
    AllocTimestampRequest, AllocTimestampResponse, DumpMessagesRequest, FlushAllRequest, FlushAllResponse,
};
use super::rows::Rows;

macro_rules! methods {
    ($($constant:ident = $name:literal: $request:ty => $answer:ty;)*) => {$(
        pub(super) const $constant: Method<$request, $answer> = Method {
            ty: MethodType::Unary,
            name: concat!("/milvus.proto.milvus.MilvusService/", $name),
            req_mar: Marshaller { ser: grpcio::pb_ser, de: grpcio::pb_de },
            resp_mar: Marshaller { ser: grpcio::pb_ser, de: grpcio::pb_de },
        };
    )*};
}

methods! {
    CONNECT = "Connect": ConnectRequest => ConnectResponse;
    GET_VERSION = "GetVersion": GetVersionRequest => GetVersionResponse;
    REPLICATE_MESSAGE = "ReplicateMessage": ReplicateMessageRequest => ReplicateMessageResponse;
    LIST_DATABASES = "ListDatabases": ListDatabasesRequest => ListDatabasesResponse;
    CREATE_DATABASE = "CreateDatabase": DatabaseRequest => Status;
    DROP_DATABASE = "DropDatabase": DatabaseRequest => Status;
    SHOW_COLLECTIONS = "ShowCollections": ShowCollectionsRequest => ShowCollectionsResponse;
    DESCRIBE_COLLECTION = "DescribeCollection": CollectionRequest => DescribeCollectionResponse;
    CREATE_COLLECTION = "CreateCollection": CreateCollectionRequest => Status;
    ALTER_COLLECTION = "AlterCollection": AlterCollectionRequest => Status;
    ADD_COLLECTION_FIELD = "AddCollectionField": AddCollectionFieldRequest => Status;
    RENAME_COLLECTION = "RenameCollection": RenameCollectionRequest => Status;
    DROP_COLLECTION = "DropCollection": CollectionRequest => Status;
    SHOW_PARTITIONS = "ShowPartitions": ShowPartitionsRequest => ShowPartitionsResponse;
    CREATE_PARTITION = "CreatePartition": PartitionRequest => Status;
    DROP_PARTITION = "DropPartition": PartitionRequest => Status;
    LOAD_PARTITIONS = "LoadPartitions": PartitionsRequest => Status;
    RELEASE_PARTITIONS = "ReleasePartitions": PartitionsRequest => Status;
    CREATE_ALIAS = "CreateAlias": AliasRequest => Status;
    ALTER_ALIAS = "AlterAlias": AliasRequest => Status;
    LIST_ALIASES = "ListAliases": CollectionRequest => ListAliasesResponse;
    DROP_ALIAS = "DropAlias": DropAliasRequest => Status;
    DESCRIBE_INDEX = "DescribeIndex": DescribeIndexRequest => DescribeIndexResponse;
    CREATE_INDEX = "CreateIndex": CreateIndexRequest => Status;
    DROP_INDEX = "DropIndex": DropIndexRequest => Status;
    LOAD_COLLECTION = "LoadCollection": LoadCollectionRequest => Status;
    RELEASE_COLLECTION = "ReleaseCollection": CollectionRequest => Status;
    GET_LOAD_STATE = "GetLoadState": GetLoadStateRequest => GetLoadStateResponse;
    GET_REPLICAS = "GetReplicas": GetReplicasRequest => GetReplicasResponse;
    TRUNCATE_COLLECTION = "TruncateCollection": TruncateCollectionRequest => TruncateCollectionResponse;
    FLUSH_ALL = "FlushAll": FlushAllRequest => FlushAllResponse;
    ALLOC_TIMESTAMP = "AllocTimestamp": AllocTimestampRequest => AllocTimestampResponse;
    DELETE = "Delete": DeleteRequest => MutationResult;
    QUERY = "Query": QueryRequest => QueryResults;
}

/// The log's messages, as they come.
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

/// A client never sends an answer.
fn only_received() -> grpcio::Error {
    grpcio::Error::Codec("this message is only received".into())
}

/// Inserts and upserts, whose request is serialized without copying the columns twice.
const fn write(name: &'static str) -> Method<Rows, MutationResult> {
    Method {
        ty: MethodType::Unary,
        name,
        req_mar: Marshaller { ser: |rows, out| rows.serialize(out), de: |_| Err(only_sent()) },
        resp_mar: Marshaller { ser: grpcio::pb_ser, de: grpcio::pb_de },
    }
}

/// A client never receives its own requests.
fn only_sent() -> grpcio::Error {
    grpcio::Error::Codec("this message is only sent".into())
}

pub(super) const INSERT: Method<Rows, MutationResult> = write("/milvus.proto.milvus.MilvusService/Insert");
pub(super) const UPSERT: Method<Rows, MutationResult> = write("/milvus.proto.milvus.MilvusService/Upsert");
