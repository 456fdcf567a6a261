/*!
The log of a Milvus that keeps it in Kafka: one topic per physical channel, of which Milvus uses the first partition only;
values are the messages, and a message's offset is its position.

One consumer reads all topics of a task. It belongs to no group and commits nothing: partitions are assigned by hand and
offsets come from our checkpoints. librdkafka connects, finds leaders again and retries by itself; what it cannot know is
what a missing offset means, so it is told never to choose one.
*/

mod client;
mod retention;
mod search;
mod topics;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;
use parking_lot::Mutex;
use rdkafka::consumer::Consumer as _;
use rdkafka::error::KafkaError;

use self::client::{Consumer, Events, consumer, serve};
use self::search::Search;
use self::topics::{QUESTION, Topics, Unanswered, watermarks};
use super::log::{Keeps, Log, LogError, Next, ReadEnd, Start};
use super::message::Record;
use super::search as places;
use crate::config::KafkaConfig;
use crate::domain::{Channel, CollectionId, Position, Timestamp};

/// A Kafka log opened for reading.
pub(super) struct Kafka {
    config: KafkaConfig,
    consumer: Arc<Consumer>,
    reading: Mutex<Topics>,
    searcher: Mutex<Option<Searcher>>,
    unanswered: Mutex<Unanswered>,
}

/// What searching needs for itself.
struct Searcher {
    consumer: Arc<Consumer>,
    topics: Topics,
    used: Instant,
}

/// How long a searcher's consumer is kept without being used.
const SEARCHER_KEPT: Duration = Duration::from_secs(20);
/// How long brokers keep messages unless told otherwise (`retention.ms`).
const RETENTION: Duration = Duration::from_secs(7 * 24 * 3600);

impl Kafka {
    /// Connects to the brokers.
    ///
    /// # Errors
    /// None of them can be reached, or they refuse us.
    pub(super) fn open(config: &KafkaConfig) -> Result<Kafka, LogError> {
        let fail = |detail: String| LogError { place: place(config), detail };
        let consumer = consumer(config).map_err(|error| fail(without_values(&error)))?;
        ask_whether_there(&consumer, None).map_err(fail)?;
        let reading = Mutex::new(Topics::new(Arc::clone(&consumer)));
        let (searcher, unanswered) = (Mutex::new(None), Mutex::default());
        Ok(Kafka { config: config.clone(), consumer, reading, searcher, unanswered })
    }

    fn events(&self) -> &Events {
        self.consumer.client().context()
    }

    fn error(&self, detail: impl std::fmt::Display) -> LogError {
        LogError { place: place(&self.config), detail: self.events().explain(detail) }
    }

    fn topic_error(&self, channel: &Channel, error: &KafkaError) -> LogError {
        self.error(format!("topic {channel}: {error}"))
    }

    /// Questions come from threads that have other things to do than to wait for brokers that are away.
    fn ask<T>(&self, channel: &Channel, question: impl FnOnce() -> Result<T, KafkaError>) -> Result<T, LogError> {
        if self.events().is_down() {
            return Err(self.error("no broker can be reached"));
        }
        question().map_err(|error| self.topic_error(channel, &error))
    }

    fn search<T>(
        &self,
        channel: &Channel,
        what: impl FnOnce(&mut Search<'_>) -> Result<T, KafkaError>,
    ) -> Result<T, LogError> {
        self.ask(channel, || {
            let mut searcher = self.searcher.lock();
            let Searcher { consumer, topics, used } = match &mut *searcher {
                Some(kept) => kept,
                none => none.insert(Searcher::new(&self.config)?),
            };
            *used = Instant::now();
            what(&mut Search { consumer, topics, channel })
        })
    }

    /// A searcher that is not needed any more should not keep its connections.
    fn tidy_up(&self) {
        if let Some(mut searcher) = self.searcher.try_lock()
            && searcher.as_ref().is_some_and(|searcher| searcher.used.elapsed() > SEARCHER_KEPT)
        {
            *searcher = None;
        }
    }
}

impl Searcher {
    fn new(config: &KafkaConfig) -> Result<Searcher, KafkaError> {
        let consumer = consumer(config)?;
        let topics = Topics::new(Arc::clone(&consumer));
        Ok(Searcher { consumer, topics, used: Instant::now() })
    }
}

impl Log for Kafka {
    fn keeps(&self, channels: &BTreeSet<Channel>) -> Keeps {
        match retention::retention(&self.config, channels) {
            Ok(Keeps::Unknown) => Keeps::ByDefault(RETENTION),
            Ok(keeps) => keeps,
            Err(error) => {
                log::debug!("the topics' retention is not told: {error}");
                Keeps::ByDefault(RETENTION)
            }
        }
    }

    fn refresh(&self) -> Result<bool, LogError> {
        serve(&self.consumer);
        if self.events().is_down() {
            let known = self.reading.lock().any();
            ask_whether_there(&self.consumer, known.as_ref()).map_err(|detail| self.error(detail))?;
        }
        self.tidy_up();
        Ok(self.events().news().take())
    }

    fn news(&self) -> Option<Receiver<()>> {
        Some(self.events().news().word())
    }

    fn read(
        &self,
        channel: &Channel,
        next: Next,
        max_bytes: usize,
        visit: &mut dyn FnMut(Record),
    ) -> Result<ReadEnd, LogError> {
        let outcome = self.reading.lock().read(channel, next, max_bytes, visit);
        outcome.map_err(|error| self.topic_error(channel, &error))
    }

    fn birth(
        &self,
        channel: &Channel,
        collection: CollectionId,
        created: Timestamp,
        _begins: Option<&[u8]>,
    ) -> Result<Option<Position>, LogError> {
        self.search(channel, |topic| places::birth(topic, collection, created))
    }

    fn tail(&self, channel: &Channel) -> Result<Option<Position>, LogError> {
        let question = || self.unanswered.lock().ask(channel, || watermarks(&self.consumer, channel));
        let found = self.ask(channel, question)?;
        let last = found.filter(|(low, high)| low < high).map(|(_, high)| Position::at(high as u64 - 1));
        Ok(last)
    }

    fn shortly_before_tail(&self, channel: &Channel) -> Result<Start, LogError> {
        self.search(channel, |topic| places::shortly_before_tail(topic))
    }
}

/// The library names a refused setting with its value, which may be a secret.
fn without_values(error: &KafkaError) -> String {
    match error {
        KafkaError::ClientConfig(_, _, key, _) => format!("librdkafka refuses the setting {key}"),
        other => other.to_string(),
    }
}

fn place(config: &KafkaConfig) -> String {
    format!("in Kafka at {}", config.address)
}

/// Asks the brokers something that they can always answer.
fn ask_whether_there(consumer: &Arc<Consumer>, topic: Option<&Channel>) -> Result<(), String> {
    let answer = consumer.fetch_metadata(topic.map(Channel::as_str), QUESTION);
    serve(consumer);
    let events = consumer.client().context();
    match answer {
        Ok(_) => {
            events.is_up();
            Ok(())
        }
        Err(error) => Err(events.explain(error)),
    }
}
