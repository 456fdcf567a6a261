//! Looks up rows by their keys.

use std::collections::BTreeMap;

use super::recheck::RowDigests;
use crate::domain::{Column, RowLocation};
use crate::milvus::rows::{Consistency, Extent, Query};
use crate::milvus::{CallContext, Client, field_data};
use crate::scan::{Key, PageError, Projection, any_of, digest};

/// Keys per call: as many as one expression holds, because each call waits for the server's next time tick.
const KEYS: usize = 4096;
/// Row limit of a call: more than its keys have, unless many are duplicates.
const LIMIT: usize = 16_384;

/// Where and how rows are looked up.
pub(crate) struct Lookup<'a> {
    pub(crate) client: &'a Client,
    pub(crate) context: &'a CallContext,
    pub(crate) place: &'a RowLocation,
    /// Name of the primary key's field.
    pub(crate) key_field: &'a str,
    pub(crate) projection: Projection,
}

impl Lookup<'_> {
    /// The digests of the rows that the server has for these keys now; for a duplicate key, those of every row.
    pub(crate) fn digests(&self, keys: &[Key]) -> Result<BTreeMap<Key, RowDigests>, PageError> {
        let mut found = BTreeMap::new();
        let mut size = KEYS;
        let mut left = keys;
        while !left.is_empty() {
            let (now, later) = left.split_at(size.min(left.len()));
            match self.digests_of_chunk(now) {
                Ok(some) => {
                    found.extend(some);
                    left = later;
                }
                Err(PageError::Call(error)) if error.is_response_too_large() && size > 1 => size /= 2,
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    fn digests_of_chunk(&self, keys: &[Key]) -> Result<BTreeMap<Key, RowDigests>, PageError> {
        let object = || self.place.object();
        let fields = [self.projection.output_field(self.key_field)];
        let (extent, consistency) = (Extent::AtMost(LIMIT), Consistency::Strong);
        let mut found: BTreeMap<Key, RowDigests> = BTreeMap::new();
        for expression in any_of(self.key_field, keys) {
            let query = Query { expression: &expression, fields: &fields, extent, consistency };
            let columns = self.client.query_rows(self.place, &query, self.context)?;
            if columns.iter().all(Column::is_empty) {
                continue;
            }
            let there = field_data::keys(&columns, self.key_field)
                .map_err(|source| PageError::Columns { object: object(), source })?;
            let there = Key::each(there);
            let digests = match self.projection {
                Projection::Key => vec![0; there.len()],
                Projection::AllFields => {
                    digest(&columns, there.len()).map_err(|source| PageError::Rows { object: object(), source })?
                }
            };
            for (key, digest) in there.into_iter().zip(digests) {
                found.entry(key).or_default().insert(digest);
            }
        }
        Ok(found)
    }
}
