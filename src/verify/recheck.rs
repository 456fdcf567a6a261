/*!
Decides which differences count. Comparing two servers, one of which lags behind the other, finds differences that are
merely in transit. So every differing row is rechecked after the task has passed the moment of the previous check: first
at the target, then at the source. If the source still has the contents of the previous check, it had them all the time;
the task has passed that time, so the target should have them, too. If the source has other contents, the row is being
written and is rechecked.

A row may have been written and written back between two checks of the source, and the target may show the contents in
between. So a difference is confirmed only if two consecutive rechecks show the same on both sides.

Row counts are judged in the same way.
*/

use std::collections::{BTreeMap, BTreeSet};

use super::report::{CountVerdict, RowKind};
use crate::scan::{Digest, Key};

/// The digests of the rows of one key; empty if there is no row.
pub(crate) type RowDigests = BTreeSet<Digest>;

/// Rows that differed when they were last checked, and what both sides showed then.
#[derive(Debug, Default)]
pub(super) struct Candidates(BTreeMap<Key, Observation>);

#[derive(Debug, Default)]
struct Observation {
    /// `None`: unknown.
    source: Option<RowDigests>,
    /// `None` unless the source was unchanged.
    target: Option<RowDigests>,
}

/// The result of a recheck.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Settled {
    pub(super) differ: Vec<(Key, RowKind)>,
}

impl Candidates {
    pub(super) fn add(&mut self, key: Key, source: Option<RowDigests>) {
        self.0.insert(key, Observation { source, target: None });
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn keys(&self) -> Vec<Key> {
        self.0.keys().cloned().collect()
    }

    /// Judges a recheck of the target and then of the source. Settled rows are removed.
    pub(super) fn judge(&mut self, target: &BTreeMap<Key, RowDigests>, source: &BTreeMap<Key, RowDigests>) -> Settled {
        let mut verdicts = Settled::default();
        let none = RowDigests::new();
        self.0.retain(|key, seen| {
            let (there, here) = (target.get(key).unwrap_or(&none), source.get(key).unwrap_or(&none));
            // A server may show any row of a duplicate key.
            if (there.is_empty() && here.is_empty()) || !there.is_disjoint(here) {
                return false;
            }
            let is_same_source = seen.source.as_ref() == Some(here);
            let is_same = is_same_source && seen.target.as_ref() == Some(there);
            if !is_same {
                *seen = Observation { source: Some(here.clone()), target: is_same_source.then(|| there.clone()) };
                return true;
            }
            let kind = match (there.is_empty(), here.is_empty()) {
                (true, _) => RowKind::Missing,
                (_, true) => RowKind::Extra,
                _ => RowKind::Different,
            };
            verdicts.differ.push((key.clone(), kind));
            false
        });
        verdicts
    }
}

/// The previous row counts, of the target and of the source.
#[derive(Debug, Default)]
pub(super) struct CountRechecks(Option<(u64, u64)>);

impl CountRechecks {
    /// Judges counts of the target and then of the source, made after the task has passed the moment of the previous
    /// ones. Unsettled: another recheck is needed.
    pub(super) fn judge(&mut self, target: Option<u64>, source: Option<u64>) -> CountVerdict {
        let (Some(target), Some(source)) = (target, source) else { return CountVerdict::Equal };
        let before = self.0.replace((target, source));
        match target == source {
            true => CountVerdict::Equal,
            false if before == self.0 => CountVerdict::Different,
            false => CountVerdict::Unsettled,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(digests: &[Digest]) -> BTreeMap<Key, RowDigests> {
        let shown: RowDigests = digests.iter().copied().collect();
        BTreeMap::from([(Key::Int(1), shown)])
    }

    fn candidates(at_source: &[Digest]) -> Candidates {
        let mut candidates = Candidates::default();
        candidates.add(Key::Int(1), Some(at_source.iter().copied().collect()));
        candidates
    }

    #[test]
    fn what_counts() {
        let judge = |before: &[Digest], target: &[Digest], source: &[Digest]| {
            let mut candidates = candidates(before);
            let first = candidates.judge(&shown(target), &shown(source));
            assert_eq!(first, Settled::default(), "never at once");
            let verdicts = candidates.judge(&shown(target), &shown(source));
            (verdicts.differ.first().map(|(_, kind)| *kind), candidates.len())
        };
        assert_eq!(judge(&[1], &[], &[1]), (Some(RowKind::Missing), 0));
        assert_eq!(judge(&[], &[1], &[]), (Some(RowKind::Extra), 0));
        assert_eq!(judge(&[1], &[2], &[1]), (Some(RowKind::Different), 0));
        assert_eq!(judge(&[1], &[1], &[1]), (None, 0), "it has arrived");
        assert_eq!(judge(&[1], &[1], &[2]), (None, 1), "it is being written");
        assert_eq!(judge(&[1], &[3], &[2]), (None, 1), "it was");
        assert_eq!(judge(&[1], &[], &[]), (None, 0), "it has gone");
        assert_eq!(judge(&[1, 2], &[2], &[1, 2]), (None, 0), "one of two rows of a key");
    }

    /// The verdicts on these consecutive counts of the target and the source.
    fn counted(rechecks: &[(u64, u64)]) -> Vec<CountVerdict> {
        let mut seen = CountRechecks::default();
        rechecks.iter().map(|&(target, source)| seen.judge(Some(target), Some(source))).collect()
    }

    #[test]
    fn counts_differ_when_two_rechecks_show_the_same() {
        use CountVerdict::{Different, Equal, Unsettled};
        // Rows are inserted all the time: the source always has a few more.
        assert_eq!(counted(&[(10, 12), (12, 14), (14, 15), (15, 19), (19, 20)]), [Unsettled; 5]);
        // One side that happens to stand still proves nothing.
        assert_eq!(counted(&[(10, 12), (11, 12), (12, 13), (12, 14)]), [Unsettled; 4]);
        assert_eq!(counted(&[(12, 10), (12, 10)]), [Unsettled, Different], "keys that are there more than once");
        assert_eq!(
            counted(&[(10, 12), (12, 13), (12, 13)]),
            [Unsettled, Unsettled, Different],
            "once the writes have ended"
        );
        assert_eq!(counted(&[(10, 12), (12, 12)]), [Unsettled, Equal]);
        assert_eq!(CountRechecks::default().judge(Some(1), None), Equal, "not known");
    }

    proptest! {
        /// The source is written and the target follows with a delay: no difference is confirmed. If the target loses
        /// the last write, the difference is confirmed once the writes have ended.
        #[test]
        fn a_target_that_follows_never_differs(
            writes in prop::collection::vec(any::<bool>(), 1..20),
            rechecks in prop::collection::vec((0usize..4, 0usize..3), 1..30),
            loses in any::<bool>(),
        ) {
            // At time t the source has been written to as often as `writes` says up to there, with another version
            // each time.
            let at = |time: usize| writes.iter().take(time).filter(|written| **written).count() as u64;
            let digests = |version: u64| vec![version];
            let lost = |version: u64| if loses { 99 } else { version };
            let mut time = 0;
            let mut candidates = candidates(&digests(at(0)));
            let mut counted = 0;
            for (ahead, delay) in rechecks.into_iter().chain([(20, 0); 4]) {
                // The task passes the time of the look before, plus a little; the target shows some version from
                // there on.
                time += ahead;
                let target = lost(at(time));
                time += delay;
                counted += candidates.judge(&shown(&digests(target)), &shown(&digests(at(time)))).differ.len();
            }
            prop_assert_eq!(counted, usize::from(loses));
        }
    }
}
