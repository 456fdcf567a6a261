/*!
Compares two streams of rows in the order of their keys: rows that only the left one has, rows that only the right one
has, and rows that differ. The left stream comes in pages, whose rows may have to be written; the right one row by row.

A duplicate key counts as one row. It is equal if any of its rows equals any on the other side, because a server may
show any of them; if it differs, its last row counts.
*/

use std::collections::{BTreeSet, btree_set};
use std::iter::Peekable;

use super::digest::Digest;
use super::error::{PageError, ScanError};
use super::key::Key;
use super::pages::Page;

/// A stream of pages, in order.
pub trait PageStream {
    /// The next page; `None` at the end.
    ///
    /// # Errors
    /// The stream cannot be read now. The next call tries again.
    fn next_page(&mut self) -> Result<Option<Page>, ScanError>;

    /// Database and collection, for messages.
    fn object(&self) -> String;
}

/// A stream of rows, in order.
pub trait RowStream {
    /// The next row; `None` at the end.
    ///
    /// # Errors
    /// The stream cannot be read now. The next call tries again.
    fn next_entry(&mut self) -> Result<Option<RowEntry>, ScanError>;
}

impl<R: RowStream + ?Sized> RowStream for Box<R> {
    fn next_entry(&mut self) -> Result<Option<RowEntry>, ScanError> {
        (**self).next_entry()
    }
}

/// One row of the right stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowEntry {
    /// Its key.
    pub key: Key,
    /// Its digest; `None` if the contents are unknown: such a row differs from every other.
    pub digest: Option<Digest>,
}

/// A stream without rows.
#[derive(Debug, Clone, Copy)]
pub struct EmptyStream;

impl RowStream for EmptyStream {
    fn next_entry(&mut self) -> Result<Option<RowEntry>, ScanError> {
        Ok(None)
    }
}

/// A stream of rows with unknown contents for some keys.
pub struct Overlay<R> {
    below: R,
    peeked: Option<RowEntry>,
    unknown: Peekable<btree_set::IntoIter<Key>>,
}

impl<R: RowStream> Overlay<R> {
    /// `below`, with unknown contents for the keys in `unknown`.
    pub fn new(below: R, unknown: BTreeSet<Key>) -> Overlay<R> {
        Overlay { below, peeked: None, unknown: unknown.into_iter().peekable() }
    }
}

impl<R: RowStream> RowStream for Overlay<R> {
    fn next_entry(&mut self) -> Result<Option<RowEntry>, ScanError> {
        loop {
            if self.peeked.is_none() {
                self.peeked = self.below.next_entry()?;
            }
            match (self.unknown.peek(), &self.peeked) {
                // The contents below are outdated.
                (Some(unknown), Some(below)) if *unknown == below.key => self.peeked = None,
                (Some(unknown), Some(below)) if *unknown > below.key => return Ok(self.peeked.take()),
                (Some(_), _) => return Ok(self.unknown.next().map(|key| RowEntry { key, digest: None })),
                (None, _) => return Ok(self.peeked.take()),
            }
        }
    }
}

/// The differences within one range of keys.
#[derive(Debug)]
pub struct MergeStep {
    /// The left rows of the range.
    pub page: Page,
    /// Indexes in `page` of rows that only the left stream has, one per key.
    pub added: Vec<usize>,
    /// Indexes in `page` of rows whose contents differ on the right.
    pub changed: Vec<usize>,
    /// Keys that only the right stream has.
    pub removed: Vec<Key>,
    /// Number of distinct keys in `page`.
    pub keys: usize,
    /// The end of the range, inclusive: all keys up to here are in this step or an earlier one.
    pub up_to: Key,
}

/// A step ends, even within a page, after this many keys that only the right stream has: bounds the memory for a step.
const MAX_REMOVED: usize = 8192;

/// The differences found since the last step.
#[derive(Default)]
struct Differences {
    added: Vec<usize>,
    changed: Vec<usize>,
    removed: Vec<Key>,
    keys: usize,
}

/// Walks over both streams.
pub struct Merge<L, R> {
    left: L,
    right: R,
    /// The right stream's next row, once it was read; `Some(None)` at its end.
    peeked: Option<Option<RowEntry>>,
    /// The page that is being compared, and the number of its compared rows. Empty: the next page has to be read.
    page: Page,
    at: usize,
    left_ended: bool,
    differences: Differences,
    /// Whether the right stream has the current key (true: equal), as far as it was read.
    found: Option<bool>,
    max_removed: usize,
}

impl<L: PageStream, R: RowStream> Merge<L, R> {
    /// Both streams begin at one key.
    pub fn new(left: L, right: R) -> Merge<L, R> {
        Merge {
            left,
            right,
            peeked: None,
            page: Page::default(),
            at: 0,
            left_ended: false,
            differences: Differences::default(),
            found: None,
            max_removed: MAX_REMOVED,
        }
    }

    /// The next stretch; `None` when both streams have ended.
    ///
    /// # Errors
    /// A stream cannot be read now. The next call goes on.
    pub fn next_step(&mut self) -> Result<Option<MergeStep>, ScanError> {
        while self.page.keys.is_empty() && !self.left_ended {
            match self.left.next_page()? {
                Some(page) => self.page = page,
                None => self.left_ended = true,
            }
        }
        while self.at < self.page.keys.len() {
            if !self.compare_key()? {
                return self.end_step();
            }
        }
        if self.page.keys.is_empty() {
            while let Some(entry) = self.peek()?.cloned() {
                if !self.take_removed(entry) {
                    break;
                }
            }
        }
        self.end_step()
    }

    /// What was found up to the key at hand; the rows from there on are a page of their own. `None` when there is
    /// nothing.
    fn end_step(&mut self) -> Result<Option<MergeStep>, ScanError> {
        let page = self.page.split_to(self.at);
        let page = page.map_err(|source| PageError::Rows { object: self.left.object(), source })?;
        self.at = 0;
        let Differences { added, changed, removed, keys } = std::mem::take(&mut self.differences);
        // Removed keys may lie before the last row, or behind it.
        let up_to = page.keys.last().max(removed.last()).cloned();
        Ok(up_to.map(|up_to| MergeStep { page, added, changed, removed, keys, up_to }))
    }

    /// Compares the current key. Returns false if so many keys were removed before it that the step must end first.
    fn compare_key(&mut self) -> Result<bool, ScanError> {
        let Some(key) = self.page.keys.get(self.at).cloned() else { return Ok(true) };
        while let Some(entry) = self.peek()?.filter(|entry| entry.key < key).cloned() {
            if !self.take_removed(entry) {
                return Ok(false);
            }
        }
        let end = self.at + self.page.keys[self.at..].iter().take_while(|other| **other == key).count();
        while let Some(entry) = self.peek()?.filter(|entry| entry.key == key) {
            let digest = entry.digest;
            let is_equal = digest.is_some_and(|digest| self.page.digests[self.at..end].contains(&digest));
            self.found = Some(self.found.unwrap_or(false) || is_equal);
            self.peeked = None;
        }
        match self.found.take() {
            Some(true) => {}
            Some(false) => self.differences.changed.push(end - 1),
            None => self.differences.added.push(end - 1),
        }
        self.differences.keys += 1;
        self.at = end;
        Ok(true)
    }

    /// Takes a row that only the right stream has. Returns false if the step is full.
    fn take_removed(&mut self, entry: RowEntry) -> bool {
        let removed = &mut self.differences.removed;
        if removed.last() != Some(&entry.key) {
            if removed.len() >= self.max_removed {
                return false;
            }
            removed.push(entry.key);
        }
        self.peeked = None;
        true
    }

    fn peek(&mut self) -> Result<Option<&RowEntry>, ScanError> {
        if self.peeked.is_none() {
            self.peeked = Some(self.right.next_entry()?);
        }
        Ok(self.peeked.as_ref().and_then(Option::as_ref))
    }
}

#[cfg(test)]
mod tests;
