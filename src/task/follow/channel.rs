//! What a task knows of one physical channel.

use std::collections::BTreeMap;
use std::time::Duration;

use super::checkpoint::{ChannelRecord, MarkRecord, PositionRecord};
use crate::domain::{CollectionId, Position, Timestamp};
use crate::pipeline::{Acknowledged, Mark, Pending, Progress};
use crate::source::Start;

/// One channel's state.
#[derive(Debug)]
pub(super) struct ChannelState {
    /// Of the current reading; events of earlier ones are stale.
    pub(super) epoch: u64,
    /// Everything up to this tick has been acknowledged; reading would go on at this position.
    pub(super) acked: Start,
    /// Where that tick stands (see [`Mark`]).
    pub(super) tick: Option<Position>,
    /// Where the current reading began.
    pub(super) read_from: Option<Position>,
    /// On disk: no insert later than this may be sent.
    pub(super) bound: Timestamp,
    /// Inserts up to this may have been sent by an earlier reading.
    pub(super) replayed: Timestamp,
    /// The latest insert that was sent.
    pub(super) sent: Timestamp,
    /// Collections not in `behind` have been applied up to this.
    pub(super) ahead: Mark,
    /// Collections that are being read again, and what of each has been applied already.
    pub(super) behind: BTreeMap<CollectionId, Mark>,
    /// What waits for its tick.
    pub(super) pending: Pending,
    /// What was released and waits for its acknowledgement.
    pub(super) progress: Progress,
    /// The last tick that was released.
    pub(super) released: Timestamp,
    /// The reader has no more at the moment.
    pub(super) at_tail: bool,
    /// To be read again from elsewhere, as soon as no call is under way.
    pub(super) rewind: Option<Rewind>,
}

/// Reading a channel again.
#[derive(Debug, Clone)]
pub(super) struct Rewind {
    /// From where, at the latest.
    pub(super) start: Start,
    /// For these collections, of which everything up to the timestamp is there already.
    pub(super) behind: BTreeMap<CollectionId, Mark>,
    /// The log has lost what lies before `start`: go on there even if that is further on.
    pub(super) jump: bool,
}

/// How far the bound runs ahead of what is sent: longer means fewer writes of the file, and more upserts after a crash.
const BOUND_AHEAD: Duration = Duration::from_secs(10);

impl ChannelState {
    /// A channel that has not been read before.
    pub(super) fn new(start: Start) -> ChannelState {
        ChannelState {
            epoch: 0,
            acked: start,
            tick: None,
            read_from: start.position,
            bound: start.after,
            replayed: Timestamp::ZERO,
            sent: Timestamp::ZERO,
            ahead: Mark::NOTHING,
            behind: BTreeMap::new(),
            pending: Pending::after(Mark::up_to(start.after)),
            progress: Progress::default(),
            released: start.after,
            at_tail: false,
            rewind: None,
        }
    }

    /// A channel as an earlier run of the task left it.
    pub(super) fn restore(record: &ChannelRecord) -> ChannelState {
        let start = Start { position: record.position.map(Position::from), after: Timestamp(record.time_tick) };
        let mut restored = ChannelState {
            tick: record.tick.map(Position::from),
            bound: Timestamp(record.bound),
            replayed: Timestamp(record.bound),
            ahead: Mark::from(record.ahead),
            behind: record.behind.iter().map(|(&id, &from)| (CollectionId(id), Mark::from(from))).collect(),
            ..ChannelState::new(start)
        };
        restored.pending = Pending::after(restored.mark());
        restored
    }

    /// What has been applied, at least.
    fn mark(&self) -> Mark {
        Mark { ts: self.acked.after, tick: self.tick }
    }

    /// What of it goes to disk. A wish to read again counts as carried out: a restart must not forget it.
    pub(super) fn record(&self) -> ChannelRecord {
        let place = match &self.rewind {
            Some(rewind) => self.place().rewound(rewind),
            None => self.place(),
        };
        ChannelRecord {
            position: place.acked.position.map(PositionRecord::from),
            time_tick: place.acked.after.0,
            tick: place.tick.map(PositionRecord::from),
            bound: self.bound.0,
            ahead: MarkRecord::from(place.ahead),
            behind: place.behind.iter().map(|(id, &from)| (id.0, MarkRecord::from(from))).collect(),
        }
    }

    fn place(&self) -> ReadingPlace {
        ReadingPlace { acked: self.acked, tick: self.tick, ahead: self.ahead, behind: self.behind.clone() }
    }

    /// Whether a record has still to be applied. `known`: rows of the collection have been applied before.
    pub(super) fn wants(&self, id: CollectionId, known: bool, position: Position, ts: Timestamp) -> bool {
        if self.mark().covers(position, ts) {
            return false;
        }
        let is_behind = || self.behind.get(&id).is_some_and(|from| !from.covers(position, ts));
        !self.ahead.covers(position, ts) || !known || is_behind()
    }

    /// Whether the current reading has every message of a collection that begins at `birth`: not one that is about to jump.
    pub(super) fn covers(&self, birth: Position) -> bool {
        let jumps = self.rewind.as_ref().is_some_and(|rewind| rewind.jump);
        !jumps && self.read_from.is_none_or(|from| from <= birth)
    }

    /// The acknowledged front moves. True when it has.
    pub(super) fn advance(&mut self) -> bool {
        let Some(Acknowledged { position, mark }) = self.progress.advance() else { return false };
        self.acked = Start { position: Some(position), after: mark.ts };
        self.tick = mark.tick;
        if mark >= self.ahead {
            self.ahead = Mark::NOTHING;
            self.behind.clear();
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

    /// Adds a wish to read the channel again.
    pub(super) fn request(&mut self, rewind: Rewind) {
        match &mut self.rewind {
            None => self.rewind = Some(rewind),
            Some(earlier) => {
                earlier.jump |= rewind.jump;
                earlier.start = if rewind.jump { rewind.start } else { earliest(earlier.start, rewind.start) };
                earlier.behind.extend(rewind.behind);
            }
        }
    }

    /// Carries the wish out: nothing of the channel is under way or queued any more.
    pub(super) fn restart(&mut self, rewind: &Rewind) {
        self.progress.clear();
        let ReadingPlace { acked, tick, ahead, behind } = self.place().rewound(rewind);
        self.acked = acked;
        self.tick = tick;
        self.pending = Pending::after(self.mark());
        self.ahead = ahead;
        self.behind = behind;
        self.released = self.acked.after;
        self.read_from = self.acked.position;
        self.replayed = self.replayed.max(self.sent);
        self.epoch += 1;
        self.at_tail = false;
    }
}

/// What a rewind changes.
struct ReadingPlace {
    acked: Start,
    tick: Option<Position>,
    ahead: Mark,
    behind: BTreeMap<CollectionId, Mark>,
}

impl ReadingPlace {
    fn rewound(self, rewind: &Rewind) -> ReadingPlace {
        let applied = Mark { ts: self.acked.after, tick: self.tick };
        let mut behind: BTreeMap<CollectionId, Mark> =
            self.behind.into_iter().map(|(id, from)| (id, from.max(applied))).collect();
        behind.extend(&rewind.behind);
        let acked = if rewind.jump { rewind.start } else { earliest(rewind.start, self.acked) };
        // Behind an older moment of the same reading there is no tick that it belongs to.
        let tick = self.tick.filter(|_| acked.after == self.acked.after);
        ReadingPlace { acked, tick, ahead: self.ahead.max(applied), behind }
    }
}

/// The start that misses nothing of either.
fn earliest(a: Start, b: Start) -> Start {
    let position = match (a.position, b.position) {
        (Some(a), Some(b)) => Some(a.min(b)),
        _ => None,
    };
    Start { position, after: a.after.min(b.after) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(position: u64, after: u64) -> Start {
        Start { position: Some(Position::at(position)), after: Timestamp(after) }
    }

    #[test]
    fn a_rewind_is_for_those_behind_only() {
        let mut channel = ChannelState::new(start(50, 500));
        channel.sent = Timestamp(520);
        let (late, other, new) = (CollectionId(1), CollectionId(2), CollectionId(3));
        let behind = BTreeMap::from([(late, Mark::up_to(Timestamp(200)))]);
        channel.request(Rewind { start: start(20, 200), behind, jump: false });
        let on_disk = channel.record();
        let rewind = channel.rewind.take().unwrap();
        channel.restart(&rewind);
        assert_eq!(channel.record(), on_disk, "a crash before the rewind is carried out does not forget it");
        assert_eq!(channel.acked, start(20, 200));
        let somewhere = Position::at(40);
        assert!(channel.wants(late, true, somewhere, Timestamp(300)));
        assert!(!channel.wants(late, true, somewhere, Timestamp(200)));
        assert!(!channel.wants(other, true, somewhere, Timestamp(500)));
        assert!(channel.wants(other, true, somewhere, Timestamp(501)));
        assert!(channel.wants(new, false, somewhere, Timestamp(300)), "nothing of it was ever applied");
        assert_eq!(channel.replayed, Timestamp(520), "what was sent beyond the checkpoint goes in as upserts");
        assert!(channel.covers(Position::at(20)) && !channel.covers(Position::at(19)));
    }

    #[test]
    fn a_gap_jumps_forward() {
        let mut channel = ChannelState::new(start(50, 500));
        channel.restart(&Rewind { start: start(90, 900), behind: BTreeMap::new(), jump: true });
        assert_eq!(channel.acked, start(90, 900));
        assert!(!channel.wants(CollectionId(1), true, Position::at(91), Timestamp(900)));
    }

    #[test]
    fn who_joins_before_a_jump_misses_nothing() {
        let mut channel = ChannelState::new(start(10, 100));
        channel.request(Rewind { start: start(90, 900), behind: BTreeMap::new(), jump: true });
        assert!(!channel.covers(Position::at(50)));
        let (id, birth) = (CollectionId(1), Start { position: Some(Position::at(50)), after: Timestamp::ZERO });
        let behind = BTreeMap::from([(id, Mark::up_to(Timestamp::ZERO))]);
        channel.request(Rewind { start: birth, behind, jump: false });
        let rewind = channel.rewind.take().unwrap();
        channel.restart(&rewind);
        assert_eq!(channel.acked.position, Some(Position::at(50)));
        assert!(channel.wants(id, true, Position::at(51), Timestamp(510)));
    }

    #[test]
    fn a_message_behind_a_later_tick_is_new() {
        let mut channel = ChannelState::new(start(5, 50));
        let mark = Mark { ts: Timestamp(90), tick: Some(Position::at(9)) };
        let reached = Acknowledged { position: Position::at(9), mark };
        channel.progress.release(0, reached);
        assert!(channel.advance());
        let restarted = ChannelState::restore(&channel.record());
        for channel in [&channel, &restarted] {
            assert!(channel.wants(CollectionId(1), true, Position::at(10), Timestamp(80)));
            assert!(!channel.wants(CollectionId(1), true, Position::at(8), Timestamp(80)));
        }
        channel.restart(&Rewind { start: start(2, 20), behind: BTreeMap::new(), jump: false });
        assert!(channel.wants(CollectionId(1), true, Position::at(10), Timestamp(80)), "nor is it what is read twice");
        assert!(!channel.wants(CollectionId(1), true, Position::at(8), Timestamp(80)));
    }

    #[test]
    fn survives_the_file() {
        let mut channel = ChannelState::new(start(5, 50));
        channel.raise_bound(Timestamp(60));
        channel.behind.insert(CollectionId(7), Mark::up_to(Timestamp(3)));
        channel.ahead = Mark { ts: Timestamp(70), tick: Some(Position::at(8)) };
        channel.tick = Some(Position::at(6));
        let restored = ChannelState::restore(&channel.record());
        assert_eq!(restored.record(), channel.record());
        assert_eq!(restored.replayed, channel.bound);
    }
}
