/*!
What this task has carried to its target: the starting point of every comparison, and the proof of what may be removed
there. One file per task, `catalog.json`.

The crash argument: a collection, partition or database is recorded *before* it is made and removed from the record *after* it is
gone. A crash in between leaves a record of something that is not there (made, or dropped again, by the next comparison, which
looks before it makes), never something of ours without a record. An index is recorded *after* it is made: one that is found on a
collection of ours is ours.
*/

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::look::Load;
use super::names::Names;
use crate::domain::{CollectionId, ObjectKey};
use crate::journal::sealed::{self, SealedError};
use crate::milvus::catalog::Index;

const FORMAT: &str = "milvus-cdc catalog";
const VERSION: u32 = 1;

/// The record and its file.
#[derive(Debug)]
pub struct Record {
    path: PathBuf,
    content: Content,
    dirty: bool,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Content {
    /// Databases made by this task, by their names on the target.
    databases: BTreeSet<String>,
    /// Collections by their ids at the source.
    collections: BTreeMap<i64, Carried>,
    /// What stands in for ids where the source gives none.
    #[serde(default)]
    names: Names,
}

/// One collection on the target.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Carried {
    /// Database on the target.
    pub db: String,
    /// Name on the target.
    pub name: String,
    /// Database and name at the source, by the last listing that had it.
    #[serde(default)]
    pub source: Option<(String, String)>,
    /// It was there before the task, which therefore never drops it.
    pub adopted: bool,
    /// The collection itself has been made (not only recorded).
    pub made: bool,
    /// The fields that the source's rows have and the target's collection has for them; empty when that was never looked at.
    #[serde(default)]
    pub fields: BTreeSet<String>,
    /// Partitions of ours: name to id at the source.
    pub partitions: BTreeMap<String, i64>,
    /// Indexes of ours by name.
    pub indexes: BTreeMap<String, CarriedIndex>,
    /// Aliases of ours.
    pub aliases: BTreeSet<String>,
    /// Properties as last set.
    pub properties: BTreeMap<String, String>,
    /// Load state as last set.
    pub load: Load,
}

/// One index on the target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CarriedIndex {
    /// The indexed field.
    pub field: String,
    /// Type, metric, parameters.
    pub params: BTreeMap<String, String>,
}

impl From<&Index> for CarriedIndex {
    fn from(index: &Index) -> Self {
        CarriedIndex { field: index.field.clone(), params: index.params.clone() }
    }
}

impl CarriedIndex {
    /// The index with its name.
    pub fn named(&self, name: &str) -> Index {
        Index { name: name.into(), field: self.field.clone(), params: self.params.clone() }
    }
}

impl Record {
    /// Reads the record in `folder`; a new task has none.
    ///
    /// # Errors
    /// The file is there but damaged or unreadable.
    pub fn open(folder: &Path) -> Result<Record, SealedError> {
        let path = folder.join("catalog.json");
        let content = sealed::load(&path, FORMAT, VERSION)?.unwrap_or_default();
        Ok(Record { path, content, dirty: false })
    }

    /// Writes it down, if it has changed.
    ///
    /// # Errors
    /// The file cannot be written; the old content is kept on disk.
    pub fn save(&mut self) -> Result<(), SealedError> {
        if self.dirty {
            sealed::save(&self.path, FORMAT, VERSION, &self.content)?;
            self.dirty = false;
        }
        Ok(())
    }

    /// By what a collection is known here. To be saved before anything is made of it.
    pub fn id_of(&mut self, key: &ObjectKey) -> CollectionId {
        let (id, new) = self.content.names.id_of(key);
        self.dirty |= new;
        id
    }

    /// The name stands for another collection than before.
    pub fn number_anew(&mut self, db: &str, name: &str) -> CollectionId {
        self.dirty = true;
        self.content.names.number_anew(db, name)
    }

    /// Gives ids to partitions that the source gives none.
    pub fn number_partitions(&mut self, id: CollectionId, partitions: &mut BTreeMap<String, i64>) {
        self.dirty |= self.content.names.number_partitions(id, partitions);
    }

    /// The schema that a collection without an id had when last seen, in the words of [`Self::set_schema`].
    pub fn schema(&self, id: CollectionId) -> Option<&str> {
        self.content.names.schema(id)
    }

    /// Remembers the schema of a collection without an id; nothing for one with an id.
    pub fn set_schema(&mut self, id: CollectionId, schema: String) {
        self.dirty |= self.content.names.set_schema(id, schema);
    }

    /// Forgets the numbers of collections that are neither here nor wanted.
    pub fn forget_names(&mut self, wanted: impl Fn(CollectionId) -> bool) {
        let collections = &self.content.collections;
        self.dirty |= self.content.names.retain(|id| collections.contains_key(&id.0) || wanted(id));
    }

    /// The collections carried.
    pub fn ids(&self) -> Vec<CollectionId> {
        self.content.collections.keys().copied().map(CollectionId).collect()
    }

    /// One collection.
    pub fn get(&self, id: CollectionId) -> Option<&Carried> {
        self.content.collections.get(&id.0)
    }

    /// Records a collection.
    pub fn put(&mut self, id: CollectionId, carried: Carried) {
        self.content.collections.insert(id.0, carried);
        self.dirty = true;
    }

    /// Changes what is recorded of a collection.
    pub fn change<R>(&mut self, id: CollectionId, change: impl FnOnce(&mut Carried) -> R) {
        if let Some(carried) = self.content.collections.get_mut(&id.0) {
            change(carried);
            self.dirty = true;
        }
    }

    /// Under which name a listing has a collection of ours.
    pub fn set_source(&mut self, id: CollectionId, place: &(String, String)) {
        let carried = self.content.collections.get_mut(&id.0);
        if let Some(carried) = carried.filter(|carried| carried.source.as_ref() != Some(place)) {
            carried.source = Some(place.clone());
            self.dirty = true;
        }
    }

    /// Forgets a collection.
    pub fn remove(&mut self, id: CollectionId) {
        self.dirty |= self.content.collections.remove(&id.0).is_some();
    }

    /// Which collection of ours has this name on the target.
    pub fn holder(&self, db: &str, name: &str) -> Option<CollectionId> {
        let found = self.content.collections.iter().find(|(_, carried)| carried.db == db && carried.name == name);
        found.map(|(&id, _)| CollectionId(id))
    }

    /// Which collection of ours carries this alias.
    pub fn alias_holder(&self, db: &str, alias: &str) -> Option<CollectionId> {
        let found =
            self.content.collections.iter().find(|(_, carried)| carried.db == db && carried.aliases.contains(alias));
        found.map(|(&id, _)| CollectionId(id))
    }

    /// Databases made by this task.
    pub fn databases(&self) -> &BTreeSet<String> {
        &self.content.databases
    }

    /// Records a database of ours.
    pub fn add_database(&mut self, db: &str) {
        self.dirty |= self.content.databases.insert(db.into());
    }

    /// Forgets a database.
    pub fn remove_database(&mut self, db: &str) {
        self.dirty |= self.content.databases.remove(db);
    }
}
