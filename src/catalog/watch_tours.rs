/*!
Collections that nothing calls for but their turn.

Those of which the description alone is asked for are asked about together, in one step: each of them wakes up several
threads if it is asked about alone, which was more than half of what an idle task cost. The step only looks. What it
finds changed is visited as if a hint had come.
*/

use std::collections::BTreeSet;
use std::time::Instant;

use super::agenda::{CatalogStep, StepPriority};
use super::error::CatalogError;
use super::periodic_describe::DescribeDepth;
use super::retries::RetrySubject;
use super::source::QuickLook;
use super::watch::CatalogWatch;
use crate::domain::CollectionId;

impl CatalogWatch {
    /// Plans the collections whose turn has come. Others are waiting for a retry, which compares them as a whole; what
    /// a user has paused is left alone.
    pub(super) fn plan_tours(&mut self) {
        let listing = self.steps.source.listing();
        let mut quick: BTreeSet<CollectionId> = BTreeSet::new();
        for due in self.periodic.due(listing.collections(), Instant::now()) {
            if !self.steps.source.is_replicated(due.id) || self.steps.paused.contains(due.id) {
                continue;
            }
            // After the step that is under way about it, whatever that has seen.
            let is_busy = self.is_under_way(&RetrySubject::Collection(due.id));
            match due.depth {
                DescribeDepth::IfChanged if !is_busy => quick.extend([due.id]),
                depth => self.plan_visit(due.id, depth, StepPriority::Tour),
            }
        }
        if !quick.is_empty() {
            self.agenda.add(CatalogStep::Look(quick), StepPriority::Tour);
        }
    }

    /// Takes what a look at many collections has shown.
    pub(super) fn settle_look(&mut self, look: QuickLook) -> Result<(), CatalogError> {
        let QuickLook { changed, failed, unanswered } = look;
        for id in changed {
            self.plan_visit(id, DescribeDepth::Whole, StepPriority::Outdated);
        }
        // Alone, each takes as long as it takes.
        for id in unanswered {
            self.plan_visit(id, DescribeDepth::IfChanged, StepPriority::Tour);
        }
        let mut is_silence_told = false;
        for (id, error) in failed {
            let error = CatalogError::Source(error);
            // A source that does not answer is no trouble of each of them: they have their turn again soon.
            if error.is_silence_of_source() && std::mem::replace(&mut is_silence_told, true) {
                continue;
            }
            let source = &self.steps.source;
            let object = source.name_of(id).map_or_else(|| id.to_string(), |name| name.to_string());
            // It is retried as a whole.
            source.forget(id);
            self.settle_tried(RetrySubject::Collection(id), &object, Err(error))?;
        }
        Ok(())
    }
}
