//! Collections whose rows fill the memory are set aside, and read again later.

use super::Owners;
use crate::domain::CollectionId;
use crate::replication::aside::StuckReason;

impl Owners {
    /// Sets aside what is in the way of others, and brings back what was set aside.
    pub(in crate::replication) fn tend_asides(&mut self) {
        if !self.reads_on() {
            return;
        }
        let collections = &self.collections;
        if self.channels.may_have_stuck_rows() {
            // Even alone, nothing may keep a log that is read for the last time from being read to its end.
            let others = if self.drain.is_some() { usize::MAX } else { collections.streaming() };
            let stuck = self.channels.stuck(|id| collections.readiness(id), others, self.now);
            stuck.into_iter().for_each(|rows| self.set_aside(rows.id, rows.why));
        } else {
            self.channels.nothing_is_stuck();
        }
        let collections = &self.collections;
        for id in self.channels.bring_back(|id| collections.applicable(id).is_some(), self.now) {
            log::info!("{}: its rows are read again", self.collections.name_of(id));
            self.checkpointer.touch();
        }
    }

    /// What has been read of the collection and cannot be applied is forgotten, and read again later: the others need
    /// the memory.
    pub(in crate::replication) fn set_aside(&mut self, id: CollectionId, why: StuckReason) {
        let (channels, name) = (self.collections.channels_of(id), self.collections.name_of(id));
        let why = why.text(&name);
        if self.reads_on()
            && self.collections.is_streaming(id)
            && self.channels.set_aside(id, &channels, why.clone(), self.now)
        {
            log::warn!("{name}: set aside, so that the others go on: {why}");
            self.checkpointer.touch();
        }
    }

    #[cfg(test)]
    pub(in crate::replication) fn has_aside(&self) -> bool {
        self.channels.aside().len() > 0
    }
}
