//! From a FAKE log to what is merged into a FAKE Milvus.

use std::collections::BTreeSet;
use std::path::Path;

use super::super::files::{LineKind, LineMerge, LostLine, LostWritesFiles};
use super::super::judge::Judgement;
use super::super::standby::{MergeCount, Standby};
use super::*;
use crate::domain::{CollectionName, Keys, Mark, Position, RowLocation, Truncate};
use crate::milvus::fake::{FakeCollection, FakeMilvus, Repeats};
use crate::milvus::field_data::KnownFields;
use crate::milvus::field_data::testing::longs;
use crate::milvus::{CallContext, Cancel};
use crate::pipeline::testing::collection;
use crate::pipeline::{AppliedMark, WritableCollection};
use crate::replication::checkpoint::PositionRecord;
use crate::sink::RefusedRowsFile;
use crate::source::StartQuery;
use crate::verify::Lookup;

const ID: CollectionId = CollectionId(7);
const OTHER: CollectionId = CollectionId(8);

/// A FAKE log with one channel, each message at the place of its number.
struct FakeLog {
    records: fn() -> Vec<Record>,
    end: ReadEnd,
}

impl Log for FakeLog {
    fn refresh(&self) -> Result<Refreshed, LogError> {
        Ok(Refreshed::Unchanged)
    }
    fn read(&self, _: &Channel, next: ReadFrom, _: usize, visit: &mut dyn FnMut(Record)) -> Result<ReadEnd, LogError> {
        let is_behind = |record: &Record| match next {
            ReadFrom::First => true,
            ReadFrom::At(from) => record.position >= from,
            ReadFrom::After(from) => record.position > from,
        };
        // One message at a time.
        (self.records)().into_iter().find(is_behind).map(visit);
        Ok(self.end)
    }
    fn collection_start(&self, _: &Channel, _: &StartQuery<'_>) -> Result<Option<Position>, LogError> {
        Ok(None)
    }
    fn tail(&self, _: &Channel) -> Result<Option<Position>, LogError> {
        Ok((self.records)().last().map(|record| record.position))
    }
    fn shortly_before_tail(&self, _: &Channel) -> Result<crate::source::Start, LogError> {
        unreachable!("not asked")
    }
}

fn record(place: u64, ts: u64, body: Body) -> Record {
    let ts = Timestamp(ts);
    Record { position: Position::at(place), begin: ts, end: ts, mark: None, body }
}

fn insert(keys: &[i64], value: i64, half: bool) -> Body {
    let columns = vec![longs("value", &vec![value; keys.len()]), longs("id", keys)];
    let (collection, partition) = (ID, PartitionId(1));
    Body::Insert(Insert { collection, partition, rows: keys.len(), columns, half, row_id: None })
}

fn delete(keys: &[i64]) -> Body {
    Body::Delete(Delete { collection: ID, partition: PartitionId::ALL, keys: Keys::Int(keys.to_vec()) })
}

fn tick() -> Body {
    Body::Tick { resume: None }
}

/// Up to the tick at 20 everything was applied, but not what stands behind it, whatever its time.
fn records() -> Vec<Record> {
    let ours = Record { mark: Some(Mark::of(ID, Timestamp(50))), ..record(24, 50, insert(&[90], 9, false)) };
    let of_another = Body::Delete(Delete { collection: OTHER, partition: PartitionId::ALL, keys: Keys::Int(vec![1]) });
    vec![
        record(15, 15, insert(&[80], 8, false)),
        record(20, 20, tick()),
        record(21, 30, insert(&[1, 2, 3], 1, false)),
        record(22, 31, delete(&[4])),
        record(23, 31, insert(&[4], 4, true)),
        ours,
        record(25, 51, of_another),
        record(26, 52, delete(&[3, 5])),
        // Behind the last tick there is none that would release it.
        record(27, 53, insert(&[6], 6, false)),
    ]
}

fn info() -> WritableCollection {
    let partitions = [(PartitionId(1), "p".to_owned())].into();
    WritableCollection { partitions, fields: KnownFields::named(&["id", "value"]), ..collection() }
}

fn known() -> BTreeMap<CollectionId, ReadyCollection> {
    let ready = ReadyCollection {
        info: info(),
        source: CollectionName::new("d", "old"),
        channels: Vec::new(),
        begins: BTreeMap::new(),
        created: Timestamp::ZERO,
        adopted: false,
    };
    [(ID, ready)].into()
}

fn saved() -> Checkpoint {
    let mark = AppliedMark { ts: Timestamp(20), tick: Some(Position::at(20)) };
    let channel = ChannelRecord {
        position: Some(PositionRecord::from(Position::at(15))),
        high_water_mark: [mark].into_iter().collect(),
        ..ChannelRecord::default()
    };
    let streaming = CollectionCheckpoint::Streaming { upsert_until: <_>::default(), complete_until: <_>::default() };
    Checkpoint {
        channels: [("c".to_owned(), channel)].into(),
        collections: [(ID.0, streaming)].into(),
        ..Checkpoint::default()
    }
}

fn found(folder: &Path, log: &FakeLog, saved: &Checkpoint, drained_ms: Option<u64>) -> Found {
    let known = known();
    let reading = LogReading { log, saved, known: &known, drained_ms, is_stopped: &|| false };
    reading.read(LostWritesFiles::of(folder).rows().unwrap()).unwrap()
}

fn keys(found: &Found) -> Vec<i64> {
    let all = found.index.collections().get(&ID).into_iter().flat_map(|keys| keys.keys());
    all.map(|key| key.to_string().parse().unwrap()).collect()
}

const LOG: FakeLog = FakeLog { records, end: ReadEnd::AtTail };

#[test]
fn users_writes_behind_the_checkpoint_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let lost = found(folder.path(), &LOG, &saved(), None);
    assert_eq!(keys(&lost), [1, 2, 3, 4, 5, 6], "neither what was applied, nor ours, nor another collection's");
    assert!(lost.notes.is_empty() && lost.gaps.is_empty());
    let copied =
        CollectionCheckpoint::Streaming { upsert_until: <_>::default(), complete_until: [("c".to_owned(), 31)].into() };
    let copied = Checkpoint { collections: [(ID.0, copied)].into(), ..saved() };
    assert_eq!(keys(&found(folder.path(), &LOG, &copied, None)), [3, 5, 6], "a copy holds the rest");
    let truncated = Checkpoint { truncated: [(ID.0, [("c".to_owned(), 52)].into())].into(), ..saved() };
    assert_eq!(keys(&found(folder.path(), &LOG, &truncated, None)), [6]);
    assert_eq!(keys(&found(folder.path(), &LOG, &saved(), Some(0))), [0; 0], "the drain has applied it");
}

#[test]
fn what_the_log_does_not_tell_is_said() {
    fn truncated() -> Vec<Record> {
        let truncate = Truncate { collection: ID, id: 1, channels: Vec::new() };
        let import = Body::BulkImport { db: "d".into(), collection: "old".into() };
        let unknown = Insert {
            collection: ID,
            partition: PartitionId(2),
            rows: 1,
            columns: vec![longs("id", &[9])],
            half: false,
            row_id: None,
        };
        let added = Insert { partition: PartitionId(1), columns: vec![longs("new", &[1])], ..insert_of(9) };
        vec![
            record(20, 20, Body::DropCollection(ID)),
            record(21, 30, Body::Truncate(truncate)),
            record(22, 31, import),
            record(23, 32, Body::Insert(unknown)),
            record(24, 33, Body::Insert(added)),
            record(25, 34, Body::DropCollection(OTHER)),
        ]
    }
    fn insert_of(key: i64) -> Insert {
        let Body::Insert(insert) = insert(&[key], 1, false) else { unreachable!("it is one") };
        insert
    }
    let folder = tempfile::tempdir().unwrap();
    let lost = found(folder.path(), &FakeLog { records: truncated, end: ReadEnd::AtTail }, &saved(), None);
    let expected = [
        "files were imported into it there",
        "it has rows in a partition that the task does not know",
        "it has rows with the field new, which the task does not know",
        "it was truncated there",
    ];
    assert_eq!(lost.notes.keys().collect::<Vec<_>>(), [&ID]);
    assert_eq!(lost.notes[&ID], BTreeSet::from(expected.map(str::to_owned)));
    assert_eq!(keys(&lost), [0; 0]);
    let gone = found(folder.path(), &FakeLog { records: Vec::new, end: ReadEnd::Gap }, &saved(), None);
    assert!(gone.gaps.iter().any(|why| why.contains("does not reach back")));
}

#[test]
fn a_task_that_ends_does_not_wait_for_the_log() {
    let (folder, known, saved) = (tempfile::tempdir().unwrap(), known(), saved());
    let silent = FakeLog { records: Vec::new, end: ReadEnd::Awaited };
    let reading = LogReading { log: &silent, saved: &saved, known: &known, drained_ms: None, is_stopped: &|| true };
    let rows = LostWritesFiles::of(folder.path()).rows().unwrap();
    assert!(matches!(reading.read(rows), Err(ReadingError::Stopped)));
}

fn target(rows: &[(i64, i64)]) -> std::sync::Arc<FakeMilvus> {
    let milvus = FakeMilvus::new(Repeats::Succeed);
    let mut there = FakeCollection { id: 9, is_loaded: true, ..FakeCollection::default() };
    there.set_rows(rows.iter().copied());
    milvus.put("d", "c", there);
    milvus
}

/// The list's lines as `run` makes them.
fn line(key: i64, row: RowContent, merge: LineMerge) -> LostLine {
    let line = LostLine {
        number: 0,
        collection_id: ID.0,
        target: "d.c".into(),
        partition: String::new(),
        key: key.to_string(),
        channel: "c".into(),
        timestamp: 30,
        since: 5,
        reason: String::new(),
        columns: Vec::new(),
        write: LineKind::Put,
        merge,
    };
    line.with(Some(row))
}

#[test]
fn the_target_decides_key_by_key_and_a_merge_writes_what_it_lacks() {
    let folder = tempfile::tempdir().unwrap();
    let lost = found(folder.path(), &LOG, &saved(), None);
    let milvus = target(&[(2, 1), (4, 9), (5, 5)]);
    let client = milvus.client("target:1");
    let context = CallContext { timeout: Duration::from_secs(5), cancel: Cancel::default() };
    let refused = RefusedRowsFile::open(folder.path()).unwrap();
    let standby = Standby { client: &client, context: &context, refused: &refused, is_stopped: &|| false };
    use Judgement::{Mergeable, Same, Undecided};
    let judged = standby.judge(&info(), &lost.index.collections()[&ID]).unwrap();
    assert_eq!(judged, [Mergeable, Same, Same, Undecided, Undecided, Mergeable], "of the keys 1 to 6");

    let mut file = lost.rows.reader().unwrap();
    let mut row = |key: i64| match lost.index.collections()[&ID][&Key::Int(key)].latest.what {
        LeftOfKey::Row { place, .. } => lost.rows.read(&mut file, place).unwrap(),
        LeftOfKey::Deleted => panic!("{key} is deleted"),
    };
    let lines = [(1, LineMerge::Writes), (4, LineMerge::Undecided), (6, LineMerge::Writes)];
    let files = LostWritesFiles::of(folder.path());
    files.write(lines.map(|(key, merge)| Ok(line(key, row(key), merge))).into_iter()).unwrap();
    // A client has written 6 since it was listed.
    standby_write(&milvus, 6, 66);
    let merged = standby.merge(&known(), files.read().unwrap()).unwrap();
    assert_eq!(merged, MergeCount { written: 1, present: 1, gone: 0 });
    let again = standby.merge(&known(), files.read().unwrap()).unwrap();
    assert_eq!(again, MergeCount { written: 0, present: 2, gone: 0 });
    let rows = &milvus.collections()["d"]["c"].rows;
    assert_eq!(rows.keys().collect::<Vec<_>>(), [&1, &2, &4, &5, &6]);
    assert!(rows.values().all(|copies| copies.len() == 1), "none is doubled");
    let writes = milvus.marked();
    let of_the_old_primary = |(method, mark): &(&str, Mark)| *method == "Upsert" && mark.is_of(ID);
    assert!(writes.len() == 1 && writes.iter().all(of_the_old_primary), "whoever follows the target knows: {writes:?}");
    assert_eq!(milvus.unmarked(), BTreeSet::from(["Query"]));
    let place = RowLocation { db: "d".into(), collection: "c".into(), partition: String::new() };
    let projection = crate::scan::Projection::AllFields;
    let lookup = Lookup { client: &client, context: &context, place: &place, key_field: "id", projection };
    let digests = lookup.digests(&[Key::Int(1), Key::Int(6)]).unwrap();
    let of = |id: i64, value: i64| digest(&[longs("id", &[id]), longs("value", &[value])], 1).unwrap()[0];
    assert!(digests[&Key::Int(1)].contains(&of(1, 1)) && digests[&Key::Int(6)].contains(&of(6, 66)));
}

fn standby_write(milvus: &FakeMilvus, key: i64, value: i64) {
    let mut there = milvus.collections();
    let table = &mut there.get_mut("d").unwrap().get_mut("c").unwrap().rows;
    let mut one = FakeCollection::default();
    one.set_rows([(key, value)]);
    table.extend(one.rows);
    milvus.become_this(there);
}

/// Users drop the collection while its rows are merged.
#[test]
fn what_has_no_place_any_more_ends_no_merge() {
    let folder = tempfile::tempdir().unwrap();
    let lost = found(folder.path(), &LOG, &saved(), None);
    let milvus = target(&[]);
    let client = milvus.client("target:1");
    let context = CallContext { timeout: Duration::from_secs(5), cancel: Cancel::default() };
    let refused = RefusedRowsFile::open(folder.path()).unwrap();
    let standby = Standby { client: &client, context: &context, refused: &refused, is_stopped: &|| false };
    let mut file = lost.rows.reader().unwrap();
    let LeftOfKey::Row { place, .. } = lost.index.collections()[&ID][&Key::Int(1)].latest.what else { panic!() };
    let row = lost.rows.read(&mut file, place).unwrap();
    let files = LostWritesFiles::of(folder.path());
    files.write([Ok(line(1, row, LineMerge::Writes))].into_iter()).unwrap();
    milvus.become_this([("d".to_owned(), Default::default())].into());
    let merged = standby.merge(&known(), files.read().unwrap()).unwrap();
    assert_eq!(merged, MergeCount { written: 0, present: 0, gone: 1 });
}
