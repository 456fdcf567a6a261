/*!
The state of a running task: its four owners, and what has to happen in several of them at once. Nothing in here waits
or touches the world: what is to be done there is answered as effects.
*/

mod asides;
mod calls;
mod comparisons;
mod drains;
mod orders;
mod records;

use std::collections::BTreeMap;
use std::time::Instant;

use super::backfill::SurplusRows;
use super::channels::Channels;
use super::checkpoint::Checkpoint;
use super::checkpointer::Checkpointer;
use super::collection_state::AfterReady;
use super::collections::{Collections, JoinStep, Replay};
use super::drain::{Drain, DrainOutcome};
use super::effect::{Effect, Effects, Metric, OnceSaved};
use super::health::{Health, TaskParts};
use super::log_question::LogAnswer;
use super::requests_channel::RequestsChannel;
use crate::catalog::{CatalogEvent, Hint, ReadyCollection, SourcePast};
use crate::domain::{Channel, CollectionId};
use crate::pipeline::Decision;
use crate::sink::CallAttempt;
use crate::source::Start;
use crate::task::role::Errand;

/// Rows that the source shows to nobody any more are counted so.
const EXPIRED: &str = "expired rows (TTL)";

/// Everything that one running task knows.
#[derive(Debug)]
pub(super) struct Owners {
    requests: RequestsChannel,
    channels: Channels,
    collections: Collections,
    checkpointer: Checkpointer,
    health: Health,
    effects: Effects,
    /// When the event at hand happened.
    now: Instant,
    /// Whether rows that a gap in the log hides may have gone at the source without having been deleted.
    past: SourcePast,
    /// Why the task must stop.
    failure: Option<String>,
    /// Why the source must be recognised anew.
    reopen: Option<String>,
    /// The source is given up, and its log is read for the last time.
    drain: Option<Drain>,
    /// How that has ended.
    drained: Option<DrainOutcome>,
}

impl Owners {
    /// `effects`: what has to be done first.
    pub(super) fn new(
        requests: RequestsChannel,
        channels: Channels,
        collections: Collections,
        health: Health,
        effects: Effects,
        now: Instant,
    ) -> Owners {
        let checkpointer = Checkpointer::new(now);
        let (past, failure, reopen) = (SourcePast::Continues, None, None);
        let (drain, drained) = (None, None);
        Owners {
            requests,
            channels,
            collections,
            checkpointer,
            health,
            effects,
            now,
            past,
            failure,
            reopen,
            drain,
            drained,
        }
    }

    /// The same on this errand.
    pub(super) fn sent_to(self, errand: Errand) -> Owners {
        let drain = match errand {
            Errand::Follow | Errand::FailBack(_) => None,
            Errand::Drain(failover) => Some(Drain::new(failover.insistence, self.now)),
        };
        Owners { drain, ..self }
    }

    /// The same for a source with this past.
    pub(super) fn following(self, past: SourcePast) -> Owners {
        Owners { past, ..self }
    }

    /// Before the first event.
    pub(super) fn begin(&mut self) {
        self.requests.read(&mut self.effects);
        self.work();
    }

    /// An event happens at this moment.
    pub(super) fn set_now(&mut self, now: Instant) {
        self.now = now;
    }

    #[cfg(test)]
    pub(super) fn collections(&self) -> &Collections {
        &self.collections
    }

    pub(super) fn effects(&mut self) -> &mut Effects {
        &mut self.effects
    }

    /// Why the task must stop. The first reason counts.
    pub(super) fn take_failure(&mut self) -> Option<String> {
        self.failure.take()
    }

    /// This run ends, and the next one looks who the source is.
    pub(super) fn reopen(&mut self, why: String) {
        self.reopen.get_or_insert(why);
    }

    /// Why the source must be recognised anew. The first reason counts.
    pub(super) fn take_reopen(&mut self) -> Option<String> {
        self.reopen.take()
    }

    /// Whether more records may be read.
    pub(super) fn has_room(&self) -> bool {
        self.channels.has_room()
    }

    /// Calls that are being made.
    pub(super) fn calls(&self) -> usize {
        self.channels.calls()
    }

    /// When there is something to do even if nothing happens.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.channels.next_due().filter(|_| self.checkpointer.lets_calls_start())
    }

    /// Whether the outcome of a write of the checkpoint has not come yet.
    pub(super) fn is_saving(&self) -> bool {
        self.checkpointer.is_saving()
    }

    /// Why the checkpoint could not be written last.
    pub(super) fn unsaved(&self) -> Option<&String> {
        self.checkpointer.error()
    }

    /// The task is about to end: the catalog must not wait for it while it waits for the catalog.
    pub(super) fn drop_blocks(&mut self) {
        self.collections.drop_blocks();
    }

    /// Nothing is in flight any more, or counts any more: the last checkpoint.
    pub(super) fn settle(&mut self) {
        self.channels.settle();
        self.save();
    }

    /// Everything that can be done without waiting.
    pub(super) fn work(&mut self) {
        self.put_off_rewinds();
        self.dispatch();
        let channels = &self.channels;
        self.collections.answer_blocks(|id| channels.has_calls(id), &mut self.effects);
        self.collections.start_backfills(|id| channels.has_calls(id), self.now, &mut self.effects);
        let seeks = if self.reads_on() { self.channels.carry_out_rewinds() } else { Vec::new() };
        if !seeks.is_empty() {
            // In this order, so that the file never says less than what the reader was told.
            self.save();
            seeks.into_iter().for_each(|seek| self.effects.push(Effect::Seek(seek)));
        }
        if self.collections.stale_progress().is_new() {
            self.save();
        }
        if self.channels.advance() {
            self.checkpointer.touch();
            let channels = &self.channels;
            self.collections.forget_truncated(|channel| channels.acked(channel));
        }
    }

    /// Starts calls while there are workers and something may start.
    fn dispatch(&mut self) {
        if self.checkpointer.is_retry_due(self.now) {
            self.save();
        }
        let now = self.health.source_time();
        while self.checkpointer.lets_calls_start() {
            if let Some(attempt) = self.channels.next_repeat(self.now) {
                self.effects.push(Effect::Send(Box::new(attempt)));
                continue;
            }
            let (collections, question) = (&self.collections, self.collections.next_question());
            match self.channels.next_step(|id| collections.applicable(id), question, now) {
                Decision::Call(call) => {
                    self.health.note_change(call.latest);
                    self.effects.push(Effect::Send(Box::new(CallAttempt::first(*call))));
                }
                Decision::RaiseBound(channel, ts) => {
                    // On disk before any insert up to it is sent: until it is, no call starts.
                    self.channels.raise_bounds(&channel, ts);
                    self.save();
                }
                Decision::Unknown(id) => self.collections.ask(id, self.now, &mut self.effects),
                Decision::Compare(id) => self.compare(id, "truncation of shards on one channel"),
                Decision::Skip(id, done) => {
                    log::info!("collection {id}: skipping rows of a partition that was dropped at the source");
                    self.channels.mark_done(done);
                }
                Decision::Expired { collection, rows, done } => {
                    log::debug!(
                        "collection {collection}: {rows} rows have expired at the source before they were applied"
                    );
                    self.health.count_skipped(EXPIRED, rows as u64);
                    self.channels.mark_done(done);
                    self.checkpointer.touch();
                }
                Decision::Unreadable(id, error, lost) => {
                    self.hold_rows(id, format!("its rows cannot be read: {error}"));
                    self.channels.mark_done(lost);
                }
                Decision::Echo(echoes) => {
                    self.health.count_echoes(echoes.rows);
                    self.effects.push(Effect::Count(Metric::Echoes(echoes.rows)));
                    self.channels.mark_done(echoes.completes);
                }
                Decision::Idle => return,
            }
        }
    }

    pub(super) fn on_heartbeat(&mut self) {
        self.release_holds();
        self.tend_asides();
        self.ask_about_unknown();
        self.collections.ask_about_joins(self.now, &mut self.effects);
        for id in self.channels.half_truncated() {
            self.compare(id, "truncation seen in part");
        }
        self.channels.retry_gaps(self.now, &mut self.effects);
        self.collections.start_rescans(self.now);
        self.requests.read(&mut self.effects);
        self.step_drain();
        if self.checkpointer.is_due(self.now) {
            self.save();
        }
        self.publish();
    }

    pub(super) fn on_catalog(&mut self, event: CatalogEvent) {
        match event {
            CatalogEvent::Ready(ready) => self.on_ready(*ready),
            CatalogEvent::Reconnect(why) => self.reopen(why),
            CatalogEvent::Dropped(id) | CatalogEvent::Absent(id) => {
                self.note_unknown(id);
                self.collections.remove(id, &mut self.effects);
                self.health.forget_unreplicated(id);
                self.channels.discard(id);
                self.checkpointer.touch();
            }
            CatalogEvent::Block { id, calls, answer } => self.on_block(id, calls, answer),
            CatalogEvent::Compare(id, reply) => self.compare_for_catalog(id, reply),
            CatalogEvent::TargetRestored(noted) => self.compare_with_restored_target(noted),
            CatalogEvent::Imported { id, rows, answer } => self.compare_imported(id, rows, answer),
            CatalogEvent::Unblock(id) => self.collections.unblock(id),
            CatalogEvent::Settled => {
                self.health.settle();
                // Dropped on the target shortly before a crash, the checkpoint still has it and the catalog's record
                // does not.
                self.collections.ask_about_unseen(self.now, &mut self.effects);
            }
            CatalogEvent::Trouble(errors) => self.health.errors_mut().set_catalog(errors),
            CatalogEvent::Skipped { what, why } => self.skip(&what, &why),
            CatalogEvent::Lost { id, loss, noted } => self.on_lost(id, loss, noted),
            CatalogEvent::Held(held) => self.hold_by_catalog(held),
            CatalogEvent::Fatal(reason) => self.fail(&reason),
        }
    }

    fn on_ready(&mut self, ready: ReadyCollection) {
        let id = ready.info.id;
        if self.collections.on_ready(ready, self.now, &mut self.effects) != AfterReady::CheckChannels {
            return;
        }
        if self.collections.channels_of(id).iter().any(|channel| !self.channels.has(channel)) {
            log::warn!("collection {id}: the checkpoint lacks a channel of it: comparing its rows with the source's");
            self.backfill_again(id, SurplusRows::Remove);
        }
    }

    pub(super) fn on_log_answer(&mut self, answer: LogAnswer) {
        match answer {
            LogAnswer::RequestsEnd(end) => self.requests.on_end(end, &mut self.effects),
            LogAnswer::Join { id, number, points } => {
                match self.collections.on_join_points(id, number, points, self.now) {
                    JoinStep::Nothing => {}
                    JoinStep::Read { starts, reading } => self.join(id, starts, reading),
                    JoinStep::Backfill => {
                        self.channels.discard(id);
                        self.save();
                    }
                }
                self.collections.ask_about_joins(self.now, &mut self.effects);
            }
            LogAnswer::BackfillStarts { id, starts, reply } => {
                let step = self.collections.on_backfill_starts(id, starts, reply);
                self.on_backfill_step(id, step);
            }
            LogAnswer::AfterGap { channel, epoch, start } => {
                if self.channels.on_gap_end(&channel, epoch, start, self.now) {
                    self.on_jump(&channel);
                }
            }
        }
    }

    /// A collection joins, and its rows come from the log. It and its channels are in one file, and before any row of
    /// it is sent: a restart must neither take the collection for new nor leave a channel of it unread.
    fn join(&mut self, id: CollectionId, starts: BTreeMap<Channel, Start>, reading: Replay) {
        for (channel, start) in starts {
            match reading {
                Replay::First => self.channels.read_from(&channel, id, start, &mut self.effects),
                Replay::Again => self.channels.read_again(&channel, id, start, &mut self.effects),
            }
        }
        self.save();
    }

    /// Asks about collections that nobody has said anything about. Those that cannot be taken in for long are read
    /// again when they can.
    fn ask_about_unknown(&mut self) {
        self.collections.ask_about_unknown(self.channels.waiting(), self.now, &mut self.effects);
        let collections = &self.collections;
        for id in self.channels.unknown_to_forget(|id| collections.has(id), self.now) {
            log::info!("collection {id} is not ready yet: its rows will be read again when it is");
            self.note_unknown(id);
            self.collections.pass_over(id);
            self.channels.discard(id);
        }
        self.collections.repeat_questions(self.now, &mut self.effects);
    }

    fn hint(&mut self, hint: Hint) {
        self.effects.push(Effect::Hint(hint));
    }

    fn skip(&mut self, reason: &str, detail: &str) {
        self.health.skip(reason, detail, &mut self.effects);
        self.checkpointer.touch();
    }

    pub(super) fn save(&mut self) {
        self.save_then(Vec::new());
    }

    fn save_then(&mut self, mut then: Vec<OnceSaved>) {
        then.extend(self.collections.stale_progress().forget_with_this());
        let checkpoint = Checkpoint {
            log: self.health.log_kind().name().into(),
            channels: self.channels.records(),
            collections: self.collections.records(),
            skipped: self.health.skipped(),
            truncated: self.collections.truncated(),
            unreplicated: self.health.unreplicated(),
            paused: self.collections.paused_records(),
            // The executor's, which has the mandate.
            epoch: 0,
        };
        self.checkpointer.save(checkpoint, then, self.now, &mut self.effects);
    }

    pub(super) fn publish(&mut self) {
        let Self { channels, collections, checkpointer, .. } = self;
        self.health.publish(TaskParts { channels, collections, checkpointer }, self.now, &mut self.effects);
    }

    pub(super) fn on_saved(&mut self, outcome: Result<(), String>) {
        let is_saved = outcome.is_ok();
        self.checkpointer.on_saved(outcome);
        if is_saved && !self.checkpointer.is_saving() {
            self.collections.stale_progress().on_saved();
        }
    }

    /// Stops the task with a reason. The first one counts.
    pub(super) fn fail(&mut self, reason: &str) {
        self.failure.get_or_insert_with(|| reason.to_owned());
    }
}
