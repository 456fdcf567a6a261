//! Columns of the log as JSON values, in the form in which a recording tells what was written.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use milvus_cdc::internals::pb::schema::field_data::Field;
use milvus_cdc::internals::pb::schema::scalar_field::Data as Scalars;
use milvus_cdc::internals::pb::schema::vector_field::Data as Vectors;
use milvus_cdc::internals::pb::schema::{FieldData, ScalarField, VectorField};
use protobuf::Message;
use serde_json::{Value, json};

/// Every row's value, null for null.
pub(super) fn rows_of(data: &FieldData, rows: usize) -> Vec<Value> {
    let items = match data.field.as_ref() {
        Some(Field::Scalars(scalars)) => scalar_items(scalars),
        Some(Field::Vectors(vectors)) => vector_items(vectors),
        _ => Vec::new(),
    };
    if data.valid_data.is_empty() {
        return items;
    }
    let is_compact = items.len() < rows;
    let mut present = items.iter();
    let value = |(index, valid): (usize, &bool)| match (valid, is_compact) {
        (false, _) => Value::Null,
        (true, true) => present.next().unwrap().clone(),
        (true, false) => items[index].clone(),
    };
    data.valid_data.iter().enumerate().map(value).collect()
}

fn scalar_items(scalars: &ScalarField) -> Vec<Value> {
    match scalars.data.as_ref() {
        None => Vec::new(),
        Some(Scalars::BoolData(array)) => array.data.iter().map(|value| json!(value)).collect(),
        Some(Scalars::IntData(array)) => array.data.iter().map(|value| json!(value)).collect(),
        Some(Scalars::LongData(array)) => array.data.iter().map(|value| json!(value)).collect(),
        Some(Scalars::FloatData(array)) => array.data.iter().map(|value| json!(value)).collect(),
        Some(Scalars::DoubleData(array)) => array.data.iter().map(|value| json!(value)).collect(),
        Some(Scalars::StringData(array)) => array.data.iter().map(|value| json!(value)).collect(),
        Some(Scalars::JsonData(array)) => array.data.iter().map(|text| parsed(text)).collect(),
        Some(Scalars::GeometryData(array)) => array.data.iter().map(|bytes| json!({ "wkb": hex(bytes) })).collect(),
        Some(Scalars::TimestamptzData(array)) => {
            array.data.iter().map(|microseconds| json!({ "microseconds": microseconds })).collect()
        }
        Some(Scalars::ArrayData(array)) => {
            let list = |item: &Vec<u8>| Value::Array(scalar_items(&ScalarField::parse_from_bytes(item).unwrap()));
            array.data.iter().map(list).collect()
        }
        Some(other) => panic!("{other:?}"),
    }
}

/// An empty text is what a null row holds.
fn parsed(text: &[u8]) -> Value {
    if text.is_empty() { Value::Null } else { serde_json::from_slice(text).unwrap() }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn vector_items(vectors: &VectorField) -> Vec<Value> {
    let dim = vectors.dim as usize;
    let chunks = |bytes: &Vec<u8>, width: usize| {
        bytes.chunks(width).map(|row| json!({ "bytes": STANDARD.encode(row) })).collect()
    };
    match vectors.data.as_ref() {
        None => Vec::new(),
        Some(Vectors::FloatVector(array)) => array.data.chunks(dim).map(|row| json!(row)).collect(),
        Some(Vectors::BinaryVector(bytes)) => chunks(bytes, dim / 8),
        Some(Vectors::Float16Vector(bytes) | Vectors::Bfloat16Vector(bytes)) => chunks(bytes, dim * 2),
        Some(Vectors::Int8Vector(bytes)) => chunks(bytes, dim),
        Some(Vectors::SparseFloatVector(array)) => array.contents.iter().map(|row| sparse(row)).collect(),
        Some(Vectors::VectorArray(array)) => {
            let list = |item: &Vec<u8>| Value::Array(vector_items(&VectorField::parse_from_bytes(item).unwrap()));
            array.data.iter().map(list).collect()
        }
        Some(other) => panic!("{other:?}"),
    }
}

/// Pairs of a 32-bit index and a 32-bit float.
fn sparse(bytes: &[u8]) -> Value {
    let pair = |pair: &[u8]| {
        let (index, value) = (pair[..4].try_into().unwrap(), pair[4..].try_into().unwrap());
        json!([u32::from_le_bytes(index), f32::from_le_bytes(value)])
    };
    json!({ "sparse": bytes.chunks(8).map(pair).collect::<Vec<_>>() })
}

/// Whether a value of the log is what was written.
pub(super) fn is_equal(found: &Value, written: &Value) -> bool {
    match (found, written) {
        (Value::Number(found), Value::Number(written)) if found.is_f64() || written.is_f64() => {
            let (found, written) = (found.as_f64().unwrap(), written.as_f64().unwrap());
            found == written || found as f32 == written as f32
        }
        (Value::Array(found), Value::Array(written)) => {
            found.len() == written.len() && found.iter().zip(written).all(|(found, written)| is_equal(found, written))
        }
        (Value::Object(found), Value::String(written)) => match (found.get("wkb"), found.get("microseconds")) {
            (Some(wkb), _) => wkb == &point(written),
            (_, Some(microseconds)) => {
                let written: jiff::Timestamp = written.parse().unwrap();
                *microseconds == written.as_microsecond()
            }
            _ => false,
        },
        (Value::Object(found), Value::Object(written)) => {
            let is_same = |(key, value): (&String, &Value)| found.get(key).is_some_and(|found| is_equal(found, value));
            found.len() == written.len() && written.iter().all(is_same)
        }
        (found, written) => found == written,
    }
}

/// A point as the log holds it: little endian, type 1, two 64-bit floats.
fn point(text: &str) -> String {
    let numbers = text.trim_start_matches("POINT (").trim_end_matches(')').split(' ');
    let numbers = numbers.map(|number| hex(&number.parse::<f64>().unwrap().to_le_bytes()));
    format!("0101000000{}", numbers.collect::<String>())
}
