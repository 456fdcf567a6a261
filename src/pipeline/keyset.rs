//! The set of keys of a call in flight: tells whether another operation touches one of them.

use std::cell::OnceCell;
use std::hash::{DefaultHasher, Hash, Hasher};

use rustc_hash::FxHashSet;

use crate::domain::Keys;

/// Keys as 64-bit fingerprints: an integer key is its own, a string's is a hash. Two different strings with one
/// fingerprint only make one operation wait for another without need.
#[derive(Debug, Clone)]
pub struct KeySet {
    fingerprints: Vec<u64>,
    min: u64,
    max: u64,
    /// In strictly increasing order so far, hence without repetition.
    increasing: bool,
    /// Built when the range alone does not decide.
    set: OnceCell<FxHashSet<u64>>,
}

impl Default for KeySet {
    fn default() -> Self {
        KeySet::new(&Keys::Int(Vec::new()))
    }
}

impl KeySet {
    /// The set of these keys.
    pub fn new(keys: &Keys) -> KeySet {
        // The sign bit flipped: the order of integers is the order of their fingerprints.
        let fingerprints: Vec<u64> = match keys {
            Keys::Int(keys) => keys.iter().map(|&key| (key as u64) ^ (1 << 63)).collect(),
            Keys::Str(keys) => keys.iter().map(|key| fingerprint(key)).collect(),
        };
        let increasing = fingerprints.windows(2).all(|pair| pair[0] < pair[1]);
        let min = fingerprints.iter().copied().min().unwrap_or(u64::MAX);
        let max = fingerprints.iter().copied().max().unwrap_or(0);
        KeySet { fingerprints, min, max, increasing, set: OnceCell::new() }
    }

    /// Number of keys, repetitions counted.
    pub fn len(&self) -> usize {
        self.fingerprints.len()
    }

    /// The keys' fingerprints, repetitions included.
    pub(super) fn fingerprints(&self) -> &[u64] {
        &self.fingerprints
    }

    /// Whether the set is empty.
    pub fn is_empty(&self) -> bool {
        self.fingerprints.is_empty()
    }

    /// Whether no key is in it twice.
    pub fn is_unique(&self) -> bool {
        self.increasing || self.set().len() == self.fingerprints.len()
    }

    /// Whether the two have a key in common.
    pub fn intersects(&self, other: &KeySet) -> bool {
        if self.max < other.min || other.max < self.min || self.is_empty() || other.is_empty() {
            return false;
        }
        // Ask the larger one, which is more likely to have its set already.
        let (few, many) = if self.len() <= other.len() { (self, other) } else { (other, self) };
        let set = many.set();
        few.fingerprints.iter().any(|key| set.contains(key))
    }

    /// Whether every key of `other` is in it and the other way round.
    pub fn same_keys(&self, other: &KeySet) -> bool {
        self.min == other.min && self.max == other.max && self.set() == other.set()
    }

    /// Adds the keys of `other`.
    pub fn extend(&mut self, other: KeySet) {
        self.increasing &= other.increasing && (self.is_empty() || other.is_empty() || self.max < other.min);
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        if let Some(set) = self.set.get_mut() {
            set.extend(other.fingerprints.iter().copied());
        }
        self.fingerprints.extend(other.fingerprints);
    }

    fn set(&self) -> &FxHashSet<u64> {
        self.set.get_or_init(|| self.fingerprints.iter().copied().collect())
    }
}

fn fingerprint(key: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn agrees_with_plain_sets(
            a in proptest::collection::vec(-20i64..20, 0..12),
            b in proptest::collection::vec(-20i64..20, 0..12),
        ) {
            let plain = |keys: &[i64]| keys.iter().copied().collect::<std::collections::BTreeSet<i64>>();
            let (set_a, set_b) = (KeySet::new(&Keys::Int(a.clone())), KeySet::new(&Keys::Int(b.clone())));
            prop_assert_eq!(set_a.intersects(&set_b), !plain(&a).is_disjoint(&plain(&b)));
            prop_assert_eq!(set_a.is_unique(), plain(&a).len() == a.len());
            prop_assert_eq!(set_a.same_keys(&set_b), plain(&a) == plain(&b));
            let mut both = KeySet::new(&Keys::Int(a.clone()));
            both.extend(set_b);
            let joined = [a, b].concat();
            prop_assert_eq!(both.is_unique(), plain(&joined).len() == joined.len());
        }

        #[test]
        fn strings_too(
            a in proptest::collection::vec("[ab]{0,3}", 0..8),
            b in proptest::collection::vec("[ab]{0,3}", 0..8),
        ) {
            let (set_a, set_b) = (KeySet::new(&Keys::Str(a.clone())), KeySet::new(&Keys::Str(b.clone())));
            prop_assert_eq!(set_a.intersects(&set_b), a.iter().any(|key| b.contains(key)));
        }
    }
}
