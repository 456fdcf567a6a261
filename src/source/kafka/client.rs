//! librdkafka's consumer: how it is set up, and what it reports beside messages.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::config::KafkaConfig;
use crate::source::news::News;

/// A consumer that tells [`Events`] what goes on.
pub(super) type Consumer = BaseConsumer<Events>;

/// What goes on beside messages.
#[derive(Debug, Default)]
pub(super) struct Events {
    /// Some topic's queue has got something since the last look.
    news: News,
    /// No broker can be reached, as far as anybody has noticed.
    down: AtomicBool,
    /// What librdkafka complained of last.
    complaint: Mutex<Option<String>>,
    /// How many events have been heard.
    heard: AtomicU64,
}

impl Events {
    /// What a topic's queue calls when it has got something.
    pub(super) fn waker(&self) -> impl Fn() + Send + Sync + 'static {
        let news = self.news.clone();
        move || news.give()
    }

    /// Of all topics.
    pub(super) fn news(&self) -> &News {
        &self.news
    }

    /// Whether the brokers are out of reach.
    pub(super) fn is_down(&self) -> bool {
        self.down.load(Ordering::Acquire)
    }

    /// A broker has answered.
    pub(super) fn is_up(&self) {
        self.down.store(false, Ordering::Release);
        *self.complaint.lock() = None;
    }

    /// An error with what librdkafka had to say about it.
    pub(super) fn explain(&self, error: impl std::fmt::Display) -> String {
        match &*self.complaint.lock() {
            Some(complaint) => format!("{error}: {complaint}"),
            None => error.to_string(),
        }
    }
}

impl ClientContext for Events {
    /// Connections that fail are told by [`Self::error`]; most of the rest is for whoever debugs.
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        let level = match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => log::Level::Error,
            _ => log::Level::Debug,
        };
        self.heard.fetch_add(1, Ordering::Relaxed);
        log::log!(level, "librdkafka: {facility}: {message}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.heard.fetch_add(1, Ordering::Relaxed);
        match error.rdkafka_error_code() {
            // Not errors, or about one topic: its queue tells of them.
            Some(
                RDKafkaErrorCode::PartitionEOF
                | RDKafkaErrorCode::AutoOffsetReset
                | RDKafkaErrorCode::OffsetOutOfRange
                | RDKafkaErrorCode::UnknownTopicOrPartition
                | RDKafkaErrorCode::UnknownTopic
                | RDKafkaErrorCode::UnknownPartition,
            ) => {}
            Some(RDKafkaErrorCode::AllBrokersDown) => self.down.store(true, Ordering::Release),
            _ => *self.complaint.lock() = Some(reason.to_owned()),
        }
    }
}

impl ConsumerContext for Events {
    fn main_queue_min_poll_interval(&self) -> rdkafka::util::Timeout {
        Duration::from_millis(100).into()
    }
}

/// Hears what librdkafka has to tell: only while somebody asks for it does it speak.
pub(super) fn serve(consumer: &Consumer) {
    let heard = || consumer.client().context().heard.load(Ordering::Relaxed);
    for _ in 0..1000 {
        let before = heard();
        // Events that are dealt with inside of it answer `None`, too.
        if consumer.poll(Duration::ZERO).is_none() && heard() == before {
            return;
        }
    }
}

/// How much of one topic may wait in memory, in KiB: little, because there may be hundreds of topics, but more than one of Milvus's largest messages
/// (5.4 MB), so that the next one is fetched while one waits. With 2 MiB the task waited for it, and the broker was asked more often.
const QUEUED_KIB: &str = "6144";
/// The same in messages: a tick is 17 bytes and costs some 400 in memory.
const QUEUED_MESSAGES: &str = "4000";

/// Makes a consumer. It connects by itself, when there is something to do.
pub(super) fn consumer(config: &KafkaConfig) -> Result<Arc<Consumer>, KafkaError> {
    BaseConsumer::from_config_and_context(&settings(config), Events::default()).map(Arc::new)
}

/// Everything that librdkafka is told.
pub(super) fn settings(config: &KafkaConfig) -> ClientConfig {
    let mut client = ClientConfig::new();
    let fixed = [
        ("client.id", "milvus-cdc"),
        // librdkafka wants a name of a group for partitions that are assigned by hand. Nobody joins it and nothing is committed.
        ("group.id", "milvus-cdc"),
        ("enable.auto.commit", "false"),
        ("enable.auto.offset.store", "false"),
        // Where to go on when an offset is gone is not for the library to decide.
        ("auto.offset.reset", "error"),
        ("enable.partition.eof", "true"),
        // A topic that is made by asking for it would not be Milvus's.
        ("allow.auto.create.topics", "false"),
        ("check.crcs", "true"),
        ("queued.max.messages.kbytes", QUEUED_KIB),
        ("queued.min.messages", QUEUED_MESSAGES),
        // How long a topic whose queue was full is left alone; a second by default.
        ("fetch.queue.backoff.ms", "5"),
        ("fetch.max.bytes", "8388608"),
        // A broker answers one fetch at a time. While a topic's queue is full it is not asked for that topic, and waits so long for news of
        // the others before the topic has its turn again: with the 500 ms of the default a backlog of large messages stood still.
        ("fetch.wait.max.ms", "50"),
        ("socket.keepalive.enable", "true"),
        // A broker that has gone silent is noticed after this.
        ("socket.timeout.ms", "20000"),
        ("reconnect.backoff.max.ms", "2000"),
    ];
    for (key, value) in fixed {
        client.set(key, value);
    }
    client.set("bootstrap.servers", &config.address);
    for (key, value) in config.client_settings() {
        client.set(key, value.expose());
    }
    client.set_log_level(RDKafkaLogLevel::Info);
    client
}
