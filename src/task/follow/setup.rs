//! Starting a task's threads, in the order in which they need each other.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use parking_lot::Mutex;

use super::channel::ChannelState;
use super::checkpoint::{self, Checkpoint};
use super::copy::Copier;
use super::core::{Core, End, Order};
use super::counted::{Counted, Side};
use super::inspect::{Inspector, Repair};
use super::members::Members;
use super::rounds::Rounds;
use super::show::Shown;
use super::status::{Board, Troubles};
use super::uncarried::Uncarried;
use crate::catalog;
use crate::domain::{Channel, CollectionId, LogKind, Timestamp};
use crate::milvus::{Cancel, Client, Endpoint};
use crate::observe::metrics;
use crate::pipeline::Scheduler;
use crate::source::{self, LogSettings, OpenError, OpenLog, ReaderCommand, Seek, Start, spawn_reader};
use crate::target::{Backoff, Pool};
use crate::task::detail::TaskDetail;
use crate::task::engine::{ChannelPosition, Phase, TaskStatus};
use crate::task::history::{EventKind, History};
use crate::task::spec::TaskSpec;
use crate::task::verify::{VerifyRefused, VerifyRequest, VerifyView};

/// What following needs.
pub(crate) struct FollowSetup {
    /// The task's name.
    pub(crate) task: String,
    /// What it is asked to do.
    pub(crate) spec: TaskSpec,
    /// Where the source is.
    pub(crate) source: Endpoint,
    /// Where the target is.
    pub(crate) target: Endpoint,
    /// The source's log.
    pub(crate) log: LogSettings,
    /// How often a source without a log is scanned.
    pub(crate) scan_interval: Duration,
    /// The source's channel of users' requests.
    pub(crate) replicate_channel: String,
    /// The task's own folder.
    pub(crate) folder: PathBuf,
    /// Is told what happens.
    pub(crate) history: Arc<History>,
}

/// A running task.
pub(crate) struct Following {
    orders: Sender<Order>,
    cancel: Cancel,
    board: Arc<Board>,
    inspector: Inspector,
    ended: Receiver<()>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// Starts a task. `on_failure` is called, from the task's thread, when it has ended itself.
pub(crate) fn follow(
    setup: FollowSetup,
    on_failure: impl FnOnce(String) + Send + 'static,
) -> std::io::Result<Following> {
    let (orders, order_receiver) = bounded(1);
    let (ended_sender, ended) = bounded(1);
    let cancel = Cancel::default();
    let board = Arc::new(Board::new());
    let (thread_cancel, thread_board) = (cancel.clone(), Arc::clone(&board));
    let (inspector, repairs) = Inspector::new(&setup, &board, &cancel);
    let name = format!("task-{}", setup.task);
    let thread = std::thread::Builder::new().name(name).spawn(move || {
        let end = run(&setup, (&order_receiver, &repairs), &thread_cancel, &thread_board);
        thread_cancel.cancel();
        if let End::Failed(reason) = end {
            log::error!("task {}: stopped: {reason}", setup.task);
            on_failure(reason);
        }
        // Whoever waits may have given up.
        let _ = ended_sender.send(());
    })?;
    Ok(Following { orders, cancel, board, inspector, ended, thread: Mutex::new(Some(thread)) })
}

impl Following {
    pub(crate) fn status(&self) -> TaskStatus {
        self.board.status()
    }

    pub(crate) fn detail(&self) -> TaskDetail {
        self.board.detail()
    }

    pub(crate) fn positions(&self) -> Vec<ChannelPosition> {
        self.board.positions()
    }

    pub(crate) fn verify(&self, request: VerifyRequest) -> Result<(), VerifyRefused> {
        self.inspector.start(request)
    }

    pub(crate) fn verification(&self) -> Option<VerifyView> {
        self.inspector.view()
    }

    pub(crate) fn cancel_verification(&self) {
        self.inspector.cancel();
    }

    /// Ends the task; returns when nothing of it is under way, at the latest about `deadline`.
    pub(crate) fn stop(&self, deadline: Instant) {
        self.inspector.end();
        // Full or closed: it is ending already.
        let _ = self.orders.try_send(Order::Stop(deadline));
        if self.ended.recv_deadline(deadline).is_err() {
            self.cancel.cancel();
        }
        if let Some(thread) = self.thread.lock().take()
            && thread.join().is_err()
        {
            log::error!("a task's thread panicked");
        }
    }
}

/// Connects, trying for as long as it takes, then runs.
fn run(
    setup: &FollowSetup,
    (orders, repairs): (&Receiver<Order>, &Receiver<Repair>),
    cancel: &Cancel,
    board: &Arc<Board>,
) -> End {
    let mut backoff = Backoff::default();
    // As long as there is no connection, the lag is counted from where an earlier run has stopped.
    let stopped_at = checkpoint::load(&setup.folder).ok().flatten().and_then(|checkpoint| checkpoint.oldest());
    loop {
        let why = match build(setup, repairs, cancel, board) {
            Ok(core) => return core.run(orders),
            Err(Trouble::Hopeless(why)) => return End::Failed(why),
            Err(Trouble::Passing(why)) => why,
        };
        log::warn!("task {}: {why}", setup.task);
        setup.history.add(EventKind::Retry, why.as_str());
        let lag = stopped_at.map(Timestamp::age);
        let lag_ms = lag.map(|lag| lag.as_millis() as u64);
        setup.history.sample(lag, metrics::rows_of(&setup.task));
        board.show(TaskStatus { phase: Phase::Retrying, reason: Some(why), lag_ms, ..board.status() });
        match orders.recv_timeout(backoff.wait()) {
            Err(crossbeam_channel::RecvTimeoutError::Timeout) => {}
            Ok(Order::Stop(_)) | Err(_) => return End::Ordered,
        }
    }
}

enum Trouble {
    Passing(String),
    Hopeless(String),
}

fn build(
    setup: &FollowSetup,
    repairs: &Receiver<Repair>,
    cancel: &Cancel,
    board: &Arc<Board>,
) -> Result<Core, Trouble> {
    let passing = |error: &dyn std::fmt::Display| Trouble::Passing(error.to_string());
    let hopeless = |error: &dyn std::fmt::Display| Trouble::Hopeless(error.to_string());
    std::fs::create_dir_all(&setup.folder)
        .map_err(|error| Trouble::Passing(format!("{}: {error}", setup.folder.display())))?;
    let saved = checkpoint::load(&setup.folder).map_err(|error| hopeless(&error))?;
    let connect = |endpoint, side| {
        let client = Client::open(endpoint).map_err(|error| hopeless(&error))?;
        Ok::<_, Trouble>(Arc::new(client.observed(Counted::new(&setup.task, side))))
    };
    let (source, target) = (connect(&setup.source, Side::Source)?, connect(&setup.target, Side::Target)?);
    // What was chosen once stays: positions of one log mean nothing to another.
    let before = saved.as_ref().and_then(|saved| LogKind::named(&saved.log));
    let settings = LogSettings { wanted: setup.log.wanted.or(before), ..setup.log.clone() };
    let opened = source::open(&settings, &source, cancel, &setup.folder).map_err(|error| match &error {
        OpenError::Unconfigured(_) | OpenError::Unusable(_) => hopeless(&error),
        OpenError::Unreachable(_) => passing(&error),
    })?;
    let OpenLog { log, kind, why } = opened;
    log::info!("reads the source's log by `{}`: {why}", kind.name());
    let saved = saved.unwrap_or_else(|| first_checkpoint(&setup.spec, kind));
    if saved.log != kind.name() {
        return Err(Trouble::Hopeless(format!(
            "the task has read the source's log by `{}` so far, and its positions mean nothing to `{}`: set sourceConfig.log back, \
             or delete the task and create it again (its rows are compared, none is doubled)",
            saved.log,
            kind.name()
        )));
    }
    for client in [&source, &target] {
        client.connect(cancel).map_err(|error| passing(&error))?;
    }
    let reader = spawn_reader(&setup.task, Arc::clone(&log)).map_err(|error| passing(&error))?;
    let pool = Pool::start(&setup.task, &target, cancel).map_err(|error| passing(&error))?;
    let copier = Copier::spawn(&setup.task, &source, &target, &log, &setup.folder).map_err(|error| passing(&error))?;
    let watcher = catalog::spawn(catalog::Setup {
        task: setup.task.clone(),
        source,
        target,
        scope: setup.spec.scope.clone(),
        mapping: setup.spec.mapping.clone(),
        ignore_partitions: setup.spec.target.given().ignore_partition,
        folder: setup.folder.clone(),
        history: Arc::clone(&setup.history),
        cancel: cancel.clone(),
    })
    .map_err(|error| hopeless(&error))?;
    let Checkpoint { log: _, channels, collections, skipped, truncated, uncarried } = saved;
    let channels: BTreeMap<Channel, ChannelState> =
        channels.iter().map(|(name, record)| (Channel::new(name), ChannelState::restore(record))).collect();
    let seek = |(name, state): (&Channel, &ChannelState)| Seek {
        channel: name.clone(),
        from: state.acked.position,
        epoch: state.epoch,
    };
    reader.send(ReaderCommand::Seek(channels.iter().map(seek).collect()));
    Ok(Core {
        task: setup.task.clone(),
        folder: setup.folder.clone(),
        log_kind: kind,
        log_why: why,
        log,
        reader,
        watcher,
        copier,
        pool,
        cancel: cancel.clone(),
        board: Arc::clone(board),
        history: Arc::clone(&setup.history),
        shown: Shown::new(),
        replicate_channel: Channel::new(&setup.replicate_channel),
        channels,
        members: Members::restore(&collections, &truncated),
        scheduler: Scheduler::default(),
        blocks: Vec::new(),
        given: given_starts(&setup.spec, kind),
        asked: Default::default(),
        ticket: 1,
        unjoined: Default::default(),
        // Only some logs have such a channel.
        hints_are_read: !kind.has_request_channel(),
        to_copy: Vec::new(),
        doubts: BTreeMap::new(),
        rounds: (kind == LogKind::Scan).then(|| Rounds::every(setup.scan_interval)),
        prune: setup.spec.prune,
        repairs: BTreeMap::new(),
        repair_orders: repairs.clone(),
        troubles: Troubles::default(),
        skipped,
        uncarried: Uncarried::restore(&uncarried),
        settled: false,
        dirty: false,
        rows_acked: false,
        written: Instant::now(),
        failure: None,
    })
}

/// What a new task starts with: what was asked for and cannot be done is counted from the beginning.
fn first_checkpoint(spec: &TaskSpec, kind: LogKind) -> Checkpoint {
    let mut checkpoint = Checkpoint { log: kind.name().into(), ..Checkpoint::default() };
    if spec.enable_user_role {
        log::warn!(
            "extra_info.enable_user_role: users, roles and privileges are not carried over (Milvus 2.3 does not log them)"
        );
        checkpoint.skipped.insert("users and roles".into(), 1);
    }
    if spec.target.given().channel_num > 0 {
        log::warn!(
            "milvus_connect_param.channel_num has no meaning here: the target spreads its collections by itself"
        );
    }
    checkpoint
}

/// The positions of the request, by collection and physical channel. Positions of another kind of log are ignored.
fn given_starts(spec: &TaskSpec, kind: LogKind) -> BTreeMap<CollectionId, BTreeMap<Channel, Start>> {
    let mut given: BTreeMap<CollectionId, BTreeMap<Channel, Start>> = BTreeMap::new();
    for start in &spec.start_positions {
        match kind.position(&start.message_id) {
            Some(position) => {
                let place = Start { position: Some(position), after: Timestamp(start.timestamp) };
                let channels = given.entry(CollectionId(start.collection_id)).or_default();
                channels.insert(Channel::new(&start.pchannel), place);
            }
            None => log::warn!("the position of {} is not one of this log: it is ignored", start.vchannel),
        }
    }
    given
}
