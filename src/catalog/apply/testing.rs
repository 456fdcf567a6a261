//! A FAKE target, and what a task has of it, for tests of one step.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvError, unbounded};
use parking_lot::Mutex;

use super::context::TargetContext;
use super::fields;
use crate::catalog::describe::{Load, LoadProgress, SourceCollection};
use crate::catalog::error::CatalogError;
use crate::catalog::event::CatalogEvent;
use crate::catalog::record::{CatalogRecord, ReplicatedCollection};
use crate::catalog::reporter::Reporter;
use crate::domain::{CollectionId, CollectionName};
use crate::milvus::catalog::CollectionDetails;
use crate::milvus::fake::{FakeCollection, FakeMilvus, Repeats};
use crate::milvus::field_data::field_names;
use crate::milvus::pb::schema::CollectionSchema;
use crate::milvus::{CallContext, Cancel};
use crate::task::drops::OnDrop;
use crate::task::history::History;

/// The collection `default.books` at the source.
pub(super) const ID: CollectionId = CollectionId(7);

pub(super) fn books() -> CollectionName {
    CollectionName::new("default", "books")
}

/// What the source tells of it: this schema, and nothing else.
pub(super) fn described(schema: CollectionSchema) -> SourceCollection {
    SourceCollection {
        id: ID,
        name: books(),
        details: CollectionDetails { schema, ..CollectionDetails::nothing("books") },
        partitions: BTreeMap::new(),
        indexes: BTreeMap::new(),
        load: Load::None,
        load_progress: LoadProgress::Settled,
    }
}

/// The same of a source that numbers its fields for good.
pub(super) fn numbered(schema: CollectionSchema) -> SourceCollection {
    let mut source = described(schema);
    source.details.id = ID.0;
    source
}

/// Why a step holds its collection.
pub(super) fn held(outcome: Result<(), CatalogError>) -> String {
    match outcome.unwrap_err() {
        CatalogError::Conflict(why) => why,
        other => panic!("{other}"),
    }
}

pub(super) struct Bench {
    pub(super) target: Arc<FakeMilvus>,
    pub(super) context: TargetContext,
    pub(super) record: CatalogRecord,
    pub(super) history: Arc<History>,
    /// What was reported.
    pub(super) events: Receiver<CatalogEvent>,
    /// What of them was passed over.
    pub(super) skipped: Mutex<Vec<String>>,
    pub(super) folder: tempfile::TempDir,
}

impl Bench {
    /// A target of this version that has the collection with this schema, made by the task or `adopted`.
    pub(super) fn with(version: &'static str, schema: &CollectionSchema, adopted: bool) -> Bench {
        let bench = Bench::of(version);
        let there = FakeCollection { schema: schema.clone(), ..FakeCollection::default() };
        bench.target.put("default", "books", there);
        let fields = field_names(schema);
        let entry = ReplicatedCollection { name: books(), created: true, adopted, fields, ..Default::default() };
        bench.record.entry(ID).put(entry);
        bench.replicate_schema(&numbered(schema.clone()), OnDrop::Follow).unwrap();
        assert!(bench.target.done().is_empty());
        bench
    }

    /// A target of this version, which is empty.
    pub(super) fn of(version: &'static str) -> Bench {
        let target = FakeMilvus::new(Repeats::Succeed);
        target.tells_version(version);
        let folder = tempfile::tempdir().unwrap();
        let record = CatalogRecord::open(folder.path()).unwrap();
        let (sender, events) = unbounded();
        let history = Arc::new(History::default());
        let call = CallContext { timeout: Duration::from_secs(5), cancel: Cancel::default() };
        let context = TargetContext::new(target.client("target:1"), call, Reporter::new(sender, Arc::clone(&history)));
        Bench { target, context, record, history, events, skipped: Mutex::default(), folder }
    }

    /// The steps that were done on the target, the last one first.
    pub(super) fn told(&self) -> Vec<String> {
        self.history.events().into_iter().map(|event| event.text).collect()
    }

    /// Carries over what the source has changed in the schema of a collection that the task has made; no row is in the
    /// way.
    pub(super) fn replicate_schema(&self, source: &SourceCollection, on_drop: OnDrop) -> Result<(), CatalogError> {
        std::thread::scope(|scope| {
            let (done, is_done) = crossbeam_channel::bounded::<()>(0);
            scope.spawn(move || {
                // The end of the step closes the channel.
                while let Ok(event) = select_event(&self.events, &is_done) {
                    match event {
                        CatalogEvent::Block { answer, .. } => drop(answer.send(())),
                        CatalogEvent::Skipped { what, why } => self.skipped.lock().push(format!("{what}: {why}")),
                        _ => {}
                    }
                }
            });
            let outcome = fields::replicate(&self.context, self.record.entry(ID), source, on_drop);
            drop(done);
            outcome
        })
    }
}

/// The next event, those that were there before the end included.
fn select_event(events: &Receiver<CatalogEvent>, end: &Receiver<()>) -> Result<CatalogEvent, RecvError> {
    crossbeam_channel::select_biased! {
        recv(events) -> event => event,
        recv(end) -> end => end.and(Err(RecvError)),
    }
}
