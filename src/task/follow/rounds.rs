/*!
Following a source that has no log: each collection's rows are compared again and again with what the last round has left on the target,
which a file of the task's holds as keys and digests (`copies/<id>.rows`).

There are no channels and no ticks. A round is a copy that compares with that file, so it goes the way of copies: the same threads, the same
waiting for what is not loaded, the same going on after a restart. The lag is the age of the oldest collection's last
complete round: everything acknowledged at the source before that round began is on the target.
*/

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::copy::{Against, CopyJob};
use super::core::Core;
use super::members::{Members, Rows};
use crate::domain::{CollectionId, Timestamp};

/// When each collection was scanned, and is scanned next.
#[derive(Debug)]
pub(super) struct Rounds {
    interval: Duration,
    collections: BTreeMap<CollectionId, Round>,
}

#[derive(Debug, Clone, Copy)]
struct Round {
    /// Everything acknowledged at the source before is on the target; `None` before the first round of this run.
    began: Option<Timestamp>,
    /// The next round, whatever the look shows.
    due: Instant,
    /// The next look at the number of rows: one that has changed starts a round early.
    look: Instant,
    count: Option<u64>,
}

/// Looks at the number of rows between two rounds.
const LOOKS: u32 = 5;
/// Not more often than this.
const SHORTEST_LOOK: Duration = Duration::from_secs(1);

impl Rounds {
    pub(super) fn every(interval: Duration) -> Rounds {
        Rounds { interval, collections: BTreeMap::new() }
    }

    /// A round is complete.
    pub(super) fn done(&mut self, id: CollectionId, began: Timestamp, count: Option<u64>) {
        self.done_at(id, began, count, Instant::now());
    }

    fn done_at(&mut self, id: CollectionId, began: Timestamp, count: Option<u64>, now: Instant) {
        let took = Duration::from_millis(Timestamp::now().physical_ms().saturating_sub(began.physical_ms()));
        let due = now + self.interval.saturating_sub(took);
        let round = Round { began: Some(began), due, look: self.next_look(now), count };
        self.collections.insert(id, round);
    }

    pub(super) fn forget(&mut self, id: CollectionId) {
        self.collections.remove(&id);
    }

    fn next_look(&self, now: Instant) -> Instant {
        now + (self.interval / LOOKS).max(SHORTEST_LOOK)
    }

    /// Whether a collection is to be scanned now; `Some(count)`: if the source does not have so many rows any more.
    #[allow(clippy::option_option)]
    fn wants(&mut self, id: CollectionId, now: Instant) -> Option<Option<u64>> {
        let fresh = Round { began: None, due: now, look: now, count: None };
        let look = self.next_look(now);
        let round = self.collections.entry(id).or_insert(fresh);
        if now >= round.due {
            return Some(None);
        }
        if now < round.look || round.count.is_none() {
            return None;
        }
        round.look = look;
        Some(round.count)
    }

    /// How far the target is behind: the age of the oldest last round. `None` while a collection has had none in this run.
    pub(super) fn lag(&self, members: &Members) -> Option<Duration> {
        let now = Timestamp::now().physical_ms();
        let mut oldest = now;
        for (id, _) in members.iter().filter(|(_, member)| member.rows == Rows::Scanned) {
            oldest = oldest.min(self.collections.get(&id)?.began?.physical_ms());
        }
        Some(Duration::from_millis(now - oldest))
    }
}

impl Core {
    /// Starts the rounds that are due.
    pub(super) fn start_rounds(&mut self) {
        let Some(rounds) = &mut self.rounds else { return };
        let now = Instant::now();
        for (id, member) in self.members.iter() {
            let Some(ready) = member.ready.as_ref().filter(|_| member.rows == Rows::Scanned && !member.blocked) else {
                continue;
            };
            if self.copier.is_active(id) {
                continue;
            }
            let Some(unless_count) = rounds.wants(id, now) else { continue };
            self.copier.start(CopyJob {
                info: ready.info.clone(),
                source: ready.source.clone(),
                against: Against::State,
                removes: true,
                adopted: ready.adopted,
                keeps_state: true,
                unless_count,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_and_looks_between_them() {
        let mut rounds = Rounds::every(Duration::from_secs(10));
        let (id, start) = (CollectionId(1), Instant::now());
        assert_eq!(rounds.wants(id, start), Some(None), "never scanned in this run");
        rounds.done_at(id, Timestamp::now(), Some(7), start);
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        assert_eq!(rounds.wants(id, at(1)), None);
        assert_eq!(rounds.wants(id, at(3)), Some(Some(7)), "a look");
        assert_eq!(rounds.wants(id, at(3)), None, "one at a time");
        assert_eq!(rounds.wants(id, at(11)), Some(None), "the comparison comes whatever looks have shown");
        let none = Members::default();
        assert_eq!(rounds.lag(&none), Some(Duration::ZERO));
    }
}
