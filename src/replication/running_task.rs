//! A task that runs: starting it, asking it, ending it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use parking_lot::Mutex;

use super::checkpoint;
use super::drain::{DrainOutcome, FORCED_AFTER};
use super::drain_report;
use super::event::CollectionOrder;
use super::executor::Wiring;
use super::lost_writes;
use super::setup::{Assembly, ReplicationSetup, assemble};
use super::setup_error::SetupError;
use super::status_board::StatusBoard;
use super::task_loop::End;
use super::verify_control::VerifyControl;
use crate::domain::{CollectionId, Timestamp};
use crate::milvus::{Backoff, Cancel};
use crate::observe::metrics;
use crate::observe::thread::ThreadSpec;
use crate::sink::RefusedRowsFile;
use crate::task::collection_request::{CollectionOutcome, CollectionRefused, CollectionWish};
use crate::task::detail::TaskDetail;
use crate::task::drops::{DropDecision, DropDesk, HeldDrop, SetAside};
use crate::task::failback::LostWrites;
use crate::task::failover::{DrainedLog, FailoverReport};
use crate::task::history::EventKind;
use crate::task::refused_rows::{RefusedRow, RefusedRowsDecision, RefusedRowsError};
use crate::task::role::{Errand, Insistence};
use crate::task::status::{ChannelPosition, Phase, TaskStatus};
use crate::task::switchover::Stillness;
use crate::verify::{VerifyRefused, VerifyRequest, VerifyView};

/// Repairs that wait for the task's thread.
const REPAIRS: usize = 4;
/// How long the task may take to look at a wish, to store it, and to end the calls of what is paused.
const ORDER_TIMEOUT: Duration = Duration::from_secs(10);

/// A running task.
pub(crate) struct RunningTask {
    stops: Sender<Instant>,
    cancel: Cancel,
    orders: Sender<CollectionOrder>,
    board: Arc<StatusBoard>,
    drops: Arc<DropDesk>,
    refused_rows: Arc<RefusedRowsFile>,
    verify_control: VerifyControl,
    ended: Receiver<()>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// Starts a task. `on_end` is called, from the task's thread, when it has ended itself.
pub(crate) fn replicate(
    setup: ReplicationSetup,
    on_end: impl FnOnce(RunEnd) + Send + 'static,
) -> std::io::Result<RunningTask> {
    let (stops, stop_receiver) = bounded(1);
    let (ended_sender, ended) = bounded(1);
    let cancel = Cancel::default();
    let board = Arc::new(StatusBoard::new());
    let (repair_orders, repairs) = bounded(REPAIRS);
    // A rendezvous: what is handed over is looked at, whatever becomes of the task.
    let (orders, order_receiver) = bounded(0);
    let verify_control = VerifyControl::new(&setup, &board, &cancel, repair_orders);
    let drops = Arc::new(DropDesk::default());
    let refused_rows = Arc::new(RefusedRowsFile::open(&setup.folder).map_err(std::io::Error::other)?);
    let wiring = Wiring {
        task: setup.task.clone(),
        folder: setup.folder.clone(),
        epoch: setup.mandate.epoch,
        stops: stop_receiver,
        repairs,
        orders: order_receiver,
        cancel: cancel.clone(),
        board: Arc::clone(&board),
        history: Arc::clone(&setup.history),
        drops: Arc::clone(&drops),
        paused: Arc::default(),
        refused_rows: Arc::clone(&refused_rows),
    };
    let thread = ThreadSpec::of_task("task", &setup.task).spawn(move || {
        let end = run(&setup, &wiring);
        wiring.cancel.cancel();
        if let Some(end) = end {
            // The manager logs it.
            on_end(end);
        }
        // Whoever waits may have given up.
        let _ = ended_sender.send(());
    })?;
    Ok(RunningTask {
        stops,
        cancel,
        orders,
        board,
        drops,
        refused_rows,
        verify_control,
        ended,
        thread: Mutex::new(Some(thread)),
    })
}

impl RunningTask {
    pub(crate) fn status(&self) -> TaskStatus {
        self.board.status()
    }

    pub(crate) fn detail(&self) -> TaskDetail {
        TaskDetail { refused_rows: self.refused_rows.amount(), ..self.board.detail() }
    }

    pub(crate) fn positions(&self) -> Vec<ChannelPosition> {
        self.board.positions()
    }

    pub(crate) fn held_drops(&self) -> Vec<HeldDrop> {
        self.drops.held()
    }

    pub(crate) fn decide_drops(&self, decision: DropDecision) -> Vec<HeldDrop> {
        self.drops.decide(decision)
    }

    /// Wants something of the collection with this name at the source; returns when that is on disk, and when nothing
    /// of one that is paused is in flight.
    pub(crate) fn change_collection(
        &self,
        collection: &str,
        wish: CollectionWish,
    ) -> Result<CollectionOutcome, CollectionRefused> {
        let (reply, answer) = bounded(1);
        let (idle, is_idle) = bounded(1);
        let order = CollectionOrder { collection: collection.to_owned(), wish, reply, idle };
        self.orders.send_timeout(order, ORDER_TIMEOUT).map_err(|_| CollectionRefused::NotConnected)?;
        let outcome = answer.recv_timeout(ORDER_TIMEOUT).map_err(|_| CollectionRefused::NotStored)??;
        match outcome {
            CollectionOutcome::Paused if is_idle.recv_timeout(ORDER_TIMEOUT).is_err() => Ok(CollectionOutcome::Pausing),
            outcome => Ok(outcome),
        }
    }

    /// The rows that are set aside.
    pub(crate) fn refused_rows(&self) -> Vec<RefusedRow> {
        self.refused_rows.rows()
    }

    /// Decides about all rows that are set aside now, and answers which those are. Applying compares their collections
    /// with the source, in order with whatever else is written to them: an older row never takes a newer one's place.
    pub(crate) fn decide_refused_rows(
        &self,
        decision: RefusedRowsDecision,
    ) -> Result<Vec<RefusedRow>, RefusedRowsError> {
        let rows = self.refused_rows.rows();
        let Some(last) = rows.last().map(|row| row.number) else { return Ok(rows) };
        let collections: BTreeSet<CollectionId> = rows.iter().map(|row| CollectionId(row.collection_id)).collect();
        let forget = |these: &BTreeSet<CollectionId>| {
            self.refused_rows.forget(these, last).map_err(|error| RefusedRowsError::Files(error.to_string()))
        };
        if decision == RefusedRowsDecision::Discard {
            forget(&collections)?;
            return Ok(rows);
        }
        let known = self.board.detail().collections;
        for id in collections {
            // One that the task does not know cannot be compared: its rows stay.
            let Some(name) = known.iter().find(|one| one.id == id.0).and_then(|one| one.source.as_deref()) else {
                continue;
            };
            self.change_collection(name, CollectionWish::Resync)?;
            forget(&BTreeSet::from([id]))?;
        }
        Ok(rows)
    }

    /// The newest moment that the source has told of, in its time.
    pub(crate) fn last_sign_of_life(&self) -> Option<Timestamp> {
        self.board.source_time().last_told()
    }

    /// How far the target is, and when users changed the source last.
    pub(crate) fn stillness(&self) -> Stillness {
        self.board.stillness()
    }

    pub(crate) fn set_aside(&self) -> Vec<SetAside> {
        self.drops.set_aside()
    }

    pub(crate) fn verify(&self, request: VerifyRequest) -> Result<(), VerifyRefused> {
        self.verify_control.start(request)
    }

    pub(crate) fn verification(&self) -> Option<VerifyView> {
        self.verify_control.view()
    }

    pub(crate) fn cancel_verification(&self) {
        self.verify_control.cancel();
    }

    /// Ends the task; returns when nothing of it is in flight, at the latest about `deadline`.
    pub(crate) fn stop(&self, deadline: Instant) {
        self.verify_control.end();
        // Full or closed: it is ending already.
        let _ = self.stops.try_send(deadline);
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

/// How a run of a task has ended by itself.
#[derive(Debug)]
pub(crate) enum RunEnd {
    /// An error needs a human.
    Failed(String),
    /// The log was read for the last time.
    Drained(Box<FailoverReport>),
    /// A step of a failback was carried out.
    FailbackStep(Box<LostWrites>),
}

/// Why a run could not go on, and whether its log is the reason.
struct RunSetback {
    why: String,
    log: LogPart,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LogPart {
    IsTheReason,
    IsNotToBlame,
}

/// Connects, trying for as long as it takes, then runs. `None`: it was told to end.
fn run(setup: &ReplicationSetup, wiring: &Wiring) -> Option<RunEnd> {
    let mut backoff = Backoff::default();
    let mut draining = Draining::new(setup.mandate.errand);
    // As long as there is no connection, the lag is counted from where an earlier run has stopped.
    let stopped_at = checkpoint::load(&setup.folder).ok().flatten().and_then(|checkpoint| checkpoint.oldest());
    loop {
        let attempted = match &setup.mandate.errand {
            Errand::FailBack(failback) => lost_writes::carry_out(setup, wiring, failback)
                .map(|writes| Some(RunEnd::FailbackStep(Box::new(writes))))
                .or_else(after_refusal),
            Errand::Follow | Errand::Drain(_) => attempt(setup, wiring, &draining),
        };
        let mut setback = match attempted {
            Ok(end) => return end,
            Err(setback) => setback,
        };
        if let Some(end) = draining.after(&mut setback, setup) {
            return Some(end);
        }
        show_setback(setup, wiring, &setback.why, stopped_at);
        match wiring.stops.recv_timeout(draining.shorten(backoff.wait())) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(_) | Err(RecvTimeoutError::Disconnected) => return None,
        }
    }
}

/// One run of the task's loop. `Ok(None)`: it was told to end.
fn attempt(setup: &ReplicationSetup, wiring: &Wiring, draining: &Draining) -> Result<Option<RunEnd>, RunSetback> {
    let assembled = assemble(setup, Wiring { cancel: wiring.cancel.part(), ..wiring.clone() });
    let Assembly { task, mut executor } = match assembled {
        Ok(assembly) => assembly,
        Err(refusal) => return after_refusal(refusal),
    };
    let end = task.run(&mut executor);
    // Its threads and its log end before others begin.
    drop(executor);
    match end {
        End::Reopen(why) => Err(RunSetback { why, log: LogPart::IsTheReason }),
        End::Unsaved(why) => Err(RunSetback { why, log: LogPart::IsNotToBlame }),
        End::Failed(why) => Ok(Some(RunEnd::Failed(why))),
        End::Ordered => Ok(None),
        End::Drained(outcome) => match draining.conclude(setup, &outcome) {
            Ok(end) => Ok(Some(end)),
            Err(why) => Err(RunSetback { why, log: LogPart::IsNotToBlame }),
        },
    }
}

fn after_refusal(refusal: SetupError) -> Result<Option<RunEnd>, RunSetback> {
    match refusal {
        SetupError::Hopeless(why) => Ok(Some(RunEnd::Failed(why))),
        SetupError::Log(why) => Err(RunSetback { why, log: LogPart::IsTheReason }),
        SetupError::Passing(why) => Err(RunSetback { why, log: LogPart::IsNotToBlame }),
    }
}

fn show_setback(setup: &ReplicationSetup, wiring: &Wiring, why: &str, stopped_at: Option<Timestamp>) {
    log::warn!("task {}: {why}", setup.task);
    setup.history.add(EventKind::Retry, why);
    let lag = stopped_at.map(|stopped_at| wiring.board.source_time().since(stopped_at));
    let lag_ms = lag.map(|lag| lag.as_millis() as u64);
    setup.history.sample(lag, metrics::rows_of(&setup.task));
    let board = &wiring.board;
    board.show_stillness(Stillness::default());
    board.show(TaskStatus {
        phase: Phase::Retrying,
        followed: Phase::Retrying,
        reason: Some(why.to_owned()),
        lag_ms,
        ..board.status()
    });
}

/// Tries of a drain that never come to read the log.
struct Draining {
    errand: Errand,
    /// Since when the log cannot be had.
    without_log: Option<Instant>,
}

/// How soon a drain tries again at the latest: somebody waits for it.
const DRAIN_AGAIN: Duration = Duration::from_secs(2);

impl Draining {
    fn new(errand: Errand) -> Draining {
        Draining { errand, without_log: None }
    }

    fn shorten(&self, wait: Duration) -> Duration {
        match self.errand {
            Errand::Follow => wait,
            Errand::Drain(_) | Errand::FailBack(_) => wait.min(DRAIN_AGAIN),
        }
    }

    fn conclude(&self, setup: &ReplicationSetup, outcome: &DrainOutcome) -> Result<RunEnd, String> {
        let Errand::Drain(failover) = self.errand else { return Err("the task was not to be drained".into()) };
        let report = drain_report::conclude(&setup.folder, setup.mandate.epoch, &failover, outcome);
        report.map(|report| RunEnd::Drained(Box::new(report))).map_err(|error| error.to_string())
    }

    /// A failover that insists goes on without a log that cannot be had; another one says what it waits for.
    fn after(&mut self, setback: &mut RunSetback, setup: &ReplicationSetup) -> Option<RunEnd> {
        let Errand::Drain(failover) = self.errand else { return None };
        if setback.log == LogPart::IsNotToBlame {
            self.without_log = None;
            return None;
        }
        let since = *self.without_log.get_or_insert_with(Instant::now);
        if failover.insistence == Insistence::Patient {
            setback.why.push_str("; `failover` with `force` goes on without what its log may still hold");
            return None;
        }
        if since.elapsed() < FORCED_AFTER {
            return None;
        }
        let outcome = DrainOutcome { log: DrainedLog::InPart(setback.why.clone()), ..DrainOutcome::default() };
        match self.conclude(setup, &outcome) {
            Ok(end) => Some(end),
            Err(why) => {
                setback.why = why;
                None
            }
        }
    }
}
