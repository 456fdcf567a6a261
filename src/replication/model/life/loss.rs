//! A collection that somebody drops on the target, and what the catalog does about it (`catalog::target::collections`).

use crossbeam_channel::{Receiver, TryRecvError, bounded};

use super::Life;
use crate::catalog::{CallsInFlight, CatalogEvent, TargetLoss};
use crate::domain::CollectionId;
use crate::replication::event::Event;
use crate::replication::model::described::ready;

/// How far the catalog has come with creating a collection again.
pub(super) enum Loss {
    /// The task is to note it.
    Told(Receiver<()>),
    /// The task has noted it.
    Noted,
    /// No call must be in flight.
    Blocked,
}

impl Life {
    /// Somebody drops the collection on the target.
    pub(in crate::replication::model) fn lose(&mut self, id: CollectionId) {
        if self.described.contains(&id) || self.is_known(id) {
            self.fake.world.lose(id);
        }
    }

    /// The catalog goes on with creating it again. A restart begins that anew.
    pub(super) fn create_again(&mut self, id: CollectionId) {
        let next = match self.losses.remove(&id) {
            None => {
                let (noted, answered) = bounded(1);
                self.feed_if_taken(Event::Catalog(CatalogEvent::Lost { id, loss: TargetLoss::Gone, noted }));
                Loss::Told(answered)
            }
            Some(Loss::Told(answered)) => match answered.try_recv() {
                Ok(()) => Loss::Noted,
                Err(TryRecvError::Empty) => Loss::Told(answered),
                // It could not be written.
                Err(TryRecvError::Disconnected) => return,
            },
            Some(Loss::Noted) if self.fake.blocks.is_empty() => {
                self.ask_to_block(id, CallsInFlight::Cancelled);
                Loss::Blocked
            }
            Some(Loss::Blocked) if self.fake.blocks.is_empty() => {
                self.fake.world.create_again(id);
                self.described.insert(id);
                self.fake.changing.remove(&id);
                let ready = Box::new(ready(id, self.fake.question));
                return self.feed_if_taken(Event::Catalog(CatalogEvent::Ready(ready)));
            }
            Some(waiting) => waiting,
        };
        self.losses.insert(id, next);
    }
}
