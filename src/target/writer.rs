//! Carrying out one piece of work on the target, whatever it takes short of waiting: splitting what is too large.

use crate::milvus::rows::{Place, Rows, Write};
use crate::milvus::{CallContext, Client, Error, ErrorKind};
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
