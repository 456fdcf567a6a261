//! An operation: one data record on its way to the target.

use super::ack_tracker::BatchSeq;
use super::decision::CallId;
use super::keyset::KeySet;
use crate::domain::{Channel, CollectionId, Column, Keys, Mark, PartitionId, Position, Timestamp, Truncate};

/// One data record on its way to the target.
#[derive(Debug, Clone)]
pub struct Op {
    /// The channel that it was read from.
    pub channel: Channel,
    /// The released batch that it belongs to.
    pub batch: BatchSeq,
    /// Its position in the log.
    pub position: Position,
    /// The largest timestamp of its rows.
    pub ts: Timestamp,
    /// The collection that it changes.
    pub collection: CollectionId,
    /// The partition; [`PartitionId::ALL`] for a delete in every partition.
    pub partition: PartitionId,
    /// Whose it was first, if it is no write of the source's users.
    pub mark: Option<Mark>,
    /// The change itself.
    pub body: OpBody,
    /// The number of the question to the catalog about its partition or one of its fields, if one was asked.
    pub asked: Option<u64>,
    /// Set for an insert that must not be released without its delete: the number of ticks that it has waited.
    pub(super) awaits_delete: Option<u32>,
    /// An insert that is written as an upsert: it absorbed its delete, or what went early is put right by it.
    pub replaces: bool,
    /// The call that has brought the rows of this insert to the target before its tick (see `early`).
    pub(super) went_early: Option<CallId>,
    /// The batches of absorbed deletes, which are complete when this operation is.
    pub absorbed: Vec<BatchSeq>,
    /// Its keys; extracted when they are first needed.
    pub keys: Option<KeySet>,
    /// Approximate memory use in bytes.
    pub weight: usize,
}

/// The change that an operation makes.
#[derive(Debug, Clone)]
pub enum OpBody {
    /// New rows.
    Insert {
        /// Number of rows.
        rows: usize,
        /// Their columns.
        columns: Vec<Column>,
    },
    /// Keys to remove.
    Delete(Keys),
    /// The rows of this channel's shard are removed, together with those of the collection's other shards.
    Truncate(Truncate),
}
