/*!
How far a channel has been acknowledged. Acknowledgements come in any order; the checkpoint moves in the order of the
log, from tick to tick.
*/

use std::collections::VecDeque;

use crate::domain::{Position, Timestamp};

/// A released batch: everything that one tick set free.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub struct BatchSeq(u64);

/// Everything up to a tick has been acknowledged; reading goes on at `position`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Acknowledged {
    /// The first message to read again. Those before it are done with.
    pub position: Position,
    /// What else is done with of the messages from there on.
    pub mark: Mark,
}

/// Messages that are done with: those with a timestamp up to `ts` that stand at or before a tick. One that stands behind the
/// tick and is older than it has come too late (see `order`), but nothing has been done about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Mark {
    /// Up to this.
    pub ts: Timestamp,
    /// Where the tick stands; none: wherever the messages stand.
    pub tick: Option<Position>,
}

impl Mark {
    /// No message.
    pub const NOTHING: Mark = Mark { ts: Timestamp::ZERO, tick: None };

    /// Everything up to a timestamp.
    pub fn up_to(ts: Timestamp) -> Mark {
        Mark { ts, tick: None }
    }

    /// Whether a message is among them.
    pub fn covers(self, position: Position, ts: Timestamp) -> bool {
        ts <= self.ts && self.tick.is_none_or(|tick| position <= tick)
    }
}

#[derive(Debug)]
struct Batch {
    seq: BatchSeq,
    outstanding: usize,
    reached: Acknowledged,
}

/// One channel's released batches.
#[derive(Debug, Default)]
pub struct Progress {
    batches: VecDeque<Batch>,
    next: u64,
}

impl Progress {
    /// Notes a batch of `operations` operations; once all of them are acknowledged, `reached` holds.
    pub fn release(&mut self, operations: usize, reached: Acknowledged) -> BatchSeq {
        let seq = BatchSeq(self.next);
        self.next += 1;
        self.batches.push_back(Batch { seq, outstanding: operations, reached });
        if operations == 0 {
            self.merge_idle();
        }
        seq
    }

    /// Two finished batches at the end are one: keeps the queue short while something old is held up.
    fn merge_idle(&mut self) {
        let len = self.batches.len();
        if len >= 2 && self.batches[len - 1].outstanding == 0 && self.batches[len - 2].outstanding == 0 {
            let last = self.batches.remove(len - 1);
            if let (Some(last), Some(before)) = (last, self.batches.back_mut()) {
                before.reached = last.reached;
            }
        }
    }

    /// One operation of a batch is done with.
    pub fn done(&mut self, seq: BatchSeq) {
        if let Ok(index) = self.batches.binary_search_by_key(&seq, |batch| batch.seq)
            && let Some(batch) = self.batches.get_mut(index)
        {
            batch.outstanding = batch.outstanding.saturating_sub(1);
        }
    }

    /// How far the acknowledged front has moved since the last call; `None` when it has not.
    pub fn advance(&mut self) -> Option<Acknowledged> {
        let mut reached = None;
        while self.batches.front().is_some_and(|batch| batch.outstanding == 0) {
            reached = self.batches.pop_front().map(|batch| batch.reached);
        }
        reached
    }

    /// Whether everything released has been acknowledged.
    pub fn is_idle(&self) -> bool {
        self.batches.iter().all(|batch| batch.outstanding == 0)
    }

    /// Forgets the batches under way: their acknowledgements will find nothing any more.
    pub fn clear(&mut self) {
        self.batches.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(n: u64) -> Acknowledged {
        Acknowledged { position: Position::at(n), mark: Mark { ts: Timestamp(n), tick: Some(Position::at(n)) } }
    }

    #[test]
    fn moves_in_order_whatever_the_acknowledgements_do() {
        let mut progress = Progress::default();
        let first = progress.release(2, at(1));
        let second = progress.release(1, at(2));
        progress.release(0, at(3));
        progress.done(second);
        assert_eq!(progress.advance(), None);
        progress.done(first);
        assert_eq!(progress.advance(), None);
        progress.done(first);
        assert_eq!(progress.advance(), Some(at(3)));
        assert_eq!(progress.advance(), None);
    }

    #[test]
    fn idle_ticks_do_not_pile_up() {
        let mut progress = Progress::default();
        let held = progress.release(1, at(0));
        for n in 1..1000 {
            progress.release(0, at(n));
        }
        assert!(progress.batches.len() < 5, "{}", progress.batches.len());
        progress.done(held);
        assert_eq!(progress.advance(), Some(at(999)));
    }
}
