/*!
Which differences count. One look at two servers, one of which follows the other, finds differences that are only under way. So every
row that differs is looked at again after the task has passed the moment of the look before: at the target first, then at the
source. If the source still shows what it showed before, it has shown it all the time, the task has passed that time, and the target had to
show it, too. If it shows something else, the row is being written, and is looked at again.

A row may have been written and written back between two looks at the source, and the target may show what was in between. So a difference counts
when two such looks in a row have shown the same on both sides.

The numbers of rows of both sides go the same way.
*/

use std::collections::{BTreeMap, BTreeSet};

use super::report::{CountVerdict, RowKind};
use crate::scan::{Digest, Key};

/// The digests of the rows of one key; empty: no row.
pub(super) type Shown = BTreeSet<Digest>;

/// Rows that differed when they were looked at last, and what both sides showed then.
#[derive(Debug, Default)]
pub(super) struct Suspects(BTreeMap<Key, Seen>);

#[derive(Debug, Default)]
struct Seen {
    /// `None`: not known.
    source: Option<Shown>,
    /// When the source was unchanged; else `None`.
    target: Option<Shown>,
}

/// What another look has shown.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Verdicts {
    pub(super) differ: Vec<(Key, RowKind)>,
}

impl Suspects {
    pub(super) fn add(&mut self, key: Key, source: Option<Shown>) {
        self.0.insert(key, Seen { source, target: None });
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

    /// Another look: the target's, then the source's. Those that are settled go.
    pub(super) fn judge(&mut self, target: &BTreeMap<Key, Shown>, source: &BTreeMap<Key, Shown>) -> Verdicts {
        let mut verdicts = Verdicts::default();
        let none = Shown::new();
        self.0.retain(|key, seen| {
            let (there, here) = (target.get(key).unwrap_or(&none), source.get(key).unwrap_or(&none));
            // Of a key that is there more than once a server may show any row.
            if (there.is_empty() && here.is_empty()) || !there.is_disjoint(here) {
                return false;
            }
            let is_same_source = seen.source.as_ref() == Some(here);
            let is_same = is_same_source && seen.target.as_ref() == Some(there);
            if !is_same {
                *seen = Seen { source: Some(here.clone()), target: is_same_source.then(|| there.clone()) };
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

/// What the last look at the numbers of rows has shown, the target's and the source's.
#[derive(Debug, Default)]
pub(super) struct CountLooks(Option<(u64, u64)>);

impl CountLooks {
    /// Another look, after the task has passed the moment of the one before: the target's, then the source's. Unsettled: one more is
    /// needed.
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

    fn shown(digests: &[Digest]) -> BTreeMap<Key, Shown> {
        let shown: Shown = digests.iter().copied().collect();
        BTreeMap::from([(Key::Int(1), shown)])
    }

    fn suspects(at_source: &[Digest]) -> Suspects {
        let mut suspects = Suspects::default();
        suspects.add(Key::Int(1), Some(at_source.iter().copied().collect()));
        suspects
    }

    #[test]
    fn what_counts() {
        let judge = |before: &[Digest], target: &[Digest], source: &[Digest]| {
            let mut suspects = suspects(before);
            let first = suspects.judge(&shown(target), &shown(source));
            assert_eq!(first, Verdicts::default(), "never at once");
            let verdicts = suspects.judge(&shown(target), &shown(source));
            (verdicts.differ.first().map(|(_, kind)| *kind), suspects.len())
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

    /// What looks at these counts, the target's and the source's, say one after the other.
    fn counted(looks: &[(u64, u64)]) -> Vec<CountVerdict> {
        let mut seen = CountLooks::default();
        looks.iter().map(|&(target, source)| seen.judge(Some(target), Some(source))).collect()
    }

    #[test]
    fn counts_differ_when_two_looks_show_the_same() {
        use CountVerdict::{Different, Equal, Unsettled};
        // Rows come all the time: the source has always a few more.
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
        assert_eq!(CountLooks::default().judge(Some(1), None), Equal, "not known");
    }

    proptest! {
        /// A source that is written to, and a target that follows it with a delay: no difference ever counts. One that loses the
        /// last write: it counts once the writes have ended.
        #[test]
        fn a_target_that_follows_never_differs(
            writes in prop::collection::vec(any::<bool>(), 1..20),
            looks in prop::collection::vec((0usize..4, 0usize..3), 1..30),
            loses in any::<bool>(),
        ) {
            // At time t the source has been written to as often as `writes` says up to there, with another version each time.
            let at = |time: usize| writes.iter().take(time).filter(|written| **written).count() as u64;
            let digests = |version: u64| vec![version];
            let lost = |version: u64| if loses { 99 } else { version };
            let mut time = 0;
            let mut suspects = suspects(&digests(at(0)));
            let mut counted = 0;
            for (ahead, delay) in looks.into_iter().chain([(20, 0); 4]) {
                // The task passes the time of the look before, plus a little; the target shows some version from there on.
                time += ahead;
                let target = lost(at(time));
                time += delay;
                counted += suspects.judge(&shown(&digests(target)), &shown(&digests(at(time)))).differ.len();
            }
            prop_assert_eq!(counted, usize::from(loses));
        }
    }
}
