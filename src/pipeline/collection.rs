//! What the pipeline must know about a collection to write its rows.

use std::collections::HashMap;
use std::time::Duration;

use crate::domain::{Channel, CollectionId, KeyField, PartitionId, Position};
use crate::milvus::field_data::{KnownFields, Shape};

/// How rows are written that may be on the target already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Replacement {
    /// By an upsert.
    #[default]
    Upsert,
    /// By a delete of their keys and an insert: where the target generates keys, an upsert gives the rows new ones
    /// (seen on 2.6.20 and 3.0).
    DeleteAndInsert,
}

/// A collection that exists on the target and can be written. Replaced as a whole whenever the catalog has described it
/// again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WritableCollection {
    /// Its id at the source.
    pub id: CollectionId,
    /// Its id on the target; not above 0 where that has none.
    pub target_id: CollectionId,
    /// Database on the target.
    pub db: String,
    /// Name on the target.
    pub name: String,
    /// The primary key.
    pub key: KeyField,
    /// Partition names by their id at the source.
    pub partitions: HashMap<PartitionId, String>,
    /// Requests name no partition: a partition key decides (then the target refuses a name), or the task ignores
    /// partitions.
    pub unnamed_partitions: bool,
    /// Columns of two messages may be concatenated (see [`crate::milvus::field_data`]).
    pub mergeable: bool,
    /// The fields that its rows may have.
    pub fields: KnownFields,
    /// The fields whose columns must be converted before they are written.
    pub shape: Shape,
    /// How its rows are replaced.
    pub replacement: Replacement,
    /// How long the source keeps a row; `None`: for ever.
    pub ttl: Option<Duration>,
    /// By channel: inserts up to this position are written as upserts, because a backfill or an earlier writer may
    /// have put the rows on the target already.
    pub upsert_until: HashMap<Channel, Position>,
    /// The describe behind this value began after every question up to this number was asked.
    pub generation: u64,
}
