//! A server as Milvus is from 2.4 on, whose pages have holes where a key is in a segment more than once, unless they
//! are asked for as iterators do. It is made after what the servers' code does; no recording has such pages.

use std::collections::BTreeSet;

use super::*;

/// As many rows as prove that the server answers in order.
const PAGE: usize = PROOF;

/// Segments, each with its keys in order.
struct Segments {
    segments: Vec<Vec<i64>>,
    asked: Asked,
    /// Rows come in below the last key of the first page, as soon as that has been read.
    late: Vec<i64>,
    /// A page that is not full comes in the opposite order.
    turns_short_pages: bool,
}

/// Whether pages are asked for as iterators do.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    AsIterators,
    Ordinarily,
}

/// The rows of one segment that match, as far as the limit lets it answer them.
struct Part {
    keys: Vec<i64>,
    is_cut: bool,
    at: usize,
}

impl RowServer for Segments {
    fn query(&mut self, range: KeyRange<'_>, extent: Extent, _: Projection) -> Result<RowBatch, PageError> {
        let limit = rows_of(extent);
        let stops = self.asked == Asked::AsIterators && matches!(extent, Extent::Page(_));
        let mut parts: Vec<Part> = self.segments.iter().map(|keys| part(keys, range, limit)).collect();
        let mut merged = Vec::new();
        while merged.len() < limit {
            if stops && parts.iter().any(|part| part.is_cut && part.at == part.keys.len()) {
                break;
            }
            let lowest =
                parts.iter_mut().filter(|part| part.at < part.keys.len()).min_by_key(|part| part.keys[part.at]);
            let Some(lowest) = lowest else { break };
            let key = lowest.keys[lowest.at];
            lowest.at += 1;
            if merged.last() != Some(&key) {
                merged.push(key);
            }
        }
        self.segments.push(std::mem::take(&mut self.late));
        if merged.is_empty() {
            return Ok(RowBatch { keys: Vec::new(), columns: Vec::new() });
        }
        if self.turns_short_pages && merged.len() < limit {
            merged.reverse();
        }
        let columns = vec![longs("id", &merged), longs("v", &merged)];
        Ok(RowBatch { keys: merged.into_iter().map(Key::Int).collect(), columns })
    }

    fn has_whole_pages(&self) -> bool {
        self.asked == Asked::AsIterators
    }

    fn object(&self) -> String {
        "segments".into()
    }
}

fn part(keys: &[i64], range: KeyRange<'_>, limit: usize) -> Part {
    let mut keys: Vec<i64> = keys.iter().copied().filter(|key| range.contains(&Key::Int(*key))).collect();
    let is_cut = keys.len() > limit;
    keys.truncate(limit);
    Part { keys, is_cut, at: 0 }
}

fn keys_found(segments: Vec<Vec<i64>>, asked: Asked, late: Vec<i64>) -> Vec<i64> {
    keys_of(Segments { segments, asked, late, turns_short_pages: false })
}

fn keys_of(server: Segments) -> Vec<i64> {
    let is_int = true;
    let mut pages = Pages::of(RowReader::new(Box::new(server), RowDetail::Digests), is_int, None);
    pages.reader.page_rows = PAGE;
    let mut found = Vec::new();
    while let Some(page) = pages.next_page().unwrap() {
        // Pages grow with what is read; here they shall have ends.
        pages.reader.page_rows = PAGE;
        found.extend(page.keys.into_iter().map(|key| match key {
            Key::Int(key) => key,
            Key::Str(key) => panic!("{key}"),
        }));
    }
    found
}

/// Behind a first page that is in order and whole, the first segment has every key twice: its part of the next page
/// ends halfway, and the other's keys go on.
fn with_a_hole() -> Vec<Vec<i64>> {
    let once = 0..PAGE as i64;
    let twice = (once.end..2 * once.end).flat_map(|key| [key, key]);
    vec![once.clone().chain(twice).collect(), (1000..1000 + 3 * once.end).collect()]
}

#[test]
fn a_hole_behind_doubles_is_not_read_over() {
    let all: BTreeSet<i64> = with_a_hole().into_iter().flatten().collect();
    let lost = keys_found(with_a_hole(), Asked::Ordinarily, vec![]);
    assert!(lost.len() < all.len(), "the model has no hole");
    let found = keys_found(with_a_hole(), Asked::AsIterators, vec![]);
    assert_eq!(found, Vec::from_iter(all));
}

#[test]
fn a_short_page_in_another_order_does_not_end_the_walk() {
    let (segments, late) = (with_a_hole(), vec![]);
    let all: BTreeSet<i64> = segments.iter().flatten().copied().collect();
    let found = keys_of(Segments { segments, asked: Asked::AsIterators, late, turns_short_pages: true });
    assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), all);
}

#[test]
fn rows_that_come_meanwhile_do_not_make_the_order_doubtful() {
    let found = keys_found(vec![(0..100).map(|key| key * 2).collect()], Asked::AsIterators, vec![1, 3, 5]);
    let at_first: Vec<i64> = (0..100).map(|key| key * 2).collect();
    assert!(at_first.iter().all(|key| found.contains(key)) && found.is_sorted(), "{found:?}");
}

proptest! {
    #[test]
    fn every_key_of_every_segment(
        segments in prop::collection::vec(prop::collection::vec(-60i64..60, 0..200), 0..5),
    ) {
        let sort = |mut keys: Vec<i64>| { keys.sort_unstable(); keys };
        let segments: Vec<Vec<i64>> = segments.into_iter().map(sort).collect();
        let all: BTreeSet<i64> = segments.iter().flatten().copied().collect();
        prop_assert_eq!(keys_found(segments, Asked::AsIterators, vec![]), Vec::from_iter(all));
    }
}
