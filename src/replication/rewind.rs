//! Reading a channel again, from further back or behind a gap.

use std::collections::BTreeMap;

use super::applied_marks::AppliedMarks;
use crate::domain::CollectionId;
use crate::source::Start;

/// Where a channel is to be read again for one collection.
#[derive(Debug, Clone)]
pub(super) struct ReadAgain {
    pub(super) start: Start,
    /// What of the collection is there already.
    pub(super) applied: AppliedMarks,
}

/// Reading a channel again.
#[derive(Debug, Clone)]
pub(super) struct Rewind {
    /// From where, at the latest.
    pub(super) start: Start,
    /// For these collections, of each of which no more counts as applied than this.
    pub(super) replaying: BTreeMap<CollectionId, AppliedMarks>,
    pub(super) direction: Direction,
}

/// Where a rewind goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    /// To the earlier of the rewind's start and the place that was reached.
    Back,
    /// To the rewind's start even if that is further on: the log has lost what lies before it.
    Jump,
}

impl ReadAgain {
    /// The rewind that it takes.
    pub(super) fn rewind(self, id: CollectionId) -> Rewind {
        Rewind { start: self.start, replaying: BTreeMap::from([(id, self.applied)]), direction: Direction::Back }
    }
}

impl Rewind {
    /// One that does for both.
    pub(super) fn and(mut self, later: Rewind) -> Rewind {
        let jumps = later.direction == Direction::Jump;
        self.start = if jumps { later.start } else { earliest(self.start, later.start) };
        if jumps {
            self.direction = Direction::Jump;
        }
        self.replaying.extend(later.replaying);
        self
    }
}

/// Where a reading begins, and what was applied before it.
pub(super) struct ReadingPlace {
    pub(super) acked: Start,
    pub(super) high_water_mark: AppliedMarks,
    pub(super) replaying: BTreeMap<CollectionId, AppliedMarks>,
}

impl ReadingPlace {
    pub(super) fn rewound(self, rewind: &Rewind) -> ReadingPlace {
        let acked = match rewind.direction {
            Direction::Jump => rewind.start,
            Direction::Back => earliest(rewind.start, self.acked),
        };
        let mut replaying = self.replaying;
        replaying.extend(rewind.replaying.clone());
        ReadingPlace { acked, high_water_mark: self.high_water_mark, replaying }
    }
}

/// The start that misses nothing of either.
fn earliest(a: Start, b: Start) -> Start {
    let position = match (a.position, b.position) {
        (Some(a), Some(b)) => Some(a.min(b)),
        _ => None,
    };
    Start { position, after: a.after.min(b.after) }
}
