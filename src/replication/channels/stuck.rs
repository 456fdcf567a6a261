//! Rows that nothing can be done with at present: their collections are set aside, and brought back.

use std::collections::BTreeSet;
use std::time::Instant;

use super::Channels;
use crate::domain::{Channel, CollectionId};
use crate::pipeline::CallId;
use crate::replication::aside::{AsideCollections, Readiness, STUCK_MEMORY, StuckReason, StuckRows};
use crate::replication::channel::ChannelState;

impl Channels {
    /// The collections to set aside now, and why: their rows fill the memory that others need. `readiness` knows
    /// `streaming` collections.
    pub(in crate::replication) fn stuck(
        &mut self,
        readiness: impl Fn(CollectionId) -> Option<Readiness>,
        streaming: usize,
        now: Instant,
    ) -> Vec<StuckRows> {
        let mut candidates = self.lanes.waiting();
        candidates.extend(self.troubled.collections());
        let rows = |id| self.stuck_rows(id, readiness(id)?);
        let stuck: Vec<StuckRows> = candidates.into_iter().filter_map(rows).collect();
        // Alone, a collection may wait where it is.
        let is_alone = stuck.len() + self.aside.len() >= streaming;
        self.aside.choose(if is_alone { Vec::new() } else { stuck }, now)
    }

    /// So little is queued that nothing is in the way of others.
    pub(in crate::replication) fn nothing_is_stuck(&mut self) {
        self.aside.calm_down();
    }

    fn stuck_rows(&self, id: CollectionId, readiness: Readiness) -> Option<StuckRows> {
        let bytes = Some(self.lanes.held_bytes_of(id)).filter(|bytes| *bytes > 0)?;
        let why = match self.troubled.own_failure(id) {
            Some(why) => StuckReason::Calls(why.to_owned()),
            None if readiness == Readiness::NotReady => StuckReason::NotReady,
            None if self.lanes.awaits_catalog(id) => StuckReason::PartUnknown,
            None => return None,
        };
        Some(StuckRows { id, bytes, why })
    }

    /// Whether so much is queued that it is worth looking.
    pub(in crate::replication) fn may_have_stuck_rows(&self) -> bool {
        self.lanes.bytes() >= STUCK_MEMORY
    }

    /// Nothing of the collection, which lives on these channels, is taken in any more. False when it must not be now.
    pub(in crate::replication) fn set_aside(
        &mut self,
        id: CollectionId,
        channels: &[Channel],
        why: String,
        now: Instant,
    ) -> bool {
        let is_still = |channel: &Channel| self.states.get(channel).is_some_and(|state| !state.awaits_rewind());
        if channels.is_empty() || !channels.iter().all(is_still) || self.aside.has(id) {
            return false;
        }
        for channel in channels {
            if let Some(state) = self.states.get_mut(channel) {
                state.set_aside(id);
            }
        }
        self.discard_rows(id);
        self.aside.insert(id, why, now);
        true
    }

    /// The channels are read again for those whose time has come and that may start. Answers which.
    pub(in crate::replication) fn bring_back(
        &mut self,
        may_start: impl Fn(CollectionId) -> bool,
        now: Instant,
    ) -> Vec<CollectionId> {
        let due = self.aside.take_due(may_start, now);
        for id in &due {
            self.states.values_mut().for_each(|state| state.bring_back(*id));
        }
        due
    }

    /// The channels are read again for what is set aside as soon as that may start.
    pub(in crate::replication) fn hurry_asides(&mut self, now: Instant) {
        self.aside.hurry(now);
    }

    /// The collections of which rows were read that are not on the target, or have to be read again.
    pub(in crate::replication) fn unfinished(&self) -> BTreeSet<CollectionId> {
        let read_again = self.states.values().flat_map(ChannelState::to_be_read_again);
        let calls = self.troubled.collections();
        self.lanes.waiting().into_iter().chain(calls).chain(self.aside.ids()).chain(read_again).collect()
    }

    pub(in crate::replication) fn aside(&self) -> &AsideCollections {
        &self.aside
    }

    /// A call is not made again: what it was to do is read again.
    pub(in crate::replication) fn give_up(&mut self, id: CollectionId, call: CallId) {
        let finished = self.finish(id, call);
        self.mark_done(finished.done);
    }
}
