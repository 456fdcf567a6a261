//! What users want of single collections: paused, resumed, compared.

use std::collections::BTreeMap;
use std::time::Instant;

use super::Collections;
use crate::catalog::Hint;
use crate::domain::CollectionId;
use crate::replication::aside::AsideCollections;
use crate::replication::checkpoint::PauseRecord;
use crate::replication::collection_state::{CollectionState, HoldState};
use crate::replication::effect::{Effect, Effects};
use crate::replication::held::PausedCollection;
use crate::task::collection_request::{CollectionOutcome, CollectionRefused, CollectionWish};

impl Collections {
    /// What users had paused when an earlier run ended.
    pub(in crate::replication) fn with_paused(mut self, records: &BTreeMap<i64, PauseRecord>) -> Collections {
        self.held.restore_paused(records);
        let unknown = records.keys().map(|id| CollectionId(*id)).filter(|id| !self.by_id.contains_key(id));
        self.passed_over.extend(unknown);
        self
    }

    /// For the checkpoint: what users have paused.
    pub(in crate::replication) fn paused_records(&self) -> BTreeMap<i64, PauseRecord> {
        self.held.paused_records()
    }

    /// Those that users have paused.
    pub(in crate::replication) fn paused(&self) -> impl Iterator<Item = (CollectionId, &PausedCollection)> {
        self.held.paused()
    }

    /// The collection with this name at the source. One that was dropped while it was paused may share its name with
    /// another: it is meant when it is resumed.
    pub(in crate::replication) fn find(
        &self,
        name: &str,
        wish: CollectionWish,
    ) -> Result<CollectionId, CollectionRefused> {
        let named: Vec<(CollectionId, String)> = self.names().collect();
        let same = named.iter().filter(|(_, known)| known == name).map(|(id, _)| *id);
        let is_meant = |id: &CollectionId| self.held.is_paused(*id) == (wish == CollectionWish::Resume);
        let first = same.clone().find(is_meant).or(same.clone().next());
        first.ok_or_else(|| CollectionRefused::unknown(name, named.into_iter().map(|(_, known)| known).collect()))
    }

    /// All collections with their names at the source, as far as these are known; one may come more than once.
    fn names(&self) -> impl Iterator<Item = (CollectionId, String)> {
        let name = |state: &CollectionState| match (state.ready(), state.joining()) {
            (Some(ready), _) => Some(ready.source.to_string()),
            (None, Some(joining)) => Some(joining.source.to_string()),
            (None, None) => None,
        };
        let taken_in = self.by_id.iter().filter_map(move |(id, state)| Some((*id, name(state)?)));
        let held = self.held.iter().map(|(id, hold)| (id, hold.source));
        taken_in.chain(held).chain(self.held.paused().map(|(id, paused)| (id, paused.source.clone())))
    }

    /// Nothing of the collection starts before a user resumes it. What the source writes meanwhile comes by a
    /// comparison, or, when it has not joined yet, by reading again.
    pub(in crate::replication) fn pause(
        &mut self,
        id: CollectionId,
        name: &str,
        effects: &mut Effects,
    ) -> Result<CollectionOutcome, CollectionRefused> {
        if self.held.is_paused(id) {
            return Err(CollectionRefused::AlreadyPaused(name.to_owned()));
        }
        let surplus = self.surplus_of_unknown(id);
        self.held.pause(id, name.to_owned());
        self.questions.forget(id);
        self.stop_rows(id, surplus, effects);
        self.stand(id, HoldState::Held);
        Ok(CollectionOutcome::Paused)
    }

    /// The collection goes on as soon as the catalog describes it again.
    pub(in crate::replication) fn resume(
        &mut self,
        id: CollectionId,
        name: &str,
        asides: &AsideCollections,
        now: Instant,
    ) -> Result<CollectionOutcome, CollectionRefused> {
        let outcome = if self.held.is_paused(id) {
            CollectionOutcome::Resumed
        } else if self.held.is_held(id) {
            CollectionOutcome::TriedAgain
        } else {
            let stage = self.by_id.get(&id).map_or("unknown", |state| self.stage_of(id, state, asides).name());
            return Err(CollectionRefused::NotPaused { name: name.to_owned(), stage });
        };
        self.held.resume(id);
        self.held.hurry(id, now);
        Ok(outcome)
    }

    /// The rows of the collection are to be compared. `true` when that has to begin: it is not under way.
    pub(in crate::replication) fn resync(
        &mut self,
        id: CollectionId,
        name: &str,
        now: Instant,
        effects: &mut Effects,
    ) -> Result<bool, CollectionRefused> {
        if self.held.is_paused(id) {
            return Err(CollectionRefused::Paused(name.to_owned()));
        }
        if !self.has(id) {
            return Err(CollectionRefused::NotJoined(name.to_owned()));
        }
        self.held.hurry(id, now);
        effects.push(Effect::Hint(Hint::Resync(id)));
        Ok(!self.is_backfilled(id))
    }
}
