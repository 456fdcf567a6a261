//! Reading a collection page by page in the order of its keys.

use crate::milvus::rows::{Column, Place, Query};
use crate::milvus::{CallContext, Client, Error, ErrorKind};
use crate::pipeline::columns::{self, ColumnError};
use crate::source::Keys;
use crate::target::expression::quoted;

/// One key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    Int(i64),
    Str(String),
}

/// Rows that follow one another in the order of their keys.
pub(super) struct Page {
    pub(super) columns: Vec<Column>,
    pub(super) keys: Keys,
}

/// Why a page could not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum PageError {
    #[error(transparent)]
    Call(#[from] Error),
    #[error("{object}: {source}")]
    Columns { object: String, source: ColumnError },
    #[error("{0}: the server does not answer in the order of the keys")]
    Unordered(String),
}

/// Milvus answers at most so many rows to one query.
const MAX_ROWS: usize = 16_384;
/// What a page should weigh.
const PAGE_BYTES: usize = 4 << 20;

/// Walks over one partition (or all of a collection).
pub(super) struct Pages<'a> {
    client: &'a Client,
    context: &'a CallContext,
    place: Place,
    key: &'a str,
    fields: &'a [&'a str],
    is_int: bool,
    /// Everything up to this key has been read.
    last: Option<Key>,
    rows: usize,
    ended: bool,
}

impl<'a> Pages<'a> {
    pub(super) fn new(
        (client, context): (&'a Client, &'a CallContext),
        place: Place,
        (key, is_int): (&'a str, bool),
        fields: &'a [&'a str],
    ) -> Pages<'a> {
        Pages { client, context, place, key, fields, is_int, last: None, rows: 1000, ended: false }
    }

    /// The next page; `None` at the end. After an error the same page is read again.
    pub(super) fn next(&mut self) -> Result<Option<Page>, PageError> {
        while !self.ended {
            let expression = self.expression();
            let query = Query { expression: &expression, fields: self.fields, limit: Some(self.rows) };
            let columns = match self.client.query_rows(&self.place, &query, self.context) {
                Ok(columns) => columns,
                Err(error) if error.kind == ErrorKind::TooLarge && self.rows > 1 => {
                    self.rows /= 2;
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            if let Some(page) = self.take(columns)? {
                return Ok(Some(page));
            }
        }
        Ok(None)
    }

    fn take(&mut self, columns: Vec<Column>) -> Result<Option<Page>, PageError> {
        let object = || format!("{}.{}", self.place.db, self.place.collection);
        let keys = if columns.is_empty() {
            Keys::Int(Vec::new())
        } else {
            columns::keys(&columns, self.key).map_err(|source| PageError::Columns { object: object(), source })?
        };
        let minimum = self.is_int && self.last.is_none();
        let Some((ordered, last)) = order(&keys) else {
            // Nothing below the second smallest integer: go on above it.
            self.ended = !minimum;
            self.last = minimum.then_some(Key::Int(i64::MIN));
            return Ok(None);
        };
        if !ordered || self.last.as_ref().is_some_and(|before| last <= *before) {
            return Err(PageError::Unordered(object()));
        }
        self.ended = keys.len() < self.rows && !minimum;
        self.last = Some(last);
        let bytes: usize = columns.iter().map(Column::len).sum();
        self.rows = (PAGE_BYTES / (bytes / keys.len()).max(1)).clamp(1, MAX_ROWS);
        Ok(Some(Page { columns, keys }))
    }

    /// The rows behind the last key. The smallest integer cannot be written: it is asked for first, alone.
    fn expression(&self) -> String {
        match (&self.last, self.is_int) {
            (None, true) => format!("{} < {}", self.key, i64::MIN + 1),
            (None, false) => format!("{} >= \"\"", self.key),
            (Some(last), _) => above(self.key, last),
        }
    }
}

fn above(field: &str, key: &Key) -> String {
    match key {
        Key::Int(i64::MIN) => format!("{field} >= {}", i64::MIN + 1),
        Key::Int(key) => format!("{field} > {key}"),
        Key::Str(key) => format!("{field} > {}", quoted(key)),
    }
}

/// An expression for keys above `low` and up to `high`.
pub(super) fn between(field: &str, low: Option<&Key>, high: Option<&Key>) -> String {
    let high = high.map(|high| match high {
        Key::Int(i64::MIN) => format!("{field} < {}", i64::MIN + 1),
        Key::Int(key) => format!("{field} <= {key}"),
        Key::Str(key) => format!("{field} <= {}", quoted(key)),
    });
    let low = low.map(|low| above(field, low));
    [low, high].into_iter().flatten().collect::<Vec<String>>().join(" and ")
}

/// Whether the keys increase (a key that is there twice may repeat), and the last one; `None` for no keys.
fn order(keys: &Keys) -> Option<(bool, Key)> {
    match keys {
        Keys::Int(keys) => Some((keys.is_sorted(), Key::Int(*keys.last()?))),
        Keys::Str(keys) => Some((keys.is_sorted(), Key::Str(keys.last()?.clone()))),
    }
}

/// Every key of a list.
pub(super) fn each(keys: &Keys) -> Vec<Key> {
    match keys {
        Keys::Int(keys) => keys.iter().copied().map(Key::Int).collect(),
        Keys::Str(keys) => keys.iter().cloned().map(Key::Str).collect(),
    }
}

/// The reverse of [`each`]; all keys are of one kind.
pub(super) fn collect(keys: Vec<Key>) -> Keys {
    if let Some(Key::Str(_)) = keys.first() {
        let text = |key| if let Key::Str(key) = key { Some(key) } else { None };
        return Keys::Str(keys.into_iter().filter_map(text).collect());
    }
    let integer = |key| if let Key::Int(key) = key { Some(key) } else { None };
    Keys::Int(keys.into_iter().filter_map(integer).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_as_the_server_can_read_them() {
        assert_eq!(between("id", None, Some(&Key::Int(i64::MIN))), "id < -9223372036854775807");
        assert_eq!(
            between("id", Some(&Key::Int(i64::MIN)), Some(&Key::Int(-5))),
            "id >= -9223372036854775807 and id <= -5"
        );
        assert_eq!(between("k", Some(&Key::Str("a\"".into())), None), r#"k > "a\"""#);
    }

    #[test]
    fn order_of_keys() {
        assert_eq!(order(&Keys::Int(vec![-3, 1, 1])), Some((true, Key::Int(1))));
        assert_eq!(order(&Keys::Int(vec![2, 1])), Some((false, Key::Int(1))));
        assert_eq!(order(&Keys::Int(vec![])), None);
        let keys = Keys::Str(vec!["a".into(), "b".into()]);
        assert_eq!(collect(each(&keys)), keys);
    }
}
