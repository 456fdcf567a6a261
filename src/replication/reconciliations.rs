/*!
Replicating a source that has no log: each collection's rows are compared again and again with what the last rescan
has left on the target, which a file of the task's holds as keys and digests (`copies/<id>.rows`).

There are no channels and no ticks. A rescan is a backfill that compares with that file, so it goes the way of
backfills: the same threads, the same waiting for what is not loaded, the same going on after a restart. The lag is
the age of the oldest collection's last complete rescan: everything acknowledged at the source before that one began
is on the target.
*/

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::domain::{CollectionId, Timestamp};

/// When each collection was scanned, and is scanned next.
#[derive(Debug)]
pub(super) struct Reconciliations {
    interval: Duration,
    collections: BTreeMap<CollectionId, Rescan>,
}

#[derive(Debug, Clone, Copy)]
struct Rescan {
    /// Everything acknowledged at the source before is on the target; `None` before the first rescan of this run.
    began: Option<Timestamp>,
    /// The next rescan, whatever the look shows.
    due: Instant,
    /// The next look at the number of rows: one that has changed starts a rescan early.
    look: Instant,
    count: Option<u64>,
}

/// Whether a collection is scanned now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    Now,
    /// If the source does not count this many rows any more.
    UnlessCount(u64),
    Later,
}

/// Looks at the number of rows between two rescans.
const LOOKS: u32 = 5;
/// Not more often than this.
const SHORTEST_LOOK: Duration = Duration::from_secs(1);

impl Reconciliations {
    pub(super) fn every(interval: Duration) -> Reconciliations {
        Reconciliations { interval, collections: BTreeMap::new() }
    }

    /// A rescan is complete.
    pub(super) fn done(&mut self, id: CollectionId, began: Timestamp, count: Option<u64>, now: Instant) {
        let took = Duration::from_millis(Timestamp::now().physical_ms().saturating_sub(began.physical_ms()));
        let due = now + self.interval.saturating_sub(took);
        let rescan = Rescan { began: Some(began), due, look: self.next_look(now), count };
        self.collections.insert(id, rescan);
    }

    pub(super) fn forget(&mut self, id: CollectionId) {
        self.collections.remove(&id);
    }

    fn next_look(&self, now: Instant) -> Instant {
        now + (self.interval / LOOKS).max(SHORTEST_LOOK)
    }

    /// Whether a collection is to be scanned now.
    pub(super) fn due(&mut self, id: CollectionId, now: Instant) -> Due {
        let fresh = Rescan { began: None, due: now, look: now, count: None };
        let look = self.next_look(now);
        let rescan = self.collections.entry(id).or_insert(fresh);
        if now >= rescan.due {
            return Due::Now;
        }
        match rescan.count {
            Some(count) if now >= rescan.look => {
                rescan.look = look;
                Due::UnlessCount(count)
            }
            _ => Due::Later,
        }
    }

    /// How far the target is behind in these collections: the age of the oldest last rescan. `None` while one has had
    /// none in this run.
    pub(super) fn lag(&self, mut collections: impl Iterator<Item = CollectionId>) -> Option<Duration> {
        let now = Timestamp::now().physical_ms();
        let oldest = collections
            .try_fold(now, |oldest, id| Some(oldest.min(self.collections.get(&id)?.began?.physical_ms())))?;
        Some(Duration::from_millis(now - oldest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rescans_and_looks_between_them() {
        let mut reconciliations = Reconciliations::every(Duration::from_secs(10));
        let (id, start) = (CollectionId(1), Instant::now());
        assert_eq!(reconciliations.due(id, start), Due::Now, "never scanned in this run");
        reconciliations.done(id, Timestamp::now(), Some(7), start);
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        assert_eq!(reconciliations.due(id, at(1)), Due::Later);
        assert_eq!(reconciliations.due(id, at(3)), Due::UnlessCount(7), "a look");
        assert_eq!(reconciliations.due(id, at(3)), Due::Later, "one at a time");
        assert_eq!(reconciliations.due(id, at(11)), Due::Now, "the comparison comes whatever looks have shown");
        assert_eq!(reconciliations.lag(std::iter::empty()), Some(Duration::ZERO));
        assert_eq!(reconciliations.lag([CollectionId(2)].into_iter()), None, "never scanned in this run");
    }
}
