/*!
Inserts that are sent when they are read, not when their tick has been read.

A tick is waited for because what it releases has an order; an insert of a key that nothing else concerns needs none. It
goes early if its channel is caught up and nothing of its collection waits in its lane or is under way there. It stays
in the reorder buffer all the same, since only its tick lets positions move past it.

What then comes with its tick, or with an earlier one, may belong before it: a delete of its key, a truncation, another
insert of the key. Whatever of that kind goes into the lane undoes the early insert, or stands beside it. So the insert
follows once more, in its place in the order, as an upsert (`Op::replaces`). Without such a thing it is done: as soon as
its early call is acknowledged.

Kept for the tick: deletes and halves of upserts; keys that are there twice among what waits; what bears a mark; what
may be on the target already, and would be an upsert.
*/

use std::sync::Arc;

use super::collection::WritableCollection;
use super::decision::{CallId, CompletedOp, Decision, DispatchRules};
use super::early_inserts::WaitingKeys;
use super::lane::{CALL_BYTES, Lane, LaneKey};
use super::op::Op;
use super::reorder_buffer::ReorderBuffer;
use super::scheduler::Scheduler;
use crate::domain::{Channel, CollectionId};

impl ReorderBuffer {
    /// Whether it is worth asking what may be sent before its tick.
    pub fn may_send_early(&self) -> bool {
        let has_candidates = |waiting: &WaitingKeys| !waiting.candidates.is_empty();
        self.early.looked < self.ops.len() || self.early.waiting.values().any(has_candidates)
    }

    /// Copies of a collection's inserts that may go early, with their places; none is asked for again before its tick.
    fn take_candidates(&mut self, info: &WritableCollection) -> Vec<(usize, Op)> {
        let Some(waiting) = self.early.waiting.get_mut(&info.id) else { return Vec::new() };
        let mut candidates = std::mem::take(&mut waiting.candidates);
        // What one call cannot take is not copied for it.
        let partition_of = |index: &usize| self.ops.get(*index).map(|op| op.partition);
        let first = candidates.first().and_then(partition_of);
        let mut bytes = 0;
        let fits = |index: &&usize| {
            bytes += self.ops.get(**index).map_or(0, |op| op.weight);
            bytes <= CALL_BYTES && (info.unnamed_partitions || partition_of(index) == first)
        };
        let number = candidates.iter().take_while(fits).count().max(1).min(candidates.len());
        waiting.candidates = candidates.split_off(number);
        let alone = |index: usize| {
            let op = self.ops.get(index).filter(|op| !waiting.is_opaque && waiting.is_alone(op))?;
            Some((index, op.clone()))
        };
        candidates.into_iter().filter_map(alone).collect()
    }

    /// The first of these went with this call; the others may go later.
    fn note_early(&mut self, places: &[usize], went: usize, call: CallId, info: &WritableCollection) {
        let (gone, left) = places.split_at(went.min(places.len()));
        for index in gone {
            if let Some(op) = self.ops.get_mut(*index) {
                op.went_early = Some(call);
            }
        }
        if let Some(waiting) = self.early.waiting.get_mut(&info.id) {
            waiting.candidates.splice(0..0, left.iter().copied());
        }
        if !gone.is_empty() {
            self.early.sent.insert(info.id, info.key.name.clone());
        }
    }
}

impl Scheduler {
    /// Starts a call for inserts of a channel that wait for their tick. Asked when nothing that has been released can
    /// start and the channel is caught up.
    pub fn next_early(
        &mut self,
        channel: &Channel,
        buffer: &mut ReorderBuffer,
        rules: &impl DispatchRules,
    ) -> Decision {
        let ReorderBuffer { ops, early, .. } = buffer;
        early.look(ops, rules);
        let with_candidates = early.waiting.iter().filter(|(_, waiting)| !waiting.candidates.is_empty());
        let collections: Vec<CollectionId> = with_candidates.map(|(id, _)| *id).collect();
        for collection in collections {
            let key = LaneKey { collection, channel: channel.clone() };
            let is_idle = self.lanes.get(&key).is_none_or(|lane| lane.queue.is_empty() && lane.in_flight.is_empty());
            if !is_idle || self.truncations.is_in_flight(collection) {
                continue;
            }
            let Some(info) = rules.collection(collection) else { continue };
            let step = self.start_early(key, buffer, &info, rules);
            if !matches!(step, Decision::Idle) {
                return step;
            }
        }
        Decision::Idle
    }

    fn start_early(
        &mut self,
        key: LaneKey,
        buffer: &mut ReorderBuffer,
        info: &Arc<WritableCollection>,
        rules: &impl DispatchRules,
    ) -> Decision {
        let (places, copies): (Vec<usize>, Vec<Op>) = buffer.take_candidates(info).into_iter().unzip();
        let mut lane = Lane { queue: copies.into(), in_flight: Vec::new() };
        let id = self.next_call_id();
        match lane.start(info, rules, id) {
            Decision::Call(call) => {
                let went = places.len() - lane.queue.len();
                lane.queue.clear();
                // They are completed when their tick has released them.
                lane.in_flight.iter_mut().for_each(|call| call.completes.clear());
                buffer.note_early(&places, went, id, info);
                self.add_early(key, lane);
                Decision::Call(call)
            }
            Decision::RaiseBound(channel, ts) => {
                buffer.note_early(&places, 0, id, info);
                Decision::RaiseBound(channel, ts)
            }
            // Whatever is to be said about it is said when it is released.
            _ => Decision::Idle,
        }
    }

    /// Takes what a tick has released: queues it, unless it went early and need not go in once more. Answers what is
    /// done with that.
    pub fn push_released(&mut self, op: Op) -> Vec<CompletedOp> {
        let Some(call) = op.went_early.filter(|_| op.is_early()) else {
            self.push(op);
            return Vec::new();
        };
        let key = LaneKey { collection: op.collection, channel: op.channel.clone() };
        let calls = self.lanes.get_mut(&key).into_iter().flat_map(|lane| &mut lane.in_flight);
        match calls.into_iter().find(|in_flight| in_flight.id == call) {
            Some(in_flight) => {
                in_flight.completes.extend(op.completes());
                Vec::new()
            }
            // It has been acknowledged: whatever else ends a call takes its operations out of the buffer, too.
            None => op.completes(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Delete, Insert, Keys, Mark, PartitionId, Position, Timestamp, Truncate, Write};
    use crate::milvus::field_data::testing::{longs, strings};
    use crate::pipeline::testing::{COLLECTION, rules, rules_for};
    use crate::pipeline::{Call, RecordOrigin, Work};

    /// A channel that is caught up, and the lanes behind it.
    struct Reading {
        channel: Channel,
        buffer: ReorderBuffer,
        lanes: Scheduler,
        position: u64,
    }

    /// What happens before it is asked what may go early.
    type Prepare<'a> = &'a dyn Fn(&mut Reading);

    fn insert(key: i64) -> Insert {
        let columns = vec![longs("id", &[key]), strings("text", &["x"])];
        let (collection, partition) = (COLLECTION, PartitionId::ALL);
        Insert { collection, partition, rows: 1, columns, half: false, row_id: None }
    }

    impl Reading {
        fn new() -> Reading {
            let (buffer, lanes) = (ReorderBuffer::default(), Scheduler::default());
            Reading { channel: Channel::new("c"), buffer, lanes, position: 0 }
        }

        fn at(&mut self, ts: u64) -> (Channel, Position, Timestamp) {
            self.position += 1;
            (self.channel.clone(), Position::at(self.position), Timestamp(ts))
        }

        fn insert(&mut self, ts: u64, insert: Insert, mark: Option<Mark>) {
            let (channel, position, ts) = self.at(ts);
            self.buffer.insert(RecordOrigin { channel: &channel, position, ts, mark }, insert);
        }

        fn row(&mut self, ts: u64, key: i64) {
            self.insert(ts, insert(key), None);
        }

        fn delete(&mut self, ts: u64, key: i64) {
            let (channel, position, ts) = self.at(ts);
            let delete = Delete { collection: COLLECTION, partition: PartitionId::ALL, keys: Keys::Int(vec![key]) };
            self.buffer.delete(RecordOrigin { channel: &channel, position, ts, mark: None }, delete);
        }

        fn truncate(&mut self, ts: u64) {
            let (channel, position, ts) = self.at(ts);
            let truncate = Truncate { collection: COLLECTION, id: 1, channels: vec![channel.clone()] };
            self.buffer.truncate(RecordOrigin { channel: &channel, position, ts, mark: None }, truncate);
        }

        fn early_with(&mut self, rules: &impl DispatchRules) -> Option<Box<Call>> {
            let mut next = || match self.lanes.next_early(&self.channel, &mut self.buffer, rules) {
                Decision::Call(call) => Some(call),
                Decision::Idle => None,
                other => panic!("{other:?}"),
            };
            let call = next();
            assert!(next().is_none(), "one call at a time");
            call
        }

        /// The early call that starts now.
        fn early(&mut self) -> CallId {
            let call = self.early_with(&rules()).expect("an early call");
            assert!(matches!(call.work, Work::Write { write: Write::Insert, .. }));
            call.id
        }

        /// Answers how many operations are done with it.
        fn tick(&mut self, ts: u64) -> usize {
            let (_, at, ts) = self.at(ts);
            let (released, _) = self.buffer.release(ts, at);
            released.into_iter().map(|op| self.lanes.push_released(op).len()).sum()
        }

        fn finish(&mut self, call: CallId) -> usize {
            self.lanes.finish(COLLECTION, call).len()
        }

        /// What the lanes start, one call after the other, and how many operations that completes.
        fn run(&mut self) -> (Vec<String>, usize) {
            let (mut started, mut done) = (Vec::new(), 0);
            while let Decision::Call(call) = self.lanes.next(&rules()) {
                started.push(match &call.work {
                    Work::Delete(Keys::Int(keys)) => format!("delete {keys:?}"),
                    Work::Delete(Keys::Str(_)) => panic!("integers only"),
                    Work::Write { write, rows } => format!("{write:?} of {}", rows.count()),
                    Work::Truncate => "truncate".into(),
                });
                done += self.finish(call.id);
            }
            (started, done)
        }
    }

    #[test]
    fn what_went_early_is_done_with_its_tick() {
        let mut reading = Reading::new();
        reading.row(50, 1);
        let early = reading.early();
        assert_eq!((reading.finish(early), reading.lanes.bytes()), (0, 0), "no tick has released it");
        reading.row(51, 2);
        assert_eq!(reading.tick(50), 1);
        let early = reading.early();
        assert_eq!((reading.tick(60), reading.lanes.calls_of(COLLECTION)), (0, 1), "it is not acknowledged");
        assert_eq!((reading.finish(early), reading.run()), (1, (vec![], 0)));
        assert!(reading.buffer.is_empty());
    }

    #[test]
    fn rows_that_come_while_a_call_is_under_way_go_together_after_it() {
        let mut reading = Reading::new();
        reading.row(50, 1);
        let early = reading.early();
        (2..5).for_each(|key| reading.row(51, key));
        assert!(reading.early_with(&rules()).is_none());
        reading.finish(early);
        let Work::Write { rows, .. } = reading.early_with(&rules()).unwrap().work else { panic!() };
        assert_eq!(rows.count(), 3);
    }

    #[test]
    fn an_older_operation_on_the_key_puts_the_row_in_its_place_again() {
        let expected = [
            ("delete [1]", "Upsert of 1", None),
            ("Insert of 1", "Upsert of 1", None),
            ("truncate", "Upsert of 2", Some("nothing of the shard is left")),
        ];
        for (older, then, why) in expected {
            let mut reading = Reading::new();
            reading.row(50, 1);
            reading.row(50, 2);
            let early = reading.early();
            match older {
                "truncate" => reading.truncate(40),
                "Insert of 1" => reading.row(40, 1),
                _ => reading.delete(40, 1),
            }
            let done = reading.tick(60);
            assert_eq!((done, reading.run().0.len()), (0, 0), "{older}: it waits for the early call");
            let finished = reading.finish(early);
            assert_eq!(finished, if why.is_some() { 0 } else { 1 }, "{older}: the other row is done");
            assert_eq!(reading.run(), (vec![older.to_owned(), then.to_owned()], 3 - finished), "{older}");
        }
    }

    #[test]
    fn it_is_put_in_its_place_by_its_own_tick_when_the_older_one_has_an_earlier_one() {
        let mut reading = Reading::new();
        reading.row(50, 1);
        let early = reading.early();
        reading.finish(early);
        reading.delete(30, 1);
        reading.tick(40);
        assert_eq!(reading.run(), (vec!["delete [1]".to_owned()], 1));
        assert!(reading.early_with(&rules()).is_none());
        assert_eq!((reading.tick(60), reading.run()), (0, (vec!["Upsert of 1".to_owned()], 1)));
    }

    #[test]
    fn an_older_operation_needs_no_repetition_where_it_is_younger_or_about_another_key() {
        let mut reading = Reading::new();
        reading.row(50, 1);
        let early = reading.early();
        reading.finish(early);
        reading.delete(40, 2);
        reading.delete(55, 1);
        assert_eq!((reading.tick(60), reading.run()), (1, (vec!["delete [2, 1]".to_owned()], 2)));
    }

    #[test]
    fn a_repeated_row_follows_again_after_what_follows_again() {
        let mut reading = Reading::new();
        reading.row(50, 1);
        let early = reading.early();
        reading.finish(early);
        reading.row(52, 1);
        reading.delete(40, 1);
        assert!(reading.early_with(&rules()).is_none(), "its key is there twice");
        assert_eq!(reading.tick(60), 0);
        assert_eq!(reading.run().0, ["delete [1]", "Upsert of 1", "Insert of 1"]);
    }

    #[test]
    fn what_needs_its_tick_waits_for_it() {
        let marked = |reading: &mut Reading| reading.insert(50, insert(1), Some(Mark::of(COLLECTION, Timestamp(7))));
        let kept: [(&str, Prepare<'_>); 7] = [
            ("a delete", &|reading| reading.delete(50, 1)),
            ("half an upsert", &|reading| reading.insert(50, Insert { half: true, ..insert(1) }, None)),
            ("a marked one", &marked),
            ("a key with a delete", &|reading| {
                reading.delete(40, 1);
                reading.row(50, 1);
            }),
            ("a key that is there twice", &|reading| {
                reading.row(40, 1);
                reading.row(50, 1);
            }),
            ("a truncation", &|reading| {
                reading.row(50, 1);
                reading.truncate(40);
            }),
            ("something queued", &|reading| {
                reading.delete(10, 2);
                reading.tick(20);
                reading.row(50, 1);
            }),
        ];
        for (why, prepare) in kept {
            let mut reading = Reading::new();
            prepare(&mut reading);
            assert!(reading.early_with(&rules()).is_none(), "{why}");
        }
        let copied = rules_for(|info| info.upsert_until = [(Channel::new("c"), Position::at(9))].into());
        let partitions = rules_for(|info| info.partitions = [(PartitionId(1), "p".into())].into());
        let unknown = Insert { partition: PartitionId(2), ..insert(1) };
        for (rules, insert) in [(copied, insert(1)), (partitions, unknown)] {
            let mut reading = Reading::new();
            reading.insert(50, insert, None);
            assert!(reading.early_with(&rules).is_none());
        }
    }

    #[test]
    fn what_no_tick_will_release_goes_in_once_more() {
        let mut reading = Reading::new();
        reading.row(50, 1);
        reading.early();
        assert_eq!(reading.buffer.release_rest().len(), 1);
        assert!(!reading.buffer.may_send_early());
    }
}
