//! The hot paths, one of them per run, as `scripts/test counts` counts their instructions: `hot_paths NAME`.
//!
//! Not timed: on a shared machine only the number of instructions is the same every time. The work is small, since it
//! is counted by running it in an emulator.

use std::hint::black_box;
use std::sync::Arc;

use bytes::Bytes;
use milvus_cdc::internals::decode::{ChannelDecoder, Queue, QueueMessage};
use milvus_cdc::internals::field_data::{KnownFields, Shape};
use milvus_cdc::internals::pb::common::MsgBase;
use milvus_cdc::internals::pb::schema::field_data::Field;
use milvus_cdc::internals::pb::schema::scalar_field::Data;
use milvus_cdc::internals::pb::schema::{CollectionSchema, FieldData, FieldSchema, LongArray, ScalarField};
use milvus_cdc::internals::{
    Call, Channel, CollectionId, Column, Decision, Delete, DispatchRules, Insert, KeyField, Keys, Op, PartitionId,
    Position, RecordOrigin, ReorderBuffer, RowLocation, Scheduler, Timestamp, WritableCollection, WriteRequest,
};
use protobuf::rt::WireType;
use protobuf::{CodedOutputStream, Message as _};

/// The name of each path, and what runs it.
const PATHS: [(&str, fn()); 5] =
    [("decode", decode), ("reorder", reorder), ("lane", lane), ("merge", merge), ("encode", encode)];

const COLLECTION: CollectionId = CollectionId(5);
const PARTITION: PartitionId = PartitionId(6);
const OPS: i64 = 2000;
const ROWS: i64 = 50;
/// Operations up to a tick.
const TICK: i64 = 20;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    for (_, run) in PATHS.iter().filter(|(name, _)| arguments.iter().any(|wanted| wanted == name)) {
        run();
    }
}

/// Does work that is counted. Its name is what the counting begins and ends with.
#[inline(never)]
fn counted<T>(work: impl FnOnce() -> T) -> T {
    black_box(work())
}

fn longs(name: &str, data: Vec<i64>) -> Column {
    let data = Some(Data::LongData(LongArray { data, ..Default::default() }));
    let field = Some(Field::Scalars(ScalarField { data, ..Default::default() }));
    let field = FieldData { field_name: name.into(), field, ..Default::default() };
    field.write_to_bytes().expect("a column is serialized").into()
}

/// An insert as Milvus 2.3 writes it: each row with its time and its id.
fn message(number: i64) -> protobuf::Result<Bytes> {
    let base = MsgBase { msg_type: 400, timestamp: number as u64, ..Default::default() }.write_to_bytes()?;
    let mut message = Vec::new();
    let mut out = CodedOutputStream::vec(&mut message);
    out.write_bytes(1, &base)?;
    out.write_int64(7, COLLECTION.0)?;
    out.write_int64(8, PARTITION.0)?;
    out.write_repeated_packed_uint64(10, &[number as u64; ROWS as usize])?;
    out.write_repeated_packed_int64(11, &[number; ROWS as usize])?;
    for field in ["id", "a", "b"] {
        let column = longs(field, vec![number; ROWS as usize]);
        out.write_tag(13, WireType::LengthDelimited)?;
        out.write_raw_varint64(column.len() as u64)?;
        column.parts().iter().try_for_each(|part| out.write_raw_bytes(part))?;
    }
    out.write_uint64(14, ROWS as u64)?;
    out.write_uint64(15, 1)?;
    out.flush()?;
    drop(out);
    Ok(message.into())
}

fn decode() {
    let messages: Vec<Bytes> = (1..=OPS).map(|number| message(number).expect("a message is serialized")).collect();
    let mut decoder = ChannelDecoder::new(Queue::RocksMq);
    let mut records = Vec::with_capacity(messages.len());
    counted(|| {
        for (number, message) in (1..).zip(&messages) {
            decoder.take(QueueMessage::of_rocksmq(Position::at(number), message), &mut |record| records.push(record));
        }
    });
    assert_eq!(records.len(), messages.len());
}

/// Inserts whose keys come again every tenth time, and a delete behind each ten of them.
fn buffer(number: i64, channel: &Channel, buffer: &mut ReorderBuffer) {
    let (at, position) = (Timestamp(number as u64), Position::at(number as u64));
    let origin = RecordOrigin { channel, position, ts: at, mark: None };
    let keys: Vec<i64> = (0..ROWS).map(|row| number % 10 * ROWS + row).collect();
    if number % 11 == 10 {
        let keys = Keys::Int(keys);
        return buffer.delete(origin, Delete { collection: COLLECTION, partition: PartitionId::ALL, keys });
    }
    let rows = keys.len();
    let columns = vec![longs("id", keys.clone()), longs("a", keys)];
    let (collection, partition) = (COLLECTION, PARTITION);
    buffer.insert(origin, Insert { collection, partition, rows, columns, half: false, row_id: Some(number) });
}

fn reorder() {
    let (channel, mut waiting) = (Channel::new("c"), ReorderBuffer::default());
    let mut released = 0;
    for first in (0..OPS).step_by(TICK as usize) {
        (first..first + TICK).for_each(|number| buffer(number, &channel, &mut waiting));
        let tick = (first + TICK) as u64;
        released += counted(|| waiting.release(Timestamp(tick), Position::at(tick)).0.len());
    }
    assert_eq!(released as i64, OPS);
}

/// Every call may be made at once.
struct Rules(Arc<WritableCollection>);

impl DispatchRules for Rules {
    fn collection(&self, _: CollectionId) -> Option<Arc<WritableCollection>> {
        Some(Arc::clone(&self.0))
    }
    fn question(&self) -> u64 {
        1
    }
    fn open(&self, _: &Channel) -> bool {
        true
    }
    fn bound(&self, _: &Channel) -> Timestamp {
        Timestamp::MAX
    }
    fn replayed(&self, _: &Channel) -> Timestamp {
        Timestamp::ZERO
    }
    fn now(&self) -> Timestamp {
        Timestamp::ZERO
    }
}

/// A collection into which rows of `c` up to this position go as upserts.
fn rules(upsert_until: u64) -> Rules {
    let field = |name: &str| FieldSchema { name: name.into(), ..Default::default() };
    let schema = CollectionSchema { fields: vec![field("id"), field("a")], ..Default::default() };
    Rules(Arc::new(WritableCollection {
        id: COLLECTION,
        target_id: CollectionId(0),
        db: "db".into(),
        name: "some".into(),
        key: KeyField { name: "id".into(), is_int: true },
        partitions: [(PARTITION, "_default".to_owned())].into(),
        unnamed_partitions: false,
        mergeable: true,
        fields: KnownFields::of(&schema),
        shape: Shape::of(&schema),
        replacement: Default::default(),
        ttl: None,
        upsert_until: [(Channel::new("c"), Position::at(upsert_until))].into(),
        generation: 1,
    }))
}

/// Makes calls of everything, each when the one before has ended.
fn calls(rules: &Rules) {
    let (channel, mut waiting) = (Channel::new("c"), ReorderBuffer::default());
    (0..OPS).for_each(|number| buffer(number, &channel, &mut waiting));
    let (released, _): (Vec<Op>, _) = waiting.release(Timestamp(OPS as u64), Position::at(OPS as u64));
    let mut scheduler = Scheduler::default();
    let mut calls: Vec<Box<Call>> = Vec::with_capacity(released.len());
    counted(|| {
        released.into_iter().for_each(|op| scheduler.push(op));
        while let Decision::Call(call) = scheduler.next(rules) {
            scheduler.finish(COLLECTION, call.id);
            calls.push(call);
        }
    });
    assert!(scheduler.bytes() == 0 && calls.len() > 100, "{} calls, {} bytes", calls.len(), scheduler.bytes());
}

/// Inserts and deletes.
fn lane() {
    calls(&rules(0));
}

/// Upserts, of which each request holds a key once.
fn merge() {
    calls(&rules(OPS as u64));
}

fn encode() {
    let place = RowLocation { db: "db".into(), collection: "some".into(), partition: "_default".into() };
    let column = |name: &str| {
        let mut column = longs(name, vec![7; ROWS as usize]);
        (1..10).for_each(|_| column.append(longs(name, vec![7; ROWS as usize])));
        column
    };
    let request = |_| WriteRequest::new(&place, vec![column("id"), column("a")], 10 * ROWS as usize);
    let mut requests: Vec<WriteRequest> = (0..OPS).map(request).collect();
    counted(|| requests.iter_mut().for_each(WriteRequest::seal));
    assert!(requests.iter().all(|request| request.bytes() > 1000));
}
