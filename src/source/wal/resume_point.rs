/*!
Where reading a channel resumes.

The server sends a channel's messages in the order of their ticks, but their ids are not in that order. So a resume
point is a tick, and beside it where the server has to begin its search: the *last confirmed id* of a message, from
which on it finds that message and everything with a later tick, whole transactions included. That message's tick (the
witness) is stored, too: it is asked for again and has to come first. If it does not, the log no longer reaches back
that far.
*/

use crate::domain::Position;
use crate::source::decode::wal_message_id::WalMessageId;

/// A resume point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ResumePoint {
    /// Everything with a tick up to this has been passed.
    pub(super) passed: u64,
    /// The tick of the message that has to come first.
    pub(super) witness: u64,
    /// Where the server begins to search for it.
    pub(super) start: WalMessageId,
}

impl ResumePoint {
    /// As a position, ordered by what has been passed. `None` for an id that cannot be stored; decoding refuses those.
    pub(super) fn position(&self) -> Option<Position> {
        Some(Position::pair(order(self.passed, self.witness), self.start.pack()?))
    }

    /// The reverse of [`Self::position`]; `None` for a position that reading cannot begin at.
    pub(super) fn of(position: Position) -> Option<ResumePoint> {
        let (passed, witness) = ((position.order() >> 64) as u64, position.order() as u64);
        Some(ResumePoint { passed, witness, start: WalMessageId::unpack(position.resume())? })
    }
}

/// A position behind every message up to a tick. For comparisons: reading cannot begin there.
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
        let place = ResumePoint { passed: 9, witness: 7, start: WalMessageId::read(&wire).unwrap() };
        let position = place.position().unwrap();
        assert_eq!(ResumePoint::of(position.to_string().parse().unwrap()), Some(place.clone()));
        let later = ResumePoint { passed: 10, witness: 3, ..place };
        assert!(position < later.position().unwrap());
        assert!(position < behind(9) && behind(9) < later.position().unwrap());
        assert_eq!(ResumePoint::of(behind(9)), None);
    }
}
