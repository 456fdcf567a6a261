//! Ids of messages, and the positions that they are to the rest of the program.

use crate::domain::Position;
use crate::milvus::pb::pulsar::MessageId;

/// An entry of a topic: one message, or a batch of them. Both numbers grow within a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    pub(super) ledger: u64,
    pub(super) entry: u64,
}

impl Entry {
    pub(super) const EARLIEST: Entry = Entry { ledger: u64::MAX, entry: u64::MAX };
    pub(super) const LATEST: Entry = Entry { ledger: i64::MAX as u64, entry: i64::MAX as u64 };

    pub(super) fn of_wire(id: &MessageId) -> Entry {
        Entry { ledger: id.ledger(), entry: id.entry() }
    }

    pub(super) fn to_wire(self) -> MessageId {
        MessageId { ledger: Some(self.ledger), entry: Some(self.entry), ..Default::default() }
    }

    /// The entry that a position lies in.
    pub(super) fn of(position: Position) -> Entry {
        let (ledger, entry, _) = position.ledger_entry_index();
        Entry { ledger, entry }
    }

    /// The position of one of its messages.
    pub(super) fn position(self, index: u16) -> Position {
        Position::in_ledger(self.ledger, self.entry, index)
    }

    /// Nothing can lie between the two.
    pub(super) fn is_followed_by(self, other: Entry) -> bool {
        self.ledger == other.ledger && self.entry.checked_add(1) == Some(other.entry)
    }

    /// No entry at all: what an empty topic answers.
    pub(super) fn is_none(self) -> bool {
        self.entry == u64::MAX
    }
}
