//! What the pipeline must know of a collection to apply its rows.

use std::collections::HashMap;

use super::columns::{KnownFields, Shape};
use crate::domain::{Channel, CollectionId, PartitionId, Position};

/// The primary key's field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyField {
    /// Its name.
    pub name: String,
    /// Int64; else VarChar.
    pub is_int: bool,
}

/// A collection that is ready on the target. Replaced as a whole whenever the catalog has looked at it again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CollectionInfo {
    /// Its id at the source.
    pub id: CollectionId,
    /// Database on the target.
    pub db: String,
    /// Name on the target.
    pub name: String,
    /// The primary key.
    pub key: KeyField,
    /// Partitions by their id at the source.
    pub partitions: HashMap<PartitionId, String>,
    /// Rows go without a partition's name: they find it by a key (then the target refuses a name), or the task was told to
    /// ignore partitions.
    pub unnamed_partitions: bool,
    /// Columns of two messages may be put one behind the other (see [`super::columns`]).
    pub mergeable: bool,
    /// The fields that its rows may have.
    pub fields: KnownFields,
    /// The fields whose columns must get another form before they are written.
    pub shape: Shape,
    /// Rows up to here may be on the target already (they were there when the collection was adopted, or were copied), so
    /// inserts go in as upserts.
    pub upsert_until: HashMap<Channel, Position>,
    /// The look that this comes from began after every question up to this number was asked.
    pub generation: u64,
}
