/*!
Reads the rows of a collection or partition in the order of their keys, page by page.

Most servers answer `key > last` with a limit in the order of the keys, so the next page begins behind the last key of
this one. Some do not: Milvus Lite 3.2.2 returns any rows of the range, in any order. The behaviour is detected with the
first full page, not by the server's name: if the page is out of order, or a smaller key is missing from it, the
remaining rows are read by bisecting ranges ([`super::ranges`]).

Others answer in order, but leave out keys where a key is there more than once (Milvus from 2.4 on): they are asked as
iterators ask, and then end a page before the hole. So a page that is not full is not the last one.
*/

use std::ops::Range;

use super::column::{RowError, pick};
use super::digest::{Digest, digest};
use super::error::PageError;
use super::key::{Key, KeyRange};
use super::ranges::Ranges;
use super::row_reader::{MAX_ROWS, RowReader, is_too_large};
use super::server::{MilvusRows, Projection, ReadSpec, RowBatch, RowDetail};
use crate::domain::Column;

/// A full page of this many rows in order proves that the server answers in order.
const PROOF: usize = 32;
/// Target size of a page: small pages cost calls, large ones memory.
const PAGE_BYTES: usize = 4 << 20;

/// Consecutive rows in the order of their keys. A key may occur more than once.
#[derive(Debug, Default)]
pub struct Page {
    /// Their keys.
    pub keys: Vec<Key>,
    /// Their digests.
    pub digests: Vec<Digest>,
    /// Their columns; empty unless [`RowDetail::Columns`] was asked for.
    pub columns: Vec<Column>,
}

impl Page {
    /// Takes the first `at` rows; the others stay. On failure all rows stay.
    pub(super) fn split_to(&mut self, at: usize) -> Result<Page, RowError> {
        let rows = self.keys.len();
        if at == 0 {
            return Ok(Page::default());
        }
        if at >= rows {
            return Ok(std::mem::take(self));
        }
        let columns = |rows_of: Range<usize>| pick(&self.columns, rows, Some(&Vec::from_iter(rows_of)));
        let (taken, left) = (columns(0..at)?, columns(at..rows)?);
        let rest = Page { keys: self.keys.split_off(at), digests: self.digests.split_off(at), columns: left };
        Ok(Page { columns: taken, ..std::mem::replace(self, rest) })
    }
}

/// The order in which the server answers.
enum AnswerOrder {
    /// By keys, as far as known.
    ByKey { proved: bool },
    /// Any rows of a range, in any order.
    Any(Ranges),
}

/// Walks over one collection or partition.
pub struct Pages {
    reader: RowReader,
    is_int: bool,
    /// Everything up to this key has been read.
    last: Option<Key>,
    /// The smallest number of rows that did not fit into a message.
    refused: usize,
    ended: bool,
    order: AnswerOrder,
}

impl Pages {
    /// Reads the rows behind `after`; all rows without it.
    pub fn new(spec: ReadSpec, after: Option<Key>) -> Pages {
        let (is_int, detail) = (spec.key.is_int, spec.detail);
        Pages::of(RowReader::new(Box::new(MilvusRows::new(spec)), detail), is_int, after)
    }

    pub(super) fn of(reader: RowReader, is_int: bool, after: Option<Key>) -> Pages {
        let order = AnswerOrder::ByKey { proved: false };
        Pages { reader, is_int, last: after, refused: MAX_ROWS + 1, ended: false, order }
    }

    pub(super) fn object(&self) -> String {
        self.reader.object()
    }

    /// The next page, never empty; `None` at the end. After an error the same page is read again.
    ///
    /// # Errors
    /// The page could not be read, or the server answered what it was not asked for.
    pub fn next_page(&mut self) -> Result<Option<Page>, PageError> {
        while !self.ended {
            let answer = match &mut self.order {
                AnswerOrder::ByKey { .. } if self.is_int && self.last.is_none() => self.smallest()?,
                AnswerOrder::ByKey { .. } => self.next_by_key()?,
                AnswerOrder::Any(ranges) => {
                    let answer = ranges.next_answer(&mut self.reader)?;
                    self.ended = answer.is_none();
                    answer
                }
            };
            if let Some(answer) = answer {
                return self.page(answer).map(Some);
            }
        }
        Ok(None)
    }

    /// Reads the smallest integer key first, alone: it cannot be written in an expression, and a range without a
    /// lower bound does not always include it (seen on 2.3.5).
    fn smallest(&mut self) -> Result<Option<RowBatch>, PageError> {
        let smallest = Key::Int(i64::MIN);
        let answer = self.reader.read(KeyRange { above: None, up_to: Some(&smallest) }, MAX_ROWS)?;
        self.last = Some(smallest);
        Ok((!answer.keys.is_empty()).then_some(answer))
    }

    /// One step of the walk by keys; `None` if there was nothing to take, or the server turned out to answer in
    /// another order.
    fn next_by_key(&mut self) -> Result<Option<RowBatch>, PageError> {
        let limit = self.reader.page_rows;
        let last = self.last.clone();
        let mut answer = match self.reader.read_page(KeyRange { above: last.as_ref(), up_to: None }, limit) {
            Err(error) if is_too_large(&error) && limit > 1 => {
                self.reader.page_rows = limit / 2;
                self.refused = limit;
                return Ok(None);
            }
            outcome => outcome?,
        };
        if answer.keys.is_empty() {
            self.ended = true;
            return Ok(None);
        }
        let is_full = answer.keys.len() >= limit;
        let is_sorted = answer.keys.is_sorted();
        let is_misordered = match is_full {
            true => !(is_sorted && self.is_lowest(&answer)?),
            // A short page of some servers does not say that there is no more.
            false => !is_sorted && self.reader.has_whole_pages(),
        };
        if is_misordered {
            log::info!("{} does not answer in the order of the keys: reading by ranges", self.object());
            self.order = AnswerOrder::Any(Ranges::above(self.last.clone()));
            return Ok(None);
        }
        if !is_sorted {
            // The response is complete, but unordered.
            answer = self.reader.sort(answer)?;
            self.ended = true;
        }
        if is_full && !self.cut_last_key(&mut answer)? {
            return Ok(None);
        }
        self.last = answer.keys.last().cloned();
        self.refused = MAX_ROWS + 1;
        Ok(Some(answer))
    }

    /// More rows of a full page's last key may follow, so that key is left to the next page. Returns false if no
    /// other key is in the page; then the next page is larger.
    fn cut_last_key(&mut self, answer: &mut RowBatch) -> Result<bool, PageError> {
        let Some(last) = answer.keys.last().cloned() else { return Ok(false) };
        let keep = answer.keys.iter().position(|key| *key == last).unwrap_or(0);
        if keep == 0 {
            let larger = (self.reader.page_rows * 2).min(self.refused - 1);
            if larger <= self.reader.page_rows {
                // No more rows of this size fit into a response: the keys alone tell whether these are all rows of
                // the key.
                let range = KeyRange { above: self.last.as_ref(), up_to: Some(&last) };
                let found = self.reader.read_keys(range, (answer.keys.len() + 1).min(MAX_ROWS))?;
                if found.len() <= answer.keys.len() && answer.keys.len() < MAX_ROWS {
                    return Ok(true);
                }
                return Err(PageError::SameKey { object: self.object(), key: last });
            }
            self.reader.page_rows = larger;
            return Ok(false);
        }
        answer.columns = self.reader.pick(&answer.columns, answer.keys.len(), &(0..keep).collect::<Vec<_>>())?;
        answer.keys.truncate(keep);
        Ok(true)
    }

    /// Whether a full page holds the smallest keys of the range. Checked by reading the keys alone, until a page was
    /// in order that is too long to be so by chance.
    fn is_lowest(&mut self, answer: &RowBatch) -> Result<bool, PageError> {
        // Reading the keys alone proves nothing there, when rows come in meanwhile, and ranges may have holes.
        if self.reader.has_whole_pages() || matches!(self.order, AnswerOrder::ByKey { proved: true }) {
            return Ok(true);
        }
        let range = KeyRange { above: self.last.as_ref(), up_to: answer.keys.last() };
        let found = self.reader.read_keys(range, (answer.keys.len() + 1).min(MAX_ROWS))?;
        let is_lowest = found.len() <= answer.keys.len();
        self.order = AnswerOrder::ByKey { proved: is_lowest && answer.keys.len() >= PROOF };
        Ok(is_lowest)
    }

    fn page(&mut self, answer: RowBatch) -> Result<Page, PageError> {
        let RowBatch { keys, columns } = answer;
        let bytes: usize = columns.iter().map(Column::len).sum();
        self.reader.page_rows = (PAGE_BYTES / (bytes / keys.len().max(1)).max(1)).clamp(1, MAX_ROWS);
        let digests = match self.reader.detail.projection() {
            Projection::Key => vec![0; keys.len()],
            Projection::AllFields => {
                digest(&columns, keys.len()).map_err(|source| PageError::Rows { object: self.object(), source })?
            }
        };
        let columns = if self.reader.detail == RowDetail::Columns { columns } else { Vec::new() };
        Ok(Page { keys, digests, columns })
    }
}

#[cfg(test)]
mod tests;
