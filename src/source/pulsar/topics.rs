/*!
Topics being read, each by a non-durable subscription: it begins where we say, and leaves nothing behind.
*/

use std::sync::Arc;

use super::client::{Durability, EntryId, PulsarConsumer, PulsarError, ReceivedEntry, StartAt, Subscription, Taken};
use super::cluster::Cluster;
use super::continuity::{Continuation, Continuity, Label};
use super::position::{entry_of, message, position_of};
use crate::domain::{Channel, Position};
use crate::source::broker::topic_table::TopicTable;
use crate::source::log::{ReadEnd, ReadFrom};
use crate::source::queue_channels::TakeMessage;

/// Topics and how far they have been read.
pub(super) struct PulsarTopics {
    cluster: Arc<Cluster>,
    topics: TopicTable<Box<SubscribedTopic>>,
}

/// Messages that the broker may send ahead. It sends the first ones when it has read about as many, of whatever size.
const AHEAD: u32 = 32;

struct SubscribedTopic {
    /// `None`: the last one has ended, and a new one has to be made.
    consumer: Option<PulsarConsumer>,
    continuity: Continuity,
    next: ReadFrom,
    /// The topic's last entry when the consumer was made: messages up to there are on their way.
    end: Option<EntryId>,
    /// Everything up to `end` has been passed on; from then on, no message means the tail.
    at_end: bool,
}

/// How a turn ended.
enum TopicTurn {
    Read(ReadEnd),
    /// A new consumer has to be made.
    Resubscribe,
}

/// Whether a topic can be read from where it has to be.
enum Subscribed {
    Reading,
    /// The entry that must be there is certainly gone.
    Gap,
}

impl PulsarTopics {
    pub(super) fn new(cluster: Arc<Cluster>) -> PulsarTopics {
        PulsarTopics { cluster, topics: TopicTable::default() }
    }

    /// See [`crate::source::Log::read`].
    pub(super) fn read(
        &mut self,
        channel: &Channel,
        next: ReadFrom,
        max_bytes: usize,
        take: &mut TakeMessage<'_>,
    ) -> Result<ReadEnd, PulsarError> {
        if self.topics.get(channel).is_some_and(|topic| topic.next != next) {
            self.topics.forget(channel);
        }
        if let Some(end) = self.subscribe(channel, next)? {
            return Ok(end);
        }
        let Some(topic) = self.topics.get_mut(channel) else { return Ok(ReadEnd::Awaited) };
        match topic.drain(self.cluster.client().max_message_size(), max_bytes, take)? {
            TopicTurn::Read(ReadEnd::Gap) => {
                self.topics.forget(channel);
                Ok(ReadEnd::Gap)
            }
            TopicTurn::Read(end) => Ok(end),
            TopicTurn::Resubscribe => {
                let ended = topic.consumer.take().and_then(|consumer| consumer.ended());
                ended.map_or(Ok(ReadEnd::Awaited), Err)
            }
        }
    }

    /// Whether the brokers have nothing behind what was read last.
    pub(super) fn is_at_end(&self, channel: &Channel) -> bool {
        let Some(topic) = self.topics.get(channel) else { return false };
        let (Some(consumer), Some(last)) = (&topic.consumer, topic.next.position()) else { return false };
        matches!(consumer.last(), Ok(Some(end)) if end <= entry_of(last))
    }

    /// Makes sure that there is a consumer; or returns how reading ends because there is nothing to read.
    fn subscribe(&mut self, channel: &Channel, next: ReadFrom) -> Result<Option<ReadEnd>, PulsarError> {
        if self.topics.get(channel).is_some_and(|topic| topic.consumer.is_some()) {
            return Ok(None);
        }
        if let Some(end) = self.topics.known_missing(channel, next) {
            return Ok(Some(end));
        }
        let mut topic = self.topics.take(channel).unwrap_or_else(|| Box::new(SubscribedTopic::new(next)));
        match topic.begin(&self.cluster, channel) {
            Ok(Subscribed::Reading) => {
                self.topics.insert(channel, topic);
                Ok(None)
            }
            Ok(Subscribed::Gap) => {
                self.topics.forget(channel);
                Ok(Some(ReadEnd::Gap))
            }
            Err(error) if error.is_missing_topic() => Ok(Some(self.topics.note_missing(channel, next))),
            Err(error) => {
                // The counts of its producers are needed when it works again.
                self.topics.insert(channel, topic);
                Err(error)
            }
        }
    }
}

impl SubscribedTopic {
    fn new(next: ReadFrom) -> SubscribedTopic {
        let continuity = match next {
            ReadFrom::First => Continuity::from_start(),
            ReadFrom::At(position) => Continuity::at(entry_of(position)),
            ReadFrom::After(position) => Continuity::after(entry_of(position)),
        };
        SubscribedTopic { consumer: None, continuity, next, end: None, at_end: false }
    }

    fn begin(&mut self, cluster: &Cluster, channel: &Channel) -> Result<Subscribed, PulsarError> {
        let name = format!("milvus-cdc-reader-{}", uuid::Uuid::new_v4().simple());
        let awaited = self.continuity.begin_again();
        let start = awaited.map_or(StartAt::Earliest, StartAt::Entry);
        let wanted = Subscription { name: &name, durability: Durability::NonDurable, start };
        let consumer = cluster.subscribe(channel, wanted)?;
        self.end = consumer.last()?;
        if let Some(wanted) = awaited
            && self.end.is_none_or(|end| end < wanted)
        {
            return Ok(Subscribed::Gap);
        }
        self.at_end = match (self.end, self.next) {
            (None, _) => true,
            (Some(end), ReadFrom::After(last)) => entry_of(last) >= end,
            (Some(_), _) => false,
        };
        self.consumer.insert(consumer).allow(AHEAD)?;
        Ok(Subscribed::Reading)
    }

    /// Passes on the messages that have come.
    fn drain(
        &mut self,
        max_message_size: usize,
        max_bytes: usize,
        take: &mut TakeMessage<'_>,
    ) -> Result<TopicTurn, PulsarError> {
        let mut passed = 0;
        while passed < max_bytes {
            let Some(consumer) = &mut self.consumer else { return Ok(TopicTurn::Resubscribe) };
            let entry = match consumer.take() {
                Ok(Taken::Message(entry)) => entry,
                Ok(Taken::Closed) => return Ok(TopicTurn::Resubscribe),
                Ok(Taken::Nothing) => {
                    return Ok(TopicTurn::Read(if self.at_end { ReadEnd::AtTail } else { ReadEnd::Awaited }));
                }
                // The connection has ended. The message that was taken is lost, and so would be each one that waits
                // behind it.
                Err(error) => {
                    self.consumer = None;
                    return Err(error);
                }
            };
            let topic = || self.consumer.as_ref().map_or("", PulsarConsumer::topic).to_owned();
            // Before it counts as read: an entry that cannot be decoded is asked for again.
            let bodies = match entry.bodies(max_message_size) {
                Ok(bodies) => bodies,
                Err(source) => {
                    let error = PulsarError::Message { topic: topic(), source };
                    self.consumer = None;
                    return Err(error);
                }
            };
            let id = entry.id();
            let continuation = self.continuity.judge(label(&entry));
            match continuation {
                Continuation::Follows | Continuation::Resent => {}
                Continuation::Known => continue,
                Continuation::Recheck => return Ok(TopicTurn::Resubscribe),
                Continuation::Gap => return Ok(TopicTurn::Read(ReadEnd::Gap)),
            }
            self.at_end |= self.end.is_none_or(|end| id >= end);
            if continuation == Continuation::Resent {
                continue;
            }
            for (index, body) in bodies.iter().enumerate() {
                let position = position_of(id, index as u16);
                if let Some(body) = body.as_ref().filter(|_| is_wanted(self.next, position)) {
                    passed += body.payload.len();
                    self.next = ReadFrom::After(position);
                    take(message(position, body));
                }
            }
        }
        Ok(TopicTurn::Read(ReadEnd::More))
    }
}

fn label(entry: &ReceivedEntry) -> Label<'_> {
    Label {
        entry: entry.id(),
        producer: entry.producer(),
        sequence: entry.sequence(),
        publish_time: entry.publish_time(),
        messages: entry.message_count(),
    }
}

/// Whether a position is not before what has to be read next.
fn is_wanted(next: ReadFrom, position: Position) -> bool {
    match next {
        ReadFrom::First => true,
        ReadFrom::At(first) => position >= first,
        ReadFrom::After(last) => position > last,
    }
}
