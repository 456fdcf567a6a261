//! How a line of the log is written.

/// How a line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// As Milvus' own servers write it.
    Text,
    /// A JSON object.
    Json,
}
