//! A copying thread: one attempt at one collection at a time, and how long each of its steps is tried.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::progress::Files;
use super::round::Round;
use super::step::{StepError, Subject};
use super::{Against, CopyDone, CopyEnd, CopyEvent, CopyJob, Span};
use crate::domain::{Channel, CollectionId, Timestamp};
use crate::milvus::catalog::LoadState;
use crate::milvus::rows::{Place, Rows};
use crate::milvus::{CallContext, Cancel, Client};
use crate::observe::metrics::{self, Written};
use crate::source::{Log, Start};
use crate::target::{Backoff, Patience, verdict};

const CALL_TIMEOUT: Duration = Duration::from_secs(60);
/// Stands in metrics for the channel of rows that come from no channel.
const COPY: &str = "copy";

#[derive(Clone)]
pub(super) struct Worker {
    /// For metrics.
    pub(super) task: Arc<str>,
    pub(super) source: Arc<Client>,
    pub(super) target: Arc<Client>,
    pub(super) log: Arc<dyn Log>,
    pub(super) folder: PathBuf,
    pub(super) reports: Sender<CopyEvent>,
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

impl Worker {
    pub(super) fn run(&self, queue: &Receiver<(CopyJob, Cancel)>) {
        for (job, cancel) in queue {
            let id = job.info.id;
            let context = CallContext { timeout: CALL_TIMEOUT, cancel: cancel.clone() };
            let attempt = Attempt { worker: self, job: &job, context };
            let event = match attempt.run() {
                Ok(Some(done)) => CopyEvent::Ended(id, CopyEnd::Done(done)),
                Ok(None) => CopyEvent::Ended(id, CopyEnd::Unchanged),
                Err(_) if cancel.is_cancelled() => CopyEvent::Ended(id, CopyEnd::Cancelled),
                Err(Interruption::Cancelled) => CopyEvent::Ended(id, CopyEnd::Cancelled),
                Err(Interruption::StateLost(why)) => CopyEvent::Ended(id, CopyEnd::StateLost(why)),
                Err(Interruption::Hopeless(why)) => CopyEvent::Ended(id, CopyEnd::Hopeless(why)),
                Err(Interruption::Wait(why)) => CopyEvent::Waiting(id, why),
            };
            if self.reports.send(event).is_err() {
                return;
            }
        }
    }
}

/// One try at one collection.
pub(super) struct Attempt<'a> {
    pub(super) worker: &'a Worker,
    pub(super) job: &'a CopyJob,
    pub(super) context: CallContext,
}

impl Attempt<'_> {
    /// `None` when a look has shown no need for it.
    fn run(&self) -> Result<Option<CopyDone>, Interruption> {
        let Worker { source, target, log, .. } = self.worker;
        self.wait_until_loaded(source, &self.job.source, "at the source")?;
        if self.job.against == Against::Target {
            let place = (self.job.info.db.clone(), self.job.info.name.clone());
            self.wait_until_loaded(target, &place, "on the target")?;
        }
        // What is acknowledged before this moment is seen.
        let now = Timestamp::now();
        let count = self.count()?;
        if self.job.unless_count.is_some() && self.job.unless_count == count {
            return Ok(None);
        }
        let starts = if self.job.keeps_state { BTreeMap::new() } else { self.begin()? };
        let files = Files::new(&self.worker.folder, self.id());
        let started = Instant::now();
        let mut round = self.patiently(|| Round::open(self.job, &files, now))?;
        self.report(round.rows())?;
        self.tell_total(count)?;
        round.run(self)?;
        let mut spans = BTreeMap::new();
        for (channel, start) in starts {
            let until = self.patiently(|| Ok(log.tail(&channel)?))?;
            spans.insert(channel, Span { start, until });
        }
        let changes = round.changes();
        let (against, began, took) = (self.job.against, round.began(), started.elapsed());
        let (rows, extra) = (round.rows(), round.extra());
        Ok(Some(CopyDone { against, rows, extra, began, took, spans, count, changes }))
    }

    /// The number of rows at the source. It starts a round early where it has changed; that it has not proves nothing.
    fn count(&self) -> Result<Option<u64>, Interruption> {
        if !self.job.keeps_state {
            return Ok(None);
        }
        let (db, collection) = self.job.source.clone();
        let place = Place { db, collection, partition: String::new() };
        self.patiently(|| Ok(self.worker.source.count_rows(&place, &self.context)?))
    }

    /// For metrics: rows that the target has acknowledged.
    pub(super) fn count_written(&self, call: &'static str, rows: &Rows) {
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
    fn tell_total(&self, count: Option<u64>) -> Result<(), Interruption> {
        if self.job.against == Against::State {
            return Ok(());
        }
        let (db, collection) = self.job.source.clone();
        let place = Place { db, collection, partition: String::new() };
        let asked = || self.worker.source.count_rows(&place, &self.context).ok().flatten();
        match count.or_else(asked) {
            Some(total) => self.send(CopyEvent::Counted(self.id(), total)),
            None => Ok(()),
        }
    }

    fn wait_until_loaded(
        &self,
        client: &Client,
        (db, name): &(String, String),
        whose: &str,
    ) -> Result<(), Interruption> {
        match self.patiently(|| Ok(client.load_state(db, name, &self.context)?))? {
            LoadState::Loaded => Ok(()),
            LoadState::NotLoaded => {
                Err(Interruption::Wait(format!("{db}.{name} is not loaded {whose}: its rows can be copied once it is")))
            }
            LoadState::Loading => Err(Interruption::Wait(format!("{db}.{name} is being loaded {whose}"))),
        }
    }

    /// Asks the task where the replay will start; the answer is on disk.
    fn begin(&self) -> Result<BTreeMap<Channel, Start>, Interruption> {
        let (answer, answered) = bounded(1);
        self.send(CopyEvent::Began(self.id(), answer))?;
        // No answer: the log or the disk is in trouble, which the task shows; the next attempt asks again.
        answered.recv().map_err(|_| Interruption::Wait(format!("{} waits for the log", self.name())))
    }

    /// Tries one step until it succeeds, turns out to be hopeless or must wait for something else.
    pub(super) fn patiently<T>(&self, mut step: impl FnMut() -> Result<T, StepError>) -> Result<T, Interruption> {
        let mut backoff = Backoff::default();
        let mut patience = Patience::default();
        loop {
            let error = match step() {
                Ok(value) => return Ok(value),
                Err(_) if self.context.cancel.is_cancelled() => return Err(Interruption::Cancelled),
                Err(error) => error,
            };
            if let Some(interruption) = self.interruption(&error, &mut patience) {
                return Err(interruption);
            }
            self.send(CopyEvent::Retrying(self.id(), error.to_string()))?;
            if self.context.cancel.sleep(backoff.wait()) {
                return Err(Interruption::Cancelled);
            }
        }
    }

    fn interruption(&self, error: &StepError, patience: &mut Patience) -> Option<Interruption> {
        let hopeless = || Some(Interruption::Hopeless(error.to_string()));
        let call = match error.subject() {
            Subject::Call(call) => call,
            Subject::Passing => return None,
            Subject::State => return Some(Interruption::StateLost(error.to_string())),
            Subject::Rows => return hopeless(),
        };
        let at_source = call.address == self.worker.source.address();
        let missing = call.is_collection_missing() || call.is_partition_missing() || call.is_database_missing();
        if missing && at_source {
            // The catalog says whether it is gone for good, renamed, or has lost a partition.
            return Some(Interruption::Wait(format!("{} has changed at the source", self.name())));
        }
        if call.is_not_loaded() {
            return Some(Interruption::Wait(format!(
                "{} is not loaded: its rows can be copied once it is",
                self.name()
            )));
        }
        if patience.is_over(verdict(call)) { hopeless() } else { None }
    }

    pub(super) fn report(&self, rows: u64) -> Result<(), Interruption> {
        self.send(CopyEvent::Progress(self.id(), rows))
    }

    fn send(&self, event: CopyEvent) -> Result<(), Interruption> {
        self.worker.reports.send(event).map_err(|_| Interruption::Cancelled)
    }

    fn id(&self) -> CollectionId {
        self.job.info.id
    }

    /// Database and name at the source.
    pub(super) fn name(&self) -> String {
        format!("{}.{}", self.job.source.0, self.job.source.1)
    }
}
