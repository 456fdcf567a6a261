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
