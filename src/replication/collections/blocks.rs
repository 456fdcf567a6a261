//! Collections that the catalog changes: nothing of them starts meanwhile.

use crossbeam_channel::Sender;

use super::{Block, Collections};
use crate::domain::CollectionId;
use crate::replication::effect::{Effect, Effects};

impl Collections {
    /// The catalog is about to change what names depend on.
    pub(in crate::replication) fn block(&mut self, id: CollectionId, answer: Sender<()>, effects: &mut Effects) {
        if let Some(state) = self.by_id.get_mut(&id) {
            state.block();
            self.backfills.cancel(id, effects);
        }
        self.blocks.push(Block { id, answer });
    }

    /// The catalog has not changed it.
    pub(in crate::replication) fn unblock(&mut self, id: CollectionId) {
        if let Some(state) = self.by_id.get_mut(&id).filter(|_| !self.held.is_held_by_catalog(id)) {
            state.unblock();
            self.backfills.want(id, state);
        }
    }

    /// Tells the catalog when nothing is under way for a collection that it wants to change.
    pub(in crate::replication) fn answer_blocks(
        &mut self,
        has_calls: impl Fn(CollectionId) -> bool,
        effects: &mut Effects,
    ) {
        let backfills = &self.backfills;
        let is_busy = |id: CollectionId| has_calls(id) || backfills.queue().is_active(id);
        for block in self.blocks.extract_if(.., |block| !is_busy(block.id)) {
            effects.push(Effect::AnswerBlock(block.answer));
        }
    }

    /// The task ends: the catalog must not wait for it while it waits for the catalog.
    pub(in crate::replication) fn drop_blocks(&mut self) {
        self.blocks.clear();
    }
}
