/*!
Restores the order within a channel. Between two time ticks the log is not ordered by timestamp; at a tick T every
message up to T has been seen and is released, sorted by timestamp. At equal timestamps deletes come before inserts:
that is an upsert.

Late messages: a message may stand behind a tick that is later than itself. Milvus 2.3.5 was seen to write rows, and
either half of an upsert, up to 60 ms late to Kafka. A late message is released with the next tick. This is safe,
because no client builds on a key before the call that wrote it was answered. Only an upsert must not be torn: its
insert, if it came first, would be applied and then removed by its own delete. So a half upsert waits for its delete,
and later operations of the same collection wait with it: a delete that overtook the insert would not remove it.

Repeated messages: a producer that lost its broker sends unconfirmed messages again, although some had arrived. Milvus
ignores the repetition, and so does this buffer; otherwise its rows would be on the target twice.
*/

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::ack_tracker::{AckedFrontier, AppliedMark, BatchSeq};
use super::early_inserts::EarlyInserts;
use super::op::{Op, OpBody};
use crate::domain::{
    Channel, CollectionId, Column, Delete, Insert, Keys, Mark, PartitionId, Position, Timestamp, Truncate,
};

/// Where in the log a record was read.
#[derive(Debug, Clone, Copy)]
pub struct RecordOrigin<'a> {
    /// The channel.
    pub channel: &'a Channel,
    /// The position on the channel.
    pub position: Position,
    /// The largest timestamp of the record's rows.
    pub ts: Timestamp,
    /// Its mark.
    pub mark: Option<Mark>,
}

/// Where in the log a time tick stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TickPlace {
    /// Its position.
    pub position: Position,
    /// Where reading must resume, at the latest, to bring whole what has begun and not ended by the tick.
    pub resume: Position,
}

/// A tick by which nothing is open.
impl From<Position> for TickPlace {
    fn from(position: Position) -> TickPlace {
        TickPlace { position, resume: position }
    }
}

/// The operations of one channel that wait for their time tick.
#[derive(Debug, Default)]
pub struct ReorderBuffer {
    pub(super) ops: Vec<Op>,
    pub(super) early: EarlyInserts,
    bytes: usize,
    /// The timestamps of recent deletes, for halves of upserts that come after them.
    deletes: BTreeSet<(Timestamp, CollectionId)>,
    /// The timestamps and first row ids of recent inserts, to recognise repeated ones.
    inserts: BTreeSet<(Timestamp, CollectionId, i64)>,
    /// The messages that the ticks of this reading have completed.
    mark: AppliedMark,
    /// Messages released beyond the mark: after a crash all of them are read and applied again.
    beyond: Vec<(Timestamp, Position)>,
}

/// The number of ticks (0.2 s each) that half an upsert waits: if the source died in between, the other half never
/// comes.
const PATIENCE_TICKS: u32 = 25;
/// For how long the timestamps of deletes and inserts are kept, in source time.
const KEPT: Duration = Duration::from_secs(10);

impl ReorderBuffer {
    /// Adds an insert, unless it repeats a recent one.
    pub fn insert(&mut self, from: RecordOrigin<'_>, insert: Insert) {
        let Insert { collection, partition, rows, columns, half, row_id } = insert;
        if row_id.is_some_and(|row_id| !self.inserts.insert((from.ts, collection, row_id))) {
            log::debug!("{}: ignoring the insert at {}, which repeats an earlier one", from.channel, from.position);
            return;
        }
        self.push(from, collection, partition, OpBody::Insert { rows, columns });
        if let Some(op) = self.ops.last_mut().filter(|_| half) {
            op.awaits_delete = Some(0);
        }
    }

    /// Adds a delete.
    pub fn delete(&mut self, from: RecordOrigin<'_>, delete: Delete) {
        self.deletes.insert((from.ts, delete.collection));
        self.push(from, delete.collection, delete.partition, OpBody::Delete(delete.keys));
    }

    /// Adds a truncation: the removal of all earlier rows of a shard.
    pub fn truncate(&mut self, from: RecordOrigin<'_>, truncate: Truncate) {
        let collection = truncate.collection;
        self.push(from, collection, PartitionId::ALL, OpBody::Truncate(truncate));
    }

    fn push(&mut self, from: RecordOrigin<'_>, collection: CollectionId, partition: PartitionId, body: OpBody) {
        let RecordOrigin { channel, position, ts, mark } = from;
        let weight = weigh(&body);
        self.bytes += weight;
        self.ops.push(Op {
            channel: channel.clone(),
            batch: BatchSeq::default(),
            position,
            ts,
            collection,
            partition,
            mark,
            body,
            asked: None,
            awaits_delete: None,
            replaces: false,
            went_early: None,
            absorbed: Vec::new(),
            keys: None,
            weight,
        });
    }

    /// Releases the operations up to the tick that stands there, in order, except halves of upserts and later
    /// operations of their collections. Returns them with the frontier that is reached once all of them are
    /// acknowledged.
    pub fn release(&mut self, tick: Timestamp, at: impl Into<TickPlace>) -> (Vec<Op>, AckedFrontier) {
        let TickPlace { position, resume } = at.into();
        let torn = self.torn(tick);
        let first_torn = torn.values().copied().min();
        let stays = |op: &Op| op.ts > tick || torn.get(&op.collection).is_some_and(|&torn| op.ts >= torn);
        let (staying, mut released): (Vec<Op>, Vec<Op>) = std::mem::take(&mut self.ops).into_iter().partition(stays);
        self.ops = staying;
        self.bytes -= released.iter().map(|op| op.weight).sum::<usize>();
        released.sort_by_key(order);
        self.early.on_release(&mut released, &mut self.ops);
        // After an outage of the source two ticks may be further apart than a half upsert waits.
        let kept = first_torn.unwrap_or(tick).min(tick.minus(KEPT));
        self.deletes = self.deletes.split_off(&(kept, CollectionId(i64::MIN)));
        self.inserts = self.inserts.split_off(&(kept, CollectionId(i64::MIN), i64::MIN));
        let done = first_torn.map_or(tick, |torn| Timestamp(torn.0.saturating_sub(1)));
        let mark = self.mark(done, position);
        let reached = AckedFrontier { position: self.first_open(&released, resume), mark };
        (released, reached)
    }

    /// Releases everything that waits, in order: no tick will come any more. The halves of upserts that are still alone
    /// are among it, and what went early: all of it goes in as upserts.
    pub fn release_rest(&mut self) -> Vec<Op> {
        self.bytes = 0;
        self.early = EarlyInserts::default();
        let mut rest = std::mem::take(&mut self.ops);
        rest.sort_by_key(order);
        rest
    }

    /// For each collection, the timestamp of the first insert that still waits for its delete after this tick.
    fn torn(&mut self, tick: Timestamp) -> BTreeMap<CollectionId, Timestamp> {
        let mut torn: BTreeMap<CollectionId, Timestamp> = BTreeMap::new();
        for op in self.ops.iter_mut().filter(|op| op.ts <= tick) {
            if op.keeps_waiting(&self.deletes) {
                let first = torn.entry(op.collection).or_insert(op.ts);
                *first = op.ts.min(*first);
            }
        }
        torn
    }

    /// What is completed once everything released is acknowledged. Up to `done` no operation waits: a half upsert
    /// holds the mark back.
    fn mark(&mut self, done: Timestamp, position: Position) -> AppliedMark {
        if done >= self.mark.ts {
            self.mark = AppliedMark { ts: done, tick: Some(position) };
        }
        self.mark
    }

    /// Where reading restarts after a crash: at the first message released beyond the mark, or that waits. A repeated
    /// delete without the insert behind it would remove rows for good.
    fn first_open(&mut self, released: &[Op], resume: Position) -> Position {
        let mark = self.mark;
        self.beyond.extend(released.iter().map(|op| (op.ts, op.position)));
        self.beyond.retain(|(ts, position)| !mark.covers(*position, *ts));
        let beyond = self.beyond.iter().map(|(_, position)| *position);
        beyond.chain(self.ops.iter().map(|op| op.position)).fold(resume, Position::min)
    }

    /// Removes the waiting operations of a collection; they have to be read again.
    pub fn discard(&mut self, collection: CollectionId) {
        self.ops.retain(|op| op.collection != collection);
        self.early.discard(collection);
        self.bytes = self.ops.iter().map(|op| op.weight).sum();
    }

    /// Approximate memory use in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether no operation waits.
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }
}

impl Op {
    /// Whether it is half an upsert that waits at least one more tick for its other half. Counts the tick.
    fn keeps_waiting(&mut self, deletes: &BTreeSet<(Timestamp, CollectionId)>) -> bool {
        let Some(ticks) = &mut self.awaits_delete else { return false };
        if deletes.contains(&(self.ts, self.collection)) {
            return false;
        }
        *ticks += 1;
        *ticks <= PATIENCE_TICKS
    }
}

/// By time; at equal times deletes come first, for that is what an upsert is.
fn order(op: &Op) -> (Timestamp, bool, Position) {
    (op.ts, matches!(op.body, OpBody::Insert { .. }), op.position)
}

/// Approximate memory use of an operation, in bytes.
fn weigh(body: &OpBody) -> usize {
    const OVERHEAD: usize = 200;
    OVERHEAD
        + match body {
            OpBody::Insert { columns, .. } => columns.iter().map(Column::len).sum(),
            OpBody::Truncate(_) => 0,
            OpBody::Delete(Keys::Int(keys)) => keys.len() * 8,
            OpBody::Delete(Keys::Str(keys)) => keys.iter().map(|key| key.len() + 24).sum(),
        }
}

#[cfg(test)]
impl RecordOrigin<'_> {
    pub(crate) fn test(channel: &Channel, position: u64, ts: u64) -> RecordOrigin<'_> {
        RecordOrigin { channel, position: Position::at(position), ts: Timestamp(ts), mark: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delete(key: i64) -> Delete {
        Delete { collection: CollectionId(1), partition: PartitionId::ALL, keys: Keys::Int(vec![key]) }
    }

    fn insert() -> Insert {
        Insert {
            collection: CollectionId(1),
            partition: PartitionId(2),
            rows: 1,
            columns: vec![],
            half: false,
            row_id: None,
        }
    }

    #[test]
    fn sorted_by_time_with_deletes_first() {
        let channel = Channel::new("c");
        let mut pending = ReorderBuffer::default();
        pending.insert(RecordOrigin::test(&channel, 1, 30), insert());
        pending.insert(RecordOrigin::test(&channel, 2, 20), insert());
        pending.delete(RecordOrigin::test(&channel, 3, 20), delete(1));
        pending.insert(RecordOrigin::test(&channel, 4, 10), insert());
        let (released, reached) = pending.release(Timestamp(20), Position::at(5));
        let order: Vec<u64> = released.iter().map(|op| op.position.number()).collect();
        assert_eq!(order, [4, 3, 2]);
        assert_eq!((reached.position, reached.mark.ts), (Position::at(1), Timestamp(20)));
        assert_eq!(pending.release(Timestamp(30), Position::at(6)).0.len(), 1);
        assert!(pending.is_empty());
    }

    #[test]
    fn an_insert_that_is_sent_again_is_passed_over() {
        let channel = Channel::new("c");
        let with = |row_id| Insert { row_id, ..insert() };
        let mut pending = ReorderBuffer::default();
        for (position, row_id) in [(1, Some(7)), (2, Some(8)), (3, Some(7)), (4, None), (5, None)] {
            pending.insert(RecordOrigin::test(&channel, position, 10), with(row_id));
        }
        let positions = |ops: Vec<Op>| ops.iter().map(|op| op.position.number()).collect::<Vec<_>>();
        assert_eq!(positions(pending.release(Timestamp(20), Position::at(6)).0), [1, 2, 4, 5]);
        pending.insert(RecordOrigin::test(&channel, 7, 10), with(Some(8)));
        pending.insert(RecordOrigin::test(&channel, 8, 11), with(Some(8)));
        assert_eq!(positions(pending.release(Timestamp(30), Position::at(9)).0), [8], "also behind its tick");
        let mut read_again = ReorderBuffer::default();
        read_again.insert(RecordOrigin::test(&channel, 1, 10), with(Some(7)));
        assert!(!read_again.is_empty(), "whoever goes back gets it again");
    }

    #[test]
    fn an_upsert_is_not_torn_by_a_tick() {
        let channel = Channel::new("c");
        let mut pending = ReorderBuffer::default();
        pending.insert(RecordOrigin::test(&channel, 1, 10), insert());
        pending.insert(RecordOrigin::test(&channel, 2, 20), Insert { half: true, ..insert() });
        pending.insert(RecordOrigin::test(&channel, 3, 25), insert());
        let (released, reached) = pending.release(Timestamp(30), Position::at(4));
        assert_eq!(released.len(), 1);
        assert_eq!((reached.position, reached.mark.ts), (Position::at(2), Timestamp(19)));
        pending.delete(RecordOrigin::test(&channel, 5, 20), delete(1));
        let (released, reached) = pending.release(Timestamp(40), Position::at(6));
        let order: Vec<u64> = released.iter().map(|op| op.position.number()).collect();
        assert_eq!(order, [5, 2, 3], "its delete comes first");
        assert_eq!((reached.position, reached.mark.ts), (Position::at(6), Timestamp(40)));
    }

    #[test]
    fn nothing_overtakes_half_an_upsert() {
        let channel = Channel::new("c");
        let mut pending = ReorderBuffer::default();
        pending.insert(RecordOrigin::test(&channel, 1, 10), Insert { half: true, ..insert() });
        pending.delete(RecordOrigin::test(&channel, 2, 20), delete(1));
        pending.insert(RecordOrigin::test(&channel, 3, 20), Insert { half: true, ..insert() });
        pending.insert(RecordOrigin::test(&channel, 4, 30), Insert { collection: CollectionId(9), ..insert() });
        pending.insert(RecordOrigin::test(&channel, 5, 5), insert());
        let positions = |ops: Vec<Op>| ops.iter().map(|op| op.position.number()).collect::<Vec<_>>();
        let (released, reached) = pending.release(Timestamp(30), Position::at(6));
        assert_eq!(positions(released), [5, 4], "what is earlier, and another collection's");
        assert_eq!((reached.position, reached.mark.ts), (Position::at(1), Timestamp(9)));
        let later = Timestamp(30).plus(2 * KEPT);
        let ticks = (7..100).find_map(|tick| {
            let released = positions(pending.release(later, Position::at(tick)).0);
            (!released.is_empty()).then_some((tick, released))
        });
        assert_eq!(
            ticks,
            Some((6 + u64::from(PATIENCE_TICKS), vec![1, 2, 3])),
            "the second upsert is whole all the time"
        );
    }

    #[test]
    fn what_is_forgotten_holds_nothing_back() {
        let channel = Channel::new("c");
        let mut pending = ReorderBuffer::default();
        pending.insert(RecordOrigin::test(&channel, 1, 10), Insert { half: true, ..insert() });
        pending.insert(RecordOrigin::test(&channel, 2, 15), Insert { collection: CollectionId(9), ..insert() });
        let of_one = pending.bytes() / 2;
        pending.discard(CollectionId(1));
        assert_eq!(pending.bytes(), of_one);
        let (released, reached) = pending.release(Timestamp(20), Position::at(3));
        assert_eq!(released.iter().map(|op| op.position.number()).collect::<Vec<_>>(), [2]);
        assert_eq!((reached.position, reached.mark.ts), (Position::at(3), Timestamp(20)));
    }

    #[test]
    fn half_an_upsert_waits_for_a_while_only() {
        let mut pending = ReorderBuffer::default();
        pending.insert(RecordOrigin::test(&Channel::new("c"), 1, 10), Insert { half: true, ..insert() });
        let ticks = (2..100).find(|&tick| !pending.release(Timestamp(tick * 10), Position::at(tick)).0.is_empty());
        assert_eq!(ticks, Some(2 + u64::from(PATIENCE_TICKS)));
    }

    #[test]
    fn what_no_tick_will_release_leaves_in_order_with_halves_of_upserts() {
        let channel = Channel::new("c");
        let mut pending = ReorderBuffer::default();
        pending.insert(RecordOrigin::test(&channel, 1, 30), Insert { half: true, ..insert() });
        pending.insert(RecordOrigin::test(&channel, 2, 20), Insert { half: true, ..insert() });
        pending.delete(RecordOrigin::test(&channel, 3, 20), delete(1));
        let positions: Vec<u64> = pending.release_rest().iter().map(|op| op.position.number()).collect();
        assert_eq!(positions, [3, 2, 1]);
        assert!(pending.is_empty() && pending.bytes() == 0 && pending.release_rest().is_empty());
    }

    #[test]
    fn reading_resumes_where_something_open_begins() {
        let (channel, mut pending) = (Channel::new("c"), ReorderBuffer::default());
        let at = |position, resume| TickPlace { position: Position::at(position), resume: Position::at(resume) };
        pending.delete(RecordOrigin::test(&channel, 5, 50), delete(1));
        let (_, reached) = pending.release(Timestamp(40), at(6, 3));
        assert_eq!((reached.position, reached.mark.tick), (Position::at(3), Some(Position::at(6))));
        let (_, reached) = pending.release(Timestamp(45), at(8, 7));
        assert_eq!(reached.position, Position::at(5), "what waits lies before it");
        let (released, reached) = pending.release(Timestamp(50), at(9, 7));
        assert_eq!((released.len(), reached.position), (1, Position::at(7)));
    }
}
