/*!
Where the log of a task's source ended at a moment when the target was known to be equal: the start of a task in the
opposite direction of one that has run, which therefore copies nothing.

It holds for collections by their ids on both sides. Whatever is not among them, or is another one by then, begins as
it does for every task.
*/

use std::collections::BTreeMap;

use crate::domain::{Channel, CollectionId, LogKind, Position, Timestamp};

/// Ends of a log, and the collections that are read from there on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotedEnds {
    /// The kind of the log: positions mean nothing to another.
    pub log: LogKind,
    /// When they were noted, by this host's clock.
    pub at: Timestamp,
    /// By channel the last message; `None` where there was none.
    pub ends: BTreeMap<Channel, Option<Position>>,
    /// The collections that both sides had: ids at the source and on the target.
    pub collections: BTreeMap<CollectionId, CollectionId>,
}

impl NotedEnds {
    /// Whether a collection of the source, as the target has it, begins here.
    pub fn hold_for(&self, source: CollectionId, target: CollectionId) -> bool {
        self.collections.get(&source) == Some(&target)
    }
}
