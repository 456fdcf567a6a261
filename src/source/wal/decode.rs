//! From messages to what they say, transactions put together.

use std::collections::BTreeMap;

use protobuf::Message;

use super::envelope::Envelope;
use super::kind::{Kind, Place};
use crate::domain::{Channel, CollectionId};
use crate::milvus::pb::wal::{AliasHeader, CollectionFirst, CollectionSecond};
use crate::milvus::wire;
use crate::source::message::{Body, DecodeError, Truncate, delete, insert};

/// What a message says by itself.
///
/// # Errors
/// Header or content is damaged, or it is a delete without keys.
pub fn body(message: &Envelope) -> Result<Body, DecodeError> {
    Ok(match message.kind() {
        Kind::TimeTick => Body::Tick,
        Kind::Insert | Kind::Delete if message.encrypted => Body::Uncarried {
            collection: collection(message, Place::First)?,
            what: if message.kind() == Kind::Insert { "encrypted rows" } else { "encrypted deletes" },
        },
        Kind::Insert => Body::Insert(insert(&message.payload)?),
        Kind::Delete => Body::Delete(delete(&message.payload)?),
        Kind::CreateCollection => Body::CreateCollection(collection(message, Place::First)?),
        Kind::Truncate => Body::Truncate(Truncate {
            collection: collection(message, Place::Second)?,
            id: message.broadcast.as_ref().map_or(0, |broadcast| broadcast.id),
            channels: message.broadcast.iter().flat_map(|broadcast| broadcast.shards()).map(Channel::new).collect(),
        }),
        Kind::Collection(place) => match collection(message, place)? {
            CollectionId(0) => Body::CatalogHint(None),
            id => Body::CollectionHint(id),
        },
        Kind::Catalog => Body::CatalogHint(None),
        Kind::Uncarried(place, what) if message.stands_for_all() => {
            Body::Uncarried { collection: collection(message, place)?, what }
        }
        Kind::Uncarried(_, what) => Body::Ignored(what),
        Kind::Begin => Body::Ignored("BeginTxn"),
        Kind::Commit => Body::Ignored("CommitTxn"),
        Kind::Ignored(name) => Body::Ignored(name),
        Kind::Opaque => Body::Stop(
            "the source sends transactions without their rows, as Milvus before 2.6.20 does: upgrade it to 2.6.20 or later"
                .into(),
        ),
        Kind::Unknown => Body::Stop(format!(
            "the source's log has a message of type {}, which is not known here: use a newer milvus-cdc",
            message.number
        )),
    })
}

fn collection(message: &Envelope, place: Place) -> Result<CollectionId, DecodeError> {
    let header = &message.header;
    let id = match place {
        Place::First => CollectionFirst::parse_from_bytes(header)?.collection_id,
        Place::Second => CollectionSecond::parse_from_bytes(header)?.collection_id,
        Place::Third => AliasHeader::parse_from_bytes(header)?.collection_id,
        Place::ImportedInto => {
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

/// What a message, or the transaction that it completes, says.
#[derive(Debug)]
pub struct Complete {
    /// Its tick, and that of everything in it.
    pub tick: u64,
    /// What it says, in order.
    pub bodies: Vec<Body>,
}

/// Transactions of a channel that have begun. Servers send one as its beginning, its parts and its end, each with the tick of the
/// end; a part counts only with the end.
#[derive(Debug, Default)]
pub struct Transactions {
    open: BTreeMap<i64, Vec<Body>>,
}

/// A message that does not fit what came before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a part of the transaction {0} came without its beginning")]
pub struct Headless(i64);

impl Transactions {
    /// Takes in a message and answers what is complete with it. What cannot be decoded becomes a body that says so.
    ///
    /// # Errors
    /// The transaction has not begun.
    pub fn take(&mut self, message: &Envelope) -> Result<Option<Complete>, Headless> {
        let Some(txn) = message.txn else {
            return Ok(Some(Complete { tick: message.tick, bodies: vec![said(message)] }));
        };
        match message.kind() {
            Kind::Begin => drop(self.open.insert(txn, Vec::new())),
            Kind::Commit => {
                let bodies = self.open.remove(&txn).ok_or(Headless(txn))?;
                return Ok(Some(Complete { tick: message.tick, bodies }));
            }
            Kind::Opaque => return Ok(Some(Complete { tick: message.tick, bodies: vec![said(message)] })),
            // A rolled back one is not sent; should it be, nothing of it counts.
            Kind::Ignored("RollbackTxn") => drop(self.open.remove(&txn)),
            _ => self.open.get_mut(&txn).ok_or(Headless(txn))?.push(said(message)),
        }
        Ok(None)
    }

    /// Whether none is open.
    pub fn is_idle(&self) -> bool {
        self.open.is_empty()
    }
}

/// What a message says; one that cannot be read says so.
fn said(message: &Envelope) -> Body {
    match (body(message), collection(message, Place::First)) {
        (Ok(body), _) => body,
        (Err(DecodeError::ByCondition), Ok(collection)) => Body::Compare { collection, what: "delete by a condition" },
        (Err(error), _) => Body::Undecodable(error),
    }
}
