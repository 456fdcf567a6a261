/*!
The files of lost writes in a task's folder, readable by the owner only: `lost-writes.json` counts them,
`lost-writes.jsonl` has them row by row as `refused-rows.jsonl` has its rows, and `lost-writes.part` holds rows while
the log is read.

The lines are replaced first and the counts after them, each as a whole. The counts name the moment of the listing, and
so does every line: lines of another listing than the counts' are never handed out.
*/

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::domain::Column;
use crate::storage::atomic_file;
use crate::storage::disk::{self, DiskFile};
use crate::storage::sealed_file::{self, SealedError};
use crate::task::failback::{LostLines, LostWrites};

const FORMAT: &str = "milvus-cdc lost writes";
const VERSION: u32 = 1;
/// How much is collected before it is written.
const CHUNK: usize = 1 << 20;

/// Where a row stands in the file of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RowPlace {
    pub(super) offset: u64,
    pub(super) len: u32,
}

/// One row's partition and columns, in the form in which they are written to the target.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct RowContent {
    pub(super) partition: String,
    /// Each a serialized `FieldData`, in base64.
    columns: Vec<String>,
}

impl RowContent {
    pub(super) fn new(partition: &str, columns: &[Column]) -> RowContent {
        let bytes = |column: &Column| column.parts().iter().flat_map(|part| part.iter().copied()).collect::<Vec<u8>>();
        let columns = columns.iter().map(|column| STANDARD.encode(bytes(column))).collect();
        RowContent { partition: partition.to_owned(), columns }
    }
}

/// One line: what `refused-rows.jsonl` has, and what a merge would do.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct LostLine {
    pub(super) number: u64,
    pub(super) collection_id: i64,
    pub(super) target: String,
    pub(super) partition: String,
    pub(super) key: String,
    pub(super) channel: String,
    pub(super) timestamp: u64,
    pub(super) since: u64,
    pub(super) reason: String,
    /// None for a delete.
    pub(super) columns: Vec<String>,
    pub(super) write: LineKind,
    pub(super) merge: LineMerge,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum LineKind {
    Put,
    Delete,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum LineMerge {
    Writes,
    Undecided,
}

impl LostLine {
    pub(super) fn with(self, content: Option<RowContent>) -> LostLine {
        match content {
            Some(RowContent { partition, columns }) => LostLine { partition, columns, ..self },
            None => self,
        }
    }

    /// The row's columns.
    pub(super) fn columns(&self) -> io::Result<Vec<Column>> {
        let decoded = self.columns.iter().map(|column| STANDARD.decode(column).map(Column::from));
        decoded.collect::<Result<_, _>>().map_err(io::Error::other)
    }
}

/// The files of one task.
#[derive(Debug, Clone)]
pub(crate) struct LostWritesFiles {
    folder: PathBuf,
}

impl LostWritesFiles {
    /// Those in this folder.
    pub(crate) fn of(task_folder: &Path) -> LostWritesFiles {
        LostWritesFiles { folder: task_folder.to_owned() }
    }

    fn counts(&self) -> PathBuf {
        self.folder.join("lost-writes.json")
    }

    fn lines(&self) -> PathBuf {
        self.folder.join("lost-writes.jsonl")
    }

    /// What was listed last.
    ///
    /// # Errors
    /// The file is there and cannot be used.
    pub(crate) fn load(&self) -> Result<Option<LostWrites>, SealedError> {
        sealed_file::load(&self.counts(), FORMAT, VERSION)
    }

    pub(super) fn save(&self, writes: &LostWrites) -> Result<(), SealedError> {
        sealed_file::save(&self.counts(), FORMAT, VERSION, writes)
    }

    /// Begins the file of rows.
    pub(super) fn rows(&self) -> io::Result<RowsFile> {
        let path = self.folder.join("lost-writes.part");
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true).mode(0o600);
        let file = DiskFile::open(&path, &options).map_err(|error| at(&path, &error))?;
        Ok(RowsFile { path, file, waiting: Vec::new(), length: 0 })
    }

    /// Replaces the list by these lines.
    pub(super) fn write(&self, lines: impl Iterator<Item = io::Result<LostLine>>) -> io::Result<()> {
        let path = self.lines();
        let written = atomic_file::replace_with(&path, |file| {
            let mut waiting = Vec::new();
            for line in lines {
                serde_json::to_writer(&mut waiting, &line?)?;
                waiting.push(b'\n');
                if waiting.len() >= CHUNK {
                    file.write_all(&std::mem::take(&mut waiting))?;
                }
            }
            file.write_all(&waiting)
        });
        written.map_err(|error| at(&path, &error))
    }

    /// Every line of a listing.
    pub(super) fn read(&self) -> io::Result<impl Iterator<Item = io::Result<LostLine>>> {
        let path = self.lines();
        let lines = BufReader::new(File::open(&path).map_err(|error| at(&path, &error))?).lines();
        Ok(lines.map(|line| Ok(serde_json::from_str(&line?)?)))
    }

    /// The lines from this place on, some of them at once.
    ///
    /// # Errors
    /// There is no list, or it cannot be read, or it belongs to another listing than the counts.
    pub(crate) fn page(&self, from: u64, max_bytes: usize) -> io::Result<LostLines> {
        let Some(counts) = self.load().map_err(io::Error::other)? else {
            return Err(io::Error::other("lost writes were not listed yet"));
        };
        let path = self.lines();
        let mut file = BufReader::new(File::open(&path).map_err(|error| at(&path, &error))?);
        file.seek(SeekFrom::Start(from))?;
        let mut page = LostLines { lines: Vec::new(), next: None };
        let mut place = from;
        while place - from < max_bytes as u64 {
            let mut line = String::new();
            let read = file.read_line(&mut line)?;
            if read == 0 {
                return Ok(page);
            }
            let parsed: LostLine = serde_json::from_str(&line)?;
            if parsed.since != counts.at_ms {
                return Err(io::Error::other("lost writes are being listed again: ask again in a moment"));
            }
            place += read as u64;
            page.lines.push(line.trim_end().to_owned());
        }
        page.next = Some(place);
        Ok(page)
    }
}

/// The error with its path.
fn at(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// Rows that were read, until it is known which of them count.
#[derive(Debug)]
pub(super) struct RowsFile {
    path: PathBuf,
    file: DiskFile,
    waiting: Vec<u8>,
    length: u64,
}

impl RowsFile {
    pub(super) fn add(&mut self, row: &RowContent) -> io::Result<RowPlace> {
        let before = self.waiting.len();
        serde_json::to_writer(&mut self.waiting, row)?;
        let len = (self.waiting.len() - before) as u32;
        let place = RowPlace { offset: self.length, len };
        self.length += u64::from(len);
        if self.waiting.len() >= CHUNK {
            self.flush()?;
        }
        Ok(place)
    }

    /// Everything can be read from here on.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.file.write_all(&std::mem::take(&mut self.waiting)).map_err(|error| at(&self.path, &error))
    }

    pub(super) fn read(&self, file: &mut File, place: RowPlace) -> io::Result<RowContent> {
        file.seek(SeekFrom::Start(place.offset))?;
        let mut bytes = vec![0; place.len as usize];
        file.read_exact(&mut bytes)?;
        Ok(serde_json::from_slice(&bytes)?)
    }

    /// For [`Self::read`].
    pub(super) fn reader(&self) -> io::Result<File> {
        File::open(&self.path)
    }

    /// It has served.
    pub(super) fn remove(self) {
        if let Err(error) = disk::remove(&self.path) {
            log::debug!("{}: {error}", self.path.display());
        }
    }
}

#[cfg(test)]
mod fault_tests;
