/*!
Copying the rows of collections by reading them: the first copy of rows that the log no longer holds, comparing with a target that has rows
already, and, where the source has no log, one round after the other. Two threads per task, one collection each; one that cannot be
read (not loaded at the source) lets the others go first.
*/

mod progress;
mod round;
mod step;
mod worker;

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use self::progress::Files;
use super::members::Ready;
use crate::domain::{Channel, CollectionId, Position, Timestamp};
use crate::milvus::{Cancel, Client};
use crate::pipeline::CollectionInfo;
use crate::source::{Log, Start};
use crate::task::detail::CopyDetail;

/// One collection to copy.
#[derive(Debug, Clone)]
pub(super) struct CopyJob {
    pub(super) info: Arc<CollectionInfo>,
    /// Database and name at the source.
    pub(super) source: (String, String),
    /// What its rows are compared with.
    pub(super) against: Against,
    /// Remove rows that only the target has, too.
    pub(super) removes: bool,
    /// It was on the target before the task: others may write to it.
    pub(super) adopted: bool,
    /// Keys and digests of what is on the target then are kept in a file, for the next round to compare with.
    pub(super) keeps_state: bool,
    /// A look is enough if the source still has so many rows.
    pub(super) unless_count: Option<u64>,
}

impl CopyJob {
    /// A key that is not known to be on the target is certainly not there.
    fn is_alone(&self) -> bool {
        !self.adopted && self.against != Against::Target
    }

    /// Keys that the target holds more than once are to be there once. Only counting tells, and only page by page: other rows may be
    /// missing, and the source may grow.
    fn undoubles(&self) -> bool {
        self.removes && self.against == Against::Target
    }
}

/// What the source's rows are compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Against {
    /// The target has none.
    Nothing,
    /// The target's own rows.
    Target,
    /// What the last round has left.
    State,
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
    /// A look was enough.
    Unchanged,
    /// It was told to end, or the collection has gone.
    Cancelled,
    /// The file of what is on the target cannot be used: why.
    StateLost(String),
    /// It cannot be done: why.
    Hopeless(String),
}

impl CopyEnd {
    /// A word for metrics.
    pub(super) fn name(&self) -> &'static str {
        match self {
            CopyEnd::Done(_) => "done",
            CopyEnd::Unchanged => "unchanged",
            CopyEnd::StateLost(_) => "state_lost",
            CopyEnd::Cancelled => "cancelled",
            CopyEnd::Hopeless(_) => "failed",
        }
    }
}

/// A complete copy.
#[derive(Debug)]
pub(super) struct CopyDone {
    /// What the rows were compared with.
    pub(super) against: Against,
    /// The source's rows.
    pub(super) rows: u64,
    /// Rows that only the target has.
    pub(super) extra: u64,
    /// Everything acknowledged at the source before this moment was seen.
    pub(super) began: Timestamp,
    /// How long the last attempt took.
    pub(super) took: Duration,
    /// What the log may hold of the same rows.
    pub(super) spans: BTreeMap<Channel, Span>,
    /// The source's own count, where it was asked.
    pub(super) count: Option<u64>,
    /// Rows written and removed by the last attempt.
    pub(super) changes: (u64, u64),
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
    job: CopyJob,
    cancel: Cancel,
    /// It waits, and is not with a thread.
    resting: bool,
    waiting: Option<String>,
    rows: u64,
    total: Option<u64>,
}

/// The copying threads and what they are at.
pub(super) struct Copier {
    folder: PathBuf,
    jobs: Sender<(CopyJob, Cancel)>,
    /// Waiting for a thread to take them: handing over never blocks the task. At most one per collection.
    queued: VecDeque<CollectionId>,
    /// Cannot be read yet: when they are looked at again.
    later: Vec<(Instant, CollectionId)>,
    events: Receiver<CopyEvent>,
    active: BTreeMap<CollectionId, Active>,
    threads: Vec<JoinHandle<()>>,
}

/// Two, so that one collection is read while the other's pages are written.
const THREADS: usize = 2;
/// How often collections that cannot be read yet are looked at.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

impl Copier {
    pub(super) fn spawn(
        task: &str,
        source: &Arc<Client>,
        target: &Arc<Client>,
        log: &Arc<dyn Log>,
        folder: &Path,
    ) -> std::io::Result<Copier> {
        // Straight to a thread: a job between us and them could not be taken back.
        let (jobs, queue) = bounded(0);
        let (reports, events) = bounded(16);
        let worker = worker::Worker {
            task: Arc::from(task),
            source: Arc::clone(source),
            target: Arc::clone(target),
            log: Arc::clone(log),
            folder: folder.to_owned(),
            reports,
        };
        let mut threads = Vec::new();
        for index in 0..THREADS {
            let (worker, queue) = (worker.clone(), queue.clone());
            let name = format!("copy-{task}-{index}");
            threads.push(std::thread::Builder::new().name(name).spawn(move || worker.run(&queue))?);
        }
        let (queued, later, active) = (VecDeque::new(), Vec::new(), BTreeMap::new());
        Ok(Copier { folder: folder.to_owned(), jobs, queued, later, events, active, threads })
    }

    pub(super) fn events(&self) -> &Receiver<CopyEvent> {
        &self.events
    }

    pub(super) fn start(&mut self, job: CopyJob) {
        let id = job.info.id;
        let active = Active { job, cancel: Cancel::default(), resting: true, waiting: None, rows: 0, total: None };
        self.active.insert(id, active);
        self.queued.push_back(id);
    }

    /// What is known of a collection has changed. A copy that waits goes on with that: with a partition that has gone since, it would wait for ever.
    pub(super) fn renew(&mut self, id: CollectionId, ready: &Ready) {
        if let Some(active) = self.active.get_mut(&id) {
            active.job.info = Arc::clone(&ready.info);
            active.job.source = ready.source.clone();
        }
    }

    /// Hands over what the threads have room for.
    pub(super) fn hand_over(&mut self) {
        let now = Instant::now();
        let (due, later) = std::mem::take(&mut self.later).into_iter().partition(|(at, _)| *at <= now);
        self.later = later;
        self.queued.extend(due.into_iter().map(|(_, id): (Instant, CollectionId)| id));
        while let Some(id) = self.queued.pop_front() {
            let Some(active) = self.active.get_mut(&id) else { continue };
            // A thread that has ended shows as a closed event channel.
            match self.jobs.try_send((active.job.clone(), active.cancel.clone())) {
                Ok(()) => active.resting = false,
                Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                    self.queued.push_front(id);
                    return;
                }
            }
        }
    }

    /// Ends a copy soon; it stays active until it has.
    pub(super) fn cancel(&mut self, id: CollectionId) {
        let Some(active) = self.active.get(&id) else { return };
        active.cancel.cancel();
        if active.resting {
            self.forget(id);
        }
    }

    pub(super) fn is_active(&self, id: CollectionId) -> bool {
        self.active.contains_key(&id)
    }

    pub(super) fn forget(&mut self, id: CollectionId) {
        self.active.remove(&id);
        self.queued.retain(|queued| *queued != id);
        self.later.retain(|(_, later)| *later != id);
    }

    pub(super) fn set_waiting(&mut self, id: CollectionId, why: String) {
        let Some(active) = self.active.get_mut(&id) else { return };
        if active.cancel.is_cancelled() {
            return self.forget(id);
        }
        active.waiting = Some(why);
        active.resting = true;
        self.later.push((Instant::now() + LOOK_AGAIN, id));
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

    /// Whether what is at work on the collection is a copy that people want to know of, and not a round that looks for changes.
    pub(super) fn is_told(&self, id: CollectionId) -> bool {
        self.active.get(&id).is_some_and(|active| active.job.against != Against::State)
    }

    /// What the copies are at, for people and metrics.
    pub(super) fn progress(&self) -> Vec<CopyDetail> {
        let one = |active: &Active| CopyDetail {
            collection: format!("{}.{}", active.job.source.0, active.job.source.1),
            rows: active.rows,
            total: active.total,
            waiting: active.waiting.clone(),
        };
        let told = |active: &&Active| active.job.against != Against::State || active.waiting.is_some();
        self.active.values().filter(told).map(one).collect()
    }

    /// The next copy of a collection begins at its beginning.
    pub(super) fn forget_progress(&self, id: CollectionId) {
        Files::new(&self.folder, id).forget_progress();
    }

    /// Nothing is kept of a collection.
    pub(super) fn forget_files(&self, id: CollectionId) {
        Files::new(&self.folder, id).forget();
    }

    /// Whether rows are being copied now, other than in rounds.
    pub(super) fn is_copying(&self) -> bool {
        self.active.values().any(|active| active.waiting.is_none() && active.job.against != Against::State)
    }

    /// What copies wait for or have reached, for the task's reason.
    pub(super) fn waiting(&self) -> Vec<String> {
        let line = |active: &Active| match &active.waiting {
            Some(why) => Some(why.clone()),
            None if active.job.against == Against::State => None,
            None => {
                let (db, name) = &active.job.source;
                let of = active.total.map(|total| format!("of {total} rows")).unwrap_or_else(|| "rows so far".into());
                Some(format!("copying {db}.{name}: {} {of}", active.rows))
            }
        };
        self.active.values().filter_map(line).collect()
    }
}

impl Drop for Copier {
    fn drop(&mut self) {
        for active in self.active.values() {
            active.cancel.cancel();
        }
        self.jobs = bounded(0).0;
        // Taken until the threads have ended: one that waits for the answer to `Began` learns that none will come. A channel
        // that only lost its receiver would keep the question.
        self.events.iter().for_each(drop);
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                log::error!("a copying thread panicked");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_that_waits_for_an_answer_ends() {
        let ((jobs, _queue), (reports, events)) = (bounded(1), bounded(16));
        let (answer, answered) = bounded(1);
        reports.send(CopyEvent::Began(CollectionId(1), answer)).unwrap();
        let thread = std::thread::spawn(move || {
            let _its_own = reports;
            answered.recv().unwrap_err();
        });
        let (queued, later, active) = (VecDeque::new(), Vec::new(), BTreeMap::new());
        let copier = Copier { folder: PathBuf::new(), jobs, queued, later, events, active, threads: vec![thread] };
        let (ended_sender, ended) = bounded(1);
        std::thread::spawn(move || {
            drop(copier);
            ended_sender.send(())
        });
        ended.recv_timeout(Duration::from_secs(30)).unwrap();
    }
}
