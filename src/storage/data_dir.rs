/*!
The data folder, locked by one running server.
*/

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::disk::{self, DiskFile};

/// The file whose lock marks the folder as in use. The file is empty and stays; only the lock counts.
const LOCK_FILE: &str = "lock";

/// The data folder, locked for this process as long as the value lives.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    /// Held for its lock, which the system releases when the process ends in any way.
    _lock: File,
}

/// Why the data folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// Another server uses the folder.
    #[error("{}: in use by another milvus-cdc; give this one a dataDir of its own", .0.display())]
    InUse(PathBuf),
    /// The folder or its lock file cannot be created.
    #[error("{}: cannot be used as dataDir: {source}", path.display())]
    Io {
        /// Path of the folder or of the lock file.
        path: PathBuf,
        /// Error of the operating system.
        source: io::Error,
    },
}

impl DataDir {
    /// Creates the folder if necessary (accessible by its owner only) and locks it for this process.
    ///
    /// # Errors
    /// [`DataDirError::InUse`] when another server uses it; [`DataDirError::Io`] when it cannot be created or locked.
    pub fn open(path: &Path) -> Result<Self, DataDirError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| DataDirError::Io { path, source }
        };
        disk::create_private_folders(path).map_err(failed(path))?;
        let path = fs::canonicalize(path).map_err(failed(path))?;
        let lock_path = path.join(LOCK_FILE);
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600);
        let lock = DiskFile::open(&lock_path, &options).map_err(failed(&lock_path))?.into_file();
        match lock.try_lock() {
            Ok(()) => Ok(DataDir { path, _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(DataDirError::InUse(path)),
            Err(TryLockError::Error(source)) => Err(DataDirError::Io { path: lock_path, source }),
        }
    }

    /// Absolute path of the folder.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn one_server_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b");
        let first = DataDir::open(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        assert!(matches!(DataDir::open(&path), Err(DataDirError::InUse(_))));
        drop(first);
        DataDir::open(&path).unwrap();
    }

    #[test]
    fn a_file_in_its_place_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "").unwrap();
        let error = DataDir::open(&path).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{}: cannot be used as dataDir:", path.display())), "{error}");
    }
}
