//! One attempt at one collection: how long each of its steps is tried, and what it tells the task.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Sender, bounded};

use super::error::{StepError, Subject};
use super::job::{Against, BackfillEvent, BackfillJob};
use crate::domain::{Channel, CollectionId, CollectionName, RowLocation};
use crate::failpoint::HandOver;
use crate::milvus::catalog::{QueryCoverage, UnreadablePart};
use crate::milvus::rows::WriteRequest;
use crate::milvus::{Backoff, CallContext, Client, Error, RetryBudget, RetryPolicy, RowVisibility, retry_policy};
use crate::observe::metrics::{self, Written};
use crate::sink::RefusedRowsFile;
use crate::source::{Log, Start};

/// Stands in metrics for the channel of rows that come from no channel.
const COPY: &str = "copy";
/// For how long a copy keeps its thread while a step fails for a reason that may be its collection's own.
const KEEPS_THREAD: Duration = Duration::from_secs(30);

/// The longest pause after a refusal for a rate limit: a page takes seconds to flow in, not minutes.
const RATE_LIMIT_PAUSE: Duration = Duration::from_secs(1);

/// What the attempts of a task share.
#[derive(Clone)]
pub(super) struct BackfillWorker {
    /// For metrics.
    pub(super) task: Arc<str>,
    pub(super) source: Arc<Client>,
    pub(super) target: Arc<Client>,
    pub(super) log: Arc<dyn Log>,
    pub(super) folder: PathBuf,
    /// Where rows go that the target refuses for good; `None`: nowhere, their collection is held.
    pub(super) refused_rows: Option<Arc<RefusedRowsFile>>,
    pub(super) reports: Sender<BackfillEvent>,
}

/// Why an attempt came to no end.
pub(super) enum Interruption {
    /// It cannot be read yet: why.
    Wait(String),
    /// The collection has gone, or the task ends.
    Cancelled,
    /// What is known of the target is not usable: why.
    StateLost(String),
    /// Trying again is of no use: why.
    Hopeless(String),
}

/// One try at one collection.
pub(super) struct Attempt<'a> {
    pub(super) worker: &'a BackfillWorker,
    pub(super) job: &'a BackfillJob,
    pub(super) context: CallContext,
}

impl Attempt<'_> {
    /// A name may stand for another collection by now, also at another server that has taken the source's address. Its
    /// rows are not those of the target's collection, and what it lacks is not to be removed there.
    pub(super) fn recognise(&self) -> Result<(), Interruption> {
        self.try_patiently(|| self.is_recognised())
    }

    fn is_recognised(&self) -> Result<(), StepError> {
        let id = self.id();
        if !id.is_given() {
            return Ok(());
        }
        let found = self.worker.source.describe_without_aliases(&self.job.source, &self.context)?;
        if found.id == id.0 {
            return Ok(());
        }
        Err(StepError::Another(format!("{} is another collection at the source now", self.name())))
    }

    /// The number of rows at the source. It starts a round early where it has changed; that it has not proves nothing.
    pub(super) fn count(&self) -> Result<Option<u64>, Interruption> {
        if !self.job.keeps_state {
            return Ok(None);
        }
        let CollectionName { db, name: collection } = self.job.source.clone();
        let place = RowLocation { db, collection, partition: String::new() };
        self.patiently(|| Ok(self.worker.source.count_rows(&place, &self.context)?))
    }

    /// For metrics: rows that the target has acknowledged.
    pub(super) fn count_written(&self, call: &'static str, rows: &WriteRequest) {
        self.count_rows(call, rows.count(), rows.bytes());
    }

    pub(super) fn count_rows(&self, call: &'static str, rows: usize, bytes: usize) {
        let info = &self.job.info;
        metrics::rows_written(Written {
            task: &self.worker.task,
            channel: COPY,
            collection_id: info.id.0,
            collection: &format!("{}.{}", info.db, info.name),
            call,
            rows,
            bytes,
        });
    }

    /// For the progress bar alone: a source that does not tell its rows is copied without.
    pub(super) fn tell_total(&self, count: Option<u64>) -> Result<(), Interruption> {
        if self.job.against == Against::State {
            return Ok(());
        }
        let CollectionName { db, name: collection } = self.job.source.clone();
        let place = RowLocation { db, collection, partition: String::new() };
        let asked = || self.worker.source.count_rows(&place, &self.context).ok().flatten();
        match count.or_else(asked) {
            Some(total) => self.send(BackfillEvent::Counted(self.id(), total)),
            None => Ok(()),
        }
    }

    /// Whether what a collection's queries do not show is certain not to be there.
    pub(super) fn wait_until_loaded(
        &self,
        client: &Client,
        name: &CollectionName,
        whose: &str,
    ) -> Result<RowVisibility, Interruption> {
        let part = match self.patiently(|| Ok(client.query_coverage(name, &self.context)?))? {
            QueryCoverage::Whole { rows, .. } => return Ok(rows),
            QueryCoverage::Partial(part) => part,
        };
        let why = match part {
            UnreadablePart::Everything => {
                format!("{name} is not loaded {whose}: its rows can be copied once it is")
            }
            UnreadablePart::Loading => format!("{name} is being loaded {whose}"),
            UnreadablePart::Settling(partition) => {
                format!("the partition {partition} of {name} was loaded {whose} a moment ago: its rows appear soon")
            }
            UnreadablePart::Partition(partition) => format!(
                "the partition {partition} of {name} is not loaded {whose}: nothing of {name} is compared or removed \
                 until it is"
            ),
        };
        Err(Interruption::Wait(why))
    }

    /// Asks the task where the replay will start; the answer is on disk.
    pub(super) fn begin(&self) -> Result<BTreeMap<Channel, Start>, Interruption> {
        let (answer, answered) = bounded(1);
        self.send(BackfillEvent::Began(self.id(), answer))?;
        // No answer: the log or the disk is in trouble, which the task shows; the next attempt asks again.
        answered.recv().map_err(|_| Interruption::Wait(format!("{} waits for the log", self.name())))
    }

    /// Tries one step until it succeeds, turns out to be hopeless or must wait for something else. After a failure
    /// another server may answer, so the collection is recognised before the step is tried again.
    pub(super) fn patiently<T>(&self, mut step: impl FnMut() -> Result<T, StepError>) -> Result<T, Interruption> {
        let mut has_failed = false;
        self.try_patiently(|| {
            if has_failed {
                self.is_recognised()?;
            }
            step().inspect_err(|_| has_failed = true)
        })
    }

    fn try_patiently<T>(&self, mut step: impl FnMut() -> Result<T, StepError>) -> Result<T, Interruption> {
        let mut backoff = Backoff::default();
        let mut patience = RetryBudget::default();
        let began = Instant::now();
        loop {
            let error = match step() {
                Ok(value) => return Ok(value),
                Err(_) if self.context.cancel.is_cancelled() => return Err(Interruption::Cancelled),
                Err(error) => error,
            };
            if let Some(interruption) = self.interruption(&error, &mut patience) {
                return Err(interruption);
            }
            if began.elapsed() > KEEPS_THREAD && error.call().is_some_and(may_be_about_one) {
                // It goes on where it is.
                return Err(Interruption::Wait(error.to_string()));
            }
            self.send(BackfillEvent::Retrying(self.id(), error.to_string()))?;
            let is_limited = error.call().is_some_and(|call| call.rate_limit().is_some());
            let pause = if is_limited { backoff.wait().min(RATE_LIMIT_PAUSE) } else { backoff.wait() };
            if self.context.cancel.sleep(pause) {
                return Err(Interruption::Cancelled);
            }
        }
    }

    fn interruption(&self, error: &StepError, patience: &mut RetryBudget) -> Option<Interruption> {
        let hopeless = || Some(Interruption::Hopeless(error.to_string()));
        let call = match error.subject() {
            Subject::Call(call) => call,
            Subject::Passing => return None,
            Subject::State => return Some(Interruption::StateLost(error.to_string())),
            Subject::NotLoaded => return Some(Interruption::Wait(error.to_string())),
            Subject::Rows => return hopeless(),
            // The catalog finds out which.
            Subject::Another => return Some(Interruption::Wait(error.to_string())),
        };
        let at_source = call.address == self.worker.source.address();
        if call.is_object_missing() && at_source {
            // The catalog says whether it is gone for good, renamed, or has lost a partition.
            return Some(Interruption::Wait(format!("{} has changed at the source", self.name())));
        }
        if call.is_not_loaded() {
            return Some(Interruption::Wait(format!(
                "{} is not loaded: its rows can be copied once it is",
                self.name()
            )));
        }
        if patience.is_exhausted_by(call) { hopeless() } else { None }
    }

    pub(super) fn report(&self, rows: u64) -> Result<(), Interruption> {
        self.send(BackfillEvent::Progress(self.id(), rows))
    }

    fn send(&self, event: BackfillEvent) -> Result<(), Interruption> {
        HandOver::BackfillReport.send(&self.worker.reports, event).map_err(|_| Interruption::Cancelled)
    }

    pub(super) fn id(&self) -> CollectionId {
        self.job.info.id
    }

    /// Database and name at the source.
    pub(super) fn name(&self) -> String {
        self.job.source.to_string()
    }
}

/// Whether a failed call may do well for other collections (a quota, a rate limit): it is worth repeating, and somebody
/// has answered.
fn may_be_about_one(error: &Error) -> bool {
    !error.is_silence() && retry_policy(error) == RetryPolicy::Retry
}
