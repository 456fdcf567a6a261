//! Access to the `Status` that every response of Milvus carries.

use super::pb::{api, common, wal};

/// A response that carries a status.
pub(super) trait HasStatus {
    /// The status; absent if the server sent none, which means success.
    fn status(&self) -> Option<&common::Status>;
}

impl HasStatus for common::Status {
    fn status(&self) -> Option<&common::Status> {
        Some(self)
    }
}

macro_rules! has_status {
    ($($answer:ident),* $(,)?) => {$(
        impl HasStatus for api::$answer {
            fn status(&self) -> Option<&common::Status> {
                self.status.as_ref()
            }
        }
    )*};
}

has_status!(
    ConnectResponse,
    DescribeCollectionResponse,
    DescribeDatabaseResponse,
    DescribeIndexResponse,
    GetLoadStateResponse,
    GetQuerySegmentInfoResponse,
    GetReplicasResponse,
    GetVersionResponse,
    ListAliasesResponse,
    ListDatabasesResponse,
    ListImportTasksResponse,
    MutationResult,
    QueryResults,
    ReplicateMessageResponse,
    ShowCollectionsResponse,
    ShowPartitionsResponse,
    TruncateCollectionResponse,
);

impl HasStatus for api::AlterCollectionSchemaResponse {
    fn status(&self) -> Option<&common::Status> {
        self.alter_status.as_ref()
    }
}

impl HasStatus for wal::FlushAllResponse {
    fn status(&self) -> Option<&common::Status> {
        self.status.as_ref()
    }
}

impl HasStatus for wal::AllocTimestampResponse {
    fn status(&self) -> Option<&common::Status> {
        self.status.as_ref()
    }
}
