//! What a step changes besides its own collection, or relies on.

use std::collections::BTreeSet;

use super::agenda::CatalogStep;
use super::apply::AliasHolders;
use super::describe::SourceCollection;
use super::object_locks::{CatalogObject, LockedObjects, ObjectsInUse};
use super::steps::{Steps, name_aside};
use crate::domain::{CollectionId, CollectionName};

impl Steps {
    /// What a step needs as far as that shows before it begins.
    pub(super) fn objects_of(&self, step: &CatalogStep) -> BTreeSet<CatalogObject> {
        match step {
            CatalogStep::Visit { id, .. } => {
                let name = self.source.name_of(*id).map(|name| CatalogObject::Name(self.mapping.map(&name)));
                self.with_its_names(*id).into_iter().chain(name).collect()
            }
            CatalogStep::Drop(id) | CatalogStep::Keep(id) => {
                self.with_its_names(*id).into_iter().chain(self.its_aliases(*id)).collect()
            }
            CatalogStep::Databases(plan) => {
                plan.wanted.iter().chain(&plan.unwanted).cloned().map(CatalogObject::Database).collect()
            }
            // It changes nothing.
            CatalogStep::Look(_) => BTreeSet::new(),
            CatalogStep::DropExpired => {
                let held = self.target.record().held_drops();
                held.all_set_aside().iter().map(|aside| CatalogObject::Name(aside.target())).collect()
            }
        }
    }

    /// Locks all that the replication of a described collection may touch.
    pub(super) fn lock_for(
        &self,
        source: &SourceCollection,
        name: &CollectionName,
        holders: &AliasHolders,
        locks: &mut LockedObjects,
    ) -> Result<(), ObjectsInUse> {
        loop {
            let objects = self.touched_by(source, name, holders);
            // Who holds what may have changed before it was locked, not any more after that.
            if locks.covers(&objects) {
                return Ok(());
            }
            locks.extend(objects)?;
        }
    }

    fn touched_by(
        &self,
        source: &SourceCollection,
        name: &CollectionName,
        holders: &AliasHolders,
    ) -> BTreeSet<CatalogObject> {
        let record = self.target.record();
        let recorded = record.get(source.id).unwrap_or_default();
        let mut objects = self.with_its_names(source.id);
        objects.insert(CatalogObject::Name(name.clone()));
        let mut others: BTreeSet<CollectionId> = holders.values().copied().collect();
        // An alias of ours may have the name.
        others.extend(record.alias_holder(&name.db, &name.name));
        for alias in recorded.aliases.symmetric_difference(&source.details.aliases) {
            for db in [&name.db, &recorded.name.db].into_iter().filter(|db| !db.is_empty()) {
                objects.insert(CatalogObject::Name(CollectionName::new(db, alias)));
                others.extend(record.alias_holder(db, alias));
            }
        }
        if let Some(holder) = record.holder(name).filter(|holder| *holder != source.id) {
            others.insert(holder);
            let wanted = self.source.name_of(holder).map(|name| self.mapping.map(&name));
            let names = wanted.into_iter().flat_map(|wanted| [name_aside(holder, &wanted), wanted]);
            objects.extend(names.map(CatalogObject::Name));
        }
        objects.extend(others.into_iter().flat_map(|id| self.with_its_names(id)));
        objects
    }

    /// A collection, the name that it has on the target and the one that it is being given there.
    pub(super) fn with_its_names(&self, id: CollectionId) -> BTreeSet<CatalogObject> {
        let recorded = self.target.record().get(id);
        let names = recorded.into_iter().flat_map(|recorded| [Some(recorded.name), recorded.renaming]).flatten();
        names.map(CatalogObject::Name).chain([CatalogObject::Collection(id)]).collect()
    }

    /// The aliases of ours of a collection.
    pub(super) fn its_aliases(&self, id: CollectionId) -> BTreeSet<CatalogObject> {
        let Some(recorded) = self.target.record().get(id) else { return BTreeSet::new() };
        let name = |alias| CatalogObject::Name(CollectionName::new(&recorded.name.db, alias));
        recorded.possible_aliases().iter().map(name).collect()
    }
}
