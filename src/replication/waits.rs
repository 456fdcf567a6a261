//! Collections that wait: none of their rows follows the source's, so the task's lag is theirs.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::{CollectionId, Timestamp};

/// Since when each of them waits.
#[derive(Debug, Default)]
pub(super) struct Waits(BTreeMap<CollectionId, Timestamp>);

impl Waits {
    /// These wait now. Answers since when the first of them does.
    pub(super) fn update(&mut self, waiting: &BTreeSet<CollectionId>, now: Timestamp) -> Option<Timestamp> {
        self.0.retain(|id, _| waiting.contains(id));
        for id in waiting {
            self.0.entry(*id).or_insert(now);
        }
        self.0.values().min().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_that_waits_for_longest_counts() {
        let (mut waits, [a, b]) = (Waits::default(), [1, 2].map(CollectionId));
        assert_eq!(waits.update(&BTreeSet::new(), Timestamp(1)), None);
        assert_eq!(waits.update(&[a].into(), Timestamp(2)), Some(Timestamp(2)));
        assert_eq!(waits.update(&[a, b].into(), Timestamp(3)), Some(Timestamp(2)));
        assert_eq!(waits.update(&[b].into(), Timestamp(4)), Some(Timestamp(3)), "one after the other is no long wait");
        assert_eq!(waits.update(&[a, b].into(), Timestamp(5)), Some(Timestamp(3)));
        assert_eq!(waits.update(&BTreeSet::new(), Timestamp(6)), None);
    }
}
