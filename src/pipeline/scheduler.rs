/*!
Which calls may be under way at once: lanes side by side, in turn. Keys hash to shards, so two lanes never touch the same
key and need no order between them.
*/

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use super::collection::CollectionInfo;
use super::lane::{CallId, Done, Lane, Rules, Step};
use super::order::Op;
use super::truncation::Truncations;
use crate::domain::{Channel, CollectionId, Timestamp};

pub(super) type LaneKey = (CollectionId, Channel);

/// Lanes and calls under way of one task.
#[derive(Debug, Default)]
pub struct Scheduler {
    pub(super) lanes: BTreeMap<LaneKey, Lane>,
    /// Collections whose rows are being removed on the target: nothing else of them may be under way.
    pub(super) truncations: Truncations,
    /// Where the last call came from: the next look begins behind it, so that every lane gets its turn.
    turn: Option<LaneKey>,
    next_call: u64,
    bytes: usize,
    calls: usize,
}

impl Scheduler {
    /// Queues an operation behind the earlier ones of its lane.
    pub fn push(&mut self, op: Op) {
        self.bytes += op.weight;
        self.lanes.entry((op.collection, op.channel.clone())).or_default().queue.push_back(op);
    }

    /// Bytes queued and under way.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Calls under way.
    pub fn calls(&self) -> usize {
        self.calls
    }

    /// Calls of one collection under way.
    pub fn calls_of(&self, collection: CollectionId) -> usize {
        let truncation = usize::from(self.truncations.is_under_way(collection));
        self.lanes_of(collection).map(|(_, lane)| lane.under_way.len()).sum::<usize>() + truncation
    }

    /// Calls for records of one channel under way.
    pub fn calls_on(&self, channel: &Channel) -> usize {
        let lanes = self.lanes.iter().filter(|((_, on), _)| on == channel).map(|(_, lane)| lane.under_way.len());
        lanes.sum::<usize>() + self.truncations.on(channel)
    }

    /// Bytes queued for one collection.
    pub fn bytes_of(&self, collection: CollectionId) -> usize {
        self.lanes_of(collection).flat_map(|(_, lane)| &lane.queue).map(|op| op.weight).sum()
    }

    /// The collections that operations are queued for.
    pub fn waiting(&self) -> std::collections::BTreeSet<CollectionId> {
        self.lanes.iter().filter(|(_, lane)| !lane.queue.is_empty()).map(|((id, _), _)| *id).collect()
    }

    fn lanes_of(&self, collection: CollectionId) -> impl Iterator<Item = (&LaneKey, &Lane)> {
        self.lanes.range((collection, Channel::new(""))..).take_while(move |((id, _), _)| *id == collection)
    }

    /// Removes queued operations that need not be applied any more. What is under way stays.
    pub fn discard(&mut self, unwanted: impl Fn(&Op) -> bool) -> Vec<Done> {
        let mut discarded = Vec::new();
        for lane in self.lanes.values_mut() {
            lane.queue.retain(|op| {
                let drop = unwanted(op);
                if drop {
                    self.bytes = self.bytes.saturating_sub(op.weight);
                    discarded.extend(op.done());
                }
                !drop
            });
        }
        self.lanes.retain(|_, lane| !lane.queue.is_empty() || !lane.under_way.is_empty());
        discarded
    }

    /// A call has ended: what is done with it.
    pub fn finish(&mut self, collection: CollectionId, id: CallId) -> Vec<Done> {
        if let Some(done) = self.truncations.finish(collection, id) {
            self.calls -= 1;
            return done;
        }
        let keys: Vec<LaneKey> = self.lanes_of(collection).map(|(key, _)| key.clone()).collect();
        for key in keys {
            let Some(lane) = self.lanes.get_mut(&key) else { continue };
            let Some(index) = lane.under_way.iter().position(|call| call.id == id) else { continue };
            let call = lane.under_way.swap_remove(index);
            self.bytes = self.bytes.saturating_sub(call.bytes);
            self.calls -= 1;
            if lane.queue.is_empty() && lane.under_way.is_empty() {
                self.lanes.remove(&key);
            }
            return call.done;
        }
        Vec::new()
    }

    /// The next thing to do.
    pub fn next(&mut self, rules: &impl Rules) -> Step {
        for key in self.lanes_in_turn() {
            if self.truncations.is_under_way(key.0) {
                continue;
            }
            let Some(info) = rules.collection(key.0).filter(|_| rules.open(&key.1)) else { continue };
            if let Some(step) = self.truncate(&key, &info, rules) {
                return step;
            }
            let Some(lane) = self.lanes.get_mut(&key) else { continue };
            let queued: usize = lane.queue.front().map_or(0, |op| op.weight);
            let step = lane.start(&info, rules, CallId(self.next_call));
            match &step {
                Step::Idle => continue,
                Step::Call(_) => {
                    self.next_call += 1;
                    self.calls += 1;
                    self.turn = Some(key);
                }
                Step::Skip(..) => self.bytes = self.bytes.saturating_sub(queued),
                Step::RaiseBound(..) | Step::Unknown(_) | Step::Unreadable(..) | Step::Compare(_) => {}
            }
            return step;
        }
        Step::Idle
    }

    /// Removes the rows of a collection when every one of its shards has come so far.
    fn truncate(&mut self, key: &LaneKey, info: &Arc<CollectionInfo>, rules: &impl Rules) -> Option<Step> {
        let id = CallId(self.next_call);
        let (step, bytes) = self.truncations.start(&mut self.lanes, key, info, rules, id)?;
        self.bytes = self.bytes.saturating_sub(bytes);
        if matches!(step, Step::Call(_)) {
            self.next_call += 1;
            self.calls += 1;
        }
        Some(step)
    }

    /// The ticks, by channel, that the truncation of this call stands at.
    pub fn truncated(&self, collection: CollectionId, id: CallId) -> Option<Vec<(Channel, Timestamp)>> {
        self.truncations.ticks(collection, id)
    }

    /// Truncations that some shards have reached and others have not, with the time of the first and the channels missing.
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
