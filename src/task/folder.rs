/*!
The folders of tasks, `dataDir/tasks/<id>`, and removing them.

The files of one folder belong together: rows that the checkpoint does not know of and the catalog's record calls ours would be sent
again as new ones. So a folder goes as a whole, by another name, before its files go one by one. That name, `<id>.gone`, is no
task's: ids have no dots.
*/

use std::ffi::OsStr;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::spec::TaskId;
use crate::journal::atomic;

const TASKS: &str = "tasks";
const GONE: &str = "gone";

/// Where a task keeps its files.
pub(super) fn of(data_dir: &Path, id: &TaskId) -> PathBuf {
    data_dir.join(TASKS).join(id.as_str())
}

/// Removes a task's folder; nothing is wrong when there is none.
///
/// # Errors
/// Whatever the file system says.
pub(super) fn remove(folder: &Path) -> io::Result<()> {
    let gone = folder.with_extension(GONE);
    remove_if_there(&gone)?;
    match atomic::put_in_place(folder, &gone) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        outcome => outcome?,
    }
    remove_if_there(&gone)
}

/// Removes what a removal that was cut short has left.
pub(crate) fn remove_leftovers(data_dir: &Path) {
    // Without the folder there are none.
    let Ok(entries) = fs::read_dir(data_dir.join(TASKS)) else { return };
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        if path.extension() == Some(OsStr::new(GONE))
            && let Err(error) = remove_if_there(&path)
        {
            log::warn!("{}: what a deleted task has left cannot be removed: {error}", path.display());
        }
    }
}

fn remove_if_there(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    }
}

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
    fn goes_as_a_whole() {
        let data_dir = tempfile::tempdir().unwrap();
        let folder = make(data_dir.path(), "t");
        // A file in the way of the new name: the removal fails before any of the task's files is gone.
        let gone = data_dir.path().join(TASKS).join("t.gone");
        fs::write(&gone, "x").unwrap();
        remove(&folder).unwrap_err();
        assert!(folder.join("checkpoint.json").exists() && folder.join("catalog.json").exists());
        fs::remove_file(&gone).unwrap();
        // What an earlier removal has left is in nobody's way.
        make(data_dir.path(), "t.gone");
        remove(&folder).unwrap();
        assert!(!folder.exists() && !gone.exists());
        remove(&folder).unwrap();
    }

    #[test]
    fn a_removal_that_was_cut_short_is_finished_at_the_start() {
        let data_dir = tempfile::tempdir().unwrap();
        remove_leftovers(data_dir.path());
        let (other, gone) = (make(data_dir.path(), "gone"), make(data_dir.path(), "t.gone"));
        fs::remove_file(gone.join("checkpoint.json")).unwrap();
        remove_leftovers(data_dir.path());
        assert!(other.exists() && !gone.exists());
    }
}
