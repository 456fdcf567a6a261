//! Identifiers and positions.

use std::fmt;
use std::sync::Arc;

/// A collection's id at the source. Never reused: a collection dropped and created again has another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CollectionId(pub i64);

impl fmt::Display for CollectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A partition's id at the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartitionId(pub i64);

impl PartitionId {
    /// In a delete: every partition.
    pub const ALL: PartitionId = PartitionId(-1);
}

/// The place of one message in the log, increasing within a channel. RocksMQ: the message id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub i64);

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Position {
    /// Milvus's own encoding of a message id for RocksMQ and Kafka: 8 bytes, little-endian.
    pub fn to_message_id(self) -> Vec<u8> {
        self.0.to_le_bytes().to_vec()
    }

    /// The reverse of [`Self::to_message_id`]; `None` when there are not 8 bytes.
    pub fn from_message_id(bytes: &[u8]) -> Option<Position> {
        Some(Position(i64::from_le_bytes(bytes.try_into().ok()?)))
    }
}

/// The name of a physical channel: a topic of the source's log. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Channel(Arc<str>);

impl Channel {
    /// Names a channel.
    pub fn new(name: &str) -> Channel {
        Channel(Arc::from(name))
    }

    /// Its name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
