//! Partitions whose rows queries do not show yet although the server calls them loaded.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::domain::CollectionName;

/// How long a partition must be called loaded before queries are believed to show its rows. A Milvus 2.3.5 calls a
/// partition loaded at once if others of the collection are, and answers a query that names it without its rows, and
/// without an error, for up to 10 s more: its coordinator renews every 10 s what its query nodes show.
const SETTLING: Duration = Duration::from_secs(12);

/// Whether a query shows all rows of a collection whose partitions are all called loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowVisibility {
    /// It does.
    Certain,
    /// This process has not known the collection for long enough: a partition that was loaded just before may still be
    /// left out. What is not shown proves nothing.
    Unproven,
}

/// How a collection was seen last.
#[derive(Debug)]
enum Sight {
    /// A partition was not loaded, or something of the collection was being loaded, last at that time.
    Lacking { partition: String, last: Instant },
    /// Every partition was called loaded whenever anybody looked, first at that time.
    Loaded { since: Instant },
}

/// How collections of several partitions were seen last.
#[derive(Debug, Default)]
pub(super) struct Settling {
    seen: Mutex<BTreeMap<CollectionName, Sight>>,
}

impl Settling {
    /// This partition of the collection is not loaded.
    pub(super) fn saw_unloaded(&self, collection: &CollectionName, partition: &str, now: Instant) {
        let sight = Sight::Lacking { partition: partition.to_owned(), last: now };
        self.seen.lock().insert(collection.clone(), sight);
    }

    /// Something of the collection is being loaded: the partition that was not, or one that nobody has seen unloaded.
    pub(super) fn saw_loading(&self, collection: &CollectionName, now: Instant) {
        let mut seen = self.seen.lock();
        match seen.get_mut(collection) {
            Some(Sight::Lacking { last, .. }) => *last = now,
            Some(Sight::Loaded { .. }) => drop(seen.remove(collection)),
            None => {}
        }
    }

    /// Nothing of the collection is loaded. One that is loaded as a whole is called loaded only once queries show its
    /// rows.
    pub(super) fn begin_anew(&self, collection: &CollectionName) {
        self.seen.lock().remove(collection);
    }

    /// All of the collection is called loaded: the partition whose rows queries may still leave out.
    pub(super) fn settles(&self, collection: &CollectionName, now: Instant) -> Option<String> {
        let mut seen = self.seen.lock();
        let sight = seen.get_mut(collection)?;
        let Sight::Lacking { partition, last } = sight else { return None };
        if now.saturating_duration_since(*last) < SETTLING {
            return Some(partition.clone());
        }
        *sight = Sight::Loaded { since: *last };
        None
    }

    /// All partitions of the collection, which has several, are called loaded and none was seen otherwise just before.
    pub(super) fn visibility(&self, collection: &CollectionName, now: Instant) -> RowVisibility {
        let mut seen = self.seen.lock();
        match seen.entry(collection.clone()).or_insert(Sight::Loaded { since: now }) {
            Sight::Loaded { since } if now.saturating_duration_since(*since) >= SETTLING => RowVisibility::Certain,
            _ => RowVisibility::Unproven,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_that_was_just_loaded_is_not_read() {
        let (settling, start) = (Settling::default(), Instant::now());
        let (name, other) = (CollectionName::new("default", "a"), CollectionName::new("default", "b"));
        let after = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(settling.settles(&name, start), None, "it was never seen otherwise");
        settling.saw_unloaded(&name, "q", start);
        assert_eq!(settling.settles(&name, after(1)), Some("q".into()));
        assert_eq!(settling.settles(&other, after(1)), None);
        settling.saw_unloaded(&name, "q", after(5));
        assert_eq!(settling.settles(&name, after(16)), Some("q".into()), "it was released once more");
        assert_eq!(settling.settles(&name, after(17)), None);
        assert_eq!(settling.visibility(&name, after(17)), RowVisibility::Certain, "all of it was waited for");
    }

    /// A query shows less than all until a while after that.
    #[test]
    fn a_partition_that_is_being_loaded_is_not_forgotten() {
        let (settling, start, name) = (Settling::default(), Instant::now(), CollectionName::new("default", "a"));
        let after = |seconds| start + Duration::from_secs(seconds);
        settling.saw_loading(&name, start);
        assert_eq!(settling.settles(&name, after(1)), None, "all of it, as far as is known");
        settling.saw_unloaded(&name, "q", start);
        settling.saw_loading(&name, after(5));
        assert_eq!(settling.settles(&name, after(16)), Some("q".into()));
        assert_eq!(settling.settles(&name, after(17)), None);
    }

    #[test]
    fn a_collection_that_is_loaded_as_a_whole_is_read_at_once() {
        let (settling, start) = (Settling::default(), Instant::now());
        let name = CollectionName::new("default", "a");
        settling.saw_unloaded(&name, "q", start);
        settling.begin_anew(&name);
        assert_eq!(settling.settles(&name, start), None);
    }

    /// It may have been loaded a moment before the first look, which no look tells.
    #[test]
    fn what_was_loaded_before_the_first_look_is_believed_to_be_shown_after_a_while() {
        use RowVisibility::{Certain, Unproven};
        let (settling, start, name) = (Settling::default(), Instant::now(), CollectionName::new("default", "a"));
        let seen = |seconds| settling.visibility(&name, start + Duration::from_secs(seconds));
        assert_eq!((seen(0), seen(11), seen(12)), (Unproven, Unproven, Certain));
        settling.saw_loading(&name, start + Duration::from_secs(20));
        assert_eq!((seen(21), seen(32), seen(33)), (Unproven, Unproven, Certain), "nobody saw what was released");
        settling.begin_anew(&name);
        assert_eq!((seen(40), seen(52)), (Unproven, Certain));
    }
}
