//! Rows that have outlived the TTL of their collection before they could be applied.

use std::collections::VecDeque;

use super::collection::WritableCollection;
use super::decision::Decision;
use super::op::{Op, OpBody};
use crate::domain::Timestamp;

impl WritableCollection {
    /// Whether the source has ceased to show these rows because they have lived long enough. Those that have absorbed
    /// their delete are not passed over: the delete has to reach the target. (What went early has absorbed none.)
    pub(super) fn is_expired(&self, op: &Op, now: Timestamp) -> bool {
        let has_delete = op.replaces && op.went_early.is_none();
        self.ttl.is_some_and(|ttl| op.columns().is_some() && !has_delete && op.ts.plus(ttl) <= now)
    }
}

/// The source shows the rows at the head of the lane to nobody any more; on the target they would live once more as
/// long.
pub(super) fn pass_over(queue: &mut VecDeque<Op>, info: &WritableCollection) -> Decision {
    let Some(Op { body: OpBody::Insert { rows, .. }, .. }) = queue.front() else { return Decision::Idle };
    let (collection, rows) = (info.id, *rows);
    let done = queue.pop_front().map(|op| op.completes()).unwrap_or_default();
    Decision::Expired { collection, rows, done }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::{Channel, Delete, Insert, Keys, PartitionId, Position};
    use crate::milvus::field_data::testing::longs;
    use crate::pipeline::testing::{COLLECTION, NOW, rules_for};
    use crate::pipeline::{RecordOrigin, ReorderBuffer, Scheduler, Work};

    const TTL: Duration = Duration::from_secs(25);
    const PARTITION: PartitionId = PartitionId::ALL;

    /// A timestamp so many milliseconds after the one whose rows have just expired.
    fn later(ms: u64) -> u64 {
        NOW.minus(TTL).plus(Duration::from_millis(ms)).0
    }

    #[test]
    fn rows_that_have_expired_at_the_source_are_passed_over() {
        let rules = rules_for(|info| info.ttl = Some(TTL));
        let (channel, mut pending, mut scheduler) = (Channel::new("c"), ReorderBuffer::default(), Scheduler::default());
        let origin = |position, ts| RecordOrigin::test(&channel, position, ts);
        let row = |key| {
            let columns = vec![longs("id", &[key])];
            Insert { collection: COLLECTION, partition: PARTITION, rows: 1, columns, half: false, row_id: None }
        };
        pending.insert(origin(1, later(0) - 1), row(1));
        // An upsert, of which the delete is left.
        let delete = Delete { collection: COLLECTION, partition: PARTITION, keys: Keys::Int(vec![2]) };
        pending.delete(origin(2, later(0)), delete);
        pending.insert(origin(3, later(0)), row(2));
        pending.insert(origin(4, later(1)), row(3));
        pending.insert(origin(5, later(2)), row(4));
        pending.release(Timestamp::MAX, Position::at(99)).0.into_iter().for_each(|op| scheduler.push(op));
        let mut seen = Vec::new();
        loop {
            seen.push(match scheduler.next(&rules) {
                Decision::Expired { rows, done, .. } => format!("{rows} expired, {} done", done.len()),
                Decision::Call(call) => match &call.work {
                    Work::Delete(keys) => format!("{} deleted", keys.len()),
                    Work::Write { write, rows } => format!("{write:?} of {}", rows.count()),
                    Work::Truncate => panic!("nothing is truncated"),
                },
                Decision::Idle => break,
                other => panic!("{other:?}"),
            });
        }
        assert_eq!(seen, ["1 expired, 1 done", "1 deleted", "1 expired, 1 done", "Insert of 2"]);
        assert!(scheduler.waiting().is_empty());
    }
}
