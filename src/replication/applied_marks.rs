/*!
What of a channel was applied before its current reading began: the union of what earlier readings have completed.

One mark is not enough. A reading that has come past the place of an earlier mark may have completed less than that one
(half an upsert of a collection that is read again waits), so neither covers the other, and both count.
*/

use crate::domain::{Position, Timestamp};
use crate::pipeline::AppliedMark;

/// A union of marks, none of which covers another.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct AppliedMarks(Vec<AppliedMark>);

impl AppliedMarks {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a message has been applied.
    pub(super) fn covers(&self, position: Position, ts: Timestamp) -> bool {
        self.0.iter().any(|mark| mark.covers(position, ts))
    }

    pub(super) fn add(&mut self, mark: AppliedMark) {
        if mark != AppliedMark::NOTHING && !self.0.iter().any(|earlier| includes(*earlier, mark)) {
            self.0.retain(|earlier| !includes(mark, *earlier));
            self.0.push(mark);
        }
    }

    /// Whether a reading that has completed `mark` needs none of these any more. (Marks without a tick's place are from
    /// files of earlier versions; there their timestamps alone count.)
    pub(super) fn are_reached_by(&self, mark: AppliedMark) -> bool {
        self.0.iter().all(|earlier| earlier.ts <= mark.ts && earlier.tick <= mark.tick)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = AppliedMark> {
        self.0.iter().copied()
    }
}

impl FromIterator<AppliedMark> for AppliedMarks {
    fn from_iter<T: IntoIterator<Item = AppliedMark>>(marks: T) -> Self {
        let mut union = AppliedMarks::default();
        marks.into_iter().for_each(|mark| union.add(mark));
        union
    }
}

/// Whether `mark` covers every message that `other` covers.
fn includes(mark: AppliedMark, other: AppliedMark) -> bool {
    let stands_later = match (mark.tick, other.tick) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(tick), Some(other)) => other <= tick,
    };
    other.ts <= mark.ts && stands_later
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(ts: u64, tick: u64) -> AppliedMark {
        AppliedMark { ts: Timestamp(ts), tick: Some(Position::at(tick)) }
    }

    #[test]
    fn what_either_reading_has_completed_is_applied() {
        let mut applied: AppliedMarks =
            [AppliedMark::NOTHING, mark(50, 5), mark(100, 10), mark(80, 9)].into_iter().collect();
        assert_eq!(applied.iter().collect::<Vec<_>>(), [mark(100, 10)]);
        applied.add(mark(49, 20));
        let covers = |ts, position| applied.covers(Position::at(position), Timestamp(ts));
        assert!(covers(100, 10) && covers(49, 20) && !covers(50, 11) && !covers(101, 10));
        assert!(!applied.are_reached_by(mark(100, 19)) && !applied.are_reached_by(mark(99, 20)));
        assert!(applied.are_reached_by(mark(100, 20)));
        applied.add(AppliedMark { ts: Timestamp(49), tick: None });
        assert_eq!(applied.iter().count(), 2, "no place is later than every place");
        assert!(AppliedMarks::default().are_reached_by(AppliedMark::NOTHING));
    }
}
