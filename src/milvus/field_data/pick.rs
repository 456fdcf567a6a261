//! Picks rows out of columns.

use protobuf::Message;

use super::decode::decode;
use super::error::ColumnError;
use super::scalar_arrays::with_scalar_arrays;
use crate::domain::Column;
use crate::milvus::pb::schema::field_data::Field;
use crate::milvus::pb::schema::scalar_field::Data as Scalars;
use crate::milvus::pb::schema::vector_field::Data as Vectors;
use crate::milvus::pb::schema::{FieldData, ScalarField, StructArrayField, VectorField};

/// The columns of the rows with these indexes, in that order.
///
/// # Errors
/// A column is damaged, or of a kind that is not known here.
pub fn pick(columns: &[Column], rows: usize, indexes: &[usize]) -> Result<Vec<Column>, ColumnError> {
    columns.iter().map(|column| Ok(pick_field(&decode(column)?, rows, indexes)?.write_to_bytes()?.into())).collect()
}

fn pick_field(data: &FieldData, rows: usize, indexes: &[usize]) -> Result<FieldData, ColumnError> {
    let opaque = || ColumnError::Opaque(data.field_name.clone());
    let values = Values::of(data, rows).ok_or_else(opaque)?;
    let stored: Vec<usize> = indexes.iter().filter_map(|&index| values.place(index)).collect();
    let picked = match data.field.as_ref().ok_or_else(opaque)? {
        Field::Scalars(scalars) => pick_scalars(scalars, &stored).map(Field::Scalars),
        Field::Vectors(vectors) => pick_vectors(vectors, values.stored, &stored).map(Field::Vectors),
        Field::StructArrays(members) => Some(Field::StructArrays(pick_members(members, rows, indexes)?)),
    };
    let valid_data = match data.valid_data.is_empty() {
        true => Vec::new(),
        false => pick_items(&data.valid_data, indexes).ok_or_else(opaque)?,
    };
    let (type_, field_name) = (data.type_, data.field_name.clone());
    let field = Some(picked.ok_or_else(opaque)?);
    let (field_id, is_dynamic) = (data.field_id, data.is_dynamic);
    Ok(FieldData { type_, field_name, field_id, is_dynamic, valid_data, field, ..FieldData::default() })
}

/// Where each row's value stands among a column's values: a nullable column has values for all rows, or for those alone
/// that are not null.
struct Values {
    /// Number of stored values.
    stored: usize,
    /// By row: the index of its value; `None` for a null row. Absent if every row has its own value.
    places: Option<Vec<Option<usize>>>,
    rows: usize,
}

impl Values {
    fn of(data: &FieldData, rows: usize) -> Option<Values> {
        let valid = &data.valid_data;
        let there = valid.iter().filter(|&&valid| valid).count();
        let all = Values { stored: rows, places: None, rows };
        if valid.is_empty() || there == rows {
            return Some(all);
        }
        if valid.len() != rows {
            return None;
        }
        if !is_compact(data, there)? {
            return Some(all);
        }
        let mut next = 0..;
        let places = valid.iter().map(|&valid| if valid { next.next() } else { None }).collect();
        Some(Values { stored: there, places: Some(places), rows })
    }

    fn place(&self, index: usize) -> Option<usize> {
        match &self.places {
            Some(places) => places.get(index).copied().flatten(),
            // An index out of range finds no item later on.
            None => Some(index.min(self.rows)),
        }
    }
}

/// Whether a nullable column holds values only for the `there` rows that are not null; `None` when it holds neither
/// so many nor one for each row.
pub(super) fn is_compact(data: &FieldData, there: usize) -> Option<bool> {
    let rows = data.valid_data.len();
    let count = match data.field.as_ref()? {
        Field::Scalars(scalars) => count_scalars(scalars)?,
        Field::Vectors(vectors) => count_vectors(vectors)?,
        Field::StructArrays(_) => rows,
    };
    match count {
        count if count == there => Some(true),
        count if count == rows => Some(false),
        _ => None,
    }
}

fn count_scalars(scalars: &ScalarField) -> Option<usize> {
    macro_rules! counted {
        ($($variant:ident),*) => {
            match scalars.data.as_ref() {
                $(Some(Scalars::$variant(array)) => Some(array.data.len()),)*
                None => Some(0),
            }
        };
    }
    with_scalar_arrays!(counted;)
}

fn count_vectors(vectors: &VectorField) -> Option<usize> {
    let dim = usize::try_from(vectors.dim).ok().filter(|&dim| dim > 0);
    let fixed = |length: usize, width: Option<usize>| {
        if length == 0 {
            Some(0)
        } else {
            width.filter(|&width| length.is_multiple_of(width)).map(|width| length / width)
        }
    };
    match vectors.data.as_ref() {
        None => Some(0),
        Some(Vectors::FloatVector(array)) => fixed(array.data.len(), dim),
        Some(Vectors::BinaryVector(bytes)) => fixed(bytes.len(), dim.map(|dim| dim.div_ceil(8))),
        Some(Vectors::Float16Vector(bytes) | Vectors::Bfloat16Vector(bytes)) => {
            fixed(bytes.len(), dim.map(|dim| 2 * dim))
        }
        Some(Vectors::Int8Vector(bytes)) => fixed(bytes.len(), dim),
        Some(Vectors::SparseFloatVector(array)) => Some(array.contents.len()),
        Some(Vectors::VectorArray(array)) => Some(array.data.len()),
    }
}

fn pick_members(members: &StructArrayField, rows: usize, indexes: &[usize]) -> Result<StructArrayField, ColumnError> {
    let fields: Result<Vec<FieldData>, ColumnError> =
        members.fields.iter().map(|member| pick_field(member, rows, indexes)).collect();
    Ok(StructArrayField { fields: fields?, ..StructArrayField::default() })
}

fn pick_items<T: Clone>(items: &[T], indexes: &[usize]) -> Option<Vec<T>> {
    indexes.iter().map(|&index| items.get(index).cloned()).collect()
}

pub(super) fn pick_scalars(scalars: &ScalarField, indexes: &[usize]) -> Option<ScalarField> {
    macro_rules! picked {
        ($($variant:ident),*) => {
            match scalars.data.as_ref()? {
                $(Scalars::$variant(array) => {
                    let mut picked = array.clone();
                    picked.data = pick_items(&array.data, indexes)?;
                    Scalars::$variant(picked)
                })*
            }
        };
    }
    let data = with_scalar_arrays!(picked;);
    Some(ScalarField { data: Some(data), ..ScalarField::default() })
}

pub(super) fn pick_vectors(vectors: &VectorField, rows: usize, indexes: &[usize]) -> Option<VectorField> {
    let data = match vectors.data.as_ref()? {
        Vectors::FloatVector(array) => {
            let mut picked = array.clone();
            picked.data = pick_chunks(&array.data, rows, indexes)?;
            Vectors::FloatVector(picked)
        }
        Vectors::BinaryVector(bytes) => Vectors::BinaryVector(pick_chunks(bytes, rows, indexes)?),
        Vectors::Float16Vector(bytes) => Vectors::Float16Vector(pick_chunks(bytes, rows, indexes)?),
        Vectors::Bfloat16Vector(bytes) => Vectors::Bfloat16Vector(pick_chunks(bytes, rows, indexes)?),
        Vectors::Int8Vector(bytes) => Vectors::Int8Vector(pick_chunks(bytes, rows, indexes)?),
        Vectors::SparseFloatVector(array) => {
            // Its dimension may now be larger than these rows need, which is allowed.
            let mut picked = array.clone();
            picked.contents = pick_items(&array.contents, indexes)?;
            Vectors::SparseFloatVector(picked)
        }
        Vectors::VectorArray(array) => {
            let mut picked = array.clone();
            picked.data = pick_items(&array.data, indexes)?;
            Vectors::VectorArray(picked)
        }
    };
    Some(VectorField { dim: vectors.dim, data: Some(data), ..VectorField::default() })
}

/// Vectors lie one behind the other, all of one length.
fn pick_chunks<T: Clone>(items: &[T], rows: usize, indexes: &[usize]) -> Option<Vec<T>> {
    if indexes.is_empty() {
        return Some(Vec::new());
    }
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
