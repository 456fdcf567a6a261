/*!
A server with an engine that only pretends, and a client that can misbehave.
*/

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "shared by several test programs, none of which uses all of it"
)]

use std::collections::{BTreeMap, HashMap};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use milvus_cdc::api::Api;
use milvus_cdc::api::http::{HttpServer, Limits};
use milvus_cdc::check::Report as CheckReport;
use milvus_cdc::config::Config;
use milvus_cdc::journal::FileJournal;
use milvus_cdc::scan::Key;
use milvus_cdc::task::detail::{ChannelDetail, CollectionDetail, CopyDetail, RowsFrom, TaskDetail};
use milvus_cdc::task::engine::{ChannelPosition, Engine, EngineError, Phase, TaskEvent, TaskHandle, TaskStatus};
use milvus_cdc::task::history::{EventKind, History};
use milvus_cdc::task::manager::{ManagerThread, TaskManager};
use milvus_cdc::task::spec::{TargetSpec, TaskId, TaskSpec};
use milvus_cdc::task::verify::{
    CatalogDifference, CollectionReport, Counts, Outcome, Report, RowDifference, RowKind, VerifyProgress,
    VerifyRefused, VerifyRequest, VerifyState, VerifyView,
};
use serde_json::Value;

/// The port at which the pretended engine reaches nothing.
pub const UNREACHABLE_PORT: u16 = 1;
/// How long a test waits for what should come at once: these threads share two cores with much else.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// What stopping takes when somebody has to be given up.
pub const STOP_TIME: Duration = Duration::from_secs(10);

/// Holds up whoever comes through while a test keeps it closed: what happens meanwhile needs no clock to be told.
#[derive(Clone, Default)]
pub struct Gate(Arc<parking_lot::Mutex<()>>);

impl Gate {
    pub fn close(&self) -> parking_lot::MutexGuard<'_, ()> {
        self.0.lock()
    }

    fn pass(&self, deadline: Instant) {
        drop(self.0.try_lock_until(deadline));
    }
}

/// Pretends to run tasks and notes what it is told.
#[derive(Default)]
pub struct FakeEngine {
    pub calls: Arc<Mutex<Vec<String>>>,
    /// Tasks that run now, with the sender of their events.
    pub running: Arc<Mutex<HashMap<TaskId, Sender<TaskEvent>>>>,
    /// Targets that were asked, and where the question stands still until a test lets it go on.
    pub checks: AtomicUsize,
    pub check_gate: Gate,
    /// Where tasks that are started from now on stand still when they are to stop.
    pub stop_gate: Mutex<Gate>,
    pub stop_time: Mutex<Duration>,
    pub refuse_start: AtomicBool,
    pub refuse_forget: AtomicBool,
    pub positions: Mutex<Vec<ChannelPosition>>,
}

impl FakeEngine {
    fn note(&self, call: String) {
        self.calls.lock().unwrap().push(call);
    }

    pub fn calls(&self) -> Vec<String> {
        self.calls.lock().unwrap().clone()
    }

    pub fn runs(&self, id: &str) -> bool {
        self.running.lock().unwrap().contains_key(&TaskId::parse(id).unwrap())
    }
}

impl Engine for FakeEngine {
    fn check_target(&self, target: &TargetSpec) -> Result<(), EngineError> {
        self.checks.fetch_add(1, Ordering::SeqCst);
        self.check_gate.pass(Instant::now() + PATIENCE);
        match target.address().port {
            UNREACHABLE_PORT => Err(EngineError::Connect("nothing answers".into())),
            _ => Ok(()),
        }
    }

    fn is_same_target(&self, targets: [&TargetSpec; 2]) -> bool {
        let without_domain = |target: &TargetSpec| target.address().host.split('.').next().map(str::to_owned);
        let [one, other] = targets;
        one.address().port == other.address().port && without_domain(one) == without_domain(other)
    }

    fn keep(&self, _: &TaskId, _: &History) {}

    fn check(&self, spec: &TaskSpec, pause: Duration) -> CheckReport {
        let mut report = CheckReport::default();
        report.good("source", format!("pretended, for a pause of {} h", pause.as_secs() / 3600));
        if spec.target.address().port == UNREACHABLE_PORT {
            report.problem("target", "nothing answers", "start it");
        }
        report
    }

    fn start(
        &self,
        id: &TaskId,
        _spec: &TaskSpec,
        events: Sender<TaskEvent>,
        history: Arc<History>,
    ) -> Result<Box<dyn TaskHandle>, EngineError> {
        self.note(format!("start {id}"));
        history.add(EventKind::Phase, "Connecting → Following");
        history.sample(Some(Duration::from_millis(120)), 0);
        if self.refuse_start.load(Ordering::SeqCst) {
            return Err(EngineError::State("checkpoint: cannot be read".into()));
        }
        let before = self.running.lock().unwrap().insert(id.clone(), events);
        assert!(before.is_none(), "{id} was started twice");
        Ok(Box::new(FakeHandle {
            id: id.clone(),
            calls: Arc::clone(&self.calls),
            running: Arc::clone(&self.running),
            stop_gate: self.stop_gate.lock().unwrap().clone(),
            stop_time: *self.stop_time.lock().unwrap(),
            positions: self.positions.lock().unwrap().clone(),
            verification: Mutex::default(),
        }))
    }

    fn forget(&self, id: &TaskId) -> Result<(), EngineError> {
        assert!(!self.running.lock().unwrap().contains_key(id), "{id} is forgotten while it runs");
        self.note(format!("forget {id}"));
        match self.refuse_forget.load(Ordering::SeqCst) {
            true => Err(EngineError::State("checkpoint: cannot be removed".into())),
            false => Ok(()),
        }
    }

    fn stored_positions(&self, _id: &TaskId) -> Vec<ChannelPosition> {
        self.positions.lock().unwrap().clone()
    }
}

struct FakeHandle {
    id: TaskId,
    calls: Arc<Mutex<Vec<String>>>,
    running: Arc<Mutex<HashMap<TaskId, Sender<TaskEvent>>>>,
    stop_gate: Gate,
    stop_time: Duration,
    positions: Vec<ChannelPosition>,
    verification: Mutex<Option<VerifyView>>,
}

impl TaskHandle for FakeHandle {
    fn status(&self) -> TaskStatus {
        let skipped = BTreeMap::from([("bulk import".to_owned(), 2)]);
        TaskStatus { phase: Phase::Following, lag_ms: Some(120), skipped, reason: None, source_log: None }
    }

    fn detail(&self) -> TaskDetail {
        let channels = self.positions.iter().map(|position| ChannelDetail {
            name: position.channel.clone(),
            acknowledged_ms: position.time_tick >> 18,
            at_end: true,
            collections: 1,
        });
        let collection = CollectionDetail {
            id: 7,
            source: Some("default.books".into()),
            target: Some("default.books".into()),
            rows_from: RowsFrom::Copy,
            channels: vec!["by-dev-dml_0".into()],
        };
        let copy = CopyDetail { collection: "default.books".into(), rows: 25, total: Some(100), waiting: None };
        TaskDetail {
            channels: channels.collect(),
            collections: vec![collection],
            copies: vec![copy],
            queue_bytes: 5,
            queue_limit: 10,
            checkpoint_age: Some(Duration::from_secs(3)),
        }
    }

    fn positions(&self) -> Vec<ChannelPosition> {
        self.positions.clone()
    }

    fn verify(&self, request: VerifyRequest) -> Result<(), VerifyRefused> {
        let counts = Counts { source: Some(2), target: Some(1), compared: 2, missing: 1, ..Counts::default() };
        let row = RowDifference { key: Key::Int(i64::MIN), partition: "p".into(), kind: RowKind::Missing };
        let catalog = vec![CatalogDifference { what: "index", difference: "it is missing".into() }];
        let place = ("default".to_owned(), "books".to_owned());
        let collection =
            CollectionReport { source: place.clone(), target: place, catalog, counts, first: vec![row], failure: None };
        let report = Report { collections: vec![collection], failure: None };
        let before = request.repair.then(|| report.clone());
        let state = VerifyState::Done(Box::new(Outcome { report, before }));
        let mut verification = self.verification.lock().unwrap();
        if verification.is_some() {
            return Err(VerifyRefused::Running);
        }
        *verification = Some(VerifyView { request, state, progress: VerifyProgress::default() });
        Ok(())
    }

    fn verification(&self) -> Option<VerifyView> {
        self.verification.lock().unwrap().clone()
    }

    fn cancel_verification(&self) {
        *self.verification.lock().unwrap() = None;
    }

    fn stop(&self, deadline: Instant) {
        self.calls.lock().unwrap().push(format!("stop {}", self.id));
        std::thread::sleep(self.stop_time);
        self.stop_gate.pass(deadline);
        self.running.lock().unwrap().remove(&self.id);
    }
}

/// A whole server but for its engine.
pub struct TestServer {
    pub http: HttpServer,
    pub manager: TaskManager,
    pub engine: Arc<FakeEngine>,
    pub address: SocketAddr,
    thread: ManagerThread,
}

impl TestServer {
    pub fn start(folder: &Path, limits: Limits) -> Self {
        TestServer::with(folder, limits, &Config::load(None, |_| None).unwrap())
    }

    pub fn with(folder: &Path, limits: Limits, config: &Config) -> Self {
        let engine = Arc::new(FakeEngine::default());
        let journal = FileJournal::open(folder).unwrap();
        let as_engine: Arc<dyn Engine> = engine.clone();
        let (manager, thread) = TaskManager::start(as_engine, Box::new(journal), config.max_task_num).unwrap();
        let api = Api::new(manager.clone(), config);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let http = HttpServer::start(listener, limits, move |request| api.handle(request)).unwrap();
        let address = http.address();
        TestServer { http, manager, engine, address, thread }
    }

    pub fn post(&self, body: &str) -> Value {
        let answer = exchange(self.address, &post_request(body));
        serde_json::from_str(&answer.body).unwrap_or_else(|error| panic!("{error}: {answer:?}"))
    }

    pub fn stop(self) {
        self.http.stop_accepting();
        let deadline = Instant::now() + STOP_TIME;
        self.manager.shutdown(deadline);
        self.thread.join();
        self.http.finish(deadline);
    }
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

pub fn post_request(body: &str) -> Vec<u8> {
    request("POST", "/cdc", body)
}

pub fn request(method: &str, path: &str, body: &str) -> Vec<u8> {
    format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

pub fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

pub fn exchange(address: SocketAddr, request: &[u8]) -> Answer {
    let mut stream = connect(address);
    stream.write_all(request).unwrap();
    read_answer(&mut stream)
}

pub fn read_answer(stream: &mut TcpStream) -> Answer {
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}
