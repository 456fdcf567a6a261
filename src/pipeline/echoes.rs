/*!
Whose writes operations are. What was first written to the target's own collection came from there and is not sent back:
another direction brought it to the source. What was first written elsewhere is handed on with its mark, so that it is
known wherever it comes to. (So tasks in opposite directions, and rings, are at rest when their users are.)
*/

use super::collection::WritableCollection;
use super::decision::Echoes;
use super::lane::Lane;
use super::op::{Op, OpBody};
use crate::domain::{Keys, Mark, MarkOrigin};

impl Lane {
    /// Takes the operations at the head of the queue that the target's own collection has seen first.
    pub(super) fn take_echoes(&mut self, info: &WritableCollection) -> Option<Echoes> {
        let is_echo = |op: &Op| op.mark.is_some_and(|mark| mark.is_of(info.target_id));
        let mut echoes = Echoes { rows: 0, completes: Vec::new(), bytes: 0 };
        while let Some(op) = self.queue.pop_front_if(|op| is_echo(op)) {
            echoes.rows += op.count();
            echoes.bytes += op.weight;
            echoes.completes.extend(op.completes());
        }
        (!echoes.completes.is_empty()).then_some(echoes)
    }
}

impl Op {
    /// What a call for it bears.
    pub(super) fn outgoing_mark(&self) -> Mark {
        self.mark.unwrap_or_else(|| Mark::of(self.collection, self.ts))
    }

    /// Operations of different origins have no call in common, since a call has one mark.
    pub(super) fn origin(&self) -> MarkOrigin {
        self.outgoing_mark().origin()
    }

    /// Rows, or deleted keys.
    fn count(&self) -> u64 {
        let count = match &self.body {
            OpBody::Insert { rows, .. } => *rows,
            OpBody::Delete(Keys::Int(keys)) => keys.len(),
            OpBody::Delete(Keys::Str(keys)) => keys.len(),
            OpBody::Truncate(_) => 1,
        };
        count as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Channel, CollectionId, Delete, Insert, PartitionId, Position, Timestamp, Truncate, Write};
    use crate::milvus::field_data::testing::{longs, strings};
    use crate::pipeline::testing::{COLLECTION, rules, rules_for};
    use crate::pipeline::{Call, Decision, DispatchRules, RecordOrigin, ReorderBuffer, Scheduler, Work};

    /// The target's collection, and one of a third server.
    const TARGETS: CollectionId = CollectionId(70);
    const THIRD: CollectionId = CollectionId(71);

    fn mark(id: CollectionId, ts: u64) -> Option<Mark> {
        Some(Mark::of(id, Timestamp(ts)))
    }

    /// A lane's operations with the marks of their records.
    struct Queue {
        channel: Channel,
        buffer: ReorderBuffer,
        next: u64,
    }

    impl Queue {
        fn new() -> Queue {
            Queue { channel: Channel::new("c"), buffer: ReorderBuffer::default(), next: 1 }
        }

        fn next(&mut self, mark: Option<Mark>, ts: u64) -> RecordOrigin<'_> {
            self.next += 1;
            RecordOrigin { mark, ..RecordOrigin::test(&self.channel, self.next, ts) }
        }

        fn insert(&mut self, mark: Option<Mark>, ts: u64, key: i64) {
            let columns = vec![longs("id", &[key]), strings("text", &["x"])];
            let (collection, partition) = (COLLECTION, PartitionId::ALL);
            let insert = Insert { collection, partition, rows: 1, columns, half: false, row_id: None };
            let (channel, mut buffer) = (self.channel.clone(), std::mem::take(&mut self.buffer));
            let from = self.next(mark, ts);
            buffer.insert(RecordOrigin { channel: &channel, ..from }, insert);
            self.buffer = buffer;
        }

        fn delete(&mut self, mark: Option<Mark>, ts: u64, key: i64) {
            let delete = Delete { collection: COLLECTION, partition: PartitionId::ALL, keys: Keys::Int(vec![key]) };
            let (channel, mut buffer) = (self.channel.clone(), std::mem::take(&mut self.buffer));
            let from = self.next(mark, ts);
            buffer.delete(RecordOrigin { channel: &channel, ..from }, delete);
            self.buffer = buffer;
        }

        /// What is decided until nothing can start, all calls ending at once: calls, and rows that come back.
        fn run(&mut self, rules: &impl DispatchRules) -> (Vec<Call>, u64) {
            let mut scheduler = Scheduler::default();
            let (ops, _) = self.buffer.release(Timestamp::MAX, Position::at(99));
            let queued = ops.len();
            ops.into_iter().for_each(|op| scheduler.push(op));
            let (mut calls, mut rows, mut done) = (Vec::new(), 0, 0);
            loop {
                match scheduler.next(rules) {
                    Decision::Call(call) => {
                        done += scheduler.finish(COLLECTION, call.id).len();
                        calls.push(*call);
                    }
                    Decision::Echo(echoes) => {
                        done += echoes.completes.len();
                        rows += echoes.rows;
                    }
                    Decision::Idle => break,
                    other => panic!("{other:?}"),
                }
            }
            assert_eq!((done, scheduler.bytes()), (queued, 0), "every operation is accounted for");
            (calls, rows)
        }
    }

    fn of_target() -> impl DispatchRules {
        rules_for(|info| info.target_id = TARGETS)
    }

    #[test]
    fn what_came_from_the_target_is_not_sent_back() {
        let mut queue = Queue::new();
        queue.insert(mark(TARGETS, 5), 10, 1);
        queue.insert(None, 20, 2);
        // An upsert of the target's.
        queue.delete(mark(TARGETS, 5), 30, 3);
        queue.insert(mark(TARGETS, 5), 30, 3);
        queue.delete(None, 40, 1);
        queue.delete(mark(TARGETS, 5), 50, 2);
        let (calls, echoes) = queue.run(&of_target());
        let kinds: Vec<bool> = calls.iter().map(|call| matches!(call.work, Work::Write { .. })).collect();
        assert_eq!((kinds, echoes), (vec![true, false], 4));
    }

    #[test]
    fn a_target_without_ids_has_nothing_of_its_own() {
        for id in [CollectionId(0), CollectionId(-7)] {
            let mut queue = Queue::new();
            queue.insert(mark(CollectionId(0), 5), 10, 1);
            queue.insert(mark(CollectionId(-7), 5), 20, 2);
            let (calls, echoes) = queue.run(&rules_for(|info| info.target_id = id));
            assert_eq!((calls.len(), echoes), (1, 0), "both rows in one call");
        }
    }

    #[test]
    fn a_users_write_bears_the_sources_collection_and_a_foreign_one_keeps_its_mark() {
        let mut queue = Queue::new();
        queue.insert(None, 10 << 18, 1);
        queue.insert(None, 900 << 18, 2);
        queue.insert(mark(THIRD, 7), 901 << 18, 3);
        queue.insert(mark(THIRD, 8), 902 << 18, 4);
        queue.delete(mark(THIRD, 9), 903 << 18, 4);
        queue.delete(None, 904 << 18, 1);
        let (calls, echoes) = queue.run(&of_target());
        let marks: Vec<Mark> = calls.iter().map(|call| call.mark).collect();
        let (ours, last) = (Mark::of(COLLECTION, Timestamp(900 << 18)), Mark::of(COLLECTION, Timestamp(904 << 18)));
        assert_eq!(marks, [ours, mark(THIRD, 8).unwrap(), mark(THIRD, 9).unwrap(), last]);
        assert_eq!(echoes, 0);
    }

    #[test]
    fn halves_of_different_origins_are_no_upsert() {
        let mut queue = Queue::new();
        queue.delete(mark(THIRD, 7), 10, 1);
        queue.insert(None, 10, 1);
        let (calls, _) = queue.run(&rules());
        assert!(matches!(calls[0].work, Work::Delete(_)));
        assert!(matches!(calls[1].work, Work::Write { write: Write::Insert, .. }));
    }

    #[test]
    fn a_truncation_of_the_targets_is_passed_over_shard_by_shard() {
        let mut scheduler = Scheduler::default();
        for name in ["a", "b"] {
            let (channel, mut buffer) = (Channel::new(name), ReorderBuffer::default());
            let channels = ["a", "b"].map(Channel::new).to_vec();
            let from = RecordOrigin { mark: mark(TARGETS, 5), ..RecordOrigin::test(&channel, 1, 10) };
            buffer.truncate(from, Truncate { collection: COLLECTION, id: 1, channels });
            buffer.release(Timestamp::MAX, Position::at(9)).0.into_iter().for_each(|op| scheduler.push(op));
            let rows = match scheduler.next(&of_target()) {
                Decision::Echo(echoes) => echoes.rows,
                other => panic!("{other:?}"),
            };
            assert_eq!(rows, 1);
        }
        assert!(scheduler.half_truncated().is_empty());
    }
}
