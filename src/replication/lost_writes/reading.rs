//! Reads the log of a primary that is back, from where the task has left it to its end.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::{Duration, Instant};

use super::files::{RowContent, RowsFile};
use super::index::{LeftOfKey, LoggedWrite, LostIndex, PutKind};
use crate::catalog::ReadyCollection;
use crate::domain::{Body, Channel, CollectionId, Column, Delete, Insert, PartitionId, Record, Timestamp};
use crate::milvus::field_data::{self, ColumnError};
use crate::replication::channel::{Acquaintance, ChannelState};
use crate::replication::checkpoint::{ChannelRecord, Checkpoint, CollectionCheckpoint};
use crate::scan::{Key, RowError, digest};
use crate::source::{Log, LogError, ReadEnd, ReadFrom, Refreshed};

/// How much is read at once.
const TURN_BYTES: usize = 4 << 20;
/// How long a log must not grow before its end is believed.
const SILENCE: Duration = Duration::from_secs(2);
const POLL: Duration = Duration::from_millis(50);

/// Why a log could not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadingError {
    /// The log fails, or another one has taken its place.
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("the log has been replaced while it was read")]
    Replaced,
    #[error("{0}")]
    Columns(#[from] ColumnError),
    #[error("{0}")]
    Rows(#[from] RowError),
    #[error("the file of rows cannot be written: {0}")]
    File(#[from] io::Error),
    /// The task ends.
    #[error("the task has been stopped")]
    Stopped,
}

/// What is read, and until when.
pub(super) struct LogReading<'a> {
    pub(super) log: &'a dyn Log,
    pub(super) saved: &'a Checkpoint,
    /// The collections whose rows come from the log.
    pub(super) known: &'a BTreeMap<CollectionId, ReadyCollection>,
    /// Everything up to this has been applied.
    pub(super) drained_ms: Option<u64>,
    pub(super) is_stopped: &'a dyn Fn() -> bool,
}

/// What was read.
pub(super) struct Found {
    pub(super) index: LostIndex,
    pub(super) rows: RowsFile,
    /// What the log does not tell of a collection, and why.
    pub(super) notes: BTreeMap<CollectionId, BTreeSet<String>>,
    /// Why it does not tell all of any.
    pub(super) gaps: BTreeSet<String>,
}

impl LogReading<'_> {
    /// Reads every channel of the task's to the end that it has now.
    pub(super) fn read(&self, rows: RowsFile) -> Result<Found, ReadingError> {
        let mut found = Found { index: LostIndex::default(), rows, notes: BTreeMap::new(), gaps: BTreeSet::new() };
        for (name, record) in &self.saved.channels {
            self.read_channel(&Channel::new(name), record, &mut found)?;
        }
        found.rows.flush()?;
        Ok(found)
    }

    fn read_channel(&self, channel: &Channel, from: &ChannelRecord, found: &mut Found) -> Result<(), ReadingError> {
        let state = ChannelState::restore(from);
        let mut next = from.position.map_or(ReadFrom::First, |position| ReadFrom::At(position.into()));
        self.refresh()?;
        let tail = self.log.tail(channel)?;
        let mut grew = Instant::now();
        loop {
            if (self.is_stopped)() {
                return Err(ReadingError::Stopped);
            }
            self.refresh()?;
            let mut records = Vec::new();
            let end = self.log.read(channel, next, TURN_BYTES, &mut |record| records.push(record))?;
            if let Some(last) = records.last() {
                next = ReadFrom::After(last.position);
                grew = Instant::now();
            }
            for record in records {
                self.take(channel, &state, record, found)?;
            }
            let has_all = next.position().is_some_and(|at| tail.is_some_and(|tail| at >= tail));
            match end {
                _ if has_all => return Ok(()),
                ReadEnd::Gap => {
                    found.gaps.insert("its log does not reach back to where the task has read it".to_owned());
                    return Ok(());
                }
                ReadEnd::More => {}
                ReadEnd::AtTail if grew.elapsed() >= SILENCE => return Ok(()),
                ReadEnd::AtTail | ReadEnd::Awaited => std::thread::sleep(POLL),
            }
        }
    }

    fn refresh(&self) -> Result<(), ReadingError> {
        match self.log.refresh()? {
            Refreshed::Replaced => Err(ReadingError::Replaced),
            Refreshed::Changed | Refreshed::Unchanged => Ok(()),
        }
    }

    fn take(
        &self,
        channel: &Channel,
        state: &ChannelState,
        record: Record,
        found: &mut Found,
    ) -> Result<(), ReadingError> {
        let (position, ts) = (record.position, record.end);
        // What we have written there came from somebody else.
        if record.mark.is_some() {
            return Ok(());
        }
        let is_new =
            |id: CollectionId| state.wants(id, Acquaintance::Known, position, ts) && !self.is_applied(id, channel, ts);
        let mut note = |id: CollectionId, why: &str| {
            if self.known.contains_key(&id) && is_new(id) {
                found.notes.entry(id).or_default().insert(why.to_owned());
            }
        };
        match record.body {
            Body::Insert(insert) if is_new(insert.collection) => self.insert(channel, ts, insert, found),
            Body::Delete(delete) if is_new(delete.collection) => {
                self.delete(channel, ts, delete, found);
                Ok(())
            }
            body => {
                match body {
                    Body::Truncate(truncate) => note(truncate.collection, "it was truncated there"),
                    Body::DropCollection(id) => note(id, "it was dropped there"),
                    Body::Uncarried { collection, what } | Body::Compare { collection, what } => {
                        note(collection, what);
                    }
                    Body::BulkImport { db, collection } => {
                        let is_it = |one: &&CollectionId| {
                            let name = &self.known[*one].source;
                            name.name == collection && (db.is_empty() || name.db == db)
                        };
                        if let Some(id) = self.known.keys().find(is_it) {
                            note(*id, "files were imported into it there");
                        }
                    }
                    Body::Stop(why) => drop(found.gaps.insert(why)),
                    Body::Undecodable(why) => {
                        found.gaps.insert(format!("a message of its log cannot be decoded: {why}"));
                    }
                    _ => {}
                }
                Ok(())
            }
        }
    }

    /// Whether a copy, a truncation or the drain has dealt with it, which the channel does not say.
    fn is_applied(&self, id: CollectionId, channel: &Channel, ts: Timestamp) -> bool {
        let name = channel.to_string();
        let copied = match self.saved.collections.get(&id.0) {
            Some(CollectionCheckpoint::Streaming { complete_until, .. }) => complete_until.get(&name),
            _ => None,
        };
        let truncated = self.saved.truncated.get(&id.0).and_then(|channels| channels.get(&name));
        copied.into_iter().chain(truncated).any(|until| ts.0 <= *until)
            || self.drained_ms.is_some_and(|until| ts.physical_ms() <= until)
    }

    fn insert(&self, channel: &Channel, ts: Timestamp, insert: Insert, found: &mut Found) -> Result<(), ReadingError> {
        let Insert { collection: id, partition, rows, mut columns, half, .. } = insert;
        let Some(info) = self.known.get(&id).map(|known| &known.info) else { return Ok(()) };
        let mut note = |why: &str| found.notes.entry(id).or_default().insert(why.to_owned());
        if let Some(field) = info.fields.unknown(&columns)? {
            note(&format!("it has rows with the field {field}, which the task does not know"));
            return Ok(());
        }
        let is_any = partition == PartitionId::ALL || info.unnamed_partitions && info.partitions.is_empty();
        let name = match info.partitions.get(&partition) {
            None if !is_any => {
                note("it has rows in a partition that the task does not know");
                return Ok(());
            }
            name => name.filter(|_| !info.unnamed_partitions).map_or("", String::as_str),
        };
        field_data::sort(&mut columns)?;
        let keys = Key::each(field_data::keys(&columns, &info.key.name)?);
        let columns = info.fields.without_gone(columns)?;
        let digests = digest(&columns, rows)?;
        let how = if half { PutKind::Upsert } else { PutKind::Insert };
        let singles = each_row(info.shape.written(columns, rows)?, rows)?;
        for ((key, digest), row) in keys.into_iter().zip(digests).zip(singles) {
            let place = found.rows.add(&RowContent::new(name, &row))?;
            let what = LeftOfKey::Row { digest, place, how };
            found.index.add(id, key, LoggedWrite { ts, channel: channel.clone(), what });
        }
        Ok(())
    }

    fn delete(&self, channel: &Channel, ts: Timestamp, delete: Delete, found: &mut Found) {
        if !self.known.contains_key(&delete.collection) {
            return;
        }
        for key in Key::each(delete.keys) {
            let write = LoggedWrite { ts, channel: channel.clone(), what: LeftOfKey::Deleted };
            found.index.add(delete.collection, key, write);
        }
    }
}

/// Takes rows apart by halving them: each row is copied a few times, and not once for each of the others.
fn each_row(columns: Vec<Column>, rows: usize) -> Result<Vec<Vec<Column>>, ColumnError> {
    if rows <= 1 {
        return Ok(vec![columns]);
    }
    let half = |from: usize, to: usize| {
        let indexes: Vec<usize> = (from..to).collect();
        each_row(field_data::pick(&columns, rows, &indexes)?, to - from)
    };
    let mut singles = half(0, rows / 2)?;
    singles.extend(half(rows / 2, rows)?);
    Ok(singles)
}

#[cfg(test)]
mod tests;
