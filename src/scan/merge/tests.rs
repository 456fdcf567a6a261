use std::collections::{BTreeMap, VecDeque};

use proptest::prelude::*;

use super::*;
use crate::milvus::{Error, ErrorKind};
use crate::scan::PageError;

fn failure() -> ScanError {
    let kind = ErrorKind::Transport;
    PageError::Call(Error { method: "Query", address: "a:1".into(), object: "d.c".into(), kind, detail: "x".into() })
        .into()
}

/// Pages with a failure before each.
struct Leaves(VecDeque<Page>, bool);

impl Left for Leaves {
    fn next_page(&mut self) -> Result<Option<Page>, ScanError> {
        self.1 = !self.1;
        if self.1 { Err(failure()) } else { Ok(self.0.pop_front()) }
    }
}

/// Rows with a failure before each.
struct Entries(VecDeque<Entry>, bool);

impl Right for Entries {
    fn next_entry(&mut self) -> Result<Option<Entry>, ScanError> {
        self.1 = !self.1;
        if self.1 { Err(failure()) } else { Ok(self.0.pop_front()) }
    }
}

type Rows = BTreeMap<i64, Vec<Digest>>;

/// All rows in order, each key's together, in pages of about `size` rows.
fn pages(rows: &Rows, size: usize) -> VecDeque<Page> {
    let mut pages = VecDeque::new();
    let mut page = Page::default();
    for (&key, digests) in rows {
        for &digest in digests {
            page.keys.push(Key::Int(key));
            page.digests.push(digest);
        }
        if page.keys.len() >= size {
            pages.push_back(std::mem::take(&mut page));
        }
    }
    if !page.keys.is_empty() {
        pages.push_back(page);
    }
    pages
}

fn entries(rows: &Rows) -> VecDeque<Entry> {
    let entry = |key: i64, digest: Digest| Entry { key: Key::Int(key), digest: Some(digest) };
    rows.iter().flat_map(|(&key, digests)| digests.iter().map(move |&digest| entry(key, digest))).collect()
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Found {
    added: Vec<Key>,
    changed: Vec<Key>,
    removed: Vec<Key>,
    keys: usize,
}

fn walk<L: Left, R: Right>(mut merge: Merge<L, R>) -> Found {
    let mut found = Found::default();
    loop {
        match merge.next_step() {
            Err(_) => {}
            Ok(None) => return found,
            Ok(Some(step)) => {
                found.added.extend(step.added.iter().map(|&index| step.page.keys[index].clone()));
                found.changed.extend(step.changed.iter().map(|&index| step.page.keys[index].clone()));
                found.removed.extend(step.removed);
                found.keys += step.keys;
            }
        }
    }
}

/// The same, by looking up.
fn model(left: &Rows, right: &Rows, unknown: &BTreeSet<Key>) -> Found {
    let mut found = Found { keys: left.len(), ..Found::default() };
    for (&key, digests) in left {
        let is_unknown = unknown.contains(&Key::Int(key));
        match right.get(&key) {
            None if !is_unknown => found.added.push(Key::Int(key)),
            Some(there) if !is_unknown && digests.iter().any(|digest| there.contains(digest)) => {}
            _ => found.changed.push(Key::Int(key)),
        }
    }
    let all: BTreeSet<Key> = right.keys().map(|&key| Key::Int(key)).chain(unknown.iter().cloned()).collect();
    found.removed = all.into_iter().filter(|key| !left.keys().any(|&left| Key::Int(left) == *key)).collect();
    found
}

fn some_rows() -> impl Strategy<Value = Rows> {
    let digests = prop::collection::vec(0u64..3, 1..4);
    prop::collection::btree_map(prop_oneof![-12i64..12, Just(i64::MIN), Just(i64::MAX)], digests, 0..16)
}

proptest! {
    #[test]
    fn agrees_with_the_model(
        left in some_rows(),
        right in some_rows(),
        unknown in prop::collection::btree_set(-12i64..12, 0..4),
        size in 1usize..6,
    ) {
        let unknown: BTreeSet<Key> = unknown.into_iter().map(Key::Int).collect();
        let right_stream = Overlay::new(Entries(entries(&right), false), unknown.clone());
        let found = walk(Merge::new(Leaves(pages(&left, size), false), right_stream));
        prop_assert_eq!(found, model(&left, &right, &unknown));
    }
}

#[test]
fn long_removals_come_in_pieces() {
    let right: Rows = (0..20_000).map(|key| (key, vec![1])).collect();
    let left: Rows = BTreeMap::from([(19_000, vec![1])]);
    let mut merge = Merge::new(Leaves(pages(&left, 1), true), Entries(entries(&right), true));
    let (mut steps, mut removed) = (0, 0);
    loop {
        match merge.next_step() {
            Err(_) => continue,
            Ok(None) => break,
            Ok(Some(step)) => {
                assert!(step.removed.len() <= MAX_REMOVED);
                steps += 1;
                removed += step.removed.len();
            }
        }
    }
    assert_eq!(removed, 19_999);
    assert!(steps >= 3, "{steps}");
}

#[test]
fn nothing_on_the_right() {
    let left: Rows = BTreeMap::from([(1, vec![5]), (2, vec![5, 6])]);
    let mut merge = Merge::new(Leaves(pages(&left, 10), true), Nothing);
    let step = loop {
        if let Ok(step) = merge.next_step() {
            break step.unwrap();
        }
    };
    assert_eq!(step.added, [0, 2], "of a key that is there twice, the last row");
    assert_eq!(step.keys, 2);
}
