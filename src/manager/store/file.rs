/*!
The journal as a file: `tasks.json` in the data folder.
*/

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, io};

use super::format::{self, DamagePoint, FormatError, JournalDamage};
use super::record::{TaskDefect, TaskRecord};
use super::{Journal, JournalError};
use crate::domain::TaskId;
use crate::storage::atomic_file;
use crate::task::definition::TaskDefinition;

/// Name of the file.
const FILE_NAME: &str = "tasks.json";
/// Largest number of files with rescued tasks.
const MAX_RESCUE_FILES: usize = 1_000;

/// All tasks in one file that every change replaces. No `Debug`: the texts contain tokens.
pub struct FileJournal {
    path: PathBuf,
    /// The content on disk: one JSON text per task.
    texts: BTreeMap<TaskId, String>,
}

impl FileJournal {
    /// Reads the journal of a data folder, or creates an empty one.
    ///
    /// # Errors
    /// [`JournalError`] when the file cannot be read, or not be created, or is damaged; in the last case the intact
    /// tasks are written to `tasks.json.good-<n>` first.
    pub fn open(folder: &Path) -> Result<Self, JournalError> {
        let path = folder.join(FILE_NAME);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let journal = FileJournal { path, texts: BTreeMap::new() };
                // Written at once, so that a read-only folder is noticed at the start.
                journal.write(&journal.texts)?;
                return Ok(journal);
            }
            Err(source) => return Err(JournalError::Read { path, source }),
        };
        let texts = match format::decode(&bytes) {
            Ok(texts) => texts,
            Err(FormatError::Version(found)) => {
                return Err(JournalError::Version { path, found, known: format::VERSION });
            }
            Err(FormatError::Damaged(damage)) => return Err(damaged(path, &damage)),
        };
        let mut journal = FileJournal { path, texts: BTreeMap::new() };
        for text in texts {
            let id = journal.parse(text)?.id;
            if journal.texts.insert(id.clone(), text.to_owned()).is_some() {
                return Err(journal.invalid(id.as_str(), TaskDefect::Duplicate));
            }
        }
        Ok(journal)
    }

    fn parse(&self, text: &str) -> Result<TaskDefinition, JournalError> {
        let record: TaskRecord =
            serde_json::from_str(text).map_err(|error| self.invalid(&guess_id(text), json_defect(&error)))?;
        let id = record.task_id.clone();
        TaskDefinition::try_from(record).map_err(|defect| self.invalid(&id, defect))
    }

    fn invalid(&self, task: &str, source: TaskDefect) -> JournalError {
        JournalError::Content { path: self.path.clone(), task: task.to_owned(), source }
    }

    fn write(&self, texts: &BTreeMap<TaskId, String>) -> Result<(), JournalError> {
        let bytes = format::encode(texts.values().map(String::as_str));
        atomic_file::replace(&self.path, &bytes).map_err(|source| {
            // If only the `fsync` of the folder has failed, the new content is in place; the old one is restored.
            if fs::read(&self.path).is_ok_and(|content| content == bytes) {
                let old = format::encode(self.texts.values().map(String::as_str));
                let _ = atomic_file::replace(&self.path, &old);
            }
            JournalError::Write { path: self.path.clone(), source }
        })
    }

    fn change(&mut self, change: impl FnOnce(&mut BTreeMap<TaskId, String>)) -> Result<(), JournalError> {
        let mut texts = self.texts.clone();
        change(&mut texts);
        self.write(&texts)?;
        self.texts = texts;
        Ok(())
    }
}

impl Journal for FileJournal {
    fn tasks(&self) -> Result<Vec<TaskDefinition>, JournalError> {
        self.texts.values().map(|text| self.parse(text)).collect()
    }

    fn put(&mut self, task: &TaskDefinition) -> Result<(), JournalError> {
        let text = serde_json::to_string(&TaskRecord::from(task)).map_err(|error| JournalError::Write {
            path: self.path.clone(),
            source: io::Error::new(io::ErrorKind::InvalidData, error),
        })?;
        self.change(|texts| drop(texts.insert(task.id.clone(), text)))
    }

    fn remove(&mut self, id: &TaskId) -> Result<(), JournalError> {
        self.change(|texts| drop(texts.remove(id)))
    }
}

/// A JSON error without the values in it, which may be secrets.
fn json_defect(error: &serde_json::Error) -> TaskDefect {
    let text = error.to_string();
    TaskDefect::Json(match text.split('`').collect::<Vec<_>>().as_slice() {
        [before, name, ..] if before.contains("field") => format!("{before}`{name}`"),
        _ => "a field has a value of the wrong type".to_owned(),
    })
}

fn guess_id(text: &str) -> String {
    let value: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
    value["task_id"].as_str().unwrap_or("without an id").to_owned()
}

/// Writes the intact tasks to a file and reports it. The damaged file itself stays: a server that its supervisor
/// restarts must fail again, not start with an empty journal.
fn damaged(path: PathBuf, damage: &JournalDamage<'_>) -> JournalError {
    let count = damage.intact.len();
    let rescue = if count == 0 {
        "no task in it is intact; restore a backup of the file".to_owned()
    } else {
        match write_rescue(&path, &format::encode(damage.intact.iter().copied())) {
            Ok(good) => format!(
                "{count} intact task(s) were written to {}: replace the damaged file by that one to continue with \
                 them, or restore a backup",
                good.display()
            ),
            Err(error) => format!("{count} task(s) in it are intact but could not be written to a file: {error}"),
        }
    };
    let DamagePoint { offset, line, what } = damage.first;
    JournalError::Damaged { path, offset, line, what, rescue }
}

/// Writes the content to the first free `tasks.json.good-<n>`, or returns the file that holds it already.
fn write_rescue(path: &Path, content: &[u8]) -> io::Result<PathBuf> {
    for number in 1..=MAX_RESCUE_FILES {
        let good = path.with_file_name(format!("{FILE_NAME}.good-{number}"));
        match fs::read(&good) {
            Ok(present) if present == content => return Ok(good),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return atomic_file::replace(&good, content).map(|()| good);
            }
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::other("too many files with rescued tasks"))
}

#[cfg(test)]
mod fault_tests;
#[cfg(test)]
mod tests;
