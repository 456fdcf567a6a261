/*!
What must outlive the process: the definitions of the tasks, behind one trait so that they can live elsewhere than in a
file one day, and the tools for files that survive a crash.

# What a crash can do

- `tasks.json` is only ever replaced as a whole (`atomic`): whenever the process or the machine dies, the file holds the
  state before a change or the state after it. The caller is told "stored" after the new state is on disk for good; a
  caller that was told nothing may find either.
- Nobody else writes it: a lock on the folder (`data_dir`) keeps a second server out, and the task manager's thread is the
  only one that holds the journal.
- Damage from elsewhere (a disk's bit flips, an editor, a copy that was cut off) is found by checksums (`format`). Then the
  server does not start: it says where the damage is and writes the tasks that are intact into a file beside it. It never
  starts with fewer tasks than it was given.
- A file that cannot be written (disk full, read-only folder) fails the change that wanted it, and the old state stays, on
  disk and in memory.
*/

pub mod atomic;
mod data_dir;
mod file;
mod format;
mod record;
pub mod sealed;

use std::io;
use std::path::PathBuf;

pub use self::data_dir::{DataDir, DataDirError};
pub use self::file::FileJournal;
use crate::task::definition::TaskDefinition;
use crate::task::spec::TaskId;

/// Keeps the definitions of all tasks. What a method has answered with `Ok` outlives a crash.
pub trait Journal: Send {
    /// All tasks, in the order of their ids.
    ///
    /// # Errors
    /// [`JournalError::Content`] when a stored task makes no sense to this version.
    fn tasks(&self) -> Result<Vec<TaskDefinition>, JournalError>;

    /// Adds a task or replaces the one with the same id.
    ///
    /// # Errors
    /// [`JournalError::Write`]; then the old state is kept.
    fn put(&mut self, task: &TaskDefinition) -> Result<(), JournalError>;

    /// Takes a task out; one that is not there is no error.
    ///
    /// # Errors
    /// [`JournalError::Write`]; then the old state is kept.
    fn remove(&mut self, id: &TaskId) -> Result<(), JournalError>;
}

/// What can go wrong with the journal.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The file is there but cannot be read.
    #[error("{}: cannot be read: {source}", path.display())]
    Read {
        /// The journal.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A change could not be stored.
    #[error("{}: cannot be written: {source}", path.display())]
    Write {
        /// The journal.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file was written by another version.
    #[error("{}: written in format {found}, this version reads format {known} only", path.display())]
    Version {
        /// The journal.
        path: PathBuf,
        /// The file's format.
        found: u32,
        /// Ours.
        known: u32,
    },
    /// The content is not what was once written.
    #[error("{}: damaged at byte {offset} (line {line}): {what}; {rescue}", path.display())]
    Damaged {
        /// The journal.
        path: PathBuf,
        /// Where the first damage is.
        offset: usize,
        /// The same as a line number.
        line: usize,
        /// What is wrong there.
        what: &'static str,
        /// Where the intact part went and what to do with it.
        rescue: String,
    },
    /// A task was stored whole but makes no sense.
    #[error("{}: the task `{task}` cannot be understood: {what}", path.display())]
    Content {
        /// The journal.
        path: PathBuf,
        /// Which task, as stored.
        task: String,
        /// Why.
        what: String,
    },
}
