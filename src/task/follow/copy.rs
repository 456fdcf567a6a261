/*!
Copying the rows of a collection that the log no longer holds, by `Query` in pages of the key's order. One thread per task,
one collection at a time; a collection that cannot be read (not loaded at the source) lets the others go first.
*/

mod pages;
mod prune;
mod step;
mod worker;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use crate::domain::{Channel, CollectionId, Position};
use crate::milvus::{Cancel, Client};
use crate::pipeline::CollectionInfo;
use crate::source::{Log, Start};
use crate::task::detail::CopyDetail;

/// One collection to copy.
#[derive(Debug)]
pub(super) struct CopyJob {
    pub(super) info: Arc<CollectionInfo>,
    /// Database and name at the source.
    pub(super) source: (String, String),
    /// Remove rows that the source does not have.
    pub(super) prune: bool,
}

/// What happens to a copy.
#[derive(Debug)]
pub(super) enum CopyEvent {
    /// The first page is about to be read: wants to know where the replay will start.
    Began(CollectionId, Sender<BTreeMap<Channel, Start>>),
    /// It cannot be read yet: why.
    Waiting(CollectionId, String),
    /// A call failed and is tried again.
    Retrying(CollectionId, String),
    /// So many rows are to be copied, as far as the source can tell.
    Counted(CollectionId, u64),
    /// So many rows are there.
    Progress(CollectionId, u64),
    /// It is over.
    Ended(CollectionId, CopyEnd),
}

impl CopyEvent {
    pub(super) fn collection(&self) -> CollectionId {
        match self {
            CopyEvent::Began(id, _)
            | CopyEvent::Waiting(id, _)
            | CopyEvent::Retrying(id, _)
            | CopyEvent::Counted(id, _)
            | CopyEvent::Progress(id, _)
            | CopyEvent::Ended(id, _) => *id,
        }
    }
}

/// How a copy ended.
#[derive(Debug)]
pub(super) enum CopyEnd {
    /// All rows are there.
    Done(CopyDone),
    /// It was told to end, or the collection has gone.
    Cancelled,
    /// It cannot be done: why.
    Hopeless(String),
}

impl CopyEnd {
    /// A word for metrics.
    pub(super) fn name(&self) -> &'static str {
        match self {
            CopyEnd::Done(_) => "done",
            CopyEnd::Cancelled => "cancelled",
            CopyEnd::Hopeless(_) => "failed",
        }
    }
}

/// A complete copy.
#[derive(Debug)]
pub(super) struct CopyDone {
    pub(super) source: (String, String),
    pub(super) rows: u64,
    pub(super) spans: BTreeMap<Channel, Span>,
}

/// The stretch of a channel that a copy may or may not have seen.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    /// Before the copy began.
    pub(super) start: Start,
    /// The last message when the copy had ended; every row that it saw stands at or before it.
    pub(super) until: Option<Position>,
}

#[derive(Debug)]
struct Active {
    cancel: Cancel,
    source: (String, String),
    waiting: Option<String>,
    rows: u64,
    total: Option<u64>,
}

/// The copying thread and what it is at.
pub(super) struct Copier {
    jobs: Sender<(CopyJob, Cancel)>,
    /// Waiting for the thread to take them: handing over never blocks the task. At most one per collection.
    queued: VecDeque<(CopyJob, Cancel)>,
    events: Receiver<CopyEvent>,
    active: BTreeMap<CollectionId, Active>,
    thread: Option<JoinHandle<()>>,
}

impl Copier {
    pub(super) fn spawn(
        task: &str,
        source: &Arc<Client>,
        target: &Arc<Client>,
        log: &Arc<dyn Log>,
    ) -> std::io::Result<Copier> {
        let (jobs, queue) = bounded(1);
        let task = Arc::from(task);
        let (reports, events) = bounded(16);
        let worker = worker::Worker {
            task: Arc::clone(&task),
            source: Arc::clone(source),
            target: Arc::clone(target),
            log: Arc::clone(log),
            reports,
        };
        let thread = std::thread::Builder::new().name(format!("copy-{task}")).spawn(move || worker.run(&queue))?;
        Ok(Copier { jobs, queued: VecDeque::new(), events, active: BTreeMap::new(), thread: Some(thread) })
    }

    pub(super) fn events(&self) -> &Receiver<CopyEvent> {
        &self.events
    }

    pub(super) fn start(&mut self, job: CopyJob) {
        let cancel = Cancel::default();
        let active = Active { cancel: cancel.clone(), source: job.source.clone(), waiting: None, rows: 0, total: None };
        self.active.insert(job.info.id, active);
        self.queued.push_back((job, cancel));
    }

    /// Hands over what the thread has room for.
    pub(super) fn hand_over(&mut self) {
        while let Some(job) = self.queued.pop_front() {
            // A thread that has ended shows as a closed event channel.
            if let Err(TrySendError::Full(job) | TrySendError::Disconnected(job)) = self.jobs.try_send(job) {
                self.queued.push_front(job);
                return;
            }
        }
    }

    /// Ends a copy soon; it stays active until it has.
    pub(super) fn cancel(&mut self, id: CollectionId) {
        if let Some(active) = self.active.get(&id) {
            active.cancel.cancel();
        }
    }

    pub(super) fn is_active(&self, id: CollectionId) -> bool {
        self.active.contains_key(&id)
    }

    pub(super) fn forget(&mut self, id: CollectionId) {
        self.active.remove(&id);
    }

    pub(super) fn set_waiting(&mut self, id: CollectionId, why: Option<String>) {
        if let Some(active) = self.active.get_mut(&id) {
            active.waiting = why;
        }
    }

    pub(super) fn set_progress(&mut self, id: CollectionId, rows: u64) {
        if let Some(active) = self.active.get_mut(&id) {
            active.waiting = None;
            active.rows = rows;
        }
    }

    pub(super) fn set_total(&mut self, id: CollectionId, total: u64) {
        if let Some(active) = self.active.get_mut(&id) {
            active.total = Some(total);
        }
    }

    /// What the copies are at, for people and metrics.
    pub(super) fn progress(&self) -> Vec<CopyDetail> {
        let one = |active: &Active| CopyDetail {
            collection: format!("{}.{}", active.source.0, active.source.1),
            rows: active.rows,
            total: active.total,
            waiting: active.waiting.clone(),
        };
        self.active.values().map(one).collect()
    }

    /// Whether rows are being copied now.
    pub(super) fn is_copying(&self) -> bool {
        self.active.values().any(|active| active.waiting.is_none())
    }

    /// What copies wait for or have reached, for the task's reason.
    pub(super) fn waiting(&self) -> Vec<String> {
        let line = |active: &Active| match &active.waiting {
            Some(why) => why.clone(),
            None => match active.total {
                Some(total) => {
                    format!("copying {}.{}: {} of {total} rows", active.source.0, active.source.1, active.rows)
                }
                None => format!("copying {}.{}: {} rows so far", active.source.0, active.source.1, active.rows),
            },
        };
        self.active.values().map(line).collect()
    }
}

impl Drop for Copier {
    fn drop(&mut self) {
        for active in self.active.values() {
            active.cancel.cancel();
        }
        self.jobs = bounded(0).0;
        self.events = bounded(0).1;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!("the copying thread panicked");
        }
    }
}
