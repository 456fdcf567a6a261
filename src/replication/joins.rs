/*!
Collections that join, one question to the log after the other.

One that the log cannot answer for is asked about again with growing pauses, and those that have not been asked about
come first: it delays them by the time of one question, and the log's thread is not busy with it all the time.
*/

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::backfill::SurplusRows;
use super::log_question::{Beginning, JoinQuestion, Tails};
use crate::catalog::ReadyCollection;
use crate::domain::{Channel, CollectionId, LogKind, Position, Timestamp};
use crate::source::Start;
use crate::task::noted_ends::NotedEnds;

/// How collections join.
#[derive(Debug)]
pub(super) struct Joins {
    /// Where users want collections to be read from, by channel.
    given: BTreeMap<CollectionId, BTreeMap<Channel, Start>>,
    /// Where collections are read from that both sides had, in the opposite of another task.
    noted_ends: Option<Arc<NotedEnds>>,
    /// What becomes of rows in adopted collections that the source does not have.
    surplus: SurplusRows,
    /// The collection that the log is being asked about.
    asked: Option<CollectionId>,
    /// Those that the log could not answer for.
    unanswered: BTreeMap<CollectionId, AskAgain>,
    /// The number of the last question.
    number: u64,
}

/// When the log is asked again about a collection.
#[derive(Debug, Clone, Copy)]
struct AskAgain {
    at: Instant,
    /// The pause before.
    pause: Duration,
}

/// The first pause after a question without an answer; the pauses double.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// The longest one.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

impl Joins {
    pub(super) fn new(given: BTreeMap<CollectionId, BTreeMap<Channel, Start>>, surplus: SurplusRows) -> Joins {
        Joins { given, noted_ends: None, surplus, asked: None, unanswered: BTreeMap::new(), number: 0 }
    }

    /// The same in the opposite of another task. Ends of another kind of log mean nothing.
    pub(super) fn with_noted_ends(mut self, noted: Option<&Arc<NotedEnds>>, kind: LogKind) -> Joins {
        self.noted_ends = noted.filter(|noted| noted.log == kind).cloned();
        self
    }

    /// Which of these collections the log is to be asked about now: the first that it has not been asked about, else
    /// the one that has been due for longest.
    pub(super) fn next(&self, joining: impl Iterator<Item = CollectionId>, now: Instant) -> Option<CollectionId> {
        let due = |id: &CollectionId| self.unanswered.get(id).map(|again| again.at);
        let next = joining.min_by_key(|id| (due(id), *id))?;
        (self.asked.is_none() && due(&next).is_none_or(|at| at <= now)).then_some(next)
    }

    /// The log has answered a question, or cannot.
    pub(super) fn answered(&mut self, number: u64) {
        if number == self.number {
            self.asked = None;
        }
    }

    /// It could not answer for this collection.
    pub(super) fn postpone(&mut self, id: CollectionId, now: Instant) {
        let before = self.unanswered.get(&id);
        let pause = before.map_or(FIRST_PAUSE, |again| (again.pause * 2).min(LONGEST_PAUSE));
        self.unanswered.insert(id, AskAgain { at: now + pause, pause });
    }

    /// The collection has joined, or is gone.
    pub(super) fn forget(&mut self, id: CollectionId) {
        self.unanswered.remove(&id);
    }

    /// What becomes of the rows of this collection that the source does not have.
    pub(super) fn surplus(&self, ready: &ReadyCollection) -> SurplusRows {
        if ready.adopted { self.surplus } else { SurplusRows::Keep }
    }

    /// Where the collection is to be read from, by a user's wish or since both sides have what is before: on every
    /// channel of it, or nowhere.
    pub(super) fn given(&self, ready: &ReadyCollection) -> Option<BTreeMap<Channel, Start>> {
        let start = |channel: &Channel| Some((channel.clone(), self.given_start(ready, channel)?));
        let starts: Option<BTreeMap<Channel, Start>> = ready.channels.iter().map(start).collect();
        // A source without a log has no channels, and no starts either.
        starts.filter(|starts| !starts.is_empty())
    }

    fn given_start(&self, ready: &ReadyCollection, channel: &Channel) -> Option<Start> {
        if let Some(given) = self.given.get(&ready.info.id) {
            return given.get(channel).copied();
        }
        let noted = self.noted_ends.as_ref()?;
        let is_shared = ready.adopted && noted.hold_for(ready.info.id, ready.info.target_id);
        let start = |end: &Option<Position>| Start { position: *end, after: Timestamp::ZERO };
        noted.ends.get(channel).filter(|_| is_shared).map(start)
    }

    /// The next question.
    pub(super) fn question(&mut self, ready: &ReadyCollection) -> JoinQuestion {
        let is_given = self.given(ready).is_some();
        // Only a comparison finds what the source does not have.
        let beginning = if is_given || self.surplus(ready) == SurplusRows::Remove {
            Beginning::NotAsked
        } else {
            Beginning::Asked { created: ready.created, begins: ready.begins.clone() }
        };
        let tails = if ready.adopted || is_given { Tails::Asked } else { Tails::NotAsked };
        self.number += 1;
        self.asked = Some(ready.info.id);
        JoinQuestion { id: ready.info.id, number: self.number, channels: ready.channels.clone(), beginning, tails }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replication::model::ready;

    #[test]
    fn a_collection_that_the_log_cannot_answer_for_delays_no_other() {
        let (mut joins, start) = (Joins::new(BTreeMap::new(), SurplusRows::Keep), Instant::now());
        let [bad, good, new] = [1, 2, 3].map(CollectionId);
        let next = |joins: &Joins, ids: &[CollectionId], now| joins.next(ids.iter().copied(), now);
        assert_eq!(next(&joins, &[bad, good], start), Some(bad));
        let question = joins.question(&ready(bad, 0));
        assert_eq!(next(&joins, &[bad, good], start), None, "one at a time");
        joins.answered(question.number);
        joins.postpone(bad, start);
        assert_eq!(next(&joins, &[bad, good], start), Some(good), "at once");
        assert_eq!(next(&joins, &[bad], start), None);
        assert_eq!(next(&joins, &[bad], start + FIRST_PAUSE), Some(bad));
        assert_eq!(next(&joins, &[bad, new], start + LONGEST_PAUSE), Some(new), "new ones first");
        (0..20).for_each(|_| joins.postpone(bad, start));
        assert_eq!(next(&joins, &[bad], start + LONGEST_PAUSE), Some(bad), "no pause is longer");
        joins.forget(bad);
        assert_eq!(next(&joins, &[bad], start), Some(bad));
    }

    #[test]
    fn what_both_sides_had_begins_at_the_noted_end_and_nothing_else() {
        let (id, target) = (CollectionId(1), CollectionId(70));
        let channel = ready(id, 0).channels[0].clone();
        let noted = Arc::new(NotedEnds {
            log: LogKind::Kafka,
            at: Timestamp(5),
            ends: ready(id, 0).channels.into_iter().map(|channel| (channel, Some(Position::at(9)))).collect(),
            collections: [(id, target)].into(),
        });
        let joins = |kind| Joins::new(BTreeMap::new(), SurplusRows::Keep).with_noted_ends(Some(&noted), kind);
        let with_target = |id, target, adopted| {
            let mut one = ready(id, 0);
            one.adopted = adopted;
            one.info.target_id = target;
            one
        };
        let shared = with_target(id, target, true);
        let given = joins(LogKind::Kafka).given(&shared).expect("it is noted");
        assert_eq!(given[&channel], Start { position: Some(Position::at(9)), after: Timestamp::ZERO });
        assert_eq!(joins(LogKind::RocksMq).given(&shared), None, "of another log");
        for other in [
            with_target(id, CollectionId(71), true),
            with_target(id, target, false),
            with_target(CollectionId(2), target, true),
            ReadyCollection { channels: vec![channel, Channel::new("new")], ..shared },
        ] {
            assert_eq!(joins(LogKind::Kafka).given(&other), None, "{other:?}");
        }
    }
}
