/*!
The threads that make the calls: a few per task, each with one call at a time. A call is tried until it succeeds, is
cancelled, or turns out to be hopeless.
*/

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::backoff::Backoff;
use super::patience::Patience;
use super::verdict::verdict;
use super::writer::{WriteError, Writer};
use crate::domain::CollectionId;
use crate::milvus::rows::Write;
use crate::milvus::{CallContext, Cancel, Client};
use crate::observe::metrics::{self, Written};
use crate::pipeline::{Call, CallId, Work};

/// How a call ended.
#[derive(Debug)]
pub enum Outcome {
    /// The target has acknowledged it.
    Done,
    /// It was cancelled: it may have been carried out, or not.
    Cancelled,
    /// It cannot be carried out: why.
    Hopeless(String),
}

/// What the pool reports.
#[derive(Debug)]
pub enum PoolEvent {
    /// A call has ended.
    Ended {
        /// Whose rows.
        collection: CollectionId,
        /// Which call.
        call: CallId,
        /// How.
        outcome: Outcome,
    },
    /// A call failed and is tried again.
    Retrying(String),
}

/// The threads.
pub struct Pool {
    calls: Sender<Call>,
    events: Receiver<PoolEvent>,
    threads: Vec<JoinHandle<()>>,
}

/// Calls under way at once. Four keep a Milvus busy (measured: more do not write faster on it).
pub const WORKERS: usize = 4;
/// One call's limit: an overloaded server needs seconds for 6 MB, never minutes.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

impl Pool {
    /// Starts the threads of one task.
    ///
    /// # Errors
    /// The system gives no more threads.
    pub fn start(task: &str, client: &Arc<Client>, cancel: &Cancel) -> std::io::Result<Pool> {
        let (calls, queue) = bounded::<Call>(WORKERS);
        let (reports, events) = bounded(WORKERS * 4);
        let mut threads = Vec::new();
        for index in 0..WORKERS {
            let worker = Worker {
                task: task.into(),
                client: Arc::clone(client),
                context: CallContext { timeout: CALL_TIMEOUT, cancel: cancel.clone() },
                reports: reports.clone(),
            };
            let queue = queue.clone();
            let name = format!("apply-{task}-{index}");
            threads.push(std::thread::Builder::new().name(name).spawn(move || worker.run(&queue))?);
        }
        Ok(Pool { calls, events, threads })
    }

    /// Hands over a call. Never blocks as long as no more than [`WORKERS`] are under way.
    pub fn send(&self, call: Call) {
        if self.calls.send(call).is_err() {
            log::error!("the threads that write to the target have ended");
        }
    }

    /// Where reports arrive.
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

struct Worker {
    task: Arc<str>,
    client: Arc<Client>,
    context: CallContext,
    reports: Sender<PoolEvent>,
}

impl Worker {
    fn run(&self, queue: &Receiver<Call>) {
        for call in queue {
            let (collection, id) = (call.collection.id, call.id);
            let outcome = self.carry_out(call);
            if self.reports.send(PoolEvent::Ended { collection, call: id, outcome }).is_err() {
                return;
            }
        }
    }

    fn carry_out(&self, mut call: Call) -> Outcome {
        let _in_flight = metrics::call_begins(&self.task);
        let mut backoff = Backoff::default();
        let mut patience = Patience::default();
        loop {
            let error = match self.attempt(&call) {
                Ok(()) => {
                    self.count(&call);
                    return Outcome::Done;
                }
                Err(error) => error,
            };
            if self.context.cancel.is_cancelled() {
                return Outcome::Cancelled;
            }
            let hopeless = match &error {
                WriteError::Columns { .. } => true,
                // Key by key it needs a collection that can be read: the catalog loads it when the source does.
                WriteError::Call(error) if matches!(call.work, Work::Truncate) && error.is_not_loaded() => false,
                WriteError::Call(error) => patience.is_over(verdict(error)),
            };
            if hopeless {
                return Outcome::Hopeless(error.to_string());
            }
            metrics::retried(&self.task, error_kind(&error));
            // Whatever the error, a part of the rows may be there now: from here on they take their own places.
            if let Work::Write { write, .. } = &mut call.work {
                *write = Write::Upsert;
            }
            if self.reports.send(PoolEvent::Retrying(error.to_string())).is_err()
                || self.context.cancel.sleep(backoff.wait())
            {
                return Outcome::Cancelled;
            }
        }
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

    fn attempt(&self, call: &Call) -> Result<(), WriteError> {
        let writer = Writer { client: &self.client, context: &self.context };
        match &call.work {
            Work::Write { write, rows } => writer.write(*write, rows),
            Work::Delete(keys) => writer.delete(&call.place, &call.collection.key.name, keys),
            Work::Truncate => writer.truncate(&call.place, &call.collection.key),
        }
    }
}

/// A word for what failed, of which there are few.
fn error_kind(error: &WriteError) -> &'static str {
    match error {
        WriteError::Columns { .. } => "columns",
        WriteError::Call(error) => error.kind.name(),
    }
}
