/*!
What deleted tasks had made on their targets (`made.json` in `dataDir`): a task that is created in the place of one
finds it there, and must know whether it may be dropped.

Both ids decide, the collection's at the source and its own on the target: what somebody has made under the same name
since has another one. A file that cannot be read costs that knowledge and nothing else: what is found is then somebody
else's, and stays.
*/

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::record::{CatalogRecord, ReplicatedCollection};
use crate::domain::CollectionId;
use crate::storage::sealed_file::{self, SealedError};

const FORMAT: &str = "milvus-cdc made";
const VERSION: u32 = 1;
/// Collections that are remembered; those with the largest ids were made last.
const REMEMBERED: usize = 5_000;

/// Collections by their ids on the target.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct MadeBefore {
    collections: BTreeMap<i64, MadeCollection>,
}

#[derive(Debug, Serialize, Deserialize)]
struct MadeCollection {
    /// Its id at the source.
    source: i64,
    replicated: ReplicatedCollection,
}

fn path(data_dir: &Path) -> PathBuf {
    data_dir.join("made.json")
}

impl MadeBefore {
    /// What is remembered in this `dataDir`.
    pub(super) fn open(data_dir: &Path) -> MadeBefore {
        let read = sealed_file::load(&path(data_dir), FORMAT, VERSION);
        read.inspect_err(|error| log::error!("what deleted tasks had made is not known: {error}"))
            .ok()
            .flatten()
            .unwrap_or_default()
    }

    /// What a deleted task had recorded of a collection of the source that it had made on the target.
    pub(super) fn find(&self, source: CollectionId, target_id: i64) -> Option<&ReplicatedCollection> {
        let made = self.collections.get(&target_id).filter(|made| made.source == source.0)?;
        Some(&made.replicated)
    }

    fn add(&mut self, id: CollectionId, replicated: ReplicatedCollection) {
        if replicated.is_ours() && replicated.created && replicated.target_id != 0 && id.is_given() {
            self.collections.insert(replicated.target_id, MadeCollection { source: id.0, replicated });
        }
    }
}

/// Remembers what the task of this folder, which is about to be removed, had made.
pub(crate) fn remember_made(data_dir: &Path, folder: &Path) {
    if let Err(error) = try_remember(data_dir, folder) {
        log::error!("a new task will not drop what this one had made on the target: {error}");
    }
}

fn try_remember(data_dir: &Path, folder: &Path) -> Result<(), SealedError> {
    // Two tasks that are deleted side by side must not miss each other.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let record = CatalogRecord::open(folder)?;
    let ids = record.ids();
    if ids.is_empty() {
        return Ok(());
    }
    let _turn = ONE_AT_A_TIME.lock();
    let mut made: MadeBefore = sealed_file::load(&path(data_dir), FORMAT, VERSION)?.unwrap_or_default();
    for id in ids {
        if let Some(replicated) = record.get(id) {
            made.add(id, replicated);
        }
    }
    while made.collections.len() > REMEMBERED {
        made.collections.pop_first();
    }
    sealed_file::save(&path(data_dir), FORMAT, VERSION, &made)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collection(target_id: i64) -> ReplicatedCollection {
        ReplicatedCollection { target_id, created: true, ..ReplicatedCollection::default() }
    }

    #[test]
    fn what_a_deleted_task_had_made_is_known_by_both_ids() {
        let (data_dir, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let record = CatalogRecord::open(folder.path()).unwrap();
        record.entry(CollectionId(1)).put(collection(11));
        record.entry(CollectionId(2)).put(ReplicatedCollection { adopted: true, ..collection(12) });
        record.entry(CollectionId(3)).put(ReplicatedCollection { created: false, ..collection(13) });
        record.entry(CollectionId(4)).put(collection(0));
        record.entry(CollectionId(5)).put(ReplicatedCollection { adopted: true, twin: true, ..collection(15) });
        record.save().unwrap();
        remember_made(data_dir.path(), folder.path());
        let made = MadeBefore::open(data_dir.path());
        let known: Vec<i64> = made.collections.keys().copied().collect();
        assert_eq!(known, [11, 15]);
        assert_eq!(made.find(CollectionId(1), 11), Some(&collection(11)));
        assert_eq!(made.find(CollectionId(1), 99), None, "made anew on the target");
        assert_eq!(made.find(CollectionId(7), 11), None, "another one at the source");
    }

    #[test]
    fn a_damaged_file_costs_that_knowledge_alone() {
        let data_dir = tempfile::tempdir().unwrap();
        std::fs::write(path(data_dir.path()), "nonsense").unwrap();
        assert!(MadeBefore::open(data_dir.path()).collections.is_empty());
    }
}
