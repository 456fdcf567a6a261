/*!
Splits a column into the values of its rows. Decoding only locates each row's value in the bytes of the column, so that
fields of every type can be digested and picked, unknown types included if their values are byte strings.
*/

use protobuf::CodedOutputStream;
use protobuf::rt::WireType;

use super::value_kind::{Layout, ValueKind};
use crate::domain::Column;
use crate::milvus::DataType;
use crate::milvus::wire::{Malformed, fields, number, numbers};

/// A column cannot be split into rows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RowError {
    /// Not a `FieldData`.
    #[error("a column is damaged")]
    Damaged,
    /// The number of values does not fit the number of rows.
    #[error("the column {name:?} has {values} values for {rows} rows")]
    Uneven {
        /// The field's name.
        name: String,
        /// Values in the column.
        values: usize,
        /// Number of rows.
        rows: usize,
    },
}

impl From<Malformed> for RowError {
    fn from(_: Malformed) -> Self {
        RowError::Damaged
    }
}

impl From<protobuf::Error> for RowError {
    fn from(_: protobuf::Error) -> Self {
        RowError::Damaged
    }
}

/// Numbers of the fields of `FieldData` (milvus-proto, schema.proto).
mod field {
    pub(super) const TYPE: u32 = 1;
    pub(super) const NAME: u32 = 2;
    pub(super) const SCALARS: u32 = 3;
    pub(super) const VECTORS: u32 = 4;
    pub(super) const ID: u32 = 5;
    pub(super) const IS_DYNAMIC: u32 = 6;
    pub(super) const VALID: u32 = 7;
    pub(super) const STRUCTS: u32 = 8;
}

/// One column.
pub(super) struct RowColumn<'a> {
    pub(super) name: String,
    pub(super) is_dynamic: bool,
    pub(super) contents: Contents<'a>,
    type_: u64,
    id: u64,
    valid: Vec<bool>,
}

/// The contents of a column.
pub(super) enum Contents<'a> {
    /// Values without those of null rows, and the other numbers of their array (the element type, a dimension).
    Values { kind: Option<ValueKind>, layout: Layout, dim: u64, values: Vec<&'a [u8]>, besides: Vec<(u32, u64)> },
    /// The columns of an array of structs.
    Structs(Vec<RowColumn<'a>>),
}

impl<'a> RowColumn<'a> {
    /// Locates the values of `rows` rows.
    pub(super) fn read(column: &'a Column, rows: usize) -> Result<RowColumn<'a>, RowError> {
        let parts: Vec<&[u8]> = column.parts().iter().map(|part| &part[..]).collect();
        RowColumn::of(&parts, rows)
    }

    fn of(parts: &[&'a [u8]], rows: usize) -> Result<RowColumn<'a>, RowError> {
        let mut found = RawColumn::default();
        for part in parts {
            found.add(part)?;
        }
        let RawColumn { name, is_dynamic, type_, id, valid, scalars, vectors, structs } = found;
        let contents = if structs.is_empty() {
            let (kind, dim, arrays) = arrays(&scalars, &vectors)?;
            let nulls = valid.iter().filter(|valid| !**valid).count();
            let uneven = |values| RowError::Uneven { name: name.clone(), values, rows };
            if !valid.is_empty() && valid.len() != rows {
                return Err(uneven(valid.len()));
            }
            let (layout, values) = values(kind, dim, &arrays, rows, rows - nulls)?;
            let besides = besides(kind, arrays.first().copied())?;
            let values = match values.len() {
                count if count == rows - nulls => values,
                // Null rows have filler values.
                count if count == rows => pick_valid(values, &valid),
                // An empty column contributes nothing to any row.
                0 if valid.is_empty() => values,
                count => return Err(uneven(count)),
            };
            Contents::Values { kind, layout, dim, values, besides }
        } else {
            let columns: Result<Vec<_>, _> = structs.iter().map(|columns| RowColumn::of(columns, rows)).collect();
            Contents::Structs(columns?)
        };
        Ok(RowColumn { name, is_dynamic, contents, type_, id, valid })
    }

    /// The value of every row; `None` for null.
    pub(super) fn each(&self, values: &[&'a [u8]], rows: usize) -> Vec<Option<&'a [u8]>> {
        if values.is_empty() {
            return vec![None; rows];
        }
        let mut left = values.iter().copied();
        (0..rows).map(|row| if self.is_valid(row) { left.next() } else { None }).collect()
    }

    fn is_valid(&self, row: usize) -> bool {
        self.valid.get(row).copied().unwrap_or(true)
    }

    /// Whether `Insert` expects another form than `Query` returns: no values for null rows, an element kind in empty
    /// arrays.
    fn must_change(&self) -> bool {
        match &self.contents {
            Contents::Values { kind: Some(ValueKind::ARRAY), values, .. } => {
                !self.valid.is_empty() || values.iter().any(|row| row.is_empty())
            }
            Contents::Values { .. } => !self.valid.is_empty(),
            Contents::Structs(columns) => columns.iter().any(RowColumn::must_change),
        }
    }
}

/// The fields of a `FieldData`, merged from all its parts.
#[derive(Default)]
struct RawColumn<'a> {
    name: String,
    is_dynamic: bool,
    type_: u64,
    id: u64,
    valid: Vec<bool>,
    scalars: Vec<&'a [u8]>,
    vectors: Vec<&'a [u8]>,
    structs: Vec<Vec<&'a [u8]>>,
}

impl<'a> RawColumn<'a> {
    fn add(&mut self, part: &'a [u8]) -> Result<(), RowError> {
        for part in fields(part) {
            match part? {
                (field::TYPE, bytes) => self.type_ = number(bytes)?,
                (field::NAME, bytes) => self.name = String::from_utf8_lossy(bytes).into_owned(),
                (field::SCALARS, bytes) => self.scalars.push(bytes),
                (field::VECTORS, bytes) => self.vectors.push(bytes),
                (field::ID, bytes) => self.id = number(bytes)?,
                (field::IS_DYNAMIC, bytes) => self.is_dynamic = number(bytes)? != 0,
                (field::VALID, bytes) => {
                    for valid in numbers(bytes) {
                        self.valid.push(valid? != 0);
                    }
                }
                (field::STRUCTS, bytes) => {
                    for (index, column) in fields(bytes).enumerate() {
                        let (_, column) = column?;
                        match self.structs.get_mut(index) {
                            Some(parts) => parts.push(column),
                            None => self.structs.push(vec![column]),
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }
}

type Arrays<'a> = (Option<ValueKind>, u64, Vec<&'a [u8]>);

/// The value arrays, one per part, with their kind and the dimension of vectors.
fn arrays<'a>(scalars: &[&'a [u8]], vectors: &[&'a [u8]]) -> Result<Arrays<'a>, RowError> {
    let (mut kind, mut dim, mut arrays) = (None, 0, Vec::new());
    let scalars = scalars.iter().map(|bytes| (ValueKind::Scalars as fn(u32) -> ValueKind, bytes));
    let vectors = vectors.iter().map(|bytes| (ValueKind::Vectors as fn(u32) -> ValueKind, bytes));
    for (kind_of, bytes) in scalars.chain(vectors) {
        for part in fields(bytes) {
            let (field, bytes) = part?;
            let found = kind_of(field);
            if found == ValueKind::DIMENSION {
                dim = number(bytes)?;
                continue;
            }
            if kind.is_some_and(|kind| kind != found) {
                return Err(RowError::Damaged);
            }
            kind = Some(found);
            arrays.push(bytes);
        }
    }
    Ok((kind, dim, arrays))
}

/// Locates each value.
fn values<'a>(
    kind: Option<ValueKind>,
    dim: u64,
    arrays: &[&'a [u8]],
    rows: usize,
    valid: usize,
) -> Result<(Layout, Vec<&'a [u8]>), RowError> {
    let Some(kind) = kind else { return Ok((Layout::Delimited, Vec::new())) };
    let mut items: Vec<&'a [u8]> = Vec::new();
    for array in arrays {
        if kind.is_bare() {
            items.push(array);
            continue;
        }
        for item in fields(array) {
            let (number, bytes) = item?;
            if number == kind.item() {
                items.push(bytes);
            }
        }
    }
    let layout = match kind.layout(dim as usize) {
        // Some servers omit the dimension.
        Layout::Fixed(0) => Layout::Fixed(width(items.iter().map(|item| item.len()).sum(), rows, valid)),
        layout => layout,
    };
    let mut values = Vec::with_capacity(rows);
    match layout {
        Layout::Delimited => values = items,
        Layout::Fixed(0) => {}
        Layout::Fixed(width) => {
            for item in items {
                if !item.len().is_multiple_of(width) {
                    return Err(RowError::Damaged);
                }
                values.extend(item.chunks_exact(width));
            }
        }
        Layout::Varints => {
            for mut item in items {
                while !item.is_empty() {
                    let end = item.iter().position(|byte| byte & 0x80 == 0).ok_or(RowError::Damaged)?;
                    let (value, rest) = item.split_at(end + 1);
                    values.push(value);
                    item = rest;
                }
            }
        }
    }
    Ok((layout, values))
}

/// The other numbers of an array besides its values.
fn besides(kind: Option<ValueKind>, array: Option<&[u8]>) -> Result<Vec<(u32, u64)>, RowError> {
    let (Some(kind), Some(array)) = (kind.filter(|kind| !kind.is_bare()), array) else { return Ok(Vec::new()) };
    let mut besides = Vec::new();
    for part in fields(array) {
        let (field, bytes) = part?;
        if field != kind.item() {
            besides.push((field, number(bytes)?));
        }
    }
    Ok(besides)
}

/// The width of values with this total length: of the rows that are not null, or of all rows if nulls have fillers.
fn width(length: usize, rows: usize, valid: usize) -> usize {
    let of = |count: usize| (count > 0 && length.is_multiple_of(count)).then(|| length / count);
    of(valid).or_else(|| of(rows)).unwrap_or(0)
}

fn pick_valid<'a>(values: Vec<&'a [u8]>, valid: &[bool]) -> Vec<&'a [u8]> {
    values.into_iter().zip(valid).filter(|(_, valid)| **valid).map(|(value, _)| value).collect()
}

/// The rows with these indexes, in that order, as columns for an insert or upsert; all rows without indexes. Columns
/// that need no change are returned as they are.
///
/// # Errors
/// A column is damaged.
pub fn pick(columns: &[Column], rows: usize, indexes: Option<&[usize]>) -> Result<Vec<Column>, RowError> {
    let all: Vec<usize>;
    let (indexes, whole) = match indexes {
        Some(indexes) => (indexes, false),
        None => {
            all = (0..rows).collect();
            (&all[..], true)
        }
    };
    columns
        .iter()
        .map(|column| {
            let read = RowColumn::read(column, rows)?;
            if whole && !read.must_change() {
                return Ok(column.clone());
            }
            let mut message = Vec::new();
            let mut out = CodedOutputStream::vec(&mut message);
            write_column(&read, rows, indexes, &mut out)?;
            out.flush()?;
            drop(out);
            Ok(message.into())
        })
        .collect()
}

fn write_column(
    column: &RowColumn<'_>,
    rows: usize,
    indexes: &[usize],
    out: &mut CodedOutputStream<'_>,
) -> Result<(), RowError> {
    if column.type_ != 0 {
        out.write_uint64(field::TYPE, column.type_)?;
    }
    out.write_string(field::NAME, &column.name)?;
    match &column.contents {
        Contents::Values { kind, layout, dim, values, besides } => {
            let each = column.each(values, rows);
            let mut picked: Vec<&[u8]> =
                indexes.iter().filter_map(|&index| each.get(index).copied().flatten()).collect();
            let empty = empty_array(besides, values);
            if *kind == Some(ValueKind::ARRAY) {
                picked.iter_mut().filter(|row| row.is_empty()).for_each(|row| *row = &empty);
            }
            if let Some(kind) = kind {
                let field = match kind {
                    ValueKind::Scalars(_) => field::SCALARS,
                    ValueKind::Vectors(_) => field::VECTORS,
                };
                out.write_bytes(field, &container(*kind, *layout, *dim, &picked, besides)?)?;
            }
        }
        Contents::Structs(columns) => {
            let mut message = Vec::new();
            let mut inner = CodedOutputStream::vec(&mut message);
            for column in columns {
                let mut bytes = Vec::new();
                let mut stream = CodedOutputStream::vec(&mut bytes);
                write_column(column, rows, indexes, &mut stream)?;
                stream.flush()?;
                drop(stream);
                inner.write_bytes(1, &bytes)?;
            }
            inner.flush()?;
            drop(inner);
            out.write_bytes(field::STRUCTS, &message)?;
        }
    }
    if column.id != 0 {
        out.write_uint64(field::ID, column.id)?;
    }
    if column.is_dynamic {
        out.write_bool(field::IS_DYNAMIC, true)?;
    }
    if !column.valid.is_empty() {
        let valid: Vec<u8> = indexes.iter().map(|&index| u8::from(column.is_valid(index))).collect();
        out.write_bytes(field::VALID, &valid)?;
    }
    Ok(())
}

/// An empty array in the form that `Insert` expects. `Query` returns nothing at all for it, and a 2.3.5 crashes if it
/// gets that back. The element kind comes from the column, or from another row.
fn empty_array(besides: &[(u32, u64)], rows: &[&[u8]]) -> [u8; 2] {
    const ELEMENT_TYPE: u32 = 2;
    /// The array `long_data` of a `ScalarField`.
    const LONG: u8 = 3;
    let declared = besides.iter().find(|(number, _)| *number == ELEMENT_TYPE).and_then(|(_, element)| {
        let element = DataType::of(i32::try_from(*element).ok()?);
        u8::try_from(ValueKind::of_elements(element)?.number()).ok()
    });
    let shown = || rows.iter().find_map(|row| row.first()).map(|tag| tag >> 3);
    let kind: u8 = declared.or_else(shown).unwrap_or(LONG);
    [kind << 3 | 2, 0]
}

/// A `ScalarField` or `VectorField` with these values.
fn container(
    kind: ValueKind,
    layout: Layout,
    dim: u64,
    values: &[&[u8]],
    besides: &[(u32, u64)],
) -> Result<Vec<u8>, RowError> {
    let length: usize = values.iter().map(|value| value.len() + 6).sum();
    let mut array = Vec::with_capacity(length + 16);
    if kind.is_bare() {
        values.iter().for_each(|value| array.extend_from_slice(value));
    } else {
        let mut stream = CodedOutputStream::vec(&mut array);
        match layout {
            Layout::Delimited => values.iter().try_for_each(|value| stream.write_bytes(kind.item(), value))?,
            Layout::Varints | Layout::Fixed(_) => {
                stream.write_tag(kind.item(), WireType::LengthDelimited)?;
                stream.write_raw_varint64(values.iter().map(|value| value.len() as u64).sum())?;
                values.iter().try_for_each(|value| stream.write_raw_bytes(value))?;
            }
        }
        besides.iter().try_for_each(|(number, value)| stream.write_uint64(*number, *value))?;
        stream.flush()?;
    }
    let mut message = Vec::with_capacity(array.len() + 32);
    let mut stream = CodedOutputStream::vec(&mut message);
    if matches!(kind, ValueKind::Vectors(_)) {
        stream.write_uint64(ValueKind::DIMENSION.number(), dim)?;
    }
    stream.write_bytes(kind.number(), &array)?;
    stream.flush()?;
    drop(stream);
    Ok(message)
}

#[cfg(test)]
pub(in crate::scan) mod tests;
