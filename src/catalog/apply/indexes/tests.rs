use super::*;
use crate::catalog::apply::testing::{Bench, ID, books, described};
use crate::catalog::event::CatalogEvent;
use crate::milvus::fake::FakeCollection;
use crate::milvus::pb::schema::CollectionSchema;

fn index(params: &[(&str, &str)]) -> Index {
    let params = params.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect();
    Index { name: "i".into(), field: "vec".into(), params }
}

/// The target has the index as it was, and the source as it is now.
fn replicated(bench: &Bench, was: &Index, now: &Index, load: Load, policy: LoadPolicy) -> Index {
    let indexes = [(was.name.clone(), (was.field.clone(), was.params.clone()))].into();
    let collection = FakeCollection { indexes, is_loaded: load != Load::None, ..FakeCollection::default() };
    bench.target.put("default", "books", collection);
    bench.record.entry(ID).put(ReplicatedCollection {
        name: books(),
        created: true,
        indexes: [(was.name.clone(), was.into())].into(),
        load,
        ..ReplicatedCollection::default()
    });
    let mut source = described(CollectionSchema::default());
    source.indexes.insert(now.name.clone(), now.clone());
    replicate(&bench.context, bench.record.entry(ID), &source, policy).unwrap();
    assert_eq!(bench.record.get(ID).unwrap().indexes["i"], now.into(), "it is recorded");
    let (field, params) = bench.target.collections()["default"]["books"].indexes["i"].clone();
    Index { name: "i".into(), field, params }
}

#[test]
fn what_can_be_altered_is_altered_in_place() {
    let was = index(&[("index_type", "HNSW"), ("mmap.enabled", "false")]);
    let now = index(&[("index_type", "HNSW"), ("mmap.enabled", "true")]);
    let new = Bench::of("2.6.20");
    assert_eq!(replicated(&new, &was, &now, Load::None, LoadPolicy::Follow), now);
    assert_eq!(new.target.done(), ["alter index i"]);
    let without = index(&[("index_type", "HNSW")]);
    assert_eq!(replicated(&new, &now, &without, Load::None, LoadPolicy::Follow), without);
    let old = Bench::of("v2.3.5");
    assert_eq!(replicated(&old, &was, &now, Load::None, LoadPolicy::Follow), now);
    assert_eq!(old.target.done().len(), 2, "dropped and created: {:?}", old.target.done());
}

#[test]
fn another_index_takes_the_place_of_the_old_one() {
    let (was, now) = (index(&[("index_type", "HNSW")]), index(&[("index_type", "FLAT"), ("mmap.enabled", "true")]));
    let bench = Bench::of("2.6.20");
    assert_eq!(replicated(&bench, &was, &now, Load::None, LoadPolicy::Follow), now);
    assert!(!bench.target.done().contains(&"alter index i".to_owned()), "{:?}", bench.target.done());
}

#[test]
fn a_loaded_collection_is_released_for_it_unless_its_users_load_it() {
    let was = index(&[("index_type", "HNSW")]);
    let now = index(&[("index_type", "HNSW"), ("mmap.enabled", "true")]);
    let loaded = || Load::Whole { replicas: 1 };
    let follows = Bench::of("2.6.20");
    assert_eq!(replicated(&follows, &was, &now, loaded(), LoadPolicy::Follow), now);
    assert_eq!(follows.record.get(ID).unwrap().load, Load::None, "the load step loads it again");
    let ignores = Bench::of("2.6.20");
    assert_eq!(replicated(&ignores, &was, &now, loaded(), LoadPolicy::Ignore), was);
    let skipped = ignores.events.try_iter().any(|event| matches!(event, CatalogEvent::Skipped { .. }));
    assert!(skipped && ignores.target.collections()["default"]["books"].is_loaded);
}
