//! Why a message cannot be decoded.

use crate::milvus::wire::Malformed;

/// A message that cannot be decoded.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// A part of it is cut short or damaged.
    #[error("the message is damaged: {0}")]
    Protobuf(#[from] protobuf::Error),
    /// It is not protobuf at all.
    #[error("the message is damaged: not a protobuf message")]
    Malformed,
    /// Its first field, which tells its type, is missing.
    #[error("the message is damaged: it does not begin with a MsgBase")]
    NoBase,
    /// It is of another type than its properties say.
    #[error("the message is damaged: not an insert")]
    NoInsert,
    /// Rows in a form that no Milvus since 2.0 writes.
    #[error("an insert in the row-based form, which is not supported")]
    RowBased,
    /// It holds no keys, only a condition in a form of the server's own (Milvus 3).
    #[error("a delete by a condition without keys, which only the source itself can evaluate")]
    ByCondition,
}

impl From<Malformed> for DecodeError {
    fn from(_: Malformed) -> DecodeError {
        DecodeError::Malformed
    }
}
