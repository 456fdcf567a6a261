/*!
Synthetic ids for the collections and partitions of a source that gives none (Milvus Lite).

Everything behind the catalog then works with ids. An id belongs to a name as long as the name stands for the same
collection, and is never given again.
*/

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::domain::{CollectionId, CollectionName, PartitionId};

/// All synthetic ids, by database and name.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct SyntheticIds {
    /// The last id given to a collection; they go down from -1.
    last: i64,
    by_name: BTreeMap<String, BTreeMap<String, NamedCollection>>,
}

/// One collection without an id of the source's.
#[derive(Debug, Default, Serialize, Deserialize)]
struct NamedCollection {
    number: i64,
    /// As last seen, serialized: a name with another schema stands for another collection.
    schema: Option<String>,
    /// The last id given to a partition of it.
    last_partition: i64,
    partitions: BTreeMap<String, i64>,
}

impl SyntheticIds {
    /// The id that a name stands for, if it has one.
    pub(super) fn find(&self, name: &CollectionName) -> Option<CollectionId> {
        self.by_name.get(&name.db)?.get(&name.name).map(|collection| CollectionId(collection.number))
    }

    /// Gives the name a new id: it stands for another collection from now on.
    pub(super) fn renumber(&mut self, name: &CollectionName) -> CollectionId {
        self.last -= 1;
        let collection =
            NamedCollection { number: self.last, last_partition: PartitionId::ALL.0, ..NamedCollection::default() };
        self.by_name.entry(name.db.clone()).or_default().insert(name.name.clone(), collection);
        CollectionId(self.last)
    }

    /// Replaces the ids 0 of partitions by synthetic ones. True when one is new.
    pub(super) fn number_partitions(&mut self, id: CollectionId, partitions: &mut BTreeMap<String, i64>) -> bool {
        let Some(named) = self.named(id) else { return false };
        let before = named.last_partition;
        named.partitions.retain(|name, _| partitions.contains_key(name));
        for (name, number) in partitions.iter_mut().filter(|(_, number)| **number == 0) {
            *number = *named.partitions.entry(name.clone()).or_insert_with(|| {
                named.last_partition -= 1;
                named.last_partition
            });
        }
        named.last_partition != before
    }

    /// The schema that was last remembered for a collection.
    pub(super) fn schema(&self, id: CollectionId) -> Option<&str> {
        let named = self.by_name.values().flat_map(BTreeMap::values).find(|named| named.number == id.0)?;
        named.schema.as_deref()
    }

    /// Remembers a collection's schema. True when that changes something.
    pub(super) fn set_schema(&mut self, id: CollectionId, schema: String) -> bool {
        let Some(named) = self.named(id).filter(|named| named.schema.as_ref() != Some(&schema)) else { return false };
        named.schema = Some(schema);
        true
    }

    /// Removes the ids for which `keep` answers false. True when there were some.
    pub(super) fn retain(&mut self, keep: impl Fn(CollectionId) -> bool) -> bool {
        let count = |ids: &SyntheticIds| ids.by_name.values().map(BTreeMap::len).sum::<usize>();
        let before = count(self);
        for names in self.by_name.values_mut() {
            names.retain(|_, named| keep(CollectionId(named.number)));
        }
        self.by_name.retain(|_, names| !names.is_empty());
        count(self) != before
    }

    fn named(&mut self, id: CollectionId) -> Option<&mut NamedCollection> {
        self.by_name.values_mut().flat_map(BTreeMap::values_mut).find(|named| named.number == id.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> CollectionName {
        CollectionName::new("db", name)
    }

    #[test]
    fn a_name_keeps_its_id_and_an_id_is_given_once() {
        let mut ids = SyntheticIds::default();
        assert_eq!(ids.find(&name("a")), None);
        let (a, b) = (ids.renumber(&name("a")), ids.renumber(&name("b")));
        assert!(!a.is_given() && a != b);
        let stored = serde_json::to_string(&ids).unwrap();
        let mut ids: SyntheticIds = serde_json::from_str(&stored).unwrap();
        assert_eq!(ids.find(&name("a")), Some(a));
        assert!(ids.retain(|id| id != b) && ids.find(&name("b")).is_none());
        let again = ids.renumber(&name("b"));
        assert!(again != b && again != a);
        let other = ids.renumber(&name("a"));
        assert_eq!(ids.find(&name("a")), Some(other));
        assert!(![a, b, again].contains(&other));
    }

    #[test]
    fn partitions_keep_their_ids_when_others_come_and_go() {
        let mut ids = SyntheticIds::default();
        let id = ids.renumber(&name("a"));
        let listed = |names: &[&str]| names.iter().map(|name| ((*name).to_owned(), 0)).collect::<BTreeMap<_, _>>();
        let mut first = listed(&["_default", "p"]);
        assert!(ids.number_partitions(id, &mut first));
        let mut second = listed(&["_default", "a", "p"]);
        assert!(ids.number_partitions(id, &mut second));
        assert_eq!((second["p"], second["_default"]), (first["p"], first["_default"]));
        let mut third = listed(&["_default"]);
        assert!(!ids.number_partitions(id, &mut third));
        let mut fourth = listed(&["_default", "p"]);
        ids.number_partitions(id, &mut fourth);
        assert_ne!(fourth["p"], second["p"], "dropped and created again");
        assert!(fourth.values().all(|&number| number < PartitionId::ALL.0));
    }
}
