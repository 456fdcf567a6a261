//! Every answer of Milvus carries a `Status`; finding it is the same for all.

use super::pb::{api, common, wal};

/// An answer with a status in it.
pub(super) trait HasStatus {
    /// The status, absent when the server sent none, which means success.
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
    DescribeIndexResponse,
    GetLoadStateResponse,
    GetReplicasResponse,
    GetVersionResponse,
    ListAliasesResponse,
    ListDatabasesResponse,
    MutationResult,
    QueryResults,
    ReplicateMessageResponse,
    ShowCollectionsResponse,
    ShowPartitionsResponse,
    TruncateCollectionResponse,
);

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
