/*!
The folders of tasks, `dataDir/tasks/<id>`, and their removal.

The files of a folder depend on each other: if the checkpoint were removed before the catalog's record, rows would be
inserted a second time into collections that the record calls ours. So a folder is renamed as a whole before its files
are removed one by one. The new name, `<id>.gone`, is never a task's: ids have no dots.
*/

use std::ffi::OsStr;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use crate::domain::TaskId;
use crate::storage::disk;

const TASKS: &str = "tasks";
const GONE: &str = "gone";

/// The folder of a task's files.
pub(crate) fn of(data_dir: &Path, id: &TaskId) -> PathBuf {
    data_dir.join(TASKS).join(id.as_str())
}

/// Removes a task's folder. A missing folder is no error.
///
/// # Errors
/// When the folder cannot be renamed (then no file is removed) or a file in it cannot be removed.
pub(crate) fn remove(folder: &Path) -> io::Result<()> {
    let gone = folder.with_extension(GONE);
    remove_if_there(&gone)?;
    match disk::rename(folder, &gone) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        outcome => outcome?,
    }
    remove_if_there(&gone)
}

/// Finishes removals that a crash has interrupted.
pub(crate) fn remove_leftovers(data_dir: &Path) {
    // Without the parent folder there are none.
    let Ok(entries) = fs::read_dir(data_dir.join(TASKS)) else { return };
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        if path.extension() == Some(OsStr::new(GONE))
            && let Err(error) = remove_if_there(&path)
        {
            log::warn!("{}: leftover folder of a deleted task cannot be removed: {error}", path.display());
        }
    }
}

fn remove_if_there(folder: &Path) -> io::Result<()> {
    match disk::remove_folder(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    }
}

#[cfg(test)]
mod fault_tests;

#[cfg(test)]
mod tests {
    use super::*;

    fn make(data_dir: &Path, name: &str) -> PathBuf {
        let folder = data_dir.join(TASKS).join(name);
        fs::create_dir_all(folder.join("copies")).unwrap();
        for file in ["checkpoint.json", "catalog.json", "copies/1.json"] {
            fs::write(folder.join(file), "x").unwrap();
        }
        folder
    }

    #[test]
    fn a_folder_is_removed_as_a_whole() {
        let data_dir = tempfile::tempdir().unwrap();
        let folder = make(data_dir.path(), "t");
        // A file in the way of the new name: the removal fails before any of the task's files is gone.
        let gone = data_dir.path().join(TASKS).join("t.gone");
        fs::write(&gone, "x").unwrap();
        remove(&folder).unwrap_err();
        assert!(folder.join("checkpoint.json").exists() && folder.join("catalog.json").exists());
        fs::remove_file(&gone).unwrap();
        // The leftover of an earlier removal does not prevent this one.
        make(data_dir.path(), "t.gone");
        remove(&folder).unwrap();
        assert!(!folder.exists() && !gone.exists());
        remove(&folder).unwrap();
    }

    #[test]
    fn an_interrupted_removal_is_finished_at_the_start() {
        let data_dir = tempfile::tempdir().unwrap();
        remove_leftovers(data_dir.path());
        let (other, gone) = (make(data_dir.path(), "gone"), make(data_dir.path(), "t.gone"));
        fs::remove_file(gone.join("checkpoint.json")).unwrap();
        remove_leftovers(data_dir.path());
        assert!(other.exists() && !gone.exists());
    }
}
