//! The columns of an insert: every value, the rows that are picked out of them, and the form that users write.

use milvus_cdc::internals::field_data::{Shape, pick};
use milvus_cdc::internals::pb::schema::field_data::Field;
use milvus_cdc::internals::pb::schema::scalar_field::Data as Scalars;
use milvus_cdc::internals::pb::schema::vector_field::Data as Vectors;
use milvus_cdc::internals::pb::schema::{
    CollectionSchema, FieldData, FieldSchema, ScalarField, StructArrayFieldSchema, VectorField,
};
use milvus_cdc::internals::{Column, Insert};
use protobuf::Message;
use serde_json::{Value, json};

/// Compares every value of every column, and of every row picked out by itself.
pub(super) fn check(file: &str, vector: &Value, insert: &Insert) {
    let wanted = vector["columns"].as_array().unwrap();
    assert_eq!(insert.columns.len(), wanted.len(), "{file}: columns");
    for (column, wanted) in insert.columns.iter().zip(wanted) {
        check_column(file, column, insert.rows, wanted);
    }
    check_written(file, wanted, insert);
}

fn check_column(file: &str, column: &Column, rows: usize, wanted: &Value) {
    let data = field_data(column);
    let name = wanted["name"].as_str().unwrap();
    assert_eq!(data.field_name, name, "{file}");
    assert_eq!(i64::from(data.type_), wanted["data_type_number"], "{file} {name}");
    let Some(values) = wanted["rows"].as_array() else { return check_formula(&data) };
    assert_eq!(values.len(), rows, "{file} {name}");
    assert_eq!(texts(&data, rows), texts_of(values, &data), "{file} {name}");
    for index in (0..rows).rev() {
        let one = pick(std::slice::from_ref(column), rows, &[index]).unwrap();
        let one = field_data(&one[0]);
        assert_eq!(texts(&one, 1), texts_of(&values[index..=index], &data), "{file} {name} row {index}");
    }
}

/// 64 rows of dimension 768: row i, component j is ((i*768+j) mod 1000) / 1000.
fn check_formula(data: &FieldData) {
    let Some(Field::Vectors(VectorField { data: Some(Vectors::FloatVector(array)), .. })) = &data.field else {
        panic!("not float vectors")
    };
    assert_eq!(array.data.len(), 64 * 768);
    assert!(array.data.iter().enumerate().all(|(index, value)| *value == (index % 1000) as f32 / 1000f32));
}

fn field_data(column: &Column) -> FieldData {
    FieldData::parse_from_bytes(&column.parts()[0]).unwrap()
}

/// Every row as text, `null` for null.
fn texts(data: &FieldData, rows: usize) -> Vec<String> {
    let items = match data.field.as_ref().unwrap() {
        Field::Scalars(scalars) => scalar_items(scalars),
        Field::Vectors(vectors) => vector_items(vectors),
        _ => panic!("the log has none"),
    };
    if data.valid_data.is_empty() {
        return items;
    }
    assert_eq!(data.valid_data.len(), rows);
    let compact = items.len() < rows;
    let mut next = 0;
    let row = |(index, valid): (usize, &bool)| match (valid, compact) {
        (false, _) => "null".to_owned(),
        (true, false) => items[index].clone(),
        (true, true) => {
            next += 1;
            items[next - 1].clone()
        }
    };
    data.valid_data.iter().enumerate().map(row).collect()
}

fn scalar_items(scalars: &ScalarField) -> Vec<String> {
    let text = |bytes: &Vec<u8>| String::from_utf8(bytes.clone()).unwrap();
    match scalars.data.as_ref() {
        None => Vec::new(),
        Some(Scalars::BoolData(array)) => array.data.iter().map(ToString::to_string).collect(),
        Some(Scalars::IntData(array)) => array.data.iter().map(ToString::to_string).collect(),
        Some(Scalars::LongData(array)) => array.data.iter().map(ToString::to_string).collect(),
        Some(Scalars::FloatData(array)) => array.data.iter().map(|value| float(f64::from(*value), true)).collect(),
        Some(Scalars::DoubleData(array)) => array.data.iter().map(|value| float(*value, false)).collect(),
        Some(Scalars::StringData(array)) => array.data.clone(),
        Some(Scalars::BytesData(array)) => array.data.iter().map(|bytes| hex(bytes)).collect(),
        Some(Scalars::ArrayData(array)) => array
            .data
            .iter()
            .map(|item| format!("[{}]", scalar_items(&ScalarField::parse_from_bytes(item).unwrap()).join(",")))
            .collect(),
        Some(Scalars::JsonData(array)) => array.data.iter().map(text).collect(),
        Some(Scalars::GeometryData(array)) => array.data.iter().map(|bytes| hex(bytes)).collect(),
        Some(Scalars::TimestamptzData(array)) => array.data.iter().map(ToString::to_string).collect(),
        Some(Scalars::GeometryWktData(array)) => array.data.clone(),
        Some(Scalars::MolData(array)) => array.data.iter().map(|bytes| hex(bytes)).collect(),
        Some(_) => panic!("no kind that the test knows"),
    }
}

fn vector_items(vectors: &VectorField) -> Vec<String> {
    let dim = vectors.dim as usize;
    let chunks = |bytes: &Vec<u8>, width: usize| bytes.chunks(width.max(1)).map(hex).collect();
    match vectors.data.as_ref() {
        None => Vec::new(),
        Some(Vectors::FloatVector(array)) => array
            .data
            .chunks(dim)
            .map(|row| format!("[{}]", row.iter().map(|v| float(f64::from(*v), true)).collect::<Vec<_>>().join(",")))
            .collect(),
        Some(Vectors::BinaryVector(bytes)) => chunks(bytes, dim / 8),
        Some(Vectors::Float16Vector(bytes) | Vectors::Bfloat16Vector(bytes)) => chunks(bytes, dim * 2),
        Some(Vectors::Int8Vector(bytes)) => chunks(bytes, dim),
        Some(Vectors::SparseFloatVector(array)) => array.contents.iter().map(|bytes| sparse(bytes)).collect(),
        Some(Vectors::VectorArray(array)) => array
            .data
            .iter()
            .map(|item| format!("[{}]", vector_items(&VectorField::parse_from_bytes(item).unwrap()).join(",")))
            .collect(),
        Some(_) => panic!("no kind that the test knows"),
    }
}

/// Pairs of a 32-bit index and a 32-bit float.
fn sparse(bytes: &[u8]) -> String {
    let pair = |pair: &[u8]| {
        let (index, value) = (pair[..4].try_into().unwrap(), pair[4..].try_into().unwrap());
        format!("[{},{}]", u32::from_le_bytes(index), float(f64::from(f32::from_le_bytes(value)), true))
    };
    format!("[{}]", bytes.chunks(8).map(pair).collect::<Vec<_>>().join(","))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn float(value: f64, single: bool) -> String {
    if single { format!("{:?}", value as f32) } else { format!("{value:?}") }
}

/// The expected rows in the same words.
fn texts_of(rows: &[Value], data: &FieldData) -> Vec<String> {
    rows.iter().map(|row| text_of(row, data)).collect()
}

fn text_of(row: &Value, data: &FieldData) -> String {
    let is_int8_vector = data.type_ == 105;
    match row {
        Value::Null => "null".into(),
        Value::Bool(value) => value.to_string(),
        Value::String(text) => text.strip_prefix("hex:").unwrap_or(text).to_owned(),
        Value::Number(number) => number_text(number, data),
        Value::Array(items) if is_int8_vector => {
            items.iter().map(|item| format!("{:02x}", item.as_i64().unwrap() as i8 as u8)).collect()
        }
        Value::Array(items) => {
            format!("[{}]", items.iter().map(|item| text_of(item, data)).collect::<Vec<_>>().join(","))
        }
        Value::Object(object) => {
            let bytes = object.get("bytes").or_else(|| object.get("wkb")).unwrap().as_str().unwrap();
            bytes.trim_start_matches("hex:").to_owned()
        }
    }
}

fn number_text(number: &serde_json::Number, data: &FieldData) -> String {
    const FLOAT: i32 = 10;
    const DOUBLE: i32 = 11;
    let element = match data.field.as_ref() {
        Some(Field::Scalars(ScalarField { data: Some(Scalars::ArrayData(array)), .. })) => array.element_type,
        _ => data.type_,
    };
    match element {
        DOUBLE => float(number.as_f64().unwrap(), false),
        FLOAT | 101 | 106 => float(number.as_f64().unwrap(), true),
        104 if number.is_f64() => float(number.as_f64().unwrap(), true),
        _ => number.to_string(),
    }
}

const MOLECULE: i32 = 27;

/// In the form that users write: values of null rows are left out, shapes and times are text, members are inside their
/// list.
fn check_written(file: &str, wanted: &[Value], insert: &Insert) {
    let named = |column: &Value| column["name"].as_str().unwrap().to_owned();
    let (mut fields, mut lists) = (Vec::new(), Vec::new());
    for column in wanted {
        let name = named(column);
        if let Some((list, _)) = name.split_once('[') {
            lists.push(StructArrayFieldSchema { name: list.into(), ..Default::default() });
            continue;
        }
        let (nullable, data_type) =
            (column["valid_data"].is_array(), column["data_type_number"].as_i64().unwrap() as i32);
        fields.push(FieldSchema { name, nullable, data_type, ..Default::default() });
    }
    let schema = CollectionSchema { fields, struct_array_fields: lists, ..Default::default() };
    let written = Shape::of(&schema).written(insert.columns.clone(), insert.rows);
    if schema.fields.iter().any(|field| field.data_type == MOLECULE) {
        assert!(written.unwrap_err().to_string().contains("mol"), "{file}: molecules cannot be written");
        return;
    }
    let written = written.unwrap();
    for column in &written {
        let data = field_data(column);
        if let Some(Field::StructArrays(members)) = &data.field {
            for member in &members.fields {
                let name = format!("{}[{}]", data.field_name, member.field_name);
                let values = wanted.iter().find(|column| named(column) == name).unwrap()["rows"].as_array().unwrap();
                assert_eq!(texts(member, insert.rows), texts_of(values, member), "{file} {name}");
            }
            continue;
        }
        let original = wanted.iter().find(|column| named(column) == data.field_name).unwrap();
        let Some(values) = original["rows"].as_array() else { continue };
        let present: Vec<&Value> = values.iter().filter(|value| !value.is_null()).collect();
        let items = match data.field.as_ref().unwrap() {
            Field::Scalars(scalars) => scalar_items(scalars),
            Field::Vectors(vectors) => vector_items(vectors),
            _ => unreachable!("looked at before"),
        };
        assert_eq!(items.len(), present.len(), "{file} {}: one value per row that is not null", data.field_name);
        for (item, value) in items.iter().zip(present) {
            let text = match (&value["wkt"], data.type_) {
                (Value::String(text), _) => text.clone(),
                // 2026-01-01T00:00:00.123456Z, 1970, and a second before it.
                (_, 26) => match value.as_i64().unwrap() {
                    0 => "1970-01-01T00:00:00Z".into(),
                    -1_000_000 => "1969-12-31T23:59:59Z".into(),
                    1_767_225_600_000_000 => "2026-01-01T00:00:00Z".into(),
                    1_767_225_600_123_456 => "2026-01-01T00:00:00.123456Z".into(),
                    other => panic!("{other}"),
                },
                _ => text_of(value, &data),
            };
            assert_eq!(*item, text, "{file} {}", data.field_name);
        }
        let valid: Vec<bool> = values.iter().map(|value| !value.is_null()).collect();
        if original["valid_data"].is_array() {
            assert_eq!(json!(data.valid_data), json!(valid), "{file} {}", data.field_name);
        }
    }
}
