/*!
FAKE: a Milvus in memory, which answers a client's calls in place of the wire.

Why a fake: what the tests with it ask is whether we repeat, recognise or take back the right thing when an answer is
lost or the process dies at one certain call. A real server cannot be made to do so at that call, and a gRPC server of
our own would be a dependency for tests alone. It stands at the client's call boundary: everything above the wire
(statuses, what an error means, retries) is the real thing. That it answers as a Milvus does is no proof of anything;
what Milvus does is proved by `tests/e2e`.

It can take two manners where servers differ: see [`Repeats`].
*/

mod catalog;
mod faults;
mod rows;
mod schema;

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use parking_lot::Mutex;

use super::client::Client;
use super::connect::{ConnectOptions, plain_channel};
use super::pb::common::Status;
use super::pb::schema::{CollectionSchema, FieldSchema};
use crate::domain::{Column, Mark};
use crate::failpoint::Gate;
use crate::milvus::field_data::testing::longs;

/// What a server answers to a request that is carried out already: versions of Milvus differ, call by call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeats {
    /// Success.
    Succeed,
    /// That it is there already, or not there any more.
    AreRefused,
}

/// The server.
pub(crate) struct FakeMilvus {
    repeats: Repeats,
    collections: Mutex<Collections>,
    /// Requests that change something and were carried out, in words.
    done: Mutex<Vec<String>>,
    /// The marks of all calls, carried out or not.
    marks: Mutex<Vec<NotedMark>>,
    /// Whole rows that one answer may have.
    largest_answer: AtomicUsize,
    /// When it was set up, as it tells.
    set_up: AtomicU64,
    /// What it answers to `GetVersion`.
    version: Mutex<&'static str>,
    /// Properties by database.
    databases: Mutex<BTreeMap<String, BTreeMap<String, String>>>,
    /// By their ids the collections of complete imports.
    imports: Mutex<BTreeMap<i64, String>>,
    /// Where every call waits.
    stall: Mutex<Option<Gate>>,
}

/// A call and what it bore.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotedMark {
    pub(crate) method: &'static str,
    pub(crate) mark: Option<Mark>,
}

/// By database and name.
pub(crate) type Collections = BTreeMap<String, BTreeMap<String, FakeCollection>>;

/// One collection.
#[derive(Debug, Clone, Default)]
pub(crate) struct FakeCollection {
    pub(crate) id: i64,
    pub(crate) schema: CollectionSchema,
    pub(crate) shards: i32,
    pub(crate) properties: BTreeMap<String, String>,
    pub(crate) partitions: BTreeSet<String>,
    /// By name the field and the parameters.
    pub(crate) indexes: BTreeMap<String, (String, BTreeMap<String, String>)>,
    pub(crate) aliases: BTreeSet<String>,
    pub(crate) is_loaded: bool,
    /// By key every row that has it: its columns, in the order of their names.
    pub(crate) rows: BTreeMap<i64, Vec<Vec<Vec<u8>>>>,
}

impl FakeCollection {
    /// One row per pair of `id` and `value`.
    pub(crate) fn set_rows(&mut self, rows: impl IntoIterator<Item = (i64, i64)>) {
        let bytes = |column: Column| column.parts().concat();
        let row = |(id, value)| (id, vec![vec![bytes(longs("id", &[id])), bytes(longs("value", &[value]))]]);
        self.rows = rows.into_iter().map(row).collect();
    }
}

impl FakeMilvus {
    pub(crate) fn new(repeats: Repeats) -> Arc<FakeMilvus> {
        let collections = BTreeMap::from([("default".to_owned(), BTreeMap::new())]);
        let largest_answer = AtomicUsize::new(usize::MAX);
        Arc::new(FakeMilvus {
            repeats,
            collections: Mutex::new(collections),
            done: Mutex::default(),
            marks: Mutex::default(),
            largest_answer,
            set_up: AtomicU64::new(1),
            version: Mutex::new("v2.6.0"),
            databases: Mutex::default(),
            imports: Mutex::default(),
            stall: Mutex::default(),
        })
    }

    /// A connection to it.
    pub(crate) fn client(self: &Arc<Self>, address: &str) -> Arc<Client> {
        // One channel for all of them, which nobody uses.
        static CHANNEL: LazyLock<grpcio::Channel> = LazyLock::new(|| {
            let endpoint = ConnectOptions {
                address: "127.0.0.1:1".into(),
                token: String::new(),
                tls: None,
                connect_timeout: Duration::from_secs(1),
            };
            plain_channel(&endpoint)
        });
        Arc::new(Client::answered_by(address, CHANNEL.clone(), Arc::clone(self)))
    }

    /// An import into a collection of the default database is complete. As 2.3 and 2.4 do, it tells of which one only
    /// when it is asked for that one's.
    pub(crate) fn imported(&self, id: i64, collection: &str) {
        self.imports.lock().insert(id, collection.to_owned());
    }

    /// From now on no call is answered before the gate is open.
    pub(crate) fn stall(&self) -> Gate {
        self.stall.lock().insert(Gate::default()).clone()
    }

    /// Makes it a server that was set up at that time, of that version.
    pub(crate) fn be(&self, created: u64, version: &'static str) {
        self.set_up.store(created, Ordering::Relaxed);
        *self.version.lock() = version;
    }

    /// Refuses queries with more whole rows in their answers, so that they are read page by page.
    pub(crate) fn answers_at_most(&self, rows: usize) {
        self.largest_answer.store(rows, Ordering::Relaxed);
    }

    /// Answers `GetVersion` with this from now on.
    pub(crate) fn tells_version(&self, version: &'static str) {
        *self.version.lock() = version;
    }

    /// Everything that it holds.
    pub(crate) fn collections(&self) -> Collections {
        self.collections.lock().clone()
    }

    /// Lets it hold this and nothing else.
    pub(crate) fn become_this(&self, collections: Collections) {
        *self.collections.lock() = collections;
    }

    /// Another server takes its place, and has nothing.
    pub(crate) fn reinstall(&self) {
        self.set_up.fetch_add(1, Ordering::Relaxed);
        self.become_this(BTreeMap::from([("default".to_owned(), BTreeMap::new())]));
    }

    /// Puts a collection there without a call.
    pub(crate) fn put(&self, db: &str, name: &str, collection: FakeCollection) {
        self.collections.lock().entry(db.to_owned()).or_default().insert(name.to_owned(), collection);
    }

    /// Loads a collection without a call.
    pub(crate) fn load(&self, db: &str, name: &str) {
        let found = self.with(db, name, |collection| collection.is_loaded = true);
        assert!(found.is_some(), "{db}.{name} is not there");
    }

    /// The properties of a database.
    pub(crate) fn database(&self, db: &str) -> BTreeMap<String, String> {
        self.databases.lock().get(db).cloned().unwrap_or_default()
    }

    /// Gives a database these properties without a call.
    pub(crate) fn set_database(&self, db: &str, properties: BTreeMap<String, String>) {
        self.databases.lock().insert(db.to_owned(), properties);
    }

    /// Lets a collection have autoID and take given keys, as Milvus from 2.6.3 on can.
    pub(crate) fn generate_keys(&self, db: &str, name: &str) {
        let mut collections = self.collections.lock();
        if let Some(collection) = collections.get_mut(db).and_then(|names| names.get_mut(name)) {
            let name = rows::KEY.to_owned();
            let key = FieldSchema { name, is_primary_key: true, autoID: true, ..FieldSchema::default() };
            collection.schema.fields = vec![key];
            collection.properties.insert(rows::TAKES_KEYS.to_owned(), "true".to_owned());
        }
    }

    /// Requests that have changed something, in the order in which they were carried out.
    pub(crate) fn done(&self) -> Vec<String> {
        self.done.lock().clone()
    }

    /// The calls that bore a mark, in the order in which they were made.
    pub(crate) fn marked(&self) -> Vec<(&'static str, Mark)> {
        let marks = self.marks.lock();
        marks.iter().filter_map(|noted| Some((noted.method, noted.mark?))).collect()
    }

    /// The methods of the calls that bore none.
    pub(crate) fn unmarked(&self) -> BTreeSet<&'static str> {
        let marks = self.marks.lock();
        marks.iter().filter(|noted| noted.mark.is_none()).map(|noted| noted.method).collect()
    }

    pub(super) fn note_mark(&self, method: &'static str, mark: Option<Mark>) {
        self.marks.lock().push(NotedMark { method, mark });
    }

    /// Answers one call.
    pub(super) fn answer<Q: Any, A: Any>(&self, method: &'static str, request: &Q) -> grpcio::Result<A> {
        let stall = self.stall.lock().clone();
        if let Some(gate) = stall {
            gate.pass();
        }
        let request: &dyn Any = request;
        let answer = self.answer_about_catalog(method, request).or_else(|| self.answer_about_rows(method, request));
        let Some(answer) = answer else {
            let status = grpcio::RpcStatus::new(grpcio::RpcStatusCode::UNIMPLEMENTED);
            return Err(grpcio::Error::RpcFailure(status));
        };
        let Ok(answer) = answer.downcast::<A>() else { panic!("{method} is answered with another type") };
        Ok(*answer)
    }

    /// A change: an error, or what was done.
    fn changed(&self, outcome: Result<String, Status>) -> Status {
        match outcome {
            Ok(done) => {
                self.done.lock().push(done);
                Status::new()
            }
            Err(status) => status,
        }
    }

    /// What is there already, or gone already.
    fn repeated(&self, status: Status) -> Result<String, Status> {
        match self.repeats {
            Repeats::Succeed => Ok("nothing".into()),
            Repeats::AreRefused => Err(status),
        }
    }
}

fn status(code: i32, reason: &str) -> Status {
    Status { code, reason: reason.into(), ..Status::default() }
}

fn request<T: Any>(request: &dyn Any) -> &T {
    let Some(request) = request.downcast_ref() else { panic!("a request of another type") };
    request
}
