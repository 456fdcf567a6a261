/*!
The threads that take the catalog's steps: as many as there are steps at once, within a limit. Calls to two servers are
waited for all the time, so a collection whose calls are slow costs the others one of several threads.
*/

use std::any::Any;
use std::collections::BTreeMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::agenda::PlannedStep;
use super::object_locks::LockedObjects;
use super::steps::{StepEnd, Steps};
use crate::failpoint::HandOver;
use crate::observe::thread::ThreadSpec;

/// Steps under way at once: enough for a target that is 20 ms away (`docs/benchmarks.md`), and few for a server.
pub(super) const WORKERS: usize = 8;
/// Threads that were not needed for so long end.
const TRIM_INTERVAL: Duration = Duration::from_secs(10);

/// A step with what it has to itself.
struct StepAssignment {
    planned: PlannedStep,
    locks: LockedObjects,
}

/// What a thread is to do.
enum WorkerOrder {
    Take(Box<StepAssignment>),
    End,
}

/// What a thread reports.
pub(super) enum WorkerReport {
    Ended(Box<StepReport>),
    /// The thread with this number takes no more steps.
    Left(usize),
    /// A step panicked, with this.
    Panicked(Box<dyn Any + Send>),
}

/// The end of a step. What it had to itself is free again when this is dropped.
pub(super) struct StepReport {
    pub(super) planned: PlannedStep,
    pub(super) end: StepEnd,
    pub(super) locks: LockedObjects,
}

/// The threads of one task's catalog.
pub(super) struct StepWorkers {
    task: String,
    steps: Arc<Steps>,
    orders: Sender<WorkerOrder>,
    /// For threads that are started later.
    queue: Receiver<WorkerOrder>,
    reports: Receiver<WorkerReport>,
    report_sender: Sender<WorkerReport>,
    threads: BTreeMap<usize, JoinHandle<()>>,
    /// The number of the next thread.
    next: usize,
    under_way: usize,
    /// The most steps at once since threads were trimmed last.
    peak: usize,
    trimmed: Instant,
}

impl StepWorkers {
    /// Starts the first thread.
    ///
    /// # Errors
    /// The system gives no more threads.
    pub(super) fn start(task: &str, steps: Arc<Steps>) -> io::Result<StepWorkers> {
        let ((orders, queue), (report_sender, reports)) = (bounded(WORKERS * 2), bounded(WORKERS * 2));
        let mut workers = StepWorkers {
            task: task.to_owned(),
            steps,
            orders,
            queue,
            reports,
            report_sender,
            threads: BTreeMap::new(),
            next: 0,
            under_way: 0,
            peak: 0,
            trimmed: Instant::now(),
        };
        workers.add_thread()?;
        Ok(workers)
    }

    fn add_thread(&mut self) -> io::Result<()> {
        let (number, steps) = (self.next, Arc::clone(&self.steps));
        let (queue, reports) = (self.queue.clone(), self.report_sender.clone());
        let thread = ThreadSpec::worker("catalog", &self.task, number);
        self.threads.insert(number, thread.spawn(move || run(number, &steps, &queue, &reports))?);
        self.next += 1;
        Ok(())
    }

    #[cfg(test)]
    pub(super) fn threads(&self) -> usize {
        self.threads.len()
    }

    pub(super) fn has_room(&self) -> bool {
        self.under_way < WORKERS
    }

    /// Where the ends of steps arrive.
    pub(super) fn reports(&self) -> &Receiver<WorkerReport> {
        &self.reports
    }

    /// Hands over a step. Does not block while there is room.
    pub(super) fn send(&mut self, planned: PlannedStep, locks: LockedObjects) {
        self.under_way += 1;
        self.peak = self.peak.max(self.under_way);
        self.start_what_is_needed();
        let order = WorkerOrder::Take(Box::new(StepAssignment { planned, locks }));
        if HandOver::CatalogStep.send(&self.orders, order).is_err() {
            log::error!("the threads of the catalog have ended unexpectedly");
        }
    }

    /// Notes a report. Answers the step that has ended, if one has.
    pub(super) fn note(&mut self, report: WorkerReport) -> Option<StepReport> {
        match report {
            WorkerReport::Ended(report) => {
                self.under_way -= 1;
                Some(*report)
            }
            WorkerReport::Left(number) => {
                if let Some(thread) = self.threads.remove(&number)
                    && thread.join().is_err()
                {
                    log::error!("a thread of the catalog panicked");
                }
                self.start_what_is_needed();
                None
            }
            // As if this thread had taken the step.
            WorkerReport::Panicked(panic) => std::panic::resume_unwind(panic),
        }
    }

    fn start_what_is_needed(&mut self) {
        if self.threads.len() < self.under_way
            && let Err(error) = self.add_thread()
        {
            log::warn!("the catalog goes on with {} threads: {error}", self.threads.len());
        }
    }

    /// Ends a thread that was not needed for a while.
    pub(super) fn trim(&mut self, now: Instant) {
        if now.saturating_duration_since(self.trimmed) < TRIM_INTERVAL {
            return;
        }
        let is_too_many = self.threads.len() > self.peak.max(1);
        (self.trimmed, self.peak) = (now, self.under_way);
        if is_too_many && self.orders.try_send(WorkerOrder::End).is_err() {
            log::debug!("the threads of the catalog are too busy for one of them to end");
        }
    }
}

impl Drop for StepWorkers {
    fn drop(&mut self) {
        self.orders = bounded(0).0;
        self.queue = bounded(0).1;
        // A thread that has something to report learns that nobody listens.
        self.report_sender = bounded(0).0;
        self.reports = bounded(0).1;
        for thread in std::mem::take(&mut self.threads).into_values() {
            if thread.join().is_err() {
                log::error!("a thread of the catalog panicked");
            }
        }
    }
}

fn run(number: usize, steps: &Steps, queue: &Receiver<WorkerOrder>, reports: &Sender<WorkerReport>) {
    for order in queue {
        let WorkerOrder::Take(assignment) = order else {
            drop(HandOver::CatalogReport.send(reports, WorkerReport::Left(number)));
            return;
        };
        let StepAssignment { planned, mut locks } = *assignment;
        let taken = catch_unwind(AssertUnwindSafe(|| {
            let end = steps.take(&planned.step, &mut locks);
            let report = StepReport { planned, end, locks };
            HandOver::CatalogReport.send(reports, WorkerReport::Ended(Box::new(report))).is_ok()
        }));
        match taken {
            Ok(true) => {}
            Ok(false) => return,
            Err(panic) => {
                // Nobody listens any more: the catalog has ended.
                drop(reports.send(WorkerReport::Panicked(panic)));
                return;
            }
        }
    }
}
