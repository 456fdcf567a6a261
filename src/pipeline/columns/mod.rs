/*!
Looking into columns, as little as possible. A column is one serialized `FieldData`, in one part or several. Rows pass through as these bytes;
only the key column is parsed. All of them are taken apart when rows must be picked out ([`pick`]), and single ones where a log
writes a type in another form than users do ([`Shape`]).

Two messages merge by putting the bytes of each column one behind the other: protobuf merges embedded messages and
appends repeated fields, so that is one column with the rows of both (seen on Milvus 2.3.5). It does not hold where a
vector column is one `bytes` field: there the last would win. See [`merges_by_appending`]. Columns come in the order that the
user's client sent them in, which the server keeps: they are put in the order of their names before messages are compared ([`sort`]).
*/

mod decode;
mod geometry;
mod known;
mod pick;
mod shape;
mod timestamp;

use self::decode::decode;
use crate::milvus::pb::schema::ScalarField;
use crate::milvus::pb::schema::field_data::Field;
use crate::milvus::pb::schema::scalar_field::Data as Scalars;
use crate::milvus::rows::Column;
use crate::milvus::wire::{Malformed, fields};
use crate::source::Keys;

pub use known::{KnownFields, field_names};
pub use pick::pick;
pub use shape::Shape;

/// Columns that do not read as such.
#[derive(Debug, thiserror::Error)]
pub enum ColumnError {
    /// No column has the key's name.
    #[error("the rows have no column {0:?}, the primary key")]
    NoKey(String),
    /// The key column holds neither integers nor strings.
    #[error("the column {0:?} holds neither integers nor strings")]
    NotAKey(String),
    /// The catalog has looked, and there is no such field.
    #[error("they have a column {0:?}, and the source's collection has no such field")]
    Unknown(String),
    /// Not a `FieldData`.
    #[error("a column is damaged")]
    Damaged,
    /// A column of a kind that cannot be taken apart here.
    #[error("the rows of column {0:?} cannot be told apart")]
    Opaque(String),
    /// A value that no user could have written.
    #[error("the column {0:?} holds a value that cannot be written in the form that users write: {1}")]
    Unwritable(String, String),
}

/// Whether columns of a field of this type (`DataType` of Milvus) may be merged by appending their bytes. The exceptions
/// are the vectors that are one `bytes` field (binary, float16, bfloat16, int8), sparse ones, whose dimension differs, and
/// the members of a list of records, which would become more members.
pub fn merges_by_appending(data_type: i32) -> bool {
    !matches!(data_type, 100 | 102..=106 | 200..)
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

/// The primary keys of these rows.
///
/// # Errors
/// There is no such column, or it is damaged.
pub fn keys(columns: &[Column], key_name: &str) -> Result<Keys, ColumnError> {
    for column in columns {
        if name_of(column)? == key_name.as_bytes() {
            return keys_of(column, key_name);
        }
    }
    Err(ColumnError::NoKey(key_name.into()))
}

/// Numbers of the fields of `FieldData`.
mod field {
    pub(super) const NAME: u32 = 2;
    pub(super) const ID: u32 = 5;
}

/// A column's name, without reading its contents; empty when it has none.
fn name_of(column: &Column) -> Result<&[u8], ColumnError> {
    for part in column.parts().iter().flat_map(|part| fields(part)) {
        let (number, bytes) = part?;
        if number == field::NAME {
            return Ok(bytes);
        }
    }
    Ok(b"")
}

/// Puts columns in the order of their names, whatever order they were written in.
///
/// # Errors
/// One of them is damaged.
pub fn sort(columns: &mut [Column]) -> Result<(), ColumnError> {
    columns.iter().try_for_each(|column| name_of(column).map(drop))?;
    columns.sort_by(|a, b| name_of(a).unwrap_or_default().cmp(name_of(b).unwrap_or_default()));
    Ok(())
}

/// Whether these are columns of the same fields in the same order.
///
/// # Errors
/// One of them is damaged.
pub fn same_fields(some: &[Column], others: &[Column]) -> Result<bool, ColumnError> {
    if some.len() != others.len() {
        return Ok(false);
    }
    for (one, other) in some.iter().zip(others) {
        if name_of(one)? != name_of(other)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn keys_of(column: &Column, name: &str) -> Result<Keys, ColumnError> {
    match decode(column)?.field {
        Some(Field::Scalars(ScalarField { data: Some(Scalars::LongData(keys)), .. })) => Ok(Keys::Int(keys.data)),
        Some(Field::Scalars(ScalarField { data: Some(Scalars::StringData(keys)), .. })) => Ok(Keys::Str(keys.data)),
        _ => Err(ColumnError::NotAKey(name.into())),
    }
}

#[cfg(test)]
mod tests;
