//! What the target has of the keys whose writes are lost, and the writing of those that it lacks.

use std::collections::BTreeMap;
use std::io;

use super::files::{LineMerge, LostLine};
use super::index::LostKey;
use super::judge::{Judgement, judge};
use crate::catalog::ReadyCollection;
use crate::domain::{CollectionId, Column, Mark, RowLocation, Timestamp, Write};
use crate::milvus::field_data::{self, ColumnError};
use crate::milvus::rows::WriteRequest;
use crate::milvus::{CallContext, Client, Error};
use crate::pipeline::WritableCollection;
use crate::scan::{Key, PageError, Projection};
use crate::sink::{RefusalOutlet, RefusedRowsFile, WriteError, Writer};
use crate::verify::Lookup;

/// Keys that are looked up together.
const KEYS: usize = 4096;
/// Rows that are written together, and their bytes.
const ROWS: usize = 500;
const BYTES: usize = 4 << 20;

/// A target.
pub(super) struct Standby<'a> {
    pub(super) client: &'a Client,
    pub(super) context: &'a CallContext,
    pub(super) refused: &'a RefusedRowsFile,
    pub(super) is_stopped: &'a dyn Fn() -> bool,
}

/// Why lost writes could not be judged or merged.
#[derive(Debug, thiserror::Error)]
pub(super) enum MergeError {
    #[error("the list of lost writes cannot be read: {0}")]
    Lines(#[from] io::Error),
    #[error(transparent)]
    Columns(#[from] ColumnError),
    #[error(transparent)]
    Page(#[from] PageError),
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error("the task has been stopped")]
    Stopped,
}

/// What a merge has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct MergeCount {
    pub(super) written: u64,
    pub(super) present: u64,
    /// Rows whose collection or partition the target does not have any more.
    pub(super) gone: u64,
}

impl MergeError {
    fn is_object_missing(&self) -> bool {
        match self {
            MergeError::Page(PageError::Call(error)) => error.is_object_missing(),
            MergeError::Write(error) => error.call().is_some_and(Error::is_object_missing),
            MergeError::Page(_) | MergeError::Lines(_) | MergeError::Columns(_) | MergeError::Stopped => false,
        }
    }
}

/// Lines that are written together.
struct MergeBatch<'a> {
    info: &'a WritableCollection,
    partition: String,
    channel: String,
    latest: Timestamp,
    bytes: usize,
    rows: Vec<Vec<Column>>,
}

impl Standby<'_> {
    fn lookup<'a>(&'a self, place: &'a RowLocation, key: &'a str, projection: Projection) -> Lookup<'a> {
        Lookup { client: self.client, context: self.context, place, key_field: key, projection }
    }

    /// What becomes of each key, in their order.
    pub(super) fn judge(
        &self,
        info: &WritableCollection,
        keys: &BTreeMap<Key, LostKey>,
    ) -> Result<Vec<Judgement>, MergeError> {
        let place = everywhere(info);
        let lookup = self.lookup(&place, &info.key.name, Projection::AllFields);
        let (mut rest, mut judged) = (keys.keys(), Vec::with_capacity(keys.len()));
        loop {
            let chunk: Vec<Key> = rest.by_ref().take(KEYS).cloned().collect();
            if chunk.is_empty() {
                break;
            }
            self.go_on()?;
            let there = lookup.digests(&chunk)?;
            let none = Default::default();
            judged.extend(chunk.iter().map(|key| judge(&keys[key], there.get(key).unwrap_or(&none))));
        }
        Ok(judged)
    }

    /// Writes what is to be merged and the target lacks.
    pub(super) fn merge(
        &self,
        known: &BTreeMap<CollectionId, ReadyCollection>,
        lines: impl Iterator<Item = io::Result<LostLine>>,
    ) -> Result<MergeCount, MergeError> {
        let mut count = MergeCount::default();
        let mut batch: Option<MergeBatch<'_>> = None;
        for line in lines {
            let line = line?;
            if line.merge != LineMerge::Writes {
                continue;
            }
            let Some(ready) = known.get(&CollectionId(line.collection_id)) else { continue };
            let columns = line.columns()?;
            if batch.as_ref().is_some_and(|batch| !batch.takes(&line, &ready.info, &columns).unwrap_or(false)) {
                self.write_what_has_a_place(batch.take(), &mut count)?;
            }
            batch.get_or_insert_with(|| MergeBatch::of(&line, &ready.info)).add(&line, columns);
        }
        self.write_what_has_a_place(batch, &mut count)?;
        Ok(count)
    }

    /// Users may drop a collection or a partition while its rows are merged: that ends no merge.
    fn write_what_has_a_place(&self, batch: Option<MergeBatch<'_>>, count: &mut MergeCount) -> Result<(), MergeError> {
        let rows = batch.as_ref().map_or(0, |batch| batch.rows.len());
        match self.write(batch, count) {
            Err(error) if error.is_object_missing() => {
                log::warn!("{error}: {rows} lost writes have no place any more, and stay in the list");
                count.gone += rows as u64;
                Ok(())
            }
            outcome => outcome,
        }
    }

    fn go_on(&self) -> Result<(), MergeError> {
        if (self.is_stopped)() { Err(MergeError::Stopped) } else { Ok(()) }
    }

    fn write(&self, batch: Option<MergeBatch<'_>>, count: &mut MergeCount) -> Result<(), MergeError> {
        let Some(MergeBatch { info, partition, channel, latest, rows, .. }) = batch else { return Ok(()) };
        self.go_on()?;
        let key = info.key.name.as_str();
        let mut keys = Vec::new();
        for row in &rows {
            keys.extend(Key::each(field_data::keys(row, key)?));
        }
        let place = everywhere(info);
        let there = self.lookup(&place, key, Projection::Key).digests(&keys)?;
        let missing: Vec<Vec<Column>> =
            rows.into_iter().zip(&keys).filter(|(_, key)| !there.contains_key(key)).map(|(row, _)| row).collect();
        count.present += (keys.len() - missing.len()) as u64;
        let rows = missing.len();
        let merged = missing.into_iter().reduce(|mut all, more| {
            all.iter_mut().zip(more).for_each(|(column, more)| column.append(more));
            all
        });
        let Some(columns) = merged else { return Ok(()) };
        let writer = Writer {
            client: self.client.marked(Mark::of(info.id, latest)),
            context: self.context,
            collection: info,
            refused: Some(RefusalOutlet { file: self.refused, channel: &channel, latest }),
        };
        let place = RowLocation { partition, ..place };
        // As an upsert: a client may write the key at this very moment, and two rows of one key would be worse.
        writer.write(Write::Upsert, &WriteRequest::new(&place, columns, rows))?;
        count.written += rows as u64;
        Ok(())
    }
}

/// The whole collection on the target.
fn everywhere(info: &WritableCollection) -> RowLocation {
    RowLocation { db: info.db.clone(), collection: info.name.clone(), partition: String::new() }
}

impl<'a> MergeBatch<'a> {
    fn of(line: &LostLine, info: &'a WritableCollection) -> MergeBatch<'a> {
        MergeBatch {
            info,
            partition: line.partition.clone(),
            channel: line.channel.clone(),
            latest: Timestamp(line.timestamp),
            bytes: 0,
            rows: Vec::new(),
        }
    }

    fn takes(&self, line: &LostLine, info: &WritableCollection, columns: &[Column]) -> Result<bool, ColumnError> {
        let has_room = self.rows.len() < ROWS && self.bytes < BYTES && info.mergeable;
        let is_alike = match self.rows.first() {
            Some(first) => field_data::same_fields(first, columns)?,
            None => true,
        };
        Ok(has_room && is_alike && self.info.id == info.id && self.partition == line.partition)
    }

    fn add(&mut self, line: &LostLine, columns: Vec<Column>) {
        self.latest = self.latest.max(Timestamp(line.timestamp));
        self.bytes += columns.iter().map(Column::len).sum::<usize>();
        self.rows.push(columns);
    }
}
