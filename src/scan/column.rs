/*!
A column row by row. Nothing is decoded further than to find where each row's value lies in the bytes of the column, so that every
kind of field can be digested and picked out, kinds that are not known here included as long as they are made of bytes.
*/

use protobuf::CodedOutputStream;
use protobuf::rt::WireType;

use crate::milvus::rows::Column;
use crate::milvus::wire::{Malformed, fields, number, numbers};

/// Columns whose rows cannot be told apart.
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
        /// What was found.
        values: usize,
        /// What was expected.
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

/// How values of one kind lie in their array.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// Numbers of 1 to 10 bytes: bool, int, long, timestamptz.
    Varints,
    /// All of one width in bytes.
    Fixed(usize),
    /// Strings, bytes, JSON, messages.
    Delimited,
}

/// Which array of a `ScalarField` or `VectorField` holds the values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kind {
    vector: bool,
    number: u32,
}

impl Kind {
    pub(super) const JSON: Kind = Kind { vector: false, number: 9 };
    pub(super) const ARRAY: Kind = Kind { vector: false, number: 8 };

    /// How scalars lie; what is not known is made of bytes, as everything so far that is no number.
    fn scalars(number: u32) -> Layout {
        match number {
            1..=3 | 11 => Layout::Varints,
            4 => Layout::Fixed(4),
            5 => Layout::Fixed(8),
            _ => Layout::Delimited,
        }
    }

    /// The width of a vector in bytes; `None` for those of varying length.
    fn vector_width(number: u32, dim: usize) -> Option<usize> {
        match number {
            2 => Some(4 * dim),
            3 => Some(dim / 8),
            4 | 5 => Some(2 * dim),
            7 => Some(dim),
            _ => None,
        }
    }

    /// The number of the values in their array.
    fn item(self) -> u32 {
        if self.vector && self.number == 8 { 2 } else { 1 }
    }

    /// Vectors that are one `bytes` field, without an array around them.
    fn is_bare(self) -> bool {
        self.vector && matches!(self.number, 3 | 4 | 5 | 7)
    }
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

/// What is in it.
pub(super) enum Contents<'a> {
    /// Values, those of null rows left out; with what their array says besides (the elements' type, a dimension).
    Values { kind: Option<Kind>, layout: Layout, dim: u64, values: Vec<&'a [u8]>, besides: Vec<(u32, u64)> },
    /// The columns of an array of structs.
    Structs(Vec<RowColumn<'a>>),
}

impl<'a> RowColumn<'a> {
    /// Finds the values of `rows` rows.
    pub(super) fn read(column: &'a Column, rows: usize) -> Result<RowColumn<'a>, RowError> {
        let parts: Vec<&[u8]> = column.parts().iter().map(|part| &part[..]).collect();
        RowColumn::of(&parts, rows)
    }

    fn of(parts: &[&'a [u8]], rows: usize) -> Result<RowColumn<'a>, RowError> {
        let mut found = Raw::default();
        for part in parts {
            found.add(part)?;
        }
        let Raw { name, is_dynamic, type_, id, valid, scalars, vectors, structs } = found;
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
                // Null rows have a filler.
                count if count == rows => pick_valid(values, &valid),
                // A column that is empty says nothing of any row.
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

    /// The value of every row, `None` for null.
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

    /// Whether `Insert` wants it otherwise than `Query` answers: of null rows no values, of empty arrays the elements' kind.
    fn must_change(&self) -> bool {
        match &self.contents {
            Contents::Values { kind: Some(Kind::ARRAY), values, .. } => {
                !self.valid.is_empty() || values.iter().any(|row| row.is_empty())
            }
            Contents::Values { .. } => !self.valid.is_empty(),
            Contents::Structs(columns) => columns.iter().any(RowColumn::must_change),
        }
    }
}

/// The fields of a `FieldData`, of all its parts.
#[derive(Default)]
struct Raw<'a> {
    name: String,
    is_dynamic: bool,
    type_: u64,
    id: u64,
    valid: Vec<bool>,
    scalars: Vec<&'a [u8]>,
    vectors: Vec<&'a [u8]>,
    structs: Vec<Vec<&'a [u8]>>,
}

impl<'a> Raw<'a> {
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

type Arrays<'a> = (Option<Kind>, u64, Vec<&'a [u8]>);

/// The arrays with the values, one a part, and what kind they are; with the vectors' dimension.
fn arrays<'a>(scalars: &[&'a [u8]], vectors: &[&'a [u8]]) -> Result<Arrays<'a>, RowError> {
    let (mut kind, mut dim, mut arrays) = (None, 0, Vec::new());
    for (vector, bytes) in scalars.iter().map(|bytes| (false, bytes)).chain(vectors.iter().map(|bytes| (true, bytes))) {
        for part in fields(bytes) {
            let (number, bytes) = part?;
            if vector && number == 1 {
                dim = crate::milvus::wire::number(bytes)?;
                continue;
            }
            let found = Kind { vector, number };
            if kind.is_some_and(|kind| kind != found) {
                return Err(RowError::Damaged);
            }
            kind = Some(found);
            arrays.push(bytes);
        }
    }
    Ok((kind, dim, arrays))
}

/// Where each value lies.
fn values<'a>(
    kind: Option<Kind>,
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
    let layout = match kind {
        Kind { vector: false, number } => Kind::scalars(number),
        Kind { vector: true, number } => {
            let length: usize = items.iter().map(|item| item.len()).sum();
            match Kind::vector_width(number, dim as usize) {
                None => Layout::Delimited,
                // Some servers leave the dimension out.
                Some(0) => Layout::Fixed(width(length, rows, valid)),
                Some(width) => Layout::Fixed(width),
            }
        }
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

/// What an array says besides its values: all of it numbers.
fn besides(kind: Option<Kind>, array: Option<&[u8]>) -> Result<Vec<(u32, u64)>, RowError> {
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

/// The width of values that together are so long: of the rows that are not null, or of all with a filler.
fn width(length: usize, rows: usize, valid: usize) -> usize {
    let of = |count: usize| (count > 0 && length.is_multiple_of(count)).then(|| length / count);
    of(valid).or_else(|| of(rows)).unwrap_or(0)
}

fn pick_valid<'a>(values: Vec<&'a [u8]>, valid: &[bool]) -> Vec<&'a [u8]> {
    values.into_iter().zip(valid).filter(|(_, valid)| **valid).map(|(value, _)| value).collect()
}

/// The rows with these indexes, in that order, as columns for an insert or upsert; without indexes all rows. Columns that need no
/// change are passed on as they are.
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
            if *kind == Some(Kind::ARRAY) {
                picked.iter_mut().filter(|row| row.is_empty()).for_each(|row| *row = &empty);
            }
            if let Some(kind) = kind {
                out.write_bytes(
                    if kind.vector { field::VECTORS } else { field::SCALARS },
                    &container((*kind, *layout), *dim, &picked, besides)?,
                )?;
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

/// An array without elements, as `Insert` wants it. `Query` answers nothing at all for it, and a server that gets that back dies of it
/// (2.3.5). The kind of its elements is told by the column, or by another row.
fn empty_array(besides: &[(u32, u64)], rows: &[&[u8]]) -> [u8; 2] {
    const ELEMENT_TYPE: u32 = 2;
    let told = besides.iter().find(|(number, _)| *number == ELEMENT_TYPE).and_then(|(_, element)| match element {
        1 => Some(1),
        2..=4 => Some(2),
        5 => Some(3),
        10 => Some(4),
        11 => Some(5),
        20 | 21 => Some(6),
        _ => None,
    });
    let shown = || rows.iter().find_map(|row| row.first()).map(|tag| tag >> 3);
    let kind: u8 = told.or_else(shown).unwrap_or(3);
    [kind << 3 | 2, 0]
}

/// A `ScalarField` or `VectorField` with these values.
fn container(
    (kind, layout): (Kind, Layout),
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
                stream.write_tag(1, WireType::LengthDelimited)?;
                stream.write_raw_varint64(values.iter().map(|value| value.len() as u64).sum())?;
                values.iter().try_for_each(|value| stream.write_raw_bytes(value))?;
            }
        }
        besides.iter().try_for_each(|(number, value)| stream.write_uint64(*number, *value))?;
        stream.flush()?;
    }
    let mut message = Vec::with_capacity(array.len() + 32);
    let mut stream = CodedOutputStream::vec(&mut message);
    if kind.vector {
        stream.write_uint64(1, dim)?;
    }
    stream.write_bytes(kind.number, &array)?;
    stream.flush()?;
    drop(stream);
    Ok(message)
}

#[cfg(test)]
pub(in crate::scan) mod tests;
