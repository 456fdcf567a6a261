//! Ids of a topic's entries.

use super::proto::MessageId;

/// An entry of a topic: one message, or a batch of them. Both numbers grow within a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct EntryId {
    pub(crate) ledger: u64,
    pub(crate) entry: u64,
}

impl EntryId {
    pub(crate) const EARLIEST: EntryId = EntryId { ledger: u64::MAX, entry: u64::MAX };
    pub(super) const LATEST: EntryId = EntryId { ledger: i64::MAX as u64, entry: i64::MAX as u64 };

    pub(crate) fn of_wire(id: &MessageId) -> EntryId {
        EntryId { ledger: id.ledger(), entry: id.entry() }
    }

    pub(super) fn to_wire(self) -> MessageId {
        MessageId { ledger: Some(self.ledger), entry: Some(self.entry), ..Default::default() }
    }

    /// Whether no entry can lie between the two.
    pub(crate) fn is_followed_by(self, other: EntryId) -> bool {
        self.ledger == other.ledger && self.entry.checked_add(1) == Some(other.entry)
    }

    /// Whether it names no entry: the answer of an empty topic.
    pub(super) fn is_none(self) -> bool {
        self.entry == u64::MAX
    }
}
