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
use crate::domain::Channel;
use crate::source::wakeup::Wakeup;

/// A consumer that reports to [`KafkaEvents`].
pub(super) type KafkaConsumer = BaseConsumer<KafkaEvents>;

/// What librdkafka reports beside messages.
#[derive(Debug, Default)]
pub(super) struct KafkaEvents {
    /// Some topic's queue has received messages since the last look.
    arrivals: Wakeup,
    /// No broker can be reached, as far as librdkafka has noticed.
    down: AtomicBool,
    /// librdkafka's last complaint.
    complaint: Mutex<Option<String>>,
    /// How many events librdkafka has reported.
    reported: AtomicU64,
}

impl KafkaEvents {
    /// Signalled by each topic's queue when it receives messages.
    pub(super) fn arrivals(&self) -> &Wakeup {
        &self.arrivals
    }

    /// Whether the brokers are out of reach.
    pub(super) fn is_down(&self) -> bool {
        self.down.load(Ordering::Acquire)
    }

    /// A broker has answered.
    pub(super) fn note_answer(&self) {
        self.down.store(false, Ordering::Release);
        *self.complaint.lock() = None;
    }

    /// The failure to name while no broker can be reached.
    pub(super) fn down(&self) -> KafkaFailure {
        KafkaFailure::Down { complaint: self.complaint.lock().clone() }
    }

    /// An error, together with what librdkafka has complained of.
    pub(super) fn explain(&self, error: KafkaError) -> KafkaFailure {
        match self.complaint.lock().clone() {
            Some(complaint) => KafkaFailure::Explained { error, complaint },
            None => KafkaFailure::Plain(error),
        }
    }
}

/// A failure of librdkafka.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum KafkaFailure {
    #[error(transparent)]
    Plain(KafkaError),
    #[error("{error}: {complaint}")]
    Explained {
        #[source]
        error: KafkaError,
        complaint: String,
    },
    #[error("topic {topic}: {failure}")]
    Topic {
        topic: Channel,
        #[source]
        failure: Box<KafkaFailure>,
    },
    /// librdkafka's own text holds the refused value, which may be a secret.
    #[error("librdkafka refuses the setting {0}")]
    Setting(String),
    #[error("no broker can be reached{}", .complaint.as_ref().map(|it| format!(": {it}")).unwrap_or_default())]
    Down { complaint: Option<String> },
}

impl ClientContext for KafkaEvents {
    /// [`Self::error`] reports failed connections; most of the rest helps debugging only.
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        let level = match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => log::Level::Error,
            _ => log::Level::Debug,
        };
        self.reported.fetch_add(1, Ordering::Relaxed);
        log::log!(level, "librdkafka: {facility}: {message}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.reported.fetch_add(1, Ordering::Relaxed);
        match error.rdkafka_error_code() {
            // No errors, or errors of one topic, which its queue reports.
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

impl ConsumerContext for KafkaEvents {
    fn main_queue_min_poll_interval(&self) -> rdkafka::util::Timeout {
        Duration::from_millis(100).into()
    }
}

/// Lets librdkafka report its events: it does so only while it is polled.
pub(super) fn serve(consumer: &KafkaConsumer) {
    let reported = || consumer.client().context().reported.load(Ordering::Relaxed);
    for _ in 0..1000 {
        let before = reported();
        // It returns `None` as well when it has handled an event inside.
        if consumer.poll(Duration::ZERO).is_none() && reported() == before {
            return;
        }
    }
}

/// Limit of one topic's queue in memory, in KiB: small, because there may be hundreds of topics, but above Milvus's
/// largest message (5.4 MB), so that the next one is fetched while one waits. At 2 MiB the task waited for messages,
/// and librdkafka asked the broker more often.
const QUEUED_KIB: &str = "6144";
/// The same limit in messages: a tick of 17 bytes costs some 400 in memory.
const QUEUED_MESSAGES: &str = "4000";

/// Makes a consumer. It connects by itself when it has something to do.
pub(super) fn consumer(config: &KafkaConfig) -> Result<Arc<KafkaConsumer>, KafkaError> {
    BaseConsumer::from_config_and_context(&settings(config), KafkaEvents::default()).map(Arc::new)
}

/// All settings of librdkafka.
pub(super) fn settings(config: &KafkaConfig) -> ClientConfig {
    let mut client = ClientConfig::new();
    let fixed = [
        ("client.id", "milvus-cdc"),
        // librdkafka requires a group id even for manual assignment. Nobody joins the group, and nothing is committed.
        ("group.id", "milvus-cdc"),
        ("enable.auto.commit", "false"),
        ("enable.auto.offset.store", "false"),
        // The library must not choose where to continue when an offset is gone.
        ("auto.offset.reset", "error"),
        ("enable.partition.eof", "true"),
        // Topics are Milvus's to create, not ours by asking for them.
        ("allow.auto.create.topics", "false"),
        ("check.crcs", "true"),
        ("queued.max.messages.kbytes", QUEUED_KIB),
        ("queued.min.messages", QUEUED_MESSAGES),
        // Pause before a topic whose queue was full is fetched again; a second by default.
        ("fetch.queue.backoff.ms", "5"),
        ("fetch.max.bytes", "8388608"),
        // A broker answers one fetch at a time. While a topic's queue is full, fetches leave that topic out and wait
        // this long for news of the others before it has its turn again: the default of 500 ms stalled a backlog of
        // large messages.
        ("fetch.wait.max.ms", "50"),
        ("socket.keepalive.enable", "true"),
        // After this, a silent broker counts as lost.
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
