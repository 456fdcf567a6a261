//! Drops held until a user decides, and collections that stay on the target though the source has dropped them.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::domain::{CollectionId, CollectionName, Timestamp};

/// A part of the record's file, so that held drops outlive a restart.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct HeldDrops {
    /// Collections by id, with the time since when (Unix milliseconds).
    #[serde(default)]
    collections: BTreeMap<i64, u64>,
    /// Databases by their names on the target.
    #[serde(default)]
    databases: BTreeMap<String, u64>,
    /// What stays on the target for its user, by database and name there: not ours, and not to be adopted.
    #[serde(default)]
    kept: BTreeSet<(String, String)>,
    /// What was on the target before the task and stays there though the source's is gone, by database and name there.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    outlived: BTreeSet<(String, String)>,
    /// What was renamed on the target, to be dropped later.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    set_aside: Vec<SetAsideCollection>,
}

/// A collection that the source has dropped, under its other name on the target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SetAsideCollection {
    pub(super) db: String,
    pub(super) name: String,
    /// Its id on the target, so that nothing else under its name is dropped; 0 where there are none.
    pub(super) target_id: i64,
    /// Its last name at the source; empty where that is not known.
    pub(super) source: String,
    /// When it is dropped, in Unix milliseconds.
    pub(super) until_ms: u64,
}

impl SetAsideCollection {
    /// Its name on the target.
    pub(super) fn target(&self) -> CollectionName {
        CollectionName::new(&self.db, &self.name)
    }
}

impl HeldDrops {
    /// Nothing is held or kept.
    pub(super) fn is_empty(&self) -> bool {
        let is_none_aside = self.set_aside.is_empty() && self.outlived.is_empty();
        self.collections.is_empty() && self.databases.is_empty() && self.kept.is_empty() && is_none_aside
    }

    /// Holds the drop of a collection. True when that is new.
    pub(super) fn hold(&mut self, id: CollectionId) -> bool {
        let is_new = !self.collections.contains_key(&id.0);
        self.collections.entry(id.0).or_insert_with(now_ms);
        is_new
    }

    /// Holds the drop of a database. True when that is new.
    pub(super) fn hold_database(&mut self, db: &str) -> bool {
        let is_new = !self.databases.contains_key(db);
        self.databases.entry(db.to_owned()).or_insert_with(now_ms);
        is_new
    }

    pub(super) fn is_held(&self, id: CollectionId) -> bool {
        self.collections.contains_key(&id.0)
    }

    pub(super) fn is_database_held(&self, db: &str) -> bool {
        self.databases.contains_key(db)
    }

    pub(super) fn release(&mut self, id: CollectionId) {
        self.collections.remove(&id.0);
    }

    pub(super) fn release_database(&mut self, db: &str) {
        self.databases.remove(db);
    }

    /// The collections held, each with the time since when.
    pub(super) fn collections(&self) -> impl Iterator<Item = (CollectionId, u64)> {
        self.collections.iter().map(|(id, since)| (CollectionId(*id), *since))
    }

    /// The databases held, each with the time since when.
    pub(super) fn databases(&self) -> impl Iterator<Item = (&String, u64)> {
        self.databases.iter().map(|(db, since)| (db, *since))
    }

    /// The name stands for something that is its user's from now on.
    pub(super) fn keep(&mut self, name: &CollectionName) {
        self.kept.insert((name.db.clone(), name.name.clone()));
    }

    pub(super) fn is_kept(&self, name: &CollectionName) -> bool {
        self.kept.contains(&(name.db.clone(), name.name.clone()))
    }

    /// What has this name on the target keeps the rows of a collection that the source has dropped.
    pub(super) fn outlive(&mut self, name: &CollectionName) {
        self.outlived.insert((name.db.clone(), name.name.clone()));
    }

    pub(super) fn has_outlived(&self, name: &CollectionName) -> bool {
        self.outlived.contains(&(name.db.clone(), name.name.clone()))
    }

    /// Another collection has the name, or has taken it over.
    pub(super) fn forget_outlived(&mut self, name: &CollectionName) {
        self.outlived.remove(&(name.db.clone(), name.name.clone()));
    }

    /// A collection has another name now and is to be dropped later.
    pub(super) fn set_aside(&mut self, collection: SetAsideCollection) {
        self.set_aside.retain(|other| other.target() != collection.target());
        self.set_aside.push(collection);
    }

    /// What is to be dropped later.
    pub(super) fn all_set_aside(&self) -> &[SetAsideCollection] {
        &self.set_aside
    }

    /// It is dropped, or its user's.
    pub(super) fn forget_set_aside(&mut self, name: &CollectionName) {
        self.set_aside.retain(|collection| collection.target() != *name);
    }

    /// The user has dropped or renamed it.
    pub(super) fn forget_kept(&mut self, name: &CollectionName) {
        self.kept.remove(&(name.db.clone(), name.name.clone()));
    }
}

fn now_ms() -> u64 {
    Timestamp::now().physical_ms()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_and_kept_is_read_again() {
        let (id, name) = (CollectionId(7), CollectionName::new("d", "c"));
        let mut drops = HeldDrops::default();
        assert!(drops.is_empty() && drops.hold(id) && !drops.hold(id) && drops.hold_database("d"));
        drops.keep(&name);
        drops.outlive(&name);
        let aside = |until_ms| SetAsideCollection {
            db: "d".into(),
            name: "c_dropped_7".into(),
            target_id: 9,
            source: "d.c".into(),
            until_ms,
        };
        drops.set_aside(aside(1));
        drops.set_aside(aside(2));
        let stored = serde_json::to_string(&drops).unwrap();
        let mut again: HeldDrops = serde_json::from_str(&stored).unwrap();
        assert_eq!(again, drops);
        assert!(again.is_held(id) && again.is_database_held("d") && again.is_kept(&name));
        again.release(id);
        again.release_database("d");
        again.forget_kept(&name);
        assert!(again.has_outlived(&name));
        again.forget_outlived(&name);
        assert_eq!(again.all_set_aside(), [aside(2)]);
        again.forget_set_aside(&aside(2).target());
        assert!(again.is_empty());
        assert!(serde_json::from_str::<HeldDrops>("{}").unwrap().is_empty());
    }
}
