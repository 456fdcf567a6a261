/*!
The codec of `FieldData`, which looks into columns as little as possible. A column is one serialized `FieldData`, in one
part or several. Rows pass through as these bytes; only the key column is parsed. All columns are decoded only if rows
must be picked ([`pick`](fn@pick)), and single columns where a log stores a type in another form than clients write it
([`Shape`]).

Two messages merge by concatenating the bytes of each column: protobuf merges embedded messages and appends repeated
fields, so the result is one column with the rows of both (seen on Milvus 2.3.5). This does not hold for vector columns
that are one `bytes` field: there the last one would win. See [`merges_by_appending`]. Columns arrive in the order in
which the client sent them, which the server keeps: they are sorted by name before messages are compared ([`sort`]).
*/

mod decode;
mod error;
mod geometry;
mod known;
mod pick;
mod scalar_arrays;
mod shape;
mod timestamp;

pub use error::ColumnError;
pub use known::{KnownFields, field_names};
pub use pick::pick;
pub use shape::Shape;

use self::decode::decode;
use crate::domain::{Column, Keys};
use crate::milvus::data_type::DataType;
use crate::milvus::pb::schema::ScalarField;
use crate::milvus::pb::schema::field_data::Field;
use crate::milvus::pb::schema::scalar_field::Data as Scalars;
use crate::milvus::wire::fields;

/// Whether columns of this `DataType` of Milvus may be merged by concatenating their bytes. Exceptions: vectors that
/// are one `bytes` field (binary, float16, bfloat16, int8), sparse vectors, whose dimensions differ, and members of a
/// list of records, which would become additional members.
pub fn merges_by_appending(data_type: i32) -> bool {
    use DataType::*;
    !matches!(
        DataType::of(data_type),
        BinaryVector
            | Float16Vector
            | BFloat16Vector
            | SparseFloatVector
            | Int8Vector
            | ArrayOfVector
            | ArrayOfStruct
            | Struct
            | Unknown(200..)
    )
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

/// A column's name, read without decoding the column; empty if it has none.
fn name_of(column: &Column) -> Result<&[u8], ColumnError> {
    for part in column.parts().iter().flat_map(|part| fields(part)) {
        let (number, bytes) = part?;
        if number == field::NAME {
            return Ok(bytes);
        }
    }
    Ok(b"")
}

/// Sorts columns by name.
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
pub(crate) mod testing;
#[cfg(test)]
mod tests;
