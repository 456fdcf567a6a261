//! Removing what the source no longer has.

use std::collections::BTreeSet;

use super::pages::{Key, PageError, between, collect, each};
use super::step::StepError;
use crate::milvus::rows::{Place, Query};
use crate::pipeline::{KeyField, columns};
use crate::target::Writer;

/// Keys asked for at once.
const LIMIT: usize = 8192;

/// Removes the target's rows between two keys that are not among `keep`.
pub(super) fn prune(
    target: &Writer<'_>,
    place: &Place,
    field: &KeyField,
    (low, high): (Option<&Key>, Option<&Key>),
    keep: &[Key],
) -> Result<(), StepError> {
    let key = field.name.as_str();
    let keep: BTreeSet<&Key> = keep.iter().collect();
    let object = || format!("{}.{}", place.db, place.collection);
    let mut low = low.cloned();
    loop {
        let range = match between(key, low.as_ref(), high) {
            unlimited if unlimited.is_empty() => everything(field),
            range => range,
        };
        let query = Query { expression: &range, fields: &[key], limit: Some(LIMIT) };
        let found = target.client.query_rows(place, &query, target.context)?;
        if found.is_empty() {
            return Ok(());
        }
        let found = columns::keys(&found, key).map_err(|source| PageError::Columns { object: object(), source })?;
        let found = each(&found);
        if !found.is_sorted() {
            return Err(PageError::Unordered(object()).into());
        }
        let (count, last) = (found.len(), found.last().cloned());
        let extra: Vec<Key> = found.into_iter().filter(|key| !keep.contains(key)).collect();
        if !extra.is_empty() {
            log::info!("{}: removing {} rows that the source no longer has", object(), extra.len());
            target.delete(place, key, &collect(extra))?;
        }
        if count < LIMIT || last <= low {
            return Ok(());
        }
        low = last;
    }
}

fn everything(field: &KeyField) -> String {
    if field.is_int { format!("{} <= {}", field.name, i64::MAX) } else { format!("{} >= \"\"", field.name) }
}
