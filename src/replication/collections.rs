/*!
The collections of a task: which there are, what the catalog is asked and wants of them, and their backfills. The life
of a single one is in [`super::collection_state`].
*/

mod blocks;
mod holds;
mod overview;
mod requests;
#[cfg(test)]
mod sight;

pub(super) use self::overview::PAUSED;
#[cfg(test)]
pub(super) use self::sight::{Reasons, Rows, Running, Sight};

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;

use super::aside::Readiness;
use super::backfill::{BackfillEvent, BackfillOutcome, SurplusRows};
use super::backfill_queue::BackfillQueue;
use super::backfills::{BackfillStep, Backfills};
use super::catalog_questions::CatalogQuestions;
use super::checkpoint::CollectionCheckpoint;
use super::collection_state::{AfterJoin, AfterReady, CollectionState, HoldState, JoinPoints};
use super::effect::{Effect, Effects, Metric};
use super::event::RepairOrder;
use super::held::HeldCollections;
use super::joins::Joins;
use super::log_question::{BackfillStarts, LogQuestion};
use super::reconciliations::Reconciliations;
use super::row_source::RowSource;
use super::stale_progress::StaleProgress;
use crate::catalog::{Hint, ReadyCollection};
use crate::domain::{Channel, CollectionId, Timestamp};
use crate::pipeline::WritableCollection;
use crate::source::{LogError, Start};

/// All collections.
#[derive(Debug)]
pub(super) struct Collections {
    by_id: BTreeMap<CollectionId, CollectionState>,
    /// Not at the source, or not for this task: their records were passed over.
    passed_over: BTreeSet<CollectionId>,
    /// Rows up to here are gone: a truncation has been carried out. Kept until the channel has been acknowledged past
    /// it.
    truncated: BTreeMap<(CollectionId, Channel), Timestamp>,
    questions: CatalogQuestions,
    joins: Joins,
    /// Collections that the catalog wants drained, with the channel to notify once no call is in flight.
    blocks: Vec<Block>,
    backfills: Backfills,
    held: HeldCollections,
}

#[derive(Debug)]
struct Block {
    id: CollectionId,
    answer: Sender<()>,
}

/// Where collections that join are read from.
#[derive(Debug)]
pub(super) enum JoinStep {
    /// Not now.
    Nothing,
    /// The log, from here on.
    Read { starts: BTreeMap<Channel, Start>, reading: Replay },
    /// Their rows are copied. What has been read of them is of no use.
    Backfill,
}

/// How far the target is behind a source without a log; `None`: not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RescanLag(pub(super) Option<Duration>);

/// Whether the records of a collection were passed over before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Replay {
    /// They were not: the current reading may hold all of them.
    First,
    /// They were, or have to be replayed: they must be read again.
    Again,
}

impl Collections {
    pub(super) fn restore(
        records: &BTreeMap<i64, CollectionCheckpoint>,
        truncated: &BTreeMap<i64, BTreeMap<String, u64>>,
        joins: Joins,
        reconciliations: Option<Reconciliations>,
    ) -> Collections {
        let by_id = records.iter().map(|(&id, record)| (CollectionId(id), CollectionState::restored(record)));
        let ticks = truncated.iter().flat_map(|(&id, ticks)| {
            ticks.iter().map(move |(channel, &tick)| ((CollectionId(id), Channel::new(channel)), Timestamp(tick)))
        });
        let mut backfills = Backfills::new(reconciliations);
        for (id, record) in records {
            if matches!(record, CollectionCheckpoint::Backfill { begun, .. } if begun.is_empty()) {
                backfills.restore_unbegun(CollectionId(*id));
            }
        }
        Collections {
            by_id: by_id.collect(),
            passed_over: BTreeSet::new(),
            truncated: ticks.collect(),
            questions: CatalogQuestions::default(),
            joins,
            blocks: Vec::new(),
            backfills,
            held: HeldCollections::default(),
        }
    }

    /// For the checkpoint.
    pub(super) fn records(&self) -> BTreeMap<i64, CollectionCheckpoint> {
        self.joined().filter_map(|(id, it)| Some((id.0, CollectionCheckpoint::from(it.rows()?)))).collect()
    }

    /// For the checkpoint: truncations that have been carried out.
    pub(super) fn truncated(&self) -> BTreeMap<i64, BTreeMap<String, u64>> {
        let mut records: BTreeMap<i64, BTreeMap<String, u64>> = BTreeMap::new();
        for ((id, channel), tick) in &self.truncated {
            records.entry(id.0).or_default().insert(channel.to_string(), tick.0);
        }
        records
    }

    fn joined(&self) -> impl Iterator<Item = (CollectionId, &CollectionState)> {
        self.by_id.iter().filter(|(_, state)| state.is_joined()).map(|(id, state)| (*id, state))
    }

    /// The collections that the task has.
    pub(super) fn joined_ids(&self) -> Vec<CollectionId> {
        self.joined().map(|(id, _)| id).collect()
    }

    /// Whether the task has the collection: it has joined.
    pub(super) fn has(&self, id: CollectionId) -> bool {
        self.by_id.get(&id).is_some_and(CollectionState::is_joined)
    }

    pub(super) fn is_streaming(&self, id: CollectionId) -> bool {
        self.by_id.get(&id).is_some_and(CollectionState::is_streaming)
    }

    pub(super) fn is_backfilled(&self, id: CollectionId) -> bool {
        self.by_id.get(&id).is_some_and(CollectionState::is_backfilled)
    }

    /// Whether calls for rows of the collection may start; `None` when its rows do not come from the log.
    pub(super) fn readiness(&self, id: CollectionId) -> Option<Readiness> {
        let state = self.by_id.get(&id).filter(|state| state.is_streaming())?;
        Some(if state.applicable().is_some() { Readiness::Ready } else { Readiness::NotReady })
    }

    /// How many collections' rows come from the log.
    pub(super) fn streaming(&self) -> usize {
        self.joined().filter(|(_, state)| state.is_streaming()).count()
    }

    /// Those whose rows come from the log, on this channel.
    pub(super) fn streaming_on(&self, channel: &Channel) -> Vec<CollectionId> {
        let on_it = |state: &CollectionState| state.is_streaming() && state.channels().contains(channel);
        self.joined().filter(|(_, state)| on_it(state)).map(|(id, _)| id).collect()
    }

    /// The channels that collections live on: they have ticks, or should have.
    pub(super) fn live_channels(&self) -> BTreeSet<Channel> {
        self.joined().filter(|(_, state)| state.is_streaming()).flat_map(|(_, state)| state.channels()).collect()
    }

    pub(super) fn channels_of(&self, id: CollectionId) -> Vec<Channel> {
        self.by_id.get(&id).map(CollectionState::channels).unwrap_or_default()
    }

    /// Database and name at the source, or the id while nobody has told.
    pub(super) fn name_of(&self, id: CollectionId) -> String {
        match self.by_id.get(&id).and_then(CollectionState::ready) {
            Some(ready) => ready.source.to_string(),
            None => format!("collection {id}"),
        }
    }

    /// Whether a record of the collection is of use: it follows from the log, and the target does not have by a copy
    /// what happened at this time; or nobody knows it yet.
    pub(super) fn wants(&self, id: CollectionId, channel: &Channel, at: Timestamp) -> bool {
        match self.by_id.get(&id) {
            Some(state) if state.is_joined() => state.wants(channel, at),
            Some(_) | None => !self.passed_over.contains(&id),
        }
    }

    /// The collection, when calls for it may start.
    pub(super) fn applicable(&self, id: CollectionId) -> Option<Arc<WritableCollection>> {
        self.by_id.get(&id)?.applicable().cloned()
    }

    /// Rows of these shards up to these ticks are gone.
    pub(super) fn truncate(&mut self, id: CollectionId, ticks: Vec<(Channel, Timestamp)>) {
        self.truncated.extend(ticks.into_iter().map(|(channel, tick)| ((id, channel), tick)));
    }

    /// Whether what stands at this tick is gone by a truncation that has been carried out.
    pub(super) fn is_truncated(&self, id: CollectionId, channel: &Channel, at: Timestamp) -> bool {
        !self.truncated.is_empty() && self.truncated.get(&(id, channel.clone())).is_some_and(|&tick| at <= tick)
    }

    /// Forgets truncations that no reading comes to any more: `acked` tells how far a channel is through.
    pub(super) fn forget_truncated(&mut self, acked: impl Fn(&Channel) -> Option<Timestamp>) {
        let by_id = &self.by_id;
        let has = |id: &CollectionId| by_id.get(id).is_some_and(CollectionState::is_joined);
        self.truncated.retain(|(id, channel), tick| has(id) && acked(channel).is_some_and(|acked| acked < *tick));
    }

    /// Its records need not be kept: they are read again when it joins.
    pub(super) fn pass_over(&mut self, id: CollectionId) {
        self.passed_over.insert(id);
    }

    /// The catalog has described a collection.
    pub(super) fn on_ready(&mut self, mut ready: ReadyCollection, now: Instant, effects: &mut Effects) -> AfterReady {
        let id = ready.info.id;
        if self.backfills.reconciliations().is_some() {
            // Nothing arrives on them.
            ready.channels.clear();
        }
        self.questions.answered(id, ready.info.generation);
        let may_go_on = self.held.described(id);
        if !may_go_on && !self.by_id.contains_key(&id) {
            // Asked about again when a user resumes it.
            self.pass_over(id);
            return AfterReady::Nothing;
        }
        let Some(state) = self.by_id.get_mut(&id) else {
            self.by_id.insert(id, CollectionState::new(ready));
            self.ask_about_joins(now, effects);
            return AfterReady::Join;
        };
        let after = state.on_ready(ready, if may_go_on { HoldState::Free } else { HoldState::Held });
        if let Some(ready) = state.ready() {
            self.backfills.renew(id, ready);
        }
        match after {
            AfterReady::Join => self.ask_about_joins(now, effects),
            AfterReady::QueueBackfill => self.backfills.want(id, state),
            AfterReady::CheckChannels | AfterReady::Nothing => {}
        }
        after
    }

    /// Asks the log about the next one that is joining, unless it is being asked.
    pub(super) fn ask_about_joins(&mut self, now: Instant, effects: &mut Effects) {
        let joining = self.by_id.iter().filter(|(_, state)| state.may_join()).map(|(id, _)| *id);
        let next = self.joins.next(joining, now);
        let Some(state) = next.and_then(|id| self.by_id.get_mut(&id)) else { return };
        let Some(ready) = state.joining() else { return };
        let question = self.joins.question(ready);
        state.ask(question.number);
        effects.push(Effect::AskLog(LogQuestion::Join(Box::new(question))));
    }

    /// The log has answered where a collection begins. An answer to a question that was overtaken does not count.
    pub(super) fn on_join_points(
        &mut self,
        id: CollectionId,
        number: u64,
        points: Result<JoinPoints, LogError>,
        now: Instant,
    ) -> JoinStep {
        self.joins.answered(number);
        let Some(state) = self.by_id.get_mut(&id).filter(|state| state.awaits(number)) else {
            return JoinStep::Nothing;
        };
        let Some(ready) = state.joining() else { return JoinStep::Nothing };
        let mut points = match points {
            Ok(points) => points,
            Err(error) => {
                state.join_failed(error.to_string());
                self.joins.postpone(id, now);
                return JoinStep::Nothing;
            }
        };
        self.joins.forget(id);
        let (surplus, name) = (self.joins.surplus(ready), ready.source.to_string());
        let given = self.joins.given(ready);
        let from = if given.is_some() { "the given positions" } else { "its beginning" };
        points.starts = given.or(points.starts);
        let was_passed_over = self.passed_over.remove(&id);
        match state.join(points, surplus) {
            Some(AfterJoin::Read(starts)) => {
                log::info!("{name}: following it in the log from {from}");
                let reading = if was_passed_over { Replay::Again } else { Replay::First };
                JoinStep::Read { starts, reading }
            }
            Some(AfterJoin::Backfill) => {
                let why = match (self.backfills.reconciliations().is_some(), surplus) {
                    (true, _) => "the source has no log",
                    (false, SurplusRows::Remove) => "the target is to have its rows and no others",
                    (false, SurplusRows::Keep) => "the log no longer holds its beginning",
                };
                log::info!("{name}: {why}: its rows will be copied");
                self.backfills.forget_files(id);
                self.backfills.want(id, state);
                JoinStep::Backfill
            }
            None => JoinStep::Nothing,
        }
    }

    /// The collection is gone, or not for this task.
    pub(super) fn remove(&mut self, id: CollectionId, effects: &mut Effects) {
        self.by_id.remove(&id);
        self.pass_over(id);
        self.joins.forget(id);
        self.questions.forget(id);
        self.held.forget(id);
        self.backfills.remove(id, effects);
        effects.push(Effect::Count(Metric::CollectionDropped(id)));
    }

    /// What was under way when a collection went has counted since.
    pub(super) fn stop_counting_gone(&self, id: CollectionId, effects: &mut Effects) {
        if !self.has(id) {
            effects.push(Effect::Count(Metric::CollectionDropped(id)));
        }
    }

    /// Those that the catalog has said nothing of in this run are asked about.
    pub(super) fn ask_about_unseen(&mut self, now: Instant, effects: &mut Effects) {
        let unseen: Vec<CollectionId> = self
            .joined()
            .filter(|(id, state)| state.ready().is_none() && !self.held.is_held(*id))
            .map(|(id, _)| id)
            .collect();
        for id in unseen {
            self.questions.ask(id, now, effects);
        }
    }

    /// Asks the catalog to describe a collection.
    pub(super) fn ask(&mut self, id: CollectionId, now: Instant, effects: &mut Effects) {
        self.questions.ask(id, now, effects);
    }

    /// Asks about collections that have rows waiting and that nobody has said anything about.
    pub(super) fn ask_about_unknown(&mut self, waiting: BTreeSet<CollectionId>, now: Instant, effects: &mut Effects) {
        for id in waiting.into_iter().filter(|id| !self.held.is_held(*id)) {
            if self.by_id.get(&id).and_then(CollectionState::ready).is_none() && !self.questions.is_asked(id) {
                self.questions.ask(id, now, effects);
            }
        }
    }

    /// Repeats questions to the catalog without an answer.
    pub(super) fn repeat_questions(&mut self, now: Instant, effects: &mut Effects) {
        self.questions.repeat(now, effects);
    }

    /// The number that the next question to the catalog will have.
    pub(super) fn next_question(&self) -> u64 {
        self.questions.next()
    }

    /// Progress of backfills that is to be forgotten with a write of the checkpoint.
    pub(super) fn stale_progress(&mut self) -> &mut StaleProgress {
        self.backfills.stale_progress()
    }

    /// What backfills are at.
    pub(super) fn backfills(&self) -> &BackfillQueue {
        self.backfills.queue()
    }

    /// Whether the source has no log, and how far the target is behind it then. The lag is unknown while a collection
    /// has not been scanned in this run.
    pub(super) fn rescan_lag(&self) -> Option<RescanLag> {
        let is_rescanned =
            |id, state: &CollectionState| state.rows() == Some(&RowSource::Rescan) && !self.held.is_held(id);
        let rescanned = self.joined().filter(|(id, state)| is_rescanned(*id, state)).map(|(id, _)| id);
        Some(RescanLag(self.backfills.reconciliations()?.lag(rescanned)))
    }

    /// The rows of a collection on the target are not what they should be, or may not be: they are compared with the
    /// source's.
    pub(super) fn backfill_again(&mut self, id: CollectionId, surplus: SurplusRows, effects: &mut Effects) {
        let Some(state) = self.by_id.get_mut(&id).filter(|state| state.is_joined()) else { return };
        self.backfills.begin_again(id, effects);
        state.backfill_again(surplus);
        self.backfills.want(id, state);
    }

    /// Starts backfills of collections for which no call is under way any more.
    pub(super) fn start_backfills(
        &mut self,
        has_calls: impl Fn(CollectionId) -> bool,
        now: Instant,
        effects: &mut Effects,
    ) {
        self.backfills.start(&self.by_id, has_calls, now, effects);
    }

    /// Queues the rescans that are due.
    pub(super) fn start_rescans(&mut self, now: Instant) {
        self.backfills.start_rescans(&self.by_id, now);
    }

    /// The files of the collection's copy cannot be used: they go once the checkpoint says that it is compared.
    pub(super) fn forget_backfill_files(&mut self, id: CollectionId) {
        self.backfills.forget_files(id);
    }

    /// A backfill reports. One that was through when its collection was to stand still ends once that goes on: nothing
    /// of the log is kept for a collection that does not move.
    pub(super) fn on_backfill(
        &mut self,
        mut event: BackfillEvent,
        now: Instant,
        effects: &mut Effects,
    ) -> BackfillStep {
        let id = event.collection();
        if self.held.is_held(id) && matches!(event, BackfillEvent::Ended(_, BackfillOutcome::Done(_))) {
            event = BackfillEvent::Ended(id, BackfillOutcome::Cancelled);
        }
        let state = self.by_id.get_mut(&id).filter(|state| state.is_joined());
        self.backfills.on_event(event, state, now, effects)
    }

    /// The log has answered where the replay over a backfill starts, or cannot.
    pub(super) fn on_backfill_starts(
        &mut self,
        id: CollectionId,
        starts: Result<BackfillStarts, LogError>,
        reply: Sender<BackfillStarts>,
    ) -> BackfillStep {
        self.backfills.on_starts(id, starts, reply, self.by_id.get_mut(&id))
    }

    /// What becomes of the rows of a collection that only the target has, when it is not known which of them the task
    /// has brought: of one that others may have filled, what the source does not have is not ours to remove.
    pub(super) fn surplus_of_unknown(&self, id: CollectionId) -> SurplusRows {
        match self.by_id.get(&id).and_then(CollectionState::ready) {
            Some(ready) if ready.adopted => SurplusRows::Keep,
            Some(_) | None => SurplusRows::Remove,
        }
    }

    /// The same for a comparison that no user has asked for: what is held keeps its rows, since it may be held because
    /// too many of them would have to go.
    pub(super) fn surplus_unasked(&self, id: CollectionId) -> SurplusRows {
        match self.backfills.reconciliations() {
            Some(_) if self.held.is_held(id) => SurplusRows::Keep,
            Some(_) | None => self.surplus_of_unknown(id),
        }
    }

    /// A user wants collections repaired. Answers those whose rows must be compared; the others are being backfilled
    /// anyway.
    pub(super) fn repair(&mut self, order: &RepairOrder, now: Instant, effects: &mut Effects) -> Vec<CollectionId> {
        let mut compared = Vec::new();
        for (&id, state) in &self.by_id {
            let is_meant = state.ready().is_some_and(|ready| order.collections.contains(&ready.source));
            // What a user has paused is left as it is.
            if !is_meant || self.held.is_paused(id) {
                continue;
            }
            effects.push(Effect::Hint(Hint::TargetDrift(id)));
            self.held.hurry(id, now);
            if !state.is_backfilled() {
                compared.push(id);
            }
            self.backfills.tell_when_repaired(id, order.done.clone());
        }
        compared
    }

    /// A collection has been backfilled: whoever waits for its repair is told.
    pub(super) fn tell_repaired(&mut self, id: CollectionId, effects: &mut Effects) {
        let repairs = self.backfills.take_repairs(id);
        if !repairs.is_empty() {
            effects.push(Effect::TellRepaired(repairs));
        }
    }

    /// Why collections cannot join now.
    pub(super) fn join_errors(&self) -> impl Iterator<Item = &String> {
        self.by_id.values().filter_map(CollectionState::join_error)
    }
}
