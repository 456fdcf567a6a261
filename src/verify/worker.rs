//! The thread of a comparison: walks over the collections, waits for the task, and hands collections over for repair.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};
use parking_lot::Mutex;

use super::report::{
    CollectionReport, VerifyOutcome, VerifyProgress, VerifyRefused, VerifyReport, VerifyRequest, VerifyState,
    VerifyView,
};
use crate::domain::{CollectionName, LogKind, Timestamp};
use crate::milvus::{CallContext, Cancel, Client, Error, RetryEnd, RetryPolicy, SourceTime, retry, retry_policy};
use crate::observe::thread::ThreadSpec;
use crate::task::mapping::NameMapping;
use crate::task::scope::Scope;
use crate::task::spec::LoadPolicy;
use crate::task::status::{Phase, SourceLog, TaskStatus};

const CALL_TIMEOUT: Duration = Duration::from_secs(60);
/// For how long a failing call is repeated.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often the progress of the task is polled.
const POLL: Duration = Duration::from_millis(50);
/// For how long a task that reads a log may stand still behind the source until the comparison gives up.
const STANDSTILL: Duration = Duration::from_secs(120);
/// For how long a round may read rows until it counts as standing still.
const ROUND: Duration = Duration::from_secs(15 * 60);
/// How late time ticks may be, from which the source's time is estimated where it does not tell it.
const TICKS_LATE: Duration = Duration::from_secs(2);

/// What a comparison needs from its task.
pub(crate) struct VerifySetup {
    /// For thread names.
    pub(crate) task: String,
    pub(crate) source: Client,
    pub(crate) target: Client,
    pub(crate) scope: Scope,
    pub(crate) mapping: NameMapping,
    pub(crate) ignore_partitions: bool,
    /// Which load states follow.
    pub(crate) load: LoadPolicy,
    /// How often a source without a log is scanned.
    pub(crate) scan_interval: Duration,
    /// The current status of the task.
    pub(crate) status: Box<dyn Fn() -> TaskStatus + Send>,
    /// Up to where the target has everything.
    pub(crate) reached: Box<dyn Fn() -> Option<Timestamp> + Send>,
    pub(crate) source_time: Arc<SourceTime>,
    /// Hands collections to the task for repair.
    pub(crate) repair: RepairHandle,
    /// Cancelled when the task ends.
    pub(crate) cancel: Cancel,
}

/// Hands collections, named as at the source, to the task. The returned channel is closed once all of them are
/// repaired.
pub(crate) type RepairHandle = Box<dyn Fn(Vec<CollectionName>) -> Receiver<()> + Send>;

/// A comparison that is running or has ended.
pub(crate) struct Verification {
    view: Arc<Mutex<VerifyView>>,
    cancel: Cancel,
    thread: Option<JoinHandle<()>>,
}

/// A collection on both sides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pair {
    pub(crate) source: CollectionName,
    pub(crate) target: CollectionName,
}

/// Why a comparison ended early.
#[derive(Debug, thiserror::Error)]
pub(super) enum VerifyAbort {
    /// It was cancelled.
    #[error("cancelled")]
    Cancelled,
    /// It failed, for this reason.
    #[error("{0}")]
    Failed(String),
}

impl Verification {
    pub(crate) fn start(setup: VerifySetup, request: VerifyRequest) -> Result<Verification, VerifyRefused> {
        let progress = VerifyProgress { doing: "connecting".into(), ..VerifyProgress::default() };
        let view = Arc::new(Mutex::new(VerifyView { request, state: VerifyState::Running, progress }));
        let cancel = setup.cancel.part();
        let thread = ThreadSpec::of_task("verify", &setup.task);
        let context = CallContext { timeout: CALL_TIMEOUT, cancel: cancel.clone() };
        let comparison = Comparison {
            source: Arc::new(setup.source),
            target: Arc::new(setup.target),
            scope: setup.scope,
            mapping: setup.mapping,
            ignore_partitions: setup.ignore_partitions,
            load: setup.load,
            scan_interval: setup.scan_interval,
            status: setup.status,
            reached: setup.reached,
            source_time: setup.source_time,
            repair: setup.repair,
            context,
            request,
            view: Arc::clone(&view),
        };
        let thread =
            thread.spawn(move || comparison.run()).map_err(|error| VerifyRefused::Thread(error.to_string()))?;
        Ok(Verification { view, cancel, thread: Some(thread) })
    }

    pub(crate) fn view(&self) -> VerifyView {
        self.view.lock().clone()
    }

    pub(crate) fn is_running(&self) -> bool {
        matches!(self.view.lock().state, VerifyState::Running)
    }

    pub(crate) fn cancel(&self) {
        self.cancel.cancel();
    }
}

impl Drop for Verification {
    fn drop(&mut self) {
        self.cancel.cancel();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!("a verification thread panicked");
        }
    }
}

pub(super) struct Comparison {
    pub(super) source: Arc<Client>,
    pub(super) target: Arc<Client>,
    scope: Scope,
    mapping: NameMapping,
    pub(super) ignore_partitions: bool,
    pub(super) load: LoadPolicy,
    scan_interval: Duration,
    status: Box<dyn Fn() -> TaskStatus + Send>,
    reached: Box<dyn Fn() -> Option<Timestamp> + Send>,
    source_time: Arc<SourceTime>,
    repair: RepairHandle,
    pub(super) context: CallContext,
    pub(super) request: VerifyRequest,
    view: Arc<Mutex<VerifyView>>,
}

impl Comparison {
    fn run(self) {
        let state = match self.compare_and_repair() {
            Ok(outcome) => VerifyState::Done(Box::new(outcome)),
            Err(VerifyAbort::Cancelled) => VerifyState::Cancelled,
            Err(VerifyAbort::Failed(why)) => {
                let report = VerifyReport { failure: Some(why), ..VerifyReport::default() };
                VerifyState::Done(Box::new(VerifyOutcome { report, before: None }))
            }
        };
        self.view.lock().state = state;
    }

    fn compare_and_repair(&self) -> Result<VerifyOutcome, VerifyAbort> {
        for client in [&self.source, &self.target] {
            self.patiently(|| client.connect(&self.context.cancel))?;
        }
        let pairs = self.pairs()?;
        let before = self.compare_all(&pairs)?;
        if !self.request.repair {
            return Ok(VerifyOutcome { report: before, before: None });
        }
        let differing: Vec<Pair> = pairs
            .into_iter()
            .zip(&before.collections)
            .filter(|(_, report)| report.differs())
            .map(|(pair, _)| pair)
            .collect();
        if differing.is_empty() {
            return Ok(VerifyOutcome { report: before.clone(), before: Some(before) });
        }
        let report = match self.repair_collections(&differing) {
            Ok(after) => after.with_uncompared(&before),
            Err(VerifyAbort::Cancelled) => return Err(VerifyAbort::Cancelled),
            Err(VerifyAbort::Failed(why)) => VerifyReport { failure: Some(why), ..VerifyReport::default() },
        };
        Ok(VerifyOutcome { report, before: Some(before) })
    }

    /// Lets the task repair collections, waits for it, and compares them again.
    fn repair_collections(&self, differing: &[Pair]) -> Result<VerifyReport, VerifyAbort> {
        self.doing(&format!("repairing {} collections", differing.len()));
        let repaired = (self.repair)(differing.iter().map(|pair| pair.source.clone()).collect());
        loop {
            match repaired.recv_timeout(POLL) {
                Err(RecvTimeoutError::Disconnected) => break,
                Ok(()) | Err(RecvTimeoutError::Timeout) if self.context.cancel.is_cancelled() => {
                    return Err(VerifyAbort::Cancelled);
                }
                Ok(()) | Err(RecvTimeoutError::Timeout) => {}
            }
        }
        self.wait_caught_up()?;
        self.compare_all(differing)
    }

    /// Every collection of the task at the source, with its name on the target.
    fn pairs(&self) -> Result<Vec<Pair>, VerifyAbort> {
        let mut pairs = Vec::new();
        for db in self.patiently(|| self.source.list_databases(&self.context))? {
            if !self.scope.touches_database(&db) {
                continue;
            }
            for collection in self.patiently(|| self.source.list_collections(&db, &self.context))? {
                if self.scope.matches(&db, &collection.name) {
                    let target = self.mapping.map(&CollectionName::new(&db, &collection.name));
                    pairs.push(Pair { source: CollectionName::new(&db, collection.name), target });
                }
            }
        }
        pairs.sort_by(|a, b| a.source.cmp(&b.source));
        Ok(pairs)
    }

    fn compare_all(&self, pairs: &[Pair]) -> Result<VerifyReport, VerifyAbort> {
        let mut report = VerifyReport::default();
        *self.progress() = VerifyProgress { of_collections: pairs.len(), ..VerifyProgress::default() };
        for pair in pairs {
            self.doing(&pair.source.to_string());
            let mut found = CollectionReport {
                source: pair.source.clone(),
                target: pair.target.clone(),
                ..CollectionReport::default()
            };
            match self.compare_collection(pair, &mut found) {
                Ok(()) => {}
                Err(VerifyAbort::Cancelled) => return Err(VerifyAbort::Cancelled),
                Err(VerifyAbort::Failed(why)) => found.failure = Some(why),
            }
            report.collections.push(found);
            self.progress().collections += 1;
        }
        Ok(report)
    }

    pub(super) fn progress(&self) -> parking_lot::MappedMutexGuard<'_, VerifyProgress> {
        parking_lot::MutexGuard::map(self.view.lock(), |view| &mut view.progress)
    }

    fn doing(&self, what: &str) {
        self.progress().doing = what.to_owned();
    }

    /// Waits until the target has everything that was acknowledged at the source before this call.
    pub(super) fn wait_caught_up(&self) -> Result<(), VerifyAbort> {
        self.wait_passed(self.moment())
    }

    /// A moment after everything that the source has acknowledged, in the time that the task's progress is counted in.
    fn moment(&self) -> Timestamp {
        if is_scanned((self.status)().source_log.as_ref()) {
            return Timestamp::now();
        }
        match self.source.server_time(&self.context) {
            Ok(time) => Timestamp(time),
            Err(_) => self.source_time.now().plus(TICKS_LATE),
        }
    }

    fn wait_passed(&self, moment: Timestamp) -> Result<(), VerifyAbort> {
        let (mut last_reached, mut moving) = (None, Instant::now());
        loop {
            let status = (self.status)();
            let follows = matches!(status.followed, Phase::Following | Phase::CatchingUp);
            let reached = (self.reached)();
            if follows && reached.is_some_and(|reached| reached >= moment) {
                return Ok(());
            }
            if reached > last_reached || status.followed == Phase::Copying {
                (last_reached, moving) = (reached, Instant::now());
            }
            if moving.elapsed() > standstill(status.source_log.as_ref(), self.scan_interval) {
                let why = status.reason.unwrap_or_else(|| "no reason given".into());
                return Err(VerifyAbort::Failed(format!(
                    "timed out waiting for replication to reach the comparison point, so differences cannot be judged: \
                     the task is {} ({why})",
                    status.phase.name()
                )));
            }
            if self.context.cancel.sleep(POLL) {
                return Err(VerifyAbort::Cancelled);
            }
        }
    }

    /// Repeats a call until it succeeds or fails for good.
    pub(super) fn patiently<T>(&self, call: impl FnMut() -> Result<T, Error>) -> Result<T, VerifyAbort> {
        self.try_on(call, |error| Some(error))
    }

    /// The same for operations that fail for other reasons, too; `call_of` extracts the failed call.
    pub(super) fn try_on<T, E: std::fmt::Display>(
        &self,
        step: impl FnMut() -> Result<T, E>,
        call_of: impl Fn(&E) -> Option<&Error>,
    ) -> Result<T, VerifyAbort> {
        let since = Instant::now();
        let on_failure = |error: E| {
            let is_passing = call_of(&error).is_some_and(|call| retry_policy(call) != RetryPolicy::Stop);
            match is_passing && since.elapsed() <= PATIENCE {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(error.to_string()),
            }
        };
        retry(&self.context.cancel, step, on_failure).map_err(|end| match end {
            RetryEnd::Cancelled => VerifyAbort::Cancelled,
            RetryEnd::GivenUp(why) => VerifyAbort::Failed(why),
        })
    }
}

/// For how long a task may show no progress until it counts as standing still. Without a log, progress shows only
/// with each complete round.
fn standstill(log: Option<&SourceLog>, scan_interval: Duration) -> Duration {
    if is_scanned(log) { scan_interval.saturating_mul(2) + ROUND } else { STANDSTILL }
}

fn is_scanned(log: Option<&SourceLog>) -> bool {
    log.is_some_and(|log| log.kind == LogKind::Scan.name())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::milvus::testing::unanswered;
    use crate::task::spec::Selection;

    #[test]
    fn rounds_may_be_far_apart() {
        let limit = |kind: LogKind, interval| {
            let log = SourceLog { kind: kind.name(), why: String::new() };
            standstill(Some(&log), Duration::from_secs(interval)).as_secs()
        };
        assert_eq!(limit(LogKind::Scan, 10), 920);
        assert_eq!(limit(LogKind::Scan, 86_400), 173_700);
        assert_eq!(limit(LogKind::Kafka, 86_400), 120);
        assert_eq!(standstill(None, Duration::from_secs(600)), STANDSTILL);
    }

    #[test]
    fn its_log_lines_name_the_task() {
        let ((source, callers), (target, _)) = (unanswered(), unanswered());
        let setup = VerifySetup {
            task: "one-2".into(),
            source,
            target,
            scope: Scope::of(&Selection::default()),
            mapping: NameMapping::default(),
            ignore_partitions: false,
            load: LoadPolicy::default(),
            scan_interval: Duration::from_secs(10),
            status: Box::new(|| unreachable!("no server has answered")),
            reached: Box::new(|| unreachable!("no server has answered")),
            source_time: Arc::default(),
            repair: Box::new(|_| unreachable!("no server has answered")),
            cancel: Cancel::default(),
        };
        let _comparing = Verification::start(setup, VerifyRequest::default()).unwrap();
        assert_eq!(callers.next(), ("verify-one-2".into(), Some("one-2".into())));
    }
}
