use proptest::prelude::*;

use super::*;
use crate::milvus::rows::Extent;
use crate::milvus::{Error, ErrorKind};
use crate::scan::column::tests::{longs, strings};
use crate::scan::server::RowServer;

/// A server as good or as bad as servers are.
struct Model {
    rows: Vec<(Key, i64)>,
    /// It answers any rows of a range, in any order.
    any: bool,
    /// Rows that fit into a message.
    message: usize,
    random: fastrand::Rng,
    failures: bool,
}

impl RowServer for Model {
    fn query(&mut self, range: KeyRange<'_>, extent: Extent, projection: Projection) -> Result<RowBatch, PageError> {
        if self.failures && self.random.bool() {
            return Err(failure(ErrorKind::Transport));
        }
        let limit = rows_of(extent);
        assert!(limit > 0 && limit <= MAX_ROWS);
        let mut found: Vec<(Key, i64)> = self.rows.iter().filter(|(key, _)| range.contains(key)).cloned().collect();
        if self.any {
            self.random.shuffle(&mut found);
        } else {
            found.sort_by(|a, b| a.0.cmp(&b.0));
        }
        found.truncate(limit);
        if projection == Projection::AllFields && found.len() > self.message {
            return Err(failure(ErrorKind::TooLarge));
        }
        let keys: Vec<Key> = found.iter().map(|(key, _)| key.clone()).collect();
        if keys.is_empty() {
            return Ok(RowBatch { keys, columns: Vec::new() });
        }
        let key_column = match Key::collect(&keys) {
            crate::domain::Keys::Int(keys) => longs("id", &keys),
            crate::domain::Keys::Str(keys) => strings("id", &keys.iter().map(String::as_str).collect::<Vec<_>>(), &[]),
        };
        let values: Vec<i64> = found.iter().map(|(_, value)| *value).collect();
        Ok(RowBatch { keys, columns: vec![key_column, longs("v", &values)] })
    }

    fn object(&self) -> String {
        "a model".into()
    }
}

fn rows_of(extent: Extent) -> usize {
    match extent {
        Extent::AtMost(rows) | Extent::Page(rows) => rows,
        Extent::All => panic!("a walk counts nothing"),
    }
}

fn failure(kind: ErrorKind) -> PageError {
    Error { method: "Query", address: "a:1".into(), object: "d.c".into(), kind, detail: "larger than max".into() }
        .into()
}

fn model(rows: Vec<(Key, i64)>, any: bool, seed: u64) -> Model {
    let random = fastrand::Rng::with_seed(seed);
    Model { rows, any, message: usize::MAX, random, failures: false }
}

/// All rows, as keys and digests.
fn walk(server: Model, after: Option<Key>) -> Result<Vec<(Key, Digest)>, PageError> {
    let is_int = !matches!(server.rows.first(), Some((Key::Str(_), _)));
    let mut pages = Pages::of(RowReader::new(Box::new(server), RowDetail::Digests), is_int, after);
    let mut all = Vec::new();
    loop {
        match pages.next_page() {
            Ok(Some(page)) => {
                assert!(!page.keys.is_empty());
                all.extend(page.keys.into_iter().zip(page.digests));
            }
            Ok(None) => return Ok(all),
            Err(PageError::Call(error)) if error.kind == ErrorKind::Transport => {}
            Err(error) => return Err(error),
        }
    }
}

fn expected(rows: &[(Key, i64)]) -> Vec<(Key, Digest)> {
    let digest_of = |(key, value): &(Key, i64)| {
        let column = match key {
            Key::Int(key) => longs("id", &[*key]),
            Key::Str(key) => strings("id", &[key], &[]),
        };
        (key.clone(), digest(&[column, longs("v", &[*value])], 1).unwrap()[0])
    };
    let mut all: Vec<(Key, Digest)> = rows.iter().map(digest_of).collect();
    all.sort();
    all
}

fn sorted(mut rows: Vec<(Key, Digest)>) -> Vec<(Key, Digest)> {
    assert!(rows.is_sorted_by(|a, b| a.0 <= b.0), "in the order of the keys");
    rows.sort();
    rows
}

fn int_keys() -> impl Strategy<Value = Vec<(Key, i64)>> {
    let key = prop_oneof![
        4 => -300i64..300,
        1 => Just(i64::MIN),
        1 => Just(i64::MIN + 1),
        1 => Just(i64::MAX),
        2 => any::<i64>(),
    ];
    prop::collection::vec((key.prop_map(Key::Int), any::<i64>()), 0..60)
}

fn text_keys() -> impl Strategy<Value = Vec<(Key, i64)>> {
    prop::collection::vec((".{0,3}".prop_map(Key::Str), any::<i64>()), 0..60)
}

proptest! {
    #[test]
    fn every_row_once_in_order(
        rows in prop_oneof![int_keys(), text_keys()],
        any_order in any::<bool>(),
        message in 1usize..12,
        failures in any::<bool>(),
        seed in any::<u64>(),
    ) {
        // Pages of a few rows, so that keys that are there more than once lie at their ends.
        let server = Model { message, failures, ..model(rows.clone(), any_order, seed) };
        match walk(server, None) {
            Ok(found) => prop_assert_eq!(sorted(found), expected(&rows)),
            // Rows of one key that do not fit into one message cannot be told apart by any call.
            Err(error) => {
                let most = rows.iter().map(|(key, _)| rows.iter().filter(|(other, _)| other == key).count()).max();
                prop_assert!(most.unwrap_or(0) > message, "{}", error);
                prop_assert!(is_too_large(&error) || matches!(error, PageError::SameKey { .. }), "{}", error);
            }
        }
    }

    #[test]
    fn behind_a_key(rows in int_keys(), after in any::<i64>(), any_order in any::<bool>(), seed in any::<u64>()) {
        let found = walk(model(rows.clone(), any_order, seed), Some(Key::Int(after))).unwrap();
        let behind: Vec<(Key, i64)> = rows.into_iter().filter(|(key, _)| *key > Key::Int(after)).collect();
        prop_assert_eq!(sorted(found), expected(&behind));
    }
}

/// More rows than a call answers.
#[test]
fn many_rows() {
    for any in [false, true] {
        let rows: Vec<(Key, i64)> = (0..50_000).map(|key| (Key::Int(key * 7 % 50_000 - 20_000), key)).collect();
        let found = walk(model(rows.clone(), any, 1), None).unwrap();
        assert_eq!(sorted(found), expected(&rows), "any order: {any}");
    }
}

/// A server that answers in order, but not the lowest keys of a range.
#[test]
fn sorted_but_not_the_lowest() {
    struct Sly(Model);
    impl RowServer for Sly {
        fn query(
            &mut self,
            range: KeyRange<'_>,
            extent: Extent,
            projection: Projection,
        ) -> Result<RowBatch, PageError> {
            let answer = self.0.query(range, extent, projection)?;
            let mut order: Vec<usize> = (0..answer.keys.len()).collect();
            order.sort_by_key(|&index| &answer.keys[index]);
            let columns = pick(&answer.columns, answer.keys.len(), Some(&order)).unwrap();
            Ok(RowBatch { keys: order.iter().map(|&index| answer.keys[index].clone()).collect(), columns })
        }
        fn object(&self) -> String {
            self.0.object()
        }
    }
    let rows: Vec<(Key, i64)> = (0..5000).map(|key| (Key::Int(key), key)).collect();
    let is_int = true;
    let mut pages =
        Pages::of(RowReader::new(Box::new(Sly(model(rows.clone(), true, 3))), RowDetail::Digests), is_int, None);
    let mut found = Vec::new();
    while let Some(page) = pages.next_page().unwrap() {
        found.extend(page.keys.into_iter().zip(page.digests));
    }
    assert_eq!(sorted(found), expected(&rows));
}

/// One key fills every answer.
#[test]
fn too_many_rows_of_one_key() {
    for any in [false, true] {
        let rows: Vec<(Key, i64)> = (0..20_000).map(|value| (Key::Int(5), value)).collect();
        assert!(matches!(walk(model(rows, any, 1), None), Err(PageError::SameKey { key: Key::Int(5), .. })), "{any}");
    }
}

#[test]
fn a_row_that_was_not_asked_for() {
    struct Wrong;
    impl RowServer for Wrong {
        fn query(&mut self, _: KeyRange<'_>, _: Extent, _: Projection) -> Result<RowBatch, PageError> {
            Ok(RowBatch { keys: vec![Key::Int(7)], columns: vec![longs("id", &[7])] })
        }
        fn object(&self) -> String {
            "wrong".into()
        }
    }
    let is_int = true;
    let mut pages = Pages::of(RowReader::new(Box::new(Wrong), RowDetail::Digests), is_int, None);
    assert!(matches!(pages.next_page(), Err(PageError::Outside { .. })));
}

mod segments;
