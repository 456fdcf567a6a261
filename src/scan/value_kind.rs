//! Which array of a `ScalarField` or `VectorField` holds the values of a column, and how they lie in it.

use crate::milvus::DataType;

/// Numbers of the arrays of `ScalarField` (milvus-proto, schema.proto).
mod scalar {
    pub(super) const BOOL: u32 = 1;
    pub(super) const INT: u32 = 2;
    pub(super) const LONG: u32 = 3;
    pub(super) const FLOAT: u32 = 4;
    pub(super) const DOUBLE: u32 = 5;
    pub(super) const STRING: u32 = 6;
    pub(super) const ARRAY: u32 = 8;
    pub(super) const JSON: u32 = 9;
    pub(super) const TIMESTAMPTZ: u32 = 11;
    pub(super) const DATE: u32 = 15;
    pub(super) const TIME: u32 = 16;
}

/// Numbers of the fields of `VectorField` (milvus-proto, schema.proto).
mod vector {
    pub(super) const DIM: u32 = 1;
    pub(super) const FLOAT: u32 = 2;
    pub(super) const BINARY: u32 = 3;
    pub(super) const FLOAT16: u32 = 4;
    pub(super) const BFLOAT16: u32 = 5;
    pub(super) const INT8: u32 = 7;
    pub(super) const ARRAY: u32 = 8;
}

/// The layout of values in their array.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// Numbers of 1 to 10 bytes: bool, int, long, timestamptz, date, time.
    Varints,
    /// All values have this width in bytes.
    Fixed(usize),
    /// Strings, bytes, JSON, messages.
    Delimited,
}

/// Which array holds the values, by its field number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ValueKind {
    /// An array of a `ScalarField`.
    Scalars(u32),
    /// An array of a `VectorField`.
    Vectors(u32),
}

impl ValueKind {
    pub(super) const JSON: ValueKind = ValueKind::Scalars(scalar::JSON);
    pub(super) const ARRAY: ValueKind = ValueKind::Scalars(scalar::ARRAY);
    /// Stands beside the arrays of vectors: a number, not an array.
    pub(super) const DIMENSION: ValueKind = ValueKind::Vectors(vector::DIM);

    /// The array that holds the elements of an array of this type; `None` for types that are no elements.
    pub(super) fn of_elements(element: DataType) -> Option<ValueKind> {
        let number = match element {
            DataType::Bool => scalar::BOOL,
            DataType::Int8 | DataType::Int16 | DataType::Int32 => scalar::INT,
            DataType::Int64 => scalar::LONG,
            DataType::Float => scalar::FLOAT,
            DataType::Double => scalar::DOUBLE,
            DataType::String | DataType::VarChar => scalar::STRING,
            _ => return None,
        };
        Some(ValueKind::Scalars(number))
    }

    pub(super) fn number(self) -> u32 {
        match self {
            ValueKind::Scalars(number) | ValueKind::Vectors(number) => number,
        }
    }

    /// The layout of the values; `Fixed(0)` for vectors that need a dimension where it is 0. Unknown kinds are taken as
    /// byte strings, as all kinds so far that are no numbers.
    pub(super) fn layout(self, dim: usize) -> Layout {
        use ValueKind::{Scalars, Vectors};
        match self {
            Scalars(scalar::BOOL | scalar::INT | scalar::LONG | scalar::TIMESTAMPTZ | scalar::DATE | scalar::TIME) => {
                Layout::Varints
            }
            Scalars(scalar::FLOAT) => Layout::Fixed(4),
            Scalars(scalar::DOUBLE) => Layout::Fixed(8),
            Vectors(vector::FLOAT) => Layout::Fixed(dim.saturating_mul(4)),
            Vectors(vector::BINARY) => Layout::Fixed(dim / 8),
            Vectors(vector::FLOAT16 | vector::BFLOAT16) => Layout::Fixed(dim.saturating_mul(2)),
            Vectors(vector::INT8) => Layout::Fixed(dim),
            Scalars(_) | Vectors(_) => Layout::Delimited,
        }
    }

    /// The field number of the values in their array.
    pub(super) fn item(self) -> u32 {
        if self == ValueKind::Vectors(vector::ARRAY) { 2 } else { 1 }
    }

    /// Whether the vectors are one `bytes` field without an array around them.
    pub(super) fn is_bare(self) -> bool {
        matches!(self, ValueKind::Vectors(vector::BINARY | vector::FLOAT16 | vector::BFLOAT16 | vector::INT8))
    }
}
