/*!
The journal: the definitions of all tasks, on disk. One trait stands in front of it, so that another store can take the
place of the file.

# Behaviour in a crash

- `tasks.json` is only ever replaced as a whole (`storage::atomic_file`): whenever the process or the machine dies, the
  file holds the state before a change or the state after it. A change is reported as stored once the new state is
  durable; a caller that got no answer may find either state.
- There is one writer: the lock on the data folder (`storage::DataDir`) excludes a second server, and the journal
  belongs to the task manager's thread.
- Damage from outside (bit flips, an editor, a truncated copy) is detected by checksums (`format`). Then the server does
  not start: it reports the position of the damage and writes the intact tasks to a file beside the journal. It never
  starts with fewer tasks than were stored.
- When the file cannot be written (disk full, read-only folder), the change fails, and the old state stays on disk and
  in memory.
*/

mod file;
mod format;
mod record;
mod role_record;
mod source_record;

use std::io;
use std::path::PathBuf;

pub use self::file::FileJournal;
pub use self::record::TaskDefect;
use crate::domain::TaskId;
use crate::task::definition::TaskDefinition;

/// Stores the definitions of all tasks. A change survives a crash once its method has returned `Ok`.
pub trait Journal: Send {
    /// All tasks, in the order of their ids.
    ///
    /// # Errors
    /// [`JournalError::Content`] when a stored task is invalid in this version.
    fn tasks(&self) -> Result<Vec<TaskDefinition>, JournalError>;

    /// Adds a task or replaces the one with the same id.
    ///
    /// # Errors
    /// [`JournalError::Write`] when the change cannot be stored; the old state is kept.
    fn put(&mut self, task: &TaskDefinition) -> Result<(), JournalError>;

    /// Removes a task, if it exists.
    ///
    /// # Errors
    /// [`JournalError::Write`] when the change cannot be stored; the old state is kept.
    fn remove(&mut self, id: &TaskId) -> Result<(), JournalError>;
}

/// Why the journal cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The file exists but cannot be read.
    #[error("{}: cannot be read: {source}", path.display())]
    Read {
        /// Path of the journal.
        path: PathBuf,
        /// Error of the operating system.
        source: io::Error,
    },
    /// A change could not be stored.
    #[error("{}: cannot be written: {source}", path.display())]
    Write {
        /// Path of the journal.
        path: PathBuf,
        /// Error of the operating system.
        source: io::Error,
    },
    /// The file was written by another version.
    #[error("{}: written in format {found}, this version reads format {known} only", path.display())]
    Version {
        /// Path of the journal.
        path: PathBuf,
        /// Version of the file.
        found: u32,
        /// Version that this program reads.
        known: u32,
    },
    /// The content is not what was once written.
    #[error("{}: damaged at byte {offset} (line {line}): {what}; {rescue}", path.display())]
    Damaged {
        /// Path of the journal.
        path: PathBuf,
        /// Offset of the first damage in bytes.
        offset: usize,
        /// Line of the first damage, counted from 1.
        line: usize,
        /// Nature of the damage.
        what: &'static str,
        /// Where the intact tasks were written, and what to do with them.
        rescue: String,
    },
    /// A task is intact but invalid.
    #[error("{}: the task `{task}` is invalid: {source}", path.display())]
    Content {
        /// Path of the journal.
        path: PathBuf,
        /// Id of the task, as stored.
        task: String,
        /// Why it is invalid.
        source: TaskDefect,
    },
}
