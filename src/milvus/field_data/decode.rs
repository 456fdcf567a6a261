//! Decodes the bytes of a column into a `FieldData`, merging its parts.

use protobuf::Message;

use super::error::ColumnError;
use super::scalar_arrays::with_scalar_arrays;
use crate::domain::Column;
use crate::milvus::pb::schema::FieldData;
use crate::milvus::pb::schema::field_data::Field;
use crate::milvus::pb::schema::scalar_field::Data as Scalars;
use crate::milvus::pb::schema::vector_field::Data as Vectors;

/// Decodes a column, appended ones included. The generated code would keep only the last part of those: it does not
/// merge the messages of a `oneof`.
pub(super) fn decode(column: &Column) -> Result<FieldData, ColumnError> {
    let mut parts = column.parts().iter();
    let mut data = FieldData::parse_from_bytes(parts.next().ok_or(ColumnError::Damaged)?)?;
    for part in parts {
        let more = FieldData::parse_from_bytes(part)?;
        data.valid_data.extend(more.valid_data);
        match (&mut data.field, more.field) {
            (_, None) => {}
            (None, more) => data.field = more,
            (Some(field), Some(more)) => {
                append(field, more).ok_or_else(|| ColumnError::Opaque(data.field_name.clone()))?;
            }
        }
    }
    Ok(data)
}

/// Appends the rows of one part to those of the parts before; `None` if they are not of one kind.
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
        (Field::Scalars(mine), Field::Scalars(more)) => with_scalar_arrays!(appended; Scalars: mine, more;),
        (Field::Vectors(mine), Field::Vectors(more)) => appended!(Vectors: mine, more; FloatVector),
        _ => return None,
    }
    Some(())
}
