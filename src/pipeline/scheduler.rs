/*!
Decides which call starts next. Lanes are served in turn and run side by side: a key hashes to one shard, so two lanes
never touch the same key and need no order between them.
*/

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use super::collection::WritableCollection;
use super::decision::{CallId, CompletedOp, Decision, DispatchRules};
use super::lane::{CallStart, Lane, LaneKey};
use super::op::Op;
use super::truncation::Truncations;
use crate::domain::{Channel, CollectionId, Timestamp};

/// The lanes and in-flight calls of one task.
#[derive(Debug, Default)]
pub struct Scheduler {
    pub(super) lanes: BTreeMap<LaneKey, Lane>,
    /// Truncations in flight. A collection that is being truncated has no other call in flight.
    pub(super) truncations: Truncations,
    /// The lane that started the last call: the next search begins behind it, so that every lane gets its turn.
    turn: Option<LaneKey>,
    next_call: u64,
    bytes: usize,
    /// Calls that somebody makes now.
    calls: usize,
    /// Calls that have failed and wait to be tried again: nobody makes them now.
    waiting: BTreeSet<CallId>,
}

impl Scheduler {
    /// Queues an operation behind the earlier ones of its lane.
    pub fn push(&mut self, op: Op) {
        self.bytes += op.weight;
        let key = LaneKey { collection: op.collection, channel: op.channel.clone() };
        self.lanes.entry(key).or_default().queue.push_back(op);
    }

    /// The id that the next call will have.
    pub(super) fn next_call_id(&self) -> CallId {
        CallId(self.next_call)
    }

    /// An early call is all that there is in this lane.
    pub(super) fn add_early(&mut self, key: LaneKey, lane: Lane) {
        self.bytes += lane.bytes();
        self.lanes.insert(key, lane);
        self.next_call += 1;
        self.calls += 1;
    }

    /// Bytes queued and in flight.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The number of calls that are being made.
    pub fn calls(&self) -> usize {
        self.calls
    }

    /// Whether a call is being made or waits to be tried again.
    pub fn has_calls(&self) -> bool {
        self.calls > 0 || !self.waiting.is_empty()
    }

    /// The number of calls of one collection that are being made or wait to be tried again.
    pub fn calls_of(&self, collection: CollectionId) -> usize {
        let truncation = usize::from(self.truncations.is_in_flight(collection));
        self.lanes_of(collection).map(|(_, lane)| lane.in_flight.len()).sum::<usize>() + truncation
    }

    /// The number of calls for records of one channel that are being made.
    pub fn calls_on(&self, channel: &Channel) -> usize {
        let lanes = self.lanes.iter().filter(|(key, _)| key.channel == *channel);
        let calls = lanes.flat_map(|(_, lane)| &lane.in_flight).map(|call| call.id);
        calls.chain(self.truncations.on(channel)).filter(|id| !self.waiting.contains(id)).count()
    }

    /// Bytes queued for one collection.
    pub fn bytes_of(&self, collection: CollectionId) -> usize {
        self.lanes_of(collection).flat_map(|(_, lane)| &lane.queue).map(|op| op.weight).sum()
    }

    /// Bytes of one collection that are queued or in flight.
    pub fn held_bytes_of(&self, collection: CollectionId) -> usize {
        self.lanes_of(collection).map(|(_, lane)| lane.bytes()).sum()
    }

    /// Whether something of one collection waits for the catalog to describe it.
    pub fn awaits_catalog(&self, collection: CollectionId) -> bool {
        self.lanes_of(collection).any(|(_, lane)| lane.queue.front().is_some_and(|op| op.asked.is_some()))
    }

    /// The collections with queued operations.
    pub fn waiting(&self) -> BTreeSet<CollectionId> {
        self.lanes.iter().filter(|(_, lane)| !lane.queue.is_empty()).map(|(key, _)| key.collection).collect()
    }

    fn lanes_of(&self, collection: CollectionId) -> impl Iterator<Item = (&LaneKey, &Lane)> {
        let first = LaneKey { collection, channel: Channel::new("") };
        self.lanes.range(first..).take_while(move |(key, _)| key.collection == collection)
    }

    /// Removes the queued operations that `unwanted` selects. Calls in flight stay.
    pub fn discard(&mut self, unwanted: impl Fn(&Op) -> bool) -> Vec<CompletedOp> {
        let mut discarded = Vec::new();
        for lane in self.lanes.values_mut() {
            lane.queue.retain(|op| {
                let drop = unwanted(op);
                if drop {
                    self.bytes = self.bytes.saturating_sub(op.weight);
                    discarded.extend(op.completes());
                }
                !drop
            });
        }
        self.lanes.retain(|_, lane| !lane.queue.is_empty() || !lane.in_flight.is_empty());
        discarded
    }

    /// A call has failed and waits to be tried again. It stays in its lane: nothing that shares a key with it starts.
    pub fn postpone(&mut self, id: CallId) {
        if self.waiting.insert(id) {
            self.calls -= 1;
        }
    }

    /// A call that has waited is made again.
    pub fn repeat(&mut self, id: CallId) {
        if self.waiting.remove(&id) {
            self.calls += 1;
        }
    }

    /// Takes back calls of one channel that wait to be tried again, because the channel is read again. Shards of a
    /// truncation on other channels wait for it anew.
    pub fn take_back(&mut self, channel: &Channel) -> Vec<CallId> {
        let Scheduler { lanes, truncations, waiting, bytes, .. } = self;
        let mut taken = Vec::new();
        for (_, lane) in lanes.iter_mut().filter(|(key, _)| key.channel == *channel) {
            for call in lane.in_flight.extract_if(.., |call| waiting.remove(&call.id)) {
                *bytes = bytes.saturating_sub(call.bytes);
                taken.push(call.id);
            }
        }
        let truncated: Vec<CallId> = truncations.on(channel).filter(|id| waiting.remove(id)).collect();
        for id in &truncated {
            *bytes += truncations.put_back(*id, lanes);
        }
        lanes.retain(|_, lane| !lane.queue.is_empty() || !lane.in_flight.is_empty());
        taken.extend(truncated);
        taken
    }

    /// Removes an ended call and returns the operations that it consisted of.
    pub fn finish(&mut self, collection: CollectionId, id: CallId) -> Vec<CompletedOp> {
        self.repeat(id);
        if let Some(completed) = self.truncations.finish(collection, id) {
            self.calls -= 1;
            return completed;
        }
        let keys: Vec<LaneKey> = self.lanes_of(collection).map(|(key, _)| key.clone()).collect();
        for key in keys {
            let Some(lane) = self.lanes.get_mut(&key) else { continue };
            let Some(index) = lane.in_flight.iter().position(|call| call.id == id) else { continue };
            let call = lane.in_flight.swap_remove(index);
            self.bytes = self.bytes.saturating_sub(call.bytes);
            self.calls -= 1;
            if lane.queue.is_empty() && lane.in_flight.is_empty() {
                self.lanes.remove(&key);
            }
            return call.completes;
        }
        Vec::new()
    }

    /// Decides what to do next. `Idle` if no call may start now.
    pub fn next(&mut self, rules: &impl DispatchRules) -> Decision {
        for key in self.lanes_in_turn() {
            if self.truncations.is_in_flight(key.collection) {
                continue;
            }
            let Some(info) = rules.collection(key.collection).filter(|_| rules.open(&key.channel)) else { continue };
            if let Some(echoes) = self.lanes.get_mut(&key).and_then(|lane| lane.take_echoes(&info)) {
                self.bytes = self.bytes.saturating_sub(echoes.bytes);
                return Decision::Echo(echoes);
            }
            if let Some(step) = self.truncate(&key, &info, rules) {
                return step;
            }
            let Some(lane) = self.lanes.get_mut(&key) else { continue };
            let queued: usize = lane.queue.front().map_or(0, |op| op.weight);
            let step = lane.start(&info, rules, CallId(self.next_call));
            match &step {
                Decision::Idle => continue,
                Decision::Call(_) => {
                    self.next_call += 1;
                    self.calls += 1;
                    self.turn = Some(key);
                }
                Decision::Skip(..) | Decision::Expired { .. } => self.bytes = self.bytes.saturating_sub(queued),
                Decision::Unreadable(..) => self.bytes = self.lanes.values().map(Lane::bytes).sum(),
                Decision::RaiseBound(..) | Decision::Unknown(_) | Decision::Compare(_) | Decision::Echo(_) => {}
            }
            return step;
        }
        Decision::Idle
    }

    /// Starts the truncation at the head of this lane once every shard of the collection has come to it.
    fn truncate(
        &mut self,
        key: &LaneKey,
        info: &Arc<WritableCollection>,
        rules: &impl DispatchRules,
    ) -> Option<Decision> {
        let id = CallId(self.next_call);
        let (step, bytes) = self.truncations.start(&mut self.lanes, key, &CallStart { info, rules, id })?;
        self.bytes = self.bytes.saturating_sub(bytes);
        if matches!(step, Decision::Call(_)) {
            self.next_call += 1;
            self.calls += 1;
        }
        Some(step)
    }

    /// The time ticks of the truncation that this call carries out, by channel.
    pub fn truncated(&self, collection: CollectionId, id: CallId) -> Option<Vec<(Channel, Timestamp)>> {
        self.truncations.ticks(collection, id)
    }

    /// Truncations that some shards have reached and others have not.
    pub fn half_truncated(&self) -> Vec<(CollectionId, Timestamp, Vec<Channel>)> {
        Truncations::half(&self.lanes)
    }

    fn lanes_in_turn(&self) -> Vec<LaneKey> {
        let waiting = |(key, lane): (&LaneKey, &Lane)| (!lane.queue.is_empty()).then(|| key.clone());
        let Some(turn) = self.turn.clone() else { return self.lanes.iter().filter_map(waiting).collect() };
        let behind = self.lanes.range((Bound::Excluded(turn.clone()), Bound::Unbounded));
        behind.chain(self.lanes.range(..=turn)).filter_map(waiting).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Delete, Keys, PartitionId, Position};
    use crate::pipeline::testing::{COLLECTION, rules};
    use crate::pipeline::{RecordOrigin, ReorderBuffer};

    fn delete(scheduler: &mut Scheduler, channel: &str, key: i64) {
        let (channel, mut buffer) = (Channel::new(channel), ReorderBuffer::default());
        let delete = Delete { collection: COLLECTION, partition: PartitionId::ALL, keys: Keys::Int(vec![key]) };
        buffer.delete(RecordOrigin::test(&channel, 1, 10), delete);
        buffer.release(Timestamp::MAX, Position::at(99)).0.into_iter().for_each(|op| scheduler.push(op));
    }

    fn start(scheduler: &mut Scheduler) -> Option<(CallId, Channel)> {
        match scheduler.next(&rules()) {
            Decision::Call(call) => Some((call.id, call.channel)),
            _ => None,
        }
    }

    #[test]
    fn nothing_of_the_same_keys_overtakes_a_call_that_waits_to_be_tried_again() {
        let mut scheduler = Scheduler::default();
        delete(&mut scheduler, "a", 1);
        let (failed, on) = start(&mut scheduler).unwrap();
        let bytes = scheduler.bytes();
        scheduler.postpone(failed);
        assert_eq!((scheduler.calls(), scheduler.calls_of(COLLECTION), scheduler.calls_on(&on)), (0, 1, 0));
        delete(&mut scheduler, "a", 1);
        delete(&mut scheduler, "b", 1);
        assert_eq!(start(&mut scheduler).unwrap().1, Channel::new("b"), "it is another shard's");
        assert_eq!(start(&mut scheduler), None);
        scheduler.repeat(failed);
        assert_eq!((scheduler.calls(), scheduler.calls_on(&on), scheduler.bytes()), (2, 1, 3 * bytes));
        assert_eq!(scheduler.finish(COLLECTION, failed).len(), 1);
        let (again, _) = start(&mut scheduler).unwrap();
        scheduler.postpone(again);
        assert_eq!(scheduler.take_back(&on), [again], "the channel is read again");
        assert_eq!((scheduler.calls(), scheduler.calls_of(COLLECTION), scheduler.bytes()), (1, 1, bytes));
    }
}
