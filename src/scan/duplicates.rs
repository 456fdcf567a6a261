//! Finds keys that a server holds more than once. A query shows one row per key; only counting reveals duplicates.

use super::key::Key;

/// Ranges of this many keys are not divided further.
const FEW: usize = 64;

/// The keys of ranges in which the server counts more rows than there are keys. Not every key among them is a
/// duplicate: finding out would cost a query per key, and writing the others again does no harm.
///
/// `keys` are all distinct keys that the server has above `low` up to the last of them, in order. `count` asks the
/// server for the number of rows with keys above the first and up to the second.
///
/// # Errors
/// `count` failed.
pub fn ranges_with_duplicates<E>(
    keys: &[Key],
    low: Option<&Key>,
    count: &mut impl FnMut(Option<&Key>, &Key) -> Result<u64, E>,
) -> Result<Vec<Key>, E> {
    let Some(high) = keys.last() else { return Ok(Vec::new()) };
    if count(low, high)? <= keys.len() as u64 {
        return Ok(Vec::new());
    }
    if keys.len() <= FEW {
        return Ok(keys.to_vec());
    }
    let (left, right) = keys.split_at(keys.len() / 2);
    let mut found = ranges_with_duplicates(left, low, count)?;
    found.extend(ranges_with_duplicates(right, left.last(), count)?);
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    /// What is found, and with how many questions, where these keys are there twice.
    fn find(keys: std::ops::Range<i64>, low: Option<i64>, doubled: &[i64]) -> (Vec<Key>, usize) {
        let (keys, low) = (keys.map(Key::Int).collect::<Vec<_>>(), low.map(Key::Int));
        let mut rows: Vec<Key> = keys.iter().cloned().chain(doubled.iter().copied().map(Key::Int)).collect();
        // Below what is asked about.
        rows.push(Key::Int(i64::MIN));
        let mut asked = 0;
        let mut count = |low: Option<&Key>, high: &Key| {
            asked += 1;
            let within = |key: &&Key| low.is_none_or(|low| *key > low) && *key <= high;
            Ok::<u64, Infallible>(rows.iter().filter(within).count() as u64)
        };
        let Ok(found) = ranges_with_duplicates(&keys, low.as_ref(), &mut count);
        (found, asked)
    }

    #[test]
    fn none() {
        assert_eq!(find(0..10_000, Some(-1), &[]), (vec![], 1));
        assert_eq!(find(0..0, Some(-1), &[]), (vec![], 0));
    }

    #[test]
    fn few_among_many() {
        let (found, asked) = find(0..10_000, Some(-1), &[3, 7777, 7777]);
        assert!([3, 7777].map(Key::Int).iter().all(|key| found.contains(key)), "{found:?}");
        assert!(found.len() <= 2 * FEW && asked < 40, "{} keys, {asked} questions", found.len());
        assert!(found.is_sorted());
    }

    #[test]
    fn all() {
        let (found, _) = find(0..1000, Some(-1), &(0..1000).collect::<Vec<_>>());
        assert_eq!(found.len(), 1000);
    }

    #[test]
    fn what_lies_below_counts_only_where_it_was_asked_for() {
        assert!(find(0..10, Some(-1), &[]).0.is_empty());
        assert_eq!(find(0..10, None, &[]).0.len(), 10);
    }
}
