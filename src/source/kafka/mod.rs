/*!
The log of a Milvus that keeps it in Kafka: one topic per physical channel, of which Milvus uses the first partition
only; values are the messages, and a message's offset is its position.

One consumer reads all topics of a task. It belongs to no group and commits nothing: partitions are assigned by hand,
and offsets come from the checkpoint. librdkafka connects, finds new leaders and retries by itself; it cannot know what
a missing offset means, so it is configured never to choose one.
*/

mod client;
mod retention;
mod search;
mod topics;
mod unanswered;

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crossbeam_channel::Receiver;
use parking_lot::Mutex;
use rdkafka::consumer::Consumer as _;
use rdkafka::error::KafkaError;

use self::client::{KafkaConsumer, KafkaEvents, KafkaFailure, consumer, serve};
use self::search::{KafkaSearch, KafkaSearcher};
use self::topics::{KafkaTopics, QUESTION, watermarks};
use self::unanswered::Unanswered;
use super::broker::search as places;
use super::broker::searcher::SearcherSlot;
use super::decode::wal_message_id::Queue;
use super::idle_ticks::IdleTicks;
use super::log::{Log, LogError, LogRetention, ReadEnd, ReadFrom, ReadTick, Refreshed, Start, StartQuery};
use super::queue_channels::{QueueChannels, TakeMessage};
use crate::config::KafkaConfig;
use crate::domain::{Channel, Position, Record};

/// A Kafka log opened for reading.
pub(super) struct Kafka {
    config: KafkaConfig,
    consumer: Arc<KafkaConsumer>,
    reading: Mutex<KafkaTopics>,
    channels: QueueChannels,
    searcher: SearcherSlot<KafkaSearcher>,
    unanswered: Mutex<Unanswered>,
    cluster: OnceLock<Option<String>>,
}

/// How long brokers retain messages by default (`retention.ms`).
const DEFAULT_RETENTION: Duration = Duration::from_secs(7 * 24 * 3600);

impl Kafka {
    /// Connects to the brokers. `idle`: the source's time.
    ///
    /// # Errors
    /// None of them can be reached, or they refuse us.
    pub(super) fn open(config: &KafkaConfig, idle: IdleTicks) -> Result<Kafka, LogError> {
        let fail = |failure: KafkaFailure| LogError::new(place(config), failure);
        let consumer = consumer(config).map_err(|error| fail(without_values(error)))?;
        probe(&consumer, None).map_err(fail)?;
        let reading = Mutex::new(KafkaTopics::new(Arc::clone(&consumer)));
        let channels = QueueChannels::new(Queue::Kafka, idle);
        let (searcher, unanswered, cluster) = (SearcherSlot::default(), Mutex::default(), OnceLock::new());
        Ok(Kafka { config: config.clone(), consumer, reading, channels, searcher, unanswered, cluster })
    }

    fn events(&self) -> &KafkaEvents {
        self.consumer.client().context()
    }

    fn error(&self, failure: KafkaFailure) -> LogError {
        LogError::new(place(&self.config), failure)
    }

    fn topic_error(&self, channel: &Channel, error: KafkaError) -> LogError {
        self.error(KafkaFailure::Topic { topic: channel.clone(), failure: self.events().explain(error).into() })
    }

    /// Asks the brokers, unless they are known to be out of reach: the calling threads have other things to do than to
    /// wait.
    fn ask<T>(&self, channel: &Channel, question: impl FnOnce() -> Result<T, KafkaError>) -> Result<T, LogError> {
        if self.events().is_down() {
            return Err(self.error(self.events().down()));
        }
        question().map_err(|error| self.topic_error(channel, error))
    }

    fn search<T>(
        &self,
        channel: &Channel,
        search: impl FnOnce(&mut KafkaSearch<'_>) -> Result<T, KafkaError>,
    ) -> Result<T, LogError> {
        let make = || KafkaSearcher::new(&self.config);
        self.ask(channel, || self.searcher.search(make, |searcher| search(&mut searcher.topic(channel))))
    }
}

impl Log for Kafka {
    /// Asked once: brokers of another cluster are met with a new connection only.
    fn identity(&self) -> Option<String> {
        let ask = || self.consumer.client().fetch_cluster_id(QUESTION);
        self.cluster.get_or_init(ask).clone()
    }

    fn retention(&self, channels: &BTreeSet<Channel>) -> LogRetention {
        match retention::retention(&self.config, channels) {
            Ok(LogRetention::Unknown) => LogRetention::ByDefault(DEFAULT_RETENTION),
            Ok(retention) => retention,
            Err(error) => {
                log::debug!("the brokers do not report the topics' retention: {error}");
                LogRetention::ByDefault(DEFAULT_RETENTION)
            }
        }
    }

    fn refresh(&self) -> Result<Refreshed, LogError> {
        // Before the messages are taken, which then are all up to that time.
        let is_due = self.channels.look();
        serve(&self.consumer);
        if self.events().is_down() {
            let known = self.reading.lock().any();
            probe(&self.consumer, known.as_ref()).map_err(|failure| self.error(failure))?;
        }
        self.searcher.close_idle();
        if self.reading.lock().take_stalled() {
            return Ok(Refreshed::Replaced);
        }
        Ok(Refreshed::changed_if(self.events().arrivals().take() || is_due))
    }

    fn wakeups(&self) -> Option<Receiver<()>> {
        Some(self.events().arrivals().receiver())
    }

    fn read(
        &self,
        channel: &Channel,
        next: ReadFrom,
        max_bytes: usize,
        visit: &mut dyn FnMut(Record),
    ) -> Result<ReadEnd, LogError> {
        let read = |take: &mut TakeMessage<'_>| self.reading.lock().read(channel, next, max_bytes, take);
        let is_all = || self.reading.lock().is_at_end(channel);
        let outcome = self.channels.read(channel, next, visit, read, is_all);
        outcome.map_err(|error| self.topic_error(channel, error))
    }

    fn collection_start(&self, channel: &Channel, query: &StartQuery<'_>) -> Result<Option<Position>, LogError> {
        self.search(channel, |topic| places::collection_start(topic, query))
    }

    fn tail(&self, channel: &Channel) -> Result<Option<Position>, LogError> {
        let question = || self.unanswered.lock().ask(channel, || watermarks(&self.consumer, channel));
        let found = self.ask(channel, question)?;
        let last = found.filter(|(low, high)| low < high).map(|(_, high)| Position::at(high as u64 - 1));
        Ok(last)
    }

    /// A topic that was restored goes on with the same offsets.
    fn is_rolled_back(&self, channel: &Channel, read: ReadTick) -> Result<bool, LogError> {
        self.search(channel, |topic| places::is_rolled_back(topic, read))
    }

    fn shortly_before_tail(&self, channel: &Channel) -> Result<Start, LogError> {
        self.search(channel, |topic| places::shortly_before_tail(topic))
    }
}

/// librdkafka names a refused setting together with its value, which may be a secret.
fn without_values(error: KafkaError) -> KafkaFailure {
    match error {
        KafkaError::ClientConfig(_, _, key, _) => KafkaFailure::Setting(key),
        other => KafkaFailure::Plain(other),
    }
}

fn place(config: &KafkaConfig) -> String {
    format!("in Kafka at {}", config.address)
}

/// Asks the brokers something that they can always answer.
fn probe(consumer: &Arc<KafkaConsumer>, topic: Option<&Channel>) -> Result<(), KafkaFailure> {
    let answer = consumer.fetch_metadata(topic.map(Channel::as_str), QUESTION);
    serve(consumer);
    let events = consumer.client().context();
    match answer {
        Ok(_) => {
            events.note_answer();
            Ok(())
        }
        Err(error) => Err(events.explain(error)),
    }
}
