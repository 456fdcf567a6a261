use protobuf::Message;

use super::*;
use crate::milvus::field_data::testing::{longs, strings};
use crate::milvus::pb::schema::vector_field::Data as Vectors;
use crate::milvus::pb::schema::{FieldData, FloatArray, VectorField};

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
    let floats = |data: &[f32]| vectors(Vectors::FloatVector(FloatArray { data: data.to_vec(), ..Default::default() }));
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
fn the_order_of_columns_is_that_of_their_names() {
    let mut one = [longs("id", &[1]), strings("b", &["x"]), longs("a", &[2])];
    let mut other = [longs("a", &[3]), longs("id", &[4]), strings("b", &["y"])];
    assert!(!same_fields(&one, &other).unwrap());
    sort(&mut one).unwrap();
    sort(&mut other).unwrap();
    assert!(same_fields(&one, &other).unwrap());
    assert_eq!(one, [longs("a", &[2]), strings("b", &["x"]), longs("id", &[1])]);
    assert!(!same_fields(&one, &one[..2]).unwrap(), "a field less");
    other[0] = longs("c", &[3]);
    assert!(!same_fields(&one, &other).unwrap(), "as many, but others");
    assert!(sort(&mut [b"\xff\xff".to_vec().into(), longs("id", &[1])]).is_err(), "damaged");
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

#[test]
fn types_whose_columns_merge_by_appending() {
    use DataType::*;
    for mergeable in [Bool, Int64, VarChar, Array, Json, Geometry, Text, Timestamptz, FloatVector, Unknown(150)] {
        assert!(merges_by_appending(mergeable.code()), "{mergeable}");
    }
    for other in [BinaryVector, Float16Vector, SparseFloatVector, Int8Vector, ArrayOfVector, Struct, Unknown(202)] {
        assert!(!merges_by_appending(other.code()), "{other}");
    }
}
