/*!
One lane: the operations of one collection on one channel, in order. An operation may start while earlier ones are under
way if they have no key in common; neighbours of one kind and partition merge into one call.
*/

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::collection::CollectionInfo;
use super::columns::{self, ColumnError};
use super::keyset::KeySet;
use super::order::{Op, OpBody};
use super::progress::BatchSeq;
use crate::domain::{Channel, CollectionId, PartitionId, Timestamp};
use crate::milvus::rows::{Column, Place, Rows, Write};
use crate::source::Keys;

/// Names a call from its start to its acknowledgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub u64);

/// One call to the target.
#[derive(Debug)]
pub struct Call {
    /// Its name.
    pub id: CallId,
    /// Whose rows.
    pub collection: Arc<CollectionInfo>,
    /// Where to.
    pub place: Place,
    /// What.
    pub work: Work,
    /// The channel that it comes from.
    pub channel: Channel,
    /// The latest of its rows.
    pub latest: Timestamp,
}

/// The content of a call.
#[derive(Debug)]
pub enum Work {
    /// Rows to write.
    Write {
        /// As new rows or in place of old ones.
        write: Write,
        /// Which.
        rows: Rows,
    },
    /// Keys to delete.
    Delete(Keys),
    /// Every row of the collection is to go.
    Truncate,
}

/// An operation that needs nothing any more, as its channel and batch.
pub type Done = (Channel, BatchSeq);

/// What the scheduler asks about the world.
pub trait Rules {
    /// The collection, when its rows may be applied now.
    fn collection(&self, id: CollectionId) -> Option<Arc<CollectionInfo>>;
    /// The number that the next question to the catalog will have.
    fn question(&self) -> u64;
    /// Whether calls for records of this channel may start now.
    fn open(&self, channel: &Channel) -> bool;
    /// No insert later than this may start: a crash could not tell whether it was applied.
    fn bound(&self, channel: &Channel) -> Timestamp;
    /// Inserts up to this may have been applied before: they go in as upserts.
    fn replayed(&self, channel: &Channel) -> Timestamp;
}

/// What to do next.
#[derive(Debug)]
pub enum Step {
    /// Make this call.
    Call(Box<Call>),
    /// Raise the bound of this channel to at least this, and ask again.
    RaiseBound(Channel, Timestamp),
    /// Rows of this collection were removed at the source in a way that cannot be put into order: they must be compared.
    Compare(CollectionId),
    /// A partition or a field is not known: look at the collection again.
    Unknown(CollectionId),
    /// A partition is gone for good, and with it the need for this operation.
    Skip(CollectionId, Vec<Done>),
    /// The rows of this collection cannot be read.
    Unreadable(CollectionId, ColumnError),
    /// Nothing can start now.
    Idle,
}

/// A merged call grows up to this. The messages of a 2.3.5 are up to 5 MB: a request that had to be split into them becomes one again. With
/// 4 MiB its large part and its small one were two calls side by side, and cost the target a tenth more CPU (measured; rows that come out of order are
/// sorted when they are flushed).
const CALL_BYTES: usize = 8 << 20;
/// A merged delete grows up to this.
const DELETE_KEYS: usize = 4096;

/// The operations of one collection on one channel.
#[derive(Debug, Default)]
pub(super) struct Lane {
    pub(super) queue: VecDeque<Op>,
    pub(super) under_way: Vec<UnderWay>,
}

/// A call that was made and has not ended.
#[derive(Debug)]
pub(super) struct UnderWay {
    pub(super) id: CallId,
    keys: KeySet,
    pub(super) done: Vec<Done>,
    pub(super) bytes: usize,
    latest: Timestamp,
}

enum PartitionName {
    Known(String),
    Unknown,
}

impl Lane {
    /// Starts the operation at the head, if it may start.
    pub(super) fn start(&mut self, info: &Arc<CollectionInfo>, rules: &impl Rules, id: CallId) -> Step {
        let Some(head) = self.queue.front_mut().filter(|op| !matches!(op.body, OpBody::Truncate(_))) else {
            return Step::Idle;
        };
        let partition = match partition_name(head, info) {
            PartitionName::Known(name) => name,
            PartitionName::Unknown => return self.ask_for_partition(info, rules.question()),
        };
        match info.unknown_field(head) {
            Ok(None) => {}
            Ok(Some(field)) => return self.ask_for_field(info, rules.question(), field),
            Err(error) => return Step::Unreadable(info.id, error),
        }
        if let Err(error) = self.find_keys(info, 0).and_then(|()| self.join_upsert(info)) {
            return Step::Unreadable(info.id, error);
        }
        let (Some(head), Some(write)) = (self.queue.front(), self.write_of(0, info, rules)) else { return Step::Idle };
        if write == Some(Write::Insert) && head.ts > rules.bound(&head.channel) {
            return Step::RaiseBound(head.channel.clone(), head.ts);
        }
        if head.keys.as_ref().is_none_or(|keys| self.conflicts(keys)) {
            return Step::Idle;
        }
        let channel = head.channel.clone();
        let place = Place { db: info.db.clone(), collection: info.name.clone(), partition };
        let started = match write {
            Some(write) => self.start_write(info, rules, id, (write, &place)),
            None => Ok(self.start_delete(info, id)),
        };
        match started {
            Ok(work) => {
                let latest = self.under_way.last().map_or(Timestamp::ZERO, |call| call.latest);
                Step::Call(Box::new(Call { id, collection: Arc::clone(info), place, work, channel, latest }))
            }
            Err(error) => Step::Unreadable(info.id, error),
        }
    }

    /// The head's partition is unknown: ask once, wait for the answer, skip when it stays unknown.
    fn ask_for_partition(&mut self, info: &CollectionInfo, question: u64) -> Step {
        self.ask(info, question)
            .unwrap_or_else(|| Step::Skip(info.id, self.queue.pop_front().map(|op| op.done()).unwrap_or_default()))
    }

    /// The head has a column for a field that is unknown: likewise, but its values are not thrown away.
    fn ask_for_field(&mut self, info: &CollectionInfo, question: u64, field: String) -> Step {
        self.ask(info, question).unwrap_or_else(|| Step::Unreadable(info.id, ColumnError::Unknown(field)))
    }

    /// Asks about the head once, and waits; `None`: the catalog has looked, and it is still unknown.
    fn ask(&mut self, info: &CollectionInfo, question: u64) -> Option<Step> {
        let Some(head) = self.queue.front_mut() else { return Some(Step::Idle) };
        match head.asked {
            None => {
                head.asked = Some(question);
                Some(Step::Unknown(info.id))
            }
            Some(question) if info.generation >= question => None,
            Some(_) => Some(Step::Idle),
        }
    }

    fn find_keys(&mut self, info: &CollectionInfo, index: usize) -> Result<(), ColumnError> {
        if let Some(op) = self.queue.get_mut(index)
            && op.keys.is_none()
        {
            op.keys = Some(match &mut op.body {
                OpBody::Delete(keys) => KeySet::new(keys),
                OpBody::Truncate(_) => KeySet::default(),
                OpBody::Insert { columns, .. } => {
                    columns::sort(columns)?;
                    KeySet::new(&columns::keys(columns, &info.key.name)?)
                }
            });
        }
        Ok(())
    }

    /// A delete whose keys are those of the inserts that follow with the same timestamp is the first half of an upsert:
    /// the inserts take it in and replace what is there, which is one call instead of two, one after the other.
    fn join_upsert(&mut self, info: &CollectionInfo) -> Result<(), ColumnError> {
        let Some(delete) = self.queue.front() else { return Ok(()) };
        if !matches!(delete.body, OpBody::Delete(_)) {
            return Ok(());
        }
        let (ts, partition) = (delete.ts, delete.partition);
        let belongs = |op: &&Op| {
            let same_place =
                if info.unnamed_partitions { partition == PartitionId::ALL } else { op.partition == partition };
            op.ts == ts && matches!(op.body, OpBody::Insert { .. }) && same_place
        };
        let count = self.queue.iter().skip(1).take_while(belongs).count();
        let mut keys = KeySet::default();
        for index in 1..=count {
            self.find_keys(info, index)?;
            if let Some(found) = self.queue.get(index).and_then(|op| op.keys.as_ref()) {
                keys.extend(found.clone());
            }
        }
        let whole =
            |delete: &Op| delete.keys.as_ref().is_some_and(|deleted| keys.is_unique() && keys.same_keys(deleted));
        if count == 0 || !self.queue.front().is_some_and(whole) {
            return Ok(());
        }
        let Some(delete) = self.queue.pop_front() else { return Ok(()) };
        for op in self.queue.iter_mut().take(count) {
            op.replaces = true;
        }
        if let Some(first) = self.queue.front_mut() {
            first.absorbed.extend(delete.batches());
            first.weight += delete.weight;
        }
        Ok(())
    }

    /// How the operation at `index` is written; `Some(None)`: it is a delete.
    #[allow(clippy::option_option)]
    fn write_of(&self, index: usize, info: &CollectionInfo, rules: &impl Rules) -> Option<Option<Write>> {
        let op = self.queue.get(index)?;
        if matches!(op.body, OpBody::Delete(_)) {
            return Some(None);
        }
        let copied = info.upsert_until.get(&op.channel).is_some_and(|&until| op.position <= until);
        let replayed = op.ts <= rules.replayed(&op.channel);
        Some(Some(if op.replaces || copied || replayed { Write::Upsert } else { Write::Insert }))
    }

    fn conflicts(&self, keys: &KeySet) -> bool {
        self.under_way.iter().any(|call| call.keys.intersects(keys))
    }

    fn start_write(
        &mut self,
        info: &CollectionInfo,
        rules: &impl Rules,
        id: CallId,
        (write, place): (Write, &Place),
    ) -> Result<Work, ColumnError> {
        let count = self.mergeable_writes(info, rules, write)?;
        let mut merged = Merged::default();
        let mut columns: Vec<Column> = Vec::new();
        let mut rows = 0;
        for op in self.queue.drain(..count) {
            merged.add(&op);
            let OpBody::Insert { rows: more, columns: more_columns } = op.body else { continue };
            let more_columns = info.shape.written(more_columns, more)?;
            rows += more;
            if columns.is_empty() {
                columns = more_columns;
            } else {
                columns.iter_mut().zip(more_columns).for_each(|(column, more)| column.append(more));
            }
            merged.keys.extend(op.keys.unwrap_or_default());
        }
        // Once for all of them: they have the same fields.
        columns = info.fields.without_gone(columns)?;
        if write == Write::Upsert && !merged.keys.is_unique() {
            // Within one request an upsert would write both rows: only the last one counts.
            let keep = last_of_each(&columns::keys(&columns, &info.key.name)?);
            columns = columns::pick(&columns, rows, &keep)?;
            rows = keep.len();
        }
        self.under_way.push(merged.under_way(id));
        Ok(Work::Write { write, rows: Rows::new(place, columns, rows) })
    }

    /// How many operations from the head on go into one call.
    fn mergeable_writes(
        &mut self,
        info: &CollectionInfo,
        rules: &impl Rules,
        write: Write,
    ) -> Result<usize, ColumnError> {
        let Some(head) = self.queue.front() else { return Ok(0) };
        let (mut bytes, mut keys) = (head.weight, head.keys.clone().unwrap_or_default());
        let partition = head.partition;
        if !info.mergeable || !keys.is_unique() {
            return Ok(1);
        }
        for index in 1..self.queue.len() {
            let fits = |op: &Op| {
                (op.partition == partition || info.unnamed_partitions)
                    && op.columns().is_some()
                    && bytes + op.weight <= CALL_BYTES
                    && (write == Write::Upsert || op.ts <= rules.bound(&op.channel))
            };
            if !self.queue.get(index).is_some_and(fits) || self.write_of(index, info, rules) != Some(Some(write)) {
                return Ok(index);
            }
            self.find_keys(info, index)?;
            let (Some(head), Some(op)) = (self.queue.front(), self.queue.get(index)) else { return Ok(index) };
            let Some(more) = op.keys.as_ref() else { return Ok(index) };
            let (Some(columns), Some(others)) = (head.columns(), op.columns()) else { return Ok(index) };
            if !columns::same_fields(columns, others)?
                || !more.is_unique()
                || keys.intersects(more)
                || self.conflicts(more)
            {
                return Ok(index);
            }
            bytes += op.weight;
            keys.extend(more.clone());
        }
        Ok(self.queue.len())
    }

    fn start_delete(&mut self, info: &CollectionInfo, id: CallId) -> Work {
        let mut merged = Merged::default();
        let mut keys: Option<Keys> = None;
        let partition = self.queue.front().map(|op| op.partition);
        while let Some(op) = self.queue.front() {
            let first = keys.is_none();
            // The first of an upsert's two halves is looked at on its own turn.
            let joins = |next: Option<&Op>| next.is_some_and(|next| next.ts == op.ts && next.columns().is_some());
            let OpBody::Delete(more) = &op.body else { break };
            let full = keys.as_ref().is_some_and(|keys| keys.len() + more.len() > DELETE_KEYS);
            if !first && (Some(op.partition) != partition || full || joins(self.queue.get(1))) {
                break;
            }
            if !first && self.find_keys(info, 0).is_err() {
                break;
            }
            if !first && self.queue.front().and_then(|op| op.keys.as_ref()).is_none_or(|keys| self.conflicts(keys)) {
                break;
            }
            let Some(op) = self.queue.pop_front() else { break };
            merged.add(&op);
            merged.keys.extend(op.keys.unwrap_or_default());
            if let OpBody::Delete(more) = op.body {
                append(&mut keys, more);
            }
        }
        self.under_way.push(merged.under_way(id));
        Work::Delete(keys.unwrap_or(Keys::Int(Vec::new())))
    }
}

#[derive(Default)]
struct Merged {
    keys: KeySet,
    done: Vec<Done>,
    bytes: usize,
    latest: Timestamp,
}

impl Merged {
    fn add(&mut self, op: &Op) {
        self.done.extend(op.done());
        self.bytes += op.weight;
        self.latest = self.latest.max(op.ts);
    }

    fn under_way(self, id: CallId) -> UnderWay {
        UnderWay { id, keys: self.keys, done: self.done, bytes: self.bytes, latest: self.latest }
    }
}

impl Op {
    /// Everything that is done when this is.
    pub(super) fn done(&self) -> Vec<Done> {
        self.batches().into_iter().map(|batch| (self.channel.clone(), batch)).collect()
    }

    fn batches(&self) -> Vec<BatchSeq> {
        self.absorbed.iter().copied().chain([self.batch]).collect()
    }

    /// The rows' columns; `None` for what has none.
    fn columns(&self) -> Option<&[Column]> {
        match &self.body {
            OpBody::Insert { columns, .. } => Some(columns),
            OpBody::Delete(_) | OpBody::Truncate(_) => None,
        }
    }
}

impl CollectionInfo {
    /// The first field of these rows that the collection does not have, as far as is known.
    fn unknown_field(&self, op: &Op) -> Result<Option<String>, ColumnError> {
        op.columns().map_or(Ok(None), |columns| self.fields.unknown(columns))
    }
}

fn partition_name(op: &Op, info: &CollectionInfo) -> PartitionName {
    if info.unnamed_partitions || op.partition == PartitionId::ALL {
        return PartitionName::Known(String::new());
    }
    match info.partitions.get(&op.partition) {
        Some(name) => PartitionName::Known(name.clone()),
        None => PartitionName::Unknown,
    }
}

fn append(keys: &mut Option<Keys>, more: Keys) {
    match (keys.as_mut(), more) {
        (Some(Keys::Int(keys)), Keys::Int(more)) => keys.extend(more),
        (Some(Keys::Str(keys)), Keys::Str(more)) => keys.extend(more),
        (_, more) => *keys = Some(more),
    }
}

/// The index of the last row of each key.
fn last_of_each(keys: &Keys) -> Vec<usize> {
    fn last<K: std::hash::Hash + Eq>(keys: &[K]) -> Vec<usize> {
        let last: HashMap<&K, usize> = keys.iter().enumerate().map(|(index, key)| (key, index)).collect();
        let mut indexes: Vec<usize> = last.into_values().collect();
        indexes.sort_unstable();
        indexes
    }
    match keys {
        Keys::Int(keys) => last(keys),
        Keys::Str(keys) => last(keys),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Position;
    use crate::pipeline::testing::{COLLECTION, longs, rules, strings};
    use crate::pipeline::{Pending, Scheduler};
    use crate::source::Insert;

    /// One row with this key whose columns have this many bytes.
    fn message(key: i64, bytes: usize) -> Insert {
        let columns = vec![longs("id", &[key]), strings("text", &[&"x".repeat(bytes)])];
        let partition = PartitionId::ALL;
        Insert { collection: COLLECTION, partition, rows: 1, columns, half: false, row_id: None }
    }

    /// The number of rows in each call that these messages become.
    fn calls(megabytes: &[f64]) -> Vec<usize> {
        let (channel, mut pending, mut scheduler) = (Channel::new("c"), Pending::default(), Scheduler::default());
        for (index, size) in megabytes.iter().enumerate() {
            let place = (Position::at(index as u64), Timestamp(index as u64 + 1));
            pending.insert(&channel, place.0, place.1, message(index as i64, (size * 1e6) as usize));
        }
        pending.release(Timestamp::MAX, Position::at(99)).0.into_iter().for_each(|op| scheduler.push(op));
        let mut calls = Vec::new();
        while let Step::Call(call) = scheduler.next(&rules()) {
            let Work::Write { write: Write::Insert, rows } = call.work else { panic!("not an insert") };
            calls.push(rows.count());
        }
        calls
    }

    #[test]
    fn what_milvus_had_to_split_is_one_call_again() {
        assert_eq!(calls(&[5.2, 0.2, 5.2, 0.2]), [2, 2]);
    }

    #[test]
    fn a_call_grows_up_to_its_limit() {
        assert_eq!(calls(&[3.0, 3.0, 3.0, 0.1]), [2, 2]);
        assert_eq!(calls(&[20.0, 0.1]), [1, 1], "a message that is larger goes alone");
    }
}
