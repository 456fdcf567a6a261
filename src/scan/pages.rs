/*!
The rows of one place in the order of their keys, page by page.

Most servers answer `key > last` with a limit in the order of the keys: the next page begins behind the last key of this one. Some do
not (Milvus Lite 3.2.2 returns any rows of the range, in any order). What a server does is found out with its first full page, not
by its name: one that is out of order, or that left out a smaller key, makes the rest be read by bisecting ranges ([`super::ranges`]).
*/

use std::ops::Range;

use super::Digest;
use super::column::{RowError, pick};
use super::digest::digest;
use super::key::Key;
use super::ranges::Ranges;
use super::server::{Answer, Ask, Server, Target};
use crate::milvus::rows::Column;
use crate::milvus::{Error, ErrorKind};
use crate::pipeline::columns::ColumnError;

/// Milvus answers at most so many rows to one query.
pub(super) const MAX_ROWS: usize = 16_384;
/// The first page: how large rows are is not known yet.
const FIRST_ROWS: usize = 1000;
/// Rows of a page that prove the order of a server.
const PROOF: usize = 32;
/// What a page should weigh: small pages cost calls, large ones memory.
const PAGE_BYTES: usize = 4 << 20;

/// Rows that follow one another in the order of their keys. A key may be there more than once.
#[derive(Debug, Default)]
pub struct Page {
    /// Their keys.
    pub keys: Vec<Key>,
    /// Their digests.
    pub digests: Vec<Digest>,
    /// Their columns, if kept.
    pub columns: Vec<Column>,
}

impl Page {
    /// Takes the first `at` rows; the others stay. When that fails, all stay.
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

/// Why a page could not be read.
#[derive(Debug, thiserror::Error)]
pub enum PageError {
    /// The call.
    #[error(transparent)]
    Call(#[from] Error),
    /// The key column.
    #[error("{object}: {source}")]
    Columns {
        /// Database and collection.
        object: String,
        /// What is wrong.
        source: ColumnError,
    },
    /// Another column.
    #[error("{object}: {source}")]
    Rows {
        /// Database and collection.
        object: String,
        /// What is wrong.
        source: RowError,
    },
    /// More rows of one key than a call can answer.
    #[error("{object}: the key {key} is there so often that no call can answer all its rows")]
    SameKey {
        /// Database and collection.
        object: String,
        /// Which.
        key: Key,
    },
    /// A row outside of the range that was asked for.
    #[error("{object}: the server answered a row that was not asked for: its key is {key}")]
    Outside {
        /// Database and collection.
        object: String,
        /// What came.
        key: Key,
    },
}

/// How the server answers.
enum Order {
    /// By keys, as far as it is known.
    ByKey { proved: bool },
    /// Any rows of a range.
    Any(Ranges),
}

/// Walks over one place.
pub struct Pages {
    pub(super) server: Box<dyn Ask>,
    pub(super) how: How,
    /// Everything up to this key has been read.
    last: Option<Key>,
    /// The next page's size.
    pub(super) rows: usize,
    /// So many rows did not fit into a message.
    refused: usize,
    ended: bool,
    order: Order,
}

/// What a walk is to bring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct How {
    pub(super) is_int: bool,
    pub(super) keys_only: bool,
    pub(super) keep_columns: bool,
}

impl Pages {
    /// The rows behind `after`; all without it.
    pub fn new(target: Target, after: Option<Key>) -> Pages {
        let how = How { is_int: target.key.is_int, keys_only: target.keys_only, keep_columns: target.keep_columns };
        Pages::of(Box::new(Server::new(target)), how, after)
    }

    pub(super) fn of(server: Box<dyn Ask>, how: How, after: Option<Key>) -> Pages {
        let order = Order::ByKey { proved: false };
        Pages { server, how, last: after, rows: FIRST_ROWS, refused: MAX_ROWS + 1, ended: false, order }
    }

    /// The next page, never an empty one; `None` at the end. After an error the same page is read again.
    ///
    /// # Errors
    /// [`PageError`]
    pub fn next_page(&mut self) -> Result<Option<Page>, PageError> {
        while !self.ended {
            let answer = match &mut self.order {
                Order::ByKey { .. } if self.how.is_int && self.last.is_none() => self.smallest()?,
                Order::ByKey { .. } => self.next_by_key()?,
                Order::Any(ranges) => {
                    // Taken out while it works with the rest of this; put back whatever comes.
                    let mut ranges = std::mem::take(ranges);
                    let answer = ranges.next_answer(self);
                    self.order = Order::Any(ranges);
                    let answer = answer?;
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

    /// The smallest integer is asked for first, alone: it cannot be written, and a range without a lower end does not always have
    /// it (seen on 2.3.5).
    fn smallest(&mut self) -> Result<Option<Answer>, PageError> {
        let smallest = Key::Int(i64::MIN);
        let answer = self.ask((None, Some(&smallest)), MAX_ROWS, self.how.keys_only)?;
        self.last = Some(smallest);
        Ok((!answer.keys.is_empty()).then_some(answer))
    }

    /// One step of the walk by keys; `None` when there was nothing to take, or the order turned out to be another.
    fn next_by_key(&mut self) -> Result<Option<Answer>, PageError> {
        let limit = self.rows;
        let last = self.last.clone();
        let mut answer = match self.ask((last.as_ref(), None), limit, self.how.keys_only) {
            Err(error) if is_too_large(&error) && limit > 1 => {
                self.rows = limit / 2;
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
        if is_full && !(is_sorted && self.is_lowest(&answer)?) {
            log::info!("{} does not answer in the order of the keys: reading by ranges", self.object());
            self.order = Order::Any(Ranges::above(self.last.clone()));
            return Ok(None);
        }
        if !is_sorted {
            // All there is, in some order.
            answer = self.sort(answer)?;
            self.ended = true;
        }
        if is_full && !self.cut_last_key(&mut answer)? {
            return Ok(None);
        }
        self.last = answer.keys.last().cloned();
        self.refused = MAX_ROWS + 1;
        Ok(Some(answer))
    }

    /// The last key of a full page may be there again behind it: it is left to the next page. False when nothing is left: then the
    /// next page is larger.
    fn cut_last_key(&mut self, answer: &mut Answer) -> Result<bool, PageError> {
        let Some(last) = answer.keys.last().cloned() else { return Ok(false) };
        let keep = answer.keys.iter().position(|key| *key == last).unwrap_or(0);
        if keep == 0 {
            let larger = (self.rows * 2).min(self.refused - 1);
            if larger <= self.rows {
                // Rows so large that no more fit: their keys alone tell whether this is all of them.
                let before = self.last.clone();
                let range = (before.as_ref(), Some(&last));
                let found = self.ask(range, (answer.keys.len() + 1).min(MAX_ROWS), true)?;
                if found.keys.len() <= answer.keys.len() && answer.keys.len() < MAX_ROWS {
                    return Ok(true);
                }
                return Err(PageError::SameKey { object: self.object(), key: last });
            }
            self.rows = larger;
            return Ok(false);
        }
        answer.columns = self.pick(&answer.columns, answer.keys.len(), &(0..keep).collect::<Vec<_>>())?;
        answer.keys.truncate(keep);
        Ok(true)
    }

    /// Whether a full page holds the smallest keys of what was asked for: asked with the keys alone, until a page has shown it that is too
    /// long to be right by chance.
    fn is_lowest(&mut self, answer: &Answer) -> Result<bool, PageError> {
        if let Order::ByKey { proved: true } = self.order {
            return Ok(true);
        }
        let last = self.last.clone();
        let range = (last.as_ref(), answer.keys.last());
        let found = self.ask(range, (answer.keys.len() + 1).min(MAX_ROWS), true)?;
        let is_lowest = found.keys.len() <= answer.keys.len();
        self.order = Order::ByKey { proved: is_lowest && answer.keys.len() >= PROOF };
        Ok(is_lowest)
    }

    /// Asks for rows above one key and up to another. What comes must lie there, or the walk would never end or miss rows.
    pub(super) fn ask(
        &mut self,
        (low, high): (Option<&Key>, Option<&Key>),
        limit: usize,
        keys_only: bool,
    ) -> Result<Answer, PageError> {
        let answer = self.server.ask((low, high), limit, keys_only)?;
        let is_outside = |key: &&Key| low.is_some_and(|low| *key <= low) || high.is_some_and(|high| *key > high);
        match answer.keys.iter().find(is_outside) {
            None => Ok(answer),
            Some(key) => Err(PageError::Outside { object: self.object(), key: key.clone() }),
        }
    }

    /// The rows in the order of their keys.
    pub(super) fn sort(&self, answer: Answer) -> Result<Answer, PageError> {
        let Answer { keys, columns } = answer;
        let mut order: Vec<usize> = (0..keys.len()).collect();
        order.sort_by_key(|&index| &keys[index]);
        let columns = self.pick(&columns, keys.len(), &order)?;
        Ok(Answer { keys: order.into_iter().map(|index| keys[index].clone()).collect(), columns })
    }

    fn pick(&self, columns: &[Column], rows: usize, indexes: &[usize]) -> Result<Vec<Column>, PageError> {
        pick(columns, rows, Some(indexes)).map_err(|source| PageError::Rows { object: self.object(), source })
    }

    fn page(&mut self, answer: Answer) -> Result<Page, PageError> {
        let Answer { keys, columns } = answer;
        let bytes: usize = columns.iter().map(Column::len).sum();
        self.rows = (PAGE_BYTES / (bytes / keys.len().max(1)).max(1)).clamp(1, MAX_ROWS);
        let digests = if self.how.keys_only {
            vec![0; keys.len()]
        } else {
            digest(&columns, keys.len()).map_err(|source| PageError::Rows { object: self.object(), source })?
        };
        Ok(Page { keys, digests, columns: if self.how.keep_columns { columns } else { Vec::new() } })
    }

    pub(super) fn object(&self) -> String {
        self.server.object()
    }
}

/// The answer does not fit into a message: gRPC's limit, or that of the server (`quotaAndLimits.limits.maxOutputSize`).
pub(super) fn is_too_large(error: &PageError) -> bool {
    matches!(error, PageError::Call(error) if error.kind == ErrorKind::TooLarge || error.detail.contains("maxOutputSize"))
}

#[cfg(test)]
mod tests;
