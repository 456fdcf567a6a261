use super::*;
use crate::catalog::apply::testing::{Bench, ID, books, described};
use crate::catalog::record::CatalogRecord;
use crate::failpoint::{CallFault, Faults};
use crate::milvus::DataType;
use crate::milvus::fake::FakeCollection;
use crate::milvus::pb::schema::{CollectionSchema, FieldSchema};

const TAKES_KEYS: &str = "allow_insert_auto_id";

/// A collection with autoID at the source.
fn source() -> SourceCollection {
    let field = |name: &str, data_type: DataType| FieldSchema {
        name: name.into(),
        data_type: data_type.code(),
        ..FieldSchema::default()
    };
    let key = FieldSchema { is_primary_key: true, autoID: true, ..field("id", DataType::Int64) };
    let schema = CollectionSchema { fields: vec![key, field("value", DataType::Int64)], ..CollectionSchema::default() };
    described(schema)
}

impl Bench {
    fn ensure(&self) -> Result<(), CatalogError> {
        ensure(&self.context, &Databases::default(), self.record.entry(ID), &source(), &books())
    }

    /// Whether the target's collection has autoID, and what its property says.
    fn found(&self) -> (bool, Option<String>) {
        let found = self.target.collections()["default"]["books"].clone();
        (schema::has_auto_id(&found.schema), found.properties.get(TAKES_KEYS).cloned())
    }

    fn is_recorded_as_generating(&self) -> bool {
        self.record.get(ID).unwrap().generated_keys
    }
}

#[test]
fn auto_id_stays_where_given_keys_are_taken() {
    let new = Bench::of("2.6.20");
    new.ensure().unwrap();
    assert_eq!((new.found(), new.is_recorded_as_generating()), ((true, Some("true".into())), true));
    assert!(new.told()[0].ends_with(", with autoID: rows bring their keys"), "{:?}", new.told());
    let reopened = CatalogRecord::open(new.folder.path()).unwrap();
    assert!(reopened.get(ID).unwrap().generated_keys, "it is on disk");
    for version in ["v2.5.4", "2.6.2", "milvus_lite-3.2.2"] {
        let old = Bench::of(version);
        old.ensure().unwrap();
        assert_eq!((old.found(), old.is_recorded_as_generating()), ((false, None), false), "{version}");
        assert!(old.told()[0].contains("it refuses inserts without keys"), "{:?}", old.told());
    }
}

/// The process died before the answer could be recorded.
#[test]
fn one_that_was_made_before_a_crash_is_what_it_was_made_as() {
    let (faults, bench) = (Faults::install(), Bench::of("2.6.20"));
    faults.at_call("CreateCollection", 1, CallFault::AnswerLost);
    bench.ensure().unwrap_err();
    // It was upgraded, or downgraded, meanwhile.
    bench.target.tells_version("v2.5.4");
    bench.ensure().unwrap();
    assert_eq!((bench.found(), bench.is_recorded_as_generating()), ((true, Some("true".into())), true));
}

#[test]
fn one_that_is_there_is_adopted_if_it_takes_keys() {
    let there = |takes_keys: bool| {
        let bench = Bench::of("2.6.20");
        let mut schema = source().details.schema;
        schema.name = "books".into();
        let properties = takes_keys.then(|| (TAKES_KEYS.to_owned(), "true".to_owned())).into_iter().collect();
        bench.target.put("default", "books", FakeCollection { id: 9, schema, properties, ..FakeCollection::default() });
        bench
    };
    let takes = there(true);
    takes.ensure().unwrap();
    assert!(takes.is_recorded_as_generating() && takes.record.get(ID).unwrap().adopted);
    let refused = there(false).ensure().unwrap_err().to_string();
    assert!(refused.contains("allow_insert_auto_id set to true"), "{refused}");
}

/// The call failed, and a user has made one of the name since.
#[test]
fn what_was_found_is_never_dropped() {
    let (faults, bench) = (Faults::install(), Bench::of("2.6.20"));
    faults.at_call("CreateCollection", 1, CallFault::Unreachable);
    bench.ensure().unwrap_err();
    let schema = CollectionSchema { name: "books".into(), ..CollectionSchema::default() };
    bench.target.put("default", "books", FakeCollection { id: 9, schema, ..FakeCollection::default() });
    let error = bench.ensure().unwrap_err();
    assert!(error.is_final() && error.to_string().contains("does not fit"), "{error}");
    assert!(bench.target.collections()["default"].contains_key("books"), "{:?}", bench.target.done());
    assert!(bench.record.get(ID).is_none(), "it is not taken for ours");
}

/// A quota: nothing was made.
#[test]
fn what_was_refused_before_it_was_carried_out_is_not_recorded() {
    let (faults, bench) = (Faults::install(), Bench::of("2.6.20"));
    faults.at_call("CreateCollection", 1, CallFault::RateLimited(1));
    bench.ensure().unwrap_err();
    assert!(bench.record.get(ID).is_none());
    bench.ensure().unwrap();
}

/// It was made all the same.
#[test]
fn what_was_created_is_recorded_whatever_is_refused_afterwards() {
    let (faults, bench) = (Faults::install(), Bench::of("2.6.20"));
    faults.at_call("DescribeCollection", 2, CallFault::RateLimited(1));
    bench.ensure().unwrap_err();
    assert!(faults.has_struck() && bench.record.get(ID).is_some());
    bench.ensure().unwrap();
    assert!(!bench.record.get(ID).unwrap().adopted);
}
