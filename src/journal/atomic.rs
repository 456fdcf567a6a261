/*!
Replaces a file so that a reader, or we ourselves after a crash, see either the old content or the new one, never a mix.

The steps are: write a temporary file beside the old one, `fsync` it, rename it over the old one, `fsync` the folder.
A crash before the rename leaves the old file and a temporary one, which the next call removes; a crash after it leaves
the new file. The content is on disk before the rename, so the name never points at data that a power failure could
take away; the folder's own `fsync` makes the rename last before we tell anyone that the new content is stored.

One writer at a time per path: the lock on the data folder and one owner per file see to that.
*/

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Readable and writable by the owner only: these files hold tokens.
const MODE: u32 = 0o600;

/// Puts `bytes` into the file at `path`, all of them or none.
///
/// # Errors
/// Whatever the file system says; then the old content is still there. Only when the last step fails (syncing the
/// folder) the new content is already visible, though it may not outlive a power failure.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = temporary_path(path)?;
    remove_stale(&temporary)?;
    if let Err(error) = write_synced(&temporary, bytes).and_then(|()| fs::rename(&temporary, path)) {
        // The first error is the one to tell; a file left over is harmless.
        let _ = fs::remove_file(&temporary);
        return Err(error);
    }
    sync_folder(path)
}

/// Lets a file that was written beside `path`, and synced, take its place.
///
/// # Errors
/// As for [`replace`].
pub fn put_in_place(written: &Path, path: &Path) -> io::Result<()> {
    fs::rename(written, path)?;
    sync_folder(path)
}

/// Where the next content of `path` is written before it takes its place.
pub(super) fn temporary_path(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the path names no file"))?;
    let mut temporary = OsString::from(name);
    temporary.push(".tmp");
    Ok(path.with_file_name(temporary))
}

fn remove_stale(temporary: &Path) -> io::Result<()> {
    match fs::remove_file(temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn replaces_and_keeps_to_the_owner() {
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
