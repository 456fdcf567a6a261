use protobuf::Message;

use super::*;
use crate::milvus::pb::schema::field_data::Field;
use crate::milvus::pb::schema::scalar_field::Data;
use crate::milvus::pb::schema::vector_field::Data as Vectors;
use crate::milvus::pb::schema::{
    ArrayArray, BoolArray, FieldData, FloatArray, IntArray, LongArray, ScalarField, StringArray, VectorField,
};

pub(in crate::scan) fn scalars(name: &str, data: Data, valid: &[bool]) -> Column {
    let field = Some(Field::Scalars(ScalarField { data: Some(data), ..Default::default() }));
    let data = FieldData { type_: 5, field_name: name.into(), field, valid_data: valid.to_vec(), ..Default::default() };
    data.write_to_bytes().unwrap().into()
}

pub(in crate::scan) fn longs(name: &str, data: &[i64]) -> Column {
    scalars(name, Data::LongData(LongArray { data: data.to_vec(), ..Default::default() }), &[])
}

pub(in crate::scan) fn strings(name: &str, data: &[&str], valid: &[bool]) -> Column {
    let data = data.iter().map(|&text| text.to_owned()).collect();
    scalars(name, Data::StringData(StringArray { data, ..Default::default() }), valid)
}

pub(in crate::scan) fn vectors(dim: i64, data: Vectors) -> Column {
    let field = Some(Field::Vectors(VectorField { dim, data: Some(data), ..Default::default() }));
    FieldData { field_name: "v".into(), field, ..Default::default() }.write_to_bytes().unwrap().into()
}

pub(in crate::scan) fn floats(data: &[f32]) -> Column {
    vectors(2, Vectors::FloatVector(FloatArray { data: data.to_vec(), ..Default::default() }))
}

/// A sparse column, which our own .proto does not have: field 6 of `VectorField`, an array of bytes.
pub(in crate::scan) fn sparse(rows: &[&[u8]]) -> Column {
    let kind = ValueKind::Vectors(6);
    let contents = container(kind, Layout::Delimited, 9, rows, &[(2, 30)]).unwrap();
    let mut bytes = Vec::new();
    let mut out = CodedOutputStream::vec(&mut bytes);
    out.write_string(field::NAME, "s").unwrap();
    out.write_bytes(field::VECTORS, &contents).unwrap();
    out.flush().unwrap();
    drop(out);
    bytes.into()
}

/// What a column says, whatever the order of its bytes.
fn read(columns: &[Column]) -> Vec<FieldData> {
    columns.iter().map(|column| FieldData::parse_from_bytes(&column.parts().concat()).unwrap()).collect()
}

#[test]
fn picks_rows_of_every_kind() {
    let int = Data::IntData(IntArray { data: vec![-1, 2, 300], ..Default::default() });
    let flags =
        |data: &[bool]| scalars("b", Data::BoolData(BoolArray { data: data.to_vec(), ..Default::default() }), &[]);
    let times =
        |data: &[i64]| scalars("z", Data::TimeData(LongArray { data: data.to_vec(), ..Default::default() }), &[]);
    let columns = [
        longs("id", &[1, i64::MIN, 3]),
        scalars("i", int, &[]),
        flags(&[true, false, true]),
        times(&[-1, 0, 1 << 40]),
        strings("t", &["a", "", "ü"], &[]),
        floats(&[1., 2., 3., 4., 5., 6.]),
        vectors(8, Vectors::BinaryVector(vec![7, 8, 9])),
        vectors(1, Vectors::Float16Vector(vec![1, 2, 3, 4, 5, 6])),
        sparse(&[b"12345678", b"", b"1234567812345678"]),
    ];
    let picked = pick(&columns, 3, Some(&[2, 1])).unwrap();
    let wanted = [
        longs("id", &[3, i64::MIN]),
        scalars("i", Data::IntData(IntArray { data: vec![300, 2], ..Default::default() }), &[]),
        flags(&[true, false]),
        times(&[1 << 40, 0]),
        strings("t", &["ü", ""], &[]),
        floats(&[5., 6., 3., 4.]),
        vectors(8, Vectors::BinaryVector(vec![9, 8])),
        vectors(1, Vectors::Float16Vector(vec![5, 6, 3, 4])),
    ];
    assert_eq!(read(&picked[..8]), read(&wanted));
    assert_eq!(
        RowColumn::read(&picked[8], 2).map(|read| match read.contents {
            Contents::Values { values, .. } => values.iter().map(|value| value.len()).collect::<Vec<_>>(),
            Contents::Structs(_) => vec![],
        }),
        Ok(vec![16, 0])
    );
}

/// A server that gets an array without the type of its elements dies of it (seen on 2.3.5).
#[test]
fn what_an_array_says_besides_its_rows_is_kept() {
    let column = |rows: &[&[u8]]| {
        let data = rows.iter().map(|row| row.to_vec()).collect();
        scalars("a", Data::ArrayData(ArrayArray { data, element_type: 5, ..Default::default() }), &[])
    };
    let full: &[u8] = b"\x1a\x03\x0a\x01\x07";
    let picked = pick(&[column(&[b"", full])], 2, Some(&[1])).unwrap();
    assert_eq!(read(&picked), read(&[column(&[full])]));
    let picked = pick(&[column(&[b"", full])], 2, None).unwrap();
    assert_eq!(read(&picked), read(&[column(&[b"\x1a\x00", full])]), "an empty array with the kind of its elements");
    let picked = pick(&[sparse(&[b"12345678", b""])], 2, Some(&[1])).unwrap();
    let RowColumn { contents: Contents::Values { dim, besides, .. }, .. } = RowColumn::read(&picked[0], 1).unwrap()
    else {
        panic!("values");
    };
    assert_eq!((dim, besides), (9, vec![(2, 30)]));
}

#[test]
fn nulls_are_left_out_of_what_is_written() {
    let full = strings("t", &["a", "", "c"], &[true, false, true]);
    let compact = strings("t", &["a", "c"], &[true, false, true]);
    let picked = pick(std::slice::from_ref(&full), 3, None).unwrap();
    assert_eq!(read(&picked), read(std::slice::from_ref(&compact)), "as Insert wants it");
    let picked = pick(&[compact], 3, Some(&[1, 2])).unwrap();
    assert_eq!(read(&picked), read(&[strings("t", &["c"], &[false, true])]));
    let none = strings("t", &[], &[false, false]);
    let picked = pick(std::slice::from_ref(&none), 2, None).unwrap();
    assert_eq!(RowColumn::read(&picked[0], 2).map(|read| read.each(&[], 2)), Ok(vec![None, None]));
    let plain = longs("id", &[1, 2]);
    assert_eq!(pick(std::slice::from_ref(&plain), 2, None).unwrap(), [plain], "passed on as it is");
}

#[test]
fn what_does_not_fit_is_an_error() {
    assert!(pick(&[longs("id", &[1, 2])], 3, Some(&[0])).is_err());
    assert!(pick(&[strings("t", &["a"], &[true, true])], 2, Some(&[0])).is_err());
    assert!(pick(&[b"\xff\xff".to_vec().into()], 1, Some(&[0])).is_err());
}
