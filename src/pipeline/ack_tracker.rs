/*!
Tracks how far a channel has been acknowledged. Acknowledgements arrive in any order; the checkpoint moves in the order
of the log, from time tick to time tick.
*/

use std::collections::VecDeque;

use crate::domain::{Position, Timestamp};

/// Identifies a batch: the operations that one time tick released.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub struct BatchSeq(u64);

/// Everything up to a time tick has been acknowledged; after a restart reading continues at `position`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AckedFrontier {
    /// The first message to read again: all messages before it are completed.
    pub position: Position,
    /// Which messages from there on are completed as well.
    pub mark: AppliedMark,
}

/// Completed messages: those with a timestamp up to `ts` that stand at or before a time tick. An older message behind
/// the tick is late (see `reorder_buffer`) and not completed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AppliedMark {
    /// The largest completed timestamp.
    pub ts: Timestamp,
    /// The position of the tick; `None`: messages are completed wherever they stand.
    pub tick: Option<Position>,
}

impl AppliedMark {
    /// No message is completed.
    pub const NOTHING: AppliedMark = AppliedMark { ts: Timestamp::ZERO, tick: None };

    /// Whether a message is completed.
    pub fn covers(self, position: Position, ts: Timestamp) -> bool {
        ts <= self.ts && self.tick.is_none_or(|tick| position <= tick)
    }
}

#[derive(Debug)]
struct Batch {
    seq: BatchSeq,
    outstanding: usize,
    /// `None`: the frontier does not move by it.
    reached: Option<AckedFrontier>,
}

/// The released batches of one channel.
#[derive(Debug, Default)]
pub struct AckTracker {
    batches: VecDeque<Batch>,
    next: u64,
}

impl AckTracker {
    /// Adds a batch of `operations` operations; once all of them are acknowledged, the frontier is `reached`.
    pub fn release(&mut self, operations: usize, reached: AckedFrontier) -> BatchSeq {
        self.push(operations, Some(reached))
    }

    /// Adds a batch that no tick has completed: after a restart its messages are read again.
    pub fn release_open(&mut self, operations: usize) -> BatchSeq {
        self.push(operations, None)
    }

    fn push(&mut self, operations: usize, reached: Option<AckedFrontier>) -> BatchSeq {
        let seq = BatchSeq(self.next);
        self.next += 1;
        self.batches.push_back(Batch { seq, outstanding: operations, reached });
        if operations == 0 {
            self.merge_finished(self.batches.len() - 1);
        }
        seq
    }

    /// Merges a finished batch with finished neighbours: keeps the queue short while an old batch is held up. Every
    /// second batch at most is a finished one.
    fn merge_finished(&mut self, index: usize) {
        for later in [index + 1, index] {
            let is_finished = |index: usize| self.batches.get(index).is_some_and(|batch| batch.outstanding == 0);
            if later > 0
                && is_finished(later - 1)
                && is_finished(later)
                && let Some(merged) = self.batches.remove(later)
                && let Some(before) = self.batches.get_mut(later - 1)
            {
                before.reached = merged.reached.or(before.reached);
            }
        }
    }

    /// Acknowledges one operation of a batch.
    pub fn done(&mut self, seq: BatchSeq) {
        if let Ok(index) = self.batches.binary_search_by_key(&seq, |batch| batch.seq)
            && let Some(batch) = self.batches.get_mut(index)
        {
            batch.outstanding = batch.outstanding.saturating_sub(1);
            if batch.outstanding == 0 {
                self.merge_finished(index);
            }
        }
    }

    /// The frontier, if it has moved since the last call.
    pub fn advance(&mut self) -> Option<AckedFrontier> {
        let mut reached = None;
        while self.batches.front().is_some_and(|batch| batch.outstanding == 0) {
            reached = self.batches.pop_front().and_then(|batch| batch.reached).or(reached);
        }
        reached
    }

    /// Whether everything released has been acknowledged.
    pub fn is_idle(&self) -> bool {
        self.batches.iter().all(|batch| batch.outstanding == 0)
    }

    /// Removes all batches. Later acknowledgements of their operations have no effect.
    pub fn clear(&mut self) {
        self.batches.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(n: u64) -> AckedFrontier {
        AckedFrontier { position: Position::at(n), mark: AppliedMark { ts: Timestamp(n), tick: Some(Position::at(n)) } }
    }

    #[test]
    fn moves_in_order_whatever_the_acknowledgements_do() {
        let mut progress = AckTracker::default();
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
    fn what_no_tick_has_completed_moves_nothing() {
        let mut progress = AckTracker::default();
        progress.release(0, at(1));
        let open = progress.release_open(1);
        assert_eq!(progress.advance(), Some(at(1)));
        assert!(!progress.is_idle());
        progress.done(open);
        assert_eq!((progress.advance(), progress.is_idle()), (None, true));
        progress.release(0, at(2));
        progress.release_open(0);
        assert_eq!(progress.advance(), Some(at(2)));
    }

    #[test]
    fn busy_ticks_behind_one_that_is_stuck_do_not_pile_up() {
        let mut progress = AckTracker::default();
        let stuck = progress.release(1, at(0));
        for n in (1..3000).step_by(3) {
            let busy = [0, 1, 2].map(|more| progress.release(2, at(n + more)));
            // In any order.
            for seq in [busy[1], busy[2], busy[0], busy[2], busy[0], busy[1]] {
                progress.done(seq);
            }
            assert!(progress.batches.len() < 3, "{}", progress.batches.len());
        }
        assert_eq!(progress.advance(), None);
        let last = progress.release(1, at(3001));
        progress.done(stuck);
        assert_eq!(progress.advance(), Some(at(3000)), "{progress:?}");
        progress.done(last);
        assert_eq!((progress.advance(), progress.is_idle()), (Some(at(3001)), true));
    }

    #[test]
    fn idle_ticks_do_not_pile_up() {
        let mut progress = AckTracker::default();
        let held = progress.release(1, at(0));
        for n in 1..1000 {
            progress.release(0, at(n));
        }
        assert!(progress.batches.len() < 5, "{}", progress.batches.len());
        progress.done(held);
        assert_eq!(progress.advance(), Some(at(999)));
    }
}
