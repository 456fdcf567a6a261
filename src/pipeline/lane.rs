/*!
A lane: the ordered operations of one collection on one channel. An operation may start while earlier ones are in flight
if it shares no key with them; neighbouring operations of one kind and partition merge into one call.
*/

use std::collections::VecDeque;
use std::sync::Arc;

use super::ack_tracker::BatchSeq;
use super::collection::WritableCollection;
use super::decision::{Call, CallId, CompletedOp, Decision, DispatchRules, Work};
use super::expiry;
use super::keyset::KeySet;
use super::merged_rows::{MergedRows, merge_writes};
use super::op::{Op, OpBody};
use crate::domain::{Channel, CollectionId, Column, Keys, Mark, PartitionId, RowLocation, Timestamp, Write};
use crate::milvus::field_data;
use crate::milvus::field_data::ColumnError;
use crate::milvus::rows::WriteRequest;

/// Identifies a lane: one per collection and channel. Ordered by collection first, so that its lanes are neighbours.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LaneKey {
    pub(super) collection: CollectionId,
    pub(super) channel: Channel,
}

/// Upper limit of a merged write. Milvus 2.3.5 splits requests into messages of up to 5 MB; this limit lets the parts
/// become one request again. With 4 MiB the large and the small part were two concurrent calls and cost the target a
/// tenth more CPU (measured: rows that arrive out of order are sorted at flush).
pub(super) const CALL_BYTES: usize = 8 << 20;
/// Upper limit of a merged delete.
const DELETE_KEYS: usize = 4096;

/// The operations of one collection on one channel.
#[derive(Debug, Default)]
pub(super) struct Lane {
    pub(super) queue: VecDeque<Op>,
    pub(super) in_flight: Vec<InFlightCall>,
}

/// A call that was started and is not acknowledged.
#[derive(Debug)]
pub(super) struct InFlightCall {
    pub(super) id: CallId,
    keys: KeySet,
    pub(super) completes: Vec<CompletedOp>,
    pub(super) bytes: usize,
    latest: Timestamp,
    mark: Mark,
}

/// What the call for an operation does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CallKind {
    Delete,
    Write(Write),
}

/// What starting a call needs to know.
pub(super) struct CallStart<'a, R> {
    pub(super) info: &'a Arc<WritableCollection>,
    pub(super) rules: &'a R,
    /// The id that the call will have.
    pub(super) id: CallId,
}

/// Rows that cannot be written.
struct Unwritable {
    error: ColumnError,
    /// Operations that were taken out of the queue.
    lost: Vec<CompletedOp>,
}

impl From<ColumnError> for Unwritable {
    fn from(error: ColumnError) -> Self {
        Unwritable { error, lost: Vec::new() }
    }
}

enum PartitionName {
    Known(String),
    Unknown,
}

impl Lane {
    /// Bytes queued and in flight.
    pub(super) fn bytes(&self) -> usize {
        let queued: usize = self.queue.iter().map(|op| op.weight).sum();
        queued + self.in_flight.iter().map(|call| call.bytes).sum::<usize>()
    }

    /// Starts the operation at the head of the queue, if it may start.
    pub(super) fn start(&mut self, info: &Arc<WritableCollection>, rules: &impl DispatchRules, id: CallId) -> Decision {
        let Some(head) = self.queue.front_mut().filter(|op| !matches!(op.body, OpBody::Truncate(_))) else {
            return Decision::Idle;
        };
        if info.is_expired(head, rules.now()) {
            return expiry::pass_over(&mut self.queue, info);
        }
        let partition = match partition_name(head, info) {
            PartitionName::Known(name) => name,
            PartitionName::Unknown => return self.ask_for_partition(info, rules.question()),
        };
        match info.unknown_field(head) {
            Ok(None) => {}
            Ok(Some(field)) => return self.ask_for_field(info, rules.question(), field),
            Err(error) => return Decision::Unreadable(info.id, error, Vec::new()),
        }
        if let Err(error) = self.find_keys(info, 0).and_then(|()| self.join_upsert(info, rules.now())) {
            return Decision::Unreadable(info.id, error, Vec::new());
        }
        let (Some(head), Some(kind)) = (self.queue.front(), self.kind_of(0, info, rules)) else {
            return Decision::Idle;
        };
        if kind == CallKind::Write(Write::Insert) && head.ts > rules.bound(&head.channel) {
            return Decision::RaiseBound(head.channel.clone(), head.ts);
        }
        if head.keys.as_ref().is_none_or(|keys| self.conflicts(keys)) {
            return Decision::Idle;
        }
        let channel = head.channel.clone();
        let place = RowLocation { db: info.db.clone(), collection: info.name.clone(), partition };
        let started = match kind {
            CallKind::Write(write) => self.start_write(write, &place, &CallStart { info, rules, id }),
            CallKind::Delete => Ok(self.start_delete(info, id)),
        };
        match started {
            Ok(work) => {
                let started = self.in_flight.last();
                let latest = started.map_or(Timestamp::ZERO, |call| call.latest);
                let mark = started.map_or(Mark::of(info.id, latest), |call| call.mark);
                Decision::Call(Box::new(Call { id, collection: Arc::clone(info), place, work, channel, mark, latest }))
            }
            Err(Unwritable { error, lost }) => Decision::Unreadable(info.id, error, lost),
        }
    }

    /// The partition of the head is unknown: ask once, wait for the answer, skip the operation if it stays unknown.
    fn ask_for_partition(&mut self, info: &WritableCollection, question: u64) -> Decision {
        self.ask(info, question).unwrap_or_else(|| {
            Decision::Skip(info.id, self.queue.pop_front().map(|op| op.completes()).unwrap_or_default())
        })
    }

    /// The head has a column of an unknown field: ask once and wait. If it stays unknown, fail: skipping would lose
    /// values.
    fn ask_for_field(&mut self, info: &WritableCollection, question: u64, field: String) -> Decision {
        self.ask(info, question)
            .unwrap_or_else(|| Decision::Unreadable(info.id, ColumnError::Unknown(field), Vec::new()))
    }

    /// Asks about the head once and waits; `None` if the catalog has answered and the object is still unknown.
    fn ask(&mut self, info: &WritableCollection, question: u64) -> Option<Decision> {
        let Some(head) = self.queue.front_mut() else { return Some(Decision::Idle) };
        match head.asked {
            None => {
                head.asked = Some(question);
                Some(Decision::Unknown(info.id))
            }
            Some(question) if info.generation >= question => None,
            Some(_) => Some(Decision::Idle),
        }
    }

    fn find_keys(&mut self, info: &WritableCollection, index: usize) -> Result<(), ColumnError> {
        self.queue.get_mut(index).map_or(Ok(()), |op| op.find_keys(&info.key.name))
    }

    /// A delete followed by inserts of exactly its keys, all with the same timestamp, is the first half of an upsert.
    /// The inserts absorb the delete and become upserts: one call instead of two consecutive ones. Of rows that have
    /// expired only the delete is left.
    fn join_upsert(&mut self, info: &WritableCollection, now: Timestamp) -> Result<(), ColumnError> {
        let Some(delete) = self.queue.front() else { return Ok(()) };
        if !matches!(delete.body, OpBody::Delete(_)) {
            return Ok(());
        }
        let (ts, partition, origin) = (delete.ts, delete.partition, delete.origin());
        let belongs = |op: &&Op| {
            let same_place =
                if info.unnamed_partitions { partition == PartitionId::ALL } else { op.partition == partition };
            let same_place = same_place && is_partition_known(op, info);
            op.ts == ts
                && matches!(op.body, OpBody::Insert { .. })
                && same_place
                && op.origin() == origin
                && !info.is_expired(op, now)
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
            op.went_early = None;
        }
        if let Some(first) = self.queue.front_mut() {
            first.absorbed.extend(delete.batches());
            first.weight += delete.weight;
        }
        Ok(())
    }

    /// Whether the operation at `index` deletes, inserts or upserts.
    fn kind_of(&self, index: usize, info: &WritableCollection, rules: &impl DispatchRules) -> Option<CallKind> {
        let op = self.queue.get(index)?;
        if matches!(op.body, OpBody::Delete(_)) {
            return Some(CallKind::Delete);
        }
        let is_upsert = op.replaces || info.may_have(op, rules);
        Some(CallKind::Write(if is_upsert { Write::Upsert } else { Write::Insert }))
    }

    fn conflicts(&self, keys: &KeySet) -> bool {
        self.in_flight.iter().any(|call| call.keys.intersects(keys))
    }

    fn start_write<R: DispatchRules>(
        &mut self,
        write: Write,
        place: &RowLocation,
        start: &CallStart<'_, R>,
    ) -> Result<Work, Unwritable> {
        let CallStart { info, rules, id } = *start;
        let count = self.mergeable_writes(info, rules, write)?;
        let ops: Vec<Op> = self.queue.drain(..count).collect();
        let mut merged = Merged::default();
        ops.iter().for_each(|op| merged.add(op));
        match merge_writes(write, ops, info, &mut merged.keys) {
            Ok(MergedRows { columns, rows }) => {
                self.in_flight.push(merged.in_flight(id));
                Ok(Work::Write { write, rows: WriteRequest::new(place, columns, rows) })
            }
            Err(error) => Err(Unwritable { error, lost: merged.completes }),
        }
    }

    /// The number of operations, counted from the head, that merge into one call.
    fn mergeable_writes(
        &mut self,
        info: &WritableCollection,
        rules: &impl DispatchRules,
        write: Write,
    ) -> Result<usize, ColumnError> {
        let Some(head) = self.queue.front() else { return Ok(0) };
        let (mut bytes, mut keys) = (head.weight, head.keys.clone().unwrap_or_default());
        let (partition, origin) = (head.partition, head.origin());
        if !info.mergeable || !keys.is_unique() {
            return Ok(1);
        }
        for index in 1..self.queue.len() {
            let fits = |op: &Op| {
                (op.partition == partition || info.unnamed_partitions && is_partition_known(op, info))
                    && op.columns().is_some()
                    && op.origin() == origin
                    && !info.is_expired(op, rules.now())
                    && bytes + op.weight <= CALL_BYTES
                    && (write == Write::Upsert || op.ts <= rules.bound(&op.channel))
            };
            if !self.queue.get(index).is_some_and(fits)
                || self.kind_of(index, info, rules) != Some(CallKind::Write(write))
            {
                return Ok(index);
            }
            self.find_keys(info, index)?;
            let (Some(head), Some(op)) = (self.queue.front(), self.queue.get(index)) else { return Ok(index) };
            let Some(more) = op.keys.as_ref() else { return Ok(index) };
            let (Some(columns), Some(others)) = (head.columns(), op.columns()) else { return Ok(index) };
            if !field_data::same_fields(columns, others)?
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

    fn start_delete(&mut self, info: &WritableCollection, id: CallId) -> Work {
        let mut merged = Merged::default();
        let mut keys: Option<Keys> = None;
        let same_call = |op: &Op| (op.partition, op.origin());
        let head = self.queue.front().map(same_call);
        while let Some(op) = self.queue.front() {
            let first = keys.is_none();
            // A delete that is half of an upsert is not merged: it may be absorbed when it has come to the head.
            let joins = |next: Option<&Op>| next.is_some_and(|next| next.ts == op.ts && next.columns().is_some());
            let OpBody::Delete(more) = &op.body else { break };
            let full = keys.as_ref().is_some_and(|keys| keys.len() + more.len() > DELETE_KEYS);
            if !first && (Some(same_call(op)) != head || full || joins(self.queue.get(1))) {
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
        self.in_flight.push(merged.in_flight(id));
        Work::Delete(keys.unwrap_or(Keys::Int(Vec::new())))
    }
}

#[derive(Default)]
struct Merged {
    keys: KeySet,
    completes: Vec<CompletedOp>,
    bytes: usize,
    latest: Timestamp,
    mark: Option<Mark>,
}

impl Merged {
    fn add(&mut self, op: &Op) {
        let mark = op.outgoing_mark();
        self.mark = Some(self.mark.map_or(mark, |earlier| earlier.later(mark)));
        self.completes.extend(op.completes());
        self.bytes += op.weight;
        self.latest = self.latest.max(op.ts);
    }

    fn in_flight(self, id: CallId) -> InFlightCall {
        let Merged { keys, completes, bytes, latest, mark } = self;
        InFlightCall { id, keys, completes, bytes, latest, mark: mark.unwrap_or(Mark::OF_NO_COLLECTION) }
    }
}

impl Op {
    /// Extracts its keys, unless that has been done.
    pub(super) fn find_keys(&mut self, key: &str) -> Result<(), ColumnError> {
        if self.keys.is_none() {
            self.keys = Some(match &mut self.body {
                OpBody::Delete(keys) => KeySet::new(keys),
                OpBody::Truncate(_) => KeySet::default(),
                OpBody::Insert { columns, .. } => {
                    field_data::sort(columns)?;
                    KeySet::new(&field_data::keys(columns, key)?)
                }
            });
        }
        Ok(())
    }

    /// The operations that are complete when this one is: itself and those that it absorbed.
    pub(super) fn completes(&self) -> Vec<CompletedOp> {
        self.batches().into_iter().map(|batch| CompletedOp { channel: self.channel.clone(), batch }).collect()
    }

    fn batches(&self) -> Vec<BatchSeq> {
        self.absorbed.iter().copied().chain([self.batch]).collect()
    }

    /// The columns of an insert; `None` for other operations.
    pub(super) fn columns(&self) -> Option<&[Column]> {
        match &self.body {
            OpBody::Insert { columns, .. } => Some(columns),
            OpBody::Delete(_) | OpBody::Truncate(_) => None,
        }
    }
}

impl WritableCollection {
    /// Whether the rows of an insert may be on the target: by a copy, or by an earlier reading.
    pub(super) fn may_have(&self, op: &Op, rules: &impl DispatchRules) -> bool {
        let copied = self.upsert_until.get(&op.channel).is_some_and(|&until| op.position <= until);
        copied || op.ts <= rules.replayed(&op.channel)
    }

    /// The first field of these rows that is not among the collection's known fields.
    fn unknown_field(&self, op: &Op) -> Result<Option<String>, ColumnError> {
        op.columns().map_or(Ok(None), |columns| self.fields.unknown(columns))
    }
}

fn partition_name(op: &Op, info: &WritableCollection) -> PartitionName {
    if !is_partition_known(op, info) {
        return PartitionName::Unknown;
    }
    let name = info.partitions.get(&op.partition).filter(|_| !info.unnamed_partitions);
    PartitionName::Known(name.cloned().unwrap_or_default())
}

/// Rows without a partition's name have a partition, too: what the source has dropped must not come back.
fn is_partition_known(op: &Op, info: &WritableCollection) -> bool {
    let is_any = info.unnamed_partitions && info.partitions.is_empty();
    is_any || op.partition == PartitionId::ALL || info.partitions.contains_key(&op.partition)
}

fn append(keys: &mut Option<Keys>, more: Keys) {
    match (keys.as_mut(), more) {
        (Some(Keys::Int(keys)), Keys::Int(more)) => keys.extend(more),
        (Some(Keys::Str(keys)), Keys::Str(more)) => keys.extend(more),
        (_, more) => *keys = Some(more),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Insert, Position};
    use crate::milvus::field_data::testing::{longs, strings};
    use crate::pipeline::RecordOrigin;
    use crate::pipeline::testing::{COLLECTION, rules, rules_for};
    use crate::pipeline::{ReorderBuffer, Scheduler};

    /// One row with this key whose columns have this many bytes.
    fn message(key: i64, bytes: usize) -> Insert {
        let columns = vec![longs("id", &[key]), strings("text", &[&"x".repeat(bytes)])];
        let partition = PartitionId::ALL;
        Insert { collection: COLLECTION, partition, rows: 1, columns, half: false, row_id: None }
    }

    /// The number of rows in each call that these messages become.
    fn calls(megabytes: &[f64]) -> Vec<usize> {
        let (channel, mut pending, mut scheduler) = (Channel::new("c"), ReorderBuffer::default(), Scheduler::default());
        for (index, size) in megabytes.iter().enumerate() {
            let from = RecordOrigin::test(&channel, index as u64, index as u64 + 1);
            pending.insert(from, message(index as i64, (size * 1e6) as usize));
        }
        pending.release(Timestamp::MAX, Position::at(99)).0.into_iter().for_each(|op| scheduler.push(op));
        let mut calls = Vec::new();
        while let Decision::Call(call) = scheduler.next(&rules()) {
            let Work::Write { write: Write::Insert, rows } = call.work else { panic!("not an insert") };
            calls.push(rows.count());
        }
        calls
    }

    #[test]
    fn rows_of_a_dropped_partition_are_passed_over_where_no_partition_is_named() {
        let rules = rules_for(|info| {
            info.unnamed_partitions = true;
            info.partitions = [(PartitionId(1), "p".to_owned())].into();
        });
        let (channel, mut pending, mut scheduler) = (Channel::new("c"), ReorderBuffer::default(), Scheduler::default());
        for (index, partition) in [1, 2, 1].into_iter().enumerate() {
            let from = RecordOrigin::test(&channel, index as u64, index as u64 + 1);
            pending.insert(from, Insert { partition: PartitionId(partition), ..message(index as i64, 10) });
        }
        pending.release(Timestamp::MAX, Position::at(99)).0.into_iter().for_each(|op| scheduler.push(op));
        let mut written = Vec::new();
        loop {
            match scheduler.next(&rules) {
                Decision::Call(call) => written.push((call.place.partition, call.work)),
                Decision::Unknown(_) | Decision::Skip(..) => {}
                _ => break,
            }
        }
        let rows = written.iter().map(|(partition, work)| match work {
            Work::Write { rows, .. } => (partition.as_str(), rows.count()),
            _ => panic!("not a write"),
        });
        assert_eq!(rows.collect::<Vec<_>>(), [("", 1), ("", 1)]);
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
