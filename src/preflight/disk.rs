//! Checks the free space for the task's files.

use std::path::{Path, PathBuf};

use rustix::fs::{Access, access, statvfs};

use super::report::PreflightReport;

const ABOUT: &str = "dataDir";
const MIB: u64 = 1 << 20;
/// State is a few KB per task; RocksDB keeps up to 2 MiB of its own log beside it.
const NEEDED: u64 = 16 * MIB;
/// With less free space the disk is about to be full.
const COMFORTABLE: u64 = 256 * MIB;

/// Checks the disk that holds the folder, or will hold it.
pub(super) fn room(data_dir: &Path, report: &mut PreflightReport) {
    let there = existing(data_dir);
    if access(&there, Access::WRITE_OK | Access::EXEC_OK).is_err() {
        let text = format!("{} cannot be written by this user", there.display());
        return report.problem(ABOUT, text, "give the user of milvus-cdc the folder, or set dataDir to one of its own");
    }
    let free = match statvfs(&there) {
        Ok(found) => found.f_bavail.saturating_mul(found.f_frsize),
        Err(error) => {
            let text = format!("{}: cannot determine the free space: {error}", there.display());
            return report.warning(ABOUT, text, "check the disk with df");
        }
    };
    let text = format!("{}: {} MiB free", data_dir.display(), free / MIB);
    match free {
        ..NEEDED => {
            report.problem(ABOUT, text, "free disk space: while nothing can be written there, nothing is replicated")
        }
        NEEDED..COMFORTABLE => {
            report.warning(ABOUT, text, "free disk space: while nothing can be written there, nothing is replicated")
        }
        _ => report.good(ABOUT, text),
    }
}

/// The folder itself, or its nearest existing ancestor.
fn existing(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let found = absolute.ancestors().find(|folder| folder.is_dir());
    found.unwrap_or(Path::new("/")).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preflight::Level;

    #[test]
    fn a_folder_to_be_made_is_judged_by_the_one_above() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(existing(&folder.path().join("a/b")), folder.path());
        let mut report = PreflightReport::default();
        room(&folder.path().join("a/b"), &mut report);
        assert_ne!(report.level(), Level::Problem, "{report:?}");
        assert!(!folder.path().join("a").exists(), "a check makes nothing");
    }

    #[test]
    fn a_place_that_nobody_may_write() {
        let mut report = PreflightReport::default();
        room(Path::new("/proc/1/fd/none"), &mut report);
        assert_eq!(report.level(), Level::Problem, "{report:?}");
    }
}
