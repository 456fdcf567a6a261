/*!
Digest files: the keys and digests of the rows that are known to be on the target. Written and read in order, with a few
hundred KB of memory whatever the size.

```text
{"format":"milvus-cdc rows","version":1}\n
block*     length u32, crc32 u32, entries: key and digest (little-endian)
footer     JSON: the sections, one a partition, with where each begins and ends
trailer    length of the footer u32, crc32 of the footer u32, "CDCROWS1"
```

A section holds the rows of one partition in the order of their keys. A file is written beside the old one and replaces
it once it is complete. A damaged file is refused with its path.
*/

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::digest::Digest;
use super::error::{DigestFileError, ScanError};
use super::key::Key;
use super::merge::{RowEntry, RowStream};
use crate::storage::disk::{self, DiskFile};

const HEAD: &[u8] = b"{\"format\":\"milvus-cdc rows\",\"version\":1}\n";
const TAIL: &[u8; 8] = b"CDCROWS1";
const TRAILER: usize = 16;
/// A block is written once it has this size.
const BLOCK: usize = 64 << 10;
/// Larger than any block: a key has at most 64 KB.
const MAX_BLOCK: usize = 1 << 20;

/// The rows of one partition in the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Section {
    /// The partition's name; empty for the whole collection.
    pub name: String,
    /// Its id at the source: a partition of the same name with another id is another partition.
    pub id: i64,
    /// Number of rows.
    pub rows: u64,
    begin: u64,
    end: u64,
}

/// How far a file has been synced to disk; writing can be resumed from here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DigestFileMark {
    sections: Vec<Section>,
    end: u64,
}

#[derive(Serialize, Deserialize)]
struct Footer {
    round: u64,
    sections: Vec<Section>,
}

fn failed(path: &Path, action: &'static str) -> impl Fn(io::Error) -> DigestFileError + use<> {
    let path = path.to_owned();
    move |source| DigestFileError::Io { path: path.clone(), action, source }
}

/// A complete file.
#[derive(Debug, Clone)]
pub struct DigestFileReader {
    path: PathBuf,
    round: u64,
    sections: Vec<Section>,
}

impl DigestFileReader {
    /// Opens the file; `None` if there is none.
    ///
    /// # Errors
    /// [`DigestFileError`]; blocks are checked when they are read.
    pub fn open(path: &Path) -> Result<Option<DigestFileReader>, DigestFileError> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(path, "read")(error)),
        };
        let footer = read_footer(path, file)?;
        Ok(Some(DigestFileReader { path: path.to_owned(), round: footer.round, sections: footer.sections }))
    }

    /// The round that wrote it.
    pub fn round(&self) -> u64 {
        self.round
    }

    /// How many rows of one partition it has.
    pub fn rows_of(&self, name: &str, id: i64) -> u64 {
        let is_it = |section: &&Section| section.name == name && section.id == id;
        self.sections.iter().filter(is_it).map(|section| section.rows).sum()
    }

    /// The rows of one partition behind a key; none if the file has no such section.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn section(&self, name: &str, id: i64, after: Option<Key>) -> Result<SectionReader, DigestFileError> {
        let section = self.sections.iter().find(|section| section.name == name && section.id == id);
        let (begin, end) = section.map_or((0, 0), |section| (section.begin, section.end));
        let mut file = File::open(&self.path).map_err(failed(&self.path, "read"))?;
        file.seek(SeekFrom::Start(begin)).map_err(failed(&self.path, "read"))?;
        let file = BufReader::with_capacity(BLOCK, file);
        Ok(SectionReader { path: self.path.clone(), file, at: begin, end, block: Vec::new(), offset: 0, after })
    }
}

fn read_footer(path: &Path, mut file: File) -> Result<Footer, DigestFileError> {
    let io = failed(path, "read");
    let damaged = |what: &str| DigestFileError::Damaged { path: path.to_owned(), what: what.to_owned() };
    let mut head = vec![0; HEAD.len()];
    let length = file.metadata().map_err(&io)?.len();
    if length < (HEAD.len() + TRAILER) as u64 {
        return Err(damaged("it is cut short"));
    }
    file.read_exact(&mut head).map_err(&io)?;
    if head != HEAD {
        return Err(damaged("it does not begin as such a file does"));
    }
    let mut trailer = [0; TRAILER];
    file.seek(SeekFrom::End(-(TRAILER as i64))).map_err(&io)?;
    file.read_exact(&mut trailer).map_err(&io)?;
    let (length_of_footer, crc) = two_numbers(&trailer);
    if &trailer[8..] != TAIL {
        return Err(damaged("it is cut short"));
    }
    let begin = length.checked_sub((TRAILER + length_of_footer) as u64).filter(|begin| *begin >= HEAD.len() as u64);
    let begin = begin.ok_or_else(|| damaged("the footer's length"))?;
    file.seek(SeekFrom::Start(begin)).map_err(&io)?;
    let mut footer = vec![0; length_of_footer];
    file.read_exact(&mut footer).map_err(&io)?;
    if crc32fast::hash(&footer) != crc {
        return Err(damaged("the footer's checksum does not match"));
    }
    serde_json::from_slice(&footer).map_err(|error| damaged(&format!("the footer: {error}")))
}

fn two_numbers(bytes: &[u8]) -> (usize, u32) {
    let number = |bytes: &[u8]| bytes.iter().rev().fold(0u32, |number, &byte| number << 8 | u32::from(byte));
    (number(&bytes[..4]) as usize, number(&bytes[4..8]))
}

/// The rows of one section, in order.
#[derive(Debug)]
pub struct SectionReader {
    path: PathBuf,
    file: BufReader<File>,
    at: u64,
    end: u64,
    block: Vec<u8>,
    offset: usize,
    after: Option<Key>,
}

impl SectionReader {
    fn read_block(&mut self) -> Result<(), DigestFileError> {
        let mut head = [0; 8];
        self.file.read_exact(&mut head).map_err(failed(&self.path, "read"))?;
        let (length, crc) = two_numbers(&head);
        if length == 0 || length > MAX_BLOCK || self.at + (8 + length) as u64 > self.end {
            return Err(self.damaged("a block's length"));
        }
        self.block.resize(length, 0);
        self.file.read_exact(&mut self.block).map_err(failed(&self.path, "read"))?;
        if crc32fast::hash(&self.block) != crc {
            return Err(self.damaged("a block's checksum does not match"));
        }
        self.at += (8 + length) as u64;
        self.offset = 0;
        Ok(())
    }

    fn take(&mut self, length: usize) -> Result<&[u8], DigestFileError> {
        let end = self.offset + length;
        if end > self.block.len() {
            return Err(self.damaged("an entry that is cut"));
        }
        let taken = &self.block[self.offset..end];
        self.offset = end;
        Ok(taken)
    }

    fn number(&mut self) -> Result<u64, DigestFileError> {
        Ok(self.take(8)?.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte)))
    }

    fn entry(&mut self) -> Result<RowEntry, DigestFileError> {
        let key = match self.take(1)? {
            [0] => Key::Int(self.number()? as i64),
            _ => {
                let length = self.number()? as usize;
                match std::str::from_utf8(self.take(length)?) {
                    Ok(text) => Key::Str(text.to_owned()),
                    Err(_) => return Err(self.damaged("a key that is no text")),
                }
            }
        };
        Ok(RowEntry { key, digest: Some(self.number()?) })
    }

    fn damaged(&self, what: &str) -> DigestFileError {
        DigestFileError::Damaged { path: self.path.clone(), what: format!("{what}, near byte {}", self.at) }
    }
}

impl RowStream for SectionReader {
    fn next_entry(&mut self) -> Result<Option<RowEntry>, ScanError> {
        loop {
            while self.offset == self.block.len() {
                if self.at >= self.end {
                    return Ok(None);
                }
                self.read_block()?;
            }
            let entry = self.entry()?;
            if self.after.as_ref().is_none_or(|after| entry.key > *after) {
                return Ok(Some(entry));
            }
        }
    }
}

/// Writes a digest file.
#[derive(Debug)]
pub struct DigestFileWriter {
    path: PathBuf,
    building: PathBuf,
    file: BufWriter<DiskFile>,
    round: u64,
    sections: Vec<Section>,
    block: Vec<u8>,
    end: u64,
}

impl DigestFileWriter {
    /// Begins a new file, which will replace the one at `path`.
    ///
    /// # Errors
    /// [`DigestFileError::Io`]
    pub fn create(path: &Path, round: u64) -> Result<DigestFileWriter, DigestFileError> {
        let building = path.with_extension("building");
        let io = failed(&building, "written");
        let mut options = OpenOptions::new();
        let mut file =
            DiskFile::open(&building, options.write(true).create(true).truncate(true).mode(0o600)).map_err(&io)?;
        file.write_all(HEAD).map_err(&io)?;
        let mark = DigestFileMark { sections: Vec::new(), end: HEAD.len() as u64 };
        Ok(DigestFileWriter::of(path, building, file, round, mark))
    }

    /// Resumes writing a file at a mark. The content behind the mark is discarded.
    ///
    /// # Errors
    /// [`DigestFileError::Io`]; [`DigestFileError::Damaged`] if the file is shorter than the mark says.
    pub fn resume(path: &Path, round: u64, mark: DigestFileMark) -> Result<DigestFileWriter, DigestFileError> {
        let building = path.with_extension("building");
        let io = failed(&building, "written");
        let mut file = DiskFile::open(&building, OpenOptions::new().write(true)).map_err(&io)?;
        if file.length().map_err(&io)? < mark.end {
            return Err(DigestFileError::Damaged { path: building, what: "it is shorter than it was".into() });
        }
        file.set_length(mark.end).map_err(&io)?;
        file.seek(SeekFrom::End(0)).map_err(&io)?;
        Ok(DigestFileWriter::of(path, building, file, round, mark))
    }

    fn of(path: &Path, building: PathBuf, file: DiskFile, round: u64, mark: DigestFileMark) -> DigestFileWriter {
        let DigestFileMark { sections, end } = mark;
        let file = BufWriter::with_capacity(BLOCK, file);
        DigestFileWriter { path: path.to_owned(), building, file, round, sections, block: Vec::new(), end }
    }

    /// Begins the section of a partition: the following rows belong to it.
    ///
    /// # Errors
    /// [`DigestFileError::Io`]
    pub fn begin_section(&mut self, name: &str, id: i64) -> Result<(), DigestFileError> {
        self.write_block()?;
        let section = Section { name: name.to_owned(), id, rows: 0, begin: self.end, end: self.end };
        self.sections.push(section);
        Ok(())
    }

    /// Appends a row.
    ///
    /// # Errors
    /// [`DigestFileError::Io`]
    pub fn push(&mut self, key: &Key, digest: Digest) -> Result<(), DigestFileError> {
        match key {
            Key::Int(key) => {
                self.block.push(0);
                self.block.extend_from_slice(&key.to_le_bytes());
            }
            Key::Str(key) => {
                self.block.push(1);
                self.block.extend_from_slice(&(key.len() as u64).to_le_bytes());
                self.block.extend_from_slice(key.as_bytes());
            }
        }
        self.block.extend_from_slice(&digest.to_le_bytes());
        if let Some(section) = self.sections.last_mut() {
            section.rows += 1;
        }
        if self.block.len() >= BLOCK { self.write_block() } else { Ok(()) }
    }

    fn write_block(&mut self) -> Result<(), DigestFileError> {
        if self.block.is_empty() {
            return Ok(());
        }
        let io = failed(&self.building, "written");
        self.file.write_all(&(self.block.len() as u32).to_le_bytes()).map_err(&io)?;
        self.file.write_all(&crc32fast::hash(&self.block).to_le_bytes()).map_err(&io)?;
        self.file.write_all(&self.block).map_err(&io)?;
        self.end += 8 + self.block.len() as u64;
        self.block.clear();
        if let Some(section) = self.sections.last_mut() {
            section.end = self.end;
        }
        Ok(())
    }

    /// Syncs everything so far to disk, so that writing can be resumed from here after a crash.
    ///
    /// # Errors
    /// [`DigestFileError::Io`]
    pub fn sync(&mut self) -> Result<DigestFileMark, DigestFileError> {
        self.write_block()?;
        let io = failed(&self.building, "written");
        self.file.flush().map_err(&io)?;
        self.file.get_ref().sync().map_err(&io)?;
        Ok(DigestFileMark { sections: self.sections.clone(), end: self.end })
    }

    /// Completes the file and moves it into place.
    ///
    /// # Errors
    /// [`DigestFileError::Io`]; the old file is still there.
    pub fn finish(mut self) -> Result<(), DigestFileError> {
        self.write_block()?;
        let io = failed(&self.building, "written");
        let footer = Footer { round: self.round, sections: std::mem::take(&mut self.sections) };
        let footer = serde_json::to_vec(&footer).map_err(|error| io(error.into()))?;
        self.file.write_all(&footer).map_err(&io)?;
        self.file.write_all(&(footer.len() as u32).to_le_bytes()).map_err(&io)?;
        self.file.write_all(&crc32fast::hash(&footer).to_le_bytes()).map_err(&io)?;
        self.file.write_all(TAIL).map_err(&io)?;
        self.file.flush().map_err(&io)?;
        self.file.get_ref().sync().map_err(&io)?;
        disk::rename(&self.building, &self.path).map_err(failed(&self.path, "written"))
    }
}

#[cfg(test)]
mod fault_tests;
#[cfg(test)]
mod tests;
