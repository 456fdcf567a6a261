//! The kinds of logs, and how each writes its positions.

use super::{Position, pulsar_id};

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

    /// Whether users' requests about the catalog stand on a channel of their own.
    pub fn has_request_channel(self) -> bool {
        matches!(self, LogKind::RocksMq | LogKind::Kafka | LogKind::Pulsar)
    }

    /// A position in the bytes that Milvus itself uses for a message id of this log.
    pub fn message_id(self, position: Position) -> Vec<u8> {
        match self {
            LogKind::RocksMq | LogKind::Kafka => position.number().to_le_bytes().to_vec(),
            LogKind::Pulsar => pulsar_id::write(position),
            // A place is more than a message id: both of a position's numbers, in bytes of our own.
            LogKind::Wal => [position.order().to_be_bytes(), position.resume().to_be_bytes()].concat(),
            LogKind::Scan => Vec::new(),
        }
    }

    /// The reverse of [`Self::message_id`]; `None` when the bytes are no message id of this log.
    pub fn position(self, message_id: &[u8]) -> Option<Position> {
        match self {
            LogKind::RocksMq | LogKind::Kafka => Some(Position::at(u64::from_le_bytes(message_id.try_into().ok()?))),
            LogKind::Pulsar => pulsar_id::read(message_id),
            LogKind::Wal => {
                let (order, resume) = message_id.split_first_chunk::<16>()?;
                Some(Position::pair(u128::from_be_bytes(*order), u128::from_be_bytes(resume.try_into().ok()?)))
            }
            LogKind::Scan => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_message_ids() {
        for kind in LogKind::ALL {
            assert_eq!(LogKind::named(kind.name()), Some(kind));
            if kind != LogKind::Scan {
                assert_eq!(kind.position(&kind.message_id(Position::at(258))), Some(Position::at(258)));
            }
            assert_eq!(kind.position(&[1, 2, 3, 4]), None);
        }
        assert_eq!(LogKind::named("nope"), None);
        assert_eq!(LogKind::RocksMq.message_id(Position::at(1)), [1, 0, 0, 0, 0, 0, 0, 0]);
    }
}
