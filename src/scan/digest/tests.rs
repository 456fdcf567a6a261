use proptest::prelude::*;
use protobuf::Message;

use super::*;
use crate::milvus::pb::schema::field_data::Field;
use crate::milvus::pb::schema::scalar_field::Data;
use crate::milvus::pb::schema::vector_field::Data as Vectors;
use crate::milvus::pb::schema::{ArrayArray, BytesArray, FieldData, LongArray, ScalarField};
use crate::scan::column::tests::{floats, longs, scalars, sparse, strings, vectors};
use crate::scan::pick;

fn dynamic(name: &str, rows: &[&str]) -> Column {
    let data = rows.iter().map(|row| row.as_bytes().to_vec()).collect();
    let data = Data::JsonData(BytesArray { data, ..Default::default() });
    let field = Some(Field::Scalars(ScalarField { data: Some(data), ..Default::default() }));
    let column = FieldData { field_name: name.into(), field, is_dynamic: true, ..Default::default() };
    column.write_to_bytes().unwrap().into()
}

fn json(rows: &[&str]) -> Column {
    let data = rows.iter().map(|row| row.as_bytes().to_vec()).collect();
    scalars("j", Data::JsonData(BytesArray { data, ..Default::default() }), &[])
}

fn one(columns: &[Column]) -> Digest {
    digest(columns, 1).unwrap()[0]
}

#[test]
fn the_same_row_however_it_is_written() {
    let (id, v) = (longs("id", &[1, 2]), floats(&[1., 2., 3., 4.]));
    let wanted = digest(&[id.clone(), v.clone()], 2).unwrap();
    assert_eq!(digest(&[v.clone(), id], 2).unwrap(), wanted, "order of fields");
    let mut parts = longs("id", &[1]);
    parts.append(longs("id", &[2]));
    let mut vectors = floats(&[1., 2.]);
    vectors.append(floats(&[3., 4.]));
    assert_eq!(digest(&[parts, vectors], 2).unwrap(), wanted, "columns in parts");
    assert_eq!(digest(&[longs("id", &[2]), floats(&[3., 4.])], 1).unwrap()[0], wanted[1], "alone");
}

#[test]
fn json_by_its_meaning() {
    let digest = |text: &str| one(&[json(&[text])]);
    assert_eq!(digest(r#"{"a": 1, "b": [true, null]}"#), digest(r#"{"b":[true,null],"a":1}"#));
    assert_eq!(digest(r#"{"x": "\u00fc"}"#), digest(r#"{"x":"ü"}"#));
    for other in [r#"{"a":2}"#, r#"{"a":1.5}"#, r#"{"a":"1"}"#, r#"{"a":[1]}"#, "{}", "null"] {
        assert_ne!(digest(r#"{"a":1}"#), digest(other), "{other}");
    }
    assert_ne!(digest(r#"["a","b"]"#), digest(r#"["a,","b"]"#));
}

#[test]
fn absent_is_the_same_as_empty_where_it_means_so() {
    let id = || longs("id", &[1]);
    let without = one(&[id()]);
    for empty in ["{}", "{ }", "null", ""] {
        assert_eq!(one(&[id(), dynamic("$meta", &[empty])]), without, "{empty:?}");
    }
    assert_eq!(one(&[id(), dynamic("$meta", &[r#"{"a":1}"#])]), one(&[dynamic("", &[r#"{"a": 1}"#]), id()]));
    assert_eq!(one(&[id(), strings("t", &[""], &[false])]), without, "null");
    assert_ne!(one(&[id(), strings("t", &[""], &[true])]), without, "an empty string is a value");
    assert_eq!(one(&[id(), strings("t", &["x"], &[true])]), one(&[id(), strings("t", &["x"], &[])]));
    assert_ne!(one(&[id(), json(&["{}"])]), without, "an empty object in a field of its own is a value");
}

#[test]
fn nulls_with_and_without_filler() {
    let full = strings("t", &["a", "", "c"], &[true, false, true]);
    let compact = strings("t", &["a", "c"], &[true, false, true]);
    assert_eq!(digest(&[full], 3), digest(&[compact], 3));
}

#[test]
fn arrays_by_their_elements() {
    let row = |data: Data| ScalarField { data: Some(data), ..Default::default() }.write_to_bytes().unwrap();
    let array = |rows: Vec<Vec<u8>>| {
        scalars("a", Data::ArrayData(ArrayArray { data: rows, element_type: 5, ..Default::default() }), &[])
    };
    let packed = row(Data::LongData(LongArray { data: vec![1, 300], ..Default::default() }));
    // The same elements, each with a tag of its own.
    let plain = vec![0x1a, 5, 0x08, 1, 0x08, 0xac, 0x02];
    assert_eq!(one(&[array(vec![packed.clone()])]), one(&[array(vec![plain])]));
    let empty = row(Data::LongData(LongArray::default()));
    assert_eq!(one(&[array(vec![empty])]), one(&[array(vec![vec![]])]));
    assert_ne!(one(&[array(vec![packed])]), one(&[array(vec![vec![]])]));
}

#[test]
fn every_value_counts() {
    let rows = |id, text: &str, v: f32| {
        let half = Vectors::Float16Vector(vec![1, 2]);
        one(&[
            longs("id", &[id]),
            strings("t", &[text], &[]),
            floats(&[v, 0.]),
            vectors(1, half),
            sparse(&[b"12345678"]),
        ])
    };
    let all = [rows(1, "a", 0.), rows(2, "a", 0.), rows(1, "b", 0.), rows(1, "a", -0.)];
    let different: std::collections::BTreeSet<Digest> = all.into_iter().collect();
    assert_eq!(different.len(), all.len());
    assert_ne!(
        one(&[strings("a", &["x"], &[]), strings("b", &["y"], &[])]),
        one(&[strings("a", &["y"], &[]), strings("b", &["x"], &[])]),
        "values belong to their fields"
    );
}

/// What is in files must mean the same in every later version.
#[test]
fn digests_do_not_change() {
    let columns =
        [longs("id", &[7]), strings("t", &["ü"], &[]), floats(&[1., -2.]), dynamic("$meta", &[r#"{"b":1,"a":[2.5]}"#])];
    assert_eq!(one(&columns), PINNED);
}

const PINNED: Digest = 13_458_825_534_491_208_952;

proptest! {
    #[test]
    fn picking_does_not_change_digests(
        rows in prop::collection::vec((any::<i64>(), ".{0,6}", any::<bool>(), any::<u32>()), 1..20),
        seed in any::<u64>(),
    ) {
        let ids: Vec<i64> = rows.iter().map(|row| row.0).collect();
        let texts: Vec<&str> = rows.iter().map(|row| row.1.as_str()).collect();
        let valid: Vec<bool> = rows.iter().map(|row| row.2).collect();
        let numbers: Vec<f32> = rows.iter().flat_map(|row| [f32::from_bits(row.3), 1.0]).collect();
        let columns = [longs("id", &ids), strings("t", &texts, &valid), floats(&numbers)];
        let wanted = digest(&columns, rows.len()).unwrap();
        let mut order: Vec<usize> = (0..rows.len()).collect();
        fastrand::Rng::with_seed(seed).shuffle(&mut order);
        let picked = pick(&columns, rows.len(), Some(&order)).unwrap();
        let shuffled: Vec<Digest> = order.iter().map(|&index| wanted[index]).collect();
        prop_assert_eq!(digest(&picked, rows.len()).unwrap(), shuffled);
    }

    #[test]
    fn damaged_columns_are_errors_not_panics(bytes in prop::collection::vec(any::<u8>(), 0..80), rows in 0usize..5) {
        let _ = digest(&[bytes.clone().into()], rows);
        let _ = pick(&[bytes.into()], rows, Some(&[0, 3]));
    }
}
