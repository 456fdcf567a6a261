/*!
Order within a channel. Between two ticks the log is not ordered by timestamp; at a tick T everything up to T has been
seen and is released, sorted by timestamp. At equal timestamps deletes come before inserts: that is what an upsert is.
*/

use crate::domain::{Channel, CollectionId, PartitionId, Position, Timestamp};
use crate::milvus::rows::Column;
use crate::source::{Delete, Insert, Keys, Truncate};

use super::keyset::KeySet;
use super::progress::BatchSeq;

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
    /// The number of the question that was asked about its partition.
    pub asked: Option<u64>,
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
}

impl Pending {
    /// Takes in an insert.
    pub fn insert(&mut self, channel: &Channel, position: Position, ts: Timestamp, insert: Insert) {
        let Insert { collection, partition, rows, columns } = insert;
        self.push(channel, position, ts, collection, partition, OpBody::Insert { rows, columns });
    }

    /// Takes in a delete.
    pub fn delete(&mut self, channel: &Channel, position: Position, ts: Timestamp, delete: Delete) {
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
        self.ops.push(Op {
            channel: channel.clone(),
            batch: BatchSeq::default(),
            position,
            ts,
            collection,
            partition,
            body,
            asked: None,
            replaces: false,
            absorbed: Vec::new(),
            keys: None,
            weight,
        });
    }

    /// Everything up to `tick`, in order. What is later stays.
    pub fn release(&mut self, tick: Timestamp) -> Vec<Op> {
        let (mut released, kept): (Vec<Op>, Vec<Op>) =
            std::mem::take(&mut self.ops).into_iter().partition(|op| op.ts <= tick);
        self.ops = kept;
        released.sort_by_key(|op| (op.ts, matches!(op.body, OpBody::Insert { .. }), op.position));
        released
    }

    /// The first message in the log of those that still wait.
    pub fn first_position(&self) -> Option<Position> {
        self.ops.iter().map(|op| op.position).min()
    }

    /// Forgets everything, before the channel is read from elsewhere.
    pub fn clear(&mut self) {
        self.ops.clear();
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
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
        Insert { collection: CollectionId(1), partition: PartitionId(2), rows: 1, columns: vec![] }
    }

    #[test]
    fn sorted_by_time_with_deletes_first() {
        let channel = Channel::new("c");
        let mut pending = Pending::default();
        pending.insert(&channel, Position::at(1), Timestamp(30), insert());
        pending.insert(&channel, Position::at(2), Timestamp(20), insert());
        pending.delete(&channel, Position::at(3), Timestamp(20), delete(1));
        pending.insert(&channel, Position::at(4), Timestamp(10), insert());
        let order: Vec<u64> = pending.release(Timestamp(20)).iter().map(|op| op.position.number()).collect();
        assert_eq!(order, [4, 3, 2]);
        assert_eq!(pending.first_position(), Some(Position::at(1)));
        assert_eq!(pending.release(Timestamp(30)).len(), 1);
        assert!(pending.is_empty());
    }
}
