//! A message of each kind of the message streams of Milvus 2.2 to 2.5. RocksMQ, Kafka and Pulsar carry the same bytes.

use milvus_cdc::internals::decode::{DecodeError, decode};
use milvus_cdc::internals::pb::schema::FieldData;
use milvus_cdc::internals::pb::schema::field_data::Field;
use milvus_cdc::internals::pb::schema::scalar_field::Data as Scalars;
use milvus_cdc::internals::pb::schema::vector_field::Data as Vectors;
use milvus_cdc::internals::{Body, CollectionId, Delete, Insert, Keys, PartitionId, Position, Record, Timestamp};
use protobuf::Message as _;

use super::msgstream::words;
use super::wire::{Message, column};

/// The hybrid time of 2026-01-01 and a count of 5 within its millisecond.
const TIME: u64 = (1_767_225_600_000 << 18) + 5;
const COLLECTION: u64 = 451_000_000_000_000_001;
const PARTITION: u64 = 451_000_000_000_000_002;
const SEGMENT: u64 = 451_000_000_000_000_003;

/// A message that begins with its base (1): type 1, id 2, time 3, the server's id 4.
fn message(kind: u64, time: u64) -> Message {
    Message::new().message(1, &Message::new().number(1, kind).number(2, 77).number(3, time).number(4, 3))
}

fn record(message: &Message) -> Record {
    let record = decode(Position::at(9), &message.encoded().into()).unwrap();
    assert_eq!(record.position, Position::at(9));
    record
}

fn times(record: &Record) -> (u64, u64) {
    (record.begin.0, record.end.0)
}

/// An insert but for its times: shard 2, database 3, collection 4, partition 5, ids 6 to 9, row ids 11, columns 13,
/// rows 14, version 15.
fn rows(message: Message, columns: &[Message]) -> Message {
    let named = message.bytes(2, "by-dev-rootcoord-dml_0").bytes(4, "books").bytes(5, "_default");
    let located = named.number(6, 1).number(7, COLLECTION).number(8, PARTITION).number(9, SEGMENT);
    let located = located.packed(11, &[901, 902, 903]);
    columns.iter().fold(located, |rows, column| rows.message(13, column)).number(14, 3).number(15, 1)
}

fn inserted(record: &Record) -> &Insert {
    match &record.body {
        Body::Insert(insert) => insert,
        other => panic!("no insert: {other:?}"),
    }
}

fn deleted(record: &Record) -> &Delete {
    match &record.body {
        Body::Delete(delete) => delete,
        other => panic!("no delete: {other:?}"),
    }
}

#[test]
fn a_tick() {
    let record = record(&message(1200, TIME));
    assert!(matches!(record.body, Body::Tick { .. }), "{record:?}");
    assert_eq!(times(&record), (TIME, TIME));
    assert_eq!(Timestamp(TIME).physical_ms(), 1_767_225_600_000);
}

#[test]
fn an_insert_with_every_field() {
    let columns = [
        column::int64(100, "id", &[1, 2, u64::MAX]),
        column::float_vector(101, "vector", 2, &[0.5, -1.0, 2.0, 3.5, 0.0, 4.0]),
        column::varchar(102, "title", &[Some("a"), None, Some("ü")]),
        column::dynamic(103, &["{}", r#"{"a":1}"#, "{}"]),
    ];
    let record = record(&rows(message(400, TIME).packed(10, &[TIME + 2, TIME, TIME + 1]), &columns));
    assert_eq!(times(&record), (TIME, TIME + 2), "the rows' own times");
    let insert = inserted(&record);
    assert_eq!(insert.collection, CollectionId(COLLECTION as i64));
    assert_eq!(insert.partition, PartitionId(PARTITION as i64));
    assert_eq!((insert.rows, insert.half, insert.row_id), (3, false, Some(901)));
    let bytes: Vec<Vec<u8>> = insert.columns.iter().map(|column| column.parts().concat()).collect();
    assert_eq!(bytes, columns.map(|column| column.encoded()), "columns stay the bytes that they were");

    let data: Vec<FieldData> = bytes.iter().map(|bytes| FieldData::parse_from_bytes(bytes).unwrap()).collect();
    let heads: Vec<(i32, &str, i64, bool)> =
        data.iter().map(|d| (d.type_, d.field_name.as_str(), d.field_id, d.is_dynamic)).collect();
    let expected =
        [(5, "id", 100, false), (101, "vector", 101, false), (21, "title", 102, false), (23, "$meta", 103, true)];
    assert_eq!(heads, expected);
    let scalars = |index: usize| match data[index].field.as_ref().unwrap() {
        Field::Scalars(scalars) => scalars.data.clone().unwrap(),
        other => panic!("{other:?}"),
    };
    assert!(matches!(scalars(0), Scalars::LongData(array) if array.data == [1, 2, -1]));
    assert!(matches!(scalars(2), Scalars::StringData(array) if array.data == ["a", "", "ü"]));
    assert!(matches!(scalars(3), Scalars::JsonData(array) if array.data == [&b"{}"[..], br#"{"a":1}"#, b"{}"]));
    assert_eq!(data[2].valid_data, [true, false, true]);
    let Some(Field::Vectors(vectors)) = &data[1].field else { panic!("no vectors") };
    assert_eq!(vectors.dim, 2);
    let Some(Vectors::FloatVector(array)) = &vectors.data else { panic!("no floats") };
    assert_eq!(array.data, [0.5, -1.0, 2.0, 3.5, 0.0, 4.0]);
}

#[test]
fn an_upsert_is_an_insert_without_a_time_of_its_own_and_a_delete() {
    let keys = column::int64(100, "id", &[1, 2, 3]);
    let insert = record(&rows(message(400, 0).packed(10, &[TIME; 3]), &[keys]));
    assert_eq!((times(&insert), inserted(&insert).half), ((TIME, TIME), true));
}

/// Collection 7, partition 8, times 10, rows 11, keys 12 (integers 1 or texts 2).
#[test]
fn deletes_by_every_form_of_keys() {
    let delete =
        |partition: i64| message(401, TIME).number(7, COLLECTION).signed(8, partition).packed(10, &[TIME, TIME + 1]);
    let ints = Message::new().message(1, &Message::new().packed(1, &[7, u64::MAX]));
    let record_of_ints = record(&delete(-1).number(11, 2).message(12, &ints));
    assert_eq!(times(&record_of_ints), (TIME, TIME + 1));
    let found = deleted(&record_of_ints);
    assert_eq!(found.collection, CollectionId(COLLECTION as i64));
    assert_eq!((found.partition, &found.keys), (PartitionId::ALL, &Keys::Int(vec![7, -1])));

    let texts = Message::new().message(2, &Message::new().bytes(1, "a\"b").bytes(1, ""));
    let record_of_texts = record(&delete(PARTITION as i64).number(11, 2).message(12, &texts));
    let found = deleted(&record_of_texts);
    assert_eq!(found.partition, PartitionId(PARTITION as i64));
    assert_eq!(found.keys, Keys::Str(vec!["a\"b".into(), String::new()]));

    // Servers before 2.2: integers in the message itself.
    let old = record(&delete(-1).packed(9, &[5, 6]).number(11, 2));
    assert_eq!(deleted(&old).keys, Keys::Int(vec![5, 6]));
}

#[test]
fn what_concerns_the_catalog() {
    let named = |kind: u64| message(kind, TIME).bytes(2, "shop").bytes(3, "books");
    let with_id = |kind: u64, field: u64| named(kind).number(field, COLLECTION);
    let cases = [
        (with_id(100, 6), format!("create {COLLECTION}")),
        (with_id(101, 5), format!("drop {COLLECTION}")),
        (with_id(200, 6), format!("hint {COLLECTION}")),
        (with_id(201, 6), format!("hint {COLLECTION}")),
        (with_id(408, 4), "import shop.books".to_owned()),
        (named(106), "hint shop.books".to_owned()),
        (named(107), "release shop.books".to_owned()),
        (named(206), "release shop.books".to_owned()),
        (named(300), "hint shop.books".to_owned()),
        (named(302), "hint shop.books".to_owned()),
        (named(111), "hint shop.books".to_owned()),
        (named(108), "hint".to_owned()),
        (named(105), "hint".to_owned()),
        (message(1801, TIME).bytes(2, "shop"), "create database shop".to_owned()),
        (named(402), "ignored Flush".to_owned()),
        (message(1500, TIME), "ignored CreateCredential".to_owned()),
        (message(4_321, TIME), "unknown 4321".to_owned()),
    ];
    for (message, expected) in cases {
        let record = record(&message);
        assert_eq!((words(&record.body), times(&record)), (expected, (TIME, TIME)));
    }
}

#[test]
fn what_cannot_be_read() {
    let error = |message: &Message| decode(Position::at(1), &message.encoded().into()).unwrap_err();
    let row_based = message(400, TIME).number(7, COLLECTION).bytes(12, [1, 2, 3]);
    assert!(matches!(error(&row_based), DecodeError::RowBased));
    let by_condition = message(401, TIME).number(7, COLLECTION).bytes(14, "plan");
    assert!(matches!(error(&by_condition), DecodeError::ByCondition));
    assert!(matches!(error(&Message::new().number(7, 1)), DecodeError::NoBase), "no base");
    let mut cut = rows(message(400, TIME), &[column::int64(100, "id", &[1, 2, 3])]).encoded();
    cut.truncate(cut.len() - 3);
    assert!(matches!(decode(Position::at(1), &cut.into()), Err(DecodeError::Malformed)), "cut short");
}
