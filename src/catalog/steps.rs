/*!
What the workers do: one step each, side by side with steps about other objects.

A step has what it changes to itself ([`LockedObjects`]) and reads the rest as it is: source, target and record may be
used by all steps at once. What a step finds out on its way that it needs besides, it locks before it touches it, or
gives up and begins again.
*/

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;

use super::agenda::{CatalogStep, TargetLook};
use super::apply::{RoundContext, TargetCatalog, TargetPresence};
use super::describe::{Load, LoadProgress, SourceCollection};
use super::drop_brake::DropBrake;
use super::error::CatalogError;
use super::load_plan::ReleaseProof;
use super::object_locks::LockedObjects;
use super::periodic_describe::DescribeDepth;
use super::releases::Releases;
use super::reporter::Reporter;
use super::source::{QuickLook, SourceCatalog};
use super::source_identity::SourceVerdict;
use crate::domain::{CollectionId, CollectionName, Timestamp};
use crate::milvus::capabilities::LoadRetention;
use crate::task::mapping::NameMapping;
use crate::task::paused::PausedCollections;

/// What the last round has found out about the source as a whole.
#[derive(Debug, Clone)]
pub(super) struct RoundView {
    /// The highest question asked before the round began.
    pub(super) generation: u64,
    pub(super) verdict: SourceVerdict,
    /// The source was restored to an earlier time, so that what it lacks was not dropped.
    pub(super) is_restored: bool,
    /// Collections of ours that two listings in a row lack.
    pub(super) missing: BTreeSet<CollectionId>,
    /// Collections of ours whose drop the source's log shows.
    pub(super) shown_drops: BTreeSet<CollectionId>,
}

impl Default for RoundView {
    fn default() -> Self {
        RoundView {
            generation: 0,
            verdict: SourceVerdict::Unsure,
            is_restored: false,
            missing: BTreeSet::new(),
            shown_drops: BTreeSet::new(),
        }
    }
}

/// What steps share, among themselves and with the rounds that plan them.
pub(super) struct Steps {
    pub(super) source: SourceCatalog,
    pub(super) target: TargetCatalog,
    pub(super) mapping: NameMapping,
    pub(super) reporter: Reporter,
    /// What a user has paused: nothing of it is changed or dropped.
    pub(super) paused: Arc<PausedCollections>,
    pub(super) releases: Mutex<Releases>,
    /// Collections that were being loaded when described.
    pub(super) loading: Mutex<BTreeSet<CollectionId>>,
    pub(super) collections_brake: Mutex<DropBrake<CollectionName>>,
    pub(super) view: Mutex<Arc<RoundView>>,
}

/// How a step has ended.
#[derive(Debug)]
pub(super) enum StepEnd {
    /// There was nothing to be done, or nobody can tell yet what.
    Idle,
    /// What collections were described as, if that tells anything.
    Looked(QuickLook),
    /// It was tried.
    Tried {
        /// The collection that it turned out to be about, if it is about one.
        id: Option<CollectionId>,
        /// That or something else, for people.
        object: String,
        outcome: Result<(), CatalogError>,
    },
}

impl Steps {
    pub(super) fn view(&self) -> Arc<RoundView> {
        Arc::clone(&self.view.lock())
    }

    /// Takes one step.
    pub(super) fn take(&self, step: &CatalogStep, locks: &mut LockedObjects) -> StepEnd {
        let about_all = |object: &str, outcome| StepEnd::Tried { id: None, object: object.to_owned(), outcome };
        match step {
            CatalogStep::Visit { id, depth, look } => self.visit(*id, *depth, *look, locks),
            CatalogStep::Look(ids) => StepEnd::Looked(self.source.look_at(ids)),
            CatalogStep::Drop(id) => self.drop_missing_one(*id, locks),
            // It may have come back meanwhile.
            CatalogStep::Keep(id) if self.source.is_listed(*id) => StepEnd::Idle,
            CatalogStep::Keep(id) => {
                self.source.forget(*id);
                let outcome = self.target.keep_collection(*id);
                StepEnd::Tried { id: Some(*id), object: id.to_string(), outcome }
            }
            CatalogStep::Databases(plan) => about_all("databases", self.replicate_databases(plan)),
            CatalogStep::DropExpired => {
                let outcome = self.target.drop_expired(Timestamp::now().physical_ms());
                about_all("collections kept under another name", outcome)
            }
        }
    }

    /// Looks at a collection on the target if that is wanted, and replicates it if its turn or its description calls
    /// for it.
    fn visit(&self, id: CollectionId, depth: DescribeDepth, look: TargetLook, locks: &mut LockedObjects) -> StepEnd {
        let wanted = self.source.name_of(id).map(|name| self.mapping.map(&name));
        if let Err(error) = self.look_at_target(id, wanted.as_ref(), look) {
            return self.not_described(id, error);
        }
        if self.paused.contains(id) {
            return StepEnd::Idle;
        }
        match depth {
            DescribeDepth::Whole => {}
            // Others are waiting for a retry, which compares them as a whole.
            DescribeDepth::IfChanged if !self.source.is_replicated(id) => return StepEnd::Idle,
            DescribeDepth::IfChanged => match self.source.has_changed(id) {
                Ok(true) => {}
                Ok(false) => return StepEnd::Idle,
                Err(error) => return self.not_described(id, error),
            },
        }
        self.replicate(id, locks)
    }

    fn look_at_target(
        &self,
        id: CollectionId,
        wanted: Option<&CollectionName>,
        look: TargetLook,
    ) -> Result<(), CatalogError> {
        match look {
            TargetLook::None => Ok(()),
            TargetLook::Parts => {
                self.target.refresh(id, wanted)?;
                self.source.forget(id);
                Ok(())
            }
            TargetLook::Presence => match self.target.check_presence(id, wanted) {
                Ok(TargetPresence::Lost) => {
                    self.source.forget(id);
                    Ok(())
                }
                Ok(TargetPresence::Kept) => Ok(()),
                Err(error @ (CatalogError::Stopping | CatalogError::OtherSource(_))) => Err(error),
                // A target that does not answer is reported by the step that changes something.
                Err(error) => {
                    log::debug!("{error}");
                    Ok(())
                }
            },
        }
    }

    /// The description of one collection failed: it is retried as a whole, and does not hold up the others.
    fn not_described(&self, id: CollectionId, error: CatalogError) -> StepEnd {
        self.source.forget(id);
        let object = self.source.name_of(id).map_or_else(|| id.to_string(), |name| name.to_string());
        StepEnd::Tried { id: Some(id), object, outcome: Err(error) }
    }

    /// Describes one collection and replicates what has changed.
    fn replicate(&self, id: CollectionId, locks: &mut LockedObjects) -> StepEnd {
        // Before the description, which answers the questions asked until then.
        let view = self.view();
        let source = match self.source.describe(self.target.record(), id) {
            Ok(Some(source)) => self.target.in_its_terms(source),
            Ok(None) => return StepEnd::Idle,
            Err(error) => return self.not_described(id, error),
        };
        let (id, object) = (source.id, source.name.to_string());
        let outcome = self.replicate_described(&view, &source, locks);
        if outcome.is_ok() {
            self.source.replicated(source);
        } else {
            self.source.forget(id);
        }
        StepEnd::Tried { id: Some(id), object, outcome }
    }

    fn replicate_described(
        &self,
        view: &RoundView,
        source: &SourceCollection,
        locks: &mut LockedObjects,
    ) -> Result<(), CatalogError> {
        let holders = self.alias_holders(source.id, &source.name.db, &source.details.aliases)?;
        let name = self.mapping.map(&source.name);
        self.lock_for(source, &name, &holders, locks)?;
        let has_room = self.make_room_for_aliases(view, source, locks);
        if view.is_restored {
            self.target.keep_missing_partitions(source)?;
        }
        let round = RoundContext { generation: view.generation, release: self.prove_release(view, source) };
        let named = self.free_name(view, source.id, &name, locks);
        let outcome = match named.and_then(|()| self.target.ensure_collection(source, &name)) {
            // It keeps its old name, or the holder of the new one does. If it exists, everything else goes on.
            Err(refused @ CatalogError::RenameRefused(_)) if self.target.is_created(source.id) => {
                self.target.replicate(source, round, &holders).and(Err(refused))
            }
            outcome => outcome.and_then(|()| self.target.replicate(source, round, &holders)),
        };
        // Why a name is still taken says more than the target's refusal of the alias.
        has_room.and(outcome)
    }

    /// Whether what the source has released of a collection follows.
    fn prove_release(&self, view: &RoundView, source: &SourceCollection) -> ReleaseProof {
        let now = Instant::now();
        if source.load_progress == LoadProgress::Underway {
            self.loading.lock().insert(source.id);
        }
        // On a source that loses its loads, nothing loaded means a restart, not a wish.
        let is_lost = source.load == Load::None && self.source.load_retention() == LoadRetention::LostOnRestart;
        // Nor does a server count that may be another one.
        let is_known = view.verdict == SourceVerdict::Known;
        if is_lost || !is_known || !self.target.is_release_wanted(source) {
            self.releases.lock().not_reduced(source.id, now);
            return ReleaseProof::Unproven;
        }
        let proof = self.releases.lock().reduced(source.id, &source.load, now);
        if proof == ReleaseProof::Proven && !self.source.answers_reads() {
            self.releases.lock().disturbed(now);
            return ReleaseProof::Unproven;
        }
        proof
    }

    /// Frees a name on the target of another collection of ours, which at the source was renamed or dropped
    /// meanwhile.
    fn free_name(
        &self,
        view: &RoundView,
        id: CollectionId,
        name: &CollectionName,
        locks: &mut LockedObjects,
    ) -> Result<(), CatalogError> {
        let record = self.target.record();
        let Some(holder) = record.holder(name).filter(|holder| *holder != id) else { return Ok(()) };
        let ambiguous = || CatalogError::Ambiguous { name: name.clone(), server: self.source.address().to_owned() };
        let Some(holder_name) = self.source.name_of(holder) else {
            // A synthetic id may have been replaced by another one just now.
            let is_over = !holder.is_given() || view.missing.contains(&holder);
            return if is_over { self.drop_replaced(view, holder, locks) } else { Err(ambiguous()) };
        };
        let wanted = self.mapping.map(&holder_name);
        if wanted == *name {
            // The listing is older than the description.
            return Err(ambiguous());
        }
        if self.paused.contains(holder) {
            return Err(CatalogError::paused_in_the_way(name));
        }
        // Two collections that swap their names: one steps aside first.
        let free = if record.holder(&wanted).is_none() { wanted } else { name_aside(holder, &wanted) };
        self.source.forget(holder);
        self.target.rename(holder, &free)
    }
}

/// The name that a collection has for a moment whose new name another one has still to leave.
pub(super) fn name_aside(id: CollectionId, wanted: &CollectionName) -> CollectionName {
    CollectionName::new(&wanted.db, format!("cdc_{}", id.0.unsigned_abs()))
}
