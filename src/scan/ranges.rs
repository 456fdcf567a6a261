//! Reading a server that answers any rows of a range: ranges are bisected until one answers less than its limit, which is all of it.

use super::key::Key;
use super::pages::{MAX_ROWS, PageError, Pages, is_too_large};
use super::server::Answer;

/// A range of keys above `low` and up to `high`, without an end where `None`.
#[derive(Debug, Clone)]
struct Range {
    low: Option<Key>,
    high: Option<Key>,
    /// It was asked for keys and has at most so many.
    keys: Option<usize>,
}

/// The ranges that are still to be read; the lowest is the last.
#[derive(Debug, Default)]
pub(super) struct Ranges(Vec<Range>);

impl Ranges {
    /// Everything above a key.
    pub(super) fn above(low: Option<Key>) -> Ranges {
        Ranges(vec![Range { low, high: None, keys: None }])
    }

    /// The rows of the next range that has any, in the order of their keys; `None` when all ranges are read.
    pub(super) fn next_answer(&mut self, pages: &mut Pages) -> Result<Option<Answer>, PageError> {
        while let Some(range) = self.0.last().cloned() {
            let bounds = (range.low.as_ref(), range.high.as_ref());
            let Some(keys) = range.keys.filter(|keys| *keys <= pages.rows) else {
                let found = pages.ask(bounds, MAX_ROWS, true)?;
                self.divide(range, found.keys, pages)?;
                continue;
            };
            // Some more than there were: what was written meanwhile.
            let limit = (keys + keys / 2 + 100).min(MAX_ROWS);
            let answer = match pages.ask(bounds, limit, pages.how.keys_only) {
                Err(error) if is_too_large(&error) && pages.rows > 1 => {
                    pages.rows = (keys.min(pages.rows) / 2).max(1);
                    continue;
                }
                outcome => outcome?,
            };
            if answer.keys.len() >= limit {
                self.forget_size();
                continue;
            }
            self.0.pop();
            if !answer.keys.is_empty() {
                return pages.sort(answer).map(Some);
            }
        }
        Ok(None)
    }

    /// More rows than there were keys a moment ago: the keys are asked for again.
    fn forget_size(&mut self) {
        if let Some(range) = self.0.last_mut() {
            range.keys = None;
        }
    }

    /// Puts parts of the range in its place: halves of it while it has more keys than one answer can hold, else parts of a page each.
    fn divide(&mut self, range: Range, mut keys: Vec<Key>, pages: &Pages) -> Result<(), PageError> {
        let is_complete = keys.len() < MAX_ROWS;
        if keys.is_empty() {
            self.0.pop();
            return Ok(());
        }
        keys.sort();
        let size = if is_complete { pages.rows } else { keys.len() / 2 };
        let mut low = range.low;
        let mut parts = Vec::new();
        let mut from = 0;
        while keys.len() - from > size {
            // A key that is there more than once must not lie in two ranges.
            let cut = keys[from + size - 1].clone();
            let end = from + keys[from..].partition_point(|key| *key <= cut);
            if end == keys.len() && range.high.as_ref() == Some(&cut) {
                break;
            }
            let known = is_complete.then_some(end - from);
            parts.push(Range { low: low.replace(cut.clone()), high: Some(cut), keys: known });
            from = end;
            if !is_complete {
                break;
            }
        }
        let rest = keys.len() - from;
        if parts.is_empty() && !is_complete {
            // One key fills the whole answer.
            let key = keys.into_iter().next().ok_or(PageError::Columns {
                object: pages.object(),
                source: crate::pipeline::columns::ColumnError::Damaged,
            })?;
            return Err(PageError::SameKey { object: pages.object(), key });
        }
        let rest = Range { low, high: range.high, keys: is_complete.then_some(rest.min(pages.rows)) };
        self.0.pop();
        self.0.push(rest);
        self.0.extend(parts.into_iter().rev());
        Ok(())
    }
}
