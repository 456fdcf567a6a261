use super::*;
use crate::catalog::apply::schema_change::PartRemoval;
use crate::catalog::apply::testing::{Bench, ID, books, described, held};
use crate::catalog::schema;
use crate::milvus::fake::FakeCollection;
use crate::milvus::pb::common::KeyValuePair;
use crate::milvus::pb::schema::CollectionSchema;

fn title(length: u64) -> FieldSchema {
    let limit = KeyValuePair { key: "max_length".into(), value: length.to_string(), ..KeyValuePair::default() };
    FieldSchema { name: "title".into(), type_params: vec![limit], ..FieldSchema::default() }
}

fn schema(length: u64) -> CollectionSchema {
    CollectionSchema { name: "books".into(), fields: vec![title(length)], ..CollectionSchema::default() }
}

/// A target of this version that has the collection.
fn bench(version: &'static str) -> Bench {
    let bench = Bench::of(version);
    bench.target.put("default", "books", FakeCollection { schema: schema(100), ..FakeCollection::default() });
    bench
}

impl Bench {
    fn there(&self) -> CollectionSchema {
        self.target.collections()["default"]["books"].schema.clone()
    }

    fn replicate(&self, wanted: &CollectionSchema) -> Result<(), CatalogError> {
        let (source, name) = (described(wanted.clone()), books());
        replicate(&SchemaChange {
            context: &self.context,
            id: ID,
            name: &name,
            source: &source,
            wanted,
            found: self.there(),
            before: BTreeSet::new(),
            removal: PartRemoval::Follows,
        })
    }
}

#[test]
fn a_dynamic_field_is_switched_on_where_that_is_possible() {
    let wanted = CollectionSchema { enable_dynamic_field: true, ..schema(100) };
    let new = bench("2.6.20");
    new.replicate(&wanted).unwrap();
    assert!(new.there().enable_dynamic_field);
    for version in ["v2.5.4", "milvus_lite-3.2.2"] {
        let old = bench(version);
        let why = held(old.replicate(&wanted));
        assert!(why.contains("the dynamic field") && why.contains("drop default.books on the target"), "{why}");
        assert!(old.target.done().is_empty(), "{:?}", old.target.done());
    }
}

#[test]
fn a_limit_is_raised_and_never_lowered() {
    let new = bench("2.6.20");
    new.replicate(&schema(50)).unwrap();
    assert!(new.target.done().is_empty(), "{:?}", new.target.done());
    new.replicate(&schema(200)).unwrap();
    assert_eq!(new.there(), schema(200));
    let old = bench("v2.4.9");
    let why = held(old.replicate(&schema(200)));
    assert!(why.contains("max_length 200 of the field \"title\"") && why.contains("v2.4.9"), "{why}");
}

#[test]
fn what_was_compared_changes_with_each_of_them() {
    let parts = |schema| compared_parts(&schema::for_target(&schema), &described(schema).details);
    let plain = parts(schema(100));
    assert_eq!(plain, BTreeSet::from(["max_length 100 of title".to_owned()]));
    assert_ne!(parts(CollectionSchema { enable_dynamic_field: true, ..schema(100) }), plain);
    assert_ne!(parts(schema(200)), plain);
}
