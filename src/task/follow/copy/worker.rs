//! The copying thread.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::pages::{Key, Page, Pages, each};
use super::prune::prune;
use super::step::StepError;
use super::{CopyDone, CopyEnd, CopyEvent, CopyJob, Span};
use crate::domain::{Channel, CollectionId};
use crate::milvus::catalog::LoadState;
use crate::milvus::rows::{Place, Rows, Write};
use crate::milvus::{CallContext, Cancel, Client};
use crate::source::{Log, Start};
use crate::target::{Backoff, Verdict, Writer, verdict};

const CALL_TIMEOUT: Duration = Duration::from_secs(60);
/// How often collections that cannot be read yet are looked at.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// How long errors that nobody knows are tried again.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) struct Worker {
    pub(super) source: Arc<Client>,
    pub(super) target: Arc<Client>,
    pub(super) log: Arc<dyn Log>,
    pub(super) reports: Sender<CopyEvent>,
}

/// Why an attempt came to no end.
enum Interruption {
    /// It cannot be read yet: why.
    Wait(String),
    /// The collection has gone, or the task ends.
    Cancelled,
    /// Trying again is of no use: why.
    Hopeless(String),
}

impl Worker {
    pub(super) fn run(&self, queue: &Receiver<(CopyJob, Cancel)>) {
        let mut jobs: Vec<(CopyJob, Cancel)> = Vec::new();
        loop {
            let next = if jobs.is_empty() {
                queue.recv().map_err(|_| RecvTimeoutError::Disconnected)
            } else {
                queue.recv_timeout(LOOK_AGAIN)
            };
            match next {
                Ok(job) => jobs.push(job),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            let mut left = Vec::new();
            for (job, cancel) in std::mem::take(&mut jobs) {
                let id = job.info.id;
                let attempt = Attempt {
                    worker: self,
                    job: &job,
                    context: CallContext { timeout: CALL_TIMEOUT, cancel: cancel.clone() },
                };
                let event = match attempt.run() {
                    Ok(done) => CopyEvent::Ended(id, CopyEnd::Done(done)),
                    Err(_) if cancel.is_cancelled() => CopyEvent::Ended(id, CopyEnd::Cancelled),
                    Err(Interruption::Cancelled) => CopyEvent::Ended(id, CopyEnd::Cancelled),
                    Err(Interruption::Hopeless(why)) => CopyEvent::Ended(id, CopyEnd::Hopeless(why)),
                    Err(Interruption::Wait(why)) => {
                        left.push((job, cancel));
                        CopyEvent::Waiting(id, why)
                    }
                };
                if self.reports.send(event).is_err() {
                    return;
                }
            }
            jobs = left;
        }
    }
}

/// One try at one collection.
struct Attempt<'a> {
    worker: &'a Worker,
    job: &'a CopyJob,
    context: CallContext,
}

impl Attempt<'_> {
    fn run(&self) -> Result<CopyDone, Interruption> {
        let Worker { source, target, log, .. } = self.worker;
        self.wait_until_loaded(source, &self.job.source, "at the source")?;
        if self.job.prune {
            let place = (self.job.info.db.clone(), self.job.info.name.clone());
            self.wait_until_loaded(target, &place, "on the target")?;
        }
        let starts = self.begin()?;
        let mut rows = 0;
        self.report(rows)?;
        for partition in self.partitions() {
            rows = self.copy_partition(&partition, rows)?;
        }
        let mut spans = BTreeMap::new();
        for (channel, start) in starts {
            let until = self.patiently(|| Ok(log.tail(&channel)?))?;
            spans.insert(channel, Span { start, until });
        }
        Ok(CopyDone { source: self.job.source.clone(), rows, spans })
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

    fn copy_partition(&self, partition: &str, mut rows: u64) -> Result<u64, Interruption> {
        let (job, context) = (self.job, &self.context);
        let place =
            |db: &str, name: &str| Place { db: db.into(), collection: name.into(), partition: partition.into() };
        let (from, to) = (place(&job.source.0, &job.source.1), place(&job.info.db, &job.info.name));
        let key = (job.info.key.name.as_str(), job.info.key.is_int);
        let mut pages = Pages::new((&self.worker.source, context), from, key, &["*"]);
        let writer = Writer { client: &self.worker.target, context };
        let mut last: Option<Key> = None;
        while let Some(Page { columns, keys }) = self.patiently(|| Ok(pages.next()?))? {
            let kept = each(&keys);
            let high = kept.last().cloned();
            let columns = job.info.shape.written(columns, keys.len()).map_err(|error| {
                Interruption::Hopeless(format!("rows of {} cannot be copied: {error}", self.name()))
            })?;
            let page = Rows::new(&to, columns, keys.len());
            self.patiently(|| Ok(writer.write(Write::Upsert, &page)?))?;
            if job.prune {
                self.patiently(|| prune(&writer, &to, &job.info.key, (last.as_ref(), high.as_ref()), &kept))?;
            }
            last = high;
            rows += kept.len() as u64;
            self.report(rows)?;
        }
        if job.prune {
            self.patiently(|| prune(&writer, &to, &job.info.key, (last.as_ref(), None), &[]))?;
        }
        Ok(rows)
    }

    /// Rows keep their partition; where a key decides about it, the collection is read as a whole.
    fn partitions(&self) -> Vec<String> {
        let info = &self.job.info;
        if info.unnamed_partitions || info.partitions.is_empty() {
            vec![String::new()]
        } else {
            info.partitions.values().cloned().collect()
        }
    }

    /// Tries one step until it succeeds, turns out to be hopeless or must wait for something else.
    fn patiently<T>(&self, mut step: impl FnMut() -> Result<T, StepError>) -> Result<T, Interruption> {
        let mut backoff = Backoff::default();
        let mut failing_since: Option<Instant> = None;
        loop {
            let error = match step() {
                Ok(value) => return Ok(value),
                Err(_) if self.context.cancel.is_cancelled() => return Err(Interruption::Cancelled),
                Err(error) => error,
            };
            let since = *failing_since.get_or_insert_with(Instant::now);
            if let Some(interruption) = self.interruption(&error, since) {
                return Err(interruption);
            }
            self.send(CopyEvent::Retrying(self.id(), error.to_string()))?;
            if self.context.cancel.sleep(backoff.wait()) {
                return Err(Interruption::Cancelled);
            }
        }
    }

    fn interruption(&self, error: &StepError, since: Instant) -> Option<Interruption> {
        let hopeless = || Some(Interruption::Hopeless(error.to_string()));
        let Some(call) = error.call() else {
            return if matches!(error, StepError::Log(_)) { None } else { hopeless() };
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
        match verdict(call) {
            Verdict::Retry => None,
            Verdict::RetryForAWhile if since.elapsed() < PATIENCE => None,
            Verdict::RetryForAWhile | Verdict::Stop => hopeless(),
        }
    }

    fn report(&self, rows: u64) -> Result<(), Interruption> {
        self.send(CopyEvent::Progress(self.id(), rows))
    }

    fn send(&self, event: CopyEvent) -> Result<(), Interruption> {
        self.worker.reports.send(event).map_err(|_| Interruption::Cancelled)
    }

    fn id(&self) -> CollectionId {
        self.job.info.id
    }

    fn name(&self) -> String {
        format!("{}.{}", self.job.source.0, self.job.source.1)
    }
}
