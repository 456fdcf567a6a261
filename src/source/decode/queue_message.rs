/*!
Messages of the queues that a source keeps its log in (RocksMQ, Kafka, Pulsar), in whichever of Milvus's formats. One
log may hold both: a source that is upgraded writes on behind its old messages.

Up to 2.5 a queue's value is the message ([`msgstream`]). From 2.6 on it is the payload of an
[`envelope`](super::envelope), whose properties tell what it means: in RocksMQ the value holds both behind a magic
number, in Kafka the properties are the record's headers, in Pulsar they are the message's properties. Without them a
payload looks like a message of 2.5 and would be misread: parts of transactions that were rolled back, for example.
*/

use bytes::Bytes;

use super::envelope::{Envelope, EnvelopeError, MessageProperties, property};
use super::msgstream::{self, Glance};
use super::wal_kind::WalKind;
use super::wal_message;
use super::wal_message_id::Queue;
use crate::domain::{Body, Mark, Position, Record, Timestamp};
use crate::milvus::wire;

/// A message of a queue.
#[derive(Debug)]
pub struct QueueMessage {
    /// Its place in the queue.
    pub position: Position,
    /// What it holds.
    pub content: QueueContent,
}

/// The content of a queue's message, by its format.
#[derive(Debug)]
pub enum QueueContent {
    /// Of Milvus up to 2.5.
    MsgStream {
        /// The message.
        bytes: Bytes,
        /// The mark that stands beside it.
        mark: Option<Mark>,
    },
    /// Of Milvus 2.6 or later.
    Envelope(Box<Envelope<Position>>),
    /// Of Milvus 2.6 or later, and damaged.
    Damaged(EnvelopeError),
}

/// A value in RocksMQ that begins with this is an envelope.
const ROCKSMQ_MAGIC: &[u8] = b"\xff\xfe\xfd\xfcSTREAM";

impl QueueMessage {
    /// Of a value in RocksMQ.
    pub fn of_rocksmq(position: Position, value: &Bytes) -> QueueMessage {
        let content = match value.strip_prefix(ROCKSMQ_MAGIC) {
            None => QueueContent::MsgStream { bytes: value.clone(), mark: None },
            Some(layout) => {
                let envelope = RocksMqValue::of(layout).and_then(|RocksMqValue { payload, properties }| {
                    properties.envelope(position, place_in(Queue::RocksMq), value.slice_ref(payload))
                });
                QueueContent::of(envelope)
            }
        };
        QueueMessage { position, content }
    }

    /// Of a message of a queue that keeps the properties beside it.
    pub fn with_properties<'a>(
        position: Position,
        properties: impl Iterator<Item = (&'a str, &'a [u8])>,
        payload: Bytes,
        queue: Queue,
    ) -> QueueMessage {
        let properties = MessageProperties(properties.collect());
        let content = if properties.are_of_envelope() {
            QueueContent::of(properties.envelope(position, place_in(queue), payload))
        } else {
            let mark = Mark::of_properties(properties.0.iter().copied());
            QueueContent::MsgStream { bytes: payload, mark }
        };
        QueueMessage { position, content }
    }

    /// The message by itself, for a search: its time, and what tells a place in the log. Rows are left out.
    pub fn alone(self) -> Record {
        let QueueMessage { position, content } = self;
        match content {
            QueueContent::MsgStream { bytes, mark } => msgstream::record(position, &bytes, mark),
            QueueContent::Damaged(error) => msgstream::damaged(position, error),
            QueueContent::Envelope(message) => {
                let body = match message.kind() {
                    WalKind::TimeTick => Body::Tick { resume: Some(message.last_confirmed) },
                    WalKind::Insert | WalKind::Delete => Body::Part,
                    _ => wal_message::body(&message).unwrap_or_else(|error| Body::Undecodable(error.into())),
                };
                let at = Timestamp(message.tick);
                Record { position, begin: at, end: at, mark: message.mark, body }
            }
        }
    }
}

impl QueueContent {
    fn of(envelope: Result<Envelope<Position>, EnvelopeError>) -> QueueContent {
        envelope.map_or_else(QueueContent::Damaged, |envelope| QueueContent::Envelope(Box::new(envelope)))
    }
}

/// Reads an id of the queue.
fn place_in(queue: Queue) -> impl FnOnce(&str) -> Result<Position, EnvelopeError> {
    move |text| queue.position(text).ok_or_else(|| EnvelopeError::LastConfirmed(text.to_owned()))
}

/// Decodes as much of a value in RocksMQ as a search needs, without copying it.
pub fn glance(position: Position, value: &[u8]) -> Glance {
    let Some(layout) = value.strip_prefix(ROCKSMQ_MAGIC) else { return msgstream::glance(value) };
    let envelope = RocksMqValue::of(layout).and_then(|RocksMqValue { properties, .. }| {
        properties.envelope(position, place_in(Queue::RocksMq), Bytes::new())
    });
    let Ok(message) = envelope else { return Glance::Other };
    match message.kind() {
        WalKind::TimeTick => Glance::Tick { time: Timestamp(message.tick), resume: Some(message.last_confirmed) },
        WalKind::CreateCollection => match wal_message::body(&message) {
            Ok(Body::CreateCollection(id)) => Glance::CreateCollection(id),
            _ => Glance::Other,
        },
        _ => Glance::Other,
    }
}

/// The parts of a value in RocksMQ, behind the magic number.
struct RocksMqValue<'a> {
    payload: &'a [u8],
    properties: MessageProperties<'a>,
}

impl RocksMqValue<'_> {
    fn of(layout: &[u8]) -> Result<RocksMqValue<'_>, EnvelopeError> {
        let mut parts = RocksMqValue { payload: &[], properties: MessageProperties::default() };
        for field in wire::fields(layout) {
            match field? {
                (1, bytes) => parts.payload = bytes,
                (2, bytes) => parts.properties.0.push(property(bytes)?),
                _ => {}
            }
        }
        Ok(parts)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::source::decode::testing::rocksmq_value;

    #[test]
    fn a_value_of_rocksmq_in_either_format() {
        let value = rocksmq_value(&[("_v", "1"), ("_t", "1"), ("_tt", "3krwb63nrdhk"), ("_lcs", "")], b"a payload");
        let message = QueueMessage::of_rocksmq(Position::at(7), &value);
        let QueueContent::Envelope(envelope) = message.content else { panic!("{message:?}") };
        assert_eq!((envelope.id, envelope.last_confirmed), (Position::at(7), Position::at(7)));
        assert_eq!((envelope.tick, &envelope.payload[..]), (0x0688_b1b4_8624_0008, &b"a payload"[..]));
        for damaged in [value.slice(..13), rocksmq_value(&[("_v", "1"), ("_t", "1")], b"")] {
            let message = QueueMessage::of_rocksmq(Position::at(7), &damaged);
            assert!(matches!(message.content, QueueContent::Damaged(_)), "the magic number suffices: {message:?}");
        }
        let before = Bytes::from_static(&[0x0a, 0x05, 0x08, 0xb0, 0x09, 0x18, 0x07]);
        let message = QueueMessage::of_rocksmq(Position::at(7), &before);
        assert!(matches!(message.alone().body, Body::Tick { resume: None }));
    }

    proptest! {
        #[test]
        fn any_bytes_are_handled(bytes in prop::collection::vec(any::<u8>(), 0..60), key in "_[a-z]{1,3}") {
            let value = [ROCKSMQ_MAGIC, &bytes].concat();
            glance(Position::at(1), &value);
            QueueMessage::of_rocksmq(Position::at(1), &value.into()).alone();
            let some = (key.as_str(), bytes.as_slice());
            let properties = [("_v", &b"1"[..]), ("_t", b"2"), ("_tt", b"z"), ("_lc", b"0"), some];
            let payload = Bytes::from(bytes.clone());
            for queue in [Queue::Kafka, Queue::Pulsar] {
                let properties = properties.into_iter();
                QueueMessage::with_properties(Position::at(1), properties, payload.clone(), queue).alone();
            }
        }
    }

    #[test]
    fn a_version_among_the_properties_tells_an_envelope() {
        let is_envelope = |properties: &[(&'static str, &'static str)]| {
            let properties = properties.iter().map(|(key, value)| (*key, value.as_bytes()));
            let read = QueueMessage::with_properties(
                Position::at(1),
                properties,
                // A payload of 2.6 reads like a message of 2.5: only its properties tell them apart.
                Bytes::from_static(&[0x0a, 0x05, 0x08, 0xb0, 0x09, 0x18, 0x07]),
                Queue::Kafka,
            );
            !matches!(read.content, QueueContent::MsgStream { .. })
        };
        assert!(is_envelope(&[("_tt", "z"), ("_v", "2")]));
        for before in [&[][..], &[("_v", "0")], &[("_v", "")], &[("msg_type", "1200"), ("timestamp", "7")]] {
            assert!(!is_envelope(before), "{before:?}");
        }
    }

    #[test]
    fn a_search_learns_from_where_on_nothing_is_missing() {
        let value = rocksmq_value(&[("_v", "1"), ("_t", "1"), ("_tt", "z"), ("_lc", "5")], b"");
        let tick = Glance::Tick { time: Timestamp(35), resume: Some(Position::at(5)) };
        assert_eq!(glance(Position::at(9), &value), tick);
        let record = QueueMessage::of_rocksmq(Position::at(9), &value).alone();
        assert!(matches!(record.body, Body::Tick { resume: Some(at) } if at == Position::at(5)), "{record:?}");
        // The header of a collection's creation: field 1 is its id.
        let create =
            |vchannel| [("_v", "1"), ("_t", "5"), ("_tt", "z"), ("_lc", "5"), ("_h", "CAc="), ("_vc", vchannel)];
        let shard = rocksmq_value(&create("by-dev-rootcoord-dml_0_7v0"), b"");
        assert_eq!(glance(Position::at(9), &shard), Glance::CreateCollection(crate::domain::CollectionId(7)));
        let control = rocksmq_value(&create("by-dev-rootcoord-dml_0_vcchan"), b"");
        assert_eq!(glance(Position::at(9), &control), Glance::Other, "no shard begins there");
        for no_number in ["", "-1", "?"] {
            let value = rocksmq_value(&[("_v", "1"), ("_t", "1"), ("_tt", "z"), ("_lc", no_number)], b"");
            assert_eq!(glance(Position::at(9), &value), Glance::Other, "{no_number:?}");
        }
    }

    #[test]
    fn a_broker_keeps_the_mark_beside_the_message() {
        let mark = Mark::of(crate::domain::CollectionId(5), Timestamp(7));
        let baggage = mark.baggage().unwrap();
        let tick = Bytes::from_static(&[0x0a, 0x05, 0x08, 0xb0, 0x09, 0x18, 0x07]);
        let read = |properties: &[(&'static str, &str)]| {
            let properties = properties.iter().map(|(key, value)| (*key, value.as_bytes()));
            QueueMessage::with_properties(Position::at(1), properties, tick.clone(), Queue::Kafka).alone().mark
        };
        assert_eq!(read(&[("msg_type", "400"), ("baggage", &baggage)]), Some(mark));
        assert_eq!(read(&[("msg_type", "400"), ("baggage", "user=alice")]), None);
    }
}
