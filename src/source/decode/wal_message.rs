//! Decodes messages of Milvus 2.6 and later, and puts transactions together.

use std::collections::BTreeMap;

use protobuf::Message;

use super::envelope::Envelope;
use super::error::DecodeError;
use super::msgstream::{delete, insert};
use super::wal_kind::{IdField, WalKind};
use crate::domain::{Body, Channel, CollectionId, CollectionRef, Mark, Truncate};
use crate::milvus::pb::wal::{AliasHeader, CollectionFirst, CollectionSecond};
use crate::milvus::wire;

/// Decodes a single message.
///
/// # Errors
/// Header or payload is damaged, or it is a delete without keys.
pub fn body<I>(message: &Envelope<I>) -> Result<Body, DecodeError> {
    Ok(match message.kind() {
        WalKind::TimeTick => Body::Tick { resume: None },
        WalKind::Insert | WalKind::Delete if message.encrypted => Body::Uncarried {
            collection: collection(message, IdField::First)?,
            what: if message.kind() == WalKind::Insert { "encrypted rows" } else { "encrypted deletes" },
        },
        WalKind::Insert => Body::Insert(insert(&message.payload)?),
        WalKind::Delete => Body::Delete(delete(&message.payload)?),
        WalKind::CreateCollection if message.is_of_control() => {
            Body::CollectionHint(collection(message, IdField::First)?)
        }
        WalKind::CreateCollection => Body::CreateCollection(collection(message, IdField::First)?),
        WalKind::DropCollection => match collection(message, IdField::First)? {
            CollectionId(0) => Body::CatalogHint(None),
            id => Body::DropCollection(id),
        },
        // No shard's rows end there.
        WalKind::Truncate if message.is_of_control() => Body::Ignored("TruncateCollection"),
        WalKind::Truncate => Body::Truncate(Truncate {
            collection: collection(message, IdField::Second)?,
            id: message.broadcast.as_ref().map_or(0, |broadcast| broadcast.id),
            channels: message.broadcast.iter().flat_map(|broadcast| broadcast.shards()).map(Channel::new).collect(),
        }),
        WalKind::Collection(place) => match collection(message, place)? {
            CollectionId(0) => Body::CatalogHint(None),
            id => Body::CollectionHint(id),
        },
        WalKind::Release(place) => match collection(message, place)? {
            CollectionId(0) => Body::CatalogHint(None),
            id => Body::Release(CollectionRef::Id(id)),
        },
        WalKind::Catalog => Body::CatalogHint(None),
        WalKind::Uncarried(place, what) if message.stands_for_all() => {
            Body::Uncarried { collection: collection(message, place)?, what }
        }
        WalKind::Uncarried(_, what) => Body::Ignored(what),
        WalKind::Begin => Body::Ignored("BeginTxn"),
        WalKind::Commit => Body::Ignored("CommitTxn"),
        WalKind::Rollback => Body::Ignored("RollbackTxn"),
        // `DumpMessages` goes on in the other queue by itself.
        WalKind::AlterWal => Body::Ignored("AlterWAL"),
        WalKind::Ignored(name) => Body::Ignored(name),
        WalKind::Opaque => Body::Stop(
            "the source sends transactions without their rows, as Milvus before 2.6.20 does: upgrade the source to \
             2.6.20 or later"
                .into(),
        ),
        WalKind::Unknown => Body::Stop(format!(
            "the source's log has a message of the unknown type {}: use a newer milvus-cdc",
            message.number
        )),
    })
}

fn collection<I>(message: &Envelope<I>, place: IdField) -> Result<CollectionId, DecodeError> {
    let header = &message.header;
    let id = match place {
        IdField::First => CollectionFirst::parse_from_bytes(header)?.collection_id,
        IdField::Second => CollectionSecond::parse_from_bytes(header)?.collection_id,
        IdField::Third => AliasHeader::parse_from_bytes(header)?.collection_id,
        IdField::ImportedInto => {
            const COLLECTION: u32 = 4;
            let mut id = 0;
            for field in wire::fields(&message.payload) {
                if let (COLLECTION, bytes) = field? {
                    id = wire::number(bytes)? as i64;
                }
            }
            id
        }
    };
    Ok(CollectionId(id))
}

/// A message, or the transaction that it completes, decoded.
#[derive(Debug)]
pub struct Complete {
    /// Its time tick, and that of everything in it.
    pub tick: u64,
    /// In order.
    pub bodies: Vec<Body>,
    /// The mark of the call that made it.
    pub mark: Option<Mark>,
}

/// The transactions of a channel that have begun and not ended. A server sends the beginning, the parts and the end,
/// each with the tick of the end; the parts count only once the end has come.
#[derive(Debug, Default)]
pub struct Transactions {
    open: BTreeMap<i64, OpenTransaction>,
}

/// A transaction that has begun. All of it is made by one call.
#[derive(Debug, Default)]
struct OpenTransaction {
    bodies: Vec<Body>,
    mark: Option<Mark>,
}

impl Complete {
    fn single<I>(message: &Envelope<I>) -> Complete {
        Complete { tick: message.tick, bodies: vec![body_or_error(message)], mark: message.mark }
    }
}

/// A part of a transaction whose beginning has not come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("got a part of transaction {0} without its beginning")]
pub struct MissingTransactionStart(i64);

impl Transactions {
    /// Takes in a message and returns what it completes. An undecodable message becomes [`Body::Undecodable`].
    ///
    /// # Errors
    /// The message belongs to a transaction that has not begun.
    pub fn take<I>(&mut self, message: &Envelope<I>) -> Result<Option<Complete>, MissingTransactionStart> {
        let Some(txn) = message.txn else {
            return Ok(Some(Complete::single(message)));
        };
        match message.kind() {
            WalKind::Begin => drop(self.open.insert(txn, OpenTransaction::default())),
            WalKind::Commit => {
                let OpenTransaction { bodies, mark } = self.open.remove(&txn).ok_or(MissingTransactionStart(txn))?;
                return Ok(Some(Complete { tick: message.tick, bodies, mark }));
            }
            WalKind::Opaque => return Ok(Some(Complete::single(message))),
            // `DumpMessages` leaves these transactions out; in a queue they count for nothing.
            WalKind::Rollback => drop(self.open.remove(&txn)),
            _ => {
                let open = self.open.get_mut(&txn).ok_or(MissingTransactionStart(txn))?;
                open.bodies.push(body_or_error(message));
                open.mark = open.mark.or(message.mark);
            }
        }
        Ok(None)
    }

    /// Drops a transaction that will never be committed.
    pub(super) fn forget(&mut self, txn: i64) {
        self.open.remove(&txn);
    }

    /// Whether no transaction is open.
    pub fn is_idle(&self) -> bool {
        self.open.is_empty()
    }
}

/// A single message decoded, whatever is wrong with it.
fn body_or_error<I>(message: &Envelope<I>) -> Body {
    match (body(message), collection(message, IdField::First)) {
        (Ok(body), _) => body,
        (Err(DecodeError::ByCondition), Ok(collection)) => Body::Compare { collection, what: "delete by a condition" },
        (Err(error), _) => Body::Undecodable(error.into()),
    }
}
