/*!
Replaces a file atomically: any reader, also after a crash, sees the old content or the new one, never a mixture.

The steps are: write a temporary file beside the old one, `fsync` it, rename it over the old one, `fsync` the folder. A
crash before the rename leaves the old file and a temporary one, which the next call removes; a crash after the rename
leaves the new file. The content is on disk before the rename, so the name never refers to data that a power failure
could destroy; the `fsync` of the folder makes the rename durable before the new content is reported as stored.

There must be one writer at a time per path; the lock on the data folder and a single owner per file ensure that.
*/

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::disk::{self, DiskFile};

/// Readable and writable by the owner only: these files contain tokens.
const MODE: u32 = 0o600;

/// Replaces the content of the file at `path` by `bytes`, or leaves it unchanged.
///
/// # Errors
/// When the temporary file cannot be written or renamed; the old content stays. Only if the last step fails, the
/// `fsync` of the folder, is the new content visible already, though it may not survive a power failure.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace_with(path, |file| file.write_all(bytes))
}

/// Replaces the content of the file at `path` by what `write` writes, which need not fit into memory, or leaves it
/// unchanged.
///
/// # Errors
/// As [`replace`], and those of `write`.
pub fn replace_with(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let temporary = temporary_path(path)?;
    remove_stale(&temporary)?;
    write_synced(&temporary, write).and_then(|()| disk::rename(&temporary, path)).inspect_err(|_| {
        // Only the first error is reported; a leftover temporary file is harmless.
        let _ = disk::remove(&temporary);
    })
}

/// The path at which the next content of `path` is written before it is renamed.
pub(super) fn temporary_path(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the path names no file"))?;
    let mut temporary = OsString::from(name);
    temporary.push(".tmp");
    Ok(path.with_file_name(temporary))
}

fn remove_stale(temporary: &Path) -> io::Result<()> {
    match disk::remove(temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn write_synced(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let mut file = DiskFile::open(path, OpenOptions::new().write(true).create_new(true).mode(MODE))?;
    write(&mut file)?;
    file.sync()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_content_is_replaced_and_readable_by_the_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        replace(&path, b"one").unwrap();
        replace(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_left_over_temporary_file_is_harmless() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        fs::write(temporary_path(&path).unwrap(), b"half of someth").unwrap();
        replace(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert!(!temporary_path(&path).unwrap().exists());
    }

    #[test]
    fn a_failed_write_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        replace(&path, b"old").unwrap();
        // A folder where the temporary file should go: cannot be removed as a file, so nothing can be written.
        fs::create_dir(temporary_path(&path).unwrap()).unwrap();
        assert!(replace(&path, b"new").is_err());
        assert_eq!(fs::read(&path).unwrap(), b"old");
    }

    #[test]
    fn a_missing_folder_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        assert!(replace(&folder.path().join("no/a.json"), b"x").is_err());
        assert!(replace(Path::new("/"), b"x").is_err());
    }
}
