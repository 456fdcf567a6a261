use std::collections::BTreeMap;

use super::*;
use crate::catalog::apply::testing::{Bench, ID, books, held, numbered};
use crate::catalog::replicated::ReplicatedCollection;
use crate::milvus::DataType;
use crate::milvus::catalog::Index;
use crate::milvus::fake::FakeCollection;
use crate::milvus::pb::common::KeyValuePair;
use crate::milvus::pb::schema::{CollectionSchema, FieldSchema};
use crate::task::drops::OnDrop;

const BM25: i32 = 1;
const EMBEDDING: i32 = 2;

fn field(name: &str, data_type: DataType, id: i64) -> FieldSchema {
    FieldSchema { name: name.into(), data_type: data_type.code(), fieldID: id, ..FieldSchema::default() }
}

fn schema(functions: Vec<FunctionSchema>, more: Vec<FieldSchema>) -> CollectionSchema {
    let fields = vec![field("id", DataType::Int64, 100), field("text", DataType::VarChar, 101)];
    let fields = fields.into_iter().chain([field("vec", DataType::FloatVector, 102)]).chain(more).collect();
    CollectionSchema { name: "books".into(), fields, functions, ..CollectionSchema::default() }
}

fn function(code: i32, output: &str, url: &str) -> FunctionSchema {
    let params = vec![KeyValuePair { key: "url".into(), value: url.into(), ..KeyValuePair::default() }];
    FunctionSchema {
        name: "f".into(),
        type_: code,
        input_field_names: vec!["text".into()],
        output_field_names: vec![output.into()],
        params,
        ..FunctionSchema::default()
    }
}

/// The field that a full-text search needs, of this id.
fn sparse(id: i64) -> FieldSchema {
    FieldSchema { is_function_output: true, ..field("sp", DataType::SparseFloatVector, id) }
}

#[test]
fn one_that_fills_a_field_that_is_there_comes_changes_and_goes() {
    let bench = Bench::with("2.6.20", &schema(vec![], vec![]), false);
    let is = |functions| numbered(schema(functions, vec![]));
    bench.replicate_schema(&is(vec![function(EMBEDDING, "vec", "a")]), OnDrop::Follow).unwrap();
    bench.replicate_schema(&is(vec![function(EMBEDDING, "vec", "a")]), OnDrop::Follow).unwrap();
    bench.replicate_schema(&is(vec![function(EMBEDDING, "vec", "b")]), OnDrop::Follow).unwrap();
    bench.replicate_schema(&is(vec![]), OnDrop::Follow).unwrap();
    assert_eq!(bench.target.done(), ["add function f", "alter function f", "drop function f"]);
}

#[test]
fn one_that_searches_compute_comes_and_goes_with_its_field_and_index() {
    let bench = Bench::with("3.0.0-beta", &schema(vec![], vec![]), false);
    let mut source = numbered(schema(vec![function(BM25, "sp", "")], vec![sparse(103)]));
    let index = Index { name: "sp_index".into(), field: "sp".into(), params: BTreeMap::new() };
    source.indexes.insert("sp_index".into(), index);
    bench.replicate_schema(&source, OnDrop::Follow).unwrap();
    bench.replicate_schema(&numbered(schema(vec![], vec![])), OnDrop::Follow).unwrap();
    assert_eq!(bench.target.done(), ["add function f with field sp, index \"sp_index\"", "drop function f"]);
    assert!(bench.skipped.lock().is_empty());
}

#[test]
fn one_that_searches_compute_is_made_again_where_it_has_changed() {
    let bench = Bench::with("3.0.0-beta", &schema(vec![function(BM25, "sp", "")], vec![sparse(103)]), false);
    let again = numbered(schema(vec![function(BM25, "sp", "")], vec![sparse(104)]));
    bench.replicate_schema(&again, OnDrop::Follow).unwrap();
    assert_eq!(bench.target.done(), ["drop function f", "add function f with field sp, index \"\""]);
}

#[test]
fn what_a_target_cannot_take_holds_the_collection() {
    let added = numbered(schema(vec![function(BM25, "sp", "")], vec![sparse(103)]));
    for version in ["v2.3.5", "2.6.20", "milvus_lite-3.2.2"] {
        let bench = Bench::with(version, &schema(vec![], vec![]), false);
        let why = held(bench.replicate_schema(&added, OnDrop::Follow));
        assert!(why.contains("the function \"f\"") && why.contains("drop default.books on the target"), "{why}");
        assert!(bench.target.done().is_empty());
    }
    let filling = numbered(schema(vec![function(EMBEDDING, "vec", "a")], vec![]));
    let old = Bench::with("v2.5.4", &schema(vec![], vec![]), false);
    assert!(held(old.replicate_schema(&filling, OnDrop::Follow)).contains("the function \"f\""));
    let there = schema(vec![function(BM25, "sp", "")], vec![sparse(103)]);
    let changed = numbered(schema(vec![function(BM25, "sp", "")], vec![sparse(104)]));
    let kept = Bench::with("3.0.0", &there, false);
    assert!(held(kept.replicate_schema(&changed, OnDrop::Keep)).contains("changed the function \"f\""));
}

#[test]
fn one_that_the_target_keeps_is_counted() {
    let there = schema(vec![function(BM25, "sp", "")], vec![sparse(103)]);
    for (version, on_drop) in [("2.6.20", OnDrop::Follow), ("3.0.0", OnDrop::Keep)] {
        let bench = Bench::with(version, &there, false);
        bench.replicate_schema(&numbered(schema(vec![], vec![])), on_drop).unwrap();
        assert!(bench.target.done().is_empty());
        let skipped = bench.skipped.lock().clone();
        assert!(skipped[0].starts_with("dropped function: \"f\" of default.books: it stays"), "{skipped:?}");
        assert!(skipped[1].starts_with("dropped field: \"sp\""), "{skipped:?}");
    }
}

#[test]
fn one_that_was_there_before_the_task_is_left_alone() {
    let there = schema(vec![function(EMBEDDING, "vec", "theirs")], vec![]);
    let bench = Bench::of("3.0.0");
    bench.target.put("default", "books", FakeCollection { schema: there, ..FakeCollection::default() });
    bench.record.entry(ID).put(ReplicatedCollection { name: books(), created: true, ..Default::default() });
    for functions in [vec![], vec![function(EMBEDDING, "vec", "ours")]] {
        bench.replicate_schema(&numbered(schema(functions, vec![])), OnDrop::Follow).unwrap();
    }
    assert!(bench.target.done().is_empty(), "{:?}", bench.target.done());
}
