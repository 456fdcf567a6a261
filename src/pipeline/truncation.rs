/*!
Truncations: the only operation that waits for all shards of a collection. The source writes one message on each of the
collection's channels. Rows before the message are removed, rows behind it stay. So the target is truncated once every
shard has come to its message, everything before it is acknowledged, and nothing behind it has started.
*/

use std::collections::BTreeMap;
use std::sync::Arc;

use super::decision::{Call, CallId, CompletedOp, Decision, DispatchRules, Work};
use super::lane::{CallStart, Lane, LaneKey};
use super::op::{Op, OpBody};
use crate::domain::{Channel, CollectionId, Mark, RowLocation, Timestamp, Truncate};

/// The truncations in flight, by collection.
#[derive(Debug, Default)]
pub(super) struct Truncations(BTreeMap<CollectionId, InFlightTruncation>);

#[derive(Debug)]
struct InFlightTruncation {
    id: CallId,
    /// The shards' messages.
    ops: Vec<Op>,
}

impl Truncations {
    pub(super) fn is_in_flight(&self, collection: CollectionId) -> bool {
        self.0.contains_key(&collection)
    }

    /// The truncations that involve a channel.
    pub(super) fn on(&self, channel: &Channel) -> impl Iterator<Item = CallId> {
        self.0.values().filter(|in_flight| in_flight.ops.iter().any(|op| op.channel == *channel)).map(|it| it.id)
    }

    /// The time ticks of the shards' messages.
    pub(super) fn ticks(&self, collection: CollectionId, id: CallId) -> Option<Vec<(Channel, Timestamp)>> {
        let ticks = |it: &InFlightTruncation| it.ops.iter().map(|op| (op.channel.clone(), op.ts)).collect();
        self.0.get(&collection).filter(|in_flight| in_flight.id == id).map(ticks)
    }

    /// The shards' messages return to the heads of their lanes. Answers their bytes.
    pub(super) fn put_back(&mut self, id: CallId, lanes: &mut BTreeMap<LaneKey, Lane>) -> usize {
        let mut bytes = 0;
        for (collection, in_flight) in self.0.extract_if(.., |_, in_flight| in_flight.id == id) {
            for op in in_flight.ops {
                bytes += op.weight;
                lanes.entry(LaneKey { collection, channel: op.channel.clone() }).or_default().queue.push_front(op);
            }
        }
        bytes
    }

    pub(super) fn finish(&mut self, collection: CollectionId, id: CallId) -> Option<Vec<CompletedOp>> {
        self.0.get(&collection).filter(|in_flight| in_flight.id == id)?;
        self.0.remove(&collection).map(|in_flight| in_flight.ops.iter().flat_map(Op::completes).collect())
    }

    /// Starts the truncation at the head of this lane, if there is one and it may start. Returns the decision and the
    /// number of bytes that left the lanes.
    pub(super) fn start<R: DispatchRules>(
        &mut self,
        lanes: &mut BTreeMap<LaneKey, Lane>,
        key: &LaneKey,
        start: &CallStart<'_, R>,
    ) -> Option<(Decision, usize)> {
        let CallStart { info, rules, id } = *start;
        let collection = key.collection;
        let lane_of = |channel: &Channel| LaneKey { collection, channel: channel.clone() };
        let wanted = at_head(lanes.get(key)?)?.clone();
        if wanted.shares_a_channel() {
            return Some((Decision::Compare(collection), 0));
        }
        let waits = |channel: &Channel| {
            let lane = lanes.get(&lane_of(channel));
            let here = lane.is_some_and(|lane| at_head(lane) == Some(&wanted) && lane.in_flight.is_empty());
            !here || !rules.open(channel)
        };
        if wanted.channels.iter().any(waits) {
            return None;
        }
        let mut ops = Vec::new();
        for channel in &wanted.channels {
            ops.extend(lanes.get_mut(&lane_of(channel)).and_then(|lane| lane.queue.pop_front()));
        }
        let bytes = ops.iter().map(|op| op.weight).sum();
        lanes.retain(|_, lane| !lane.queue.is_empty() || !lane.in_flight.is_empty());
        let latest = ops.iter().map(|op| op.ts).max().unwrap_or_default();
        let none = Mark::of(collection, Timestamp::ZERO);
        let mark = ops.iter().fold(none, |mark, op| mark.later(op.outgoing_mark()));
        self.0.insert(collection, InFlightTruncation { id, ops });
        let place = RowLocation { db: info.db.clone(), collection: info.name.clone(), partition: String::new() };
        let (collection, channel) = (Arc::clone(info), key.channel.clone());
        let call = Call { id, collection, place, work: Work::Truncate, channel, mark, latest };
        Some((Decision::Call(Box::new(call)), bytes))
    }

    /// Truncations that some shards have come to and others have not: the collection, the time tick, the missing
    /// channels.
    pub(super) fn half(lanes: &BTreeMap<LaneKey, Lane>) -> Vec<(CollectionId, Timestamp, Vec<Channel>)> {
        let mut half = Vec::new();
        for (LaneKey { collection, .. }, lane) in lanes {
            let (Some(wanted), Some(op)) = (at_head(lane), lane.queue.front()) else { continue };
            let has = |channel: &Channel| {
                lanes
                    .get(&LaneKey { collection: *collection, channel: channel.clone() })
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
    use crate::domain::{Delete, Keys, PartitionId, Position};
    use crate::pipeline::testing::{COLLECTION, rules};
    use crate::pipeline::{RecordOrigin, ReorderBuffer, Scheduler};

    fn truncate(channels: &[&str]) -> Truncate {
        let channels = channels.iter().map(|name| Channel::new(name)).collect();
        Truncate { collection: COLLECTION, id: 1, channels }
    }

    /// Queues deletes of keys, and `None` for the truncation, on one channel.
    fn queue(scheduler: &mut Scheduler, channel: &str, truncate: &Truncate, what: &[Option<i64>]) {
        let channel = Channel::new(channel);
        let mut pending = ReorderBuffer::default();
        for (index, what) in what.iter().enumerate() {
            let from = RecordOrigin::test(&channel, index as u64, 10 + index as u64);
            match what {
                Some(key) => {
                    let keys = Keys::Int(vec![*key]);
                    let delete = Delete { collection: COLLECTION, partition: PartitionId::ALL, keys };
                    pending.delete(from, delete);
                }
                None => pending.truncate(from, truncate.clone()),
            }
        }
        pending.release(Timestamp::MAX, Position::at(99)).0.into_iter().for_each(|op| scheduler.push(op));
    }

    /// Everything that may start now, as call and words.
    fn start_all(scheduler: &mut Scheduler) -> Vec<(CallId, String)> {
        let mut started = Vec::new();
        loop {
            match scheduler.next(&rules()) {
                Decision::Call(call) => {
                    let words = match &call.work {
                        Work::Delete(Keys::Int(keys)) => format!("{} {keys:?}", call.channel),
                        Work::Truncate => "truncate".into(),
                        other => panic!("{other:?}"),
                    };
                    started.push((call.id, words));
                }
                Decision::Idle => return started,
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
    fn one_that_waits_to_be_tried_again_holds_up_no_rewind_of_a_shard() {
        let both = truncate(&["a", "b"]);
        let mut scheduler = Scheduler::default();
        queue(&mut scheduler, "a", &both, &[None, Some(1)]);
        queue(&mut scheduler, "b", &both, &[None, Some(2)]);
        let (bytes, truncation) = (scheduler.bytes(), start_all(&mut scheduler)[0].0);
        scheduler.postpone(truncation);
        assert!(start_all(&mut scheduler).is_empty(), "nothing overtakes it");
        let (a, b) = (Channel::new("a"), Channel::new("b"));
        assert_eq!((scheduler.calls(), scheduler.calls_on(&a), scheduler.has_calls()), (0, 0, true));
        assert_eq!(scheduler.take_back(&a), [truncation]);
        scheduler.discard(|op| op.channel == a);
        assert!(start_all(&mut scheduler).is_empty() && !scheduler.has_calls());
        queue(&mut scheduler, "a", &both, &[None, Some(1)]);
        assert_eq!(scheduler.bytes(), bytes);
        let again = start_all(&mut scheduler);
        assert_eq!(again.iter().map(|(_, words)| words.as_str()).collect::<Vec<_>>(), ["truncate"]);
        assert_eq!(scheduler.finish(COLLECTION, again[0].0).len(), 2);
        assert_eq!((start_all(&mut scheduler).len(), scheduler.calls_on(&b)), (2, 1));
    }

    #[test]
    fn shards_on_one_channel_are_compared() {
        let mut scheduler = Scheduler::default();
        queue(&mut scheduler, "a", &truncate(&["a", "a"]), &[None]);
        assert!(matches!(scheduler.next(&rules()), Decision::Compare(COLLECTION)));
    }
}
