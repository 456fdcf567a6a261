//! Errors of columns.

use crate::milvus::wire::Malformed;

/// A column cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ColumnError {
    /// There is no key column.
    #[error("the rows have no column {0:?}, the primary key")]
    NoKey(String),
    /// The key column holds neither integers nor strings.
    #[error("the column {0:?} holds neither integers nor strings")]
    NotAKey(String),
    /// The source's collection has no field for a column, although the catalog has been read again.
    #[error("the rows have a column {0:?}, and the source's collection has no such field")]
    Unknown(String),
    /// Not a `FieldData`.
    #[error("a column is damaged")]
    Damaged,
    /// The column's layout is not supported.
    #[error("column {0:?} has a layout whose rows cannot be separated")]
    Opaque(String),
    /// A value cannot be converted to the form that clients write.
    #[error("column {0:?} holds a value that cannot be converted to the form that clients write: {1}")]
    Unwritable(String, String),
}

impl From<protobuf::Error> for ColumnError {
    fn from(_: protobuf::Error) -> Self {
        ColumnError::Damaged
    }
}

impl From<Malformed> for ColumnError {
    fn from(_: Malformed) -> Self {
        ColumnError::Damaged
    }
}
