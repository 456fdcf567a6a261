//! A message id of Pulsar in the bytes that Milvus keeps: `MessageIdData` with ledger (1), entry (2), partition (3) and batch index (4).

use super::Position;

const LEDGER: u8 = 1 << 3;
const ENTRY: u8 = 2 << 3;
const PARTITION: u8 = 3 << 3;
const INDEX: u8 = 4 << 3;

/// The bytes. Milvus gives partition and batch index even where they are 0.
pub(super) fn write(position: Position) -> Vec<u8> {
    let (ledger, entry, index) = position.ledger_entry_index();
    let mut bytes = Vec::with_capacity(24);
    for (tag, value) in [(LEDGER, ledger), (ENTRY, entry), (PARTITION, 0), (INDEX, u64::from(index))] {
        bytes.push(tag);
        write_varint(&mut bytes, value);
    }
    bytes
}

/// The reverse; `None` when the bytes are nothing of the kind.
pub(super) fn read(mut bytes: &[u8]) -> Option<Position> {
    let (mut ledger, mut entry, mut index) = (None, None, 0);
    while let Some((tag, rest)) = bytes.split_first() {
        bytes = rest;
        let value = read_varint(&mut bytes)?;
        match *tag {
            LEDGER => ledger = Some(value),
            ENTRY => entry = Some(value),
            // -1 where there is no batch.
            INDEX => index = u16::try_from(value).unwrap_or(0),
            PARTITION => {}
            _ => return None,
        }
    }
    Some(Position::in_ledger(ledger?, entry?, index))
}

fn write_varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

fn read_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_milvus_writes_them() {
        let position = Position::in_ledger(300, 2, 0);
        assert_eq!(write(position), [0x08, 0xac, 0x02, 0x10, 2, 0x18, 0, 0x20, 0]);
        assert_eq!(read(&write(position)), Some(position));
        let without_batch = [0x08, 5, 0x10, 6, 0x20, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];
        assert_eq!(read(&without_batch), Some(Position::in_ledger(5, 6, 0)));
        for wrong in [&[][..], &[0x08], &[0x08, 5], &[1, 2, 3, 4, 5, 6, 7, 8], &[0x08, 0xff, 0xff]] {
            assert_eq!(read(wrong), None, "{wrong:?}");
        }
    }
}
