/*!
A message of Milvus 2.6 and later: its properties and its payload. `DumpMessages` answers hold one each; the queues hold
them too ([`queue_message`](super::queue_message)), and only the form of an id differs.
*/

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use protobuf::Message;

use super::wal_kind::WalKind;
use super::wal_message_id::{UnknownId, WalMessageId};
use crate::domain::Mark;
use crate::milvus::pb::common::Status;
use crate::milvus::pb::wal::{BroadcastHeader, ImmutableMessage, MessageID as WireId, TxnContext};
use crate::milvus::wire::{self, Malformed};

/// An answer of `DumpMessages`.
#[derive(Debug)]
pub enum DumpAnswer {
    /// The state of the call: an error, or nothing.
    Status(Status),
    /// A message.
    Message(Box<Envelope>),
}

/// A message with its properties decoded. `I`: what its log numbers messages by.
#[derive(Debug)]
pub struct Envelope<I = WalMessageId> {
    /// Its own id.
    pub id: I,
    /// The number of its type (`MessageType`).
    pub number: i32,
    /// Its time tick, which is the timestamp of every row in it.
    pub tick: u64,
    /// Reading from there on finds this message, and every message with a later tick.
    pub last_confirmed: I,
    /// Its virtual channel (vchannel); empty on a time tick.
    pub vchannel: String,
    /// Its header: a small protobuf message, by type.
    pub header: Vec<u8>,
    /// The id of the transaction that it belongs to.
    pub txn: Option<i64>,
    /// How long after its last message that transaction counts as abandoned, in ms; not above 0: never.
    pub txn_keepalive_ms: i64,
    /// Set on a message that is broadcast to several channels.
    pub broadcast: Option<Broadcast>,
    /// Only the source can decrypt its payload.
    pub encrypted: bool,
    /// It reached the source by Milvus's own replication.
    pub replicated: bool,
    /// The mark of the call that made it.
    pub mark: Option<Mark>,
    /// A piece of a larger message, as a queue holds it. `DumpMessages` puts the pieces together.
    pub is_chunk: bool,
    /// Its payload: a protobuf message, by type.
    pub payload: Bytes,
}

/// The header of a message that is broadcast to several channels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broadcast {
    /// The same in every copy.
    pub id: u64,
    /// The virtual channels that get a copy.
    pub vchannels: Vec<String>,
}

/// A message or an answer that cannot be decoded.
#[derive(Debug, thiserror::Error)]
pub enum EnvelopeError {
    /// A part of it is cut short or damaged.
    #[error("the message is damaged: {0}")]
    Protobuf(#[from] protobuf::Error),
    /// It is not protobuf at all.
    #[error("the message is damaged: not a protobuf message")]
    Malformed,
    /// It has no id.
    #[error("the message is damaged: it has no id")]
    NoId,
    /// It lacks a property that every message has, or the property has another form.
    #[error("the message is damaged: it has no property {0}")]
    NoProperty(&'static str),
    /// A property is not UTF-8.
    #[error("the message is damaged: a property is not UTF-8")]
    NotUtf8(#[from] std::str::Utf8Error),
    /// A property is not base64.
    #[error("the message is damaged: a property is not base64: {0}")]
    NotBase64(#[from] base64::DecodeError),
    /// Its id has an unknown form.
    #[error(transparent)]
    Id(#[from] UnknownId),
    /// It names the message confirmed before it in an unknown form.
    #[error("the message is damaged: its last confirmed id {0:?} has an unknown form")]
    LastConfirmed(String),
}

impl From<Malformed> for EnvelopeError {
    fn from(_: Malformed) -> Self {
        EnvelopeError::Malformed
    }
}

/// Decodes a serialized `DumpMessagesResponse`.
///
/// # Errors
/// The answer is not protobuf, or its message lacks what every message has.
pub fn read(answer: &Bytes) -> Result<DumpAnswer, EnvelopeError> {
    const STATUS: u32 = 1;
    const MESSAGE: u32 = 2;
    for field in wire::fields(answer) {
        match field? {
            (STATUS, bytes) => return Ok(DumpAnswer::Status(Status::parse_from_bytes(bytes)?)),
            (MESSAGE, bytes) => {
                return Ok(DumpAnswer::Message(Box::new(dumped(&answer.slice_ref(bytes))?)));
            }
            _ => {}
        }
    }
    Ok(DumpAnswer::Status(Status::new()))
}

/// Decodes the message that `FlushAll` returns for a channel.
///
/// # Errors
/// It lacks what every message has.
pub fn of_message(message: &ImmutableMessage) -> Result<Envelope, EnvelopeError> {
    let properties = message.properties.iter().map(|(key, value)| (key.as_str(), value.as_bytes())).collect();
    with_wire_id(message.id.as_ref(), &MessageProperties(properties), message.payload.clone().into())
}

/// The message of an answer; the payload stays a slice of it.
fn dumped(message: &Bytes) -> Result<Envelope, EnvelopeError> {
    let (mut id, mut payload, mut properties) = (None, Bytes::new(), MessageProperties::default());
    for field in wire::fields(message) {
        match field? {
            (1, bytes) => id = Some(WireId::parse_from_bytes(bytes)?),
            (2, bytes) => payload = message.slice_ref(bytes),
            (3, bytes) => properties.0.push(property(bytes)?),
            _ => {}
        }
    }
    with_wire_id(id.as_ref(), &properties, payload)
}

fn with_wire_id(
    id: Option<&WireId>,
    properties: &MessageProperties<'_>,
    payload: Bytes,
) -> Result<Envelope, EnvelopeError> {
    let id = WalMessageId::read(id.ok_or(EnvelopeError::NoId)?)?;
    let confirmed = |text: &str| Ok(id.sibling(text)?);
    properties.envelope(id.clone(), confirmed, payload)
}

/// A message's properties, as they came.
#[derive(Debug, Default)]
pub(super) struct MessageProperties<'a>(pub(super) Vec<(&'a str, &'a [u8])>);

/// The property that tells an envelope's version; messages before 2.6 have none, or 0.
const VERSION: &str = "_v";

impl<'a> MessageProperties<'a> {
    /// Whether these belong to a message of Milvus 2.6 or later.
    pub(super) fn are_of_envelope(&self) -> bool {
        self.find(VERSION).is_some_and(|version| !matches!(version, b"" | b"0"))
    }

    fn find(&self, key: &str) -> Option<&'a [u8]> {
        self.0.iter().find(|(name, _)| *name == key).map(|(_, value)| *value)
    }

    fn get(&self, key: &str) -> Result<Option<&'a str>, EnvelopeError> {
        Ok(self.find(key).map(std::str::from_utf8).transpose()?)
    }

    /// A number that every message has.
    fn needed<T>(&self, key: &'static str, parse: impl FnOnce(&str) -> Option<T>) -> Result<T, EnvelopeError> {
        self.get(key)?.and_then(parse).ok_or(EnvelopeError::NoProperty(key))
    }

    /// The message. `confirmed` decodes the id that the property `_lc` holds.
    pub(super) fn envelope<I: Clone>(
        &self,
        id: I,
        confirmed: impl FnOnce(&str) -> Result<I, EnvelopeError>,
        payload: Bytes,
    ) -> Result<Envelope<I>, EnvelopeError> {
        let number = self.needed("_t", |text| text.parse().ok())?;
        let tick = self.needed("_tt", |text| u64::from_str_radix(text, 36).ok())?;
        let last_confirmed = match (self.get("_lc")?, self.find("_lcs")) {
            (Some(text), _) => confirmed(text)?,
            (None, Some(_)) => id.clone(),
            (None, None) => return Err(EnvelopeError::NoProperty("_lc")),
        };
        let header = decoded(self.get("_h")?.unwrap_or_default())?;
        let txn = self.get("_tx")?.map(|text| Ok::<_, EnvelopeError>(TxnContext::parse_from_bytes(&decoded(text)?)?));
        let txn = txn.transpose()?;
        let broadcast = self.get("_bh")?.map(|text| {
            let header = BroadcastHeader::parse_from_bytes(&decoded(text)?)?;
            Ok::<_, EnvelopeError>(Broadcast { id: header.broadcast_id, vchannels: header.vchannels })
        });
        Ok(Envelope {
            number,
            tick,
            last_confirmed,
            vchannel: self.get("_vc")?.unwrap_or_default().to_owned(),
            header,
            txn_keepalive_ms: txn.as_ref().map_or(0, |txn| txn.keepalive_milliseconds),
            txn: txn.map(|txn| txn.txn_id),
            broadcast: broadcast.transpose()?,
            encrypted: self.find("_ch").is_some(),
            replicated: self.find("_rh").is_some(),
            mark: self.find("_tc").and_then(mark_of),
            is_chunk: self.find("_ct").is_some(),
            id,
            payload,
        })
    }
}

/// The mark that a trace context holds: the base64 of a message that has the trace's id as its only field of 16 bytes.
/// (Written by Milvus after 3.0 and not yet observed; the id has a checksum of ours.) Anything else is no mark.
fn mark_of(context: &[u8]) -> Option<Mark> {
    let context = STANDARD.decode(context).ok()?;
    let ids = wire::fields(&context).map_while(Result::ok).filter_map(|(_, id)| <[u8; 16]>::try_from(id).ok());
    ids.map(u128::from_be_bytes).find_map(Mark::of_trace)
}

/// An entry of a map from text to text.
pub(super) fn property(entry: &[u8]) -> Result<(&str, &[u8]), EnvelopeError> {
    let (mut key, mut value) = ("", &[][..]);
    for field in wire::fields(entry) {
        match field? {
            (1, bytes) => key = std::str::from_utf8(bytes)?,
            (2, bytes) => value = bytes,
            _ => {}
        }
    }
    Ok((key, value))
}

fn decoded(text: &str) -> Result<Vec<u8>, EnvelopeError> {
    Ok(STANDARD.decode(text)?)
}

impl Envelope {
    /// The physical channel (pchannel) of a virtual one: the part before the last `_`, if the rest has a vchannel's
    /// form.
    pub fn pchannel(vchannel: &str) -> &str {
        match vchannel.rsplit_once('_') {
            Some((pchannel, rest)) if rest.contains('v') => pchannel,
            _ => vchannel,
        }
    }
}

impl<I> Envelope<I> {
    /// What its type means here.
    pub fn kind(&self) -> WalKind {
        WalKind::of(self.number)
    }

    /// Whether it is the control channel's copy of a broadcast. That channel has no rows: it only lies on the physical
    /// channel of some shards.
    pub fn is_of_control(&self) -> bool {
        self.vchannel.ends_with(CONTROL)
    }

    /// Whether this copy of a broadcast stands for all of them: the first copy on a data channel. The control channel's
    /// copy does only if there is no other, because the control channel may not be read.
    pub fn stands_for_all(&self) -> bool {
        let Some(broadcast) = &self.broadcast else { return true };
        let of_data = broadcast.vchannels.iter().find(|vchannel| !vchannel.ends_with(CONTROL));
        of_data.or(broadcast.vchannels.first()).is_none_or(|first| *first == self.vchannel)
    }
}

impl Broadcast {
    /// The physical channel of each of the collection's shards; one with two shards comes twice.
    pub fn shards(&self) -> impl Iterator<Item = &str> {
        self.vchannels
            .iter()
            .filter(|vchannel| !vchannel.ends_with(CONTROL))
            .map(|vchannel| Envelope::pchannel(vchannel))
    }
}

/// Suffix of a control channel's name.
const CONTROL: &str = "vcchan";
