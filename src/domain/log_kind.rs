//! The kinds of logs.

/// The kinds of logs that a source can be read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogKind {
    /// The files of a standalone server's built-in queue.
    RocksMq,
    /// Topics of Kafka brokers.
    Kafka,
    /// Topics of Pulsar brokers.
    Pulsar,
    /// The write-ahead log of Milvus 2.6.20 and later, over gRPC.
    Wal,
    /// None at all: the rows are read and compared.
    Scan,
}

impl LogKind {
    /// Every kind there is.
    pub const ALL: [LogKind; 5] = [LogKind::RocksMq, LogKind::Kafka, LogKind::Pulsar, LogKind::Wal, LogKind::Scan];

    /// Its name in the configuration, in files and in answers.
    pub fn name(self) -> &'static str {
        match self {
            LogKind::RocksMq => "rocksmq",
            LogKind::Kafka => "kafka",
            LogKind::Pulsar => "pulsar",
            LogKind::Wal => "wal",
            LogKind::Scan => "scan",
        }
    }

    /// The kind of that name.
    pub fn named(name: &str) -> Option<LogKind> {
        LogKind::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Whether it can be read while the source itself does not run.
    pub fn outlives_source(self) -> bool {
        matches!(self, LogKind::RocksMq | LogKind::Kafka | LogKind::Pulsar)
    }

    /// Whether users' requests about the catalog stand on a channel of their own.
    pub fn has_request_channel(self) -> bool {
        matches!(self, LogKind::RocksMq | LogKind::Kafka | LogKind::Pulsar)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for kind in LogKind::ALL {
            assert_eq!(LogKind::named(kind.name()), Some(kind));
        }
        assert_eq!(LogKind::named("nope"), None);
    }
}
