//! A life whose source is given up.

use super::Life;
use crate::catalog::CatalogEvent;
use crate::replication::event::Event;
use crate::replication::task_loop::End;

impl Life {
    /// The catalog has described all that it can.
    pub(in crate::replication::model) fn settle_catalog(&mut self) {
        self.feed_if_taken(Event::Catalog(CatalogEvent::Settled));
    }

    /// The task is told what became of everything that it wrote.
    pub(in crate::replication::model) fn tell_all_saved(&mut self) {
        while !self.is_dead() && !self.fake.saved.is_empty() {
            self.tell_saved();
        }
    }

    /// How it has ended, once it has.
    pub(in crate::replication::model) fn how_it_ended(&self) -> Option<&End> {
        self.task.end()
    }
}
