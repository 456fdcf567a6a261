//! Collections of which nothing is taken in at present, and what of a channel has to be read again for them.

use super::ChannelState;
use crate::domain::{CollectionId, Timestamp};
use crate::replication::rewind::{ReadAgain, ReadingPlace, Rewind};

impl ChannelState {
    /// Nothing of the collection is taken in any more: what has not been acknowledged will be read again.
    pub(in crate::replication) fn set_aside(&mut self, id: CollectionId) {
        if !self.aside.contains_key(&id) {
            let ReadingPlace { acked, high_water_mark, mut replaying } = self.place();
            let applied = replaying.remove(&id).unwrap_or(high_water_mark);
            self.aside.insert(id, ReadAgain { start: acked, applied });
        }
    }

    /// The channel is to be read again for a collection that is set aside.
    pub(in crate::replication) fn bring_back(&mut self, id: CollectionId) {
        if let Some(again) = self.aside.remove(&id) {
            self.request(again.rewind(id));
        }
    }

    /// Nobody reads any more: what the rewind that it waits for was to bring is left to the next run.
    pub(in crate::replication) fn put_off_rewind(&mut self) {
        let Some(Rewind { start, replaying, .. }) = self.rewind.take() else { return };
        self.aside.extend(replaying.into_iter().map(|(id, applied)| (id, ReadAgain { start, applied })));
    }

    /// The collections that the channel has to be read again for.
    pub(in crate::replication) fn to_be_read_again(&self) -> impl Iterator<Item = CollectionId> {
        self.aside.keys().chain(self.rewind.iter().flat_map(|rewind| rewind.replaying.keys())).copied()
    }

    /// Nothing need be read again for the collection.
    pub(in crate::replication) fn forget_aside(&mut self, id: CollectionId) {
        self.aside.remove(&id);
    }

    /// The tick up to which every collection has been acknowledged: what is to be read again has not been.
    pub(in crate::replication) fn acked_by_all(&self) -> Timestamp {
        let asides = self.aside.values().map(|again| again.start.after);
        let again = asides.chain(self.rewind.iter().map(|rewind| rewind.start.after));
        again.fold(self.acked.after, Timestamp::min)
    }
}
