//! Rows by their keys.

use std::collections::BTreeMap;

use super::recheck::Shown;
use crate::milvus::rows::{Column, Consistency, Place, Query};
use crate::milvus::{CallContext, Client, ErrorKind};
use crate::pipeline::columns;
use crate::scan::{Key, PageError, any_of, digest};

/// Keys of one call: as many as an expression holds, because each call waits for the server's next tick.
const KEYS: usize = 4096;
/// More than a call's keys can have, unless many are there twice.
const LIMIT: usize = 16_384;

/// What a server shows of these keys now; of a key that is there more than once, every row.
pub(super) fn lookup(
    (client, context): (&Client, &CallContext),
    place: &Place,
    key_field: &str,
    keys: &[Key],
    keys_only: bool,
) -> Result<BTreeMap<Key, Shown>, PageError> {
    let mut found = BTreeMap::new();
    let mut size = KEYS;
    let mut left = keys;
    while !left.is_empty() {
        let (now, later) = left.split_at(size.min(left.len()));
        match lookup_some((client, context), place, key_field, now, keys_only) {
            Ok(some) => {
                found.extend(some);
                left = later;
            }
            Err(PageError::Call(error)) if error.kind == ErrorKind::TooLarge && size > 1 => size /= 2,
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

fn lookup_some(
    (client, context): (&Client, &CallContext),
    place: &Place,
    key_field: &str,
    keys: &[Key],
    keys_only: bool,
) -> Result<BTreeMap<Key, Shown>, PageError> {
    let object = || format!("{}.{}", place.db, place.collection);
    let fields = [if keys_only { key_field } else { "*" }];
    let mut found: BTreeMap<Key, Shown> = BTreeMap::new();
    for expression in any_of(key_field, keys) {
        let query =
            Query { expression: &expression, fields: &fields, limit: Some(LIMIT), consistency: Consistency::Strong };
        let columns = client.query_rows(place, &query, context)?;
        if columns.iter().all(Column::is_empty) {
            continue;
        }
        let there =
            columns::keys(&columns, key_field).map_err(|source| PageError::Columns { object: object(), source })?;
        let there = Key::each(there);
        let digests = match keys_only {
            true => vec![0; there.len()],
            false => digest(&columns, there.len()).map_err(|source| PageError::Rows { object: object(), source })?,
        };
        for (key, digest) in there.into_iter().zip(digests) {
            found.entry(key).or_default().insert(digest);
        }
    }
    Ok(found)
}
