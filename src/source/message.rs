/*!
Decoding log messages of Milvus 2.2 to 2.5 (`milvus.proto.msg`): the serialized protobuf alone, whose first field tells
the type. Later versions put the type into the message's properties, too; earlier ones do not, so they are not looked at.

A message that came to the source by `ReplicateMessage` (`base.replicateInfo`) is a message like any other: the source has its rows.
*/

mod kind;

use bytes::Bytes;
use protobuf::{CodedInputStream, Message};

use self::kind::Kind;
use crate::domain::{Channel, CollectionId, PartitionId, Position, Timestamp};
use crate::milvus::pb::common::MsgBase;
use crate::milvus::pb::{api, log, schema};
use crate::milvus::rows::Column;
use crate::milvus::wire::{self, Malformed};

/// One message of a channel.
#[derive(Debug)]
pub struct Record {
    /// Where it stands.
    pub position: Position,
    /// The smallest timestamp of its rows; a tick's own.
    pub begin: Timestamp,
    /// The largest timestamp of its rows.
    pub end: Timestamp,
    /// What it says.
    pub body: Body,
}

/// What a message says.
#[derive(Debug)]
pub enum Body {
    /// Every message of this channel with a timestamp up to the record's has been seen.
    Tick,
    /// New rows of one partition.
    Insert(Insert),
    /// Keys that are gone.
    Delete(Delete),
    /// The collection was made: nothing of it stands before this on the channel.
    CreateCollection(CollectionId),
    /// Something about this collection's place in the catalog has changed.
    CollectionHint(CollectionId),
    /// Something about the catalog has changed, about this collection (database and name) where the message says so.
    CatalogHint(Option<(String, String)>),
    /// Files were imported into this collection (database and name): their rows are not in the log.
    BulkImport {
        /// Database; empty for the default one.
        db: String,
        /// Collection.
        collection: String,
    },
    /// Of no use here; Milvus's name of the type.
    Ignored(&'static str),
    /// Of a type that did not exist when this was written; Milvus's number of it.
    Unknown(i32),
    /// All rows of a collection are gone.
    Truncate(Truncate),
    /// Rows of this collection came or went, and the log does not say which.
    Uncarried {
        /// Whose rows.
        collection: CollectionId,
        /// What happened, or why they cannot be read.
        what: &'static str,
    },
    /// Rows of this collection have changed in a way that only the source itself can tell: they have to be compared.
    Compare {
        /// Whose rows.
        collection: CollectionId,
        /// What happened.
        what: &'static str,
    },
    /// Nothing may be passed on behind this: why, and what to do.
    Stop(String),
    /// It cannot be read; counted, named, and passed over.
    Undecodable(DecodeError),
}

/// Rows to insert.
#[derive(Debug)]
pub struct Insert {
    /// Whose rows.
    pub collection: CollectionId,
    /// Where they belong.
    pub partition: PartitionId,
    /// How many.
    pub rows: usize,
    /// Its columns: slices of the message.
    pub columns: Vec<Column>,
    /// One half of an upsert; the delete with the same timestamp is the other.
    pub half: bool,
    /// The number that the source has given its first row, which no other message's row has. `None`: it gives none.
    pub row_id: Option<i64>,
}

/// Rows to delete: those with these keys and a timestamp before the record's.
#[derive(Debug)]
pub struct Delete {
    /// Whose rows.
    pub collection: CollectionId,
    /// Where to delete; [`PartitionId::ALL`] for everywhere.
    pub partition: PartitionId,
    /// Which.
    pub keys: Keys,
}

/// The rows of a collection are gone: those that stand before one such message on each of its shards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Truncate {
    /// Whose rows.
    pub collection: CollectionId,
    /// The same in every shard's message.
    pub id: u64,
    /// The physical channels of the shards.
    pub channels: Vec<Channel>,
}

impl Truncate {
    /// Whether two of its shards are on one channel: then what stands between their messages cannot be told apart.
    pub fn shares_a_channel(&self) -> bool {
        let distinct: std::collections::BTreeSet<&Channel> = self.channels.iter().collect();
        distinct.len() < self.channels.len()
    }
}

/// Primary keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keys {
    /// Of an Int64 field.
    Int(Vec<i64>),
    /// Of a VarChar field.
    Str(Vec<String>),
}

impl Keys {
    /// How many.
    pub fn len(&self) -> usize {
        match self {
            Keys::Int(keys) => keys.len(),
            Keys::Str(keys) => keys.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A message that does not read as what it says it is.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DecodeError {
    /// Not protobuf, or cut short.
    #[error("the message is damaged: {0}")]
    Damaged(String),
    /// Rows in a form that no Milvus since 2.0 writes.
    #[error("an insert in the row-based form, which is not supported")]
    RowBased,
    /// The keys are not given, only a condition in a form of the server's own (Milvus 3).
    #[error("a delete by a condition without keys, which only the source itself can evaluate")]
    ByCondition,
}

impl From<protobuf::Error> for DecodeError {
    fn from(error: protobuf::Error) -> Self {
        DecodeError::Damaged(error.to_string())
    }
}

impl From<Malformed> for DecodeError {
    fn from(_: Malformed) -> Self {
        DecodeError::Damaged("it is no protobuf message".into())
    }
}

/// Decodes one message.
///
/// # Errors
/// The bytes are damaged or of a form that cannot be carried over.
pub fn decode(position: Position, bytes: &Bytes) -> Result<Record, DecodeError> {
    let base = read_base(bytes)?;
    let at = Timestamp(base.timestamp);
    let (begin, end, body) = match Kind::of(base.msg_type) {
        Kind::TimeTick => (at, at, Body::Tick),
        Kind::Insert => decode_insert(at, bytes)?,
        Kind::Delete => decode_delete(at, bytes)?,
        Kind::CreateCollection => {
            let id = log::CreateCollectionRequest::parse_from_bytes(bytes)?.collectionID;
            (at, at, Body::CreateCollection(CollectionId(id)))
        }
        Kind::DropCollection => {
            let id = log::DropCollectionRequest::parse_from_bytes(bytes)?.collectionID;
            (at, at, collection_hint(id))
        }
        Kind::Partition => {
            let id = log::PartitionRequest::parse_from_bytes(bytes)?.collectionID;
            (at, at, collection_hint(id))
        }
        Kind::Import => {
            let (db, collection) = named(bytes)?;
            (at, at, Body::BulkImport { db, collection })
        }
        Kind::Named => (at, at, Body::CatalogHint(Some(named(bytes)?))),
        Kind::Catalog => (at, at, Body::CatalogHint(None)),
        Kind::Ignored(name) => (at, at, Body::Ignored(name)),
        Kind::Unknown => (at, at, Body::Unknown(base.msg_type)),
    };
    Ok(Record { position, begin, end, body })
}

/// Decodes one message; one that cannot be read becomes a record that says so.
pub(super) fn record(position: Position, bytes: &Bytes) -> Record {
    decode(position, bytes).unwrap_or_else(|error| Record {
        position,
        begin: Timestamp::ZERO,
        end: Timestamp::ZERO,
        body: Body::Undecodable(error),
    })
}

/// What a message is, as far as a search for a place in the log wants to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Glance {
    /// A tick of that time.
    Tick(Timestamp),
    /// The collection was made.
    CreateCollection(CollectionId),
    /// Something else, or nothing that can be read.
    Other,
}

/// Looks at a message without copying it: a search passes by many that are large.
pub(super) fn glance(bytes: &[u8]) -> Glance {
    let Ok(base) = read_base(bytes) else { return Glance::Other };
    match Kind::of(base.msg_type) {
        Kind::TimeTick => Glance::Tick(Timestamp(base.timestamp)),
        Kind::CreateCollection => log::CreateCollectionRequest::parse_from_bytes(bytes)
            .map_or(Glance::Other, |message| Glance::CreateCollection(CollectionId(message.collectionID))),
        _ => Glance::Other,
    }
}

/// Reads the first field alone: decoding a large insert only for its type would cost as much as the insert itself.
fn read_base(bytes: &[u8]) -> Result<MsgBase, DecodeError> {
    const BASE_TAG: u32 = (1 << 3) | 2;
    let mut input = CodedInputStream::from_bytes(bytes);
    match input.read_raw_tag_or_eof()? {
        Some(BASE_TAG) => Ok(input.read_message::<MsgBase>()?),
        _ => Err(DecodeError::Damaged("it does not start with a base".into())),
    }
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

/// An insert's rows, for logs in which both halves of an upsert come together.
///
/// # Errors
/// The bytes are damaged or of a form that cannot be carried over.
pub(super) fn insert(bytes: &Bytes) -> Result<Insert, DecodeError> {
    match decode_insert(Timestamp::ZERO, bytes)? {
        (_, _, Body::Insert(insert)) => Ok(Insert { half: false, ..insert }),
        _ => Err(DecodeError::Damaged("it is no insert".into())),
    }
}

/// A delete's keys.
///
/// # Errors
/// The bytes are damaged, or the rows to delete are told by a condition.
pub(super) fn delete(bytes: &[u8]) -> Result<Delete, DecodeError> {
    let message = log::DeleteRequest::parse_from_bytes(bytes)?;
    delete_of(message)
}

/// Read by hand: the columns stay where they are, as slices of the message.
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

    fn base(kind: i32, timestamp: u64) -> protobuf::MessageField<MsgBase> {
        protobuf::MessageField::some(MsgBase { msg_type: kind, timestamp, ..Default::default() })
    }

    #[test]
    fn a_real_time_tick() {
        let bytes =
            [0x0a, 0x0f, 0x08, 0xb0, 0x09, 0x18, 0x87, 0x80, 0x90, 0xd6, 0x9f, 0xfc, 0x81, 0xc4, 0x06, 0x20, 0x01];
        let record = decode(Position::at(7), &Bytes::copy_from_slice(&bytes)).unwrap();
        assert!(matches!(record.body, Body::Tick));
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

    #[test]
    fn damaged_bytes_are_an_error() {
        for bytes in [&b""[..], b"\x00", b"\x0a\xff", b"hello"] {
            assert!(decode(Position::at(1), &Bytes::from_static(bytes)).is_err(), "{bytes:?}");
        }
    }
}
