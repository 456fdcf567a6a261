/*!
One physical channel: how far it has been read, released and acknowledged, and the rewind that it waits for.
*/

mod asides;

use std::collections::BTreeMap;
use std::time::Duration;

use super::applied_marks::AppliedMarks;
use super::checkpoint::{AppliedRecord, ChannelRecord, PositionRecord};
use super::rewind::{Direction, ReadAgain, ReadingPlace, Rewind};
use crate::domain::{CollectionId, Position, Timestamp};
use crate::pipeline::{AckTracker, AckedFrontier, AppliedMark, BatchSeq, Op, ReorderBuffer, TickPlace};
use crate::source::Start;

/// One channel's state.
#[derive(Debug)]
pub(super) struct ChannelState {
    /// Of the current reading; events of earlier ones are stale.
    epoch: u64,
    /// Everything up to this tick has been acknowledged; reading would go on at this position.
    acked: Start,
    /// What the current reading has completed of every collection.
    completed: AppliedMark,
    /// Where the current reading began.
    read_from: Option<Position>,
    /// No insert later than this may be sent: the checkpoint that says so is on disk or on its way there.
    bound: Timestamp,
    /// Inserts up to this may have been sent by an earlier reading.
    replayed: Timestamp,
    /// The latest insert that was sent.
    sent: Timestamp,
    /// What was applied before the current reading began, of the collections that are known and not in `replaying`.
    high_water_mark: AppliedMarks,
    /// Collections that are being read again, and what of each was applied before the current reading began.
    replaying: BTreeMap<CollectionId, AppliedMarks>,
    /// Collections of which nothing is taken in, and from where the channel will be read again for each.
    aside: BTreeMap<CollectionId, ReadAgain>,
    /// What waits for its tick.
    buffer: ReorderBuffer,
    /// What was released and waits for its acknowledgement.
    acks: AckTracker,
    /// The last tick that was released.
    released: Timestamp,
    /// The reader has no more at the moment.
    at_tail: bool,
    /// To be read again from elsewhere, as soon as no call is under way.
    rewind: Option<Rewind>,
}

/// Whether rows of a collection were applied before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Acquaintance {
    Known,
    New,
}

/// How far the bound runs ahead of what is sent: longer means fewer writes of the file, and more upserts after a crash.
const BOUND_AHEAD: Duration = Duration::from_secs(10);

impl ChannelState {
    /// A channel that has not been read before.
    pub(super) fn new(start: Start) -> ChannelState {
        ChannelState {
            epoch: 0,
            acked: start,
            completed: AppliedMark::NOTHING,
            read_from: start.position,
            bound: start.after,
            replayed: Timestamp::ZERO,
            sent: Timestamp::ZERO,
            high_water_mark: AppliedMarks::default(),
            replaying: BTreeMap::new(),
            aside: BTreeMap::new(),
            buffer: ReorderBuffer::default(),
            acks: AckTracker::default(),
            released: start.after,
            at_tail: false,
            rewind: None,
        }
    }

    /// A channel as an earlier run of the task left it: it is read again from its position.
    pub(super) fn restore(record: &ChannelRecord) -> ChannelState {
        let start = Start { position: record.position.map(Position::from), after: Timestamp(record.time_tick) };
        let marks = |applied: &AppliedRecord| record.marks(applied).collect::<AppliedMarks>();
        ChannelState {
            bound: Timestamp(record.bound),
            replayed: Timestamp(record.bound),
            high_water_mark: marks(&record.high_water_mark),
            replaying: record.replaying.iter().map(|(&id, applied)| (CollectionId(id), marks(applied))).collect(),
            ..ChannelState::new(start)
        }
    }

    /// The rewind that is pending, and those that collections will need that are set aside.
    fn wanted_rewind(&self) -> Option<Rewind> {
        let asides = self.aside.iter().map(|(&id, again)| again.clone().rewind(id));
        self.rewind.iter().cloned().chain(asides).reduce(Rewind::and)
    }

    /// Persisted form: as if the channel were to be read again from its position, which is what a restart does. A
    /// pending rewind is stored as already performed, so that a restart cannot lose it; so is one that a collection
    /// will need that is set aside.
    pub(super) fn record(&self) -> ChannelRecord {
        let (place, bound) = match self.wanted_rewind() {
            Some(rewind) => (self.place().rewound(&rewind), self.rewound_bound()),
            None => (self.place(), self.bound),
        };
        ChannelRecord {
            position: place.acked.position.map(PositionRecord::from),
            time_tick: place.acked.after.0,
            tick: None,
            bound: bound.0,
            high_water_mark: place.high_water_mark.iter().collect(),
            replaying: place.replaying.iter().map(|(id, applied)| (id.0, applied.iter().collect())).collect(),
        }
    }

    /// Where another reading would begin, and what it would find applied.
    fn place(&self) -> ReadingPlace {
        let and_completed = |applied: &AppliedMarks| applied.iter().chain([self.completed]).collect::<AppliedMarks>();
        ReadingPlace {
            acked: self.acked,
            high_water_mark: and_completed(&self.high_water_mark),
            replaying: self.replaying.iter().map(|(id, applied)| (*id, and_completed(applied))).collect(),
        }
    }

    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    pub(super) fn acked(&self) -> Start {
        self.acked
    }

    pub(super) fn bound(&self) -> Timestamp {
        self.bound
    }

    pub(super) fn replayed(&self) -> Timestamp {
        self.replayed
    }

    pub(super) fn released(&self) -> Timestamp {
        self.released
    }

    /// Everything that the log has was read, and nothing of it is to be read again.
    pub(in crate::replication) fn is_read_out(&self) -> bool {
        self.is_at_tail() && !self.awaits_rewind()
    }

    pub(super) fn is_at_tail(&self) -> bool {
        self.at_tail
    }

    pub(super) fn set_at_tail(&mut self, at_tail: bool) {
        self.at_tail = at_tail;
    }

    pub(super) fn awaits_rewind(&self) -> bool {
        self.rewind.is_some()
    }

    /// Whether anything of it is buffered or not acknowledged.
    pub(super) fn is_busy(&self) -> bool {
        !self.acks.is_idle() || !self.buffer.is_empty()
    }

    pub(super) fn buffer(&self) -> &ReorderBuffer {
        &self.buffer
    }

    pub(super) fn buffer_mut(&mut self) -> &mut ReorderBuffer {
        &mut self.buffer
    }

    /// Everything up to the tick leaves the buffer. Nothing does when a later tick was released before: the first
    /// ticks after a create may be late.
    pub(super) fn release(&mut self, tick: Timestamp, at: TickPlace) -> Vec<Op> {
        if tick < self.released {
            return Vec::new();
        }
        self.released = tick;
        let (mut ops, reached) = self.buffer.release(tick, at);
        let batch = self.acks.release(ops.len(), reached);
        ops.iter_mut().for_each(|op| op.batch = batch);
        ops
    }

    /// Everything leaves the buffer: no tick will come. A restart reads it again, and sends it as upserts, like this.
    pub(super) fn release_rest(&mut self) -> Vec<Op> {
        let mut ops = self.buffer.release_rest();
        let batch = self.acks.release_open(ops.len());
        ops.iter_mut().for_each(|op| op.batch = batch);
        self.replayed = ops.last().map_or(self.replayed, |op| op.ts.max(self.replayed));
        self.bound = self.bound.max(self.replayed);
        ops
    }

    pub(super) fn done(&mut self, batch: BatchSeq) {
        self.acks.done(batch);
    }

    pub(super) fn note_sent(&mut self, latest: Timestamp) {
        self.sent = self.sent.max(latest);
    }

    /// Whether a record has still to be applied.
    pub(super) fn wants(&self, id: CollectionId, who: Acquaintance, position: Position, ts: Timestamp) -> bool {
        if self.aside.contains_key(&id) {
            return false;
        }
        let applied = match (who, self.replaying.get(&id)) {
            (Acquaintance::New, _) => None,
            (Acquaintance::Known, Some(applied)) => Some(applied),
            (Acquaintance::Known, None) => Some(&self.high_water_mark),
        };
        !applied.is_some_and(|applied| applied.covers(position, ts))
    }

    /// Whether the current reading has every message of a collection that begins at `start`: not one that is about to
    /// jump.
    pub(super) fn covers(&self, start: Position) -> bool {
        let jumps = self.rewind.as_ref().is_some_and(|rewind| rewind.direction == Direction::Jump);
        !jumps && self.read_from.is_none_or(|from| from <= start)
    }

    /// A collection joins that the current reading covers: what others have had before does not concern it.
    pub(super) fn join(&mut self, id: CollectionId) {
        if !self.high_water_mark.is_empty() {
            self.replaying.insert(id, AppliedMarks::default());
        }
    }

    /// The acknowledged front moves. True when it has.
    pub(super) fn advance(&mut self) -> bool {
        let Some(AckedFrontier { position, mark }) = self.acks.advance() else { return false };
        self.acked = Start { position: Some(position), after: mark.ts };
        self.completed = mark;
        if self.high_water_mark.are_reached_by(mark) {
            self.high_water_mark = AppliedMarks::default();
            self.replaying.retain(|_, applied| !applied.are_reached_by(mark));
        }
        true
    }

    /// The bound to put on disk before an insert of `ts` is sent.
    pub(super) fn raise_bound(&mut self, ts: Timestamp) {
        self.bound = self.bound.max(ts.plus(BOUND_AHEAD));
    }

    /// Nothing is under way and nothing will be: the bound need not run ahead any more.
    pub(super) fn settle_bound(&mut self) {
        self.bound = self.acked.after.max(self.sent).max(self.replayed);
    }

    /// Asks for the channel to be read again, or adds to what was asked for.
    pub(super) fn request(&mut self, rewind: Rewind) {
        self.rewind = Some(match self.rewind.take() {
            None => rewind,
            Some(earlier) => earlier.and(rewind),
        });
    }

    /// Carries out the rewind that it waits for: nothing of the channel is under way or queued any more. False
    /// without one.
    pub(super) fn carry_out_rewind(&mut self) -> bool {
        let Some(rewind) = self.rewind.take() else { return false };
        self.advance();
        self.restart(&rewind);
        true
    }

    /// What was sent goes in as upserts when it is read again, for which no bound is asked: so it must be below the
    /// bound that a restart finds. (Deletes and the halves of upserts are sent beyond it.)
    fn rewound_bound(&self) -> Timestamp {
        self.bound.max(self.sent)
    }

    fn restart(&mut self, rewind: &Rewind) {
        self.acks.clear();
        let ReadingPlace { acked, high_water_mark, replaying } = self.place().rewound(rewind);
        self.acked = acked;
        self.completed = AppliedMark::NOTHING;
        self.buffer = ReorderBuffer::default();
        self.high_water_mark = high_water_mark;
        self.replaying = replaying;
        self.released = self.acked.after;
        self.read_from = self.acked.position;
        self.bound = self.rewound_bound();
        self.replayed = self.replayed.max(self.sent);
        self.epoch += 1;
        self.at_tail = false;
    }
}

#[cfg(test)]
mod tests {
    use super::super::checkpoint::Checkpoint;
    use super::*;
    use crate::domain::Channel;
    use crate::source::ReadTick;

    fn start(position: u64, after: u64) -> Start {
        Start { position: Some(Position::at(position)), after: Timestamp(after) }
    }

    fn rewind(place: Start, replaying: &[CollectionId], direction: Direction) -> Rewind {
        let replaying = replaying.iter().map(|id| (*id, AppliedMarks::default())).collect();
        Rewind { start: place, replaying, direction }
    }

    /// Everything up to the tick at its place is acknowledged.
    fn complete(channel: &mut ChannelState, ts: u64, tick: u64) {
        let mark = AppliedMark { ts: Timestamp(ts), tick: Some(Position::at(tick)) };
        channel.acks.release(0, AckedFrontier { position: Position::at(tick), mark });
        assert!(channel.advance());
    }

    fn wants(channel: &ChannelState, id: CollectionId, position: u64, ts: u64) -> bool {
        channel.wants(id, Acquaintance::Known, Position::at(position), Timestamp(ts))
    }

    #[test]
    fn a_rewind_is_for_those_replaying_only() {
        let mut channel = ChannelState::new(start(10, 100));
        complete(&mut channel, 500, 50);
        channel.sent = Timestamp(520);
        let (late, other, new) = (CollectionId(1), CollectionId(2), CollectionId(3));
        channel.request(rewind(start(20, 200), &[late], Direction::Back));
        let on_disk = channel.record();
        assert_eq!(on_disk.bound, 520, "what was sent beyond the bound is sent again as upserts");
        let pending = channel.rewind.take().unwrap();
        channel.restart(&pending);
        assert_eq!(channel.record(), on_disk, "a crash before the rewind is carried out does not forget it");
        assert_eq!(channel.acked, start(20, 200));
        assert!(wants(&channel, late, 40, 300));
        assert!(!wants(&channel, other, 40, 500) && wants(&channel, other, 40, 501));
        assert!(wants(&channel, other, 51, 300), "it stands behind the tick");
        let somewhere = Position::at(40);
        assert!(channel.wants(new, Acquaintance::New, somewhere, Timestamp(300)), "nothing of it was ever applied");
        assert!(channel.wants(late, Acquaintance::New, somewhere, Timestamp(300)));
        assert_eq!(channel.replayed, Timestamp(520), "what was sent beyond the checkpoint goes in as upserts");
        assert!(channel.covers(Position::at(20)) && !channel.covers(Position::at(19)));
    }

    /// [`Checkpoint::ticks`] finds in what is stored here the tick that shows whether a source has gone back.
    #[test]
    fn where_the_last_tick_stands_is_on_disk() {
        let mut channel = ChannelState::new(start(10, 100));
        let read = |tick| ReadTick { position: Position::at(tick), time: Timestamp(tick * 10) };
        let on_disk = |channel: &ChannelState| {
            let channels = [("a".to_owned(), channel.record())].into();
            Checkpoint { channels, ..Checkpoint::default() }.ticks()
        };
        assert_eq!(on_disk(&channel), [].into(), "nothing of it was read");
        for tick in [50, 60] {
            complete(&mut channel, tick * 10, tick);
            assert_eq!(on_disk(&channel), [(Channel::new("a"), read(tick))].into());
            assert_eq!(on_disk(&ChannelState::restore(&channel.record())), on_disk(&channel));
        }
    }

    #[test]
    fn who_is_read_again_keeps_what_that_has_brought() {
        let mut channel = ChannelState::new(start(10, 100));
        complete(&mut channel, 500, 50);
        let [first, second, other] = [1, 2, 3].map(CollectionId);
        channel.restart(&rewind(start(20, 200), &[first], Direction::Back));
        complete(&mut channel, 300, 30);
        channel.restart(&rewind(start(10, 0), &[second], Direction::Back));
        assert!(
            wants(&channel, second, 25, 250) && !wants(&channel, first, 25, 250) && wants(&channel, first, 25, 301)
        );
        assert!(!wants(&channel, other, 25, 301));
        complete(&mut channel, 400, 40);
        assert_eq!(channel.replaying.len(), 2);
        assert_eq!(ChannelState::restore(&channel.record()).record(), channel.record());
        complete(&mut channel, 500, 50);
        assert!(channel.replaying.is_empty() && channel.high_water_mark.is_empty(), "all of them go on together");
    }

    #[test]
    fn a_channel_behind_a_copy_goes_on_for_the_others() {
        let mut channel = ChannelState::new(start(5, 50));
        let (copied, other) = (CollectionId(1), CollectionId(2));
        channel.restart(&rewind(start(20, 200), &[copied], Direction::Back));
        assert_eq!(channel.acked, start(5, 50), "the others have not come further");
        assert!(wants(&channel, other, 6, 150));
    }

    #[test]
    fn the_channel_is_read_again_for_what_was_set_aside() {
        let mut channel = ChannelState::new(start(10, 100));
        let (stuck, other) = (CollectionId(1), CollectionId(2));
        complete(&mut channel, 500, 50);
        channel.set_aside(stuck);
        complete(&mut channel, 900, 90);
        channel.set_aside(stuck);
        assert!(!wants(&channel, stuck, 95, 950) && wants(&channel, other, 95, 950));
        assert_eq!((channel.acked().after, channel.acked_by_all()), (Timestamp(900), Timestamp(500)));
        let restarted = ChannelState::restore(&channel.record());
        channel.bring_back(stuck);
        assert!(channel.awaits_rewind());
        assert_eq!(channel.acked_by_all(), Timestamp(500), "until it is carried out, too");
        assert!(channel.carry_out_rewind());
        for channel in [&channel, &restarted] {
            assert_eq!(channel.acked(), start(50, 500));
            assert!(wants(channel, stuck, 60, 600) && wants(channel, stuck, 95, 950), "all that it lacks");
            assert!(!wants(channel, stuck, 40, 400), "no more than that");
            assert!(!wants(channel, other, 60, 600) && wants(channel, other, 95, 950), "the others go on");
        }
        channel.set_aside(stuck);
        channel.forget_aside(stuck);
        channel.bring_back(stuck);
        assert!(!channel.awaits_rewind());
    }

    #[test]
    fn a_gap_jumps_forward() {
        let mut channel = ChannelState::new(start(50, 500));
        channel.restart(&rewind(start(90, 900), &[], Direction::Jump));
        assert_eq!(channel.acked, start(90, 900));
        assert!(wants(&channel, CollectionId(1), 91, 900), "nothing was applied by reading it");
    }

    #[test]
    fn who_joins_before_a_jump_misses_nothing() {
        let mut channel = ChannelState::new(start(10, 100));
        channel.request(rewind(start(90, 900), &[], Direction::Jump));
        assert!(!channel.covers(Position::at(50)));
        let (id, begin) = (CollectionId(1), Start { position: Some(Position::at(50)), after: Timestamp::ZERO });
        channel.request(rewind(begin, &[id], Direction::Back));
        let pending = channel.rewind.take().unwrap();
        channel.restart(&pending);
        assert_eq!(channel.acked.position, Some(Position::at(50)));
        assert!(wants(&channel, id, 51, 510));
    }

    #[test]
    fn a_message_behind_a_later_tick_is_new() {
        let mut channel = ChannelState::new(start(5, 50));
        complete(&mut channel, 90, 9);
        let restarted = ChannelState::restore(&channel.record());
        channel.restart(&rewind(start(2, 20), &[], Direction::Back));
        for channel in [&channel, &restarted] {
            assert!(wants(channel, CollectionId(1), 10, 80) && !wants(channel, CollectionId(1), 8, 80));
        }
    }

    #[test]
    fn who_is_new_after_a_restart_gets_what_was_passed_over() {
        let mut channel = ChannelState::new(start(1, 10));
        let mark = AppliedMark { ts: Timestamp(79), tick: Some(Position::at(9)) };
        channel.acks.release(0, AckedFrontier { position: Position::at(5), mark });
        assert!(channel.advance());
        let mut restarted = ChannelState::restore(&channel.record());
        assert!(restarted.covers(Position::at(6)), "half an upsert keeps the position before the mark");
        let id = CollectionId(1);
        assert!(restarted.wants(id, Acquaintance::New, Position::at(7), Timestamp(70)));
        restarted.join(id);
        assert!(wants(&restarted, id, 7, 70) && !wants(&restarted, CollectionId(2), 7, 70));
    }

    #[test]
    fn survives_the_file() {
        let mut channel = ChannelState::new(start(5, 50));
        channel.raise_bound(Timestamp(60));
        let mark = |ts, tick| AppliedMark { ts: Timestamp(ts), tick: Some(Position::at(tick)) };
        channel.high_water_mark = [mark(70, 8)].into_iter().collect();
        channel.completed = mark(65, 9);
        channel.replaying = [(CollectionId(7), AppliedMarks::default())].into();
        let restored = ChannelState::restore(&channel.record());
        assert_eq!(restored.record(), channel.record());
        assert_eq!(restored.replayed, channel.bound);
        assert_eq!(restored.high_water_mark, [mark(70, 8), mark(65, 9)].into_iter().collect());
        assert_eq!(restored.replaying, [(CollectionId(7), [mark(65, 9)].into_iter().collect())].into());
    }
}
