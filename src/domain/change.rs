//! The records of a source's log: one message of a channel, and what it changes.

use std::error::Error;

use super::{Channel, CollectionId, CollectionRef, Column, Mark, PartitionId, Position, Timestamp};

/// One message of a channel.
#[derive(Debug)]
pub struct Record {
    /// Its place in the log.
    pub position: Position,
    /// The smallest timestamp of its rows; a time tick's own.
    pub begin: Timestamp,
    /// The largest timestamp of its rows.
    pub end: Timestamp,
    /// What tells whose it was first: a write of ours.
    pub mark: Option<Mark>,
    /// Its content.
    pub body: Body,
}

/// The content of a message.
#[derive(Debug)]
pub enum Body {
    /// Time tick: every message of this channel with a timestamp up to the record's has been read.
    Tick {
        /// Where reading must resume, at the latest, to bring whole what has begun and not ended by then; `None`: at
        /// the tick itself.
        resume: Option<Position>,
    },
    /// Rows to insert into one partition.
    Insert(Insert),
    /// Keys to delete.
    Delete(Delete),
    /// The collection was created: the channel has nothing of it before this.
    CreateCollection(CollectionId),
    /// The collection was dropped.
    DropCollection(CollectionId),
    /// This collection has changed in the catalog.
    CollectionHint(CollectionId),
    /// The catalog has changed; the collection (database and name), if the message names one.
    CatalogHint(Option<(String, String)>),
    /// A database of this name was created.
    CreateDatabase(String),
    /// A user asked to release this collection, or partitions of it.
    Release(CollectionRef),
    /// Files were imported into this collection; their rows are not in the log.
    BulkImport {
        /// The database; empty for the default one.
        db: String,
        /// The collection's name.
        collection: String,
    },
    /// A part of a transaction: what it changes follows with the transaction's end, or never.
    Part,
    /// A message of no use here; Milvus's name of its type.
    Ignored(&'static str),
    /// A message of an unknown type; Milvus's number of it.
    Unknown(i32),
    /// All rows of a collection are deleted.
    Truncate(Truncate),
    /// Rows of this collection came or went that the log does not hold.
    Uncarried {
        /// The collection's id.
        collection: CollectionId,
        /// What happened, or why the rows cannot be read.
        what: &'static str,
    },
    /// Rows of this collection changed in a way that only the source can evaluate: the collection has to be compared.
    Compare {
        /// The collection's id.
        collection: CollectionId,
        /// What happened.
        what: &'static str,
    },
    /// Nothing may be replicated past this message; the reason, and what to do.
    Stop(String),
    /// A message that cannot be decoded. It is counted, logged and skipped.
    Undecodable(Box<dyn Error + Send + Sync>),
}

impl Body {
    /// Whether it says that something beside rows in the log has changed, or is about to.
    pub fn changes_catalog(&self) -> bool {
        matches!(
            self,
            Body::CreateCollection(_)
                | Body::DropCollection(_)
                | Body::CollectionHint(_)
                | Body::CatalogHint(_)
                | Body::CreateDatabase(_)
                | Body::Release(_)
                | Body::BulkImport { .. }
        )
    }
}

/// Rows to insert.
#[derive(Debug)]
pub struct Insert {
    /// The collection's id.
    pub collection: CollectionId,
    /// The partition that they belong to.
    pub partition: PartitionId,
    /// Number of rows.
    pub rows: usize,
    /// The columns, each a slice of the message.
    pub columns: Vec<Column>,
    /// This insert is half of an upsert; the delete with the same timestamp is the other half.
    pub half: bool,
    /// The source's unique id of the first row; `None`: this source gives none.
    pub row_id: Option<i64>,
}

/// Rows to delete: those with these keys and a timestamp before the record's.
#[derive(Debug)]
pub struct Delete {
    /// The collection's id.
    pub collection: CollectionId,
    /// The partition to delete from; [`PartitionId::ALL`] for all.
    pub partition: PartitionId,
    /// The primary keys of the rows.
    pub keys: Keys,
}

/// Deletes the rows of a collection. Each of its shards has one such message, and the rows before it are deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Truncate {
    /// The collection's id.
    pub collection: CollectionId,
    /// The same in every shard's message.
    pub id: u64,
    /// The physical channels of the shards.
    pub channels: Vec<Channel>,
}

impl Truncate {
    /// Whether two of its shards share a channel: then their rows between the two messages cannot be told apart.
    pub fn shares_a_channel(&self) -> bool {
        let distinct: std::collections::BTreeSet<&Channel> = self.channels.iter().collect();
        distinct.len() < self.channels.len()
    }
}

/// Primary keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keys {
    /// Of an Int64 field.
    Int(Vec<i64>),
    /// Of a VarChar field.
    Str(Vec<String>),
}

impl Keys {
    /// Number of keys.
    pub fn len(&self) -> usize {
        match self {
            Keys::Int(keys) => keys.len(),
            Keys::Str(keys) => keys.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
