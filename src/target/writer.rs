//! Carrying out one piece of work on the target, whatever it takes short of waiting: splitting what is too large.

use crate::milvus::rows::{Consistency, Place, Query, Rows, Write};
use crate::milvus::{CallContext, Client, Error, ErrorKind};
use crate::pipeline::KeyField;
use crate::pipeline::columns::{self, ColumnError};
use crate::source::Keys;

use super::expression;

/// A piece of work that was not done.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The target refused or did not answer.
    #[error(transparent)]
    Call(#[from] Error),
    /// The rows had to be split and could not be.
    #[error("{object}: the rows are too large for one message and cannot be split: {source}")]
    Columns {
        /// Database and collection.
        object: String,
        /// Why not.
        source: ColumnError,
    },
}

/// Writes rows of one place.
pub struct Writer<'a> {
    /// Where to.
    pub client: &'a Client,
    /// How long one call may take.
    pub context: &'a CallContext,
}

impl Writer<'_> {
    /// Writes rows, in halves when they are too large for the target.
    ///
    /// # Errors
    /// [`WriteError`]; a part of the rows may have been written.
    pub fn write(&self, write: Write, rows: &Rows) -> Result<(), WriteError> {
        let count = rows.count();
        let too_large = match self.client.write_rows(write, rows, self.context) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind == ErrorKind::TooLarge && count > 1 => error,
            Err(error) => return Err(error.into()),
        };
        log::info!("{too_large}: writing {count} rows in halves");
        for (from, to) in [(0, count / 2), (count / 2, count)] {
            let indexes: Vec<usize> = (from..to).collect();
            let half = rows
                .columns()
                .map_err(ColumnError::from)
                .and_then(|columns| columns::pick(&columns, count, &indexes))
                .map_err(|source| WriteError::Columns { object: too_large.object.clone(), source })?;
            self.write(write, &rows.with(half, to - from))?;
        }
        Ok(())
    }

    /// Removes every row: by one call where the target has it, else key by key.
    ///
    /// # Errors
    /// [`WriteError`]; a part of the rows may be gone.
    pub fn truncate(&self, place: &Place, key: &KeyField) -> Result<(), WriteError> {
        match self.client.truncate_collection(&place.db, &place.collection, self.context) {
            Err(error) if error.kind == ErrorKind::Unimplemented => self.delete_all(place, key),
            outcome => Ok(outcome?),
        }
    }

    fn delete_all(&self, place: &Place, key: &KeyField) -> Result<(), WriteError> {
        const LIMIT: usize = 8192;
        let name = key.name.as_str();
        let everything = if key.is_int { format!("{name} <= {}", i64::MAX) } else { format!("{name} >= \"\"") };
        let query =
            Query { expression: &everything, fields: &[name], limit: Some(LIMIT), consistency: Consistency::Strong };
        loop {
            let found = self.client.query_rows(place, &query, self.context)?;
            if found.is_empty() {
                return Ok(());
            }
            let object = || format!("{}.{}", place.db, place.collection);
            let keys =
                columns::keys(&found, name).map_err(|source| WriteError::Columns { object: object(), source })?;
            if keys.is_empty() {
                return Ok(());
            }
            self.delete(place, name, &keys)?;
        }
    }

    /// Deletes rows by their keys.
    ///
    /// # Errors
    /// [`WriteError`]; a part of the keys may have been deleted.
    pub fn delete(&self, place: &Place, key_field: &str, keys: &Keys) -> Result<(), WriteError> {
        for expression in expression::any_of(key_field, keys) {
            self.client.delete_rows(place, &expression, self.context)?;
        }
        Ok(())
    }
}
