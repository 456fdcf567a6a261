//! What a task knows of one physical channel.

use std::collections::BTreeMap;
use std::time::Duration;

use super::checkpoint::{ChannelRecord, PositionRecord};
use crate::domain::{CollectionId, Position, Timestamp};
use crate::pipeline::{Acknowledged, Pending, Progress};
use crate::source::Start;

/// One channel's state.
#[derive(Debug)]
pub(super) struct ChannelState {
    /// Of the current reading; events of earlier ones are stale.
    pub(super) epoch: u64,
    /// Everything up to this tick has been acknowledged; reading would go on at this position.
    pub(super) acked: Start,
    /// Where the current reading began.
    pub(super) read_from: Option<Position>,
    /// On disk: no insert later than this may be sent.
    pub(super) bound: Timestamp,
    /// Inserts up to this may have been sent by an earlier reading.
    pub(super) replayed: Timestamp,
    /// The latest insert that was sent.
    pub(super) sent: Timestamp,
    /// Collections not in `behind` have been applied up to this.
    pub(super) ahead: Timestamp,
    /// Collections that are being read again, and what of each has been applied already.
    pub(super) behind: BTreeMap<CollectionId, Timestamp>,
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
    pub(super) behind: BTreeMap<CollectionId, Timestamp>,
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
            read_from: start.position,
            bound: start.after,
            replayed: Timestamp::ZERO,
            sent: Timestamp::ZERO,
            ahead: Timestamp::ZERO,
            behind: BTreeMap::new(),
            pending: Pending::default(),
            progress: Progress::default(),
            released: start.after,
            at_tail: false,
            rewind: None,
        }
    }

    /// A channel as an earlier run of the task left it.
    pub(super) fn restore(record: &ChannelRecord) -> ChannelState {
        let start = Start { position: record.position.map(Position::from), after: Timestamp(record.time_tick) };
        ChannelState {
            bound: Timestamp(record.bound),
            replayed: Timestamp(record.bound),
            ahead: Timestamp(record.ahead),
            behind: record.behind.iter().map(|(&id, &from)| (CollectionId(id), Timestamp(from))).collect(),
            ..ChannelState::new(start)
        }
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
            bound: self.bound.0,
            ahead: place.ahead.0,
            behind: place.behind.iter().map(|(id, from)| (id.0, from.0)).collect(),
        }
    }

    fn place(&self) -> ReadingPlace {
        ReadingPlace { acked: self.acked, ahead: self.ahead, behind: self.behind.clone() }
    }

    /// Whether a record has still to be applied. `known`: rows of the collection have been applied before.
    pub(super) fn wants(&self, id: CollectionId, known: bool, ts: Timestamp) -> bool {
        if ts <= self.acked.after {
            return false;
        }
        ts > self.ahead || !known || self.behind.get(&id).is_some_and(|&from| ts > from)
    }

    /// Whether the current reading has had every message of a collection that begins at `birth`.
    pub(super) fn covers(&self, birth: Position) -> bool {
        self.read_from.is_none_or(|from| from <= birth)
    }

    /// The acknowledged front moves. True when it has.
    pub(super) fn advance(&mut self) -> bool {
        let Some(Acknowledged { position, time_tick }) = self.progress.advance() else { return false };
        self.acked = Start { position: Some(position), after: time_tick };
        if time_tick >= self.ahead {
            self.ahead = Timestamp::ZERO;
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
        self.pending.clear();
        self.progress.clear();
        let ReadingPlace { acked, ahead, behind } = self.place().rewound(rewind);
        self.acked = acked;
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
    ahead: Timestamp,
    behind: BTreeMap<CollectionId, Timestamp>,
}

impl ReadingPlace {
    fn rewound(self, rewind: &Rewind) -> ReadingPlace {
        let applied = self.acked.after;
        let mut behind: BTreeMap<CollectionId, Timestamp> =
            self.behind.into_iter().map(|(id, from)| (id, from.max(applied))).collect();
        behind.extend(&rewind.behind);
        let acked = if rewind.jump { rewind.start } else { earliest(rewind.start, self.acked) };
        ReadingPlace { acked, ahead: self.ahead.max(applied), behind }
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
        let behind = BTreeMap::from([(late, Timestamp(200))]);
        channel.request(Rewind { start: start(20, 200), behind, jump: false });
        let on_disk = channel.record();
        let rewind = channel.rewind.take().unwrap();
        channel.restart(&rewind);
        assert_eq!(channel.record(), on_disk, "a crash before the rewind is carried out does not forget it");
        assert_eq!(channel.acked, start(20, 200));
        assert!(channel.wants(late, true, Timestamp(300)));
        assert!(!channel.wants(late, true, Timestamp(200)));
        assert!(!channel.wants(other, true, Timestamp(500)));
        assert!(channel.wants(other, true, Timestamp(501)));
        assert!(channel.wants(new, false, Timestamp(300)), "nothing of it was ever applied");
        assert_eq!(channel.replayed, Timestamp(520), "what was sent beyond the checkpoint goes in as upserts");
        assert!(channel.covers(Position::at(20)) && !channel.covers(Position::at(19)));
    }

    #[test]
    fn a_gap_jumps_forward() {
        let mut channel = ChannelState::new(start(50, 500));
        channel.restart(&Rewind { start: start(90, 900), behind: BTreeMap::new(), jump: true });
        assert_eq!(channel.acked, start(90, 900));
        assert!(!channel.wants(CollectionId(1), true, Timestamp(900)));
    }

    #[test]
    fn survives_the_file() {
        let mut channel = ChannelState::new(start(5, 50));
        channel.raise_bound(Timestamp(60));
        channel.behind.insert(CollectionId(7), Timestamp(3));
        channel.ahead = Timestamp(70);
        let restored = ChannelState::restore(&channel.record());
        assert_eq!(restored.record(), channel.record());
        assert_eq!(restored.replayed, channel.bound);
    }
}
