/*!
A place in a channel: what has been passed, and how reading goes on behind it.

Messages of a channel are sent in the order of their ticks, but their ids are not in that order. So a place is a tick, and beside
it where the server has to begin to look: the *last confirmed id* of a message, from which on it finds that message and
everything with a later tick, whole transactions included. That message's tick is kept, too: it is asked for again and
has to come first. If it does not, the log no longer reaches back so far.
*/

use super::message_id::MessageId;
use crate::domain::Position;

/// A place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// Everything with a tick up to this has been passed.
    pub(super) passed: u64,
    /// The tick of the message that has to come first.
    pub(super) witness: u64,
    /// Where the server begins to look for it.
    pub(super) start: MessageId,
}

impl Place {
    /// As a position: ordered by what has been passed. `None` for an id that cannot be kept, which reading never lets through.
    pub(super) fn position(&self) -> Option<Position> {
        Some(Position::pair(order(self.passed, self.witness), self.start.pack()?))
    }

    /// The reverse of [`Self::position`]; `None` for a position that reading cannot begin at.
    pub(super) fn of(position: Position) -> Option<Place> {
        let (passed, witness) = ((position.order() >> 64) as u64, position.order() as u64);
        Some(Place { passed, witness, start: MessageId::unpack(position.resume())? })
    }
}

/// A position that is behind every message up to a tick, to compare with: reading cannot begin there.
pub(super) fn behind(tick: u64) -> Position {
    Position::pair(order(tick, u64::MAX), 0)
}

fn order(passed: u64, witness: u64) -> u128 {
    u128::from(passed) << 64 | u128::from(witness)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::milvus::pb::wal::MessageID as WireId;

    #[test]
    fn positions_and_back() {
        let wire = WireId { id: "3g3hw38fqiqt".into(), WAL_name: 1, ..WireId::default() };
        let place = Place { passed: 9, witness: 7, start: MessageId::read(&wire).unwrap() };
        let position = place.position().unwrap();
        assert_eq!(Place::of(position.to_string().parse().unwrap()), Some(place.clone()));
        let later = Place { passed: 10, witness: 3, ..place };
        assert!(position < later.position().unwrap());
        assert!(position < behind(9) && behind(9) < later.position().unwrap());
        assert_eq!(Place::of(behind(9)), None);
    }
}
