//! What outlives the process: the source's log and rows, the target's rows, and the task's folder.

use std::collections::{BTreeMap, BTreeSet};

use super::history::{History, Message, Row, Snapshot};
use crate::domain::{Channel, CollectionId, Column, Keys, Position, Timestamp, Write};
use crate::milvus::field_data::keys;
use crate::pipeline::{Call, Work};
use crate::replication::checkpoint::Checkpoint;
use crate::source::Start;

pub(super) fn channel() -> Channel {
    Channel::new("c")
}

/// How far the copy of a collection has come, in the task's folder (see `backfill::progress`).
#[derive(Debug, Clone, Default)]
pub(super) struct Progress {
    pub(super) compares: bool,
    /// Keys below are done.
    pub(super) next: i64,
    /// Keys from there on that may have been written.
    pub(super) pending: BTreeSet<i64>,
    pub(super) done: bool,
}

#[derive(Debug)]
pub(super) struct World {
    history: History,
    /// How many snapshots the source has come to.
    reached: usize,
    /// The first message that the log still holds.
    first: usize,
    target: BTreeMap<CollectionId, Vec<Row>>,
    pub(super) checkpoint: Option<Checkpoint>,
    /// Writes of the checkpoint fail.
    pub(super) disk_is_full: bool,
    pub(super) copies: BTreeMap<CollectionId, Progress>,
    /// Those of them that cannot be read.
    damaged: BTreeSet<CollectionId>,
    /// Collections that somebody has dropped on the target, as the catalog's record says; they are not made again yet.
    lost: BTreeSet<CollectionId>,
    /// Collections of which rows went, as the catalog's record says, and nothing in the log.
    parted: BTreeSet<CollectionId>,
    /// Writes to those that are lost: the target carries them out when there is something to write to.
    strays: Vec<Stray>,
}

/// A write that comes to the target while its collection is lost.
#[derive(Debug)]
enum Stray {
    Write(CollectionId, Write, Vec<Row>),
    Delete(CollectionId, Vec<i64>),
}

impl World {
    pub(super) fn new(history: History) -> World {
        World {
            history,
            reached: 0,
            first: 0,
            target: BTreeMap::new(),
            checkpoint: None,
            disk_is_full: false,
            copies: BTreeMap::new(),
            damaged: BTreeSet::new(),
            lost: BTreeSet::new(),
            parted: BTreeSet::new(),
            strays: Vec::new(),
        }
    }

    /// The source goes on to its next tick. False at the end.
    pub(super) fn go_on(&mut self) -> bool {
        let goes_on = self.reached < self.history.snapshots.len();
        self.reached += usize::from(goes_on);
        goes_on
    }

    /// Retention removes everything but the end.
    pub(super) fn trim(&mut self) {
        if let Some(before) = self.shortly_before() {
            self.first = before.tick;
        }
    }

    /// The tick before the last one. What is late behind it was written before the last one, too.
    fn shortly_before(&self) -> Option<&Snapshot> {
        self.history.snapshots.get(self.reached.checked_sub(2)?)
    }

    fn now(&self) -> Option<&Snapshot> {
        self.history.snapshots.get(self.reached.checked_sub(1)?)
    }

    pub(super) fn first(&self) -> usize {
        self.first
    }

    /// How many messages have been written.
    pub(super) fn written(&self) -> usize {
        self.now().map_or(0, |now| now.written)
    }

    pub(super) fn message(&self, index: usize) -> &Message {
        &self.history.log[index]
    }

    pub(super) fn last_tick(&self) -> u64 {
        self.history.snapshots.last().map_or(0, |last| last.ts)
    }

    pub(super) fn tail(&self) -> Option<Position> {
        self.written().checked_sub(1).map(|last| Position::at(last as u64))
    }

    pub(super) fn shortly_before_tail(&self) -> Start {
        let everything = || {
            let first = (self.first < self.written()).then(|| Position::at(self.first as u64));
            Start { position: first, after: Timestamp::ZERO }
        };
        let behind =
            |before: &Snapshot| Start { position: Some(Position::at(before.tick as u64)), after: Timestamp(before.ts) };
        self.shortly_before().map_or_else(everything, behind)
    }

    /// Where a collection begins in the log: behind the tick before its first message.
    fn beginning(&self, id: CollectionId) -> usize {
        let is_its = |message: &Message| match message {
            Message::Insert { id: of, .. } | Message::Delete { id: of, .. } => *of == id,
            Message::Tick(_) => false,
        };
        let first = self.history.log.iter().position(is_its).unwrap_or(0);
        let before = &self.history.log[..first];
        before.iter().rposition(|message| matches!(message, Message::Tick(_))).map_or(0, |tick| tick + 1)
    }

    pub(super) fn exists(&self, id: CollectionId) -> bool {
        self.beginning(id) < self.written()
    }

    pub(super) fn collection_start(&self, id: CollectionId) -> Option<Position> {
        let beginning = self.beginning(id);
        (beginning >= self.first).then(|| Position::at(beginning as u64))
    }

    /// The source's rows as a query shows them: one of each key.
    pub(super) fn source_rows(&self, id: CollectionId) -> BTreeMap<i64, i64> {
        let live = self.now().into_iter().flat_map(|now| &now.live);
        let newest = live.filter(|((of, _), _)| *of == id).map(|((_, key), versions)| (*key, versions.last().copied()));
        newest.filter_map(|(key, version)| Some((key, version?))).collect()
    }

    pub(super) fn target_rows(&self, id: CollectionId) -> &[Row] {
        self.target.get(&id).map_or(&[], Vec::as_slice)
    }

    /// A write to the target: an insert adds a row whatever is there.
    pub(super) fn write(&mut self, id: CollectionId, write: Write, rows: &[Row]) {
        if self.is_lost(id) {
            return self.strays.push(Stray::Write(id, write, rows.to_vec()));
        }
        let there = self.target.entry(id).or_default();
        if write == Write::Upsert {
            there.retain(|old| !rows.iter().any(|new| new.key == old.key));
        }
        there.extend(rows);
    }

    pub(super) fn delete(&mut self, id: CollectionId, keys: &[i64]) {
        if self.is_lost(id) {
            return self.strays.push(Stray::Delete(id, keys.to_vec()));
        }
        self.target.entry(id).or_default().retain(|row| !keys.contains(&row.key));
    }

    /// A row of the collection goes at the source, with all of its partition, and stays on the target.
    pub(super) fn part(&mut self, id: CollectionId) {
        if !self.is_lost(id) {
            self.target.entry(id).or_default().push(Row { key: 1, version: -1 });
            self.parted.insert(id);
        }
    }

    /// Whether the catalog's record says that rows went which the task has not noted.
    pub(super) fn is_parted(&self, id: CollectionId) -> bool {
        self.parted.contains(&id)
    }

    pub(super) fn forget_parted(&mut self, id: CollectionId) {
        self.parted.remove(&id);
    }

    /// How far the collection's copy has come can be read no more.
    pub(super) fn damage(&mut self, id: CollectionId) {
        if self.copies.contains_key(&id) {
            self.damaged.insert(id);
        }
    }

    pub(super) fn is_damaged(&self, id: CollectionId) -> bool {
        self.damaged.contains(&id)
    }

    pub(super) fn forget_copy(&mut self, id: CollectionId) {
        self.copies.remove(&id);
        self.damaged.remove(&id);
    }

    /// Somebody drops the collection on the target.
    pub(super) fn lose(&mut self, id: CollectionId) {
        self.target.remove(&id);
        self.lost.insert(id);
    }

    pub(super) fn is_lost(&self, id: CollectionId) -> bool {
        self.lost.contains(&id)
    }

    /// Whether nothing is left to do for the catalog.
    pub(super) fn is_whole(&self) -> bool {
        self.lost.is_empty() && self.parted.is_empty()
    }

    /// The catalog creates the collection again, and what was on its way to the one before comes to it.
    pub(super) fn create_again(&mut self, id: CollectionId) {
        self.lost.remove(&id);
        for stray in std::mem::take(&mut self.strays) {
            match stray {
                Stray::Write(of, write, rows) => self.write(of, write, &rows),
                Stray::Delete(of, keys) => self.delete(of, &keys),
            }
        }
    }

    pub(super) fn carry_out(&mut self, call: &Call) {
        let id = call.collection.id;
        match &call.work {
            Work::Write { write, rows } => {
                let columns = rows.columns().unwrap();
                let (keys, versions) = (ints(&columns, "id"), ints(&columns, "version"));
                let rows = keys.into_iter().zip(versions).map(|(key, version)| Row { key, version });
                self.write(id, *write, &rows.collect::<Vec<_>>());
            }
            Work::Delete(Keys::Int(keys)) => self.delete(id, keys),
            Work::Delete(Keys::Str(_)) | Work::Truncate => panic!("neither strings nor truncations here"),
        }
    }

    /// What the target should have in the end, and what it has: the versions of each key.
    pub(super) fn expected_and_found(&self) -> [BTreeMap<(CollectionId, i64), Vec<i64>>; 2] {
        let mut found: BTreeMap<(CollectionId, i64), Vec<i64>> = BTreeMap::new();
        for (id, rows) in &self.target {
            rows.iter().for_each(|row| found.entry((*id, row.key)).or_default().push(row.version));
        }
        found.values_mut().for_each(|versions| versions.sort_unstable());
        let mut expected = self.history.snapshots.last().map(|last| last.live.clone()).unwrap_or_default();
        for (at, versions) in &mut expected {
            // What is applied again after a crash is an upsert: of a key that is there more than once at the source, it
            // replaces all rows.
            let newest = versions.last().copied();
            if let Some(found) = found.get(at).filter(|found| found.last().copied() == newest) {
                versions.retain(|version| found.contains(version));
            }
        }
        [expected, found]
    }
}

fn ints(columns: &[Column], name: &str) -> Vec<i64> {
    let Keys::Int(values) = keys(columns, name).unwrap() else { panic!("not integers") };
    values
}
