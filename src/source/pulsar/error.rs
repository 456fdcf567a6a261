//! What can go wrong between us and Pulsar.

use super::frame::FrameError;

/// A failure. All of them may pass.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum PulsarError {
    #[error("{address}: {detail}")]
    Unreachable { address: String, detail: String },
    #[error("{address}: TLS: {detail}")]
    Tls { address: String, detail: String },
    #[error("{address}: {error}")]
    Frame { address: String, error: FrameError },
    #[error("{address}: the connection has ended: {detail}")]
    Ended { address: String, detail: String },
    #[error("{address}: no answer to {question} within {seconds} s")]
    Silent { address: String, question: &'static str, seconds: u64 },
    #[error("{address} refuses {question}: {message} ({})", code.name())]
    Refused { address: String, question: &'static str, code: ServerError, message: String },
    #[error("{address}: an answer without what it should hold")]
    Nonsense { address: String },
    #[error("asked from broker to broker for {topic}, {hops} times, and none has it")]
    Redirects { topic: String, hops: u32 },
    #[error("there is no topic {topic}")]
    NoTopic { topic: String },
    #[error("{topic} is a topic of {partitions} partitions: Milvus writes to topics of one")]
    Partitioned { topic: String, partitions: u32 },
    #[error("{topic}: {error}")]
    Message { topic: String, error: FrameError },
    #[error("the system gives no more threads: {0}")]
    Thread(String),
}

impl PulsarError {
    /// Nobody has answered, or not to the end.
    pub(super) fn is_no_answer(&self) -> bool {
        use PulsarError::{Ended, Silent, Tls, Unreachable};
        matches!(self, Unreachable { .. } | Tls { .. } | Ended { .. } | Silent { .. })
    }

    /// There is no such topic.
    pub(super) fn is_absence(&self) -> bool {
        matches!(self, PulsarError::Refused { code: ServerError(11), .. })
    }

    /// Somebody else is subscribed.
    pub(super) fn is_busy(&self) -> bool {
        matches!(self, PulsarError::Refused { code: ServerError(5), .. })
    }

    /// There is no such subscription.
    pub(super) fn is_unsubscribed(&self) -> bool {
        matches!(self, PulsarError::Refused { code: ServerError(12), .. })
    }
}

/// A broker's number of a reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ServerError(pub(super) i32);

impl ServerError {
    fn name(self) -> &'static str {
        match self.0 {
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
        }
    }
}
