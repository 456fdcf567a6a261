//! Detects within microseconds whether the primary has written anything since the last look, and whether the folder is
//! still the one that was opened.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// RocksDB's file with the database's own name. It is written when the database is made.
const IDENTITY: &str = "IDENTITY";

/// RocksDB's newest write-ahead log: this value changes whenever it grows or a new one begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct NewestWal {
    /// The `.log` file's number; they grow.
    pub(super) number: u64,
    size: u64,
}

impl NewestWal {
    /// Looks at the folder.
    pub(super) fn of(path: &Path) -> std::io::Result<NewestWal> {
        let mut newest = (0u64, 0u64);
        for entry in std::fs::read_dir(path)? {
            let entry = entry?;
            let name = entry.file_name();
            let Some(number) = name.to_str().and_then(|name| name.strip_suffix(".log")) else { continue };
            let Ok(number) = number.parse::<u64>() else { continue };
            if number >= newest.0 {
                // A log that the primary removes between listing and asking is not the newest.
                let Ok(metadata) = entry.metadata() else { continue };
                newest = (number, metadata.len());
            }
        }
        Ok(NewestWal { number: newest.0, size: newest.1 })
    }
}

/// A look at the whole folder is due that often, whatever its time says: a file system's clock stands still for some
/// milliseconds, and one of another host tells its times late.
const WHOLE_LOOK: Duration = Duration::from_millis(200);

/// When a folder was changed last, as its file system tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FolderTime {
    id: FileId,
    seconds: i64,
    nanoseconds: i64,
}

impl FolderTime {
    fn of(path: &Path) -> Option<FolderTime> {
        let metadata = path.metadata().ok()?;
        let (seconds, nanoseconds) = (metadata.mtime(), metadata.mtime_nsec());
        Some(FolderTime { id: FileId::of(&metadata), seconds, nanoseconds })
    }
}

/// What a look at the whole folder began with. Whatever comes, goes or is renamed there changes the folder's time, and
/// what the primary writes makes its newest write-ahead log longer: so two questions tell that nothing has changed,
/// where a listing takes a dozen.
#[derive(Debug)]
pub(super) struct LookStart {
    path: PathBuf,
    time: Option<FolderTime>,
    at: Instant,
}

/// What a look at the whole folder has found.
#[derive(Debug)]
pub(super) struct WholeLook {
    start: LookStart,
    wal: PathBuf,
    found: NewestWal,
}

impl LookStart {
    /// To be called before the look: what changes meanwhile counts as not seen.
    pub(super) fn now(path: &Path) -> LookStart {
        LookStart { path: path.to_owned(), time: FolderTime::of(path), at: Instant::now() }
    }

    /// The look is over.
    pub(super) fn end(self, found: NewestWal) -> WholeLook {
        WholeLook { wal: self.path.join(format!("{:06}.log", found.number)), start: self, found }
    }
}

impl WholeLook {
    /// Whether another look at the whole folder would find the same.
    pub(super) fn holds(&self, now: Instant) -> bool {
        let LookStart { path, time, at } = &self.start;
        let size = || self.wal.metadata().ok().map(|metadata| metadata.len());
        now.saturating_duration_since(*at) < WHOLE_LOOK
            && time.is_some()
            && FolderTime::of(path) == *time
            && size() == Some(self.found.size)
    }
}

/// The name that a database has given itself; `None` if there is none in the folder.
pub(super) fn database_identity(path: &Path) -> Option<String> {
    let text = std::fs::read_to_string(path.join(IDENTITY)).ok()?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// A file or folder, whatever its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    fn of(metadata: &Metadata) -> FileId {
        FileId { device: metadata.dev(), inode: metadata.ino() }
    }

    fn at(path: &Path) -> Option<FileId> {
        path.metadata().ok().map(|metadata| FileId::of(&metadata))
    }
}

/// The folder of an open database. Who has deleted or replaced it is not seen by reading on: its files stay open, and
/// what the primary writes now goes elsewhere.
#[derive(Debug)]
pub(super) struct OpenedFolder {
    path: PathBuf,
    folder: Option<FileId>,
    /// The file with the identity, and what it said.
    identity_file: Option<FileId>,
    identity: Option<String>,
}

impl OpenedFolder {
    /// The folder as it is now.
    pub(super) fn of(path: &Path) -> OpenedFolder {
        OpenedFolder {
            path: path.to_owned(),
            folder: FileId::at(path),
            identity_file: FileId::at(&path.join(IDENTITY)),
            identity: database_identity(path),
        }
    }

    /// Whether the database that was opened is there no more.
    pub(super) fn is_replaced(&mut self) -> bool {
        if FileId::at(&self.path) != self.folder {
            return true;
        }
        let identity_file = FileId::at(&self.path.join(IDENTITY));
        if identity_file == self.identity_file {
            return false;
        }
        // Some versions of RocksDB write the same identity again at each start.
        let is_same = identity_file.is_some() && database_identity(&self.path) == self.identity;
        if is_same {
            self.identity_file = identity_file;
        }
        !is_same
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The folder's time is set by hand: that of two changes in a row may be the same.
    #[test]
    fn a_look_holds_until_the_folder_or_its_newest_log_changes() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("queue");
        let write = |name: &str, content: &str| std::fs::write(path.join(name), content).unwrap();
        let set_time = |seconds: u64| {
            let time = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            std::fs::File::open(&path).unwrap().set_modified(time).unwrap();
        };
        let look = || LookStart::now(&path).end(NewestWal::of(&path).unwrap());
        std::fs::create_dir(&path).unwrap();
        let empty = look();
        assert!(!empty.holds(empty.start.at), "no write-ahead log");
        write("000007.log", "ab");
        set_time(1);
        let seen = look();
        let at = seen.start.at;
        assert!(seen.holds(at) && seen.holds(at + WHOLE_LOOK / 2));
        assert!(!seen.holds(at + WHOLE_LOOK), "whatever it looks like");
        write("000007.log", "abc");
        set_time(1);
        assert!(!seen.holds(at), "it was written to");
        let seen = look();
        assert!(seen.holds(seen.start.at));
        set_time(2);
        assert!(!seen.holds(seen.start.at), "a file has come or gone");
        let seen = look();
        std::fs::rename(&path, parent.path().join("away")).unwrap();
        assert!(!seen.holds(seen.start.at), "the folder is gone");
        std::fs::create_dir(&path).unwrap();
        write("000007.log", "abc");
        set_time(2);
        assert!(!seen.holds(seen.start.at), "another one");
    }

    #[test]
    fn a_folder_that_was_deleted_or_replaced_is_noticed() {
        let parent = tempfile::tempdir().unwrap();
        let (path, other) = (parent.path().join("queue"), parent.path().join("other"));
        let make = |path: &Path, identity: &str| {
            std::fs::create_dir_all(path).unwrap();
            std::fs::write(path.join("new"), identity).unwrap();
            std::fs::rename(path.join("new"), path.join(IDENTITY)).unwrap();
        };
        make(&path, "a\n");
        let mut opened = OpenedFolder::of(&path);
        assert!(!opened.is_replaced());
        make(&path, "a\n");
        assert!(!opened.is_replaced() && !opened.is_replaced(), "the same database, started again");
        make(&path, "b\n");
        assert!(opened.is_replaced(), "another one in the same folder");
        make(&path, "a\n");
        std::fs::remove_file(path.join(IDENTITY)).unwrap();
        assert!(opened.is_replaced(), "its files are deleted");
        make(&path, "a\n");
        let mut opened = OpenedFolder::of(&path);
        make(&other, "a\n");
        std::fs::rename(&path, parent.path().join("moved")).unwrap();
        assert!(opened.is_replaced(), "moved away");
        std::fs::rename(&other, &path).unwrap();
        assert!(opened.is_replaced(), "a copy of it in its place");
    }
}
