/*!
The record of what this task has replicated to its target: where every comparison starts, and the proof of what may be
dropped there. One file per task, `catalog.json`.

The crash argument: a collection, partition or database is recorded *before* it is created and removed from the record
*after* it was dropped. A crash in between leaves a record of something that does not exist (created, or dropped
again, by the next comparison, which looks before it creates), never something of ours without a record. An index is
recorded *after* it was created: one that is found on a collection of ours is ours. An alias is recorded before as one
that a collection may have, and after as one that it has: if it is not wanted any more, the target says which is so.

All methods take `&self`: steps about different objects run side by side, share the record and change only their own
entries. The file has all of them, so a step may write what another one has just changed: earlier than that one would,
but never before the change that it follows, because each step changes memory in the order that the argument needs. A
step that finds its change written already goes on; while a file is being written nothing changes.
*/

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::held_drops::HeldDrops;
pub(super) use super::replicated::{ReplicatedCollection, ReplicatedIndex};
use super::synthetic_ids::SyntheticIds;
use crate::domain::{CollectionId, CollectionName, ObjectKey};
use crate::storage::sealed_file::{self, SealedError};

const FORMAT: &str = "milvus-cdc catalog";
const VERSION: u32 = 1;

/// The record and its file.
#[derive(Debug)]
pub(super) struct CatalogRecord {
    path: PathBuf,
    state: Mutex<RecordState>,
}

#[derive(Debug)]
struct RecordState {
    content: RecordContent,
    is_dirty: bool,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct RecordContent {
    /// Databases created by this task, by their names on the target.
    databases: BTreeSet<String>,
    /// Collections by their ids at the source.
    collections: BTreeMap<i64, ReplicatedCollection>,
    /// What stands in for ids where the source gives none.
    #[serde(default, rename = "names")]
    synthetic_ids: SyntheticIds,
    /// Properties of databases as last set, by the database's name on the target.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    database_properties: BTreeMap<String, BTreeMap<String, String>>,
    /// Drops that wait for a user.
    #[serde(default, skip_serializing_if = "HeldDrops::is_empty")]
    drops: HeldDrops,
    /// A task in the opposite direction has been found to run.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    paired: bool,
}

/// The collections that the task with this folder follows, named as the source has them.
///
/// # Errors
/// The record cannot be read.
pub fn followed(folder: &Path) -> Result<BTreeMap<CollectionId, String>, SealedError> {
    let record = CatalogRecord::open(folder)?;
    let name =
        |id: CollectionId| record.source_of(id).map_or_else(|| format!("collection {id}"), |name| name.to_string());
    Ok(record.ids().into_iter().map(|id| (id, name(id))).collect())
}

/// The collections of the task with this folder that are on the target: ids at the source and there, where both tell.
///
/// # Errors
/// The record cannot be read.
pub fn twins(folder: &Path) -> Result<BTreeMap<CollectionId, CollectionId>, SealedError> {
    let record = CatalogRecord::open(folder)?;
    let twin = |id: CollectionId| {
        let replicated = record.get(id)?;
        let is_there = replicated.created && !replicated.lost && !replicated.withheld && replicated.target_id > 0;
        (is_there && id.is_given()).then_some((id, CollectionId(replicated.target_id)))
    };
    Ok(record.ids().into_iter().filter_map(twin).collect())
}

impl CatalogRecord {
    /// Reads the record in `folder`; a new task has none.
    ///
    /// # Errors
    /// The file exists but is damaged or unreadable.
    pub(super) fn open(folder: &Path) -> Result<CatalogRecord, SealedError> {
        let path = folder.join("catalog.json");
        let content = sealed_file::load(&path, FORMAT, VERSION)?.unwrap_or_default();
        Ok(CatalogRecord { path, state: Mutex::new(RecordState { content, is_dirty: false }) })
    }

    /// Writes the file, if the record has changed.
    ///
    /// # Errors
    /// The file cannot be written; the old content is kept on disk.
    pub(super) fn save(&self) -> Result<(), SealedError> {
        let mut state = self.state.lock();
        if state.is_dirty {
            sealed_file::save(&self.path, FORMAT, VERSION, &state.content)?;
            state.is_dirty = false;
        }
        Ok(())
    }

    /// The id that a collection has here. The record must be saved before anything is created for a new one.
    pub(super) fn id_of(&self, key: &ObjectKey) -> CollectionId {
        let name = match key {
            ObjectKey::Id(id) => return *id,
            ObjectKey::Name { db, name } => CollectionName::new(db, name),
        };
        let mut state = self.state.lock();
        if let Some(known) = state.content.synthetic_ids.find(&name) {
            return known;
        }
        state.is_dirty = true;
        state.content.synthetic_ids.renumber(&name)
    }

    /// Gives the name a new id: it stands for another collection than before.
    pub(super) fn renumber(&self, name: &CollectionName) -> CollectionId {
        let mut state = self.state.lock();
        state.is_dirty = true;
        state.content.synthetic_ids.renumber(name)
    }

    /// Gives ids to partitions for which the source has none.
    pub(super) fn number_partitions(&self, id: CollectionId, partitions: &mut BTreeMap<String, i64>) {
        let mut state = self.state.lock();
        let changed = state.content.synthetic_ids.number_partitions(id, partitions);
        state.is_dirty |= changed;
    }

    /// The schema that a collection with a synthetic id had when last seen, as given to [`Self::set_schema`].
    pub(super) fn schema(&self, id: CollectionId) -> Option<String> {
        self.state.lock().content.synthetic_ids.schema(id).map(str::to_owned)
    }

    /// Remembers the schema of a collection with a synthetic id; does nothing for one with an id of the source's.
    pub(super) fn set_schema(&self, id: CollectionId, schema: String) {
        let mut state = self.state.lock();
        let changed = state.content.synthetic_ids.set_schema(id, schema);
        state.is_dirty |= changed;
    }

    /// Removes the synthetic ids of collections that are neither recorded nor `wanted`.
    pub(super) fn retain_synthetic_ids(&self, wanted: impl Fn(CollectionId) -> bool) {
        let mut state = self.state.lock();
        let RecordContent { collections, synthetic_ids, .. } = &mut state.content;
        let changed = synthetic_ids.retain(|id| collections.contains_key(&id.0) || wanted(id));
        state.is_dirty |= changed;
    }

    /// The collections recorded.
    pub(super) fn ids(&self) -> Vec<CollectionId> {
        self.state.lock().content.collections.keys().copied().map(CollectionId).collect()
    }

    /// What is recorded of one collection.
    pub(super) fn get(&self, id: CollectionId) -> Option<ReplicatedCollection> {
        self.state.lock().content.collections.get(&id.0).cloned()
    }

    /// The last known name of a collection at the source; records of early versions have none.
    pub(super) fn source_of(&self, id: CollectionId) -> Option<CollectionName> {
        self.get(id)?.source
    }

    /// Whether anything is recorded of a collection.
    pub(super) fn contains(&self, id: CollectionId) -> bool {
        self.state.lock().content.collections.contains_key(&id.0)
    }

    /// Names of the collections recorded, on the target, and those that they are being given.
    pub(super) fn target_names(&self) -> Vec<CollectionName> {
        let state = self.state.lock();
        let names = |replicated: &ReplicatedCollection| [Some(replicated.name.clone()), replicated.renaming.clone()];
        state.content.collections.values().flat_map(names).flatten().collect()
    }

    /// The entry of one collection, recorded or not.
    pub(super) fn entry(&self, id: CollectionId) -> RecordEntry<'_> {
        RecordEntry { record: self, id }
    }

    /// Notes the name under which a listing has a collection of ours.
    pub(super) fn set_source(&self, id: CollectionId, name: &CollectionName) {
        let mut state = self.state.lock();
        let replicated = state.content.collections.get_mut(&id.0);
        if let Some(replicated) = replicated.filter(|replicated| replicated.source.as_ref() != Some(name)) {
            replicated.source = Some(name.clone());
            state.is_dirty = true;
        }
    }

    /// The collection of ours that has this name on the target.
    pub(super) fn holder(&self, name: &CollectionName) -> Option<CollectionId> {
        self.find(|replicated| replicated.name == *name || replicated.renaming.as_ref() == Some(name))
    }

    /// The collection of ours that has this alias on the target.
    pub(super) fn alias_holder(&self, db: &str, alias: &str) -> Option<CollectionId> {
        self.find(|replicated| replicated.name.db == db && replicated.aliases.contains(alias))
    }

    /// The collection of ours that may have this alias on the target: it was being given to it.
    pub(super) fn possible_alias_holder(&self, db: &str, alias: &str) -> Option<CollectionId> {
        self.find(|replicated| replicated.name.db == db && replicated.intended_aliases.contains(alias))
    }

    fn find(&self, is_it: impl Fn(&ReplicatedCollection) -> bool) -> Option<CollectionId> {
        let state = self.state.lock();
        let found = state.content.collections.iter().find(|(_, replicated)| is_it(replicated));
        found.map(|(&id, _)| CollectionId(id))
    }

    /// The drops that are held, and what was kept.
    pub(super) fn held_drops(&self) -> HeldDrops {
        self.state.lock().content.drops.clone()
    }

    /// Changes what is held or kept.
    pub(super) fn change_held<R>(&self, change: impl FnOnce(&mut HeldDrops) -> R) -> R {
        let mut state = self.state.lock();
        let before = state.content.drops.clone();
        let outcome = change(&mut state.content.drops);
        state.is_dirty |= state.content.drops != before;
        outcome
    }

    /// Whether a task in the opposite direction has been found to run.
    pub(super) fn is_paired(&self) -> bool {
        self.state.lock().content.paired
    }

    /// Remembers that one runs, for good: it may be away when it matters.
    pub(super) fn set_paired(&self) {
        let mut state = self.state.lock();
        state.is_dirty |= !state.content.paired;
        state.content.paired = true;
    }

    /// Properties of a database as last set.
    pub(super) fn database_properties(&self, db: &str) -> BTreeMap<String, String> {
        self.state.lock().content.database_properties.get(db).cloned().unwrap_or_default()
    }

    /// Notes them.
    pub(super) fn set_database_properties(&self, db: &str, properties: BTreeMap<String, String>) {
        let mut state = self.state.lock();
        let all = &mut state.content.database_properties;
        match properties.is_empty() {
            true => drop(all.remove(db)),
            false => drop(all.insert(db.to_owned(), properties)),
        }
        state.is_dirty = true;
    }

    /// Databases created by this task.
    pub(super) fn databases(&self) -> BTreeSet<String> {
        self.state.lock().content.databases.clone()
    }

    /// Records a database of ours.
    pub(super) fn add_database(&self, db: &str) {
        let mut state = self.state.lock();
        let changed = state.content.databases.insert(db.into());
        state.is_dirty |= changed;
    }

    /// Removes a database from the record.
    pub(super) fn remove_database(&self, db: &str) {
        let mut state = self.state.lock();
        let changed = state.content.databases.remove(db);
        state.is_dirty |= changed;
    }
}

/// What is recorded of one collection: all that a step for this collection may change.
#[derive(Debug, Clone, Copy)]
pub(super) struct RecordEntry<'a> {
    record: &'a CatalogRecord,
    id: CollectionId,
}

impl<'a> RecordEntry<'a> {
    /// The collection's id.
    pub(super) fn id(self) -> CollectionId {
        self.id
    }

    /// The record that it belongs to.
    pub(super) fn record(self) -> &'a CatalogRecord {
        self.record
    }

    /// What is recorded.
    pub(super) fn get(self) -> Option<ReplicatedCollection> {
        self.record.get(self.id)
    }

    /// Records the collection.
    pub(super) fn put(self, replicated: ReplicatedCollection) {
        let mut state = self.record.state.lock();
        state.content.collections.insert(self.id.0, replicated);
        state.is_dirty = true;
    }

    /// Somebody has dropped the collection on the target, or put another one in its place. Whatever stands there under
    /// its name is not ours to drop.
    pub(super) fn lose(self) {
        self.change(|replicated| {
            *replicated = ReplicatedCollection {
                name: replicated.name.clone(),
                source: replicated.source.clone(),
                adopted: true,
                lost: true,
                ..ReplicatedCollection::default()
            };
        });
    }

    /// The same, where whoever has done that may have meant it for both sides: a user decides what becomes of it.
    pub(super) fn withhold(self) {
        self.lose();
        self.change(|replicated| replicated.withheld = true);
    }

    /// Changes what is recorded, if anything is.
    pub(super) fn change<R>(self, change: impl FnOnce(&mut ReplicatedCollection) -> R) {
        let mut state = self.record.state.lock();
        if let Some(replicated) = state.content.collections.get_mut(&self.id.0) {
            change(replicated);
            state.is_dirty = true;
        }
    }

    /// Removes the collection from the record.
    pub(super) fn remove(self) {
        let mut state = self.record.state.lock();
        let changed = state.content.collections.remove(&self.id.0).is_some();
        state.is_dirty |= changed;
    }

    /// Removes the collection from the record and changes what is held or kept, so that no file has one of both alone:
    /// a collection that is kept and still ours would be dropped.
    pub(super) fn remove_and_note(self, change: impl FnOnce(&mut HeldDrops)) {
        let mut state = self.record.state.lock();
        state.content.collections.remove(&self.id.0);
        change(&mut state.content.drops);
        state.is_dirty = true;
    }

    /// Writes the record's file, if it has changed.
    pub(super) fn save(self) -> Result<(), SealedError> {
        self.record.save()
    }
}

#[cfg(test)]
mod fault_tests;
#[cfg(test)]
mod tests;
