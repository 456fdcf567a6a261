/*!
Which collections are due to be described, one after the other.

It finds what no listing and no hint shows (aliases, properties), and bounds how long the loss of a hint goes
unnoticed. Two cursors go round: a quick one, for which the description alone is asked, and a slow one, for which
everything of a collection is compared. Each has its own pace, so the number of collections decides nothing but how
fast they go: with one cursor whose every n-th step is the thorough one, some numbers leave collections out for ever.
*/

use std::collections::BTreeMap;
use std::ops::Bound;
use std::time::{Duration, Instant};

use crate::domain::{CollectionId, CollectionName};

/// In this time every collection is described once.
const PERIOD: Duration = Duration::from_millis(1200);
/// With thousands of collections the period grows, so that the source is not kept busy.
const MAX_PER_SECOND: f64 = 125.0;
/// In this time every collection is compared as a whole once, whatever its description says: less than a minute, so
/// that a minute holds with what a round itself takes.
const WHOLE_PERIOD: Duration = Duration::from_secs(50);
/// The same for whole comparisons, which are five calls or so each: a minute suffices for 1,500 collections.
const MAX_WHOLE_PER_SECOND: f64 = 30.0;

/// How much of a collection is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum DescribeDepth {
    /// Everything, if its description has changed.
    IfChanged,
    /// Everything.
    Whole,
}

/// A collection whose turn it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DueDescribe {
    pub(super) id: CollectionId,
    pub(super) depth: DescribeDepth,
}

/// The cursors that go round all collections.
pub(super) struct PeriodicDescribe {
    quick: DescribeCursor,
    whole: DescribeCursor,
    /// When the turns were last counted.
    counted: Instant,
}

/// Goes round all collections at a pace.
struct DescribeCursor {
    depth: DescribeDepth,
    period: Duration,
    max_per_second: f64,
    /// The collection whose turn was last.
    at: Option<CollectionId>,
    /// Turns that are due, fractions included.
    due: f64,
}

impl DescribeCursor {
    fn new(depth: DescribeDepth, period: Duration, max_per_second: f64) -> DescribeCursor {
        DescribeCursor { depth, period, max_per_second, at: None, due: 0.0 }
    }

    /// How many of `count` collections have their turn in a second.
    fn per_second(&self, count: usize) -> f64 {
        (count as f64 / self.period.as_secs_f64()).min(self.max_per_second)
    }

    fn due(&mut self, listed: &BTreeMap<CollectionId, CollectionName>, elapsed: Duration) -> Vec<DueDescribe> {
        let count = listed.len();
        self.due += self.per_second(count) * elapsed.as_secs_f64();
        self.due = self.due.min(count as f64);
        let mut due = Vec::new();
        while self.due >= 1.0 {
            self.due -= 1.0;
            let behind = self.at.and_then(|at| listed.range((Bound::Excluded(at), Bound::Unbounded)).next());
            let Some((&id, _)) = behind.or_else(|| listed.iter().next()) else { break };
            self.at = Some(id);
            due.push(DueDescribe { id, depth: self.depth });
        }
        due
    }
}

impl PeriodicDescribe {
    pub(super) fn new(now: Instant) -> PeriodicDescribe {
        PeriodicDescribe {
            quick: DescribeCursor::new(DescribeDepth::IfChanged, PERIOD, MAX_PER_SECOND),
            whole: DescribeCursor::new(DescribeDepth::Whole, WHOLE_PERIOD, MAX_WHOLE_PER_SECOND),
            counted: now,
        }
    }

    /// The collections whose turn it is now.
    pub(super) fn due(&mut self, listed: &BTreeMap<CollectionId, CollectionName>, now: Instant) -> Vec<DueDescribe> {
        let elapsed = now.saturating_duration_since(self.counted);
        self.counted = now;
        let whole = self.whole.due(listed, elapsed);
        let is_whole = |id| whole.iter().any(|due| due.id == id);
        let mut due = self.quick.due(listed, elapsed);
        due.retain(|quick| !is_whole(quick.id));
        due.extend(whole);
        due
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn collections(ids: impl IntoIterator<Item = i64>) -> BTreeMap<CollectionId, CollectionName> {
        let name = |id: i64| (CollectionId(id), CollectionName::new("default", id.to_string()));
        ids.into_iter().map(name).collect()
    }

    fn ids(due: &[DueDescribe], depth: DescribeDepth) -> Vec<i64> {
        due.iter().filter(|due| due.depth == depth).map(|due| due.id.0).collect()
    }

    #[test]
    fn a_hundred_in_a_second_or_so_and_thousands_without_haste() {
        let quick = PeriodicDescribe::new(Instant::now()).quick;
        let period = |count: usize| count as f64 / quick.per_second(count);
        assert!((period(1) - 1.2).abs() < 0.01 && (period(100) - 1.2).abs() < 0.01);
        assert!((period(1000) - 8.0).abs() < 0.01 && (period(10_000) - 80.0).abs() < 0.01);
    }

    #[test]
    fn each_in_turn() {
        let (start, mut listed) = (Instant::now(), collections(1..=3));
        let mut periodic = PeriodicDescribe::new(start);
        assert_eq!(ids(&periodic.due(&listed, start + PERIOD), DescribeDepth::IfChanged), [1, 2, 3]);
        listed.remove(&CollectionId(1));
        assert_eq!(ids(&periodic.due(&listed, start + 2 * PERIOD), DescribeDepth::IfChanged), [2, 3]);
        assert!(periodic.due(&BTreeMap::new(), start + 3 * PERIOD).is_empty());
    }

    proptest! {
        /// However many there are, and however unevenly the rounds come: a minute of rounds meets each of them.
        #[test]
        fn every_collection_is_compared_as_a_whole_within_a_minute(
            count in 1_usize..=200,
            pauses in prop::collection::vec(400_u64..3_000, 1..20),
            skipped in 0_usize..200,
        ) {
            let (start, listed) = (Instant::now(), collections((0..count as i64).map(|id| id * 7 + 1)));
            let (mut periodic, mut now, mut pauses) = (PeriodicDescribe::new(start), start, pauses.iter().cycle());
            let mut next = |now: &mut Instant| {
                *now += Duration::from_millis(pauses.next().copied().unwrap_or(500));
                ids(&periodic.due(&listed, *now), DescribeDepth::Whole)
            };
            // A minute that begins anywhere.
            for _ in 0..skipped {
                next(&mut now);
            }
            let (began, mut met) = (now, std::collections::BTreeSet::new());
            while now.duration_since(began) < Duration::from_secs(60) - Duration::from_secs(3) {
                met.extend(next(&mut now));
            }
            prop_assert_eq!(met.len(), count);
        }
    }
}
