/*!
The physical channels of a task and the lanes behind them: everything from a record of the log to the call that
applies it, and back to the acknowledged position.
*/

mod early;
mod gaps;
mod repeats;
mod stuck;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::applied_marks::AppliedMarks;
use super::aside::AsideCollections;
use super::channel::{Acquaintance, ChannelState};
use super::checkpoint::ChannelRecord;
use super::effect::{Effect, Effects};
use super::rewind::{Direction, Rewind};
use super::troubled_calls::TroubledCalls;
use super::unknown_rows::{QueuedRows, UnknownRows};
use crate::domain::{Channel, CollectionId, LogKind, Mark, Position, Record, Timestamp};
use crate::pipeline::{
    CallId, CompletedOp, Decision, DispatchRules, RecordOrigin, Scheduler, TickPlace, WritableCollection,
};
use crate::sink::WORKERS;
use crate::source::{self, Seek, Start};
use crate::task::detail::ChannelDetail;
use crate::task::status::ChannelPosition;

/// Back-pressure limit in bytes: buffered, queued and in-flight rows together. Reading pauses above it.
pub(super) const MEMORY: usize = 8 << 20;
/// What a busy source writes between two ticks, with room to spare: 75 MB/s make 15 MB in 0.2 s. Now and then it
/// ticks a second late. (With 24 MiB, and two messages of Pulsar's waiting instead of three, backlogs were 5 %
/// slower.)
const BETWEEN_TICKS: usize = 32 << 20;
/// Source time that the other shards may be read past a truncation that one of them has come to.
const TRUNCATION_PATIENCE: Duration = Duration::from_secs(30);

/// All channels.
#[derive(Debug)]
pub(super) struct Channels {
    states: BTreeMap<Channel, ChannelState>,
    lanes: Scheduler,
    troubled: TroubledCalls,
    unknown: UnknownRows,
    aside: AsideCollections,
    /// Gaps in the log that cannot be dealt with yet.
    gaps: BTreeMap<Channel, OpenGap>,
}

/// A gap in a channel's log while the log does not tell where it goes on.
#[derive(Debug)]
struct OpenGap {
    /// Of the reading that has met it.
    epoch: u64,
    /// Why the log does not tell; `None` before its first answer.
    why: Option<String>,
    /// When the log is asked again; `None` while it is being asked.
    ask_at: Option<Instant>,
}

/// What the lanes ask about the world.
struct LaneRules<'a, F> {
    states: &'a BTreeMap<Channel, ChannelState>,
    applicable: F,
    question: u64,
    now: Timestamp,
}

impl<F: Fn(CollectionId) -> Option<Arc<WritableCollection>>> DispatchRules for LaneRules<'_, F> {
    fn collection(&self, id: CollectionId) -> Option<Arc<WritableCollection>> {
        (self.applicable)(id)
    }

    fn question(&self) -> u64 {
        self.question
    }

    fn open(&self, channel: &Channel) -> bool {
        is_open(self.states)(channel)
    }

    fn bound(&self, channel: &Channel) -> Timestamp {
        self.states.get(channel).map_or(Timestamp::ZERO, ChannelState::bound)
    }

    fn replayed(&self, channel: &Channel) -> Timestamp {
        self.states.get(channel).map_or(Timestamp::MAX, ChannelState::replayed)
    }

    fn now(&self) -> Timestamp {
        self.now
    }
}

impl Channels {
    pub(super) fn restore(records: &BTreeMap<String, ChannelRecord>, effects: &mut Effects) -> Channels {
        let restored = |(name, record): (&String, &ChannelRecord)| (Channel::new(name), ChannelState::restore(record));
        let states: BTreeMap<Channel, ChannelState> = records.iter().map(restored).collect();
        for (name, state) in &states {
            effects.push(Effect::Seek(seek(name, state)));
        }
        Channels {
            states,
            lanes: Scheduler::default(),
            troubled: TroubledCalls::default(),
            unknown: UnknownRows::default(),
            aside: AsideCollections::default(),
            gaps: BTreeMap::new(),
        }
    }

    /// For the checkpoint.
    pub(super) fn records(&self) -> BTreeMap<String, ChannelRecord> {
        self.states.iter().map(|(name, state)| (name.to_string(), state.record())).collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.states.is_empty()
    }

    pub(super) fn has(&self, channel: &Channel) -> bool {
        self.states.contains_key(channel)
    }

    /// The tick up to which every collection of the channel has been acknowledged.
    pub(super) fn acked(&self, channel: &Channel) -> Option<Timestamp> {
        Some(self.states.get(channel)?.acked_by_all())
    }

    /// Whether records read in this epoch are still of use: they were not read before a rewind.
    pub(super) fn is_current(&self, channel: &Channel, epoch: u64) -> bool {
        self.states.get(channel).is_some_and(|state| state.epoch() == epoch)
    }

    pub(super) fn set_at_tail(&mut self, channel: &Channel, at_tail: bool) {
        if let Some(state) = self.states.get_mut(channel) {
            state.set_at_tail(at_tail);
        }
    }

    /// Whether a record has still to be applied.
    pub(super) fn wants(&self, channel: &Channel, id: CollectionId, who: Acquaintance, record: &RecordPlace) -> bool {
        self.states.get(channel).is_some_and(|state| state.wants(id, who, record.position, record.ts))
    }

    /// The channel, to take in a record that is wanted.
    pub(super) fn get_mut(&mut self, channel: &Channel) -> Option<&mut ChannelState> {
        self.states.get_mut(channel)
    }

    /// Everything up to the tick is released into the lanes. True when rows of a collection are among it that
    /// `is_known` does not know.
    pub(super) fn on_tick(
        &mut self,
        channel: &Channel,
        tick: Timestamp,
        at: TickPlace,
        is_known: impl Fn(CollectionId) -> bool,
    ) -> bool {
        let Some(state) = self.states.get_mut(channel) else { return false };
        let mut unknown = false;
        for op in state.release(tick, at) {
            unknown |= !is_known(op.collection);
            let done = self.lanes.push_released(op);
            done.into_iter().for_each(|done| state.done(done.batch));
        }
        unknown
    }

    /// Nothing is read any more. What was to be read again holds up nothing else, and is left to the next run.
    pub(super) fn put_off_rewinds(&mut self) {
        self.states.values_mut().for_each(ChannelState::put_off_rewind);
    }

    /// Everything that waits for a tick is released into the lanes, because none will come any more.
    pub(super) fn release_rest(&mut self) {
        self.put_off_rewinds();
        for state in self.states.values_mut() {
            state.release_rest().into_iter().for_each(|op| self.lanes.push(op));
        }
    }

    /// A collection joins that has to be read from `start` on. A channel that the task has read from there on anyway
    /// need not be read again.
    pub(super) fn read_from(&mut self, channel: &Channel, id: CollectionId, start: Start, effects: &mut Effects) {
        match self.states.get_mut(channel) {
            Some(state) if start.position.is_some_and(|from| state.covers(from)) => state.join(id),
            _ => self.read_again(channel, id, start, effects),
        }
    }

    /// A channel is to be read (again) from `start` on for one collection.
    pub(super) fn read_again(&mut self, channel: &Channel, id: CollectionId, start: Start, effects: &mut Effects) {
        match self.states.get_mut(channel) {
            None => {
                let state = ChannelState::new(start);
                effects.push(Effect::Seek(seek(channel, &state)));
                self.states.insert(channel.clone(), state);
            }
            Some(state) => {
                state.request(Rewind {
                    start,
                    replaying: BTreeMap::from([(id, AppliedMarks::default())]),
                    direction: Direction::Back,
                });
            }
        }
    }

    /// Channels that are to be read again are, as soon as nothing of them is under way. Answers where the reader goes
    /// on: nothing of that may be carried out before the checkpoint is written, or a crash would forget what the
    /// rewind was for.
    pub(super) fn carry_out_rewinds(&mut self) -> Vec<Seek> {
        let mut seeks = Vec::new();
        for (name, state) in &mut self.states {
            if !state.awaits_rewind() || self.lanes.calls_on(name) > 0 {
                continue;
            }
            // What is queued, or waits to be tried again, will be read again.
            self.troubled.forget(&self.lanes.take_back(name));
            self.lanes.discard(|op| op.channel == *name);
            if state.carry_out_rewind() {
                let from = state.acked().position;
                let from = from.map_or_else(|| "its beginning".to_owned(), |from| from.to_string());
                log::info!("{name}: reading again from {from}");
                seeks.push(seek(name, state));
            }
        }
        seeks
    }

    /// Forgets a collection's rows that are buffered or queued, and calls that wait to be tried again: they would hold
    /// back the position of everything on their channels.
    pub(super) fn discard(&mut self, id: CollectionId) {
        self.aside.forget(id);
        self.states.values_mut().for_each(|state| state.forget_aside(id));
        self.discard_rows(id);
    }

    fn discard_rows(&mut self, id: CollectionId) {
        for call in self.troubled.waiting_of(id) {
            let finished = self.finish(id, call);
            self.mark_done(finished.done);
        }
        for state in self.states.values_mut() {
            state.buffer_mut().discard(id);
        }
        let done = self.lanes.discard(|op| op.collection == id);
        self.mark_done(done);
    }

    /// The acknowledged positions move. True when one has.
    pub(super) fn advance(&mut self) -> bool {
        let mut has_advanced = false;
        for state in self.states.values_mut() {
            has_advanced |= state.advance();
        }
        has_advanced
    }

    /// The next thing to do at this time of the source. A call counts as sent from here on.
    pub(super) fn next_step(
        &mut self,
        applicable: impl Fn(CollectionId) -> Option<Arc<WritableCollection>>,
        question: u64,
        now: Timestamp,
    ) -> Decision {
        if self.lanes.calls() >= WORKERS {
            return Decision::Idle;
        }
        // What has failed comes first.
        let untroubled = |id| applicable(id).filter(|_| !self.troubled.has(id));
        let mut step = self.lanes.next(&LaneRules { states: &self.states, applicable: untroubled, question, now });
        if matches!(step, Decision::Idle) {
            step = self.next_early(&applicable, question, now);
        }
        if let Decision::Call(call) = &step
            && let Some(state) = self.states.get_mut(&call.channel)
        {
            state.note_sent(call.latest);
        }
        step
    }

    /// Raises the bounds of all channels that are about to need it, so that one write of the checkpoint does for all.
    pub(super) fn raise_bounds(&mut self, channel: &Channel, ts: Timestamp) {
        for (name, state) in &mut self.states {
            let wanted = if name == channel { ts.max(state.released()) } else { state.released() };
            if wanted > state.bound() {
                state.raise_bound(wanted);
            }
        }
    }

    /// The task ends, and nothing is under way: bounds need not run ahead any more.
    pub(super) fn settle(&mut self) {
        self.advance();
        self.states.values_mut().for_each(ChannelState::settle_bound);
    }

    /// Operations are done.
    pub(super) fn mark_done(&mut self, done: Vec<CompletedOp>) {
        for CompletedOp { channel, batch } in done {
            if let Some(state) = self.states.get_mut(&channel) {
                state.done(batch);
            }
        }
    }

    /// A call has ended: what it has carried out if it was acknowledged.
    pub(super) fn finish(&mut self, id: CollectionId, call: CallId) -> Finished {
        self.troubled.ended(id, call);
        let truncated = self.lanes.truncated(id, call);
        Finished { done: self.lanes.finish(id, call), truncated }
    }

    /// Whether a call of the collection is being made or waits to be made again.
    pub(super) fn has_calls(&self, id: CollectionId) -> bool {
        self.lanes.calls_of(id) > 0
    }

    /// Whether any call is being made or waits to be made again.
    pub(super) fn has_any_calls(&self) -> bool {
        self.lanes.has_calls()
    }

    /// Calls that are being made.
    pub(super) fn calls(&self) -> usize {
        self.lanes.calls()
    }

    /// Bytes queued and in flight.
    pub(super) fn queued_bytes(&self) -> usize {
        self.lanes.bytes()
    }

    /// The collections that operations are queued for.
    pub(super) fn waiting(&self) -> BTreeSet<CollectionId> {
        self.lanes.waiting()
    }

    /// Collections that cannot be taken in for long must not hold up the others: those of which nothing is to be kept,
    /// among those that `is_known` does not know.
    pub(super) fn unknown_to_forget(
        &mut self,
        is_known: impl Fn(CollectionId) -> bool,
        now: Instant,
    ) -> Vec<CollectionId> {
        let waiting = self.lanes.waiting().into_iter().filter(|id| !is_known(*id));
        let queued = waiting.map(|id| QueuedRows { id, bytes: self.lanes.bytes_of(id) }).collect();
        self.unknown.choose(queued, now)
    }

    /// Whether more may be read. While workers are idle the reorder buffer may exceed the limit, or the tick that
    /// releases it could never be read; far beyond what usually comes between two ticks only when nothing else is
    /// left in memory.
    pub(super) fn has_room(&self) -> bool {
        let (queued, calls) = (self.lanes.bytes(), self.lanes.calls());
        let buffered = self.states.values().map(|state| state.buffer().bytes()).sum::<usize>();
        let idle_workers = !self.lanes.has_calls() || (calls < WORKERS && buffered < BETWEEN_TICKS);
        queued < MEMORY && (queued + buffered < MEMORY || idle_workers)
    }

    /// Collections with a truncation that some shards have come to and others never will: they are read from behind
    /// it, or what stands behind it on the others fills the memory.
    pub(super) fn half_truncated(&self) -> Vec<CollectionId> {
        let is_full = self.lanes.bytes() >= MEMORY && !self.lanes.has_calls();
        let is_late = |channel: &Channel, tick: Timestamp| {
            let past = |state: &ChannelState| state.released() > tick.plus(TRUNCATION_PATIENCE);
            self.states.get(channel).is_none_or(|state| !state.awaits_rewind() && past(state))
        };
        let half = self.lanes.half_truncated().into_iter();
        half.filter(|(_, tick, missing)| is_full || missing.iter().any(|channel| is_late(channel, *tick)))
            .map(|(id, _, _)| id)
            .collect()
    }

    /// Whether every channel has been read to its end.
    pub(super) fn are_at_tail(&self) -> bool {
        self.states.values().all(ChannelState::is_at_tail)
    }

    /// Whether nothing is left to be read: no channel is to be read from elsewhere, either.
    pub(super) fn are_read_out(&self) -> bool {
        self.gaps.is_empty() && self.states.values().all(ChannelState::is_read_out)
    }

    /// The oldest tick up to which a channel is acknowledged. Ticks of a channel stop when its last collection is
    /// dropped: one that is not `live` counts only while something of it is still to be done.
    pub(super) fn oldest_acked(&self, is_live: impl Fn(&Channel) -> bool) -> Option<Timestamp> {
        let counts = |name: &Channel, state: &ChannelState| is_live(name) || !state.is_at_tail() || state.is_busy();
        self.states.iter().filter(|(name, state)| counts(name, state)).map(|(_, state)| state.acked_by_all()).min()
    }

    /// Positions as the API shows them.
    pub(super) fn positions(&self, kind: LogKind) -> Vec<ChannelPosition> {
        let shown = |(name, state): (&Channel, &ChannelState)| {
            Some(ChannelPosition {
                channel: name.to_string(),
                message_id: source::message_id(kind, state.acked().position?),
                time_tick: state.acked().after.0,
            })
        };
        self.states.iter().filter_map(shown).collect()
    }

    /// For people. `collections`: how many are on each.
    pub(super) fn details(&self, collections: &BTreeMap<Channel, usize>) -> Vec<ChannelDetail> {
        let detail = |(name, state): (&Channel, &ChannelState)| ChannelDetail {
            name: name.to_string(),
            acknowledged_ms: state.acked().after.physical_ms(),
            at_end: state.is_at_tail(),
            collections: collections.get(name).copied().unwrap_or(0),
        };
        self.states.iter().map(detail).collect()
    }
}

/// Where a record stands, its rows' latest timestamp, and whose it was first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RecordPlace {
    pub(super) position: Position,
    pub(super) ts: Timestamp,
    pub(super) mark: Option<Mark>,
}

impl RecordPlace {
    pub(super) fn of(record: &Record) -> RecordPlace {
        RecordPlace { position: record.position, ts: record.end, mark: record.mark }
    }

    /// The same as the pipeline names it.
    pub(super) fn origin<'a>(&self, channel: &'a Channel) -> RecordOrigin<'a> {
        RecordOrigin { channel, position: self.position, ts: self.ts, mark: self.mark }
    }
}

/// What a call that has ended was about.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) done: Vec<CompletedOp>,
    /// By channel, the ticks up to which rows are gone: it was a truncation.
    pub(super) truncated: Option<Vec<(Channel, Timestamp)>>,
}

/// Whether calls for records of a channel may start.
fn is_open(states: &BTreeMap<Channel, ChannelState>) -> impl Fn(&Channel) -> bool {
    |channel| states.get(channel).is_some_and(|state| !state.awaits_rewind())
}

fn seek(channel: &Channel, state: &ChannelState) -> Seek {
    Seek { channel: channel.clone(), from: state.acked().position, epoch: state.epoch() }
}
