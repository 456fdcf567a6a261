//! The thread of one comparison.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};
use parking_lot::Mutex;

use super::VerifyRefused;
use super::report::{CollectionReport, Outcome, Report, VerifyProgress, VerifyRequest, VerifyState, VerifyView};
use crate::domain::{LogKind, Timestamp};
use crate::milvus::{CallContext, Cancel, Client, Error};
use crate::target::{Backoff, Verdict, verdict};
use crate::task::engine::{Phase, SourceLog, TaskStatus};
use crate::task::mapping::NameMapping;
use crate::task::scope::Scope;

const CALL_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a call that fails is tried again.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often the task is asked how far it has come.
const POLL: Duration = Duration::from_millis(50);
/// How long a task that reads a log may stand still behind the source until the comparison gives up.
const STANDSTILL: Duration = Duration::from_secs(120);
/// For how long a round may read rows until it seems to stand still.
const ROUND: Duration = Duration::from_secs(15 * 60);

/// What a comparison needs to know of its task.
pub(crate) struct VerifySetup {
    /// For thread names.
    pub(crate) task: String,
    pub(crate) source: Client,
    pub(crate) target: Client,
    pub(crate) scope: Scope,
    pub(crate) mapping: NameMapping,
    pub(crate) ignore_partitions: bool,
    /// How often a source without a log is scanned.
    pub(crate) scan_interval: Duration,
    /// How the task is.
    pub(crate) status: Box<dyn Fn() -> TaskStatus + Send>,
    /// Hands collections to the task, to be mended.
    pub(crate) mender: Mender,
    /// Ends with the task.
    pub(crate) cancel: Cancel,
}

/// Hands collections (database and name at the source) to the task. What it answers is closed when all of them are done with.
pub(crate) type Mender = Box<dyn Fn(Vec<(String, String)>) -> Receiver<()> + Send>;

/// A comparison that runs or has ended.
pub(crate) struct Verification {
    view: Arc<Mutex<VerifyView>>,
    cancel: Cancel,
    thread: Option<JoinHandle<()>>,
}

/// A collection on both sides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pair {
    pub(crate) source: (String, String),
    pub(crate) target: (String, String),
}

/// Why a comparison goes no further.
#[derive(Debug, thiserror::Error)]
pub(super) enum Halt {
    /// It was told to end.
    #[error("cancelled")]
    Cancelled,
    /// It cannot be done: why.
    #[error("{0}")]
    Failed(String),
}

impl Verification {
    pub(crate) fn start(setup: VerifySetup, request: VerifyRequest) -> Result<Verification, VerifyRefused> {
        let progress = VerifyProgress { doing: "connecting".into(), ..VerifyProgress::default() };
        let view = Arc::new(Mutex::new(VerifyView { request, state: VerifyState::Running, progress }));
        let cancel = setup.cancel.part();
        let name = format!("verify-{}", setup.task);
        let context = CallContext { timeout: CALL_TIMEOUT, cancel: cancel.clone() };
        let comparison = Comparison {
            source: Arc::new(setup.source),
            target: Arc::new(setup.target),
            scope: setup.scope,
            mapping: setup.mapping,
            ignore_partitions: setup.ignore_partitions,
            scan_interval: setup.scan_interval,
            status: setup.status,
            mender: setup.mender,
            context,
            request,
            view: Arc::clone(&view),
        };
        let thread = std::thread::Builder::new()
            .name(name)
            .spawn(move || comparison.run())
            .map_err(|error| VerifyRefused::Thread(error.to_string()))?;
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
            log::error!("a comparing thread panicked");
        }
    }
}

pub(super) struct Comparison {
    pub(super) source: Arc<Client>,
    pub(super) target: Arc<Client>,
    scope: Scope,
    mapping: NameMapping,
    pub(super) ignore_partitions: bool,
    scan_interval: Duration,
    status: Box<dyn Fn() -> TaskStatus + Send>,
    mender: Mender,
    pub(super) context: CallContext,
    pub(super) request: VerifyRequest,
    view: Arc<Mutex<VerifyView>>,
}

impl Comparison {
    fn run(self) {
        let state = match self.compare_and_repair() {
            Ok(outcome) => VerifyState::Done(Box::new(outcome)),
            Err(Halt::Cancelled) => VerifyState::Cancelled,
            Err(Halt::Failed(why)) => {
                let report = Report { failure: Some(why), ..Report::default() };
                VerifyState::Done(Box::new(Outcome { report, before: None }))
            }
        };
        self.view.lock().state = state;
    }

    fn compare_and_repair(&self) -> Result<Outcome, Halt> {
        for client in [&self.source, &self.target] {
            self.patiently(|| client.connect(&self.context.cancel))?;
        }
        let pairs = self.pairs()?;
        let before = self.compare_all(&pairs)?;
        if !self.request.repair {
            return Ok(Outcome { report: before, before: None });
        }
        let differing: Vec<Pair> = pairs
            .into_iter()
            .zip(&before.collections)
            .filter(|(_, report)| report.differs())
            .map(|(pair, _)| pair)
            .collect();
        if differing.is_empty() {
            return Ok(Outcome { report: before.clone(), before: Some(before) });
        }
        let report = match self.mend(&differing) {
            Ok(after) => after.with_uncompared(&before),
            Err(Halt::Cancelled) => return Err(Halt::Cancelled),
            Err(Halt::Failed(why)) => Report { failure: Some(why), ..Report::default() },
        };
        Ok(Outcome { report, before: Some(before) })
    }

    /// Hands collections to the task, waits, and compares them again.
    fn mend(&self, differing: &[Pair]) -> Result<Report, Halt> {
        self.doing(&format!("repairing {} collections", differing.len()));
        let mended = (self.mender)(differing.iter().map(|pair| pair.source.clone()).collect());
        loop {
            match mended.recv_timeout(POLL) {
                Err(RecvTimeoutError::Disconnected) => break,
                Ok(()) | Err(RecvTimeoutError::Timeout) if self.context.cancel.is_cancelled() => {
                    return Err(Halt::Cancelled);
                }
                Ok(()) | Err(RecvTimeoutError::Timeout) => {}
            }
        }
        self.wait_passed(Timestamp::now())?;
        self.compare_all(differing)
    }

    /// Every collection of the task, with its place on the target.
    fn pairs(&self) -> Result<Vec<Pair>, Halt> {
        let mut pairs = Vec::new();
        for db in self.patiently(|| self.source.list_databases(&self.context))? {
            if !self.scope.touches_database(&db) {
                continue;
            }
            for collection in self.patiently(|| self.source.list_collections(&db, &self.context))? {
                if self.scope.matches(&db, &collection.name) {
                    let target = self.mapping.map(&db, &collection.name);
                    pairs.push(Pair { source: (db.clone(), collection.name), target });
                }
            }
        }
        pairs.sort_by(|a, b| a.source.cmp(&b.source));
        Ok(pairs)
    }

    fn compare_all(&self, pairs: &[Pair]) -> Result<Report, Halt> {
        let mut report = Report::default();
        *self.progress() = VerifyProgress { of_collections: pairs.len(), ..VerifyProgress::default() };
        for pair in pairs {
            self.doing(&format!("{}.{}", pair.source.0, pair.source.1));
            let mut found = CollectionReport {
                source: pair.source.clone(),
                target: pair.target.clone(),
                ..CollectionReport::default()
            };
            match self.compare_collection(pair, &mut found) {
                Ok(()) => {}
                Err(Halt::Cancelled) => return Err(Halt::Cancelled),
                Err(Halt::Failed(why)) => found.failure = Some(why),
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

    /// Waits until the target has everything that was acknowledged at the source before `moment`.
    pub(super) fn wait_passed(&self, moment: Timestamp) -> Result<(), Halt> {
        let (mut last_lag, mut moving) = (None, Instant::now());
        loop {
            let asked = Timestamp::now();
            let status = (self.status)();
            let follows = matches!(status.phase, Phase::Following | Phase::CatchingUp);
            // A lag of L at a time T says that everything up to T - L is there.
            let reached = status.lag_ms.map(|lag| asked.minus(Duration::from_millis(lag)));
            if follows && reached.is_some_and(|reached| reached >= moment) {
                return Ok(());
            }
            if reached > last_lag || status.phase == Phase::Copying {
                (last_lag, moving) = (reached, Instant::now());
            }
            if moving.elapsed() > standstill(status.source_log.as_ref(), self.scan_interval) {
                let why = status.reason.unwrap_or_else(|| "no reason given".into());
                return Err(Halt::Failed(format!(
                    "the task does not get past the moment of the first look, so nothing can be said of what differed then: \
                     it is {} ({why})",
                    status.phase.name()
                )));
            }
            if self.context.cancel.sleep(POLL) {
                return Err(Halt::Cancelled);
            }
        }
    }

    /// Tries a call until it succeeds or there is no hope for it.
    pub(super) fn patiently<T>(&self, call: impl FnMut() -> Result<T, Error>) -> Result<T, Halt> {
        self.try_on(call, |error| Some(error))
    }

    /// The same for what fails with a call among other things.
    pub(super) fn try_on<T, E: std::fmt::Display>(
        &self,
        mut step: impl FnMut() -> Result<T, E>,
        call_of: impl Fn(&E) -> Option<&Error>,
    ) -> Result<T, Halt> {
        let mut backoff = Backoff::default();
        let since = Instant::now();
        loop {
            let error = match step() {
                Ok(value) => return Ok(value),
                Err(_) if self.context.cancel.is_cancelled() => return Err(Halt::Cancelled),
                Err(error) => error,
            };
            let is_passing = call_of(&error).is_some_and(|call| verdict(call) != Verdict::Stop);
            if !is_passing || since.elapsed() > PATIENCE {
                return Err(Halt::Failed(error.to_string()));
            }
            if self.context.cancel.sleep(backoff.wait()) {
                return Err(Halt::Cancelled);
            }
        }
    }
}

/// How long a task may show no progress until it stands still. Without a log it shows some with each complete round alone.
fn standstill(log: Option<&SourceLog>, scan_interval: Duration) -> Duration {
    match log {
        Some(log) if log.kind == LogKind::Scan.name() => scan_interval.saturating_mul(2) + ROUND,
        _ => STANDSTILL,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
