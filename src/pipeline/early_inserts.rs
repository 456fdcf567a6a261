//! What waits for its tick on a channel, as far as it concerns inserts that go before it (see `early`).

use std::collections::BTreeMap;

use rustc_hash::{FxHashMap, FxHashSet};

use super::collection::WritableCollection;
use super::decision::DispatchRules;
use super::keyset::KeySet;
use super::op::{Op, OpBody};
use crate::domain::CollectionId;

/// What is known of a channel's waiting operations for the sake of those that may go early.
#[derive(Debug, Default)]
pub(super) struct EarlyInserts {
    /// So many of the operations have been looked at since the last tick.
    pub(super) looked: usize,
    /// What these are about, by collection.
    pub(super) waiting: BTreeMap<CollectionId, WaitingKeys>,
    /// The collections of which something went early and waits for its tick, and the names of their keys.
    pub(super) sent: BTreeMap<CollectionId, String>,
}

/// What waits of one collection.
#[derive(Debug, Default)]
pub(super) struct WaitingKeys {
    /// How often each key is there.
    counts: FxHashMap<u64, u32>,
    /// Something has keys that cannot be told, or all keys.
    pub(super) is_opaque: bool,
    /// Inserts that may go early, by their place among the operations.
    pub(super) candidates: Vec<usize>,
}

/// The keys of what goes into a lane with a tick.
#[derive(Debug, Default)]
struct TouchedKeys {
    all: bool,
    keys: FxHashSet<u64>,
}

impl EarlyInserts {
    /// A tick releases operations, in this order; others stay, and belong after those of their collections. What went
    /// early and comes to the target before something that belongs before it is to go in once more.
    pub(super) fn on_release(&mut self, released: &mut [Op], staying: &mut [Op]) {
        self.looked = 0;
        self.waiting.clear();
        if self.sent.is_empty() {
            return;
        }
        let mut touched: BTreeMap<CollectionId, TouchedKeys> = BTreeMap::new();
        for op in released {
            let Some(key) = self.sent.get(&op.collection) else { continue };
            let touched = touched.entry(op.collection).or_default();
            op.replaces |= op.is_early() && touched.has(op);
            if !op.is_early() {
                touched.add(op, key);
            }
        }
        let mut still_sent = BTreeMap::new();
        for op in staying.iter_mut().filter(|op| op.is_early()) {
            op.replaces = touched.get(&op.collection).is_some_and(|touched| touched.has(op));
            if let Some((id, key)) = self.sent.remove_entry(&op.collection) {
                still_sent.insert(id, key);
            }
        }
        self.sent = still_sent;
    }

    /// Nothing of the collection waits any more.
    pub(super) fn discard(&mut self, collection: CollectionId) {
        self.looked = 0;
        self.waiting.clear();
        self.sent.remove(&collection);
    }

    /// Looks at the operations that have come since.
    pub(super) fn look(&mut self, ops: &mut [Op], rules: &impl DispatchRules) {
        for (index, op) in ops.iter_mut().enumerate().skip(self.looked) {
            let waiting = self.waiting.entry(op.collection).or_default();
            let info = rules.collection(op.collection);
            waiting.add(op, info.as_deref());
            if info.is_some_and(|info| op.may_go_early(&info, rules)) {
                waiting.candidates.push(index);
            }
        }
        self.looked = ops.len();
    }
}

impl WaitingKeys {
    fn add(&mut self, op: &mut Op, info: Option<&WritableCollection>) {
        let is_found = info.is_some_and(|info| op.find_keys(&info.key.name).is_ok());
        if !is_found || matches!(op.body, OpBody::Truncate(_)) {
            self.is_opaque = true;
        }
        for key in op.keys.iter().flat_map(KeySet::fingerprints) {
            *self.counts.entry(*key).or_default() += 1;
        }
    }

    pub(super) fn is_alone(&self, op: &Op) -> bool {
        let mut keys = op.keys.iter().flat_map(KeySet::fingerprints);
        keys.all(|key| self.counts.get(key) == Some(&1))
    }
}

impl TouchedKeys {
    fn has(&self, op: &Op) -> bool {
        self.all || op.keys.iter().flat_map(KeySet::fingerprints).any(|key| self.keys.contains(key))
    }

    fn add(&mut self, op: &mut Op, key: &str) {
        self.all |= matches!(op.body, OpBody::Truncate(_)) || op.find_keys(key).is_err();
        self.keys.extend(op.keys.iter().flat_map(KeySet::fingerprints));
    }
}

impl Op {
    /// Whether its rows went early, and need not go in once more.
    pub(super) fn is_early(&self) -> bool {
        self.went_early.is_some() && !self.replaces
    }

    fn may_go_early(&self, info: &WritableCollection, rules: &impl DispatchRules) -> bool {
        let is_plain = self.columns().is_some() && self.mark.is_none() && self.awaits_delete.is_none();
        is_plain && self.went_early.is_none() && !self.replaces && !info.may_have(self, rules)
    }
}
