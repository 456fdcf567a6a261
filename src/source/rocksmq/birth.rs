/*!
Finding the message that a collection begins with. A channel may hold gigabytes; its ticks are in order of time, so
the place is found by bisecting over message ids and reading on from there.
*/

use rocksdb::DBRawIterator;

use super::keys;
use crate::domain::{Channel, CollectionId, Position, Timestamp};
use crate::source::log::BIRTH_MARGIN;
use crate::source::message::{Glance, glance};

/// Bisecting ends when so few ids are left.
const NEAR: u64 = 64;

/// A position surely before everything of a collection made at `created`: the search starts there. `None` for an empty channel.
pub(super) fn search_from(iterator: &mut DBRawIterator<'_>, channel: &Channel, created: Timestamp) -> Option<Position> {
    iterator.seek(keys::before_first(channel));
    let mut low = position(iterator, channel)?.number();
    iterator.seek_for_prev(keys::after_last(channel));
    let mut high = position(iterator, channel)?.number();
    let early = created.minus(BIRTH_MARGIN);
    while high - low > NEAR {
        let middle = low + (high - low) / 2;
        if tick_after(iterator, channel, Position::at(middle)).is_some_and(|tick| tick < early) {
            low = middle;
        } else {
            high = middle;
        }
    }
    Some(Position::at(low))
}

/// The `CreateCollection` of `collection` at or behind `from`.
pub(super) fn find(
    iterator: &mut DBRawIterator<'_>,
    channel: &Channel,
    from: Position,
    collection: CollectionId,
    created: Timestamp,
) -> Option<Position> {
    let late = created.plus(BIRTH_MARGIN);
    iterator.seek(keys::of(channel, from));
    while let Some((position, message)) = message(iterator, channel) {
        match message {
            Glance::CreateCollection(id) if id == collection => return Some(position),
            Glance::Tick(tick) if tick > late => return None,
            _ => iterator.next(),
        }
    }
    None
}

fn tick_after(iterator: &mut DBRawIterator<'_>, channel: &Channel, from: Position) -> Option<Timestamp> {
    iterator.seek(keys::of(channel, from));
    while let Some((_, message)) = message(iterator, channel) {
        if let Glance::Tick(tick) = message {
            return Some(tick);
        }
        iterator.next();
    }
    None
}

fn position(iterator: &DBRawIterator<'_>, channel: &Channel) -> Option<Position> {
    keys::position(channel, iterator.key()?)
}

/// The message under the iterator, when it is one of the channel.
pub(super) fn message(iterator: &DBRawIterator<'_>, channel: &Channel) -> Option<(Position, Glance)> {
    let (key, value) = iterator.item()?;
    Some((keys::position(channel, key)?, glance(value)))
}
