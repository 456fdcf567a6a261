/*!
The catalog's rounds: what the source has now, what follows from that, and the steps that are to be taken.

Listings are cheap and taken every time; a single collection is described when a hint or its listing calls for it, or
when its turn comes. A round only plans: its steps are taken by threads beside it ([`StepWorkers`]), so that neither the
next listing nor a hint waits for a collection. All that a round decides by is in the hands of one thread.
*/

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, select};

use super::agenda::{Agenda, CatalogStep, PlannedStep, StepPriority, TargetLook};
use super::database_looks::DatabaseLooks;
use super::drop_brake::DropBrake;
use super::dropped::Dropped;
use super::error::CatalogError;
use super::event::{CatalogEvent, HeldCollection, Hint};
use super::object_locks::{CatalogObject, ObjectLocks};
use super::opposite::Opposite;
use super::periodic_describe::{DescribeDepth, PeriodicDescribe};
use super::retries::{Retries, RetrySubject};
use super::source_identity::{SourceGuard, SourceVerdict};
use super::step_workers::{StepReport, StepWorkers, WORKERS, WorkerReport};
use super::steps::{RoundView, StepEnd, Steps};
use crate::domain::CollectionId;
use crate::milvus::Cancel;
use crate::task::drops::DropDesk;

/// Time between two listings.
pub(super) const LISTING_INTERVAL: Duration = Duration::from_millis(500);
/// So many steps at once about collections that have failed before: the others never wait for them alone.
const MOST_IN_TROUBLE: usize = WORKERS / 2;
/// So many steps at once that nothing calls for: a hint finds a thread that has nothing to do.
const MOST_TOURS: usize = 2;

/// The owners that a comparison brings together.
pub(super) struct CatalogWatch {
    pub(super) steps: Arc<Steps>,
    workers: StepWorkers,
    locks: ObjectLocks,
    pub(super) agenda: Agenda,
    /// What is under way, and how urgent it is.
    under_way: BTreeMap<RetrySubject, StepPriority>,
    /// Nothing begins after a listing that failed: nobody knows who answers at the source's address.
    may_begin: bool,
    cancel: Cancel,
    pub(super) guard: SourceGuard,
    /// Of the last listing.
    pub(super) verdict: SourceVerdict,
    pub(super) dropped: Dropped,
    pub(super) databases_brake: DropBrake<String>,
    /// Collections of ours whose drop the source's log shows.
    pub(super) shown_drops: BTreeSet<CollectionId>,
    /// Held drops of collections that a user has confirmed since.
    pub(super) approved: BTreeSet<CollectionId>,
    /// Held drops that a user has discarded, until that is carried out.
    pub(super) discarded: BTreeSet<CollectionId>,
    /// Databases whose held drops a user has confirmed since.
    pub(super) approved_databases: BTreeSet<String>,
    pub(super) desk: Arc<DropDesk>,
    pub(super) periodic: PeriodicDescribe,
    pub(super) database_looks: DatabaseLooks,
    pub(super) retries: Retries,
    /// Collections to be looked at on the target, until that was done.
    pub(super) looks: BTreeMap<CollectionId, TargetLook>,
    /// The highest question asked before the current round began.
    generation: u64,
    first_comparison: FirstComparison,
    /// Whether a task in the opposite direction runs.
    pub(super) opposite: Opposite,
}

/// How far the first comparison of everything has come.
enum FirstComparison {
    NotBegun,
    /// Collections that were not tried yet.
    Underway(BTreeSet<CollectionId>),
    Through,
}

/// What keeps a source in trouble from harming the target.
pub(super) struct Safeguards {
    /// Whether the source is the one that is followed.
    pub(super) guard: SourceGuard,
    /// Drops that wait for a user.
    pub(super) desk: Arc<DropDesk>,
    /// Whether a task in the opposite direction runs.
    pub(super) opposite: Opposite,
}

impl CatalogWatch {
    pub(super) fn new(steps: Arc<Steps>, workers: StepWorkers, safeguards: Safeguards, cancel: Cancel) -> CatalogWatch {
        let Safeguards { guard, desk, opposite } = safeguards;
        CatalogWatch {
            steps,
            workers,
            locks: ObjectLocks::default(),
            agenda: Agenda::default(),
            under_way: BTreeMap::new(),
            may_begin: false,
            retries: Retries::new(cancel.clone()),
            cancel,
            guard,
            verdict: SourceVerdict::Unsure,
            dropped: Dropped::default(),
            databases_brake: DropBrake::default(),
            shown_drops: BTreeSet::new(),
            approved: BTreeSet::new(),
            discarded: BTreeSet::new(),
            approved_databases: BTreeSet::new(),
            desk,
            periodic: PeriodicDescribe::new(Instant::now()),
            looks: BTreeMap::new(),
            database_looks: DatabaseLooks::default(),
            generation: 0,
            first_comparison: FirstComparison::NotBegun,
            opposite,
        }
    }

    /// One comparison, which takes the hints once the source has been listed, and begins what follows from it. Answers
    /// how long to wait for the next one.
    pub(super) fn begin_round(&mut self, hints: &mut Vec<Hint>) -> Result<Duration, CatalogError> {
        self.may_begin = false;
        let admitted = self.admit(hints);
        let pause = match admitted.and_then(|admission| self.run_admitted(admission, hints)) {
            Ok(pause) => pause,
            Err(error @ (CatalogError::Stopping | CatalogError::OtherSource(_))) => return Err(self.end(error)),
            Err(error @ CatalogError::Unprotected(_)) => {
                self.retries.source_failed(&error);
                LISTING_INTERVAL
            }
            Err(error) => {
                self.disturbed();
                self.retries.source_failed(&error).max(LISTING_INTERVAL)
            }
        };
        self.workers.trim(Instant::now());
        self.retries.report(&self.steps.reporter)?;
        if self.cancel.is_cancelled() { Err(CatalogError::Stopping) } else { Ok(pause) }
    }

    /// Takes what steps have come to, and begins others in their place, until it is time for the next round. A hint
    /// makes it time.
    pub(super) fn attend(
        &mut self,
        hints: &Receiver<Hint>,
        until: Instant,
        waiting: &mut Vec<Hint>,
    ) -> Result<(), CatalogError> {
        let reports = self.workers.reports().clone();
        loop {
            select! {
                recv(hints) -> hint => {
                    waiting.push(hint.map_err(|_| CatalogError::Stopping)?);
                    waiting.extend(hints.try_iter());
                    return Ok(());
                }
                recv(reports) -> report => self.take_report(report.map_err(|_| CatalogError::Stopping)?)?,
                default(until.saturating_duration_since(Instant::now())) => return Ok(()),
            }
        }
    }

    /// Nothing follows this error.
    fn end(&self, error: CatalogError) -> CatalogError {
        if let CatalogError::OtherSource(why) = error
            && let Err(error) = self.steps.reporter.send(CatalogEvent::Reconnect(why))
        {
            log::debug!("{error}");
        }
        CatalogError::Stopping
    }

    /// The source did not answer.
    fn disturbed(&mut self) {
        self.guard.interrupted();
        self.steps.releases.lock().disturbed(Instant::now());
    }

    pub(super) fn compare(&mut self, hints: &mut Vec<Hint>) -> Result<(), CatalogError> {
        let loads_changed = self.list()?;
        self.retries.source_answered();
        let hints = std::mem::take(hints);
        self.generation = self.generation.max(hints.iter().map(Hint::question).max().unwrap_or(0));
        self.note_shown_drops(&hints);
        self.show_round();
        // First of all: whatever goes wrong from here on, they are on the agenda.
        self.take_hints(&hints)?;
        self.steps.target.look_at_server()?;
        self.look_at_targets_past()?;
        self.drop_missing()?;
        self.watch_releases();
        self.look_at_target();
        self.plan_due(loads_changed);
        self.plan_tours();
        self.settle_restored()?;
        self.show_round();
        self.follow_first_comparison()?;
        self.may_begin = true;
        self.begin_steps();
        Ok(())
    }

    /// Shows the steps what the round has found out.
    fn show_round(&self) {
        let record = self.steps.target.record();
        *self.steps.view.lock() = Arc::new(RoundView {
            generation: self.generation,
            verdict: self.verdict,
            is_restored: self.guard.is_restored(),
            missing: self.dropped.certain(|id| record.contains(id)).into_iter().collect(),
            shown_drops: self.shown_drops.clone(),
        });
    }

    /// Lists the source, and once more at once when a collection is missing, so that a drop need not wait for the
    /// next round. Answers the collections whose load state has changed.
    fn list(&mut self) -> Result<BTreeSet<CollectionId>, CatalogError> {
        let mut changed = self.list_once()?;
        if self.dropped.has_new() {
            changed.extend(self.list_once()?);
        }
        Ok(changed)
    }

    fn list_once(&mut self) -> Result<BTreeSet<CollectionId>, CatalogError> {
        let (source, record) = (&self.steps.source, self.steps.target.record());
        let listing = source.read(record)?;
        self.guard.note_losses(source.losses());
        let has_come_back = self.guard.has_come_back();
        self.verdict = self.guard.recognise(&listing, record, source.address())?;
        if self.verdict == SourceVerdict::NewLog {
            return Err(CatalogError::OtherSource(format!(
                "the source {} has another log now: it is opened again, and collections whose place is gone are copied",
                source.address()
            )));
        }
        if has_come_back {
            self.ask_log_about_missing(&listing)?;
        }
        let changed = source.accept(listing, record)?;
        self.dropped.count(&record.ids(), |id| source.is_listed(id));
        self.plan_databases()?;
        Ok(changed)
    }

    pub(super) fn plan_visit(&mut self, id: CollectionId, depth: DescribeDepth, priority: StepPriority) {
        let look = self.looks.get(&id).copied().unwrap_or(TargetLook::None);
        self.agenda.add(CatalogStep::Visit { id, depth, look }, priority);
    }

    /// The collections that the listing calls for, but for those that failed and must wait.
    fn plan_due(&mut self, loads_changed: BTreeSet<CollectionId>) {
        let mut due = loads_changed;
        let is_under_way = |id: &CollectionId| self.under_way.contains_key(&RetrySubject::Collection(*id));
        due.extend(self.steps.source.outdated().into_iter().filter(|id| !is_under_way(id)));
        due.extend(self.steps.releases.lock().due(Instant::now()));
        due.extend(self.loaded_since());
        let is_listed = |id| self.steps.source.is_listed(id) && !is_under_way(&id);
        due.extend(self.steps.target.lost_loads(is_listed));
        due.extend(self.looks.keys().filter(|id| !is_under_way(id)));
        due.retain(|id| !self.steps.paused.contains(*id) || self.looks.contains_key(id));
        due.retain(|id| self.retries.is_due(RetrySubject::Collection(*id)));
        for id in due {
            let is_new = !self.steps.target.is_created(id);
            let priority = if is_new { StepPriority::New } else { StepPriority::Outdated };
            self.plan_visit(id, DescribeDepth::Whole, priority);
        }
    }

    /// Plans what hints are about. Questions about what is not listed are answered at once.
    fn take_hints(&mut self, hints: &[Hint]) -> Result<(), CatalogError> {
        let steps = Arc::clone(&self.steps);
        let source = &steps.source;
        for hint in hints {
            let listed = match hint {
                Hint::Collection(id, _) | Hint::Dropped(id) if source.is_listed(*id) => Some(*id),
                // What is being dropped is answered by `Dropped`; what exists without being listed has no answer yet.
                Hint::Collection(id, _) | Hint::Dropped(id) if steps.target.record().contains(*id) => None,
                Hint::Collection(id, _) | Hint::Dropped(id) => {
                    steps.reporter.send(CatalogEvent::Absent(*id))?;
                    None
                }
                Hint::Named { db, collection } => source.listed_as(db, collection),
                Hint::Release { collection, mark } => {
                    let id = source.listed_as_ref(collection);
                    // What came from the target is no wish of a user here.
                    if let Some(id) = id.filter(|id| !steps.target.is_from_there(*id, *mark)) {
                        steps.releases.lock().requested(id, Instant::now());
                    }
                    id
                }
                Hint::TargetDrift(id) | Hint::Resync(id) => {
                    if matches!(hint, Hint::Resync(_)) {
                        steps.target.bring_back(*id)?;
                    }
                    self.look(*id, TargetLook::Parts, StepPriority::Hinted);
                    None
                }
                Hint::DatabaseCreated { .. } | Hint::Anything => None,
            };
            if let Some(id) = listed {
                self.plan_visit(id, DescribeDepth::Whole, StepPriority::Hinted);
            }
        }
        Ok(())
    }

    /// Lets the time of releases begin anew while the source shows less than it will have, and tells of those that
    /// take their time.
    fn watch_releases(&self) {
        let (steps, now) = (&self.steps, Instant::now());
        let mut releases = steps.releases.lock();
        if steps.source.is_loading() {
            releases.disturbed(now);
        }
        let minutes = releases.lasting().as_secs_f64() / 60.0;
        for (id, load) in releases.untold(now) {
            let Some(name) = steps.source.name_of(id) else { continue };
            steps.reporter.done(&format!(
                "{name} is {load} at the source, and its log shows no request for that: the target follows when it has \
                 lasted for {minutes:.1} min"
            ));
        }
    }

    /// Collections that were being loaded when described, and are not any more.
    fn loaded_since(&self) -> Vec<CollectionId> {
        let mut loading = self.steps.loading.lock();
        loading.extract_if(.., |id| !self.steps.source.is_loading_now(*id)).collect()
    }

    pub(super) fn is_under_way(&self, subject: &RetrySubject) -> bool {
        self.under_way.contains_key(subject)
    }

    /// Begins steps as long as there is room for them.
    fn begin_steps(&mut self) {
        while self.may_begin && self.workers.has_room() && !self.cancel.is_cancelled() {
            let count = |is_one: &dyn Fn(&RetrySubject, StepPriority) -> bool| {
                self.under_way.iter().filter(|(subject, priority)| is_one(subject, **priority)).count()
            };
            let has_trouble = |subject: &RetrySubject| self.retries.is_in_trouble(subject);
            let in_trouble = count(&|subject, _| has_trouble(subject));
            let tours = count(&|_, priority| priority == StepPriority::Tour);
            let is_looking = self.is_under_way(&RetrySubject::Look);
            let objects = |planned: &PlannedStep| -> Option<BTreeSet<CatalogObject>> {
                let is_tour = planned.place.priority == StepPriority::Tour;
                let is_full = is_tour && tours >= MOST_TOURS
                    || is_looking && matches!(planned.step, CatalogStep::Look(_))
                    || in_trouble >= MOST_IN_TROUBLE && has_trouble(&planned.step.subject());
                (!is_full).then(|| self.steps.objects_of(&planned.step))
            };
            let Some((planned, locks)) = self.agenda.next(&self.locks, objects) else { return };
            self.under_way.insert(planned.step.subject(), planned.place.priority);
            self.workers.send(planned, locks);
        }
    }

    /// Takes what a step has come to, and begins others in its place.
    fn take_report(&mut self, report: WorkerReport) -> Result<(), CatalogError> {
        let Some(report) = self.workers.note(report) else { return Ok(()) };
        self.settle_step(report).map_err(|error| self.end(error))?;
        self.follow_first_comparison()?;
        self.begin_steps();
        self.retries.report(&self.steps.reporter)
    }

    /// What it had to itself is free once this has returned: nothing else about it is reported before.
    fn settle_step(&mut self, report: StepReport) -> Result<(), CatalogError> {
        let StepReport { planned, end, locks } = report;
        self.under_way.remove(&planned.step.subject());
        let is_done = !matches!(&end, StepEnd::Tried { outcome: Err(_), .. });
        match end {
            StepEnd::Tried { outcome: Err(CatalogError::InUse(in_use)), .. } => {
                self.agenda.put_back(planned, in_use.0);
                return Ok(());
            }
            StepEnd::Tried { outcome: Err(error @ CatalogError::OtherSource(_)), .. } => return Err(error),
            StepEnd::Tried { id, object, outcome } => {
                self.settle_tried(id.map_or(planned.step.subject(), RetrySubject::Collection), &object, outcome)?;
            }
            StepEnd::Looked(look) => self.settle_look(look)?,
            StepEnd::Idle => {
                let subject = planned.step.subject();
                if matches!(subject, RetrySubject::Collection(id) if self.steps.paused.contains(id)) {
                    self.retries.pass_over(subject);
                }
            }
        }
        if let CatalogStep::Visit { id, look, .. } = planned.step {
            if is_done && self.looks.get(&id).is_some_and(|wanted| *wanted <= look) {
                self.looks.remove(&id);
            }
            if let FirstComparison::Underway(untried) = &mut self.first_comparison {
                untried.remove(&id);
            }
        }
        drop(locks);
        Ok(())
    }

    /// Tells the task when everything has been tried once.
    fn follow_first_comparison(&mut self) -> Result<(), CatalogError> {
        let Steps { source, reporter, .. } = &*self.steps;
        if matches!(self.first_comparison, FirstComparison::NotBegun) {
            self.first_comparison = FirstComparison::Underway(source.outdated().into_iter().collect());
        }
        let FirstComparison::Underway(untried) = &mut self.first_comparison else { return Ok(()) };
        untried.retain(|id| source.is_listed(*id));
        if untried.is_empty() {
            self.first_comparison = FirstComparison::Through;
            reporter.send(CatalogEvent::Settled)?;
        }
        Ok(())
    }

    /// Something was tried.
    pub(super) fn settle_tried(
        &mut self,
        subject: RetrySubject,
        object: &str,
        outcome: Result<(), CatalogError>,
    ) -> Result<(), CatalogError> {
        if outcome.as_ref().is_err_and(CatalogError::is_silence_of_source) {
            self.disturbed();
        }
        match (subject, outcome) {
            (RetrySubject::Collection(id), Err(error))
                if error.is_final() && !error.is_about_task() && !self.cancel.is_cancelled() =>
            {
                self.hold_collection(id, object, &error)
            }
            (subject, outcome) => self.retries.settle(subject, &object, outcome, &self.steps.reporter),
        }
    }

    /// One collection stands still, and the others go on.
    fn hold_collection(&mut self, id: CollectionId, object: &str, error: &CatalogError) -> Result<(), CatalogError> {
        self.retries.hold(id);
        let adopted = self.steps.target.record().get(id).is_some_and(|replicated| replicated.adopted);
        let (source, why) = (object.to_owned(), error.to_string());
        self.steps.reporter.send(CatalogEvent::Held(HeldCollection { id, source, why, adopted }))
    }

    /// One round with all that follows from it.
    #[cfg(test)]
    pub(super) fn run_round(&mut self, hints: &mut Vec<Hint>) -> Result<Duration, CatalogError> {
        let pause = self.begin_round(hints)?;
        while self.under_way() > 0 {
            self.take_next_report()?;
        }
        assert!(self.agenda.is_empty() || !self.may_begin, "steps that wait for nothing");
        Ok(pause)
    }

    #[cfg(test)]
    pub(super) fn workers_mut(&mut self) -> &mut StepWorkers {
        &mut self.workers
    }

    /// Steps under way.
    #[cfg(test)]
    pub(super) fn under_way(&self) -> usize {
        self.under_way.len()
    }

    #[cfg(test)]
    pub(super) fn take_next_report(&mut self) -> Result<(), CatalogError> {
        let report = self.workers.reports().recv().map_err(|_| CatalogError::Stopping)?;
        self.take_report(report)
    }
}
