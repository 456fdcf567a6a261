/*!
The collections of a task that a user has paused, between the task's thread, which stores them, and the catalog's,
which changes and drops nothing of them.
*/

use std::collections::BTreeSet;

use parking_lot::Mutex;

use crate::domain::CollectionId;

/// Where both sides meet.
#[derive(Debug, Default)]
pub struct PausedCollections(Mutex<BTreeSet<CollectionId>>);

impl PausedCollections {
    /// These are paused, and no others: it is on disk.
    pub fn set(&self, paused: impl Iterator<Item = CollectionId>) {
        *self.0.lock() = paused.collect();
    }

    /// Whether the collection is paused.
    pub fn contains(&self, id: CollectionId) -> bool {
        self.0.lock().contains(&id)
    }
}
