//! Writes, deletes and truncates on the target without retrying: splits requests that are too large, sets rows aside
//! that the target refuses for good, truncates key by key where the server has no call for it.

use std::collections::BTreeSet;
use std::time::Duration;

use super::refused_rows::RefusedRowsFile;
use crate::domain::{CollectionId, CollectionName, Column, KeyField, Keys, RowLocation, Timestamp, Write};
use crate::milvus::capabilities::RowRemoval;
use crate::milvus::field_data::ColumnError;
use crate::milvus::rows::{Consistency, Extent, Query, WriteRequest};
use crate::milvus::{
    CallContext, Error, ErrorKind, MarkedClient, RetryPolicy, WitnessRow, expression, field_data, retry_policy,
};
use crate::pipeline::{Replacement, WritableCollection};
use crate::task::refused_rows::RefusedRow;

/// How long half of a call waits for a target that limits the rate of writes.
const SHORTEST_WAIT: Duration = Duration::from_millis(20);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Why a write was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The call failed.
    #[error(transparent)]
    Call(#[from] Error),
    /// A call failed after others of the same write had succeeded: some of the rows have been written.
    #[error(transparent)]
    Partly(Error),
    /// The rows exceed a message, or are to be replaced, and cannot be told apart.
    #[error("{object}: the rows have to be split, or their keys deleted first, and cannot be read: {source}")]
    Columns {
        /// Database and collection.
        object: String,
        /// Why they cannot be told apart.
        source: ColumnError,
    },
}

impl WriteError {
    /// The failed call; `None` if there was none.
    pub fn call(&self) -> Option<&Error> {
        match self {
            WriteError::Call(error) | WriteError::Partly(error) => Some(error),
            WriteError::Columns { .. } => None,
        }
    }

    /// Nothing of the write has had an effect: it can be repeated as what it was.
    pub fn is_without_effect(&self) -> bool {
        matches!(self, WriteError::Call(error) if error.is_refused_before_execution())
    }
}

/// Writes to one target.
pub struct Writer<'a> {
    /// The connection to the target, with the mark of what is written.
    pub client: MarkedClient<'a>,
    /// The limits of each call.
    pub context: &'a CallContext,
    /// The collection that is written.
    pub collection: &'a WritableCollection,
    /// Where rows go that the target refuses for good; `None`: nowhere, the write fails.
    pub refused: Option<RefusalOutlet<'a>>,
}

/// Where rows of one call go that the target refuses for good.
#[derive(Debug, Clone, Copy)]
pub struct RefusalOutlet<'a> {
    /// The file.
    pub file: &'a RefusedRowsFile,
    /// The physical channel that the rows were read from; empty if they come from no channel.
    pub channel: &'a str,
    /// The latest timestamp of the rows; zero if they come from no channel.
    pub latest: Timestamp,
}

impl RefusalOutlet<'_> {
    /// Sets one row aside; else answers the error with the reason why it was not.
    fn take(&self, collection: &WritableCollection, rows: &WriteRequest, mut error: Error) -> Result<(), Error> {
        let taken = self.row(collection, rows, &error).and_then(|(row, columns)| {
            let key = row.key.clone();
            self.file.add(row, &columns).map_err(|error| error.to_string()).map(|()| key)
        });
        match taken {
            Ok(key) => {
                log::warn!("{error}: the row with the key {key} is set aside");
                Ok(())
            }
            Err(why) => {
                error.detail = format!("{} (it cannot be set aside: {why})", error.detail);
                Err(error)
            }
        }
    }

    /// Ends rows of a collection that were set aside. One that stays in the file is compared with the source before it
    /// is applied.
    fn outdate(&self, collection: CollectionId, is_outdated: impl Fn(&str) -> bool) {
        if let Err(error) = self.file.outdate(collection, is_outdated) {
            log::warn!("{error}: a row stays set aside although a later change of its key has arrived");
        }
    }

    fn row(
        &self,
        collection: &WritableCollection,
        rows: &WriteRequest,
        error: &Error,
    ) -> Result<(RefusedRow, Vec<Column>), String> {
        let columns = rows.columns().map_err(|error| ColumnError::from(error).to_string())?;
        let keys = field_data::keys(&columns, &collection.key.name).map_err(|error| error.to_string())?;
        let key = (!keys.is_empty()).then(|| key_text(&keys, 0));
        let row = RefusedRow {
            number: 0,
            collection_id: collection.id.0,
            target: rows.place().object(),
            partition: rows.place().partition.clone(),
            key: key.ok_or("it has no key")?,
            channel: self.channel.to_owned(),
            timestamp: self.latest.0,
            since_ms: Timestamp::now().physical_ms(),
            reason: error.to_string(),
        };
        Ok((row, columns))
    }
}

/// A key as [`RefusedRow::key`] has it.
fn key_text(keys: &Keys, index: usize) -> String {
    match keys {
        Keys::Int(keys) => keys[index].to_string(),
        Keys::Str(keys) => format!("{:?}", keys[index]),
    }
}

/// Whether the target refuses these rows for good, and not the call or the collection.
fn is_about_rows(error: &Error) -> bool {
    let is_refusal = matches!(error.kind, ErrorKind::TooLarge | ErrorKind::Server { .. });
    is_refusal && !error.is_object_missing() && retry_policy(error) == RetryPolicy::Stop
}

impl Writer<'_> {
    /// Writes rows; splits them into halves if they are too large for the target, or if single ones that it refuses are
    /// to be set aside, or would keep others from being replaced. Of a row that is refused when it is to replace
    /// another one, the old one is gone: the source does not have it any more.
    ///
    /// # Errors
    /// [`WriteError`]; some of the rows may have been written.
    pub fn write(&self, write: Write, rows: &WriteRequest) -> Result<(), WriteError> {
        let count = rows.count();
        let error = match self.send(write, rows) {
            Ok(()) => {
                self.outdate_refused(|| rows.columns().ok().and_then(|columns| self.keys(&columns)));
                return Ok(());
            }
            Err(WriteError::Call(error)) => error,
            Err(error) => return Err(error),
        };
        let refused = self.refused.filter(|_| is_about_rows(&error));
        match refused {
            Some(refused) if count <= 1 => return Ok(refused.take(self.collection, rows, error)?),
            Some(_) => {}
            None if count > 1 && (error.kind == ErrorKind::TooLarge || self.has_deleted(write, &error)) => {}
            None => return Err(error.into()),
        }
        log::info!("{error}: writing {count} rows in halves");
        let mut refusal = None;
        for (from, to) in [(0, count / 2), (count / 2, count)] {
            let indexes: Vec<usize> = (from..to).collect();
            let half = rows
                .columns()
                .map_err(ColumnError::from)
                .and_then(|columns| field_data::pick(&columns, count, &indexes))
                .map_err(|source| WriteError::Columns { object: error.object.clone(), source })?;
            match self.write_half(write, &rows.with(half, to - from)) {
                // The other half has been deleted as well, and must not be missing for this one's sake.
                Err(error) if error.call().is_some_and(|call| self.has_deleted(write, call)) => {
                    refusal = refusal.or(Some(error));
                }
                Err(WriteError::Call(error)) if from > 0 => return Err(WriteError::Partly(error)),
                outcome => outcome?,
            }
        }
        match refusal {
            Some(WriteError::Call(error)) => Err(WriteError::Partly(error)),
            other => other.map_or(Ok(()), Err),
        }
    }

    /// Whether rows were deleted to be replaced, and the target has then refused the new ones for good.
    fn has_deleted(&self, write: Write, refusal: &Error) -> bool {
        let is_replacement = write == Write::Upsert && self.collection.replacement == Replacement::DeleteAndInsert;
        is_replacement && refusal.method == "Insert" && is_about_rows(refusal)
    }

    /// Writes half of a call, in the time that a limit of the target allows. The whole of it would be let in and
    /// refused again, as often as it is repeated.
    fn write_half(&self, write: Write, rows: &WriteRequest) -> Result<(), WriteError> {
        loop {
            let outcome = self.write(write, rows);
            let Err(WriteError::Call(error)) = &outcome else { return outcome };
            let Some(rate) = error.rate_limit() else { return outcome };
            log::info!("{error}: half of a call waits for that");
            let pause = Duration::from_secs_f64((rows.bytes() as f64 / rate).min(LONGEST_WAIT.as_secs_f64()));
            if self.context.cancel.sleep(pause.max(SHORTEST_WAIT)) {
                return outcome;
            }
        }
    }

    /// Writes rows as they are. A failure in the middle of a replacement is one of the whole: repeated, it deletes
    /// again what it may have inserted.
    fn send(&self, write: Write, rows: &WriteRequest) -> Result<(), WriteError> {
        if write == Write::Insert || self.collection.replacement == Replacement::Upsert {
            self.client.write_rows(write, rows, self.context)?;
            self.witness(rows);
            return Ok(());
        }
        let key = &self.collection.key.name;
        let keys = rows.columns().map_err(ColumnError::from).and_then(|columns| field_data::keys(&columns, key));
        let keys = keys.map_err(|source| WriteError::Columns { object: rows.place().object(), source })?;
        self.delete(rows.place(), key, &keys)?;
        self.client.write_rows(Write::Insert, rows, self.context)?;
        self.witness(rows);
        Ok(())
    }

    /// The target must have these rows from now on; one of them stands for all. One that expires does not.
    fn witness(&self, rows: &WriteRequest) {
        let (witnesses, key) = (self.client.client().witnesses(), &self.collection.key.name);
        if self.collection.ttl.is_some() || !witnesses.wants(rows.place()) {
            return;
        }
        let first = rows.columns().ok().and_then(|columns| match self.keys(&columns)? {
            Keys::Int(keys) => keys.first().map(|key| Keys::Int(vec![*key])),
            Keys::Str(keys) => keys.first().map(|key| Keys::Str(vec![key.clone()])),
        });
        let expression = first.and_then(|first| expression::any_of(key, &first).pop());
        if let Some(expression) = expression {
            witnesses.wrote(WitnessRow::new(rows.place(), expression));
        }
    }

    /// Removes every row: with one call if the target has it, else key by key.
    ///
    /// # Errors
    /// [`WriteError`]; some of the rows may have been removed.
    pub fn truncate(&self, place: &RowLocation, key: &KeyField) -> Result<(), WriteError> {
        self.remove_every_row(place, key)?;
        if let Some(refused) = self.refused {
            refused.outdate(self.collection.id, |_| true);
        }
        Ok(())
    }

    fn remove_every_row(&self, place: &RowLocation, key: &KeyField) -> Result<(), WriteError> {
        if self.client.client().capabilities(self.context)?.row_removal == RowRemoval::ByKeys {
            return self.delete_all(place, key);
        }
        match self.client.truncate_collection(&CollectionName::new(&place.db, &place.collection), self.context) {
            Err(error) if error.kind == ErrorKind::Unimplemented => self.delete_all(place, key),
            outcome => Ok(outcome?),
        }
    }

    fn delete_all(&self, place: &RowLocation, key: &KeyField) -> Result<(), WriteError> {
        const LIMIT: usize = 8192;
        let name = key.name.as_str();
        let everything = expression::every_row(key);
        let query = Query {
            expression: &everything,
            fields: &[name],
            extent: Extent::AtMost(LIMIT),
            consistency: Consistency::Strong,
        };
        loop {
            let found = self.client.client().query_rows(place, &query, self.context)?;
            if found.is_empty() {
                return Ok(());
            }
            let object = || place.object();
            let keys =
                field_data::keys(&found, name).map_err(|source| WriteError::Columns { object: object(), source })?;
            if keys.is_empty() {
                return Ok(());
            }
            self.delete(place, name, &keys)?;
        }
    }

    /// Deletes rows by their keys.
    ///
    /// # Errors
    /// [`WriteError`]; some of the keys may have been deleted.
    pub fn delete(&self, place: &RowLocation, key_field: &str, keys: &Keys) -> Result<(), WriteError> {
        for expression in expression::any_of(key_field, keys) {
            self.client.delete_rows(place, &expression, self.context)?;
        }
        self.outdate_refused(|| Some(keys.clone()));
        Ok(())
    }

    fn keys(&self, columns: &[Column]) -> Option<Keys> {
        field_data::keys(columns, &self.collection.key.name).ok()
    }

    /// What is set aside of these keys is older than what the target has just taken.
    fn outdate_refused(&self, keys: impl FnOnce() -> Option<Keys>) {
        let Some(refused) = self.refused.filter(|refused| refused.file.has_of(self.collection.id)) else { return };
        let Some(keys) = keys() else { return };
        let keys: BTreeSet<String> = (0..keys.len()).map(|index| key_text(&keys, index)).collect();
        refused.outdate(self.collection.id, |key| keys.contains(key));
    }
}

#[cfg(test)]
mod tests;
