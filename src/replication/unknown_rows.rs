/*!
Queued rows of collections that the task does not have: which of them are to be forgotten, and read again when their
collection joins. They hold back the positions of everything on their channels, and fill the memory that others need.
*/

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::domain::CollectionId;

/// Limit in bytes of all of them.
const MEMORY: usize = 8 << 20;
/// How long they are kept: a collection is ready some seconds after its first rows have been read.
const PATIENCE: Duration = Duration::from_secs(30);

/// Since when rows of each are queued.
#[derive(Debug, Default)]
pub(super) struct UnknownRows {
    since: BTreeMap<CollectionId, Instant>,
}

/// The queued rows of one collection.
#[derive(Debug, Clone, Copy)]
pub(super) struct QueuedRows {
    pub(super) id: CollectionId,
    pub(super) bytes: usize,
}

impl UnknownRows {
    /// Those to do without: what has been queued for too long, and the largest, so that the others have room.
    pub(super) fn choose(&mut self, queued: Vec<QueuedRows>, now: Instant) -> Vec<CollectionId> {
        self.since.retain(|id, _| queued.iter().any(|rows| rows.id == *id));
        let mut since = |id| *self.since.entry(id).or_insert(now);
        let is_old = |rows: &QueuedRows| now.saturating_duration_since(since(rows.id)) >= PATIENCE;
        let (old, others): (Vec<_>, Vec<_>) = queued.into_iter().partition(is_old);
        let largest = largest_beyond(MEMORY, others, |rows| rows.bytes);
        old.into_iter().chain(largest).map(|rows| rows.id).collect()
    }
}

/// Those to do without, the largest first, so that the others are no more than `limit` bytes together.
pub(super) fn largest_beyond<T>(limit: usize, mut queued: Vec<T>, bytes: impl Fn(&T) -> usize) -> Vec<T> {
    queued.sort_by_key(|rows| std::cmp::Reverse(bytes(rows)));
    let mut left: usize = queued.iter().map(&bytes).sum();
    let beyond = queued.into_iter().take_while(|rows| {
        let is_beyond = left > limit;
        left -= bytes(rows);
        is_beyond
    });
    beyond.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queued(sizes: &[usize]) -> Vec<QueuedRows> {
        let rows = |(id, &bytes): (usize, &usize)| QueuedRows { id: CollectionId(id as i64), bytes };
        sizes.iter().enumerate().map(rows).collect()
    }

    #[test]
    fn the_largest_go_until_the_others_have_room() {
        let gone = |sizes: &[usize]| {
            largest_beyond(8, queued(sizes), |rows| rows.bytes).iter().map(|rows| rows.id.0).collect::<Vec<_>>()
        };
        assert_eq!(gone(&[4, 5]), [1]);
        assert_eq!(gone(&[9]), [0]);
        assert_eq!(gone(&[3, 6, 7]), [2, 1]);
        assert!(gone(&[4, 4]).is_empty() && gone(&[]).is_empty());
    }

    #[test]
    fn few_rows_go_too_after_a_time() {
        let (mut unknown, start) = (UnknownRows::default(), Instant::now());
        assert!(unknown.choose(queued(&[1]), start).is_empty());
        assert!(unknown.choose(queued(&[1, 1]), start + PATIENCE / 2).is_empty());
        assert_eq!(unknown.choose(queued(&[1, 1]), start + PATIENCE), [CollectionId(0)]);
        assert!(unknown.choose(Vec::new(), start + PATIENCE).is_empty());
        assert!(unknown.choose(queued(&[1]), start + PATIENCE).is_empty(), "it has joined meanwhile");
    }
}
