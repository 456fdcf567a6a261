//! What the scheduler decides, and what it has to know for that: calls to the target, and the rules that admit them.

use std::sync::Arc;

use super::ack_tracker::BatchSeq;
use super::collection::WritableCollection;
use crate::domain::{Channel, CollectionId, Keys, Mark, RowLocation, Timestamp, Write};
use crate::milvus::field_data::ColumnError;
use crate::milvus::rows::WriteRequest;

/// Identifies a call from its start to its acknowledgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub u64);

/// One call to the target.
#[derive(Debug)]
pub struct Call {
    /// Identifies it until it is acknowledged.
    pub id: CallId,
    /// The collection that it changes.
    pub collection: Arc<WritableCollection>,
    /// Database, collection and partition on the target.
    pub place: RowLocation,
    /// What the call does.
    pub work: Work,
    /// The channel that its records were read from.
    pub channel: Channel,
    /// What the target's log shows of it.
    pub mark: Mark,
    /// The latest timestamp of its rows.
    pub latest: Timestamp,
}

/// The content of a call.
#[derive(Debug)]
pub enum Work {
    /// Rows to write.
    Write {
        /// Insert or upsert.
        write: Write,
        /// The request that carries the rows.
        rows: WriteRequest,
    },
    /// Keys to delete.
    Delete(Keys),
    /// Remove every row of the collection.
    Truncate,
}

/// An operation that needs no further work: acknowledged, skipped or discarded. Counts towards its batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompletedOp {
    /// The channel that the operation was read from.
    pub channel: Channel,
    /// The released batch that it belongs to.
    pub batch: BatchSeq,
}

/// What the scheduler must know about the task's state to decide which call may start.
pub trait DispatchRules {
    /// The collection, if its rows may be applied now.
    fn collection(&self, id: CollectionId) -> Option<Arc<WritableCollection>>;
    /// The number of the next question to the catalog.
    fn question(&self) -> u64;
    /// Whether calls for records of this channel may start now.
    fn open(&self, channel: &Channel) -> bool;
    /// No insert later than this may start: a crash could not tell whether it was applied.
    fn bound(&self, channel: &Channel) -> Timestamp;
    /// Inserts up to this may have been applied before: they go in as upserts.
    fn replayed(&self, channel: &Channel) -> Timestamp;
    /// The source's time.
    fn now(&self) -> Timestamp;
}

/// Operations that the target has already: its own.
#[derive(Debug)]
pub struct Echoes {
    /// Rows and deleted keys; an upsert is both.
    pub rows: u64,
    /// They need no call.
    pub completes: Vec<CompletedOp>,
    /// Bytes that have left the queue.
    pub(super) bytes: usize,
}

/// What the task has to do next.
#[derive(Debug)]
pub enum Decision {
    /// Make this call.
    Call(Box<Call>),
    /// Raise the bound of this channel to at least this timestamp, then ask again.
    RaiseBound(Channel, Timestamp),
    /// The source removed rows of this collection at a point that cannot be ordered among its other records: compare
    /// the collection.
    Compare(CollectionId),
    /// The next record names an unknown partition or field: describe the collection again.
    Unknown(CollectionId),
    /// The operation's partition was dropped: these operations are not applied.
    Skip(CollectionId, Vec<CompletedOp>),
    /// The rows have outlived the collection's TTL at the source: they are not applied.
    Expired {
        /// The collection.
        collection: CollectionId,
        /// Number of rows.
        rows: usize,
        /// Their operations.
        done: Vec<CompletedOp>,
    },
    /// The rows of this collection cannot be read. These operations were taken out of the queue and not applied.
    Unreadable(CollectionId, ColumnError, Vec<CompletedOp>),
    /// These came from the target and are not sent back.
    Echo(Echoes),
    /// Nothing can start now.
    Idle,
}
