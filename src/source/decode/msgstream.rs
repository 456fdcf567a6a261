/*!
Decodes log messages of Milvus 2.2 to 2.5 (`milvus.proto.msg`): the serialized protobuf alone, whose first field holds
the type. Later versions of these also put the type into the message's properties; earlier ones do not, so nothing reads
it there.

A message that reached the source by `ReplicateMessage` (`base.replicateInfo`) is like any other: the source has its
rows.
*/

use std::error::Error;

use bytes::Bytes;
use protobuf::Message;

use super::envelope::property;
use super::error::DecodeError;
use super::msgstream_kind::MsgStreamKind;
use crate::domain::{
    Body, CollectionId, CollectionRef, Delete, Insert, Keys, Mark, PartitionId, Position, Record, Timestamp,
};
use crate::milvus::pb::common::MsgBase;
use crate::milvus::pb::{api, log, schema};
use crate::milvus::wire;

/// Decodes one message.
///
/// # Errors
/// The bytes are damaged, or of a form that cannot be replicated.
pub fn decode(position: Position, bytes: &Bytes) -> Result<Record, DecodeError> {
    let raw = raw_base(bytes)?;
    let base = MsgBase::parse_from_bytes(raw)?;
    let at = Timestamp(base.timestamp);
    let (begin, end, body) = match MsgStreamKind::of(base.msg_type) {
        MsgStreamKind::TimeTick => (at, at, Body::Tick { resume: None }),
        MsgStreamKind::Insert => decode_insert(at, bytes)?,
        MsgStreamKind::Delete => decode_delete(at, bytes)?,
        MsgStreamKind::CreateCollection => {
            let id = log::CreateCollectionRequest::parse_from_bytes(bytes)?.collectionID;
            (at, at, Body::CreateCollection(CollectionId(id)))
        }
        MsgStreamKind::DropCollection => {
            let id = log::DropCollectionRequest::parse_from_bytes(bytes)?.collectionID;
            (at, at, if id == 0 { Body::CatalogHint(None) } else { Body::DropCollection(CollectionId(id)) })
        }
        MsgStreamKind::Partition => {
            let id = log::PartitionRequest::parse_from_bytes(bytes)?.collectionID;
            (at, at, collection_hint(id))
        }
        MsgStreamKind::Import => {
            let (db, collection) = named(bytes)?;
            (at, at, Body::BulkImport { db, collection })
        }
        MsgStreamKind::Named => (at, at, Body::CatalogHint(Some(named(bytes)?))),
        MsgStreamKind::Release => {
            let (db, collection) = named(bytes)?;
            (at, at, Body::Release(CollectionRef::Name { db, collection }))
        }
        MsgStreamKind::CreateDatabase => (at, at, Body::CreateDatabase(named(bytes)?.0)),
        MsgStreamKind::Catalog => (at, at, Body::CatalogHint(None)),
        MsgStreamKind::Ignored(name) => (at, at, Body::Ignored(name)),
        MsgStreamKind::Unknown => (at, at, Body::Unknown(base.msg_type)),
    };
    Ok(Record { position, begin, end, mark: mark_of(raw), body })
}

/// The record of a message that cannot be decoded.
pub(super) fn damaged(position: Position, error: impl Into<Box<dyn Error + Send + Sync>>) -> Record {
    let body = Body::Undecodable(error.into());
    Record { position, begin: Timestamp::ZERO, end: Timestamp::ZERO, mark: None, body }
}

/// Decodes one message, with the mark that stands beside it; one that cannot be decoded becomes
/// [`Body::Undecodable`].
pub(in crate::source) fn record(position: Position, bytes: &Bytes, mark: Option<Mark>) -> Record {
    let record = decode(position, bytes).unwrap_or_else(|error| damaged(position, error));
    Record { mark: mark.or(record.mark), ..record }
}

/// As much of a message as a search for a place in the log needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Glance {
    /// A time tick.
    Tick {
        /// Its time.
        time: Timestamp,
        /// Reading from here on brings everything later than the tick; `None`: reading from the tick on does.
        resume: Option<Position>,
    },
    /// The collection was made.
    CreateCollection(CollectionId),
    /// Something else, or a message that cannot be decoded.
    Other,
}

/// Decodes that much without copying: a search skips many large messages.
pub(in crate::source) fn glance(bytes: &[u8]) -> Glance {
    let Ok(base) = read_base(bytes) else { return Glance::Other };
    match MsgStreamKind::of(base.msg_type) {
        MsgStreamKind::TimeTick => Glance::Tick { time: Timestamp(base.timestamp), resume: None },
        MsgStreamKind::CreateCollection => log::CreateCollectionRequest::parse_from_bytes(bytes)
            .map_or(Glance::Other, |message| Glance::CreateCollection(CollectionId(message.collectionID))),
        _ => Glance::Other,
    }
}

/// Reads the first field alone: decoding all of a large insert to learn its type would double its cost.
fn read_base(bytes: &[u8]) -> Result<MsgBase, DecodeError> {
    Ok(MsgBase::parse_from_bytes(raw_base(bytes)?)?)
}

fn raw_base(bytes: &[u8]) -> Result<&[u8], DecodeError> {
    const BASE: u32 = 1;
    match wire::fields(bytes).next().transpose()? {
        Some((BASE, base)) => Ok(base),
        _ => Err(DecodeError::NoBase),
    }
}

/// The mark among the base's properties, where RocksMQ keeps what brokers keep beside a message.
fn mark_of(base: &[u8]) -> Option<Mark> {
    const PROPERTIES: u32 = 6;
    let entries = wire::fields(base).map_while(Result::ok).filter(|(field, _)| *field == PROPERTIES);
    Mark::of_properties(entries.filter_map(|(_, entry)| property(entry).ok()))
}

fn collection_hint(id: i64) -> Body {
    if id == 0 { Body::CatalogHint(None) } else { Body::CollectionHint(CollectionId(id)) }
}

/// Database and collection.
fn named(bytes: &[u8]) -> Result<(String, String), DecodeError> {
    let request = api::CollectionRequest::parse_from_bytes(bytes)?;
    Ok((request.db_name, request.collection_name))
}

/// Numbers of the fields of `msg.InsertRequest`.
mod insert {
    pub(super) const COLLECTION: u32 = 7;
    pub(super) const PARTITION: u32 = 8;
    pub(super) const TIMESTAMPS: u32 = 10;
    pub(super) const ROW_IDS: u32 = 11;
    pub(super) const COLUMNS: u32 = 13;
    pub(super) const ROWS: u32 = 14;
    pub(super) const VERSION: u32 = 15;
}

/// Decodes an insert of a log in which both halves of an upsert are one transaction.
///
/// # Errors
/// The bytes are damaged, or of a form that cannot be replicated.
pub(super) fn insert(bytes: &Bytes) -> Result<Insert, DecodeError> {
    match decode_insert(Timestamp::ZERO, bytes)? {
        (_, _, Body::Insert(insert)) => Ok(Insert { half: false, ..insert }),
        _ => Err(DecodeError::NoInsert),
    }
}

/// Decodes a delete.
///
/// # Errors
/// The bytes are damaged, or the delete names its rows by a condition.
pub(super) fn delete(bytes: &[u8]) -> Result<Delete, DecodeError> {
    let message = log::DeleteRequest::parse_from_bytes(bytes)?;
    delete_of(message)
}

/// Walks the fields instead of parsing the message: the columns stay slices of it.
fn decode_insert(at: Timestamp, bytes: &Bytes) -> Result<(Timestamp, Timestamp, Body), DecodeError> {
    let (collection, partition) = (CollectionId(0), PartitionId(0));
    let mut found = Insert { collection, partition, rows: 0, columns: Vec::new(), half: false, row_id: None };
    let (mut begin, mut end, mut version) = (Timestamp::MAX, Timestamp::ZERO, 0);
    for field in wire::fields(bytes) {
        let (number, value) = field?;
        match number {
            insert::COLLECTION => found.collection = CollectionId(wire::number(value)? as i64),
            insert::PARTITION => found.partition = PartitionId(wire::number(value)? as i64),
            insert::TIMESTAMPS => {
                for ts in wire::numbers(value) {
                    let ts = Timestamp(ts?);
                    (begin, end) = (begin.min(ts), end.max(ts));
                }
            }
            insert::ROW_IDS if found.row_id.is_none() => {
                let first = wire::numbers(value).next().transpose()?;
                found.row_id = first.map(|id| id as i64).filter(|id| *id != 0);
            }
            insert::COLUMNS => found.columns.push(bytes.slice_ref(value).into()),
            insert::ROWS => found.rows = wire::number(value)? as usize,
            insert::VERSION => version = wire::number(value)?,
            _ => {}
        }
    }
    if version == 0 && found.columns.is_empty() {
        return Err(DecodeError::RowBased);
    }
    // The base of an upsert's insert carries no timestamp: the rows' own count.
    found.half = at == Timestamp::ZERO;
    let (begin, end) = if begin > end { (at, at) } else { (begin, end) };
    Ok((begin, end, Body::Insert(found)))
}

fn decode_delete(at: Timestamp, bytes: &[u8]) -> Result<(Timestamp, Timestamp, Body), DecodeError> {
    let message = log::DeleteRequest::parse_from_bytes(bytes)?;
    let (begin, end) = span(&message.timestamps, at);
    Ok((begin, end, Body::Delete(delete_of(message)?)))
}

fn delete_of(message: log::DeleteRequest) -> Result<Delete, DecodeError> {
    let by_condition = !message.serialized_expr_plan.is_empty();
    let keys = match message.primary_keys.into_option().and_then(|ids| ids.id_field) {
        Some(schema::ids::Id_field::IntId(keys)) => Keys::Int(keys.data),
        Some(schema::ids::Id_field::StrId(keys)) => Keys::Str(keys.data),
        None => Keys::Int(message.int64_primary_keys),
    };
    let partition = if message.partitionID > 0 { PartitionId(message.partitionID) } else { PartitionId::ALL };
    if by_condition && keys.is_empty() {
        return Err(DecodeError::ByCondition);
    }
    Ok(Delete { collection: CollectionId(message.collectionID), partition, keys })
}

fn span(rows: &[u64], base: Timestamp) -> (Timestamp, Timestamp) {
    let begin = rows.iter().min().map_or(base, |&ts| Timestamp(ts));
    let end = rows.iter().max().map_or(base, |&ts| Timestamp(ts));
    (begin, end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Column;

    fn base(kind: i32, timestamp: u64) -> protobuf::MessageField<MsgBase> {
        protobuf::MessageField::some(MsgBase { msg_type: kind, timestamp, ..Default::default() })
    }

    #[test]
    fn a_real_time_tick() {
        let bytes =
            [0x0a, 0x0f, 0x08, 0xb0, 0x09, 0x18, 0x87, 0x80, 0x90, 0xd6, 0x9f, 0xfc, 0x81, 0xc4, 0x06, 0x20, 0x01];
        let record = decode(Position::at(7), &Bytes::copy_from_slice(&bytes)).unwrap();
        assert!(matches!(record.body, Body::Tick { .. }));
        assert_eq!(record.position, Position::at(7));
        assert!(record.begin.physical_ms() > 1_600_000_000_000, "{}", record.begin.physical_ms());
    }

    #[test]
    fn an_upserts_insert_takes_the_rows_time() {
        let mut message = Vec::new();
        let mut out = protobuf::CodedOutputStream::vec(&mut message);
        out.write_bytes(1, &base(400, 0).write_to_bytes().unwrap()).unwrap();
        out.write_int64(7, 5).unwrap();
        out.write_int64(8, 6).unwrap();
        out.write_repeated_packed_uint64(10, &[30, 10, 20]).unwrap();
        out.write_repeated_packed_int64(11, &[71, 72, 73]).unwrap();
        out.write_bytes(13, &[1, 2]).unwrap();
        out.write_uint64(14, 3).unwrap();
        out.write_uint64(15, 1).unwrap();
        drop(out);
        let record = decode(Position::at(1), &message.into()).unwrap();
        assert_eq!((record.begin, record.end), (Timestamp(10), Timestamp(30)));
        let Body::Insert(insert) = record.body else { panic!("not an insert") };
        assert!(insert.half);
        assert_eq!(insert.row_id, Some(71));
        assert_eq!((insert.collection, insert.partition, insert.rows), (CollectionId(5), PartitionId(6), 3));
        assert_eq!(insert.columns, [Column::from(vec![1, 2])]);
    }

    #[test]
    fn a_delete_without_partition_is_for_all() {
        let mut ids = schema::IDs::new();
        ids.set_str_id(schema::StringArray { data: vec!["a\"b".into()], ..Default::default() });
        let message = log::DeleteRequest {
            base: base(401, 9),
            collectionID: 5,
            partitionID: -1,
            timestamps: vec![9],
            primary_keys: protobuf::MessageField::some(ids),
            ..Default::default()
        };
        let record = decode(Position::at(1), &message.write_to_bytes().unwrap().into()).unwrap();
        let Body::Delete(delete) = record.body else { panic!("not a delete") };
        assert_eq!(delete.partition, PartitionId::ALL);
        assert_eq!(delete.keys, Keys::Str(vec!["a\"b".into()]));
    }

    /// As RocksMQ holds it: the headers of the call are properties of the base.
    #[test]
    fn the_mark_is_found_among_the_bases_properties() {
        let mark = Mark::of(CollectionId(446_028_871_133_593_604), Timestamp(446_028_900_000_000_123));
        let baggage = format!("user=alice,{}", mark.baggage().unwrap());
        let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let mut base = MsgBase { msg_type: 401, timestamp: 9, ..Default::default() }.write_to_bytes().unwrap();
        for (key, value) in [("traceparent", trace), ("baggage", &baggage)] {
            let mut entry = Vec::new();
            let mut out = protobuf::CodedOutputStream::vec(&mut entry);
            out.write_string(1, key).unwrap();
            out.write_string(2, value).unwrap();
            drop(out);
            let mut out = protobuf::CodedOutputStream::vec(&mut base);
            out.write_bytes(6, &entry).unwrap();
            drop(out);
        }
        let mut message = Vec::new();
        let mut out = protobuf::CodedOutputStream::vec(&mut message);
        out.write_bytes(1, &base).unwrap();
        out.write_int64(7, 5).unwrap();
        drop(out);
        let record = decode(Position::at(1), &message.into()).unwrap();
        assert_eq!(record.mark, Some(mark));
        assert!(matches!(record.body, Body::Delete(_)), "{record:?}");
    }

    #[test]
    fn a_created_database_is_named() {
        let message = api::DatabaseRequest { base: base(1801, 9), db_name: "d".into(), ..Default::default() };
        let record = decode(Position::at(1), &message.write_to_bytes().unwrap().into()).unwrap();
        assert!(matches!(record.body, Body::CreateDatabase(name) if name == "d"));
    }

    #[test]
    fn damaged_bytes_are_an_error() {
        for bytes in [&b""[..], b"\x00", b"\x0a\xff", b"hello"] {
            assert!(decode(Position::at(1), &Bytes::from_static(bytes)).is_err(), "{bytes:?}");
        }
    }
}
