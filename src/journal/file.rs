/*!
The journal in a file: `tasks.json` in the data folder.
*/

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::format::{self, Damage, FormatError};
use super::record::TaskRecord;
use super::{Journal, JournalError, atomic};
use crate::task::definition::TaskDefinition;
use crate::task::spec::TaskId;

/// The file's name.
const FILE_NAME: &str = "tasks.json";
/// How many files with rescued tasks are kept at most.
const MAX_RESCUE_FILES: usize = 1_000;

/// All tasks in one file that is replaced with every change. No `Debug`: the texts hold tokens.
pub struct FileJournal {
    path: PathBuf,
    /// What is on disk: one JSON text per task.
    texts: BTreeMap<TaskId, String>,
}

impl FileJournal {
    /// Reads the journal of this data folder, or begins an empty one when there is none.
    ///
    /// # Errors
    /// [`JournalError::Damaged`] after the intact tasks were written to `tasks.json.good-<n>`.
    pub fn open(folder: &Path) -> Result<Self, JournalError> {
        let path = folder.join(FILE_NAME);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let journal = FileJournal { path, texts: BTreeMap::new() };
                // Written at once, so that a folder that cannot be written is found at the start.
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
            let id = journal.understand(text)?.id;
            if journal.texts.insert(id.clone(), text.to_owned()).is_some() {
                return Err(journal.content(id.as_str(), "it is there twice".to_owned()));
            }
        }
        Ok(journal)
    }

    fn understand(&self, text: &str) -> Result<TaskDefinition, JournalError> {
        let record: TaskRecord =
            serde_json::from_str(text).map_err(|error| self.content(&guess_id(text), record_problem(&error)))?;
        let id = record.task_id.clone();
        TaskDefinition::try_from(record).map_err(|what| self.content(&id, what))
    }

    fn content(&self, task: &str, what: String) -> JournalError {
        JournalError::Content { path: self.path.clone(), task: task.to_owned(), what }
    }

    fn write(&self, texts: &BTreeMap<TaskId, String>) -> Result<(), JournalError> {
        let bytes = format::encode(texts.values().map(String::as_str));
        atomic::replace(&self.path, &bytes).map_err(|source| {
            // Only syncing the folder can fail after the new content is in place; then the old one is put back.
            if fs::read(&self.path).is_ok_and(|content| content == bytes) {
                let old = format::encode(self.texts.values().map(String::as_str));
                let _ = atomic::replace(&self.path, &old);
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
        self.texts.values().map(|text| self.understand(text)).collect()
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

/// What a reader of JSON says, without the values: they may be secrets.
fn record_problem(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.split('`').collect::<Vec<_>>().as_slice() {
        [before, name, ..] if before.contains("field") => format!("{before}`{name}`"),
        _ => "a field has a value of the wrong kind".to_owned(),
    }
}

fn guess_id(text: &str) -> String {
    let value: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
    value["task_id"].as_str().unwrap_or("without an id").to_owned()
}

/// Saves what is intact and says so. The damaged file itself stays where it is: a server that is started again by its
/// supervisor must fail again, not begin with nothing.
fn damaged(path: PathBuf, damage: &Damage<'_>) -> JournalError {
    let count = damage.intact.len();
    let rescue = if count == 0 {
        "no task in it is intact, restore a backup of the file".to_owned()
    } else {
        match write_rescue(&path, &format::encode(damage.intact.iter().copied())) {
            Ok(good) => format!(
                "{count} intact task(s) were written to {}: move that file over the damaged one to go on with them, or \
                 restore a backup",
                good.display()
            ),
            Err(error) => format!("{count} task(s) in it are intact but could not be written to a file: {error}"),
        }
    };
    JournalError::Damaged { path, offset: damage.offset, line: damage.line, what: damage.what, rescue }
}

/// Writes the content to the first free `tasks.json.good-<n>`, or finds the one that holds it already.
fn write_rescue(path: &Path, content: &[u8]) -> io::Result<PathBuf> {
    for number in 1..=MAX_RESCUE_FILES {
        let good = path.with_file_name(format!("{FILE_NAME}.good-{number}"));
        match fs::read(&good) {
            Ok(present) if present == content => return Ok(good),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return atomic::replace(&good, content).map(|()| good);
            }
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::other("too many files with rescued tasks"))
}

#[cfg(test)]
mod tests;
