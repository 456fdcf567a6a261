//! Which collection has an alias at the source that another one has on the target, and which made room for an alias.

use std::collections::BTreeSet;

use super::apply::AliasHolders;
use super::describe::SourceCollection;
use super::error::CatalogError;
use super::object_locks::LockedObjects;
use super::steps::{RoundView, Steps};
use crate::domain::{CollectionId, CollectionName};

impl Steps {
    /// Drops collections of ours in whose place the source has put an alias of this one. Like one that is created
    /// again, such a collection has not merely vanished: its drop does not wait for the brake's quiet time.
    pub(super) fn make_room_for_aliases(
        &self,
        view: &RoundView,
        source: &SourceCollection,
        locks: &mut LockedObjects,
    ) -> Result<(), CatalogError> {
        for id in self.replaced_by_aliases(view, source) {
            self.collections_brake.lock().forget(&self.brake_key(id));
            self.drop_replaced(view, id, locks)?;
        }
        Ok(())
    }

    fn replaced_by_aliases(&self, view: &RoundView, source: &SourceCollection) -> Vec<CollectionId> {
        let is_alias = |name: &CollectionName| name.db == source.name.db && source.details.aliases.contains(&name.name);
        let last_name = |id: CollectionId| self.target.record().source_of(id);
        view.missing.iter().copied().filter(|id| last_name(*id).as_ref().is_some_and(is_alias)).collect()
    }

    /// Who has the recorded aliases now that a collection does not have any more.
    pub(super) fn alias_holders(
        &self,
        id: CollectionId,
        db: &str,
        aliases: &BTreeSet<String>,
    ) -> Result<AliasHolders, CatalogError> {
        let Some(replicated) = self.target.record().get(id) else { return Ok(AliasHolders::new()) };
        let mut holders = AliasHolders::new();
        for alias in replicated.possible_aliases().difference(aliases) {
            holders.extend(self.alias_holder(id, db, alias)?.map(|holder| (alias.clone(), holder)));
        }
        Ok(holders)
    }

    /// The collection that has an alias at the source; `None` if there is no such alias, or none in the scope. Where
    /// the source does not say, it stays with the collection `id`, which has it on the target.
    fn alias_holder(&self, id: CollectionId, db: &str, alias: &str) -> Result<Option<CollectionId>, CatalogError> {
        if self.source.listed_as(db, alias).is_some() {
            return Ok(None);
        }
        match self.source.holder(&CollectionName::new(db, alias), self.target.record()) {
            Ok(holder) => Ok(holder),
            Err(error) if error.is_collection_missing() || error.is_database_missing() => Ok(None),
            Err(error) if error.is_silence() => Err(CatalogError::Source(error)),
            Err(error) => {
                log::debug!("the alias {db}.{alias} stays where it is: {error}");
                Ok(Some(id))
            }
        }
    }
}
