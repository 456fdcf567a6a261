//! What a user wants of single collections.

use crossbeam_channel::bounded;

use super::Life;
use crate::domain::CollectionId;
use crate::replication::event::{CollectionOrder, Event};
use crate::task::collection_request::CollectionWish;

impl Life {
    /// A user wants something of a collection that the task has.
    pub(in crate::replication::model) fn wish(&mut self, id: CollectionId, wish: CollectionWish) {
        // (One that the task does not have yet is passed over, as one that `miss` is about.)
        if self.is_known(id) {
            let ((reply, _answer), (idle, _is_idle)) = (bounded(1), bounded(1));
            let order = CollectionOrder { collection: format!("d.n{id}"), wish, reply, idle };
            self.feed_if_taken(Event::Collection(order));
        }
    }
}
