//! The target is a FAKE ([`FakeMilvus`]): what is asked is which collections are announced by what it shows.

use std::collections::BTreeMap;

use super::*;
use crate::catalog::record::ReplicatedCollection;
use crate::catalog::row_schemas::RowSchema;
use crate::domain::{Channel, CollectionName, Timestamp};
use crate::failpoint::{CallFault, Faults};
use crate::milvus::Cancel;
use crate::milvus::fake::{FakeCollection, FakeMilvus, Repeats};
use crate::milvus::pb::schema::{CollectionSchema, FieldSchema};
use crate::task::history::History;

const KNOWN: CollectionId = CollectionId(1);
const REPLACED: CollectionId = CollectionId(2);
const GONE: CollectionId = CollectionId(3);
const UNKEPT: CollectionId = CollectionId(4);
const RENAMED: CollectionId = CollectionId(5);

fn schema() -> CollectionSchema {
    let key = FieldSchema { name: "id".into(), fieldID: 100, is_primary_key: true, data_type: 5, ..<_>::default() };
    CollectionSchema { fields: vec![key], ..CollectionSchema::default() }
}

fn there(name: &str, id: i64) -> (String, FakeCollection) {
    let schema = CollectionSchema { name: name.into(), ..schema() };
    (name.to_owned(), FakeCollection { id, schema, shards: 1, ..FakeCollection::default() })
}

/// Collections that an earlier run has followed, named after their ids, and what the target has now.
fn stand_in(folder: &std::path::Path) -> (StandIn, Receiver<CatalogEvent>) {
    let (source, target) = (FakeMilvus::new(Repeats::Succeed), FakeMilvus::new(Repeats::Succeed));
    let on_target = BTreeMap::from([there("c1", 11), there("c2", 99), there("c4", 14), there("c5", 15)]);
    target.become_this(BTreeMap::from([("default".to_owned(), on_target)]));
    let (record, schemas) = (CatalogRecord::open(folder).unwrap(), RowSchemas::of(folder));
    for id in [KNOWN, REPLACED, GONE, UNKEPT, RENAMED] {
        let (name, target_id) = (CollectionName::new("default", format!("c{id}")), 10 + id.0);
        let renamed = CollectionName::new("default", "other");
        let recorded = if id == RENAMED { renamed } else { name.clone() };
        let made = ReplicatedCollection { name: recorded, created: true, target_id, ..<_>::default() };
        record.entry(id).put(made);
        let rows = RowSchema {
            source: name.clone(),
            target: name,
            target_id,
            adopted: false,
            generated_keys: false,
            created: Timestamp(5),
            schema: schema(),
            partitions: BTreeMap::new(),
            ignore_partitions: false,
            ttl: None,
            channels: vec![Channel::new("dml_0")],
        };
        if id != UNKEPT {
            schemas.save(id, &rows).unwrap();
        }
    }
    record.save().unwrap();
    let (events, received) = bounded(MAX_EVENTS);
    let away = SourceAway {
        why: "away".into(),
        streaming: [KNOWN, REPLACED, GONE, UNKEPT, RENAMED].into(),
        vigil: Vigil::Never,
    };
    let stand_in = StandIn {
        away,
        source: source.client("source:1"),
        target: target.client("target:1"),
        call: CallContext { timeout: CALL_TIMEOUT, cancel: Cancel::default() },
        record,
        schemas,
        guard: TargetGuard::open(folder).unwrap(),
        reporter: Reporter::new(events, Arc::new(History::default())),
        announced: BTreeSet::new(),
        is_settled: false,
    };
    (stand_in, received)
}

#[test]
fn only_what_stands_on_the_target_as_it_was_left_is_announced() {
    let folder = tempfile::tempdir().unwrap();
    let (mut stand_in, events) = stand_in(folder.path());
    stand_in.look().unwrap();
    let told: Vec<CatalogEvent> = events.try_iter().collect();
    let [CatalogEvent::Ready(ready), CatalogEvent::Trouble(why), CatalogEvent::Settled] = &told[..] else {
        panic!("{told:?}")
    };
    assert_eq!((ready.info.id, ready.info.name.as_str(), ready.info.generation), (KNOWN, "c1", 0));
    assert_eq!(why.len(), 5, "{why:?}");
    for (text, expected) in
        why.iter().zip(["away", "another collection now", "default.c3", "was not kept", "being changed"])
    {
        assert!(text.contains(expected), "{text}");
    }
    stand_in.look().unwrap();
    let again: Vec<CatalogEvent> = events.try_iter().collect();
    assert!(matches!(&again[..], [CatalogEvent::Trouble(_)]), "announced once: {again:?}");
}

/// Else a drain would give up what rows wait for.
#[test]
fn a_target_that_does_not_answer_settles_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let faults = Faults::install();
    let (mut stand_in, events) = stand_in(folder.path());
    faults.at_call("DescribeCollection", 1, CallFault::Unreachable);
    stand_in.look().unwrap();
    let told: Vec<CatalogEvent> = events.try_iter().collect();
    assert!(matches!(&told[..], [CatalogEvent::Trouble(_)]), "{told:?}");
    faults.clear();
    stand_in.look().unwrap();
    let told: Vec<CatalogEvent> = events.try_iter().collect();
    let [CatalogEvent::Ready(_), CatalogEvent::Trouble(_), CatalogEvent::Settled] = &told[..] else {
        panic!("{told:?}")
    };
}

#[test]
fn only_what_nobody_knows_is_absent() {
    let folder = tempfile::tempdir().unwrap();
    let (stand_in, events) = stand_in(folder.path());
    for id in [KNOWN, GONE, CollectionId(77)] {
        stand_in.answer(&Hint::Collection(id, 3)).unwrap();
        stand_in.answer(&Hint::Dropped(id)).unwrap();
    }
    let told: Vec<CatalogEvent> = events.try_iter().collect();
    assert!(matches!(told[..], [CatalogEvent::Absent(CollectionId(77))]), "{told:?}");
}

#[test]
fn a_source_that_answers_again_ends_it_unless_it_is_followed_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let (mut stand_in, _events) = stand_in(folder.path());
    stand_in.look().unwrap();
    stand_in.away.vigil = Vigil::UntilItAnswers;
    let ended = stand_in.look().unwrap_err();
    assert_eq!(ended.to_string(), "the source source:1 answers again");
}
