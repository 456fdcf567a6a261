/*!
The file of rows that the target refuses for good, one JSON object per line, each with the row's columns as they were to
be written.

A row counts as set aside when its line is on disk: only then is its call acknowledged. What a crash has torn is a last
line whose row was not acknowledged, and comes again. A row that is refused again takes the place of its earlier line; a
later write or delete of its key that the target takes ends it: whoever applies the file must not bring back an old row.
The file is bounded; when it is full, the row is not taken, and its collection is held as without the file.
*/

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::domain::{CollectionId, Column};
use crate::storage::atomic_file;
use crate::storage::disk::DiskFile;
use crate::task::refused_rows::{RefusedRow, RefusedRowsAmount};

/// The file in a task's folder.
const FILE: &str = "refused-rows.jsonl";
/// Rows that it takes. Who has more has another problem than some rows.
const MAX_ROWS: usize = 1000;
/// Its length: some hundred of the largest rows that a Milvus takes.
const MAX_BYTES: u64 = 64 << 20;

/// Why a row was not set aside.
#[derive(Debug, thiserror::Error)]
pub enum RefusedRowsFileError {
    /// There is no room.
    #[error(
        "{} is full with {rows} rows: apply or discard them (request `refused_rows`, or milvus-cdc task refused-rows)",
        path.display()
    )]
    Full {
        /// The file.
        path: PathBuf,
        /// The rows in it.
        rows: usize,
    },
    /// The file cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A line is damaged that is not the last one.
    #[error("{}: line {line} is damaged: move the file away, and resume the task", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
    },
}

/// The rows of one task that were set aside.
#[derive(Debug)]
pub struct RefusedRowsFile {
    path: PathBuf,
    file: Mutex<FileState>,
}

/// What is in the file.
#[derive(Debug, Default)]
struct FileState {
    /// Those whose lines count, in the order of their numbers.
    rows: Vec<RefusedRow>,
    /// Length of the whole lines; what stands behind them was torn.
    length: u64,
    /// There are lines that do not count any more.
    has_stale: bool,
    /// The next row's number.
    next: u64,
}

/// One line.
#[derive(Serialize, Deserialize)]
struct Line {
    number: u64,
    collection_id: i64,
    target: String,
    partition: String,
    key: String,
    channel: String,
    timestamp: u64,
    since: u64,
    reason: String,
    /// Each a serialized `FieldData`, in base64.
    columns: Vec<String>,
}

impl RefusedRowsFile {
    /// The rows that earlier runs have set aside.
    ///
    /// # Errors
    /// [`RefusedRowsFileError`] when the file cannot be read or is damaged.
    pub fn open(folder: &Path) -> Result<RefusedRowsFile, RefusedRowsFileError> {
        let path = folder.join(FILE);
        let content = match fs::read(&path) {
            Ok(content) => content,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(source) => return Err(RefusedRowsFileError::Io { path, source }),
        };
        let mut file = FileState::default();
        let mut numbers = BTreeSet::new();
        for (index, line) in whole_lines(&content).enumerate() {
            let damaged = |_| RefusedRowsFileError::Damaged { path: path.clone(), line: index + 1 };
            let line: Line = serde_json::from_slice(line).map_err(damaged)?;
            numbers.insert(line.number);
            file.next = file.next.max(line.number + 1);
            file.take(line.row());
        }
        file.length = whole_lines(&content).map(|line| line.len() as u64 + 1).sum();
        file.has_stale = numbers.len() > file.rows.len();
        Ok(RefusedRowsFile { path, file: Mutex::new(file) })
    }

    /// All rows, in the order in which they were set aside.
    pub fn rows(&self) -> Vec<RefusedRow> {
        self.file.lock().rows.clone()
    }

    /// How much it is.
    pub fn amount(&self) -> RefusedRowsAmount {
        let file = self.file.lock();
        RefusedRowsAmount { rows: file.rows.len(), bytes: file.length }
    }

    /// Sets a row aside: it is on disk then. Its number is assigned here.
    ///
    /// # Errors
    /// [`RefusedRowsFileError`]; then nothing has changed.
    pub fn add(&self, mut row: RefusedRow, columns: &[Column]) -> Result<(), RefusedRowsFileError> {
        let mut file = self.file.lock();
        row.number = file.next;
        let line = line_of(&row, columns).map_err(|source| self.io(source))?;
        let is_known = file.rows.iter().any(|known| is_same(known, &row));
        let rows = file.rows.len() + usize::from(!is_known);
        let mut has_room = file.length + line.len() as u64 <= MAX_BYTES;
        if !has_room && file.has_stale {
            self.keep(&mut file, |_| true).map_err(|source| self.io(source))?;
            has_room = file.length + line.len() as u64 <= MAX_BYTES;
        }
        if rows > MAX_ROWS || !has_room {
            return Err(RefusedRowsFileError::Full { path: self.path.clone(), rows: file.rows.len() });
        }
        self.append(&file, &line).map_err(|source| self.io(source))?;
        file.length += line.len() as u64;
        file.next += 1;
        file.has_stale |= is_known;
        file.take(row);
        Ok(())
    }

    /// Forgets the rows of these collections up to this number.
    ///
    /// # Errors
    /// [`RefusedRowsFileError`]; then nothing has changed.
    pub fn forget(&self, collections: &BTreeSet<CollectionId>, up_to: u64) -> Result<(), RefusedRowsFileError> {
        let is_meant = |row: &RefusedRow| row.number <= up_to && collections.contains(&CollectionId(row.collection_id));
        let mut file = self.file.lock();
        self.keep(&mut file, |row| !is_meant(row)).map_err(|source| self.io(source))
    }

    /// Whether rows of a collection are set aside.
    pub fn has_of(&self, collection: CollectionId) -> bool {
        self.file.lock().rows.iter().any(|row| row.collection_id == collection.0)
    }

    /// Forgets the rows of a collection whose keys are meant: later changes of them have been carried out.
    ///
    /// # Errors
    /// [`RefusedRowsFileError`]; then nothing has changed.
    pub fn outdate(
        &self,
        collection: CollectionId,
        is_meant: impl Fn(&str) -> bool,
    ) -> Result<(), RefusedRowsFileError> {
        let mut file = self.file.lock();
        self.keep(&mut file, |row| row.collection_id != collection.0 || !is_meant(&row.key))
            .map_err(|source| self.io(source))
    }

    /// Puts the line behind the whole ones. The first one makes the file.
    fn append(&self, state: &FileState, line: &[u8]) -> io::Result<()> {
        if state.length == 0 {
            return atomic_file::replace(&self.path, line);
        }
        let mut file = DiskFile::open(&self.path, OpenOptions::new().append(true))?;
        if file.length()? != state.length {
            file.set_length(state.length)?;
        }
        file.write_all(line)?;
        file.sync()
    }

    /// Rewrites the file with those rows alone.
    fn keep(&self, state: &mut FileState, is_kept: impl Fn(&RefusedRow) -> bool) -> io::Result<()> {
        let rows: Vec<RefusedRow> = state.rows.iter().filter(|row| is_kept(row)).cloned().collect();
        if rows.len() == state.rows.len() && !state.has_stale {
            return Ok(());
        }
        let numbers: BTreeSet<u64> = rows.iter().map(|row| row.number).collect();
        let content = if state.length == 0 { Vec::new() } else { fs::read(&self.path)? };
        let mut kept = Vec::new();
        for line in whole_lines(&content) {
            let parsed: Line = serde_json::from_slice(line)?;
            if numbers.contains(&parsed.number) {
                kept.extend_from_slice(line);
                kept.push(b'\n');
            }
        }
        atomic_file::replace(&self.path, &kept)?;
        (state.rows, state.length, state.has_stale) = (rows, kept.len() as u64, false);
        Ok(())
    }

    fn io(&self, source: io::Error) -> RefusedRowsFileError {
        RefusedRowsFileError::Io { path: self.path.clone(), source }
    }
}

impl FileState {
    /// The row's line counts, and no earlier one of its key.
    fn take(&mut self, row: RefusedRow) {
        self.rows.retain(|known| !is_same(known, &row));
        self.rows.push(row);
    }
}

impl Line {
    fn row(self) -> RefusedRow {
        let Line { number, collection_id, target, partition, key, channel, timestamp, since, reason, .. } = self;
        RefusedRow { number, collection_id, target, partition, key, channel, timestamp, since_ms: since, reason }
    }
}

fn is_same(one: &RefusedRow, other: &RefusedRow) -> bool {
    one.collection_id == other.collection_id && one.key == other.key
}

fn line_of(row: &RefusedRow, columns: &[Column]) -> io::Result<Vec<u8>> {
    let bytes = |column: &Column| column.parts().iter().flat_map(|part| part.iter().copied()).collect::<Vec<u8>>();
    let RefusedRow { number, collection_id, target, partition, key, channel, timestamp, since_ms, reason } =
        row.clone();
    let columns = columns.iter().map(|column| STANDARD.encode(bytes(column))).collect();
    let line =
        Line { number, collection_id, target, partition, key, channel, timestamp, since: since_ms, reason, columns };
    let mut line = serde_json::to_vec(&line)?;
    line.push(b'\n');
    Ok(line)
}

/// The lines that end; a last one without an end was torn.
fn whole_lines(content: &[u8]) -> impl Iterator<Item = &[u8]> {
    let end = content.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
    content[..end].split_inclusive(|byte| *byte == b'\n').map(|line| &line[..line.len() - 1])
}

#[cfg(test)]
mod fault_tests;
#[cfg(test)]
mod tests;
