//! What is looked at on the target, and why.

use std::collections::BTreeMap;

use super::agenda::{StepPriority, TargetLook};
use super::error::CatalogError;
use super::periodic_describe::DescribeDepth;
use super::steps::Steps;
use super::watch::CatalogWatch;
use crate::domain::{CollectionId, CollectionName};

impl CatalogWatch {
    /// Held collections whose names on the target stand for something else now are tried again at once, and what
    /// somebody has dropped there is replicated again.
    pub(super) fn look_at_target(&mut self) {
        let Steps { source, target, mapping, .. } = &*self.steps;
        let name_of = |id| source.name_of(id).map(|name| mapping.map(&name));
        let held: BTreeMap<CollectionId, CollectionName> =
            self.retries.held().filter_map(|id| Some((id, name_of(id)?))).collect();
        let Some(changed) = target.list_changes(held.values()) else { return };
        self.retries.hurry(|id| held.get(&id).is_some_and(|name| changed.contains(name)));
        for id in target.suspects() {
            self.look(id, TargetLook::Presence, StepPriority::Outdated);
        }
    }

    /// What a target lacks that was restored to an earlier time is replicated again.
    pub(super) fn look_at_targets_past(&mut self) -> Result<(), CatalogError> {
        for id in self.steps.target.look_at_past()? {
            self.look(id, TargetLook::Parts, StepPriority::Outdated);
        }
        Ok(())
    }

    /// A collection is looked at on the target before it is replicated.
    pub(super) fn look(&mut self, id: CollectionId, look: TargetLook, priority: StepPriority) {
        let wanted = self.looks.entry(id).or_insert(look);
        *wanted = look.max(*wanted);
        self.plan_visit(id, DescribeDepth::Whole, priority);
    }
}
