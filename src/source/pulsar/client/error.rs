//! What can go wrong between this client and Pulsar.

use std::io;
use std::sync::Arc;

use super::frame::FrameError;

/// A failure. Each of them is worth another attempt.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum PulsarError {
    #[error("{address}: {source}")]
    Unreachable { address: String, source: Arc<io::Error> },
    #[error("{address}: TLS: {detail}")]
    Tls { address: String, detail: String },
    #[error("{address}: {source}")]
    Frame { address: String, source: FrameError },
    #[error("{address}: the connection has ended: {source}")]
    Ended { address: String, source: EndCause },
    #[error("{address}: no answer to {question} within {seconds} s")]
    Silent { address: String, question: &'static str, seconds: u64 },
    #[error("{address} refuses {question}: {message} ({code})")]
    Refused { address: String, question: &'static str, code: RefusalCode, message: String },
    #[error("{address}: malformed response: required field missing")]
    Malformed { address: String },
    #[error("lookup of {topic} was redirected {hops} times without finding its owner")]
    Redirects { topic: String, hops: u32 },
    #[error("there is no topic {topic}")]
    NoTopic { topic: String },
    #[error("{topic} has {partitions} partitions: only topics with one can be read")]
    Partitioned { topic: String, partitions: u32 },
    #[error("{topic}: {source}")]
    Message { topic: String, source: FrameError },
    #[error("the system gives no more threads: {0}")]
    Thread(#[source] Arc<io::Error>),
}

/// Why a connection has ended, or has to.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum EndCause {
    #[error(transparent)]
    Io(Arc<io::Error>),
    #[error("the broker closed it")]
    ByBroker,
    #[error("this client closed it")]
    ByClient,
    #[error("the broker has been silent for {seconds} s")]
    Silence { seconds: u64 },
    #[error("no more messages of {topic} arrive")]
    Stalled { topic: String },
}

impl From<io::Error> for EndCause {
    fn from(error: io::Error) -> EndCause {
        EndCause::Io(Arc::new(error))
    }
}

impl PulsarError {
    /// Nobody has answered, or not to the end.
    pub(crate) fn is_no_answer(&self) -> bool {
        use PulsarError::{Ended, Silent, Tls, Unreachable};
        matches!(self, Unreachable { .. } | Tls { .. } | Ended { .. } | Silent { .. })
    }

    /// There is no such topic.
    pub(crate) fn is_missing_topic(&self) -> bool {
        matches!(self, PulsarError::Refused { code: RefusalCode::TOPIC_NOT_FOUND, .. })
    }

    /// Another consumer is connected to the subscription.
    pub(crate) fn is_busy(&self) -> bool {
        matches!(self, PulsarError::Refused { code: RefusalCode::CONSUMER_BUSY, .. })
    }

    /// There is no such subscription.
    pub(crate) fn is_missing_subscription(&self) -> bool {
        matches!(self, PulsarError::Refused { code: RefusalCode::SUBSCRIPTION_NOT_FOUND, .. })
    }
}

/// A broker's reason for a refusal (`ServerError` of the protocol).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RefusalCode(pub(super) i32);

impl RefusalCode {
    const CONSUMER_BUSY: RefusalCode = RefusalCode(5);
    const TOPIC_NOT_FOUND: RefusalCode = RefusalCode(11);
    const SUBSCRIPTION_NOT_FOUND: RefusalCode = RefusalCode(12);
}

impl std::fmt::Display for RefusalCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.0 {
            1 => "metadata",
            2 => "persistence",
            3 => "authentication",
            4 => "authorization",
            5 => "another consumer is connected",
            6 => "not ready",
            9 => "checksum",
            10 => "protocol version",
            11 => "no such topic",
            12 => "no such subscription",
            13 => "no such consumer",
            14 => "too many requests",
            15 => "topic terminated",
            17 => "topic name",
            22 => "not allowed",
            _ => "unknown error",
        })
    }
}
