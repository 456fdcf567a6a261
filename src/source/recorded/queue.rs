//! A recorded Kafka or Pulsar, whose messages come from memory.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::Value;

use crate::domain::{Channel, Position, Record, Timestamp};
use crate::source::broker::search::{LookAt, SearchableTopic, WalkStart, collection_start, shortly_before_tail};
use crate::source::decode::queue_message::QueueMessage;
use crate::source::decode::wal_message_id::Queue;
use crate::source::idle_ticks::IdleTicks;
use crate::source::log::{Log, LogError, ReadEnd, ReadFrom, ReadTick, Refreshed, Start, StartQuery};
use crate::source::queue_channels::{QueueChannels, TakeMessage};

/// A message as the broker holds it.
pub(super) struct Stored {
    position: Position,
    properties: Vec<(String, String)>,
    payload: Bytes,
}

impl Stored {
    fn new(position: Position, properties: &Value, payload: &Value) -> Stored {
        let properties = properties.as_object().unwrap().iter();
        let properties = properties.map(|(key, value)| (key.clone(), value.as_str().unwrap().to_owned())).collect();
        let payload = STANDARD.decode(payload.as_str().unwrap_or_default()).unwrap().into();
        Stored { position, properties, payload }
    }

    fn message(&self, queue: Queue) -> QueueMessage {
        let properties = self.properties.iter().map(|(key, value)| (key.as_str(), value.as_bytes()));
        QueueMessage::with_properties(self.position, properties, self.payload.clone(), queue)
    }
}

/// In the order of their positions.
type Topics = Arc<BTreeMap<Channel, Vec<Stored>>>;

pub(super) fn of_kafka(lines: &[Value]) -> Topics {
    by_channel(lines.iter().map(|line| {
        let position = Position::at(line["offset"].as_u64().unwrap());
        (line["topic"].as_str().unwrap(), Stored::new(position, &line["headers"], &line["value"]))
    }))
}

pub(super) fn of_pulsar(lines: &[Value]) -> Topics {
    by_channel(lines.iter().map(|line| {
        let number = |key: &str| line[key].as_u64().unwrap();
        let position = Position::in_ledger(number("ledger"), number("entry"), number("batch") as u16);
        let topic = line["topic"].as_str().unwrap().rsplit_once('/').unwrap().1;
        (topic, Stored::new(position, &line["properties"], &line["payload"]))
    }))
}

fn by_channel<'a>(messages: impl Iterator<Item = (&'a str, Stored)>) -> Topics {
    let mut topics: BTreeMap<Channel, Vec<Stored>> = BTreeMap::new();
    messages.for_each(|(topic, message)| topics.entry(Channel::new(topic)).or_default().push(message));
    topics.values_mut().for_each(|messages| messages.sort_by_key(|message| message.position));
    Arc::new(topics)
}

/// Reads recorded messages.
pub(super) struct RecordedQueue {
    queue: Queue,
    topics: Topics,
    channels: QueueChannels,
}

impl RecordedQueue {
    pub(super) fn new(queue: Queue, topics: Topics) -> RecordedQueue {
        RecordedQueue { queue, topics, channels: QueueChannels::new(queue, IdleTicks::by(|| None)) }
    }

    fn messages(&self, channel: &Channel) -> &[Stored] {
        self.topics.get(channel).map_or(&[], Vec::as_slice)
    }

    fn topic(&self, channel: &Channel) -> RecordedTopic<'_> {
        RecordedTopic { queue: self.queue, messages: self.messages(channel) }
    }
}

impl Log for RecordedQueue {
    fn refresh(&self) -> Result<Refreshed, LogError> {
        Ok(Refreshed::Unchanged)
    }

    fn read(
        &self,
        channel: &Channel,
        next: ReadFrom,
        max_bytes: usize,
        visit: &mut dyn FnMut(Record),
    ) -> Result<ReadEnd, LogError> {
        let messages = self.messages(channel);
        let place = |position| messages.iter().position(|message| message.position == position);
        let first = match next {
            ReadFrom::First => Some(0),
            ReadFrom::At(position) => place(position),
            ReadFrom::After(position) => place(position).map(|index| index + 1),
        };
        let read = |take: &mut TakeMessage<'_>| {
            let Some(first) = first else { return Ok(ReadEnd::Gap) };
            let mut bytes = 0;
            for message in &messages[first..] {
                take(message.message(self.queue));
                bytes += message.payload.len().max(1);
                if bytes >= max_bytes {
                    return Ok(ReadEnd::More);
                }
            }
            Ok(ReadEnd::AtTail)
        };
        self.channels.read(channel, next, visit, read, || true)
    }

    fn collection_start(&self, channel: &Channel, query: &StartQuery<'_>) -> Result<Option<Position>, LogError> {
        let Ok(found) = collection_start(&mut self.topic(channel), query);
        Ok(found)
    }

    fn tail(&self, channel: &Channel) -> Result<Option<Position>, LogError> {
        Ok(self.messages(channel).last().map(|message| message.position))
    }

    fn shortly_before_tail(&self, channel: &Channel) -> Result<Start, LogError> {
        let Ok(start) = shortly_before_tail(&mut self.topic(channel));
        Ok(start)
    }
}

struct RecordedTopic<'a> {
    queue: Queue,
    messages: &'a [Stored],
}

impl SearchableTopic for RecordedTopic<'_> {
    type Error = Infallible;

    fn missing(&self) -> Infallible {
        panic!("no topic is missing")
    }

    fn last(&mut self) -> Result<Option<Timestamp>, Infallible> {
        Ok(self.messages.last().map(|message| message.message(self.queue).alone().end))
    }

    fn reaches_back_to(&mut self, position: Position) -> Result<bool, Infallible> {
        Ok(self.messages.first().is_some_and(|first| first.position <= position))
    }

    fn next_from(&mut self, position: Position) -> Result<Option<ReadTick>, Infallible> {
        let next = self.messages.iter().find(|message| message.position >= position);
        Ok(next.map(|message| ReadTick::of(&message.message(self.queue).alone())))
    }

    /// From the beginning, whatever the moment: it is a search, and what comes too early only takes longer.
    fn walk(&mut self, _: Timestamp, look: &mut LookAt<'_>) -> Result<WalkStart, Infallible> {
        let found = self.messages.iter().map(|message| message.message(self.queue).alone());
        let _ = found.map(|record| look(&record)).find(|flow| flow.is_break());
        Ok(WalkStart::First)
    }
}
