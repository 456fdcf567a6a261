//! The catalog's thread: how it is started, spoken to and ended.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use parking_lot::Mutex;

use super::apply::{KeptFiles, TargetCatalog, TargetPolicies};
use super::clock_watch::ClockWatch;
use super::error::{CatalogError, SpawnError};
use super::event::{CatalogEvent, Hint};
use super::imports::ImportWatch;
use super::made_before::MadeBefore;
use super::opposite::{LogMarks, Opposite, OppositeServers};
use super::record::CatalogRecord;
use super::releases::Releases;
use super::reporter::Reporter;
use super::row_schemas::RowSchemas;
use super::source::SourceCatalog;
use super::source_identity::SourceGuard;
use super::step_workers::StepWorkers;
use super::steps::Steps;
use super::target_identity::TargetGuard;
use super::watch::{CatalogWatch, Safeguards};
use crate::failpoint::HandOver;
use crate::milvus::{CallContext, Cancel, Client, SourceTime};
use crate::observe::thread::ThreadSpec;
use crate::source::Log;
use crate::task::drops::{DropDesk, OnDrop};
use crate::task::history::History;
use crate::task::mapping::NameMapping;
use crate::task::noted_ends::NotedEnds;
use crate::task::paused::PausedCollections;
use crate::task::scope::Scope;
use crate::task::spec::LoadPolicy;

/// What a watcher needs.
pub struct Setup {
    /// For thread names and logs.
    pub task: String,
    /// The Milvus that is watched.
    pub source: Arc<Client>,
    /// The Milvus that is changed.
    pub target: Arc<Client>,
    /// Which collections are replicated.
    pub scope: Scope,
    /// Their names on the target.
    pub mapping: NameMapping,
    /// Do not replicate partitions.
    pub ignore_partitions: bool,
    /// The source's log, which tells who the source is.
    pub log: Arc<dyn Log>,
    /// Whether that log keeps the marks of the calls that it shows.
    pub log_marks: LogMarks,
    /// What becomes of collections that the source drops.
    pub on_drop: OnDrop,
    /// Where held drops are shown and decided.
    pub drops: Arc<DropDesk>,
    /// Collections that are left alone.
    pub paused: Arc<PausedCollections>,
    /// Which load states follow.
    pub load: LoadPolicy,
    /// How long a release must last where the source's log shows no request.
    pub release_after: Duration,
    /// The collections that both sides had before the task, if it is the opposite of another one.
    pub noted_ends: Option<Arc<NotedEnds>>,
    /// The folder of all tasks' files.
    pub data_dir: PathBuf,
    /// The folder of the record.
    pub folder: PathBuf,
    /// Gets an entry for every step on the target.
    pub history: Arc<History>,
    /// Learns the source's time.
    pub source_time: Arc<SourceTime>,
    /// Ends the watcher and its calls.
    pub cancel: Cancel,
}

/// A running watcher. Ends when cancelled; dropping it joins its thread.
pub struct Watcher {
    hints: Sender<Hint>,
    events: Receiver<CatalogEvent>,
    thread: Option<JoinHandle<()>>,
}

/// Timeout of one call about the catalog.
pub(super) const CALL_TIMEOUT: Duration = Duration::from_secs(20);
/// Hints that may wait. What more of them are about is found by the next listing.
pub(super) const MAX_HINTS: usize = 256;
/// Events that may wait for the task.
pub(super) const MAX_EVENTS: usize = 16;

impl Watcher {
    pub(super) fn new(hints: Sender<Hint>, events: Receiver<CatalogEvent>, thread: JoinHandle<()>) -> Watcher {
        Watcher { hints, events, thread: Some(thread) }
    }

    /// Where its events arrive.
    pub fn events(&self) -> &Receiver<CatalogEvent> {
        &self.events
    }

    /// Asks for a comparison soon. False when it has to be asked again later: too many hints wait already.
    pub fn hint(&self, hint: Hint) -> bool {
        HandOver::CatalogHint.try_send(&self.hints, hint).is_ok()
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.hints = bounded(0).0;
        // Received until the thread has ended: each answer channel in an event must be dropped, so that a thread that
        // waits for the answer learns that none will come. A channel that only lost its receiver would keep them.
        self.events.iter().for_each(drop);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!("the catalog watcher panicked");
        }
    }
}

/// Starts a watcher.
///
/// # Errors
/// The record cannot be read, or the system refuses another thread.
pub fn spawn(setup: Setup) -> Result<Watcher, SpawnError> {
    let record = CatalogRecord::open(&setup.folder)?;
    let guards = Guards {
        source: SourceGuard::open(&setup.folder, Arc::clone(&setup.log))?,
        target: TargetGuard::open(&setup.folder)?,
    };
    let (hints, hint_receiver) = bounded(MAX_HINTS);
    let (events, event_receiver) = bounded(MAX_EVENTS);
    let thread = ThreadSpec::of_task("catalog", &setup.task);
    let call = CallContext { timeout: CALL_TIMEOUT, cancel: setup.cancel.clone() };
    let (time, history) = (Arc::clone(&setup.source_time), Arc::clone(&setup.history));
    let clock = ClockWatch::new(Arc::clone(&setup.source), &call, time, history);
    let imports = ImportWatch::open(&setup.folder, Arc::clone(&setup.source), &call)?;
    let watch = assemble(setup, record, guards, events).map_err(SpawnError::Thread)?;
    let thread = thread.spawn(move || run(watch, clock, imports, &hint_receiver)).map_err(SpawnError::Thread)?;
    Ok(Watcher::new(hints, event_receiver, thread))
}

/// Who the two servers are.
struct Guards {
    source: SourceGuard,
    target: TargetGuard,
}

fn assemble(
    setup: Setup,
    record: CatalogRecord,
    guards: Guards,
    events: Sender<CatalogEvent>,
) -> io::Result<CatalogWatch> {
    let call = CallContext { timeout: CALL_TIMEOUT, cancel: setup.cancel.clone() };
    let reporter = Reporter::new(events, setup.history);
    let (source, target) = (Arc::clone(&setup.source), Arc::clone(&setup.target));
    let opposite = Opposite::new(OppositeServers { source, target, call: call.clone() }, setup.log_marks);
    let source = SourceCatalog::new(setup.source, call.clone(), setup.scope);
    let policies =
        TargetPolicies { ignore_partitions: setup.ignore_partitions, on_drop: setup.on_drop, load: setup.load };
    let made_before = MadeBefore::open(&setup.data_dir);
    let kept = KeptFiles { record, guard: guards.target, schemas: RowSchemas::of(&setup.folder) };
    let target = TargetCatalog::new(setup.target, call, reporter.clone(), kept, policies);
    let steps = Arc::new(Steps {
        source,
        target: target.with_made_before(made_before).with_noted_ends(setup.noted_ends),
        mapping: setup.mapping,
        reporter,
        paused: setup.paused,
        releases: Mutex::new(Releases::new(setup.release_after)),
        loading: Mutex::default(),
        collections_brake: Mutex::default(),
        view: Mutex::default(),
    });
    let workers = StepWorkers::start(&setup.task, Arc::clone(&steps))?;
    let safeguards = Safeguards { guard: guards.source, desk: setup.drops, opposite };
    Ok(CatalogWatch::new(steps, workers, safeguards, setup.cancel))
}

fn run(mut watch: CatalogWatch, clock: ClockWatch, imports: ImportWatch, hints: &Receiver<Hint>) {
    run_rounds(&mut watch, clock, imports, hints);
    watch.leave();
}

fn run_rounds(watch: &mut CatalogWatch, mut clock: ClockWatch, mut imports: ImportWatch, hints: &Receiver<Hint>) {
    let mut waiting: Vec<Hint> = Vec::new();
    loop {
        let started = Instant::now();
        clock.look();
        let Ok(pause) = watch.begin_round(&mut waiting) else { return };
        match imports.look(watch) {
            Ok(()) => {}
            Err(CatalogError::Stopping) => return,
            // Looked for again, and compared once more.
            Err(error) => log::warn!("{error}"),
        }
        if watch.attend(hints, started + pause, &mut waiting).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod alias_tests;
#[cfg(test)]
mod drop_tests;
#[cfg(test)]
mod fault_tests;
#[cfg(test)]
mod mark_tests;
#[cfg(test)]
mod pair_tests;
#[cfg(test)]
mod restored_tests;
#[cfg(test)]
mod side_by_side_tests;
#[cfg(test)]
mod tour_tests;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::event::CallsInFlight;
    use crate::domain::CollectionId;

    #[test]
    fn a_watcher_that_waits_for_an_answer_ends() {
        let ((hints, _asked), (sender, events)) = (bounded(MAX_HINTS), bounded(MAX_EVENTS));
        let (answer, answered) = bounded::<()>(1);
        let calls = CallsInFlight::Awaited;
        sender.send(CatalogEvent::Block { id: CollectionId(1), calls, answer }).unwrap();
        let waits = ThreadSpec::of_server("waits").spawn(move || {
            let _its_own = sender;
            answered.recv().unwrap_err();
        });
        let watcher = Watcher { hints, events, thread: Some(waits.unwrap()) };
        let (ended_sender, ended) = bounded(1);
        let drops = ThreadSpec::of_server("drops").spawn(move || {
            drop(watcher);
            ended_sender.send(())
        });
        ended.recv_timeout(Duration::from_secs(30)).unwrap();
        drops.unwrap().join().unwrap().unwrap();
    }
}
