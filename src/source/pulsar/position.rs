//! Entries of Pulsar's topics as positions, and their bodies as messages of a queue.

use super::client::{EntryBody, EntryId};
use crate::domain::Position;
use crate::source::decode::queue_message::QueueMessage;
use crate::source::decode::wal_message_id::Queue;

/// The entry that a position lies in.
pub(super) fn entry_of(position: Position) -> EntryId {
    let (ledger, entry, _) = position.ledger_entry_index();
    EntryId { ledger, entry }
}

/// The position of a message of an entry: `index` is its place in the entry's batch.
pub(super) fn position_of(id: EntryId, index: u16) -> Position {
    Position::in_ledger(id.ledger, id.entry, index)
}

/// A body as a message of the queue.
pub(super) fn message(position: Position, body: &EntryBody) -> QueueMessage {
    let properties = body.properties.iter().map(|property| (property.key(), property.value().as_bytes()));
    QueueMessage::with_properties(position, properties, body.payload.clone(), Queue::Pulsar)
}
