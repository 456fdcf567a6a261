/*!
What is kept of backfills that begin again, or whose collection is gone. It is forgotten only once the checkpoint says
so: after a crash in between, an older checkpoint would begin a copy that had come far, and insert all rows a second
time. And none of them starts before it is forgotten, or it would go on where the earlier one was.
*/

use std::collections::BTreeMap;

use super::effect::OnceSaved;
use crate::domain::CollectionId;

/// Collections of whose backfills something is to be forgotten.
#[derive(Debug, Default)]
pub(super) struct StaleProgress {
    /// No write of the checkpoint forgets it yet.
    new: BTreeMap<CollectionId, StaleFiles>,
    /// A write that is under way, or that has failed, forgets it; and so does every further one until one succeeds.
    with_next: BTreeMap<CollectionId, StaleFiles>,
}

/// What is to be forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum StaleFiles {
    /// How far it has come.
    Progress,
    /// All files.
    Files,
}

impl StaleProgress {
    /// How far the collection's backfill has come is to be forgotten.
    pub(super) fn add(&mut self, id: CollectionId) {
        self.new.entry(id).or_insert(StaleFiles::Progress);
    }

    /// All that is kept of the collection's backfills is to be forgotten.
    pub(super) fn add_files(&mut self, id: CollectionId) {
        self.new.insert(id, StaleFiles::Files);
    }

    pub(super) fn contains(&self, id: CollectionId) -> bool {
        self.new.contains_key(&id) || self.with_next.contains_key(&id)
    }

    /// Whether a write of the checkpoint is needed.
    pub(super) fn is_new(&self) -> bool {
        !self.new.is_empty()
    }

    /// The checkpoint is written. Answers what is forgotten once it is.
    pub(super) fn forget_with_this(&mut self) -> impl Iterator<Item = OnceSaved> {
        for (id, leftover) in std::mem::take(&mut self.new) {
            let with_next = self.with_next.entry(id).or_insert(leftover);
            *with_next = leftover.max(*with_next);
        }
        self.with_next.iter().map(|(&id, leftover)| match leftover {
            StaleFiles::Progress => OnceSaved::ForgetBackfillProgress(id),
            StaleFiles::Files => OnceSaved::ForgetBackfillFiles(id),
        })
    }

    /// The last write has succeeded.
    pub(super) fn on_saved(&mut self) {
        self.with_next.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The collections of which all files are forgotten with a write, and those of which only the progress is.
    fn forgotten(stale: &mut StaleProgress) -> [Vec<CollectionId>; 2] {
        let (mut files, mut progress) = (Vec::new(), Vec::new());
        for once in stale.forget_with_this() {
            match once {
                OnceSaved::ForgetBackfillFiles(id) => files.push(id),
                OnceSaved::ForgetBackfillProgress(id) => progress.push(id),
                other => panic!("{other:?}"),
            }
        }
        [files, progress]
    }

    #[test]
    fn it_is_forgotten_with_every_write_until_one_succeeds() {
        let [first, second] = [1, 2].map(CollectionId);
        let mut stale = StaleProgress::default();
        stale.add(first);
        assert!(stale.is_new() && stale.contains(first));
        for _ in 0..2 {
            assert_eq!(forgotten(&mut stale), [vec![], vec![first]]);
            assert!(!stale.is_new() && stale.contains(first));
        }
        stale.add(second);
        stale.on_saved();
        assert!(!stale.contains(first) && stale.contains(second), "it came after that write");
        assert_eq!(forgotten(&mut stale), [vec![], vec![second]]);
        stale.add_files(second);
        stale.add(second);
        assert_eq!(forgotten(&mut stale), [vec![second], vec![]], "what is more counts");
        stale.add(second);
        assert_eq!(forgotten(&mut stale), [vec![second], vec![]], "until it has succeeded");
    }
}
