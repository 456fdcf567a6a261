/*!
How far the copy of one collection has come, on disk, so that it goes on there after a restart.

# Why an interrupted copy neither loses nor doubles a row

- `after` moves only past what the target has acknowledged.
- Before anything is sent, the keys that it concerns are on disk as `pending`. After a restart nobody knows whether
  they were written: they are compared as different from whatever the source has, so they go in as upserts or are
  deleted again. A key that is not among them was certainly not sent, and goes in as a plain insert.
- `done` stays until the checkpoint says that the copy is over: else a crash in between would begin it again, and
  insert all.
*/

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::domain::{CollectionId, Timestamp};
use crate::scan::{DigestFileMark, Key};
use crate::storage::sealed_file::SealedError;
use crate::storage::{disk, sealed_file};

const FORMAT: &str = "milvus-cdc copy";
const VERSION: u32 = 1;

/// The files of one collection's copy.
#[derive(Debug, Clone)]
pub(super) struct Files {
    folder: PathBuf,
    id: CollectionId,
}

/// The content of the progress file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Progress {
    /// Of the state file that is being written; 0 when none is.
    pub(super) round: u64,
    /// It compares with the target's own rows.
    pub(super) compares: bool,
    /// The partition at hand; empty for the whole collection.
    pub(super) partition: String,
    /// Its id at the source.
    pub(super) partition_id: i64,
    /// Everything of it up to this key is done.
    after: Option<KeyRecord>,
    /// Keys behind `after` that may have been written.
    pending: Vec<KeyRecord>,
    /// Rows that the source was found to have.
    pub(super) rows: u64,
    /// Rows that only the target has, and that are left there.
    pub(super) extra: u64,
    /// When the first attempt began, as a hybrid timestamp; `None`: nothing has been read, or the file is older than
    /// this field.
    #[serde(default)]
    began: Option<u64>,
    /// How far the state file has been written.
    pub(super) mark: Option<DigestFileMark>,
    /// All of it is done.
    pub(super) done: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum KeyRecord {
    Int(i64),
    Str(String),
}

impl From<&Key> for KeyRecord {
    fn from(key: &Key) -> Self {
        match key {
            Key::Int(key) => KeyRecord::Int(*key),
            Key::Str(key) => KeyRecord::Str(key.clone()),
        }
    }
}

impl From<&KeyRecord> for Key {
    fn from(record: &KeyRecord) -> Self {
        match record {
            KeyRecord::Int(key) => Key::Int(*key),
            KeyRecord::Str(key) => Key::Str(key.clone()),
        }
    }
}

impl Progress {
    /// Of a round that has not begun.
    pub(super) fn of_round(round: u64, compares: bool) -> Progress {
        Progress { round, compares, ..Progress::default() }
    }

    /// An attempt begins. Answers when the first one did: what that has read is not read again.
    pub(super) fn begin(&mut self, now: Timestamp) -> Timestamp {
        Timestamp(*self.began.get_or_insert(now.0))
    }

    pub(super) fn after(&self) -> Option<Key> {
        self.after.as_ref().map(Key::from)
    }

    pub(super) fn set_after(&mut self, key: Option<&Key>) {
        self.after = key.map(KeyRecord::from);
    }

    pub(super) fn pending(&self) -> BTreeSet<Key> {
        self.pending.iter().map(Key::from).collect()
    }

    pub(super) fn set_pending<'a>(&mut self, keys: impl IntoIterator<Item = &'a Key>) {
        self.pending = keys.into_iter().map(KeyRecord::from).collect();
    }
}

impl Files {
    /// `task` is the task's own folder.
    pub(super) fn new(task: &Path, id: CollectionId) -> Files {
        Files { folder: task.join("copies"), id }
    }

    /// The file of keys and digests that are on the target, where one is kept.
    pub(super) fn state(&self) -> PathBuf {
        self.folder.join(format!("{}.rows", self.id))
    }

    fn progress(&self) -> PathBuf {
        self.folder.join(format!("{}.json", self.id))
    }

    /// How far an earlier attempt came.
    pub(super) fn load(&self) -> Result<Option<Progress>, SealedError> {
        sealed_file::load(&self.progress(), FORMAT, VERSION)
    }

    pub(super) fn save(&self, progress: &Progress) -> Result<(), SealedError> {
        let path = self.progress();
        disk::create_folders(&self.folder).map_err(|source| SealedError::Io {
            path: self.folder.clone(),
            action: "written",
            source,
        })?;
        sealed_file::save(&path, FORMAT, VERSION, progress)
    }

    /// The next copy begins at the beginning.
    pub(super) fn forget_progress(&self) {
        remove(&self.progress());
    }

    /// The collection has gone.
    pub(super) fn forget(&self) {
        self.forget_progress();
        remove(&self.state());
        remove(&self.state().with_extension("building"));
    }
}

fn remove(path: &Path) {
    match disk::remove(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            log::warn!("{}: cannot be removed: {error}", path.display());
        }
        _ => {}
    }
}

#[cfg(test)]
mod fault_tests;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn survives_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::new(folder.path(), CollectionId(7));
        assert_eq!(files.load().unwrap(), None);
        let mut progress = Progress { partition: "p".into(), rows: 3, ..Progress::default() };
        let keys = [Key::Str(String::new()), Key::Str("😀\"".into())];
        progress.set_after(Some(&keys[0]));
        progress.set_pending(&keys);
        files.save(&progress).unwrap();
        let loaded = files.load().unwrap().unwrap();
        assert_eq!(loaded, progress);
        assert_eq!((loaded.after(), loaded.pending().len()), (Some(keys[0].clone()), 2));
        progress.set_after(Some(&Key::Int(i64::MIN)));
        files.save(&progress).unwrap();
        assert_eq!(files.load().unwrap().unwrap().after(), Some(Key::Int(i64::MIN)));
        files.forget();
        assert_eq!(files.load().unwrap(), None);
    }

    #[test]
    fn a_file_of_before_the_beginning_was_kept() {
        let mut file = serde_json::to_value(Progress::of_round(3, false)).unwrap();
        file.as_object_mut().unwrap().remove("began").unwrap();
        let mut progress: Progress = serde_json::from_value(file).unwrap();
        assert_eq!(progress, Progress::of_round(3, false));
        assert_eq!(progress.begin(Timestamp(5)), Timestamp(5));
        assert_eq!(progress.begin(Timestamp(6)), Timestamp(5));
    }
}
