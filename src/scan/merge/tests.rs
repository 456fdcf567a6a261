use std::collections::{BTreeMap, VecDeque};

use proptest::prelude::*;

use super::*;
use crate::domain::Keys;
use crate::milvus::{Error, ErrorKind, field_data};
use crate::scan::column::tests::longs;

fn failure() -> ScanError {
    let kind = ErrorKind::Transport;
    PageError::Call(Error { method: "Query", address: "a:1".into(), object: "d.c".into(), kind, detail: "x".into() })
        .into()
}

/// How the next call of a stream ends; failures and successes take turns.
#[derive(Clone, Copy, PartialEq, Eq)]
enum NextCall {
    Fails,
    Succeeds,
}

impl NextCall {
    fn take(&mut self) -> Result<(), ScanError> {
        match self {
            NextCall::Fails => {
                *self = NextCall::Succeeds;
                Err(failure())
            }
            NextCall::Succeeds => {
                *self = NextCall::Fails;
                Ok(())
            }
        }
    }
}

struct Leaves(VecDeque<Page>, NextCall);

impl PageStream for Leaves {
    fn next_page(&mut self) -> Result<Option<Page>, ScanError> {
        self.1.take()?;
        Ok(self.0.pop_front())
    }

    fn object(&self) -> String {
        "d.c".into()
    }
}

struct Entries(VecDeque<RowEntry>, NextCall);

impl RowStream for Entries {
    fn next_entry(&mut self) -> Result<Option<RowEntry>, ScanError> {
        self.1.take()?;
        Ok(self.0.pop_front())
    }
}

type ModelRows = BTreeMap<i64, Vec<Digest>>;

/// All rows in order, each key's together, in pages of about `size` rows.
fn pages(rows: &ModelRows, size: usize) -> VecDeque<Page> {
    let mut pages = VecDeque::new();
    let mut page: Vec<(i64, Digest)> = Vec::new();
    for (&key, digests) in rows {
        page.extend(digests.iter().map(|&digest| (key, digest)));
        if page.len() >= size {
            pages.push_back(self::page(&std::mem::take(&mut page)));
        }
    }
    if !page.is_empty() {
        pages.push_back(self::page(&page));
    }
    pages
}

fn page(rows: &[(i64, Digest)]) -> Page {
    let (keys, digests): (Vec<i64>, Vec<Digest>) = rows.iter().copied().unzip();
    let columns =
        vec![longs("id", &keys), longs("digest", &digests.iter().map(|&digest| digest as i64).collect::<Vec<_>>())];
    Page { keys: keys.into_iter().map(Key::Int).collect(), digests, columns }
}

fn entries(rows: &ModelRows) -> VecDeque<RowEntry> {
    let entry = |key: i64, digest: Digest| RowEntry { key: Key::Int(key), digest: Some(digest) };
    rows.iter().flat_map(|(&key, digests)| digests.iter().map(move |&digest| entry(key, digest))).collect()
}

#[derive(Debug, Default, PartialEq, Eq)]
struct FoundDifferences {
    added: Vec<Key>,
    changed: Vec<Key>,
    removed: Vec<Key>,
    keys: usize,
}

/// All steps to the end, each of which stands for itself.
fn walk<L: PageStream, R: RowStream>(mut merge: Merge<L, R>) -> FoundDifferences {
    let mut found = FoundDifferences::default();
    let mut after = None;
    loop {
        match merge.next_step() {
            Err(_) => {}
            Ok(None) => return found,
            Ok(Some(step)) => {
                assert!(step.removed.len() <= merge.max_removed);
                let is_within = |key: &Key| Some(key) > after.as_ref() && *key <= step.up_to;
                assert!(step.page.keys.iter().chain(&step.removed).all(is_within), "{after:?} {step:?}");
                assert_columns(&step.page);
                after = Some(step.up_to.clone());
                found.added.extend(step.added.iter().map(|&index| step.page.keys[index].clone()));
                found.changed.extend(step.changed.iter().map(|&index| step.page.keys[index].clone()));
                found.removed.extend(step.removed);
                found.keys += step.keys;
            }
        }
    }
}

/// The columns hold the page's rows and no others.
fn assert_columns(page: &Page) {
    if page.keys.is_empty() {
        return assert!(page.columns.is_empty() && page.digests.is_empty());
    }
    let longs_of = |name| field_data::keys(&page.columns, name).unwrap();
    assert_eq!(Key::each(longs_of("id")), page.keys);
    assert_eq!(longs_of("digest"), Keys::Int(page.digests.iter().map(|&digest| digest as i64).collect()));
}

/// The same, by looking up.
fn model(left: &ModelRows, right: &ModelRows, unknown: &BTreeSet<Key>) -> FoundDifferences {
    let mut found = FoundDifferences { keys: left.len(), ..FoundDifferences::default() };
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

fn some_rows() -> impl Strategy<Value = ModelRows> {
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
        max_removed in 1usize..6,
    ) {
        let unknown: BTreeSet<Key> = unknown.into_iter().map(Key::Int).collect();
        let right_stream = Overlay::new(Entries(entries(&right), NextCall::Fails), unknown.clone());
        let merge = Merge::new(Leaves(pages(&left, size), NextCall::Fails), right_stream);
        let found = walk(Merge { max_removed, ..merge });
        prop_assert_eq!(found, model(&left, &right, &unknown));
    }
}

#[test]
fn long_removals_come_in_pieces() {
    let right: ModelRows = (0..20_000).map(|key| (key, vec![1])).collect();
    // Before a page, within it, between its last row and the end.
    let left: ModelRows = BTreeMap::from([(9_000, vec![1]), (9_001, vec![2]), (19_000, vec![1])]);
    let mut merge =
        Merge::new(Leaves(pages(&left, 9), NextCall::Succeeds), Entries(entries(&right), NextCall::Succeeds));
    let mut steps = Vec::new();
    loop {
        match merge.next_step() {
            Err(_) => continue,
            Ok(None) => break,
            Ok(Some(step)) => steps.push((step.up_to, step.page.keys.len(), step.changed, step.removed.len())),
        }
    }
    let max = MAX_REMOVED as i64;
    assert_eq!(
        steps,
        [
            (Key::Int(max - 1), 0, vec![], MAX_REMOVED),
            (Key::Int(max + max + 1), 2, vec![1], MAX_REMOVED),
            (Key::Int(19_000), 1, vec![], 19_000 - MAX_REMOVED * 2 - 2),
            (Key::Int(19_999), 0, vec![], 999),
        ]
    );
}

#[test]
fn a_page_that_cannot_be_cut() {
    let mut broken = page(&[(1, 1), (5, 1)]);
    broken.columns = vec![longs("id", &[1])];
    let right = Entries(entries(&BTreeMap::from([(2, vec![1]), (3, vec![1])])), NextCall::Fails);
    let merge = Merge::new(Leaves(VecDeque::from([broken]), NextCall::Fails), right);
    let mut merge = Merge { max_removed: 1, ..merge };
    let errors = (0..10).filter_map(|_| merge.next_step().err()).map(|error| error.to_string());
    assert!(errors.last().unwrap().starts_with("d.c: "), "all is there still, and the error says where");
}

#[test]
fn nothing_on_the_right() {
    let left: ModelRows = BTreeMap::from([(1, vec![5]), (2, vec![5, 6])]);
    let mut merge = Merge::new(Leaves(pages(&left, 10), NextCall::Succeeds), EmptyStream);
    let step = loop {
        if let Ok(step) = merge.next_step() {
            break step.unwrap();
        }
    };
    assert_eq!(step.added, [0, 2], "of a key that is there twice, the last row");
    assert_eq!(step.keys, 2);
}
