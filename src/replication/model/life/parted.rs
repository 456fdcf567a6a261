//! Rows that went at the source without a word in the log, and how the catalog tells the task.

use crossbeam_channel::bounded;

use super::Life;
use crate::catalog::CatalogEvent;
use crate::domain::CollectionId;
use crate::replication::event::Event;

impl Life {
    /// Rows of the collection went at the source that the log says nothing of.
    pub(in crate::replication::model) fn compare(&mut self, id: CollectionId) {
        if self.is_known(id) {
            self.fake.world.part(id);
            // What has been told before was not about these.
            self.told_parted.remove(&id);
            self.tell_parted(id);
        }
    }

    /// The catalog tells so until the task has noted it.
    pub(super) fn tell_parted(&mut self, id: CollectionId) {
        if !self.fake.world.is_parted(id) {
            return;
        }
        match self.told_parted.remove(&id).map(|answered| answered.try_recv()) {
            Some(Ok(())) => self.fake.world.forget_parted(id),
            None | Some(Err(_)) => {
                let (reply, answered) = bounded(1);
                self.told_parted.insert(id, answered);
                self.feed_if_taken(Event::Catalog(CatalogEvent::Compare(id, reply)));
            }
        }
    }
}
