/*!
Order within a channel. Between two ticks the log is not ordered by timestamp; at a tick T everything up to T has been
seen and is released, sorted by timestamp. At equal timestamps deletes come before inserts: that is what an upsert is.

Nearly everything: a message may stand behind a tick that is later than itself. Milvus 2.3.5 was seen to write rows, and
either half of an upsert, up to some 60 ms too late to Kafka. Such a message is released with the next tick; as nobody
works on a key before the call that wrote it was answered, it still comes before all that builds on it. Only an upsert must
not be torn: its insert, which comes first, would be applied and then removed by its own delete. So it waits for its delete, and
what comes later to its collection waits with it: a delete that overtook it would not remove it.

A message may also stand there twice: a producer that has lost a broker sends again what had arrived, and was not confirmed. Milvus passes
over the second one, and so do we, or its rows would be on the target twice.
*/

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::domain::{Channel, CollectionId, PartitionId, Position, Timestamp};
use crate::milvus::rows::Column;
use crate::source::{Delete, Insert, Keys, Truncate};

use super::keyset::KeySet;
use super::progress::{Acknowledged, BatchSeq, Mark};

/// One data record on its way to the target.
#[derive(Debug)]
pub struct Op {
    /// The channel it came from.
    pub channel: Channel,
    /// The released batch that it belongs to.
    pub batch: BatchSeq,
    /// Its place in the log.
    pub position: Position,
    /// Its rows' (largest) timestamp.
    pub ts: Timestamp,
    /// Whose rows.
    pub collection: CollectionId,
    /// The partition; [`PartitionId::ALL`] in a delete for everywhere.
    pub partition: PartitionId,
    /// What is to be done.
    pub body: OpBody,
    /// The number of the question that was asked about its partition or a field.
    pub asked: Option<u64>,
    /// An insert that must not be released without its delete; how many ticks it has waited for it.
    awaits_delete: Option<u32>,
    /// An insert that takes the place of rows with the same keys: one half of an upsert.
    pub replaces: bool,
    /// Deletes that became part of this operation: done when it is done.
    pub absorbed: Vec<BatchSeq>,
    /// Its keys, once they were needed.
    pub keys: Option<KeySet>,
    /// What it holds in memory, in bytes, roughly.
    pub weight: usize,
}

/// What is to be done.
#[derive(Debug)]
pub enum OpBody {
    /// New rows.
    Insert {
        /// How many.
        rows: usize,
        /// Their columns.
        columns: Vec<Column>,
    },
    /// Keys to remove.
    Delete(Keys),
    /// The collection's rows of this channel's shard are gone, with those of its other shards.
    Truncate(Truncate),
}

/// Operations of one channel that wait for their tick.
#[derive(Debug, Default)]
pub struct Pending {
    ops: Vec<Op>,
    bytes: usize,
    /// Of the last deletes: their timestamps, for halves of upserts that come after them.
    deletes: BTreeSet<(Timestamp, CollectionId)>,
    /// Of the last inserts: their timestamps and first rows, for those that are sent again.
    inserts: BTreeSet<(Timestamp, CollectionId, i64)>,
    /// What the ticks so far have completed.
    mark: Mark,
    /// What was released beyond the mark: it would be read and applied again, all of it or nothing.
    beyond: Vec<(Timestamp, Position)>,
}

/// How many ticks (of 0.2 s) half an upsert waits: the other half of one that was written while the server died never comes.
const PATIENCE_TICKS: u32 = 25;
/// How long the timestamps of deletes and inserts are kept.
const KEPT: Duration = Duration::from_secs(10);

impl Pending {
    /// Takes in an insert, unless it is one of the last ones again.
    pub fn insert(&mut self, channel: &Channel, position: Position, ts: Timestamp, insert: Insert) {
        let Insert { collection, partition, rows, columns, half, row_id } = insert;
        if row_id.is_some_and(|row_id| !self.inserts.insert((ts, collection, row_id))) {
            log::debug!("{channel}: the insert at {position} has been read before");
            return;
        }
        self.push(channel, position, ts, collection, partition, OpBody::Insert { rows, columns });
        if let Some(op) = self.ops.last_mut().filter(|_| half) {
            op.awaits_delete = Some(0);
        }
    }

    /// Takes in a delete.
    pub fn delete(&mut self, channel: &Channel, position: Position, ts: Timestamp, delete: Delete) {
        self.deletes.insert((ts, delete.collection));
        self.push(channel, position, ts, delete.collection, delete.partition, OpBody::Delete(delete.keys));
    }

    /// Takes in the end of all earlier rows of a shard.
    pub fn truncate(&mut self, channel: &Channel, position: Position, ts: Timestamp, truncate: Truncate) {
        let collection = truncate.collection;
        self.push(channel, position, ts, collection, PartitionId::ALL, OpBody::Truncate(truncate));
    }

    fn push(
        &mut self,
        channel: &Channel,
        position: Position,
        ts: Timestamp,
        collection: CollectionId,
        partition: PartitionId,
        body: OpBody,
    ) {
        let weight = weigh(&body);
        self.bytes += weight;
        self.ops.push(Op {
            channel: channel.clone(),
            batch: BatchSeq::default(),
            position,
            ts,
            collection,
            partition,
            body,
            asked: None,
            awaits_delete: None,
            replaces: false,
            absorbed: Vec::new(),
            keys: None,
            weight,
        });
    }

    /// Everything up to the tick that stands at `position`, in order, but for halves of upserts and what comes after them; and what
    /// has been reached when all of it is acknowledged. What is later stays.
    pub fn release(&mut self, tick: Timestamp, position: Position) -> (Vec<Op>, Acknowledged) {
        let torn = self.torn(tick);
        let first_torn = torn.values().copied().min();
        let stays = |op: &Op| op.ts > tick || torn.get(&op.collection).is_some_and(|&torn| op.ts >= torn);
        let (staying, mut released): (Vec<Op>, Vec<Op>) = std::mem::take(&mut self.ops).into_iter().partition(stays);
        self.ops = staying;
        self.bytes -= released.iter().map(|op| op.weight).sum::<usize>();
        released.sort_by_key(|op| (op.ts, matches!(op.body, OpBody::Insert { .. }), op.position));
        // Behind a server that was away, ticks are further apart than what waits is patient.
        let kept = first_torn.unwrap_or(tick).min(tick.minus(KEPT));
        self.deletes = self.deletes.split_off(&(kept, CollectionId(i64::MIN)));
        self.inserts = self.inserts.split_off(&(kept, CollectionId(i64::MIN), i64::MIN));
        let done = first_torn.map_or(tick, |torn| Timestamp(torn.0.saturating_sub(1)));
        let reached = self.reached(done, position, &released);
        (released, reached)
    }

    /// The first insert of each collection that goes on waiting for its delete at this tick.
    fn torn(&mut self, tick: Timestamp) -> BTreeMap<CollectionId, Timestamp> {
        let mut torn: BTreeMap<CollectionId, Timestamp> = BTreeMap::new();
        for op in self.ops.iter_mut().filter(|op| op.ts <= tick) {
            if op.goes_on_waiting(&self.deletes) {
                let first = torn.entry(op.collection).or_insert(op.ts);
                *first = op.ts.min(*first);
            }
        }
        torn
    }

    /// `done`: nothing up to it waits; a half holds the mark back. What was released beyond the mark is read again together with it after a crash,
    /// from its first message on: a delete that is repeated without the insert behind it would remove rows for good.
    fn reached(&mut self, done: Timestamp, position: Position, released: &[Op]) -> Acknowledged {
        // What is read again after a crash comes to the ticks before the mark's once more: of what stands behind them they say less than it.
        let is_further = self.mark.tick.is_none_or(|tick| tick <= position);
        if is_further && done >= self.mark.ts {
            self.mark = Mark { ts: done, tick: Some(position) };
        }
        let mark = self.mark;
        self.beyond.extend(released.iter().map(|op| (op.ts, op.position)));
        self.beyond.retain(|(ts, position)| !mark.covers(*position, *ts));
        let beyond = self.beyond.iter().map(|(_, position)| *position);
        let first = beyond.chain(self.ops.iter().map(|op| op.position)).min();
        Acknowledged { position: first.unwrap_or(position), mark }
    }

    /// Forgets what waits of a collection: whoever wants it reads it again.
    pub fn discard(&mut self, collection: CollectionId) {
        self.ops.retain(|op| op.collection != collection);
        self.bytes = self.ops.iter().map(|op| op.weight).sum();
    }

    /// Nothing waits, and everything up to `mark` is done with.
    pub fn after(mark: Mark) -> Pending {
        Pending { mark, ..Pending::default() }
    }

    /// What it holds in memory, roughly.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }
}

impl Op {
    /// Whether it is half an upsert that needs one more tick for its other half.
    fn goes_on_waiting(&mut self, deletes: &BTreeSet<(Timestamp, CollectionId)>) -> bool {
        let Some(ticks) = &mut self.awaits_delete else { return false };
        if deletes.contains(&(self.ts, self.collection)) {
            return false;
        }
        *ticks += 1;
        *ticks <= PATIENCE_TICKS
    }
}

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
        let mut pending = Pending::default();
        pending.insert(&channel, Position::at(1), Timestamp(30), insert());
        pending.insert(&channel, Position::at(2), Timestamp(20), insert());
        pending.delete(&channel, Position::at(3), Timestamp(20), delete(1));
        pending.insert(&channel, Position::at(4), Timestamp(10), insert());
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
        let mut pending = Pending::default();
        for (position, row_id) in [(1, Some(7)), (2, Some(8)), (3, Some(7)), (4, None), (5, None)] {
            pending.insert(&channel, Position::at(position), Timestamp(10), with(row_id));
        }
        let positions = |ops: Vec<Op>| ops.iter().map(|op| op.position.number()).collect::<Vec<_>>();
        assert_eq!(positions(pending.release(Timestamp(20), Position::at(6)).0), [1, 2, 4, 5]);
        pending.insert(&channel, Position::at(7), Timestamp(10), with(Some(8)));
        pending.insert(&channel, Position::at(8), Timestamp(11), with(Some(8)));
        assert_eq!(positions(pending.release(Timestamp(30), Position::at(9)).0), [8], "also behind its tick");
        let mut read_again = Pending::after(Mark::up_to(Timestamp(5)));
        read_again.insert(&channel, Position::at(1), Timestamp(10), with(Some(7)));
        assert!(!read_again.is_empty(), "whoever goes back gets it again");
    }

    #[test]
    fn an_upsert_is_not_torn_by_a_tick() {
        let channel = Channel::new("c");
        let mut pending = Pending::default();
        pending.insert(&channel, Position::at(1), Timestamp(10), insert());
        pending.insert(&channel, Position::at(2), Timestamp(20), Insert { half: true, ..insert() });
        pending.insert(&channel, Position::at(3), Timestamp(25), insert());
        let (released, reached) = pending.release(Timestamp(30), Position::at(4));
        assert_eq!(released.len(), 1);
        assert_eq!((reached.position, reached.mark.ts), (Position::at(2), Timestamp(19)));
        pending.delete(&channel, Position::at(5), Timestamp(20), delete(1));
        let (released, reached) = pending.release(Timestamp(40), Position::at(6));
        let order: Vec<u64> = released.iter().map(|op| op.position.number()).collect();
        assert_eq!(order, [5, 2, 3], "its delete comes first");
        assert_eq!((reached.position, reached.mark.ts), (Position::at(6), Timestamp(40)));
    }

    #[test]
    fn nothing_overtakes_half_an_upsert() {
        let channel = Channel::new("c");
        let mut pending = Pending::default();
        pending.insert(&channel, Position::at(1), Timestamp(10), Insert { half: true, ..insert() });
        pending.delete(&channel, Position::at(2), Timestamp(20), delete(1));
        pending.insert(&channel, Position::at(3), Timestamp(20), Insert { half: true, ..insert() });
        pending.insert(&channel, Position::at(4), Timestamp(30), Insert { collection: CollectionId(9), ..insert() });
        pending.insert(&channel, Position::at(5), Timestamp(5), insert());
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
        let mut pending = Pending::default();
        pending.insert(&channel, Position::at(1), Timestamp(10), Insert { half: true, ..insert() });
        pending.insert(&channel, Position::at(2), Timestamp(15), Insert { collection: CollectionId(9), ..insert() });
        let of_one = pending.bytes() / 2;
        pending.discard(CollectionId(1));
        assert_eq!(pending.bytes(), of_one);
        let (released, reached) = pending.release(Timestamp(20), Position::at(3));
        assert_eq!(released.iter().map(|op| op.position.number()).collect::<Vec<_>>(), [2]);
        assert_eq!((reached.position, reached.mark.ts), (Position::at(3), Timestamp(20)));
    }

    #[test]
    fn half_an_upsert_waits_for_a_while_only() {
        let mut pending = Pending::default();
        pending.insert(&Channel::new("c"), Position::at(1), Timestamp(10), Insert { half: true, ..insert() });
        let ticks = (2..100).find(|&tick| !pending.release(Timestamp(tick * 10), Position::at(tick)).0.is_empty());
        assert_eq!(ticks, Some(2 + u64::from(PATIENCE_TICKS)));
    }
}
