/*!
Small state files of one task: a first line with format, version and checksum, then JSON.

```text
{"format":"milvus-cdc checkpoint","version":1,"crc32":"0f3c2a11"}
{...}
```

Written with [`super::atomic_file`], so a crash leaves the old content or the new one. Any other content (a torn copy, a
flipped bit, another version) is refused with the path: starting from a wrong checkpoint could silently lose rows.
*/

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::atomic_file;

/// A state file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SealedError {
    /// The file cannot be read or written.
    #[error("{}: cannot be {action}: {source}", path.display())]
    Io {
        /// Path of the file.
        path: PathBuf,
        /// `read` or `written`.
        action: &'static str,
        /// Error of the operating system.
        source: io::Error,
    },
    /// The content is not what was written.
    #[error(
        "{}: damaged: {what}; delete the task and create it again (its rows are compared, none is duplicated)",
        path.display()
    )]
    Damaged {
        /// Path of the file.
        path: PathBuf,
        /// Nature of the damage.
        what: String,
    },
}

#[derive(Serialize, Deserialize)]
struct Seal {
    format: String,
    version: u32,
    crc32: String,
}

/// Writes `content` as the file's only content.
///
/// # Errors
/// [`SealedError::Io`] when the file cannot be written; the old content is kept.
pub fn save<T: Serialize>(path: &Path, format: &str, version: u32, content: &T) -> Result<(), SealedError> {
    let fail = |source: io::Error| SealedError::Io { path: path.into(), action: "written", source };
    let body = serde_json::to_string(content).map_err(|error| fail(error.into()))?;
    let seal = Seal { format: format.into(), version, crc32: checksum(&body) };
    let seal = serde_json::to_string(&seal).map_err(|error| fail(error.into()))?;
    atomic_file::replace(path, format!("{seal}\n{body}\n").as_bytes()).map_err(fail)
}

/// Reads what [`save`] wrote; `None` when there is no such file.
///
/// # Errors
/// [`SealedError`] when the file cannot be read, is damaged, or has another format or version.
pub fn load<T: DeserializeOwned>(path: &Path, format: &str, version: u32) -> Result<Option<T>, SealedError> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(SealedError::Io { path: path.into(), action: "read", source }),
    };
    let damaged = |what: String| SealedError::Damaged { path: path.into(), what };
    let (seal, body) = text.split_once('\n').ok_or_else(|| damaged("it is cut short".into()))?;
    let seal: Seal = serde_json::from_str(seal).map_err(|error| damaged(format!("the first line: {error}")))?;
    if seal.format != format || seal.version != version {
        return Err(damaged(format!(
            "it is {:?} version {}, where {format:?} version {version} is expected",
            seal.format, seal.version
        )));
    }
    let body = body.strip_suffix('\n').ok_or_else(|| damaged("it is cut short".into()))?;
    if seal.crc32 != checksum(body) {
        return Err(damaged("the checksum does not match".into()));
    }
    serde_json::from_str(body).map(Some).map_err(|error| damaged(error.to_string()))
}

fn checksum(body: &str) -> String {
    format!("{:08x}", crc32fast::hash(body.as_bytes()))
}

#[cfg(test)]
mod fault_tests;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn whole_or_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        assert!(load::<BTreeMap<String, i32>>(&path, "test", 1).unwrap().is_none());
        let content = BTreeMap::from([("a".to_owned(), 1), ("ü\n".to_owned(), 2)]);
        save(&path, "test", 1, &content).unwrap();
        assert_eq!(load::<BTreeMap<String, i32>>(&path, "test", 1).unwrap(), Some(content));
        assert!(load::<BTreeMap<String, i32>>(&path, "test", 2).is_err(), "another version");
        let bytes = std::fs::read(&path).unwrap();
        for cut in 0..bytes.len() {
            std::fs::write(&path, &bytes[..cut]).unwrap();
            assert!(load::<BTreeMap<String, i32>>(&path, "test", 1).is_err(), "cut at {cut}");
        }
        for index in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[index] ^= 0x20;
            std::fs::write(&path, &flipped).unwrap();
            let read = load::<BTreeMap<String, i32>>(&path, "test", 1);
            assert!(read.is_err(), "flipped at {index}: {read:?}");
        }
    }
}
