//! Identifiers and positions.

use std::fmt;
use std::sync::Arc;

/// Identifies a collection of the source within a task: the source's own id, or, if the source gives none, a negative
/// number that stands for the database and name of one [`ObjectKey`]. Never reused: a collection that is dropped and
/// created again gets another, as far as that can be detected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CollectionId(pub i64);

impl fmt::Display for CollectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl CollectionId {
    /// Whether the source gave it. Servers' ids are positive.
    pub fn is_given(self) -> bool {
        self.0 > 0
    }
}

/// Distinguishes a collection of the source from all others.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectKey {
    /// Its id.
    Id(CollectionId),
    /// Its database and name, at a server that gives no ids (Milvus Lite answers 0 for every one).
    Name {
        /// The database.
        db: String,
        /// The collection.
        name: String,
    },
}

impl ObjectKey {
    /// The key of a collection that a listing or a description shows with this id.
    pub fn of(id: i64, db: &str, name: &str) -> ObjectKey {
        match CollectionId(id) {
            id if id.is_given() => ObjectKey::Id(id),
            _ => ObjectKey::Name { db: db.into(), name: name.into() },
        }
    }
}

/// A partition's id at the source; below -1 if the source gives none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartitionId(pub i64);

impl PartitionId {
    /// In a delete: every partition.
    pub const ALL: PartitionId = PartitionId(-1);
}

/// The place of one message in the log, increasing within a channel. Each kind of log (`source`) defines the numbers:
/// an offset, a ledger and an entry, a time tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Its place in the order of the channel's messages.
    order: u128,
    /// Where the log must be read from to get to it; often the same number.
    resume: u128,
}

impl Position {
    /// A message with one number: RocksMQ's message id, Kafka's offset.
    pub fn at(number: u64) -> Position {
        Position::pair(u128::from(number), u128::from(number))
    }

    /// A message whose place in the order and place to read from are different.
    pub fn pair(order: u128, resume: u128) -> Position {
        Position { order, resume }
    }

    /// The number of a position made by [`Self::at`].
    pub fn number(self) -> u64 {
        self.order as u64
    }

    /// A message of Pulsar: ledger, entry, and its place in the entry's batch.
    pub fn in_ledger(ledger: u64, entry: u64, index: u16) -> Position {
        let order = u128::from(ledger) << 64 | u128::from(entry & (u64::MAX >> 16)) << 16 | u128::from(index);
        Position::pair(order, order)
    }

    /// The numbers of a position made by [`Self::in_ledger`].
    pub fn ledger_entry_index(self) -> (u64, u64, u16) {
        ((self.order >> 64) as u64, self.order as u64 >> 16, self.order as u16)
    }

    /// Its place in the order.
    pub fn order(self) -> u128 {
        self.order
    }

    /// Where to read from.
    pub fn resume(self) -> u128 {
        self.resume
    }
}

/// One number, or two with `@` between them.
impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.order == self.resume { self.order.fmt(f) } else { write!(f, "{}@{}", self.order, self.resume) }
    }
}

/// Reads what [`Position`]'s `Display` writes.
impl std::str::FromStr for Position {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (order, resume) = text.split_once('@').unwrap_or((text, text));
        Ok(Position::pair(order.parse()?, resume.parse()?))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_as_text() {
        for position in [Position::at(470634828216664064), Position::pair(u128::MAX, 0), Position::pair(3, 4)] {
            assert_eq!(position.to_string().parse(), Ok(position));
        }
        assert_eq!(Position::at(7).to_string(), "7");
        assert!("".parse::<Position>().is_err() && "1@".parse::<Position>().is_err());
    }

    #[test]
    fn names_count_where_there_are_no_ids() {
        assert_eq!(ObjectKey::of(7, "a", "x"), ObjectKey::of(7, "b", "y"), "renamed");
        assert_ne!(ObjectKey::of(7, "a", "x"), ObjectKey::of(8, "a", "x"), "dropped and created again");
        assert_eq!(ObjectKey::of(0, "a", "x"), ObjectKey::Name { db: "a".into(), name: "x".into() });
        assert_ne!(ObjectKey::of(0, "a", "x"), ObjectKey::of(0, "b", "x"));
    }

    #[test]
    fn places_in_ledgers() {
        let position = Position::in_ledger(7, 50_000, 3);
        assert_eq!(position.ledger_entry_index(), (7, 50_000, 3));
        assert_eq!(position.to_string().parse(), Ok(position));
        assert!(
            position < Position::in_ledger(7, 50_001, 0)
                && Position::in_ledger(7, 50_001, 0) < Position::in_ledger(8, 0, 0)
        );
    }

    #[test]
    fn the_order_counts_first() {
        assert!(Position::pair(1, 9) < Position::pair(2, 0));
    }
}
