use super::*;
use crate::catalog::apply::testing::{Bench, ID, held, numbered};
use crate::catalog::replicated::ReplicatedIndex;
use crate::milvus::DataType;
use crate::milvus::pb::schema::{CollectionSchema, FieldSchema, StructArrayFieldSchema};
use crate::task::drops::OnDrop;

fn field(name: &str, id: i64) -> FieldSchema {
    FieldSchema { name: name.into(), data_type: DataType::Int64.code(), fieldID: id, ..FieldSchema::default() }
}

fn optional(name: &str, id: i64) -> FieldSchema {
    FieldSchema { nullable: true, ..field(name, id) }
}

fn schema(fields: Vec<FieldSchema>) -> CollectionSchema {
    let fields = [field("id", 100)].into_iter().chain(fields).collect();
    CollectionSchema { name: "books".into(), fields, ..CollectionSchema::default() }
}

#[test]
fn they_go_where_they_can() {
    let list = StructArrayFieldSchema { name: "list".into(), fieldID: 103, ..StructArrayFieldSchema::default() };
    let mut before = schema(vec![field("needed", 101), optional("note", 102)]);
    before.struct_array_fields = vec![list];
    let bench = Bench::with("3.0.0-beta", &before, false);
    bench.replicate_schema(&numbered(schema(vec![])), OnDrop::Follow).unwrap();
    let mut done = bench.target.done();
    done.sort();
    assert_eq!(done, ["drop field list", "drop field needed", "drop field note"]);
    assert!(bench.skipped.lock().is_empty());
    // After a crash before the record was written.
    bench.record.entry(ID).change(|replicated| replicated.fields = field_names(&before));
    bench.replicate_schema(&numbered(schema(vec![])), OnDrop::Follow).unwrap();
    assert_eq!(bench.target.done().len(), 3);
}

#[test]
fn they_stay_empty_where_rows_without_them_can_be_written() {
    let before = schema(vec![optional("note", 101)]);
    for (version, adopted, on_drop) in [
        ("2.6.20", false, OnDrop::Follow),
        ("3.0.0", true, OnDrop::Follow),
        ("3.0.0", false, OnDrop::Keep),
        ("3.0.0", false, OnDrop::Rename { hours: 1 }),
    ] {
        let bench = Bench::with(version, &before, adopted);
        bench.replicate_schema(&numbered(schema(vec![])), on_drop).unwrap();
        assert!(bench.target.done().is_empty());
        assert_eq!(bench.skipped.lock().len(), 1, "{version}");
    }
}

#[test]
fn one_that_every_row_must_have_holds_the_collection_where_it_stays() {
    let bench = Bench::with("2.6.20", &schema(vec![field("needed", 101)]), false);
    let why = held(bench.replicate_schema(&numbered(schema(vec![])), OnDrop::Follow));
    assert!(why.contains("dropped the field \"needed\"") && why.contains("2.6.20) takes no rows without it"), "{why}");
}

#[test]
fn another_field_of_the_same_name_takes_the_place_of_the_first() {
    let before = schema(vec![optional("note", 101)]);
    let again = numbered(schema(vec![optional("note", 102)]));
    let new = Bench::with("3.0.0", &before, false);
    new.replicate_schema(&again, OnDrop::Follow).unwrap();
    assert_eq!(new.target.done(), ["drop field note", "add field note"]);
    let old = Bench::with("2.6.20", &before, false);
    let why = held(old.replicate_schema(&again, OnDrop::Follow));
    assert!(why.contains("another field \"note\""), "{why}");
    // Servers without ids number fields as they like.
    let without_ids = Bench::with("2.6.20", &before, false);
    let mut lite = again;
    lite.details.id = 0;
    without_ids.replicate_schema(&lite, OnDrop::Follow).unwrap();
}

/// The field's index went with the first one.
#[test]
fn the_index_of_a_field_that_is_made_again_is_made_again() {
    let bench = Bench::with("3.0.0", &schema(vec![optional("note", 101)]), false);
    let index = |field: &str| ReplicatedIndex { field: field.into(), params: Default::default() };
    bench.record.entry(ID).change(|replicated| {
        replicated.indexes = [("n".to_owned(), index("note")), ("k".to_owned(), index("id"))].into();
    });
    bench.replicate_schema(&numbered(schema(vec![optional("note", 102)])), OnDrop::Follow).unwrap();
    assert_eq!(bench.record.get(ID).unwrap().indexes.keys().collect::<Vec<_>>(), ["k"]);
}
