//! Columns for tests.

use protobuf::Message;

use crate::domain::Column;
use crate::milvus::pb::schema::field_data::Field;
use crate::milvus::pb::schema::scalar_field::Data;
use crate::milvus::pb::schema::{FieldData, LongArray, ScalarField, StringArray};

fn scalar(name: &str, data: Data) -> Column {
    let field = Some(Field::Scalars(ScalarField { data: Some(data), ..Default::default() }));
    FieldData { field_name: name.into(), field, ..Default::default() }.write_to_bytes().unwrap().into()
}

pub(crate) fn longs(name: &str, data: &[i64]) -> Column {
    scalar(name, Data::LongData(LongArray { data: data.to_vec(), ..Default::default() }))
}

pub(crate) fn strings(name: &str, data: &[&str]) -> Column {
    let data = data.iter().map(|&text| text.to_owned()).collect();
    scalar(name, Data::StringData(StringArray { data, ..Default::default() }))
}
