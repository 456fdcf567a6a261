/*!
Two streams of rows in the order of their keys, side by side: what only the left one has, what only the right one has, and what
differs. The left one comes in pages, whose rows may have to be written; the right one row by row.

A key that is there more than once stands for one row. It is equal when any of its rows is equal to any on the other side, because
which of them a server shows is its own business; where it differs, the last one is the row.
*/

use std::collections::{BTreeSet, btree_set};
use std::iter::Peekable;

use super::key::Key;
use super::pages::{Page, PageError};
use super::{Digest, ScanError};

/// A stream of pages, in order.
pub trait Left {
    /// The next page; `None` at the end.
    ///
    /// # Errors
    /// It cannot be read now. The next call tries again.
    fn next_page(&mut self) -> Result<Option<Page>, ScanError>;

    /// Database and collection, for messages.
    fn object(&self) -> String;
}

/// A stream of rows, in order.
pub trait Right {
    /// The next row; `None` at the end.
    ///
    /// # Errors
    /// It cannot be read now. The next call tries again.
    fn next_entry(&mut self) -> Result<Option<Entry>, ScanError>;
}

impl<R: Right + ?Sized> Right for Box<R> {
    fn next_entry(&mut self) -> Result<Option<Entry>, ScanError> {
        (**self).next_entry()
    }
}

/// One row of the right stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its key.
    pub key: Key,
    /// Its digest; `None` when nobody knows what is there, which differs from everything.
    pub digest: Option<Digest>,
}

/// A right stream without rows.
#[derive(Debug, Clone, Copy)]
pub struct Nothing;

impl Right for Nothing {
    fn next_entry(&mut self) -> Result<Option<Entry>, ScanError> {
        Ok(None)
    }
}

/// A right stream of which some rows are not known for sure.
pub struct Overlay<R> {
    below: R,
    peeked: Option<Entry>,
    unknown: Peekable<btree_set::IntoIter<Key>>,
}

impl<R: Right> Overlay<R> {
    /// `below`, but nobody knows what is there for the keys of `unknown`.
    pub fn new(below: R, unknown: BTreeSet<Key>) -> Overlay<R> {
        Overlay { below, peeked: None, unknown: unknown.into_iter().peekable() }
    }
}

impl<R: Right> Right for Overlay<R> {
    fn next_entry(&mut self) -> Result<Option<Entry>, ScanError> {
        loop {
            if self.peeked.is_none() {
                self.peeked = self.below.next_entry()?;
            }
            match (self.unknown.peek(), &self.peeked) {
                // What lies below says nothing.
                (Some(unknown), Some(below)) if *unknown == below.key => self.peeked = None,
                (Some(unknown), Some(below)) if *unknown > below.key => return Ok(self.peeked.take()),
                (Some(_), _) => return Ok(self.unknown.next().map(|key| Entry { key, digest: None })),
                (None, _) => return Ok(self.peeked.take()),
            }
        }
    }
}

/// The differences of one stretch of keys.
#[derive(Debug)]
pub struct Step {
    /// The left rows of the stretch.
    pub page: Page,
    /// Indexes of rows in `page` that only the left stream has, one a key.
    pub added: Vec<usize>,
    /// Indexes of rows in `page` that are another on the right.
    pub changed: Vec<usize>,
    /// Keys that only the right stream has.
    pub removed: Vec<Key>,
    /// Different keys of `page`.
    pub keys: usize,
    /// Everything up to this key is in this step or an earlier one, and nothing behind it.
    pub up_to: Key,
}

/// So many keys that only the right stream has end a step, within a page, too: whoever writes a step keeps its keys.
const MAX_REMOVED: usize = 8192;

/// What was found since the last step.
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
    /// The right stream's next row, once it was asked for; `Some(None)` at its end.
    peeked: Option<Option<Entry>>,
    /// The page that is being compared, and how many of its rows have been. Empty: the next one is to be read.
    page: Page,
    at: usize,
    left_ended: bool,
    differences: Differences,
    /// Of the key at hand: the right stream has it (true: equal), as far as it was read.
    found: Option<bool>,
    max_removed: usize,
}

impl<L: Left, R: Right> Merge<L, R> {
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
    pub fn next_step(&mut self) -> Result<Option<Step>, ScanError> {
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

    /// What was found up to the key at hand; the rows from there on are a page of their own. `None` when there is nothing.
    fn end_step(&mut self) -> Result<Option<Step>, ScanError> {
        let page = self.page.split_to(self.at);
        let page = page.map_err(|source| PageError::Rows { object: self.left.object(), source })?;
        self.at = 0;
        let Differences { added, changed, removed, keys } = std::mem::take(&mut self.differences);
        // Either may be the last: the removed keys may lie before a row, or behind it.
        let up_to = page.keys.last().max(removed.last()).cloned();
        Ok(up_to.map(|up_to| Step { page, added, changed, removed, keys, up_to }))
    }

    /// Compares the key at hand. False when so much was removed before it that the step must end first.
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

    /// Takes one row that only the right stream has. False when the step has enough of them.
    fn take_removed(&mut self, entry: Entry) -> bool {
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

    fn peek(&mut self) -> Result<Option<&Entry>, ScanError> {
        if self.peeked.is_none() {
            self.peeked = Some(self.right.next_entry()?);
        }
        Ok(self.peeked.as_ref().and_then(Option::as_ref))
    }
}

#[cfg(test)]
mod tests;
