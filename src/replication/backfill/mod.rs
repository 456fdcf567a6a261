/*!
Backfilling: rows of collections that are read with `Query` instead of from the log. The first copy of rows that the
log no longer holds, comparing with a target that has rows already, and, where the source has no log, one rescan after
the other.

Two threads per task, one collection each. Which collection is next is decided by the task (`backfill_queue`); a
collection that cannot be read (not loaded at the source) goes back to it, so that the others go first.
*/

mod attempt;
mod error;
mod job;
mod progress;
mod reconcile;
mod removal_brake;
mod worker;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, bounded};

pub(super) use self::job::{Against, BackfillDone, BackfillEvent, BackfillJob, BackfillOutcome, Span, SurplusRows};
use self::progress::Files;
use self::worker::{Assignment, BackfillWorker};
use crate::domain::CollectionId;
use crate::failpoint::HandOver;
use crate::milvus::{Cancel, Client};
use crate::observe::thread::ThreadSpec;
use crate::sink::RefusedRowsFile;
use crate::source::Log;

/// The backfilling threads.
pub(super) struct Backfiller {
    folder: PathBuf,
    jobs: Sender<Assignment>,
    events: Receiver<BackfillEvent>,
    /// Cancels every running job.
    cancel: Cancel,
    running: BTreeMap<CollectionId, Cancel>,
    threads: Vec<JoinHandle<()>>,
}

/// Backfills that run at once: two, so that one collection is read while the other's pages are written.
pub(super) const THREADS: usize = 2;

impl Backfiller {
    pub(super) fn spawn(
        task: &str,
        source: &Arc<Client>,
        target: &Arc<Client>,
        log: &Arc<dyn Log>,
        folder: &Path,
        refused_rows: Option<&Arc<RefusedRowsFile>>,
    ) -> std::io::Result<Backfiller> {
        // The task never starts more jobs than there are threads, so handing one over never blocks.
        let (jobs, queue) = bounded(THREADS);
        let (reports, events) = bounded(16);
        let worker = BackfillWorker {
            task: Arc::from(task),
            source: Arc::clone(source),
            target: Arc::clone(target),
            log: Arc::clone(log),
            folder: folder.to_owned(),
            refused_rows: refused_rows.cloned(),
            reports,
        };
        let mut threads = Vec::new();
        for index in 0..THREADS {
            let (worker, queue) = (worker.clone(), queue.clone());
            threads.push(ThreadSpec::worker("copy", task, index).spawn(move || worker.run(&queue))?);
        }
        let (cancel, running) = (Cancel::default(), BTreeMap::new());
        Ok(Backfiller { folder: folder.to_owned(), jobs, events, cancel, running, threads })
    }

    pub(super) fn events(&self) -> &Receiver<BackfillEvent> {
        &self.events
    }

    /// Gives a job to a thread. The caller starts no more than [`THREADS`] at once.
    pub(super) fn start(&mut self, job: BackfillJob) {
        let cancel = self.cancel.part();
        self.running.insert(job.info.id, cancel.clone());
        // A thread that has ended shows as a closed event channel.
        let _ = HandOver::BackfillJob.try_send(&self.jobs, Assignment { job, cancel });
    }

    /// Ends a running backfill soon; its end is reported as ever.
    pub(super) fn cancel(&self, id: CollectionId) {
        if let Some(cancel) = self.running.get(&id) {
            cancel.cancel();
        }
    }

    /// To be told every event before the task is.
    pub(super) fn note(&mut self, event: &BackfillEvent) {
        if let BackfillEvent::Ended(id, _) | BackfillEvent::Waiting(id, _) = event {
            self.running.remove(id);
        }
    }

    /// The next backfill of a collection begins at its beginning.
    pub(super) fn forget_progress(&self, id: CollectionId) {
        Files::new(&self.folder, id).forget_progress();
    }

    /// Nothing is kept of a collection.
    pub(super) fn forget_files(&self, id: CollectionId) {
        Files::new(&self.folder, id).forget();
    }
}

impl Drop for Backfiller {
    fn drop(&mut self) {
        self.cancel.cancel();
        self.jobs = bounded(0).0;
        // Taken until the threads have ended: one that waits for the answer to `Began` learns that none will come. A
        // channel that only lost its receiver would keep the question.
        self.events.iter().for_each(drop);
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                log::error!("a backfill thread panicked");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::CollectionName;
    use crate::milvus::testing::unanswered;
    use crate::pipeline::testing::collection;
    use crate::source::NoLog;

    #[test]
    fn a_backfill_that_waits_for_an_answer_ends() {
        let ((jobs, _queue), (reports, events)) = (bounded(1), bounded(16));
        let (answer, answered) = bounded(1);
        reports.send(BackfillEvent::Began(CollectionId(1), answer)).unwrap();
        let waits = ThreadSpec::of_server("waits").spawn(move || {
            let _its_own = reports;
            answered.recv().unwrap_err();
        });
        let (cancel, running) = (Cancel::default(), BTreeMap::new());
        let (folder, threads) = (PathBuf::new(), vec![waits.unwrap()]);
        let backfiller = Backfiller { folder, jobs, events, cancel, running, threads };
        let (ended_sender, ended) = bounded(1);
        let drops = ThreadSpec::of_server("drops").spawn(move || {
            drop(backfiller);
            ended_sender.send(())
        });
        ended.recv_timeout(Duration::from_secs(30)).unwrap();
        drops.unwrap().join().unwrap().unwrap();
    }

    #[test]
    fn its_log_lines_name_the_task() {
        let folder = tempfile::tempdir().unwrap();
        let ((source, callers), (target, _)) = (unanswered(), unanswered());
        let log: Arc<dyn Log> = Arc::new(NoLog);
        let clients = [source, target].map(Arc::new);
        let mut backfiller = Backfiller::spawn("one-2", &clients[0], &clients[1], &log, folder.path(), None).unwrap();
        backfiller.start(BackfillJob {
            info: Arc::new(collection()),
            source: CollectionName::new("d", "c"),
            against: Against::Nothing,
            surplus: SurplusRows::Keep,
            adopted: false,
            keeps_state: false,
            unless_count: None,
        });
        let (name, task) = callers.next();
        assert!(["copy-one-2-0", "copy-one-2-1"].contains(&name.as_str()), "{name}");
        assert_eq!(task.as_deref(), Some("one-2"));
    }
}
