/*!
Converts positions to the bytes of a message id, and back, for each kind of log.

Milvus uses this form, and so do the API's answers and the positions of a create request.
*/

use protobuf::Message as _;

use crate::domain::{LogKind, Position};
use crate::milvus::pb::pulsar::MessageId;

/// A position in the bytes that Milvus itself uses for a message id of this log.
pub fn message_id(log: LogKind, position: Position) -> Vec<u8> {
    match log {
        LogKind::RocksMq | LogKind::Kafka => position.number().to_le_bytes().to_vec(),
        LogKind::Pulsar => pulsar(position),
        // A resume point is more than a message id: both numbers of the position, in a form of our own.
        LogKind::Wal => [position.order().to_be_bytes(), position.resume().to_be_bytes()].concat(),
        LogKind::Scan => Vec::new(),
    }
}

/// The reverse of [`message_id`]; `None` if the bytes are not a message id of this log.
pub fn parse_message_id(log: LogKind, message_id: &[u8]) -> Option<Position> {
    match log {
        LogKind::RocksMq | LogKind::Kafka => Some(Position::at(u64::from_le_bytes(message_id.try_into().ok()?))),
        LogKind::Pulsar => of_pulsar(message_id),
        LogKind::Wal => {
            let (order, resume) = message_id.split_first_chunk::<16>()?;
            Some(Position::pair(u128::from_be_bytes(*order), u128::from_be_bytes(resume.try_into().ok()?)))
        }
        LogKind::Scan => None,
    }
}

/// Milvus writes partition and batch index even if they are 0.
fn pulsar(position: Position) -> Vec<u8> {
    let (ledger, entry, index) = position.ledger_entry_index();
    let id = MessageId {
        ledger: Some(ledger),
        entry: Some(entry),
        partition: Some(0),
        batch_index: Some(index.into()),
        ..Default::default()
    };
    // Fails only if a required field is missing.
    id.write_to_bytes().unwrap_or_default()
}

fn of_pulsar(bytes: &[u8]) -> Option<Position> {
    let id = MessageId::parse_from_bytes(bytes).ok()?;
    // Milvus writes no other fields: bytes that have some parse as this message only by chance.
    if id.special_fields.unknown_fields().iter().next().is_some() {
        return None;
    }
    // -1 where there is no batch.
    Some(Position::in_ledger(id.ledger(), id.entry(), u16::try_from(id.batch_index()).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        for kind in LogKind::ALL {
            if kind != LogKind::Scan {
                assert_eq!(parse_message_id(kind, &message_id(kind, Position::at(258))), Some(Position::at(258)));
            }
            assert_eq!(parse_message_id(kind, &[1, 2, 3, 4]), None);
        }
        assert_eq!(message_id(LogKind::RocksMq, Position::at(1)), [1, 0, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn pulsars_as_milvus_writes_them() {
        let first = Position::in_ledger(300, 2, 0);
        assert_eq!(pulsar(first), [0x08, 0xac, 0x02, 0x10, 2, 0x18, 0, 0x20, 0]);
        let last = Position::in_ledger(u64::MAX, 1 << 35, u16::MAX);
        let expected = [
            &[0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01][..],
            &[0x10, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01, 0x18, 0, 0x20, 0xff, 0xff, 0x03],
        ];
        assert_eq!(pulsar(last), expected.concat());
        for position in [first, last] {
            assert_eq!(of_pulsar(&pulsar(position)), Some(position));
        }
        let without_batch = [0x08, 5, 0x10, 6, 0x20, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];
        assert_eq!(of_pulsar(&without_batch), Some(Position::in_ledger(5, 6, 0)));
        assert_eq!(of_pulsar(&[0x08, 5, 0x10, 6]), Some(Position::in_ledger(5, 6, 0)));
    }

    #[test]
    fn bytes_that_are_no_message_id_of_pulsar() {
        for wrong in [
            &[][..],
            &[0x08],
            &[0x08, 5],
            &[0x10, 5],
            &[1, 2, 3, 4, 5, 6, 7, 8],
            &[0x08, 0xff, 0xff],
            &[0x08, 5, 0x10, 6, 0x28, 7],
        ] {
            assert_eq!(of_pulsar(wrong), None, "{wrong:?}");
        }
    }
}
