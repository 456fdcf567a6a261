//! What happened to rows of collections and does not stand in the log: counted, and named until the rows are compared.

use std::collections::BTreeMap;

use super::core::{Core, MEMORY};
use super::members::Rows;
use crate::domain::{Channel, CollectionId, Position, Timestamp};

/// Per collection how often what happened.
#[derive(Debug, Default)]
pub(super) struct Uncarried(BTreeMap<CollectionId, BTreeMap<String, u64>>);

impl Uncarried {
    pub(super) fn restore(records: &BTreeMap<i64, BTreeMap<String, u64>>) -> Uncarried {
        Uncarried(records.iter().map(|(&id, counts)| (CollectionId(id), counts.clone())).collect())
    }

    pub(super) fn records(&self) -> BTreeMap<i64, BTreeMap<String, u64>> {
        self.0.iter().map(|(id, counts)| (id.0, counts.clone())).collect()
    }

    fn add(&mut self, id: CollectionId, what: &str) {
        *self.0.entry(id).or_default().entry(what.to_owned()).or_default() += 1;
    }

    /// The collection has gone, or its rows are being compared.
    pub(super) fn forget(&mut self, id: CollectionId) {
        self.0.remove(&id);
    }
}

impl Core {
    /// Rows of a collection came or went, and the log does not say which. Noted for one that nobody knows yet, too: it may be
    /// the task's in a moment.
    pub(super) fn on_uncarried(
        &mut self,
        channel: &Channel,
        id: CollectionId,
        what: &'static str,
        at: (Position, Timestamp),
    ) {
        if !self.wants(channel, id, at.0, at.1) {
            return;
        }
        log::error!("{}: {what} at the source: not in the log, and not carried over", self.name_of(id));
        self.uncarried.add(id, what);
        self.count_skipped(what, &self.name_of(id));
    }

    /// Rows of a collection have changed in a way that only the source can tell.
    pub(super) fn on_compare(&mut self, channel: &Channel, id: CollectionId, what: &str, at: (Position, Timestamp)) {
        if self.wants(channel, id, at.0, at.1) {
            self.compare(id, what);
        }
    }

    /// Compares a collection's rows with the source's, and says why.
    pub(super) fn compare(&mut self, id: CollectionId, what: &str) {
        if self.members.get(id).is_some_and(|member| matches!(member.rows, Rows::Joined(_))) {
            log::error!("{}: {what}: its rows are compared with the source's", self.name_of(id));
            self.count_skipped(&format!("{what}, copied again"), &self.name_of(id));
            self.copy_again(id, true);
        }
    }

    /// A truncation that some shards of a collection have come to and others never will: they are read from behind it, or what stands behind
    /// it on the others fills the memory.
    pub(super) fn compare_half_truncated(&mut self) {
        /// Source time that the other shards may be read past it.
        const PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);
        for (id, tick, missing) in self.scheduler.half_truncated() {
            let late = |channel: &Channel| {
                self.channels
                    .get(channel)
                    .is_none_or(|state| state.rewind.is_none() && state.released > tick.plus(PATIENCE))
            };
            let is_stuck = self.scheduler.bytes() >= MEMORY && self.scheduler.calls() == 0;
            if is_stuck || missing.iter().any(late) {
                self.compare(id, "truncation seen in part");
            }
        }
    }

    /// What could not be carried over, for the task's reason.
    pub(super) fn uncarried_reasons(&self) -> Vec<String> {
        let known = self.uncarried.0.iter().filter(|(id, _)| self.members.get(**id).is_some());
        let line = |(id, counts): (&CollectionId, &BTreeMap<String, u64>)| {
            let what: Vec<String> = counts.iter().map(|(what, count)| format!("{what} ({count})")).collect();
            format!(
                "{}: rows that the log does not tell of are missing on the target or too many: {}",
                self.name_of(*id),
                what.join(", ")
            )
        };
        known.map(line).collect()
    }

    /// Database and name at the source, or the id while nobody has told.
    pub(super) fn name_of(&self, id: CollectionId) -> String {
        match self.members.get(id).and_then(|member| member.ready.as_ref()) {
            Some(ready) => format!("{}.{}", ready.source.0, ready.source.1),
            None => format!("collection {id}"),
        }
    }
}
