/*!
Finds the message that a collection begins with. A channel may hold gigabytes; its ticks are in order of time, so the
search bisects over message ids and reads on from there.
*/

use rocksdb::DBRawIterator;

use super::keys;
use crate::domain::{Channel, Position, Timestamp};
use crate::source::decode::msgstream::Glance;
use crate::source::decode::queue_message::glance;
use crate::source::log::{COLLECTION_START_MARGIN, StartQuery};

/// The bisection ends when this few ids are left.
const NEAR: u64 = 64;

/// A position certainly before every message of a collection created at this time. `None` for an empty channel.
pub(super) fn search_from(iterator: &mut DBRawIterator<'_>, channel: &Channel, created: Timestamp) -> Option<Position> {
    iterator.seek(keys::before_first(channel));
    let mut low = position(iterator, channel)?.number();
    iterator.seek_for_prev(keys::after_last(channel));
    let mut high = position(iterator, channel)?.number();
    let early = created.minus(COLLECTION_START_MARGIN);
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

/// The collection's `CreateCollection` at or behind `from`.
pub(super) fn find(
    iterator: &mut DBRawIterator<'_>,
    channel: &Channel,
    from: Position,
    query: &StartQuery<'_>,
) -> Option<Position> {
    let late = query.created.plus(COLLECTION_START_MARGIN);
    iterator.seek(keys::of(channel, from));
    while let Some((position, message)) = message(iterator, channel) {
        match message {
            Glance::CreateCollection(id) if id == query.collection => return Some(position),
            Glance::Tick { time, .. } if time > late => return None,
            _ => iterator.next(),
        }
    }
    None
}

fn tick_after(iterator: &mut DBRawIterator<'_>, channel: &Channel, from: Position) -> Option<Timestamp> {
    iterator.seek(keys::of(channel, from));
    while let Some((_, message)) = message(iterator, channel) {
        if let Glance::Tick { time, .. } = message {
            return Some(time);
        }
        iterator.next();
    }
    None
}

fn position(iterator: &DBRawIterator<'_>, channel: &Channel) -> Option<Position> {
    keys::position(channel, iterator.key()?)
}

/// The message under the iterator, if it belongs to the channel.
pub(super) fn message(iterator: &DBRawIterator<'_>, channel: &Channel) -> Option<(Position, Glance)> {
    let (key, value) = iterator.item()?;
    let position = keys::position(channel, key)?;
    Some((position, glance(position, value)))
}
