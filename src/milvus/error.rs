//! What can go wrong with a call to a Milvus, told apart by what the caller can do about it.

use std::fmt;

/// A failed call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// The gRPC method's short name, for example `Insert`.
    pub method: &'static str,
    /// `host:port` of the server.
    pub address: String,
    /// What the call was about, for example `default.books`; empty when about the server itself.
    pub object: String,
    /// What kind of failure.
    pub kind: ErrorKind,
    /// The server's or the transport's own words.
    pub detail: String,
}

/// Kinds of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// No connection, a broken one, or no answer in time: the call may have been carried out, or not.
    Transport,
    /// We cancelled it: it may have been carried out, or not.
    Cancelled,
    /// The message is larger than one side accepts.
    TooLarge,
    /// This server does not know the call.
    Unimplemented,
    /// User, password or privileges are missing or wrong.
    Denied,
    /// The server answered with an error of its own: Milvus's error code, and the older one (0 when not given).
    Server {
        /// `Status.code`, as in Milvus's `merr` package.
        code: i32,
        /// `Status.error_code`, the numbering before 2.3.
        legacy: i32,
    },
}

impl ErrorKind {
    /// A word for it, for metrics.
    pub fn name(self) -> &'static str {
        match self {
            ErrorKind::Transport => "transport",
            ErrorKind::Cancelled => "cancelled",
            ErrorKind::TooLarge => "too_large",
            ErrorKind::Unimplemented => "unimplemented",
            ErrorKind::Denied => "denied",
            ErrorKind::Server { .. } => "server",
        }
    }
}

impl Error {
    /// It only says that something is not there, is there already or is not loaded: an answer to a question, not a failure.
    pub fn is_answer(&self) -> bool {
        self.is_collection_missing()
            || self.is_partition_missing()
            || self.is_database_missing()
            || self.is_index_missing()
            || self.is_not_loaded()
            || self.is_already_there()
    }

    /// The server has said nothing: it was not reached, or not waited for. What was asked may have been done or not.
    pub fn is_silence(&self) -> bool {
        matches!(self.kind, ErrorKind::Transport | ErrorKind::Cancelled)
    }

    /// The collection does not exist.
    pub fn is_collection_missing(&self) -> bool {
        matches!(self.kind, ErrorKind::Server { code: 100, .. } | ErrorKind::Server { legacy: 4, .. })
            || self.detail.contains("can't find collection")
            || self.detail.contains("collection not found")
    }

    /// The partition does not exist.
    pub fn is_partition_missing(&self) -> bool {
        matches!(self.kind, ErrorKind::Server { code: 200, .. }) || self.detail.contains("partition not found")
    }

    /// The database does not exist.
    pub fn is_database_missing(&self) -> bool {
        matches!(self.kind, ErrorKind::Server { code: 800, .. })
            || self.detail.contains("database not found")
            // Milvus Lite 3 has no code for it.
            || self.detail.starts_with("database '") && self.detail.ends_with("does not exist")
    }

    /// No index: what 2.3 answers when a collection has none.
    pub fn is_index_missing(&self) -> bool {
        matches!(self.kind, ErrorKind::Server { code: 700, .. } | ErrorKind::Server { legacy: 25, .. })
            || self.detail.contains("index not found")
    }

    /// The collection or partition is not loaded.
    pub fn is_not_loaded(&self) -> bool {
        matches!(self.kind, ErrorKind::Server { code: 101 | 103 | 201 | 202, .. })
            || self.detail.contains("not loaded")
            || self.detail.contains("has not been loaded")
    }

    /// The server does not have indexes of the type that was asked for, or wants one named.
    pub fn is_index_type_unknown(&self) -> bool {
        matches!(self.kind, ErrorKind::Server { .. })
            && ["index type", "index_type"].iter().any(|words| self.detail.contains(words))
    }

    /// What was to be made is there already.
    pub fn is_already_there(&self) -> bool {
        ["already exist", "has been existed", "exist already"].iter().any(|words| self.detail.contains(words))
    }
}

impl std::error::Error for Error {}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.method, self.address)?;
        if !self.object.is_empty() {
            write!(f, " for {}", self.object)?;
        }
        match self.kind {
            ErrorKind::Transport => write!(f, ": no answer: {}", self.detail),
            ErrorKind::Cancelled => f.write_str(": cancelled"),
            ErrorKind::TooLarge => write!(f, ": the message is too large: {}", self.detail),
            ErrorKind::Unimplemented => f.write_str(": this server does not have the call"),
            ErrorKind::Denied => write!(f, ": access denied: {}", self.detail),
            ErrorKind::Server { code, legacy, .. } => {
                write!(f, ": code {}: {}", if code != 0 { code } else { legacy }, self.detail)
            }
        }
    }
}
