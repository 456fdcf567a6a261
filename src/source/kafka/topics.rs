/*!
Topics read by one consumer. Each has a queue of its own, so that a topic that is far behind fills only its own share of
memory and holds up no other.
*/

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rdkafka::consumer::Consumer as _;
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers as _};
use rdkafka::{Message, Offset, TopicPartitionList};

use super::client::{KafkaConsumer, KafkaEvents};
use super::unanswered::Unanswered;
use crate::domain::{Channel, Position};
use crate::source::broker::topic_table::TopicTable;
use crate::source::decode::queue_message::QueueMessage;
use crate::source::decode::wal_message_id::Queue;
use crate::source::log::{ReadEnd, ReadFrom};
use crate::source::queue_channels::TakeMessage;

/// Milvus writes to a topic's first partition only, however many there are.
pub(super) const PARTITION: i32 = 0;
/// How long a question to the brokers may take.
pub(super) const QUESTION: Duration = Duration::from_secs(3);

/// How long a topic may bring nothing before the brokers are asked whether it has something. A slow line needs a while
/// for 5 MB.
const STALLED: Duration = Duration::from_secs(30);

/// Topics and how far they have been read.
pub(super) struct KafkaTopics {
    consumer: Arc<KafkaConsumer>,
    topics: TopicTable<FetchedTopic>,
    unanswered: Unanswered,
    /// A topic has messages that the consumer does not bring.
    is_stalled: bool,
}

struct FetchedTopic {
    queue: PartitionQueue<KafkaEvents>,
    /// The offset to be passed on next; `None`: the first that the topic has.
    next: Option<i64>,
    /// The topic's end when fetching began. The broker reports an end only when it has nothing to send, and ticks come
    /// all the time.
    end: i64,
    /// Everything up to `end` has been passed on; from then on, an empty queue means the tail.
    at_end: bool,
    /// Since when it has brought nothing, or when the brokers were asked about that last.
    silent_since: Instant,
}

/// Why a topic's queue brings no more.
enum QueueEnd {
    Empty,
    Gap,
    NoTopic,
    Failed(KafkaError),
}

impl KafkaTopics {
    pub(super) fn new(consumer: Arc<KafkaConsumer>) -> KafkaTopics {
        KafkaTopics { consumer, topics: TopicTable::default(), unanswered: Unanswered::default(), is_stalled: false }
    }

    /// See [`crate::source::Log::read`].
    pub(super) fn read(
        &mut self,
        channel: &Channel,
        next: ReadFrom,
        max_bytes: usize,
        take: &mut TakeMessage<'_>,
    ) -> Result<ReadEnd, KafkaError> {
        let wanted = offset_of(next);
        let continues = self.topics.get(channel).is_some_and(|topic| topic.next == wanted);
        if !continues && let Some(end) = self.open(channel, next)? {
            return Ok(end);
        }
        let Some(topic) = self.topics.get_mut(channel) else { return Ok(ReadEnd::Awaited) };
        let Some(queue_end) = topic.drain(channel, max_bytes, take) else { return Ok(ReadEnd::More) };
        let end = match queue_end {
            QueueEnd::Empty => {
                let end = if topic.at_end { ReadEnd::AtTail } else { ReadEnd::Awaited };
                if topic.silent_since.elapsed() >= STALLED {
                    topic.silent_since = Instant::now();
                    self.is_stalled |= self.has_more(channel);
                }
                return Ok(end);
            }
            QueueEnd::Gap => ReadEnd::Gap,
            QueueEnd::NoTopic => ReadEnd::Awaited,
            QueueEnd::Failed(error) => {
                // librdkafka would continue behind a batch that it could not read: fetch it again, from where reading
                // stands.
                self.close(channel)?;
                return Err(error);
            }
        };
        self.close(channel)?;
        Ok(end)
    }

    /// Begins to fetch; or returns how reading ends because there is nothing to fetch.
    fn open(&mut self, channel: &Channel, next: ReadFrom) -> Result<Option<ReadEnd>, KafkaError> {
        if let Some(end) = self.topics.known_missing(channel, next) {
            return Ok(Some(end));
        }
        let found = self.unanswered.ask(channel, || watermarks(&self.consumer, channel))?;
        let Some((low, high)) = found else {
            return Ok(Some(self.topics.note_missing(channel, next)));
        };
        let exists = match next {
            ReadFrom::First => true,
            ReadFrom::At(position) => (low..high).contains(&number(position)),
            ReadFrom::After(position) => (low..=high).contains(&(number(position).saturating_add(1))),
        };
        self.close(channel)?;
        if !exists {
            return Ok(Some(ReadEnd::Gap));
        }
        let wanted = offset_of(next);
        let queue = fetch(&self.consumer, channel, wanted.map_or(Offset::Beginning, Offset::Offset))?;
        let at_end = wanted.unwrap_or(low) >= high;
        self.topics
            .insert(channel, FetchedTopic { queue, next: wanted, end: high, at_end, silent_since: Instant::now() });
        Ok(None)
    }

    /// Whether the brokers have nothing behind what was read last.
    pub(super) fn is_at_end(&mut self, channel: &Channel) -> bool {
        let Some(next) = self.topics.get(channel).and_then(|topic| topic.next) else { return false };
        let found = self.unanswered.ask(channel, || watermarks(&self.consumer, channel));
        matches!(found, Ok(Some((_, high))) if high <= next)
    }

    /// Whether a topic that has brought nothing for long has messages all the same. Seen once, with brokers that were
    /// restored from a backup while a task read them. (librdkafka passes over what brokers say of a topic's leader when
    /// its epoch is earlier than one that it has met; whether that was the cause is not known.)
    fn has_more(&mut self, channel: &Channel) -> bool {
        let next = self.topics.get(channel).and_then(|topic| topic.next).unwrap_or_default();
        let found = self.unanswered.ask(channel, || watermarks(&self.consumer, channel));
        let has_more = matches!(found, Ok(Some((_, high))) if high > next);
        if has_more {
            log::warn!("{channel}: the brokers have messages from offset {next} on, and none has come for 30 s");
        }
        has_more
    }

    /// Whether only another consumer may bring what the brokers have.
    pub(super) fn take_stalled(&mut self) -> bool {
        std::mem::take(&mut self.is_stalled)
    }

    /// Any topic that is being read.
    pub(super) fn any(&self) -> Option<Channel> {
        self.topics.any().cloned()
    }

    /// Ends fetching.
    pub(super) fn close(&mut self, channel: &Channel) -> Result<(), KafkaError> {
        match self.topics.forget(channel) {
            Some(_) => self.consumer.incremental_unassign(&partition_at(channel, Offset::Invalid)?),
            None => Ok(()),
        }
    }
}

impl FetchedTopic {
    /// Passes on the messages of the queue. `None`: enough for one turn.
    fn drain(&mut self, channel: &Channel, max_bytes: usize, take: &mut TakeMessage<'_>) -> Option<QueueEnd> {
        let mut passed = 0;
        while passed < max_bytes {
            let message = match self.queue.poll(Duration::ZERO) {
                None => return Some(QueueEnd::Empty),
                Some(Ok(message)) => message,
                Some(Err(KafkaError::PartitionEOF(_))) => {
                    self.at_end = true;
                    continue;
                }
                Some(Err(error)) => return Some(queue_end(error)),
            };
            let offset = message.offset();
            match self.next {
                // Part of a compressed batch that begins earlier.
                Some(next) if offset < next => continue,
                Some(next) if offset > next => {
                    log::warn!("{channel}: offsets {next} to {} hold no messages; the broker skips them", offset - 1);
                }
                _ => {}
            }
            let payload = Bytes::copy_from_slice(message.payload().unwrap_or_default());
            passed += payload.len();
            self.silent_since = Instant::now();
            self.next = Some(offset + 1);
            self.at_end |= offset + 1 >= self.end;
            take(read(offset, payload, &message));
        }
        None
    }
}

fn read(offset: i64, payload: Bytes, message: &BorrowedMessage<'_>) -> QueueMessage {
    let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
    let properties = headers.map(|header| (header.key, header.value.unwrap_or_default()));
    QueueMessage::with_properties(Position::at(offset as u64), properties, payload, Queue::Kafka)
}

fn queue_end(error: KafkaError) -> QueueEnd {
    match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange) => QueueEnd::Gap,
        Some(
            RDKafkaErrorCode::UnknownTopicOrPartition
            | RDKafkaErrorCode::UnknownTopic
            | RDKafkaErrorCode::UnknownPartition,
        ) => QueueEnd::NoTopic,
        _ => QueueEnd::Failed(error),
    }
}

fn number(position: Position) -> i64 {
    i64::try_from(position.number()).unwrap_or(i64::MAX)
}

fn offset_of(next: ReadFrom) -> Option<i64> {
    match next {
        ReadFrom::First => None,
        ReadFrom::At(position) => Some(number(position)),
        ReadFrom::After(position) => Some(number(position).saturating_add(1)),
    }
}

fn partition_at(channel: &Channel, offset: Offset) -> Result<TopicPartitionList, KafkaError> {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(channel.as_str(), PARTITION, offset)?;
    Ok(list)
}

/// Assigns a topic to the consumer, with a queue of its own. The queue comes first: early messages would go elsewhere.
fn fetch(
    consumer: &Arc<KafkaConsumer>,
    channel: &Channel,
    from: Offset,
) -> Result<PartitionQueue<KafkaEvents>, KafkaError> {
    let mut queue = consumer
        .split_partition_queue(channel.as_str(), PARTITION)
        .ok_or_else(|| KafkaError::Subscription(format!("{channel} is not a topic name")))?;
    queue.set_nonempty_callback(consumer.client().context().arrivals().signaller());
    consumer.incremental_assign(&partition_at(channel, from)?)?;
    Ok(queue)
}

/// The first offset and the one behind the last; `None` when there is no such topic.
pub(super) fn watermarks(consumer: &KafkaConsumer, channel: &Channel) -> Result<Option<(i64, i64)>, KafkaError> {
    match consumer.fetch_watermarks(channel.as_str(), PARTITION, QUESTION) {
        Ok(found) => Ok(Some(found)),
        Err(error) if matches!(queue_end(error.clone()), QueueEnd::NoTopic) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The offset of the first message whose Kafka timestamp is not before this, in milliseconds; `None`: all are before.
pub(super) fn at_time(consumer: &KafkaConsumer, channel: &Channel, ms: u64) -> Result<Option<i64>, KafkaError> {
    let time = Offset::Offset(i64::try_from(ms).unwrap_or(i64::MAX));
    let found = consumer.offsets_for_times(partition_at(channel, time)?, QUESTION)?;
    let Some(found) = found.find_partition(channel.as_str(), PARTITION) else { return Ok(None) };
    found.error()?;
    Ok(match found.offset() {
        Offset::Offset(offset) => Some(offset),
        _ => None,
    })
}

#[cfg(test)]
mod tests;
