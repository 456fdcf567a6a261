/*!
Looking into columns, as little as possible. A column is one serialized `FieldData`, in one part or several. Rows pass through as these bytes;
only the key column is parsed, and all of them are only taken apart when rows must be picked out.

Two messages merge by putting the bytes of each column one behind the other: protobuf merges embedded messages and
appends repeated fields, so that is one column with the rows of both (seen on Milvus 2.3.5). It does not hold where a
vector column is one `bytes` field: there the last would win. See [`merges_by_appending`].
*/

use protobuf::Message;

use crate::milvus::pb::schema::field_data::Field;
use crate::milvus::pb::schema::scalar_field::Data as Scalars;
use crate::milvus::pb::schema::vector_field::Data as Vectors;
use crate::milvus::pb::schema::{FieldData, ScalarField, VectorField};
use crate::milvus::rows::Column;
use crate::milvus::wire::{Malformed, fields};
use crate::source::Keys;

/// Columns that do not read as such.
#[derive(Debug, thiserror::Error)]
pub enum ColumnError {
    /// No column has the key's name.
    #[error("the rows have no column {0:?}, the primary key")]
    NoKey(String),
    /// The key column holds neither integers nor strings.
    #[error("the column {0:?} holds neither integers nor strings")]
    NotAKey(String),
    /// Not a `FieldData`.
    #[error("a column is damaged")]
    Damaged,
    /// A column of a kind that cannot be taken apart here.
    #[error("the rows of column {0:?} cannot be told apart")]
    Opaque(String),
}

/// Whether columns of a field of this type (`DataType` of Milvus) may be merged by appending their bytes. The exceptions
/// are the vectors that are one `bytes` field (binary, float16, bfloat16, int8) and sparse ones, whose dimension differs.
pub fn merges_by_appending(data_type: i32) -> bool {
    !matches!(data_type, 100 | 102..=105)
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
        if is_named(column, key_name)? {
            return keys_of(column, key_name);
        }
    }
    Err(ColumnError::NoKey(key_name.into()))
}

/// Numbers of the fields of `FieldData`.
mod field {
    pub(super) const NAME: u32 = 2;
    pub(super) const SCALARS: u32 = 3;
    pub(super) const VECTORS: u32 = 4;
}

/// Whether this column has that name, without reading its contents.
fn is_named(column: &Column, name: &str) -> Result<bool, ColumnError> {
    for part in column.parts().iter().flat_map(|part| fields(part)) {
        let (number, bytes) = part?;
        if number == field::NAME {
            return Ok(bytes == name.as_bytes());
        }
    }
    Ok(false)
}

/// Decodes a column, appended ones included. The generated code would keep only the last part of those: it does not merge
/// the messages of a `oneof`.
fn decode(column: &Column) -> Result<FieldData, ColumnError> {
    let mut data = FieldData::parse_from_bytes(column.parts().first().ok_or(ColumnError::Damaged)?)?;
    let opaque = || ColumnError::Opaque(data.field_name.clone());
    let mut contents: Option<Field> = None;
    for part in column.parts().iter().flat_map(|part| fields(part)) {
        let more = match part? {
            (field::SCALARS, bytes) => Field::Scalars(ScalarField::parse_from_bytes(bytes)?),
            (field::VECTORS, bytes) => Field::Vectors(VectorField::parse_from_bytes(bytes)?),
            _ => continue,
        };
        match &mut contents {
            None => contents = Some(more),
            Some(contents) => append(contents, more).ok_or_else(opaque)?,
        }
    }
    data.field = contents;
    Ok(data)
}

/// Appends the rows of one part to those of the parts before; `None` when they are not of one kind.
fn append(contents: &mut Field, more: Field) -> Option<()> {
    macro_rules! appended {
        ($kind:ident: $mine:expr, $more:expr; $($variant:ident),*) => {
            match ($mine.data.as_mut()?, $more.data?) {
                $(($kind::$variant(mine), $kind::$variant(more)) => mine.data.extend(more.data),)*
                _ => return None,
            }
        };
    }
    match (contents, more) {
        (Field::Scalars(mine), Field::Scalars(more)) => appended!(
            Scalars: mine, more;
            BoolData, IntData, LongData, FloatData, DoubleData, StringData, BytesData, ArrayData, JsonData
        ),
        (Field::Vectors(mine), Field::Vectors(more)) => appended!(Vectors: mine, more; FloatVector),
        _ => return None,
    }
    Some(())
}

fn keys_of(column: &Column, name: &str) -> Result<Keys, ColumnError> {
    match decode(column)?.field {
        Some(Field::Scalars(ScalarField { data: Some(Scalars::LongData(keys)), .. })) => Ok(Keys::Int(keys.data)),
        Some(Field::Scalars(ScalarField { data: Some(Scalars::StringData(keys)), .. })) => Ok(Keys::Str(keys.data)),
        _ => Err(ColumnError::NotAKey(name.into())),
    }
}

/// The rows with these indexes, in that order, as columns again.
///
/// # Errors
/// A column is damaged, or of a kind whose rows cannot be told apart here (nullable ones, sparse vectors).
pub fn pick(columns: &[Column], rows: usize, indexes: &[usize]) -> Result<Vec<Column>, ColumnError> {
    columns.iter().map(|column| pick_column(column, rows, indexes)).collect()
}

fn pick_column(column: &Column, rows: usize, indexes: &[usize]) -> Result<Column, ColumnError> {
    let mut data = decode(column)?;
    let opaque = || ColumnError::Opaque(data.field_name.clone());
    if !data.valid_data.is_empty() {
        return Err(opaque());
    }
    let picked = match &data.field {
        Some(Field::Scalars(scalars)) => pick_scalars(scalars, indexes).map(Field::Scalars),
        Some(Field::Vectors(vectors)) => pick_vectors(vectors, rows, indexes).map(Field::Vectors),
        _ => None,
    };
    data.field = Some(picked.ok_or_else(opaque)?);
    Ok(data.write_to_bytes()?.into())
}

fn pick_items<T: Clone>(items: &[T], indexes: &[usize]) -> Option<Vec<T>> {
    indexes.iter().map(|&index| items.get(index).cloned()).collect()
}

fn pick_scalars(scalars: &ScalarField, indexes: &[usize]) -> Option<ScalarField> {
    macro_rules! picked {
        ($($variant:ident),*) => {
            match scalars.data.as_ref()? {
                $(Scalars::$variant(array) => {
                    let mut array = array.clone();
                    array.data = pick_items(&array.data, indexes)?;
                    Scalars::$variant(array)
                })*
            }
        };
    }
    let data = picked!(BoolData, IntData, LongData, FloatData, DoubleData, StringData, BytesData, ArrayData, JsonData);
    Some(ScalarField { data: Some(data), ..ScalarField::default() })
}

fn pick_vectors(vectors: &VectorField, rows: usize, indexes: &[usize]) -> Option<VectorField> {
    let data = match vectors.data.as_ref()? {
        Vectors::FloatVector(array) => {
            let mut array = array.clone();
            array.data = pick_chunks(&array.data, rows, indexes)?;
            Vectors::FloatVector(array)
        }
        Vectors::BinaryVector(bytes) => Vectors::BinaryVector(pick_chunks(bytes, rows, indexes)?),
        Vectors::Float16Vector(bytes) => Vectors::Float16Vector(pick_chunks(bytes, rows, indexes)?),
        Vectors::Bfloat16Vector(bytes) => Vectors::Bfloat16Vector(pick_chunks(bytes, rows, indexes)?),
    };
    Some(VectorField { dim: vectors.dim, data: Some(data), ..VectorField::default() })
}

/// Vectors lie one behind the other, all of one length.
fn pick_chunks<T: Clone>(items: &[T], rows: usize, indexes: &[usize]) -> Option<Vec<T>> {
    if rows == 0 || !items.len().is_multiple_of(rows) {
        return None;
    }
    let width = items.len() / rows;
    let mut picked = Vec::with_capacity(width * indexes.len());
    for &index in indexes {
        picked.extend_from_slice(items.get(index * width..(index + 1) * width)?);
    }
    Some(picked)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::milvus::pb::schema::{FloatArray, LongArray, StringArray};

    fn scalar(name: &str, data: Scalars) -> Column {
        let scalars = ScalarField { data: Some(data), ..Default::default() };
        let field = Some(Field::Scalars(scalars));
        FieldData { field_name: name.into(), field, ..Default::default() }.write_to_bytes().unwrap().into()
    }

    fn longs(name: &str, data: &[i64]) -> Column {
        scalar(name, Scalars::LongData(LongArray { data: data.to_vec(), ..Default::default() }))
    }

    fn strings(name: &str, data: &[&str]) -> Column {
        let data = data.iter().map(|&text| text.to_owned()).collect();
        scalar(name, Scalars::StringData(StringArray { data, ..Default::default() }))
    }

    fn vectors(data: Vectors) -> Column {
        let field = Some(Field::Vectors(VectorField { dim: 2, data: Some(data), ..Default::default() }));
        FieldData { field_name: "v".into(), field, ..Default::default() }.write_to_bytes().unwrap().into()
    }

    #[test]
    fn keys_by_name() {
        let columns = [strings("s", &["x", "y"]), longs("id", &[3, -4])];
        assert_eq!(keys(&columns, "id").unwrap(), Keys::Int(vec![3, -4]));
        assert_eq!(keys(&columns, "s").unwrap(), Keys::Str(vec!["x".into(), "y".into()]));
        assert!(matches!(keys(&columns, "nope"), Err(ColumnError::NoKey(_))));
    }

    #[test]
    fn appended_columns_are_one_column() {
        let floats =
            |data: &[f32]| vectors(Vectors::FloatVector(FloatArray { data: data.to_vec(), ..Default::default() }));
        let both = |mut first: Column, second: Column| {
            first.append(second);
            first
        };
        let ids = both(longs("id", &[1, 2]), longs("id", &[3]));
        let vectors = both(floats(&[1., 2., 3., 4.]), floats(&[5., 6.]));
        assert_eq!(keys(std::slice::from_ref(&ids), "id").unwrap(), Keys::Int(vec![1, 2, 3]));
        let picked = pick(&[ids, vectors], 3, &[1, 2]).unwrap();
        assert_eq!(picked, [longs("id", &[2, 3]), floats(&[3., 4., 5., 6.])]);
    }

    #[test]
    fn picks_rows_of_every_kind() {
        let floats = Vectors::FloatVector(FloatArray { data: vec![1., 2., 3., 4., 5., 6.], ..Default::default() });
        let columns = [longs("id", &[1, 2, 3]), vectors(floats), vectors(Vectors::BinaryVector(vec![7, 8, 9]))];
        let picked = pick(&columns, 3, &[2, 0]).unwrap();
        assert_eq!(keys(&picked, "id").unwrap(), Keys::Int(vec![3, 1]));
        let floats = Vectors::FloatVector(FloatArray { data: vec![5., 6., 1., 2.], ..Default::default() });
        assert_eq!(picked[1], vectors(floats));
        assert_eq!(picked[2], vectors(Vectors::BinaryVector(vec![9, 7])));
    }

    #[test]
    fn what_cannot_be_picked_is_an_error() {
        let columns = [longs("id", &[1, 2])];
        assert!(pick(&columns, 2, &[2]).is_err(), "no such row");
        assert!(pick(&[vectors(Vectors::BinaryVector(vec![1, 2, 3]))], 2, &[0]).is_err(), "uneven");
        assert!(pick(&[b"\xff\xff".to_vec().into()], 1, &[0]).is_err(), "damaged");
    }
}
