/*!
Truncations: the one thing that waits for all shards of a collection. The source writes one message about it on each of the
collection's channels. What stands before them goes, what stands behind them stays; so the rows are removed on the target
when every shard has come to its message, everything before them is acknowledged, and nothing behind them has started.
*/

use std::collections::BTreeMap;
use std::sync::Arc;

use super::collection::CollectionInfo;
use super::lane::{Call, CallId, Done, Lane, Rules, Step, Work};
use super::order::{Op, OpBody};
use super::scheduler::LaneKey;
use crate::domain::{Channel, CollectionId, Timestamp};
use crate::milvus::rows::Place;
use crate::source::Truncate;

/// Those under way, by collection.
#[derive(Debug, Default)]
pub(super) struct Truncations(BTreeMap<CollectionId, UnderWay>);

#[derive(Debug)]
struct UnderWay {
    id: CallId,
    /// The ticks of the messages.
    ticks: Vec<(Channel, Timestamp)>,
    done: Vec<Done>,
}

impl Truncations {
    pub(super) fn is_under_way(&self, collection: CollectionId) -> bool {
        self.0.contains_key(&collection)
    }

    /// How many concern a channel.
    pub(super) fn on(&self, channel: &Channel) -> usize {
        self.0.values().filter(|under_way| under_way.ticks.iter().any(|(on, _)| on == channel)).count()
    }

    pub(super) fn ticks(&self, collection: CollectionId, id: CallId) -> Option<Vec<(Channel, Timestamp)>> {
        self.0.get(&collection).filter(|under_way| under_way.id == id).map(|under_way| under_way.ticks.clone())
    }

    pub(super) fn finish(&mut self, collection: CollectionId, id: CallId) -> Option<Vec<Done>> {
        self.0.get(&collection).filter(|under_way| under_way.id == id)?;
        self.0.remove(&collection).map(|under_way| under_way.done)
    }

    /// Starts the truncation at the head of this lane, if there is one and it may start: the step, and the bytes that left the
    /// lanes.
    pub(super) fn start(
        &mut self,
        lanes: &mut BTreeMap<LaneKey, Lane>,
        (collection, channel): &LaneKey,
        info: &Arc<CollectionInfo>,
        rules: &impl Rules,
        id: CallId,
    ) -> Option<(Step, usize)> {
        let wanted = at_head(lanes.get(&(*collection, channel.clone()))?)?.clone();
        if wanted.shares_a_channel() {
            return Some((Step::Compare(*collection), 0));
        }
        let waits = |channel: &Channel| {
            let lane = lanes.get(&(*collection, channel.clone()));
            let here = lane.is_some_and(|lane| at_head(lane) == Some(&wanted) && lane.under_way.is_empty());
            !here || !rules.open(channel)
        };
        if wanted.channels.iter().any(waits) {
            return None;
        }
        let mut under_way = UnderWay { id, ticks: Vec::new(), done: Vec::new() };
        let mut bytes = 0;
        for channel in &wanted.channels {
            let key = (*collection, channel.clone());
            let Some(op) = lanes.get_mut(&key).and_then(|lane| lane.queue.pop_front()) else { continue };
            bytes += op.weight;
            under_way.done.extend(op.done());
            under_way.ticks.push((channel.clone(), op.ts));
        }
        lanes.retain(|_, lane| !lane.queue.is_empty() || !lane.under_way.is_empty());
        let latest = under_way.ticks.iter().map(|(_, tick)| *tick).max().unwrap_or_default();
        self.0.insert(*collection, under_way);
        let place = Place { db: info.db.clone(), collection: info.name.clone(), partition: String::new() };
        let (collection, channel) = (Arc::clone(info), channel.clone());
        Some((Step::Call(Box::new(Call { id, collection, place, work: Work::Truncate, channel, latest })), bytes))
    }

    /// Those that some shards have come to and others have not: the collection, the time, the channels that are missing.
    pub(super) fn half(lanes: &BTreeMap<LaneKey, Lane>) -> Vec<(CollectionId, Timestamp, Vec<Channel>)> {
        let mut half = Vec::new();
        for ((collection, _), lane) in lanes {
            let (Some(wanted), Some(op)) = (at_head(lane), lane.queue.front()) else { continue };
            let has = |channel: &Channel| {
                lanes
                    .get(&(*collection, channel.clone()))
                    .is_some_and(|lane| lane.queue.iter().any(|op| of(op) == Some(wanted)))
            };
            let missing: Vec<Channel> = wanted.channels.iter().filter(|channel| !has(channel)).cloned().collect();
            if !missing.is_empty() {
                half.push((*collection, op.ts, missing));
            }
        }
        half
    }
}

fn of(op: &Op) -> Option<&Truncate> {
    match &op.body {
        OpBody::Truncate(truncate) => Some(truncate),
        OpBody::Insert { .. } | OpBody::Delete(_) => None,
    }
}

fn at_head(lane: &Lane) -> Option<&Truncate> {
    of(lane.queue.front()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{PartitionId, Position};
    use crate::pipeline::testing::{COLLECTION, rules};
    use crate::pipeline::{Pending, Scheduler};
    use crate::source::{Delete, Keys};

    fn truncate(channels: &[&str]) -> Truncate {
        let channels = channels.iter().map(|name| Channel::new(name)).collect();
        Truncate { collection: COLLECTION, id: 1, channels }
    }

    /// Queues deletes of keys, and `None` for the truncation, on one channel.
    fn queue(scheduler: &mut Scheduler, channel: &str, truncate: &Truncate, what: &[Option<i64>]) {
        let channel = Channel::new(channel);
        let mut pending = Pending::default();
        for (index, what) in what.iter().enumerate() {
            let (position, ts) = (Position::at(index as u64), Timestamp(10 + index as u64));
            match what {
                Some(key) => {
                    let keys = Keys::Int(vec![*key]);
                    let delete = Delete { collection: COLLECTION, partition: PartitionId::ALL, keys };
                    pending.delete(&channel, position, ts, delete);
                }
                None => pending.truncate(&channel, position, ts, truncate.clone()),
            }
        }
        pending.release(Timestamp::MAX, Position::at(99)).0.into_iter().for_each(|op| scheduler.push(op));
    }

    /// Everything that may start now, as call and words.
    fn start_all(scheduler: &mut Scheduler) -> Vec<(CallId, String)> {
        let mut started = Vec::new();
        loop {
            match scheduler.next(&rules()) {
                Step::Call(call) => {
                    let words = match &call.work {
                        Work::Delete(Keys::Int(keys)) => format!("{} {keys:?}", call.channel),
                        Work::Truncate => "truncate".into(),
                        other => panic!("{other:?}"),
                    };
                    started.push((call.id, words));
                }
                Step::Idle => return started,
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn waits_for_every_shard_and_everything_for_it() {
        let both = truncate(&["a", "b"]);
        let mut scheduler = Scheduler::default();
        queue(&mut scheduler, "a", &both, &[Some(1), None, Some(2)]);
        let first = start_all(&mut scheduler);
        assert_eq!(first.iter().map(|(_, words)| words.as_str()).collect::<Vec<_>>(), ["a [1]"]);
        scheduler.finish(COLLECTION, first[0].0);
        assert!(start_all(&mut scheduler).is_empty(), "the other shard has not come so far");
        assert_eq!(scheduler.half_truncated(), [(COLLECTION, Timestamp(11), vec![Channel::new("b")])]);

        queue(&mut scheduler, "b", &both, &[Some(3), None, Some(4)]);
        assert!(scheduler.half_truncated().is_empty());
        let third = start_all(&mut scheduler);
        assert_eq!(third.iter().map(|(_, words)| words.as_str()).collect::<Vec<_>>(), ["b [3]"]);
        assert!(start_all(&mut scheduler).is_empty(), "what stands before it is not acknowledged");
        scheduler.finish(COLLECTION, third[0].0);

        let truncation = start_all(&mut scheduler);
        assert_eq!(truncation.iter().map(|(_, words)| words.as_str()).collect::<Vec<_>>(), ["truncate"]);
        assert_eq!((scheduler.calls(), scheduler.calls_of(COLLECTION)), (1, 1));
        assert_eq!(scheduler.calls_on(&Channel::new("b")), 1, "a channel of it may not be read again now");
        let ticks = scheduler.truncated(COLLECTION, truncation[0].0).unwrap();
        assert_eq!(ticks, [(Channel::new("a"), Timestamp(11)), (Channel::new("b"), Timestamp(11))]);
        assert_eq!(scheduler.finish(COLLECTION, truncation[0].0).len(), 2, "one message of each shard is done");

        let rest: Vec<String> = start_all(&mut scheduler).into_iter().map(|(_, words)| words).collect();
        assert_eq!(rest, ["a [2]", "b [4]"]);
    }

    #[test]
    fn shards_on_one_channel_are_compared() {
        let mut scheduler = Scheduler::default();
        queue(&mut scheduler, "a", &truncate(&["a", "a"]), &[None]);
        assert!(matches!(scheduler.next(&rules()), Step::Compare(COLLECTION)));
    }
}
