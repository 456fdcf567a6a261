//! The rows of several operations as one request.

use std::collections::HashMap;

use super::collection::WritableCollection;
use super::keyset::KeySet;
use super::op::{Op, OpBody};
use crate::domain::{Column, Keys, Write};
use crate::milvus::field_data;
use crate::milvus::field_data::ColumnError;

/// The rows of several operations as one request holds them.
pub(super) struct MergedRows {
    pub(super) columns: Vec<Column>,
    pub(super) rows: usize,
}

/// Makes one request's rows of operations of one kind, partition and set of fields.
pub(super) fn merge_writes(
    write: Write,
    ops: Vec<Op>,
    info: &WritableCollection,
    keys: &mut KeySet,
) -> Result<MergedRows, ColumnError> {
    let mut columns: Vec<Column> = Vec::new();
    let mut rows = 0;
    for op in ops {
        let OpBody::Insert { rows: more, columns: more_columns } = op.body else { continue };
        let more_columns = info.shape.written(more_columns, more)?;
        rows += more;
        if columns.is_empty() {
            columns = more_columns;
        } else {
            columns.iter_mut().zip(more_columns).for_each(|(column, more)| column.append(more));
        }
        keys.extend(op.keys.unwrap_or_default());
    }
    // All merged operations have the same fields.
    columns = info.fields.without_gone(columns)?;
    if write == Write::Upsert && !keys.is_unique() {
        // An upsert request with one key twice would write both rows: only the last one is kept.
        let keep = last_of_each(&field_data::keys(&columns, &info.key.name)?);
        columns = field_data::pick(&columns, rows, &keep)?;
        rows = keep.len();
    }
    Ok(MergedRows { columns, rows })
}

/// The index of the last row of each key.
fn last_of_each(keys: &Keys) -> Vec<usize> {
    fn last<K: std::hash::Hash + Eq>(keys: &[K]) -> Vec<usize> {
        let last: HashMap<&K, usize> = keys.iter().enumerate().map(|(index, key)| (key, index)).collect();
        let mut indexes: Vec<usize> = last.into_values().collect();
        indexes.sort_unstable();
        indexes
    }
    match keys {
        Keys::Int(keys) => last(keys),
        Keys::Str(keys) => last(keys),
    }
}
