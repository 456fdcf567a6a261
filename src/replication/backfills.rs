/*!
Backfills and rescans: which collection is due for one, and what follows from what a running one reports.
*/

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;

use super::backfill::{Against, BackfillDone, BackfillEvent, BackfillOutcome};
use super::backfill_queue::BackfillQueue;
use super::collection_state::CollectionState;
use super::described::Described;
use super::effect::{Effect, Effects, Metric};
use super::log_question::{BackfillStarts, LogQuestion};
use super::reconciliations::{Due, Reconciliations};
use super::stale_progress::StaleProgress;
use crate::catalog::Hint;
use crate::domain::{Channel, CollectionId};
use crate::source::{LogError, Start};
use crate::task::history::EventKind;

/// In this time the catalog has looked at every collection.
const DOUBT: Duration = Duration::from_secs(60);

/// The backfills of a task's collections.
#[derive(Debug)]
pub(super) struct Backfills {
    queue: BackfillQueue,
    /// Of a source without a log.
    reconciliations: Option<Reconciliations>,
    /// Collections without ids whose backfills fail, and since when.
    doubts: BTreeMap<CollectionId, Instant>,
    /// Whoever waits for a collection to be repaired: told by being dropped.
    repairs: BTreeMap<CollectionId, Vec<Sender<()>>>,
    /// What running backfills of these have copied is of no use.
    void: BTreeSet<CollectionId>,
    stale: StaleProgress,
}

/// What has to happen after a backfill's report.
#[derive(Debug)]
pub(super) enum BackfillStep {
    Nothing,
    /// These starts must be on disk before the backfill learns of them.
    Begin {
        starts: BackfillStarts,
        reply: Sender<BackfillStarts>,
    },
    /// A rescan is complete.
    Rescanned,
    /// A backfill is complete: the log is replayed over it from these places.
    Complete {
        surplus_rows: u64,
        replay: BTreeMap<Channel, Start>,
    },
    /// What is known of the target cannot be used: its own rows are asked instead.
    StateLost(String),
    /// It cannot be done before something changes.
    Hold(String),
}

impl Backfills {
    pub(super) fn new(reconciliations: Option<Reconciliations>) -> Backfills {
        Backfills {
            queue: BackfillQueue::default(),
            reconciliations,
            doubts: BTreeMap::new(),
            repairs: BTreeMap::new(),
            void: BTreeSet::new(),
            stale: StaleProgress::default(),
        }
    }

    pub(super) fn queue(&self) -> &BackfillQueue {
        &self.queue
    }

    /// Of a source without a log.
    pub(super) fn reconciliations(&self) -> Option<&Reconciliations> {
        self.reconciliations.as_ref()
    }

    /// A backfill of the collection starts as soon as it can, if it is to be backfilled and the catalog has told of
    /// it; else the `Ready` that follows queues it.
    pub(super) fn want(&mut self, id: CollectionId, state: &CollectionState) {
        if state.may_queue_backfill() {
            self.queue.want(id);
        }
    }

    /// Nothing of what a backfill of the collection has left counts any more. One that runs is ended: what it leaves is
    /// void, whatever it says at its end.
    pub(super) fn begin_again(&mut self, id: CollectionId, effects: &mut Effects) {
        if self.queue.is_running(id) {
            self.void.insert(id);
        } else {
            self.stale.add(id);
        }
        self.queue.cancel(id, effects);
    }

    /// The checkpoint says that the collection's backfill has not begun: it was to begin again when the task ended.
    pub(super) fn restore_unbegun(&mut self, id: CollectionId) {
        if self.reconciliations.is_none() {
            self.stale.add(id);
        }
    }

    /// Progress that is to be forgotten with a write of the checkpoint.
    pub(super) fn stale_progress(&mut self) -> &mut StaleProgress {
        &mut self.stale
    }

    /// Nothing that is kept of the collection's backfills is of use.
    pub(super) fn forget_files(&mut self, id: CollectionId) {
        self.stale.add_files(id);
    }

    /// A backfill that was under way when it was to begin again has done nothing, whatever it says at its end.
    fn unless_void(&mut self, event: BackfillEvent, is_gone: bool) -> BackfillEvent {
        let id = event.collection();
        let has_left = matches!(event, BackfillEvent::Ended(..) | BackfillEvent::Waiting(..));
        if !has_left || !self.void.remove(&id) {
            return event;
        }
        if is_gone {
            self.stale.add_files(id);
        } else {
            self.stale.add(id);
        }
        BackfillEvent::Ended(id, BackfillOutcome::Cancelled)
    }

    #[cfg(test)]
    pub(super) fn is_void(&self, id: CollectionId) -> bool {
        self.void.contains(&id)
    }

    pub(super) fn renew(&mut self, id: CollectionId, ready: &Described) {
        self.queue.renew(id, ready);
    }

    pub(super) fn cancel(&mut self, id: CollectionId, effects: &mut Effects) {
        self.queue.cancel(id, effects);
    }

    /// Whoever waits is told when the collection has been backfilled.
    pub(super) fn tell_when_repaired(&mut self, id: CollectionId, done: Sender<()>) {
        self.repairs.entry(id).or_default().push(done);
    }

    /// Those who wait for the collection's repair, which is through.
    pub(super) fn take_repairs(&mut self, id: CollectionId) -> Vec<Sender<()>> {
        self.repairs.remove(&id).unwrap_or_default()
    }

    /// The collection is gone.
    pub(super) fn remove(&mut self, id: CollectionId, effects: &mut Effects) {
        self.doubts.remove(&id);
        if self.queue.is_running(id) {
            // Should the collection come back meanwhile: what the thread still writes is not of its new life.
            self.void.insert(id);
        }
        self.stale.add_files(id);
        self.queue.remove(id, effects);
        if let Some(reconciliations) = &mut self.reconciliations {
            reconciliations.forget(id);
        }
        self.repairs.remove(&id);
    }

    /// Queues backfills of collections for which no call is under way any more, and hands over what the threads have
    /// room for.
    pub(super) fn start(
        &mut self,
        collections: &BTreeMap<CollectionId, CollectionState>,
        has_calls: impl Fn(CollectionId) -> bool,
        now: Instant,
        effects: &mut Effects,
    ) {
        for id in self.queue.take_wanted() {
            // One that is blocked is queued by the `Ready` that follows.
            let keeps_state = self.reconciliations.is_some();
            let Some(job) = collections.get(&id).and_then(|state| state.backfill_job(keeps_state)) else { continue };
            if has_calls(id) || self.queue.is_active(id) || self.stale.contains(id) {
                self.queue.want(id);
                continue;
            }
            effects.history(EventKind::Copy, format!("copying {}", job.source));
            self.queue.start(job);
        }
        self.queue.hand_over(now, effects);
    }

    /// Queues the rescans that are due.
    pub(super) fn start_rescans(&mut self, collections: &BTreeMap<CollectionId, CollectionState>, now: Instant) {
        let Some(reconciliations) = &mut self.reconciliations else { return };
        for (&id, state) in collections {
            if self.queue.is_active(id) || self.stale.contains(id) || !state.may_rescan() {
                continue;
            }
            let unless_count = match reconciliations.due(id, now) {
                Due::Now => None,
                Due::UnlessCount(count) => Some(count),
                Due::Later => continue,
            };
            if let Some(job) = state.rescan_job(unless_count) {
                self.queue.start(job);
            }
        }
    }

    /// A backfill reports. `state`: of its collection, while the task has it.
    pub(super) fn on_event(
        &mut self,
        event: BackfillEvent,
        state: Option<&mut CollectionState>,
        now: Instant,
        effects: &mut Effects,
    ) -> BackfillStep {
        match self.unless_void(event, state.is_none()) {
            BackfillEvent::Retrying(id, why) => {
                log::warn!("{why}");
                self.queue.set_error(id, why);
            }
            BackfillEvent::Began(id, reply) if !self.void.contains(&id) => return began(id, state, reply, effects),
            BackfillEvent::Began(..) => {}
            BackfillEvent::Waiting(id, why) => {
                self.queue.clear_error(id);
                effects.history(EventKind::Copy, format!("waiting: {why}"));
                self.queue.set_waiting(id, why, now);
            }
            BackfillEvent::Counted(id, total) => self.queue.set_total(id, total),
            BackfillEvent::Progress(id, rows) => {
                self.queue.clear_error(id);
                self.queue.set_progress(id, rows);
            }
            BackfillEvent::Ended(id, outcome) => return self.on_end(id, outcome, state, now, effects),
        }
        BackfillStep::Nothing
    }

    fn on_end(
        &mut self,
        id: CollectionId,
        outcome: BackfillOutcome,
        state: Option<&mut CollectionState>,
        now: Instant,
        effects: &mut Effects,
    ) -> BackfillStep {
        self.queue.clear_error(id);
        if let BackfillOutcome::Hopeless(why) = &outcome
            && self.may_be_another(id, now, effects)
        {
            self.queue.set_waiting(id, why.clone(), now);
            return BackfillStep::Nothing;
        }
        if self.queue.is_shown(id) {
            effects.push(Effect::Count(Metric::BackfillEnded(outcome.name())));
        }
        self.queue.forget(id);
        match outcome {
            BackfillOutcome::Done(done) => {
                self.doubts.remove(&id);
                state.map_or(BackfillStep::Nothing, |state| self.on_done(id, done, state, now, effects))
            }
            BackfillOutcome::Unchanged | BackfillOutcome::Cancelled => BackfillStep::Nothing,
            BackfillOutcome::StateLost(why) => BackfillStep::StateLost(why),
            BackfillOutcome::Hopeless(why) => BackfillStep::Hold(why),
        }
    }

    /// The backfill is complete. What comes next is in the log, replayed over it from before it began, as upserts
    /// until past its end; or, without a log, in the next rescan.
    fn on_done(
        &mut self,
        id: CollectionId,
        done: BackfillDone,
        state: &mut CollectionState,
        now: Instant,
        effects: &mut Effects,
    ) -> BackfillStep {
        let name = state.ready().map(|ready| ready.source.to_string()).unwrap_or_default();
        let (rows, written, removed) = (done.rows, done.changes.written, done.changes.removed);
        if let Some(reconciliations) = &mut self.reconciliations {
            reconciliations.done(id, done.began, done.count, now);
        }
        if done.against == Against::State {
            // A repair may have been asked for meanwhile: its turn is the next.
            let took = done.took.as_secs_f64();
            log::debug!("scanned {rows} rows of {name} in {took:.2} s: {written} written, {removed} removed");
            return BackfillStep::Rescanned;
        }
        let text = format!("copied {rows} rows of {name}: {written} written, {removed} removed");
        log::info!("{text}");
        effects.history(EventKind::Copy, text);
        let replay = if self.reconciliations.is_some() {
            state.rescan();
            BTreeMap::new()
        } else {
            state.stream(&done.spans);
            done.spans.into_iter().map(|(channel, span)| (channel, span.start)).collect()
        };
        self.stale.add(id);
        BackfillStep::Complete { surplus_rows: done.extra, replay }
    }

    /// The log has answered where the replay over a backfill starts, or cannot. Then the reply is dropped, and the
    /// backfill asks again later.
    pub(super) fn on_starts(
        &mut self,
        id: CollectionId,
        starts: Result<BackfillStarts, LogError>,
        reply: Sender<BackfillStarts>,
        state: Option<&mut CollectionState>,
    ) -> BackfillStep {
        match starts {
            Err(error) => {
                self.queue.set_error(id, error.to_string());
                BackfillStep::Nothing
            }
            // They are not those of the backfill that follows.
            Ok(_) if self.void.contains(&id) => BackfillStep::Nothing,
            Ok(starts) => match state.and_then(|state| state.begin_backfill(starts)) {
                Some(starts) => BackfillStep::Begin { starts, reply },
                None => BackfillStep::Nothing,
            },
        }
    }

    /// A collection without an id may be another one by now, with other fields under the same name. The catalog finds
    /// that out, and then what failed is no backfill of ours any more. True as long as that may be so.
    fn may_be_another(&mut self, id: CollectionId, now: Instant, effects: &mut Effects) -> bool {
        if id.is_given() {
            return false;
        }
        effects.push(Effect::Hint(Hint::Collection(id, 0)));
        now.saturating_duration_since(*self.doubts.entry(id).or_insert(now)) < DOUBT
    }
}

/// The first page is about to be read. Where the replay over the backfill must start has to be on disk before: an
/// interrupted backfill goes on with another attempt, and what was deleted at the source since the first one shows
/// only in the log since then.
fn began(
    id: CollectionId,
    state: Option<&mut CollectionState>,
    reply: Sender<BackfillStarts>,
    effects: &mut Effects,
) -> BackfillStep {
    let Some(state) = state else { return BackfillStep::Nothing };
    match state.backfill_starts() {
        None => BackfillStep::Nothing,
        Some(starts) if starts.is_empty() => {
            let channels = state.channels();
            effects.push(Effect::AskLog(LogQuestion::BackfillStarts { id, channels, reply }));
            BackfillStep::Nothing
        }
        Some(starts) => BackfillStep::Begin { starts: starts.clone(), reply },
    }
}
