//! A target that takes an insert of a key that it has for one more row, as Milvus does.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::{CollectionId, Keys, Write};
use crate::milvus::field_data::{keys, pick};
use crate::pipeline::{Call, Work};

/// A row: its partition, and its columns.
type Row = (String, Vec<Vec<u8>>);

/// Its rows by collection and key.
#[derive(Debug, Clone, Default)]
pub(super) struct Target(BTreeMap<CollectionId, BTreeMap<String, Vec<Row>>>);

impl Target {
    pub(super) fn carry_out(&mut self, call: &Call) {
        let rows = self.0.entry(call.collection.id).or_default();
        match &call.work {
            Work::Truncate => rows.clear(),
            Work::Delete(keys) => {
                let partition = &call.place.partition;
                for key in texts(keys) {
                    if let Some(found) = rows.get_mut(&key) {
                        found.retain(|(of, _)| !partition.is_empty() && of != partition);
                    }
                }
            }
            Work::Write { write, rows: request } => {
                let (columns, count) = (request.columns().unwrap(), request.count());
                let written = texts(&keys(&columns, &call.collection.key.name).unwrap());
                assert_eq!(written.len(), count);
                for (index, key) in written.into_iter().enumerate() {
                    let mut columns: Vec<Vec<u8>> =
                        pick(&columns, count, &[index]).unwrap().iter().map(|column| column.parts().concat()).collect();
                    columns.sort();
                    let there = rows.entry(key).or_default();
                    if *write == Write::Upsert {
                        there.clear();
                    }
                    there.push((call.place.partition.clone(), columns));
                }
            }
        }
        rows.retain(|_, found| !found.is_empty());
    }

    /// The collection's keys, and how many rows each has.
    pub(super) fn keys(&self, id: CollectionId) -> BTreeMap<String, usize> {
        self.0.get(&id).into_iter().flatten().map(|(key, rows)| (key.clone(), rows.len())).collect()
    }

    /// The keys whose rows are others, for a person to read.
    pub(super) fn differences(&self, other: &Target) -> Vec<String> {
        let ids: BTreeSet<&CollectionId> = self.0.keys().chain(other.0.keys()).collect();
        let (none, mut found) = (BTreeMap::new(), Vec::new());
        for id in ids {
            let of = |target: &Target| target.0.get(id).unwrap_or(&none).clone();
            let (ours, theirs) = (of(self), of(other));
            let all: BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
            let differ = all.into_iter().filter(|key| ours.get(*key) != theirs.get(*key));
            found.extend(differ.map(|key| {
                let rows = |of: &BTreeMap<String, Vec<Row>>| of.get(key).map_or(0, Vec::len);
                format!("collection {id}, key {key}: {} rows, not {}", rows(&ours), rows(&theirs))
            }));
        }
        found
    }
}

fn texts(keys: &Keys) -> Vec<String> {
    match keys {
        Keys::Int(keys) => keys.iter().map(i64::to_string).collect(),
        Keys::Str(keys) => keys.clone(),
    }
}
