//! The copying thread.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};

use super::pages::{Key, Page, PageError, Pages, between, collect, each};
use super::{CopyDone, CopyEnd, CopyEvent, CopyJob, Span};
use crate::domain::{Channel, CollectionId};
use crate::milvus::catalog::LoadState;
use crate::milvus::rows::{Place, Rows, Write};
use crate::milvus::{CallContext, Cancel, Client};
use crate::source::{Keys, Log, LogError, Start};
use crate::target::{Backoff, Verdict, WriteError, Writer, verdict};

const CALL_TIMEOUT: Duration = Duration::from_secs(60);
/// How often collections that cannot be read yet are looked at.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// How long errors that nobody knows are tried again.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) struct Worker {
    source: Arc<Client>,
    target: Arc<Client>,
    log: Arc<dyn Log>,
    reports: Sender<CopyEvent>,
}

/// Why a copy did not come to its end.
#[derive(Debug, thiserror::Error)]
enum CopyError {
    #[error(transparent)]
    Page(#[from] PageError),
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error(transparent)]
    Log(#[from] LogError),
    /// It cannot be read yet.
    #[error("{0}")]
    Wait(String),
    /// The collection has gone, or the task ends.
    #[error("cancelled")]
    Cancelled,
}

impl From<crate::milvus::Error> for CopyError {
    fn from(error: crate::milvus::Error) -> Self {
        CopyError::Page(PageError::Call(error))
    }
}

/// A job and what has been reported of it.
struct Job {
    copy: CopyJob,
    cancel: Cancel,
    told: Option<String>,
}

impl Worker {
    pub(super) fn new(
        source: Arc<Client>,
        target: Arc<Client>,
        log: Arc<dyn Log>,
        reports: Sender<CopyEvent>,
    ) -> Worker {
        Worker { source, target, log, reports }
    }

    pub(super) fn run(&self, queue: &Receiver<(CopyJob, Cancel)>) {
        let mut jobs: Vec<Job> = Vec::new();
        loop {
            let wait = if jobs.is_empty() { Duration::from_secs(3600) } else { LOOK_AGAIN };
            match queue.recv_timeout(wait) {
                Ok((copy, cancel)) => jobs.push(Job { copy, cancel, told: None }),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            let mut left = Vec::new();
            for mut job in std::mem::take(&mut jobs) {
                match self.attempt(&mut job) {
                    Some(end) => {
                        if self.reports.send(CopyEvent::Ended(job.copy.info.id, end)).is_err() {
                            return;
                        }
                    }
                    None => left.push(job),
                }
            }
            jobs = left;
        }
    }

    /// Tries a job; `None` when it has to wait.
    fn attempt(&self, job: &mut Job) -> Option<CopyEnd> {
        let id = job.copy.info.id;
        let (mut backoff, started) = (Backoff::default(), Instant::now());
        let context = CallContext { timeout: CALL_TIMEOUT, cancel: job.cancel.clone() };
        let mut first = job.told.is_none();
        loop {
            let error = match self.copy(&job.copy, &context) {
                Ok(done) => return Some(CopyEnd::Done(done)),
                Err(_) if job.cancel.is_cancelled() => return Some(CopyEnd::Cancelled),
                Err(error) => error,
            };
            match &error {
                CopyError::Wait(why) => {
                    if job.told.as_ref() != Some(why) || std::mem::take(&mut first) {
                        job.told = Some(why.clone());
                        self.reports.send(CopyEvent::Waiting(id, why.clone())).ok()?;
                    }
                    return None;
                }
                // The catalog knows, or will know: it says when the collection is gone for good.
                error if is_missing(error) => return Some(CopyEnd::Cancelled),
                error if is_hopeless(error, started) => return Some(CopyEnd::Hopeless(error.to_string())),
                error => self.reports.send(CopyEvent::Retrying(id, error.to_string())).ok()?,
            }
            if job.cancel.sleep(backoff.wait()) {
                return Some(CopyEnd::Cancelled);
            }
        }
    }

    fn copy(&self, job: &CopyJob, context: &CallContext) -> Result<CopyDone, CopyError> {
        self.wait_until_loaded(&self.source, &job.source, "at the source", context)?;
        if job.prune {
            let target = (job.info.db.clone(), job.info.name.clone());
            self.wait_until_loaded(&self.target, &target, "on the target", context)?;
        }
        let mut starts: BTreeMap<Channel, Start> = BTreeMap::new();
        for channel in &job.channels {
            starts.insert(channel.clone(), self.log.shortly_before_tail(channel)?);
        }
        self.report(job.info.id, 0)?;
        let mut rows = 0;
        for partition in partitions(job) {
            rows = self.copy_partition(job, &partition, rows, context)?;
        }
        let mut spans = BTreeMap::new();
        for (channel, start) in starts {
            let until = self.log.tail(&channel)?;
            spans.insert(channel, Span { start, until });
        }
        Ok(CopyDone { source: job.source.clone(), rows, spans })
    }

    fn wait_until_loaded(
        &self,
        client: &Client,
        (db, name): &(String, String),
        whose: &str,
        context: &CallContext,
    ) -> Result<(), CopyError> {
        match client.load_state(db, name, context)? {
            LoadState::Loaded => Ok(()),
            LoadState::NotLoaded => {
                Err(CopyError::Wait(format!("{db}.{name} is not loaded {whose}: its rows can be copied once it is")))
            }
            LoadState::Loading => Err(CopyError::Wait(format!("{db}.{name} is being loaded {whose}"))),
        }
    }

    fn copy_partition(
        &self,
        job: &CopyJob,
        partition: &str,
        mut rows: u64,
        context: &CallContext,
    ) -> Result<u64, CopyError> {
        let place =
            |db: &str, name: &str| Place { db: db.into(), collection: name.into(), partition: partition.into() };
        let (from, to) = (place(&job.source.0, &job.source.1), place(&job.info.db, &job.info.name));
        let key = (job.info.key.name.as_str(), job.info.key.is_int);
        let mut pages = Pages::new((&self.source, context), from, key, &["*"]);
        let writer = Writer { client: &self.target, context };
        let mut last: Option<Key> = None;
        while let Some(Page { columns, keys }) = pages.next()? {
            let (count, high) = (keys.len(), each(&keys).pop());
            writer.write(Write::Upsert, &Rows::new(&to, columns, count))?;
            if job.prune {
                self.prune(job, &to, (last.as_ref(), high.as_ref()), &keys, context)?;
            }
            last = high;
            rows += count as u64;
            self.report(job.info.id, rows)?;
        }
        if job.prune {
            self.prune(job, &to, (last.as_ref(), None), &Keys::Int(Vec::new()), context)?;
        }
        Ok(rows)
    }

    /// Removes the target's rows between two keys that are not among `keep`.
    fn prune(
        &self,
        job: &CopyJob,
        place: &Place,
        (low, high): (Option<&Key>, Option<&Key>),
        keep: &Keys,
        context: &CallContext,
    ) -> Result<(), CopyError> {
        let key = job.info.key.name.as_str();
        let keep: BTreeSet<Key> = each(keep).into_iter().collect();
        let mut low = low.cloned();
        loop {
            let range = match between(key, low.as_ref(), high) {
                whole if whole.is_empty() => everything(key, job.info.key.is_int),
                range => range,
            };
            let limit = 8192;
            let query = crate::milvus::rows::Query { expression: &range, fields: &[key], limit: Some(limit) };
            let columns = self.target.query_rows(place, &query, context)?;
            if columns.is_empty() {
                return Ok(());
            }
            let object = || format!("{}.{}", place.db, place.collection);
            let found = crate::pipeline::columns::keys(&columns, key)
                .map_err(|source| PageError::Columns { object: object(), source })?;
            let found = each(&found);
            let (count, last) = (found.len(), found.iter().max().cloned());
            let extra: Vec<Key> = found.into_iter().filter(|key| !keep.contains(key)).collect();
            if !extra.is_empty() {
                log::info!("{}: removing {} rows that the source no longer has", object(), extra.len());
                Writer { client: &self.target, context }.delete(place, key, &collect(extra))?;
            }
            if count < limit || last <= low {
                return Ok(());
            }
            low = last;
        }
    }

    fn report(&self, id: CollectionId, rows: u64) -> Result<(), CopyError> {
        self.reports.send(CopyEvent::Progress(id, rows)).map_err(|_| CopyError::Cancelled)
    }
}

/// Rows keep their partition; where a key decides about it, the collection is read as a whole.
fn partitions(job: &CopyJob) -> Vec<String> {
    if job.info.partition_key || job.info.partitions.is_empty() {
        vec![String::new()]
    } else {
        job.info.partitions.values().cloned().collect()
    }
}

fn everything(key: &str, is_int: bool) -> String {
    if is_int { format!("{key} <= {}", i64::MAX) } else { format!("{key} >= \"\"") }
}

fn is_missing(error: &CopyError) -> bool {
    let call = match error {
        CopyError::Page(PageError::Call(error)) | CopyError::Write(WriteError::Call(error)) => error,
        _ => return false,
    };
    call.is_collection_missing() || call.is_partition_missing() || call.is_database_missing()
}

fn is_hopeless(error: &CopyError, since: Instant) -> bool {
    let call = match error {
        CopyError::Page(PageError::Call(error)) | CopyError::Write(WriteError::Call(error)) => error,
        CopyError::Page(_) | CopyError::Write(_) => return true,
        CopyError::Log(_) | CopyError::Wait(_) | CopyError::Cancelled => return false,
    };
    match verdict(call) {
        Verdict::Retry => false,
        // Released while it was read: the next attempt waits for it.
        Verdict::RetryForAWhile => !call.is_not_loaded() && since.elapsed() > PATIENCE,
        Verdict::Stop => true,
    }
}
