//! Reads a server that answers any rows of a range: a range is bisected until it has fewer rows than the limit, so
//! that the response is complete.

use super::error::PageError;
use super::key::{Key, KeyRange};
use super::row_reader::{MAX_ROWS, RowReader, is_too_large};
use super::server::RowBatch;
use crate::milvus::field_data::ColumnError;

/// A range of keys above `low` and up to `high`; `None`: unbounded.
#[derive(Debug, Clone)]
struct PendingRange {
    low: Option<Key>,
    high: Option<Key>,
    /// The number of its keys, once they were counted.
    keys: Option<usize>,
}

/// The ranges that remain to be read; the lowest is the last.
#[derive(Debug, Default)]
pub(super) struct Ranges(Vec<PendingRange>);

impl Ranges {
    /// All keys above a key.
    pub(super) fn above(low: Option<Key>) -> Ranges {
        Ranges(vec![PendingRange { low, high: None, keys: None }])
    }

    /// The rows of the next range that has any, in the order of their keys; `None` once all ranges are read.
    pub(super) fn next_answer(&mut self, reader: &mut RowReader) -> Result<Option<RowBatch>, PageError> {
        while let Some(range) = self.0.last().cloned() {
            let bounds = KeyRange { above: range.low.as_ref(), up_to: range.high.as_ref() };
            let Some(keys) = range.keys.filter(|keys| *keys <= reader.page_rows) else {
                let keys = reader.read_keys(bounds, MAX_ROWS)?;
                self.divide(range, keys, reader)?;
                continue;
            };
            // Room for rows written in the meantime.
            let limit = (keys + keys / 2 + 100).min(MAX_ROWS);
            let answer = match reader.read(bounds, limit) {
                Err(error) if is_too_large(&error) && reader.page_rows > 1 => {
                    reader.page_rows = (keys.min(reader.page_rows) / 2).max(1);
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
                return reader.sort(answer).map(Some);
            }
        }
        Ok(None)
    }

    /// There are more rows than counted keys: count the keys again.
    fn forget_size(&mut self) {
        if let Some(range) = self.0.last_mut() {
            range.keys = None;
        }
    }

    /// Replaces the range by parts: halves if its keys exceed one response, else parts of one page each.
    fn divide(&mut self, range: PendingRange, mut keys: Vec<Key>, reader: &RowReader) -> Result<(), PageError> {
        let is_complete = keys.len() < MAX_ROWS;
        if keys.is_empty() {
            self.0.pop();
            return Ok(());
        }
        keys.sort();
        let size = if is_complete { reader.page_rows } else { keys.len() / 2 };
        let mut low = range.low;
        let mut parts = Vec::new();
        let mut from = 0;
        while keys.len() - from > size {
            // A duplicate key must not be split across two ranges.
            let cut = keys[from + size - 1].clone();
            let end = from + keys[from..].partition_point(|key| *key <= cut);
            if end == keys.len() && range.high.as_ref() == Some(&cut) {
                break;
            }
            let known = is_complete.then_some(end - from);
            parts.push(PendingRange { low: low.replace(cut.clone()), high: Some(cut), keys: known });
            from = end;
            if !is_complete {
                break;
            }
        }
        let rest = keys.len() - from;
        if parts.is_empty() && !is_complete {
            // One key fills the whole response.
            let key = keys
                .into_iter()
                .next()
                .ok_or(PageError::Columns { object: reader.object(), source: ColumnError::Damaged })?;
            return Err(PageError::SameKey { object: reader.object(), key });
        }
        let rest = PendingRange { low, high: range.high, keys: is_complete.then_some(rest.min(reader.page_rows)) };
        self.0.pop();
        self.0.push(rest);
        self.0.extend(parts.into_iter().rev());
        Ok(())
    }
}
