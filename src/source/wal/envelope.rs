//! One answer of `DumpMessages`, and the properties of the message in it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use protobuf::Message;

use super::kind::Kind;
use super::message_id::{MessageId, UnknownId};
use crate::milvus::pb::common::Status;
use crate::milvus::pb::wal::{BroadcastHeader, ImmutableMessage, MessageID as WireId, TxnContext};
use crate::milvus::wire::{self, Malformed};

/// An answer.
#[derive(Debug)]
pub enum Answer {
    /// How the call goes: an error, or nothing.
    Status(Status),
    /// A message.
    Message(Box<Envelope>),
}

/// A message with what its properties say.
#[derive(Debug)]
pub struct Envelope {
    /// Its own id.
    pub id: MessageId,
    /// The number of its type.
    pub number: i32,
    /// Its time tick: the time of every row in it.
    pub tick: u64,
    /// Reading from there on finds every message with a later tick, and this one.
    pub last_confirmed: MessageId,
    /// The virtual channel; empty on a tick.
    pub vchannel: String,
    /// Its header, a small message of its own.
    pub header: Vec<u8>,
    /// The transaction that it is part of.
    pub txn: Option<i64>,
    /// It stands on several channels.
    pub broadcast: Option<Broadcast>,
    /// The content can be read by the source alone.
    pub encrypted: bool,
    /// The cluster that it came from by Milvus's own replication.
    pub replicated: bool,
    /// The content.
    pub payload: Bytes,
}

/// One message on several channels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broadcast {
    /// The same on every channel.
    pub id: u64,
    /// The virtual channels.
    pub vchannels: Vec<String>,
}

/// Not what `DumpMessages` answers.
#[derive(Debug, Clone, thiserror::Error)]
pub enum EnvelopeError {
    /// Not protobuf, or without what every message has.
    #[error("an answer is damaged: {0}")]
    Damaged(String),
    /// An id that cannot be kept.
    #[error(transparent)]
    Id(#[from] UnknownId),
}

impl From<Malformed> for EnvelopeError {
    fn from(_: Malformed) -> Self {
        EnvelopeError::Damaged("it is no protobuf message".into())
    }
}

impl From<protobuf::Error> for EnvelopeError {
    fn from(error: protobuf::Error) -> Self {
        EnvelopeError::Damaged(error.to_string())
    }
}

/// Reads a serialized `DumpMessagesResponse`.
///
/// # Errors
/// [`EnvelopeError`].
pub fn read(answer: &Bytes) -> Result<Answer, EnvelopeError> {
    const STATUS: u32 = 1;
    const MESSAGE: u32 = 2;
    for field in wire::fields(answer) {
        match field? {
            (STATUS, bytes) => return Ok(Answer::Status(Status::parse_from_bytes(bytes)?)),
            (MESSAGE, bytes) => {
                return Ok(Answer::Message(Box::new(Parts::read(&answer.slice_ref(bytes))?.envelope()?)));
            }
            _ => {}
        }
    }
    Ok(Answer::Status(Status::new()))
}

/// The message that `FlushAll` answers for a channel.
///
/// # Errors
/// [`EnvelopeError`].
pub fn of_message(message: &ImmutableMessage) -> Result<Envelope, EnvelopeError> {
    let properties = message.properties.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
    let id = message.id.clone().into_option();
    Parts { id, payload: message.payload.clone().into(), properties }.envelope()
}

/// A message taken apart; the payload stays where it is.
#[derive(Default)]
struct Parts {
    id: Option<WireId>,
    payload: Bytes,
    properties: Vec<(String, String)>,
}

impl Parts {
    fn read(message: &Bytes) -> Result<Parts, EnvelopeError> {
        let mut parts = Parts::default();
        for field in wire::fields(message) {
            match field? {
                (1, bytes) => parts.id = Some(WireId::parse_from_bytes(bytes)?),
                (2, bytes) => parts.payload = message.slice_ref(bytes),
                (3, bytes) => parts.properties.push(property(bytes)?),
                _ => {}
            }
        }
        Ok(parts)
    }

    fn get(&self, key: &str) -> Option<&str> {
        self.properties.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    fn envelope(self) -> Result<Envelope, EnvelopeError> {
        let lacks = |key: &str| EnvelopeError::Damaged(format!("the message has no property {key}"));
        let id = MessageId::read(self.id.as_ref().ok_or_else(|| EnvelopeError::Damaged("it has no id".into()))?)?;
        let number = self.get("_t").and_then(|text| text.parse().ok()).ok_or_else(|| lacks("_t"))?;
        let tick = self.get("_tt").and_then(|text| u64::from_str_radix(text, 36).ok()).ok_or_else(|| lacks("_tt"))?;
        let last_confirmed = match (self.get("_lc"), self.get("_lcs")) {
            (Some(text), _) => id.sibling(text)?,
            (None, Some(_)) => id.clone(),
            (None, None) => return Err(lacks("_lc")),
        };
        let header = decoded(self.get("_h").unwrap_or_default())?;
        let txn =
            self.get("_tx").map(|text| Ok::<_, EnvelopeError>(TxnContext::parse_from_bytes(&decoded(text)?)?.txn_id));
        let broadcast = self.get("_bh").map(|text| {
            let header = BroadcastHeader::parse_from_bytes(&decoded(text)?)?;
            Ok::<_, EnvelopeError>(Broadcast { id: header.broadcast_id, vchannels: header.vchannels })
        });
        Ok(Envelope {
            number,
            tick,
            last_confirmed,
            vchannel: self.get("_vc").unwrap_or_default().to_owned(),
            header,
            txn: txn.transpose()?,
            broadcast: broadcast.transpose()?,
            encrypted: self.get("_ch").is_some(),
            replicated: self.get("_rh").is_some(),
            id,
            payload: self.payload,
        })
    }
}

fn property(entry: &[u8]) -> Result<(String, String), EnvelopeError> {
    let (mut key, mut value) = (String::new(), String::new());
    let text = |bytes: &[u8]| {
        String::from_utf8(bytes.to_vec()).map_err(|_| EnvelopeError::Damaged("a property is no text".into()))
    };
    for field in wire::fields(entry) {
        match field? {
            (1, bytes) => key = text(bytes)?,
            (2, bytes) => value = text(bytes)?,
            _ => {}
        }
    }
    Ok((key, value))
}

fn decoded(text: &str) -> Result<Vec<u8>, EnvelopeError> {
    STANDARD.decode(text).map_err(|error| EnvelopeError::Damaged(format!("a property is no base64: {error}")))
}

impl Envelope {
    /// What its type means.
    pub fn kind(&self) -> Kind {
        Kind::of(self.number)
    }

    /// The physical channel that a virtual one lies on: cut off at the last `_`, if what follows says so.
    pub fn pchannel(vchannel: &str) -> &str {
        match vchannel.rsplit_once('_') {
            Some((pchannel, rest)) if rest.contains('v') => pchannel,
            _ => vchannel,
        }
    }

    /// Of a message on several channels, whether this copy stands for all. The control channel's does so only where there is no
    /// other: its channel may not be read.
    pub fn stands_for_all(&self) -> bool {
        let Some(broadcast) = &self.broadcast else { return true };
        let of_data = broadcast.vchannels.iter().find(|vchannel| !vchannel.ends_with(CONTROL));
        of_data.or(broadcast.vchannels.first()).is_none_or(|first| *first == self.vchannel)
    }
}

impl Broadcast {
    /// The physical channels of its collection's shards, as often as they have shards.
    pub fn shards(&self) -> impl Iterator<Item = &str> {
        self.vchannels
            .iter()
            .filter(|vchannel| !vchannel.ends_with(CONTROL))
            .map(|vchannel| Envelope::pchannel(vchannel))
    }
}

/// How the name of a control channel ends.
const CONTROL: &str = "vcchan";
