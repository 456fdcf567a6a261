/*!
The threads that write to the target: a few per task, each making one call at a time. A call is tried once: one that
fails and is worth repeating is handed back with the time when it may be tried again, so that no thread sleeps for it.
*/

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::pacing::{CallVerdict, PacedCalls, Pacing};
use super::refused_rows::RefusedRowsFile;
use super::writer::{RefusalOutlet, WriteError, Writer};
use crate::domain::{CollectionId, Keys, Write};
use crate::failpoint::HandOver;
use crate::milvus::{Backoff, CallContext, Cancel, Client, Error, RetryBudget, remedy};
use crate::observe::metrics::{self, Written};
use crate::observe::thread::ThreadSpec;
use crate::pipeline::{Call, CallId, Work};

/// A call, and what its attempts so far have used up.
#[derive(Debug)]
pub struct CallAttempt {
    call: Call,
    budget: RetryBudget,
    backoff: Backoff,
}

/// How a call ended.
#[derive(Debug)]
pub enum CallOutcome {
    /// The target has acknowledged it.
    Done,
    /// It was cancelled: it may have been carried out, or not.
    Cancelled,
    /// The target will not carry it out before something changes, for this reason. Other calls may do well.
    Refused(String),
    /// Neither this call nor any other can be carried out, for this reason.
    Hopeless(String),
}

/// A call that is to be tried again.
#[derive(Debug)]
pub struct PostponedCall {
    /// The call.
    pub attempt: CallAttempt,
    /// Not before this moment.
    pub due: Instant,
    /// Why it failed; `None`: it was not its turn yet.
    pub failure: Option<CallFailure>,
}

/// Why a call failed.
#[derive(Debug)]
pub struct CallFailure {
    /// For a person.
    pub why: String,
    /// Whether the target says that it does not have the collection or a part of it.
    pub is_missing: bool,
    /// Whether the target has answered at all.
    pub reach: TargetReach,
}

/// Whether a target that has not carried out a call has answered it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TargetReach {
    /// It has: the failure may be about what was called for.
    #[default]
    Answers,
    /// It has not: every call fails.
    Away,
}

/// Reports of the pool. Each call is reported once.
#[derive(Debug)]
pub enum PoolEvent {
    /// A call has ended.
    Ended {
        /// The collection that it changed.
        collection: CollectionId,
        /// The call.
        call: CallId,
        /// How it ended.
        outcome: CallOutcome,
    },
    /// A call is handed back.
    Postponed(Box<PostponedCall>),
}

impl CallAttempt {
    /// The first one.
    pub fn first(mut call: Call) -> CallAttempt {
        // By the one thread that hands it over: all workers at once doubled what a batch of large messages takes.
        if let Work::Write { rows, .. } = &mut call.work {
            rows.seal();
        }
        CallAttempt { call, budget: RetryBudget::default(), backoff: Backoff::default() }
    }

    /// The call.
    pub fn call(&self) -> &Call {
        &self.call
    }

    /// It is tried again not before `due`.
    pub fn postponed(self, due: Instant, failure: Option<CallFailure>) -> PostponedCall {
        PostponedCall { attempt: self, due, failure }
    }

    /// Some of the rows may be on the target now: they are repeated as an upsert.
    pub fn may_have_had_effect(&mut self) {
        if let Work::Write { write, .. } = &mut self.call.work {
            *write = Write::Upsert;
        }
    }
}

/// The writing threads of one task.
pub struct Pool {
    calls: Sender<CallAssignment>,
    events: Receiver<PoolEvent>,
    threads: Vec<JoinHandle<()>>,
    /// Cancels all calls.
    cancel: Cancel,
    /// Cancels the calls of one collection.
    of_collection: RefCell<BTreeMap<CollectionId, Cancel>>,
}

/// A call and what ends it early.
struct CallAssignment {
    attempt: CallAttempt,
    cancel: Cancel,
}

/// Number of calls in flight at once. Four keep a Milvus busy (measured: more do not write faster).
pub const WORKERS: usize = 4;
const PANICKED: &str = "a thread that writes to the target panicked, which is a defect of milvus-cdc: report it with \
     what stands on standard error, and resume the task to try again";
/// Time limit of one call: an overloaded server needs seconds for 6 MB, never minutes.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

impl Pool {
    /// Starts the threads of one task. Rows that the target refuses for good are set aside there, if given.
    ///
    /// # Errors
    /// The system cannot start another thread.
    pub fn start(
        task: &str,
        client: &Arc<Client>,
        cancel: &Cancel,
        refused_rows: Option<&Arc<RefusedRowsFile>>,
    ) -> std::io::Result<Pool> {
        let (calls, queue) = bounded(WORKERS);
        let (reports, events) = bounded(WORKERS * 4);
        let pacing = Arc::new(Pacing::default());
        let mut threads = Vec::new();
        for index in 0..WORKERS {
            let worker = PoolWorker {
                task: task.into(),
                client: Arc::clone(client),
                reports: reports.clone(),
                pacing: Arc::clone(&pacing),
                refused_rows: refused_rows.cloned(),
            };
            let queue = queue.clone();
            threads.push(ThreadSpec::worker("apply", task, index).spawn(move || worker.run(&queue))?);
        }
        Ok(Pool { calls, events, threads, cancel: cancel.clone(), of_collection: RefCell::default() })
    }

    /// Hands over a call. Does not block while fewer than [`WORKERS`] calls are in flight.
    pub fn send(&self, attempt: CallAttempt) {
        let mut of_collection = self.of_collection.borrow_mut();
        let cancel = of_collection.entry(attempt.call.collection.id).or_insert_with(|| self.cancel.part()).clone();
        if HandOver::SinkCall.send(&self.calls, CallAssignment { attempt, cancel }).is_err() {
            log::error!("the threads that write to the target have ended unexpectedly");
        }
    }

    /// Ends the collection's calls in flight soon; their ends are reported as ever. Later ones are made.
    pub fn cancel(&self, collection: CollectionId) {
        if let Some(cancel) = self.of_collection.borrow_mut().remove(&collection) {
            cancel.cancel();
        }
    }

    /// The receiver of reports.
    pub fn events(&self) -> &Receiver<PoolEvent> {
        &self.events
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.calls = bounded(0).0;
        self.events = bounded(0).1;
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                log::error!("a thread that writes to the target panicked");
            }
        }
    }
}

struct PoolWorker {
    task: Arc<str>,
    client: Arc<Client>,
    reports: Sender<PoolEvent>,
    pacing: Arc<Pacing>,
    refused_rows: Option<Arc<RefusedRowsFile>>,
}

/// An attempt that did not succeed.
enum Setback {
    /// It was not made: the target takes calls of its kind not before this time has passed.
    NotItsTurn(Duration),
    /// The target lets in no more calls of its kind before this moment.
    Limited(Box<WriteError>, Instant),
    Failed(Box<WriteError>),
}

impl PoolWorker {
    fn run(&self, queue: &Receiver<CallAssignment>) {
        for CallAssignment { attempt, cancel } in queue {
            let (collection, call) = (attempt.call.collection.id, attempt.call.id);
            let context = CallContext { timeout: CALL_TIMEOUT, cancel };
            // Its end is reported, or the task would wait for it for ever.
            let event = catch_unwind(AssertUnwindSafe(|| self.carry_out(attempt, &context))).unwrap_or_else(|_| {
                PoolEvent::Ended { collection, call, outcome: CallOutcome::Hopeless(PANICKED.to_owned()) }
            });
            if HandOver::SinkReport.send(&self.reports, event).is_err() {
                return;
            }
        }
    }

    fn carry_out(&self, mut attempt: CallAttempt, context: &CallContext) -> PoolEvent {
        let _in_flight = metrics::call_begins(&self.task);
        let (collection, call) = (attempt.call.collection.id, attempt.call.id);
        let ended = |outcome| PoolEvent::Ended { collection, call, outcome };
        if context.cancel.is_cancelled() {
            return ended(CallOutcome::Cancelled);
        }
        let setback = match self.attempt_in_turn(&attempt.call, context) {
            Ok(()) => {
                self.count(&attempt.call);
                return ended(CallOutcome::Done);
            }
            Err(setback) => setback,
        };
        let is_cancelled = context.cancel.is_cancelled();
        let (error, opens_at) = match setback {
            _ if is_cancelled => return ended(CallOutcome::Cancelled),
            Setback::NotItsTurn(wait) => {
                return PoolEvent::Postponed(Box::new(attempt.postponed(Instant::now() + wait, None)));
            }
            Setback::Limited(error, opens_at) => (error, Some(opens_at)),
            Setback::Failed(error) => (error, None),
        };
        if let Some(outcome) = given_up(&error, &mut attempt) {
            return ended(outcome);
        }
        if !error.is_without_effect() {
            attempt.may_have_had_effect();
        }
        metrics::retried(&self.task, error_kind(&error));
        let due = opens_at.unwrap_or_else(|| Instant::now() + attempt.backoff.wait());
        let failure =
            CallFailure { why: error.to_string(), is_missing: is_object_missing(&error), reach: reach_of(&error) };
        PoolEvent::Postponed(Box::new(attempt.postponed(due, Some(failure))))
    }

    /// Makes the call, at the pace that the target prescribes.
    fn attempt_in_turn(&self, call: &Call, context: &CallContext) -> Result<(), Setback> {
        let (calls, bytes) = (PacedCalls::of(call), bytes_of(&call.work));
        let sent = Instant::now();
        self.pacing.take_turn(calls, sent).map_err(Setback::NotItsTurn)?;
        let outcome = self.attempt(call, context);
        let refused = outcome.as_ref().err().filter(|error| error.is_without_effect());
        let limit = refused.and_then(WriteError::call).and_then(Error::rate_limit);
        let verdict = limit.map_or(CallVerdict::Admitted { sent }, |rate| CallVerdict::Limited { rate });
        self.pacing.settle(calls, bytes, verdict, Instant::now());
        outcome.map_err(|error| match self.pacing.opens_at(calls).filter(|_| limit.is_some()) {
            Some(opens_at) => Setback::Limited(Box::new(error), opens_at),
            None => Setback::Failed(Box::new(error)),
        })
    }

    fn count(&self, call: &Call) {
        let (name, rows, bytes) = match &call.work {
            Work::Write { write: Write::Insert, rows } => ("Insert", rows.count(), rows.bytes()),
            Work::Write { write: Write::Upsert, rows } => ("Upsert", rows.count(), rows.bytes()),
            Work::Delete(keys) => ("Delete", keys.len(), 0),
            Work::Truncate => ("Truncate", 0, 0),
        };
        metrics::rows_written(Written {
            task: &self.task,
            channel: call.channel.as_str(),
            collection_id: call.collection.id.0,
            collection: &format!("{}.{}", call.place.db, call.place.collection),
            call: name,
            rows,
            bytes,
        });
    }

    fn attempt(&self, call: &Call, context: &CallContext) -> Result<(), WriteError> {
        let refused = self.refused_rows.as_deref().map(|file| RefusalOutlet {
            file,
            channel: call.channel.as_str(),
            latest: call.latest,
        });
        let writer = Writer { client: self.client.marked(call.mark), context, collection: &call.collection, refused };
        match &call.work {
            Work::Write { write, rows } => writer.write(*write, rows),
            Work::Delete(keys) => writer.delete(&call.place, &call.collection.key.name, keys),
            Work::Truncate => writer.truncate(&call.place, &call.collection.key),
        }
    }
}

/// How a call ends that must not be repeated; `None` if it is to be repeated.
fn given_up(error: &WriteError, attempt: &mut CallAttempt) -> Option<CallOutcome> {
    let failed = match error {
        WriteError::Columns { .. } => return Some(CallOutcome::Refused(error.to_string())),
        WriteError::Call(failed) | WriteError::Partly(failed) => failed,
    };
    // Truncating key by key needs a loaded collection: the catalog loads it when the source is loaded.
    let waits_for_load = matches!(attempt.call.work, Work::Truncate) && failed.is_not_loaded();
    if waits_for_load || !attempt.budget.is_exhausted_by(failed) {
        return None;
    }
    let why = format!("{failed}; {}", remedy(failed));
    Some(if failed.is_login_refused() { CallOutcome::Hopeless(why) } else { CallOutcome::Refused(why) })
}

/// Whether the target says that it does not have what is to be changed.
fn is_object_missing(error: &WriteError) -> bool {
    matches!(error, WriteError::Call(error) if error.is_object_missing())
}

fn reach_of(error: &WriteError) -> TargetReach {
    if error.call().is_some_and(Error::is_silence) { TargetReach::Away } else { TargetReach::Answers }
}

/// The label of an error in metrics.
fn error_kind(error: &WriteError) -> &'static str {
    match error {
        WriteError::Columns { .. } => "columns",
        WriteError::Call(error) | WriteError::Partly(error) => error.kind.name(),
    }
}

/// About what the target counts for a call against its rate limits.
fn bytes_of(work: &Work) -> usize {
    match work {
        Work::Write { rows, .. } => rows.bytes(),
        // As they are written in an expression.
        Work::Delete(Keys::Int(keys)) => keys.iter().map(|key| key.to_string().len() + 1).sum(),
        Work::Delete(Keys::Str(keys)) => keys.iter().map(|key| key.len() + 3).sum(),
        Work::Truncate => 0,
    }
}

#[cfg(test)]
mod fault_tests;
