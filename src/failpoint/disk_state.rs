//! What a power failure would take away: content that was not synced, and names that their folder was not synced for.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::FileStep;

impl FileStep<'_> {
    /// The step and what it is about, for people.
    pub(super) fn words(&self) -> String {
        let (step, path) = match self {
            FileStep::CreateFolder(path) => ("create folder", path),
            FileStep::Open(path) => ("open", path),
            FileStep::Write(path) => ("write", path),
            FileStep::SetLength(path) => ("set length of", path),
            FileStep::Sync(path) => ("sync", path),
            FileStep::Rename { to, .. } => ("rename to", to),
            FileStep::SyncFolder(path) => ("sync folder", path),
            FileStep::Remove(path) => ("remove", path),
            FileStep::RemoveFolder(path) => ("remove folder", path),
        };
        format!("{step} {}", path.file_name().unwrap_or_default().display())
    }
}

/// What is not on the disk for good. It is told of every step before the step is taken.
#[derive(Debug, Default)]
pub(super) struct DiskState {
    /// Files with the length up to which they were synced.
    unsynced: BTreeMap<PathBuf, u64>,
    /// Changes of names, oldest first.
    names: Vec<NameChange>,
}

/// What undoes a change of names.
#[derive(Debug)]
enum NameChange {
    Made(PathBuf),
    Removed { path: PathBuf, content: Vec<u8> },
    Renamed { from: PathBuf, to: PathBuf, replaced: Option<Vec<u8>> },
}

impl NameChange {
    fn path(&self) -> &Path {
        match self {
            NameChange::Made(path) | NameChange::Removed { path, .. } | NameChange::Renamed { to: path, .. } => path,
        }
    }

    fn undo(self) {
        match self {
            NameChange::Made(path) if path.is_dir() => fs::remove_dir_all(path).unwrap(),
            NameChange::Made(path) if path.exists() => fs::remove_file(path).unwrap(),
            NameChange::Made(_) => {}
            // Its folder may be undone as well.
            NameChange::Removed { path, content } => drop(fs::write(path, content)),
            NameChange::Renamed { from, to, replaced } => {
                drop(fs::rename(&to, from));
                if let Some(content) = replaced {
                    fs::write(to, content).unwrap();
                }
            }
        }
    }
}

impl DiskState {
    /// The step is about to be taken.
    pub(super) fn follow(&mut self, step: FileStep<'_>) {
        let length = |path: &Path| fs::metadata(path).map_or(0, |metadata| metadata.len());
        match step {
            FileStep::CreateFolder(path) | FileStep::Open(path) if !path.exists() => {
                self.names.push(NameChange::Made(path.to_owned()));
            }
            FileStep::CreateFolder(_) | FileStep::Open(_) | FileStep::RemoveFolder(_) => {}
            FileStep::Write(path) => drop(self.unsynced.entry(path.to_owned()).or_insert_with(|| length(path))),
            // A file that becomes shorter: whether it does is settled by the next sync, and either is allowed.
            FileStep::SetLength(_) => {}
            FileStep::Sync(path) => drop(self.unsynced.remove(path)),
            FileStep::Rename { from, to } => {
                if let Some(synced) = self.unsynced.remove(from) {
                    self.unsynced.insert(to.to_owned(), synced);
                }
                let replaced = fs::read(to).ok();
                self.names.push(NameChange::Renamed { from: from.to_owned(), to: to.to_owned(), replaced });
            }
            FileStep::SyncFolder(folder) => self.names.retain(|change| change.path().parent() != Some(folder)),
            FileStep::Remove(path) => {
                self.unsynced.remove(path);
                if let Ok(content) = fs::read(path) {
                    self.names.push(NameChange::Removed { path: path.to_owned(), content });
                }
            }
        }
    }

    /// The content that was not synced is lost; with `names` also the names that were not.
    pub(super) fn lose(&mut self, names: Names) {
        for (path, synced) in std::mem::take(&mut self.unsynced) {
            let cut = fs::OpenOptions::new().write(true).open(path).and_then(|file| {
                let length = file.metadata()?.len();
                file.set_len(synced.min(length))
            });
            // A file that was removed since has nothing to lose.
            drop(cut);
        }
        let changes = std::mem::take(&mut self.names);
        if names == Names::Lost {
            changes.into_iter().rev().for_each(NameChange::undo);
        }
    }
}

/// What becomes of names that were not synced: a file system may have stored them, or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Names {
    Kept,
    Lost,
}
