use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, unbounded};

use super::*;
use crate::catalog::describe::{Load, LoadProgress};
use crate::catalog::event::CatalogEvent;
use crate::catalog::record::{CatalogRecord, ReplicatedCollection};
use crate::catalog::reporter::Reporter;
use crate::failpoint::{CallFault, Faults};
use crate::milvus::catalog::CollectionDetails;
use crate::milvus::fake::{FakeCollection, FakeMilvus, Repeats};
use crate::milvus::{CallContext, Cancel, ServerVersion};
use crate::task::history::History;

const ID: CollectionId = CollectionId(7);

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// A FAKE target with one collection, and the record of it.
struct Bench {
    target: Arc<FakeMilvus>,
    context: TargetContext,
    record: CatalogRecord,
    events: Receiver<CatalogEvent>,
    properties: Properties,
    _folder: tempfile::TempDir,
}

impl Bench {
    fn with(on_target: &[(&str, &str)], recorded: &[(&str, &str)]) -> Bench {
        let target = FakeMilvus::new(Repeats::Succeed);
        target.put("default", "books", FakeCollection { properties: map(on_target), ..FakeCollection::default() });
        let folder = tempfile::tempdir().unwrap();
        let record = CatalogRecord::open(folder.path()).unwrap();
        record.entry(ID).put(ReplicatedCollection {
            name: CollectionName::new("default", "books"),
            created: true,
            properties: map(recorded),
            ..ReplicatedCollection::default()
        });
        let (sender, events) = unbounded();
        let call = CallContext { timeout: Duration::from_secs(5), cancel: Cancel::default() };
        let reporter = Reporter::new(sender, Arc::new(History::default()));
        let context = TargetContext::new(target.client("target:1"), call, reporter);
        Bench { target, context, record, events, properties: Properties::default(), _folder: folder }
    }

    fn replicate(&self, source: &[(&str, &str)]) -> Result<(), CatalogError> {
        let collection = SourceCollection {
            id: ID,
            name: CollectionName::new("default", "books"),
            details: CollectionDetails { properties: map(source), ..CollectionDetails::nothing("books") },
            partitions: BTreeMap::new(),
            indexes: BTreeMap::new(),
            load: Load::None,
            load_progress: LoadProgress::Settled,
        };
        self.properties.replicate(&self.context, self.record.entry(ID), &collection)
    }

    fn on_target(&self) -> BTreeMap<String, String> {
        self.target.collections()["default"]["books"].properties.clone()
    }

    fn recorded(&self) -> BTreeMap<String, String> {
        self.record.get(ID).unwrap().properties
    }

    /// What was reported as skipped since this was asked last.
    fn skipped(&self) -> Vec<String> {
        let told = |event| match event {
            CatalogEvent::Skipped { what, why } => Some(format!("{what}: {why}")),
            _ => None,
        };
        self.events.try_iter().filter_map(told).collect()
    }
}

#[test]
fn what_differs_is_changed_and_nothing_else() {
    let bench = Bench::with(&[(TTL, "60"), ("old", "1"), ("users", "1")], &[(TTL, "60"), ("old", "1")]);
    bench.replicate(&[("mmap.enabled", "true"), (TTL, "90"), ("collection.insertRate.max.mb", "1")]).unwrap();
    assert_eq!(bench.on_target(), map(&[("mmap.enabled", "true"), (TTL, "90"), ("users", "1")]));
    assert_eq!(bench.recorded(), map(&[("mmap.enabled", "true"), (TTL, "90")]));
    assert_eq!(bench.target.done().len(), 3, "one call for each");
    bench.replicate(&[("mmap.enabled", "true"), (TTL, "90"), ("collection.on.truncating", "1")]).unwrap();
    assert_eq!((bench.target.done().len(), bench.skipped()), (3, vec![]));
}

#[test]
fn what_the_target_has_already_is_not_sent() {
    let bench = Bench::with(&[(TTL, "60")], &[("gone", "1")]);
    bench.replicate(&[(TTL, "60")]).unwrap();
    assert_eq!((bench.target.done().len(), bench.recorded()), (0, map(&[(TTL, "60")])));
}

#[test]
fn what_a_record_of_an_earlier_version_has_beyond_that_is_left_as_it_is() {
    let set = [("collection.replica.number", "2"), ("cipher.key", "k")];
    let bench = Bench::with(&set, &set);
    bench.replicate(&[]).unwrap();
    assert_eq!((bench.on_target(), bench.recorded()), (map(&set), map(&[])));
}

#[test]
fn a_refused_property_holds_back_no_other_and_is_neither_recorded_nor_reported_twice() {
    let (bench, faults) = (Bench::with(&[], &[]), Faults::install());
    for call in [1, 3] {
        faults.at_call("AlterCollection", call, CallFault::Refused(1100));
    }
    let source = [("a", "1"), ("b", "2")];
    bench.replicate(&source).unwrap();
    assert_eq!((bench.on_target(), bench.recorded()), (map(&[("b", "2")]), map(&[("b", "2")])));
    let skipped = bench.skipped();
    assert!(matches!(&skipped[..], [one] if one.starts_with("properties: default.books (a): ")), "{skipped:?}");
    bench.replicate(&source).unwrap();
    assert_eq!((bench.recorded(), bench.skipped()), (map(&[("b", "2")]), vec![]));
    bench.replicate(&source).unwrap();
    assert_eq!((bench.on_target(), bench.recorded()), (map(&source), map(&source)));
}

#[test]
fn a_failure_that_may_pass_is_told_after_the_others_are_done() {
    let (bench, faults) = (Bench::with(&[], &[]), Faults::install());
    faults.at_call("AlterCollection", 1, CallFault::Refused(65535));
    let failed = bench.replicate(&[("a", "1"), ("b", "2")]);
    assert!(matches!(failed, Err(CatalogError::Target(_))), "{failed:?}");
    assert_eq!((bench.recorded(), bench.skipped()), (map(&[("b", "2")]), vec![]));
}

#[test]
fn a_property_is_removed_as_the_target_can() {
    let of = |key, version| removal(key, &Capabilities::of(&ServerVersion::new(version)));
    assert_eq!(of(TTL, Some("v2.6.20")), Removal::Call);
    assert_eq!(of("mmap.enabled", Some("v2.5.0")), Removal::Call);
    assert_eq!(of(TTL, Some("v2.3.5")), Removal::Value("0"));
    assert_eq!(of(TTL, Some("milvus_lite-3.2.2")), Removal::Call);
    for (key, version) in [("mmap.enabled", Some("v2.4.23")), (TTL, None)] {
        assert_eq!(of(key, version), Removal::Impossible, "{key} {version:?}");
    }
}
