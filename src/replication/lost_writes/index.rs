//! The last write of each key. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::files::RowPlace;
use crate::domain::{Channel, CollectionId, Timestamp};
use crate::scan::{Digest, Key};

/// What the keys may take in memory. A primary that has lost more than that is compared, not merged.
const MAX_BYTES: usize = 256 << 20;
/// What an entry takes beside its key, about.
const ENTRY_BYTES: usize = 160;

/// A write that is found in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LoggedWrite {
    pub(super) ts: Timestamp,
    pub(super) channel: Channel,
    pub(super) what: LeftOfKey,
}

/// What a write has left of its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LeftOfKey {
    Row {
        digest: Digest,
        /// Where it stands in the file of rows.
        place: RowPlace,
        how: PutKind,
    },
    Deleted,
}

/// How a row was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PutKind {
    /// As a new one.
    Insert,
    /// In place of whatever was there.
    Upsert,
}

/// What is lost of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LostKey {
    pub(super) latest: LoggedWrite,
    /// When it was written first, and whether the old primary can have had it before that.
    first: (Timestamp, bool),
    pub(super) before: Before,
}

/// Whether a key was there before its first lost write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Before {
    /// It was inserted: it was new.
    Absent,
    /// That is not known.
    Unknown,
}

/// Keys by collection.
#[derive(Debug, Default)]
pub(super) struct LostIndex {
    collections: BTreeMap<CollectionId, BTreeMap<Key, LostKey>>,
    bytes: usize,
    /// Collections whose keys are too many.
    overflown: BTreeSet<CollectionId>,
}

impl LostIndex {
    /// Takes in a write; they come in any order.
    pub(super) fn add(&mut self, id: CollectionId, key: Key, write: LoggedWrite) {
        if self.overflown.contains(&id) {
            return;
        }
        let weight = key.weight() + ENTRY_BYTES;
        let keys = self.collections.entry(id).or_default();
        let before = match write.what {
            LeftOfKey::Row { how: PutKind::Insert, .. } => Before::Absent,
            LeftOfKey::Row { how: PutKind::Upsert, .. } | LeftOfKey::Deleted => Before::Unknown,
        };
        let order = write.order();
        match keys.get_mut(&key) {
            Some(known) => {
                if order < known.first {
                    (known.first, known.before) = (order, before);
                }
                if order >= known.latest.order() {
                    known.latest = write;
                }
            }
            None => {
                keys.insert(key, LostKey { latest: write, first: order, before });
                self.bytes += weight;
            }
        }
        if self.bytes > MAX_BYTES {
            self.give_up(id);
        }
    }

    /// Nothing of this collection is told any more.
    pub(super) fn give_up(&mut self, id: CollectionId) {
        let keys = self.collections.remove(&id).unwrap_or_default();
        self.bytes -= keys.keys().map(|key| key.weight() + ENTRY_BYTES).sum::<usize>();
        self.overflown.insert(id);
    }

    pub(super) fn collections(&self) -> &BTreeMap<CollectionId, BTreeMap<Key, LostKey>> {
        &self.collections
    }

    pub(super) fn overflown(&self) -> &BTreeSet<CollectionId> {
        &self.overflown
    }
}

impl LoggedWrite {
    /// Of an upsert's halves, which have one time, the delete comes first.
    fn order(&self) -> (Timestamp, bool) {
        (self.ts, matches!(self.what, LeftOfKey::Row { .. }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: CollectionId = CollectionId(3);

    fn row(ts: u64, how: PutKind) -> LoggedWrite {
        let what = LeftOfKey::Row { digest: ts, place: RowPlace { offset: ts, len: 1 }, how };
        LoggedWrite { ts: Timestamp(ts), channel: Channel::new("c"), what }
    }

    fn delete(ts: u64) -> LoggedWrite {
        LoggedWrite { what: LeftOfKey::Deleted, ..row(ts, PutKind::Insert) }
    }

    fn of(writes: &[LoggedWrite]) -> LostKey {
        let mut index = LostIndex::default();
        writes.iter().for_each(|write| index.add(ID, Key::Int(1), write.clone()));
        index.collections()[&ID][&Key::Int(1)].clone()
    }

    #[test]
    fn the_last_write_counts_in_whatever_order_they_are_read() {
        let insert = row(5, PutKind::Insert);
        for writes in [[insert.clone(), delete(7)], [delete(7), insert.clone()]] {
            let key = of(&writes);
            assert_eq!((key.latest, key.before), (delete(7), Before::Absent));
        }
        let upsert = row(5, PutKind::Upsert);
        for writes in [[upsert.clone(), delete(5)], [delete(5), upsert.clone()]] {
            let key = of(&writes);
            assert_eq!((key.latest, key.before), (upsert.clone(), Before::Unknown), "the halves of an upsert");
        }
        let again = of(&[delete(4), insert.clone()]);
        assert_eq!((again.latest, again.before), (insert, Before::Unknown), "it may have been there");
    }

    #[test]
    fn too_many_keys_are_given_up_collection_by_collection() {
        let mut index = LostIndex::default();
        let long = |n: u64| Key::Str(format!("{n}{}", "x".repeat(60 << 20)));
        index.add(CollectionId(4), Key::Int(1), delete(1));
        (0..5).for_each(|n| index.add(ID, long(n), delete(1)));
        assert_eq!(index.overflown(), &BTreeSet::from([ID]));
        assert_eq!(index.collections().keys().collect::<Vec<_>>(), [&CollectionId(4)]);
        assert_eq!(index.bytes, Key::Int(1).weight() + ENTRY_BYTES);
    }
}
