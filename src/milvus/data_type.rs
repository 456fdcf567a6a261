//! The field types of Milvus, by the names and codes of its `schema.proto`.

use std::fmt;

/// The type of a field, or of an array's elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataType {
    /// No type: the element type of a field that is not an array.
    None,
    /// A boolean.
    Bool,
    /// An integer of 8 bits.
    Int8,
    /// An integer of 16 bits.
    Int16,
    /// An integer of 32 bits.
    Int32,
    /// An integer of 64 bits.
    Int64,
    /// A floating-point number of 32 bits.
    Float,
    /// A floating-point number of 64 bits.
    Double,
    /// A string without a maximum length; no longer created.
    String,
    /// A string with a maximum length.
    VarChar,
    /// An array of scalars.
    Array,
    /// A JSON document.
    Json,
    /// A geometry, stored as WKB.
    Geometry,
    /// A long text (Milvus 3).
    Text,
    /// A timestamp with time zone.
    Timestamptz,
    /// A molecule (Milvus 3).
    Molecule,
    /// A vector of bits.
    BinaryVector,
    /// A vector of 32-bit floating-point numbers.
    FloatVector,
    /// A vector of IEEE 16-bit floating-point numbers.
    Float16Vector,
    /// A vector of bfloat16 numbers.
    BFloat16Vector,
    /// A sparse vector.
    SparseFloatVector,
    /// A vector of 8-bit integers.
    Int8Vector,
    /// An array of vectors, inside a struct array.
    ArrayOfVector,
    /// An array of structs.
    ArrayOfStruct,
    /// A struct.
    Struct,
    /// A type that this program does not know, with its code.
    Unknown(i32),
}

/// Codes of vector types, those of later versions included.
const VECTOR_CODES: std::ops::Range<i32> = 100..200;

/// Every known type with its code and its name in `schema.proto`.
const KNOWN: [(DataType, i32, &str); 25] = [
    (DataType::None, 0, "None"),
    (DataType::Bool, 1, "Bool"),
    (DataType::Int8, 2, "Int8"),
    (DataType::Int16, 3, "Int16"),
    (DataType::Int32, 4, "Int32"),
    (DataType::Int64, 5, "Int64"),
    (DataType::Float, 10, "Float"),
    (DataType::Double, 11, "Double"),
    (DataType::String, 20, "String"),
    (DataType::VarChar, 21, "VarChar"),
    (DataType::Array, 22, "Array"),
    (DataType::Json, 23, "JSON"),
    (DataType::Geometry, 24, "Geometry"),
    (DataType::Text, 25, "Text"),
    (DataType::Timestamptz, 26, "Timestamptz"),
    (DataType::Molecule, 27, "Mol"),
    (DataType::BinaryVector, 100, "BinaryVector"),
    (DataType::FloatVector, 101, "FloatVector"),
    (DataType::Float16Vector, 102, "Float16Vector"),
    (DataType::BFloat16Vector, 103, "BFloat16Vector"),
    (DataType::SparseFloatVector, 104, "SparseFloatVector"),
    (DataType::Int8Vector, 105, "Int8Vector"),
    (DataType::ArrayOfVector, 106, "ArrayOfVector"),
    (DataType::ArrayOfStruct, 200, "ArrayOfStruct"),
    (DataType::Struct, 201, "Struct"),
];

impl DataType {
    /// The type that a schema or a column names by this code.
    pub fn of(code: i32) -> DataType {
        let known = KNOWN.iter().find(|(_, known, _)| *known == code);
        known.map_or(DataType::Unknown(code), |(data_type, _, _)| *data_type)
    }

    /// The code that a schema names it by.
    pub fn code(self) -> i32 {
        match self {
            DataType::Unknown(code) => code,
            known => KNOWN.iter().find(|(data_type, _, _)| *data_type == known).map_or(0, |(_, code, _)| *code),
        }
    }

    /// Whether its values are vectors; true for an unknown type whose code lies among those of vectors.
    pub fn is_vector(self) -> bool {
        VECTOR_CODES.contains(&self.code())
    }
}

impl fmt::Display for DataType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match KNOWN.iter().find(|(data_type, _, _)| data_type == self) {
            Some((_, _, name)) => f.write_str(name),
            None => write!(f, "type {}", self.code()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_names_and_kinds() {
        for (data_type, code, name) in KNOWN {
            assert_eq!((DataType::of(code), data_type.code()), (data_type, code));
            assert_eq!(data_type.to_string(), name);
        }
        assert_eq!(DataType::of(150), DataType::Unknown(150));
        assert_eq!(DataType::Unknown(150).to_string(), "type 150");
        assert!(DataType::of(150).is_vector() && DataType::ArrayOfVector.is_vector());
        assert!(!DataType::VarChar.is_vector() && !DataType::ArrayOfStruct.is_vector());
    }
}
