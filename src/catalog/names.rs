/*!
Numbers for what a source gives no ids: its collections and their partitions. Everything behind the catalog then works as with
ids. A number stands for a name as long as that stands for one collection, and is never used again.
*/

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::domain::{CollectionId, ObjectKey, PartitionId};

/// All numbers given, by database and name.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Names {
    /// The last number given; they go down from -1.
    last: i64,
    by_name: BTreeMap<String, BTreeMap<String, Named>>,
}

/// One collection without an id.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Named {
    number: i64,
    /// As last seen, serialized: another schema is another collection.
    schema: Option<String>,
    /// The last number given to a partition.
    last_partition: i64,
    partitions: BTreeMap<String, i64>,
}

impl Names {
    /// The id of a collection, and whether it was numbered just now.
    pub(super) fn id_of(&mut self, key: &ObjectKey) -> (CollectionId, bool) {
        let (db, name) = match key {
            ObjectKey::Id(id) => return (*id, false),
            ObjectKey::Name { db, name } => (db, name),
        };
        if let Some(named) = self.by_name.get(db).and_then(|names| names.get(name)) {
            return (CollectionId(named.number), false);
        }
        (self.number_anew(db, name), true)
    }

    /// The name stands for another collection from now on.
    pub(super) fn number_anew(&mut self, db: &str, name: &str) -> CollectionId {
        self.last -= 1;
        let named = Named { number: self.last, last_partition: PartitionId::ALL.0, ..Named::default() };
        self.by_name.entry(db.into()).or_default().insert(name.into(), named);
        CollectionId(self.last)
    }

    /// Gives numbers to partitions that have no ids. True when one is new.
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

    /// The schema that was last remembered for a collection without an id.
    pub(super) fn schema(&self, id: CollectionId) -> Option<&str> {
        let named = self.by_name.values().flat_map(BTreeMap::values).find(|named| named.number == id.0)?;
        named.schema.as_deref()
    }

    /// Remembers it. True when that is news.
    pub(super) fn set_schema(&mut self, id: CollectionId, schema: String) -> bool {
        let Some(named) = self.named(id).filter(|named| named.schema.as_ref() != Some(&schema)) else { return false };
        named.schema = Some(schema);
        true
    }

    /// Forgets the numbers that `keep` does not want. True when there were some.
    pub(super) fn retain(&mut self, keep: impl Fn(CollectionId) -> bool) -> bool {
        let count = |names: &Names| names.by_name.values().map(BTreeMap::len).sum::<usize>();
        let before = count(self);
        for names in self.by_name.values_mut() {
            names.retain(|_, named| keep(CollectionId(named.number)));
        }
        self.by_name.retain(|_, names| !names.is_empty());
        count(self) != before
    }

    fn named(&mut self, id: CollectionId) -> Option<&mut Named> {
        self.by_name.values_mut().flat_map(BTreeMap::values_mut).find(|named| named.number == id.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> ObjectKey {
        ObjectKey::of(0, "db", name)
    }

    #[test]
    fn a_name_keeps_its_number_and_a_number_is_used_once() {
        let mut names = Names::default();
        assert_eq!(names.id_of(&ObjectKey::of(44, "db", "a")), (CollectionId(44), false));
        let (a, new) = names.id_of(&key("a"));
        assert!(new && !a.is_given());
        let (b, _) = names.id_of(&key("b"));
        assert_ne!(a, b);
        let stored = serde_json::to_string(&names).unwrap();
        let mut names: Names = serde_json::from_str(&stored).unwrap();
        assert_eq!(names.id_of(&key("a")), (a, false));
        assert!(names.retain(|id| id != b));
        let again = names.id_of(&key("b")).0;
        assert!(again != b && again != a);
        let other = names.number_anew("db", "a");
        assert_eq!(names.id_of(&key("a")), (other, false));
        assert!(![a, b, again].contains(&other));
    }

    #[test]
    fn partitions_keep_their_numbers_when_others_come_and_go() {
        let mut names = Names::default();
        let (id, _) = names.id_of(&key("a"));
        let listed = |names: &[&str]| names.iter().map(|name| ((*name).to_owned(), 0)).collect::<BTreeMap<_, _>>();
        let mut first = listed(&["_default", "p"]);
        assert!(names.number_partitions(id, &mut first));
        let mut second = listed(&["_default", "a", "p"]);
        assert!(names.number_partitions(id, &mut second));
        assert_eq!((second["p"], second["_default"]), (first["p"], first["_default"]));
        let mut third = listed(&["_default"]);
        assert!(!names.number_partitions(id, &mut third));
        let mut fourth = listed(&["_default", "p"]);
        names.number_partitions(id, &mut fourth);
        assert_ne!(fourth["p"], second["p"], "dropped and made again");
        assert!(fourth.values().all(|&number| number < PartitionId::ALL.0));
    }
}
