//! Errors of the scan engine.

use std::io;
use std::path::PathBuf;

use super::column::RowError;
use super::key::Key;
use crate::milvus::Error;
use crate::milvus::catalog::UnreadablePart;
use crate::milvus::field_data::ColumnError;

/// A page could not be read.
#[derive(Debug, thiserror::Error)]
pub enum PageError {
    /// A call failed.
    #[error(transparent)]
    Call(#[from] Error),
    /// The key column cannot be read.
    #[error("{object}: {source}")]
    Columns {
        /// Database and collection.
        object: String,
        /// The cause.
        source: ColumnError,
    },
    /// Another column cannot be read.
    #[error("{object}: {source}")]
    Rows {
        /// Database and collection.
        object: String,
        /// The cause.
        source: RowError,
    },
    /// One key has more rows than a query can return.
    #[error("{object}: the key {key} has more duplicate rows than one query can return")]
    SameKey {
        /// Database and collection.
        object: String,
        /// The key.
        key: Key,
    },
    /// A query of the whole collection does not see all of its rows.
    #[error("{object}: {part}: a query leaves its rows out")]
    Unreadable {
        /// Database and collection.
        object: String,
        /// What is not loaded.
        part: UnreadablePart,
    },
    /// A row lies outside of the requested range.
    #[error("{object}: the server returned a row outside of the requested range: its key is {key}")]
    Outside {
        /// Database and collection.
        object: String,
        /// The row's key.
        key: Key,
    },
}

/// A stream could not be read. Reading again continues where it stopped.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// Reading from a server failed.
    #[error(transparent)]
    Page(#[from] PageError),
    /// Reading a digest file failed.
    #[error(transparent)]
    DigestFile(#[from] DigestFileError),
}

/// A file of keys and digests that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DigestFileError {
    /// The file cannot be read or written.
    #[error("{}: cannot be {action}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// `read` or `written`.
        action: &'static str,
        /// The cause.
        source: io::Error,
    },
    /// The content is damaged.
    #[error("{}: damaged: {what}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
}
