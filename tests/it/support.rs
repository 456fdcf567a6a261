/*!
A server with an engine that only pretends, and a client that can misbehave.
*/

use std::collections::{BTreeMap, HashMap};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use milvus_cdc::Config;
use milvus_cdc::internals::{
    Address, AdmissionReport, Api, CatalogDifference, ChannelDetail, ChannelPosition, CheckExtent, CollectionCounts,
    CollectionDetail, CollectionName, CollectionOutcome, CollectionRefused, CollectionReport, CollectionStage,
    CollectionWish, CopyDetail, Counts, DropDecision, Engine, EngineError, Errand, EventKind, FileJournal, HeldDrop,
    HeldKind, History, HttpServer, Irreversible, Key, Limits, LostLines, LostWrites, LostWritesError, ManagerThread,
    Mandate, NoOpposite, Phase, PreflightReport, Refusal, RefusedRow, RefusedRowsAmount, RefusedRowsDecision,
    RefusedRowsError, ReverseTask, RowDifference, RowKind, RowsFrom, ServerDescription, ServerVersion, ServersDetail,
    SetAside, SourceSighting, SourceSite, Stillness, StoredRefusedRows, TargetSpec, TaskDetail, TaskEvent, TaskHandle,
    TaskId, TaskManager, TaskSpec, TaskStatus, Timestamp, VerifyOutcome, VerifyProgress, VerifyRefused, VerifyReport,
    VerifyRequest, VerifyState, VerifyView,
};
use serde_json::Value;

/// The port of the pretended target of which a user should know something.
pub(crate) const WARNED_PORT: u16 = 3;
/// The port at which the pretended engine reaches nothing.
pub(crate) const UNREACHABLE_PORT: u16 = 1;
/// How long a test waits for what should come at once: these threads share two cores with much else.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// What stopping takes when somebody has to be given up.
pub(crate) const STOP_TIME: Duration = Duration::from_secs(10);

/// Holds up whoever comes through while a test keeps it closed: what happens meanwhile needs no clock to be told.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<parking_lot::Mutex<()>>);

impl Gate {
    pub(crate) fn close(&self) -> parking_lot::MutexGuard<'_, ()> {
        self.0.lock()
    }

    fn pass(&self, deadline: Instant) {
        drop(self.0.try_lock_until(deadline));
    }
}

/// Held by tests that open hundreds of sockets: side by side on many cores, they would leave none to the other tests of
/// the process.
pub(crate) fn many_sockets() -> parking_lot::MutexGuard<'static, ()> {
    static ONE_AT_A_TIME: parking_lot::Mutex<()> = parking_lot::Mutex::new(());
    ONE_AT_A_TIME.lock()
}

/// Waits until something has happened that should at once.
pub(crate) fn wait_for(what: &str, condition: impl Fn() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < PATIENCE, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Pretends to run tasks and notes what it is told.
#[derive(Default)]
pub(crate) struct FakeEngine {
    pub(crate) calls: Arc<Mutex<Vec<String>>>,
    /// Tasks that run now, with the sender of their events.
    pub(crate) running: Arc<Mutex<HashMap<TaskId, Sender<TaskEvent>>>>,
    /// Targets that were asked, and where the question stands still until a test lets it go on.
    pub(crate) checks: AtomicUsize,
    pub(crate) check_gate: Gate,
    /// Where tasks that are started from now on stand still when they are to stop.
    pub(crate) stop_gate: Mutex<Gate>,
    pub(crate) stop_time: Mutex<Duration>,
    pub(crate) refuse_start: AtomicBool,
    pub(crate) refuse_forget: AtomicBool,
    pub(crate) positions: Mutex<Vec<ChannelPosition>>,
    pub(crate) source_answers: AtomicBool,
    /// The target of every task is the peer `east`.
    pub(crate) has_peer: AtomicBool,
}

impl FakeEngine {
    fn note(&self, call: String) {
        self.calls.lock().unwrap().push(call);
    }

    pub(crate) fn calls(&self) -> Vec<String> {
        self.calls.lock().unwrap().clone()
    }

    pub(crate) fn runs(&self, id: &str) -> bool {
        self.running.lock().unwrap().contains_key(&TaskId::parse(id).unwrap())
    }
}

fn described() -> ServerDescription {
    ServerDescription { version: ServerVersion::of("2.6.20"), build: "91f1ca6".into() }
}

fn warnings_of(spec: &TaskSpec) -> Vec<String> {
    let is_warned = spec.target.address().port == WARNED_PORT;
    is_warned.then(|| "inserts without keys fail".to_owned()).into_iter().collect()
}

impl Engine for FakeEngine {
    fn admit(&self, spec: &TaskSpec, existing: &[Arc<TaskSpec>]) -> Result<AdmissionReport, Refusal> {
        self.checks.fetch_add(1, Ordering::SeqCst);
        self.check_gate.pass(Instant::now() + PATIENCE);
        match spec.target.address().port {
            UNREACHABLE_PORT => Err(Refusal::Unreachable("nothing answers".into())),
            _ => Ok(AdmissionReport { aliases: self.aliases(&spec.target, existing), warnings: warnings_of(spec) }),
        }
    }

    fn aliases(&self, target: &TargetSpec, existing: &[Arc<TaskSpec>]) -> Vec<Address> {
        let without_domain = |address: &Address| address.host.split('.').next().map(str::to_owned);
        let own = target.address();
        let others = existing.iter().map(|task| task.target.address());
        let same = others.filter(|other| own.port == other.port && without_domain(own) == without_domain(other));
        same.cloned().collect()
    }

    fn keep(&self, _: &TaskId, _: &History) {}

    fn check(&self, spec: &TaskSpec, pause: Duration, extent: CheckExtent) -> PreflightReport {
        let mut report = PreflightReport::default();
        report.good("source", format!("pretended, for a pause of {} h", pause.as_secs() / 3600));
        if spec.target.address().port == UNREACHABLE_PORT {
            report.problem("target", "nothing answers", "start it");
        }
        if extent == CheckExtent::Recovery {
            report.good("way back", "pretended");
        }
        report
    }

    fn look_at_source(&self, _: &TaskSpec) -> SourceSighting {
        SourceSighting { address: "source:1".into(), answers: self.source_answers.load(Ordering::SeqCst) }
    }

    fn start(
        &self,
        id: &TaskId,
        _spec: &TaskSpec,
        mandate: Mandate,
        events: Sender<TaskEvent>,
        history: Arc<History>,
    ) -> Result<Box<dyn TaskHandle>, EngineError> {
        self.note(match mandate.errand {
            Errand::Follow => format!("start {id}"),
            Errand::Drain(_) => format!("drain {id} in epoch {}", mandate.epoch.0),
            Errand::FailBack(_) => format!("fail back {id} in epoch {}", mandate.epoch.0),
        });
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

    fn opposite_of(&self, id: &TaskId, spec: &TaskSpec) -> Result<TaskSpec, NoOpposite> {
        self.note(format!("opposite of {id}"));
        match self.has_peer.load(Ordering::SeqCst) {
            true => Ok(spec.reversed(SourceSite::named("east").unwrap(), spec.target.clone())?),
            false => Err(Irreversible::UnknownSite(spec.target.address().to_string()).into()),
        }
    }

    fn reversed(&self, id: &TaskId, spec: &TaskSpec) -> Result<ReverseTask, NoOpposite> {
        Ok(ReverseTask { id: id.reversed(), spec: self.opposite_of(id, spec)? })
    }

    fn forget(&self, id: &TaskId, _: &SourceSite) -> Result<(), EngineError> {
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

    fn stored_refused_rows(&self, _id: &TaskId) -> Result<StoredRefusedRows, RefusedRowsError> {
        Ok(StoredRefusedRows { rows: vec![refused_row()], amount: REFUSED_ROWS })
    }

    fn lost_writes(&self, _id: &TaskId) -> Result<Option<LostWrites>, LostWritesError> {
        Ok(None)
    }

    fn lost_lines(&self, _id: &TaskId, _from: u64) -> Result<LostLines, LostWritesError> {
        Err(LostWritesError("lost writes were not listed yet".into()))
    }
}

const REFUSED_ROWS: RefusedRowsAmount = RefusedRowsAmount { rows: 1, bytes: 300 };

fn refused_row() -> RefusedRow {
    RefusedRow {
        number: 3,
        collection_id: 7,
        target: "default.books".into(),
        partition: "_default".into(),
        key: "17".into(),
        channel: "by-dev-dml_0".into(),
        timestamp: 1_700_000_000_000 << 18,
        since_ms: 1_700_000_000_500,
        reason: "Insert: the string is too long".into(),
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
    fn stillness(&self) -> Stillness {
        Stillness::default()
    }

    fn last_sign_of_life(&self) -> Option<Timestamp> {
        Some(Timestamp::at_ms(7_000))
    }

    fn status(&self) -> TaskStatus {
        let skipped = BTreeMap::from([("bulk import".to_owned(), 2)]);
        let phase = Phase::Following;
        TaskStatus {
            phase,
            lag_ms: Some(120),
            followed: phase,
            collections: Some(CollectionCounts { following: 1, ..CollectionCounts::default() }),
            skipped,
            reason: None,
            source_log: None,
        }
    }

    fn detail(&self) -> TaskDetail {
        // The last rows are set aside while it stops.
        let is_running = self.running.lock().unwrap().contains_key(&self.id);
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
            rows_from: Some(RowsFrom::Copy),
            channels: vec!["by-dev-dml_0".into()],
            stage: CollectionStage::Copying,
            hold: None,
        };
        let copy = CopyDetail { collection: "default.books".into(), rows: 25, total: Some(100), waiting: None };
        TaskDetail {
            channels: channels.collect(),
            collections: vec![collection],
            copies: vec![copy],
            echoes: 0,
            queue_bytes: 5,
            queue_limit: 10,
            checkpoint_age: Some(Duration::from_secs(3)),
            refused_rows: if is_running { RefusedRowsAmount::default() } else { REFUSED_ROWS },
            clock_skew_ms: Some(-1500),
            servers: ServersDetail { source: Some(described()), target: None },
        }
    }

    fn positions(&self) -> Vec<ChannelPosition> {
        self.positions.clone()
    }

    fn held_drops(&self) -> Vec<HeldDrop> {
        let (source, target) = ("default.old".into(), "default.old_copy".into());
        vec![HeldDrop { kind: HeldKind::Collection, id: 9, source, target, since_ms: 1_700_000_000_000 }]
    }

    fn decide_drops(&self, decision: DropDecision) -> Vec<HeldDrop> {
        self.calls.lock().unwrap().push(format!("drops {decision:?} {}", self.id));
        self.held_drops()
    }

    fn refused_rows(&self) -> Vec<RefusedRow> {
        vec![refused_row()]
    }

    fn decide_refused_rows(&self, decision: RefusedRowsDecision) -> Result<Vec<RefusedRow>, RefusedRowsError> {
        self.calls.lock().unwrap().push(format!("set aside {decision:?} {}", self.id));
        Ok(self.refused_rows())
    }

    fn change_collection(
        &self,
        collection: &str,
        wish: CollectionWish,
    ) -> Result<CollectionOutcome, CollectionRefused> {
        self.calls.lock().unwrap().push(format!("{wish:?} {} {collection}", self.id));
        match (collection, wish) {
            ("default.books", CollectionWish::Pause) => Ok(CollectionOutcome::Paused),
            ("default.books", CollectionWish::Resume) => Ok(CollectionOutcome::Resumed),
            ("default.books", CollectionWish::Resync) => Ok(CollectionOutcome::Comparing),
            _ => Err(CollectionRefused::unknown(collection, vec!["default.books".into()])),
        }
    }

    fn set_aside(&self) -> Vec<SetAside> {
        let (source, target) = ("default.older".into(), "default.older_dropped_8".into());
        vec![SetAside { source, target, until_ms: 1_700_000_600_000 }]
    }

    fn verify(&self, request: VerifyRequest) -> Result<(), VerifyRefused> {
        let counts = Counts { source: Some(2), target: Some(1), compared: 2, missing: 1, ..Counts::default() };
        let row = RowDifference { key: Key::Int(i64::MIN), partition: "p".into(), kind: RowKind::Missing };
        let catalog = vec![CatalogDifference { what: "index", difference: "it is missing".into() }];
        let place = CollectionName::new("default", "books");
        let collection =
            CollectionReport { source: place.clone(), target: place, catalog, counts, first: vec![row], failure: None };
        let report = VerifyReport { collections: vec![collection], failure: None };
        let before = request.repair.then(|| report.clone());
        let state = VerifyState::Done(Box::new(VerifyOutcome { report, before }));
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
pub(crate) struct TestServer {
    pub(crate) http: HttpServer,
    pub(crate) manager: TaskManager,
    pub(crate) engine: Arc<FakeEngine>,
    pub(crate) address: SocketAddr,
    thread: ManagerThread,
}

impl TestServer {
    pub(crate) fn start(folder: &Path, limits: Limits) -> Self {
        TestServer::with(folder, limits, &Config::load(None, |_| None).unwrap())
    }

    pub(crate) fn with(folder: &Path, limits: Limits, config: &Config) -> Self {
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

    pub(crate) fn post(&self, body: &str) -> Value {
        let answer = exchange(self.address, &post_request(body));
        serde_json::from_str(&answer.body).unwrap_or_else(|error| panic!("{error}: {answer:?}"))
    }

    pub(crate) fn stop(self) {
        self.http.stop_accepting();
        let deadline = Instant::now() + STOP_TIME;
        self.manager.shutdown(deadline);
        self.thread.join();
        self.http.finish(deadline);
    }
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

pub(crate) fn post_request(body: &str) -> Vec<u8> {
    request("POST", "/cdc", body)
}

pub(crate) fn request(method: &str, path: &str, body: &str) -> Vec<u8> {
    format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

pub(crate) fn exchange(address: SocketAddr, request: &[u8]) -> Answer {
    let mut stream = connect(address);
    stream.write_all(request).unwrap();
    read_answer(&mut stream)
}

pub(crate) fn read_answer(stream: &mut TcpStream) -> Answer {
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}
