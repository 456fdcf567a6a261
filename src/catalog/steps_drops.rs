//! Dropping on the target what the source has dropped.

use std::collections::BTreeSet;

use super::dropped::confirm_dropped;
use super::error::CatalogError;
use super::object_locks::{CatalogObject, LockedObjects};
use super::source_identity::SourceVerdict;
use super::steps::{RoundView, StepEnd, Steps};
use crate::domain::{CollectionId, CollectionName};

impl Steps {
    /// Drops a collection that listings lack. What has changed since that was planned counts.
    pub(super) fn drop_missing_one(&self, id: CollectionId, locks: &mut LockedObjects) -> StepEnd {
        let record = self.target.record();
        let is_missing = self.view().missing.contains(&id) && !self.source.is_listed(id);
        if !is_missing || self.paused.contains(id) || record.held_drops().is_held(id) {
            return StepEnd::Idle;
        }
        let object = record.source_of(id).map_or_else(|| id.to_string(), |name| name.to_string());
        StepEnd::Tried { id: Some(id), object, outcome: self.drop_if_confirmed(id, locks) }
    }

    /// Drops on the target a collection that listings lack, once its last known name confirms that it was dropped.
    fn drop_if_confirmed(&self, id: CollectionId, locks: &mut LockedObjects) -> Result<(), CatalogError> {
        confirm_dropped(&self.source, self.target.record(), id)?;
        self.source.forget(id);
        let name = self.target.record().source_of(id);
        let holders = match &name {
            Some(name) => self.alias_holders(id, &name.db, &BTreeSet::new())?,
            None => Default::default(),
        };
        let others = holders.values().copied().map(CatalogObject::Collection);
        locks.extend(others.chain(self.with_its_names(id)).chain(self.its_aliases(id)).collect())?;
        self.target.hand_over_aliases(id, &holders)?;
        self.target.drop_collection(id)
    }

    /// Drops a collection whose name on the target another one is to have.
    pub(super) fn drop_replaced(
        &self,
        view: &RoundView,
        id: CollectionId,
        locks: &mut LockedObjects,
    ) -> Result<(), CatalogError> {
        let record = self.target.record();
        let name = record.get(id).map(|replicated| replicated.name.to_string()).unwrap_or_default();
        if self.paused.contains(id) {
            return Err(CatalogError::paused_in_the_way(&name));
        }
        let is_doubtful = view.verdict == SourceVerdict::Unsure && !view.shown_drops.contains(&id);
        if record.held_drops().is_held(id) || is_doubtful {
            return Err(CatalogError::Held(format!(
                "the target's {name} is in the way, and its drop is held: confirm or discard it (request `drops`)"
            )));
        }
        self.drop_if_confirmed(id, locks)
    }

    /// The brake counts names: one that is dropped and created again and again has vanished once.
    pub(super) fn brake_key(&self, id: CollectionId) -> CollectionName {
        let name = self.target.record().source_of(id);
        name.unwrap_or_else(|| CollectionName::new("", id.to_string()))
    }
}
