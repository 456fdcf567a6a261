//! What happened to rows of collections and does not stand in the log: counted, and named until the rows are compared.

use std::collections::BTreeMap;

use crate::domain::CollectionId;

/// Per collection how often what happened.
#[derive(Debug, Default)]
pub(super) struct Unreplicated(BTreeMap<CollectionId, BTreeMap<String, u64>>);

impl Unreplicated {
    pub(super) fn restore(records: &BTreeMap<i64, BTreeMap<String, u64>>) -> Unreplicated {
        Unreplicated(records.iter().map(|(&id, counts)| (CollectionId(id), counts.clone())).collect())
    }

    pub(super) fn records(&self) -> BTreeMap<i64, BTreeMap<String, u64>> {
        self.0.iter().map(|(id, counts)| (id.0, counts.clone())).collect()
    }

    pub(super) fn add(&mut self, id: CollectionId, what: &str) {
        *self.0.entry(id).or_default().entry(what.to_owned()).or_default() += 1;
    }

    /// The collection is gone, or its rows have been compared.
    pub(super) fn forget(&mut self, id: CollectionId) {
        self.0.remove(&id);
    }

    /// For the task's reason. `name_of` names the collections that the task has.
    pub(super) fn reasons(&self, name_of: impl Fn(CollectionId) -> Option<String>) -> Vec<String> {
        let line = |(id, counts): (&CollectionId, &BTreeMap<String, u64>)| {
            let what: Vec<String> = counts.iter().map(|(what, count)| format!("{what} ({count})")).collect();
            let (name, what) = (name_of(*id)?, what.join(", "));
            Some(format!("{name}: rows that the log does not tell of are missing on the target or too many: {what}"))
        };
        self.0.iter().filter_map(line).collect()
    }
}
