/*!
Ids of messages of Milvus 2.6 and later. What the text holds depends on the queue that the source keeps its log in; it
is interpreted as little as possible: an id is stored in 128 bits and sent back as it came. A text that would not come
back unchanged is refused, because a malformed id has crashed servers.
*/

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use protobuf::{CodedOutputStream, Message as _};

use crate::domain::Position;
use crate::milvus::pb::pulsar::MessageId;
use crate::milvus::pb::wal::MessageID as WireId;
use crate::milvus::wire;

/// The queue that a source keeps its log in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Queue {
    /// RocksMQ: base 36 of an integer.
    RocksMq,
    /// Pulsar: base64 of a small message with ledger and entry.
    Pulsar,
    /// Kafka: base 36 of the offset.
    Kafka,
    /// Woodpecker: base64 of a small message with segment and entry.
    Woodpecker,
}

impl Queue {
    const ALL: [Queue; 4] = [Queue::RocksMq, Queue::Pulsar, Queue::Kafka, Queue::Woodpecker];

    /// Milvus's number of it (`WALName`).
    pub fn number(self) -> i32 {
        match self {
            Queue::RocksMq => 1,
            Queue::Pulsar => 2,
            Queue::Kafka => 3,
            Queue::Woodpecker => 4,
        }
    }

    /// The place in this queue that an id's text names; `None` if its form is unknown.
    pub(super) fn position(self, text: &str) -> Option<Position> {
        match self {
            Queue::RocksMq | Queue::Kafka => {
                i64::from_str_radix(text, 36).ok().and_then(|number| u64::try_from(number).ok()).map(Position::at)
            }
            Queue::Pulsar => {
                let id = MessageId::parse_from_bytes(&STANDARD.decode(text).ok()?).ok()?;
                // -1 where there is no batch.
                let index = u16::try_from(id.batch_index()).unwrap_or(0);
                Some(Position::in_ledger(id.ledger(), id.entry(), index))
            }
            // Nobody reads it but by `DumpMessages`.
            Queue::Woodpecker => None,
        }
    }

    /// Its name, as people write it.
    pub(in crate::source) fn name(self) -> &'static str {
        match self {
            Queue::RocksMq => "RocksMQ",
            Queue::Pulsar => "Pulsar",
            Queue::Kafka => "Kafka",
            Queue::Woodpecker => "Woodpecker",
        }
    }

    /// The reverse of [`Self::number`].
    pub(super) fn numbered(number: i32) -> Option<Queue> {
        Queue::ALL.into_iter().find(|queue| queue.number() == number)
    }
}

/// The id of one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WalMessageId {
    /// The queue that it belongs to.
    pub queue: Queue,
    /// As the server writes it.
    pub text: String,
}

/// An id that cannot be stored in 128 bits.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the message id {text:?} of queue {queue} has an unknown form")]
pub struct UnknownId {
    text: String,
    queue: i32,
}

/// Layout of the packed form: the three top bits tell the queue, the rest depends on it.
const QUEUE_SHIFT: u32 = 125;
/// Bits of Woodpecker's segment and entry.
const WOODPECKER_BITS: u32 = 62;
/// Bits of Pulsar's ledger, entry, partition, batch index and batch size; the last three are stored one larger.
const PULSAR_BITS: [u32; 5] = [56, 40, 9, 10, 10];
/// Woodpecker's first entry has an empty id, which a request may not have. The text that means the same, `CAAQAA==`,
/// is taken for another place: asked for that, a server begins behind its truncation point, and what lies before it is
/// left out in silence (seen on 2.6.20 and 3.0). So an empty id stands for the second entry: the first one is a time
/// tick, and everything behind it comes.
const WOODPECKER_FIRST: &str = "EAE=";

impl WalMessageId {
    /// Decodes an id.
    ///
    /// # Errors
    /// Its queue or its form is unknown.
    pub fn read(wire: &WireId) -> Result<WalMessageId, UnknownId> {
        WalMessageId::checked(wire.WAL_name, &wire.id)
    }

    /// The id with this text, of the same queue: what a property of a message says.
    ///
    /// # Errors
    /// It has an unknown form.
    pub fn sibling(&self, text: &str) -> Result<WalMessageId, UnknownId> {
        WalMessageId::checked(self.queue.number(), text)
    }

    /// From a start position as `DescribeCollection` reports it; `None` for bytes of another form.
    pub fn from_position(queue: Queue, bytes: &[u8]) -> Option<WalMessageId> {
        let text = match queue {
            Queue::RocksMq | Queue::Kafka => base36(i64::from_le_bytes(bytes.try_into().ok()?)),
            Queue::Pulsar | Queue::Woodpecker => STANDARD.encode(bytes),
        };
        WalMessageId::checked(queue.number(), &text).ok()
    }

    /// Woodpecker's first entry that a channel's messages can be in.
    pub fn first_of_woodpecker() -> WalMessageId {
        WalMessageId { queue: Queue::Woodpecker, text: WOODPECKER_FIRST.to_owned() }
    }

    fn checked(number: i32, text: &str) -> Result<WalMessageId, UnknownId> {
        let unknown = || UnknownId { text: text.into(), queue: number };
        let queue = Queue::numbered(number).ok_or_else(unknown)?;
        let text = if queue == Queue::Woodpecker && text.is_empty() { WOODPECKER_FIRST } else { text };
        let id = WalMessageId { queue, text: text.to_owned() };
        let kept = id.pack().and_then(WalMessageId::unpack);
        if kept.as_ref() == Some(&id) { Ok(id) } else { Err(unknown()) }
    }

    /// The id in 128 bits.
    pub fn pack(&self) -> Option<u128> {
        let body = match self.queue {
            Queue::RocksMq | Queue::Kafka => u128::from(i64::from_str_radix(&self.text, 36).ok()? as u64),
            Queue::Woodpecker => {
                let [segment, entry] = self.numbers([1, 2])?;
                join([segment.unwrap_or(0), entry.unwrap_or(0)], [WOODPECKER_BITS; 2])?
            }
            Queue::Pulsar => {
                let [ledger, entry, partition, index, size] = self.numbers([1, 2, 3, 4, 6])?;
                let above = |number: Option<u64>| number.map(|number| number.wrapping_add(1));
                // A missing size is stored as 0, another one larger than it is.
                join([ledger?, entry?, above(partition)?, above(index)?, above(size).unwrap_or(0)], PULSAR_BITS)?
            }
        };
        Some((self.queue.number() as u128) << QUEUE_SHIFT | body)
    }

    /// The reverse of [`Self::pack`].
    pub fn unpack(packed: u128) -> Option<WalMessageId> {
        let queue = Queue::numbered((packed >> QUEUE_SHIFT) as i32)?;
        let body = packed & ((1 << QUEUE_SHIFT) - 1);
        let text = match queue {
            Queue::RocksMq | Queue::Kafka => base36(body as u64 as i64),
            Queue::Woodpecker => match split(body, [WOODPECKER_BITS; 2]) {
                // Checkpoints of earlier versions have the first entry itself.
                [0, 0] => WOODPECKER_FIRST.to_owned(),
                [segment, entry] => {
                    message(&[(1, segment), (2, entry)].map(|(n, value)| (n, (value != 0).then_some(value))))?
                }
            },
            Queue::Pulsar => {
                let [ledger, entry, partition, index, size] = split(body, PULSAR_BITS);
                let below = |number: u64| Some(number.wrapping_sub(1));
                let size = if size == 0 { None } else { below(size) };
                message(&[(1, Some(ledger)), (2, Some(entry)), (3, below(partition)), (4, below(index)), (6, size)])?
            }
        };
        Some(WalMessageId { queue, text })
    }

    /// The numeric fields of a text that is a small protobuf message.
    fn numbers<const N: usize>(&self, wanted: [u32; N]) -> Option<[Option<u64>; N]> {
        let bytes = STANDARD.decode(&self.text).ok()?;
        let mut found = [None; N];
        for field in wire::fields(&bytes) {
            let (number, value) = field.ok()?;
            let index = wanted.iter().position(|wanted| *wanted == number)?;
            *found.get_mut(index)? = Some(wire::number(value).ok()?);
        }
        Some(found)
    }
}

fn message(fields: &[(u32, Option<u64>)]) -> Option<String> {
    let mut bytes = Vec::new();
    let mut out = CodedOutputStream::vec(&mut bytes);
    for (number, value) in fields {
        if let Some(value) = value {
            out.write_uint64(*number, *value).ok()?;
        }
    }
    out.flush().ok()?;
    drop(out);
    Some(STANDARD.encode(bytes))
}

/// Packs numbers side by side; `None` if one does not fit.
fn join<const N: usize>(numbers: [u64; N], bits: [u32; N]) -> Option<u128> {
    numbers.into_iter().zip(bits).try_fold(0, |joined, (number, bits)| {
        (u128::from(number) < 1 << bits).then_some(joined << bits | u128::from(number))
    })
}

fn split<const N: usize>(mut joined: u128, bits: [u32; N]) -> [u64; N] {
    let mut numbers = [0; N];
    for (number, bits) in numbers.iter_mut().zip(bits).rev() {
        *number = (joined & ((1 << bits) - 1)) as u64;
        joined >>= bits;
    }
    numbers
}

/// An integer in base 36, lower case.
fn base36(number: i64) -> String {
    const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    let mut rest = number.unsigned_abs();
    let mut digits = Vec::new();
    loop {
        digits.push(char::from(DIGITS[(rest % 36) as usize]));
        rest /= 36;
        if rest == 0 {
            break;
        }
    }
    if number < 0 {
        digits.push('-');
    }
    digits.into_iter().rev().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_every_queue_come_back_as_they_were() {
        for (number, text) in [
            (1, "3g3hw38fqiqt"),
            (1, "0"),
            (1, "-1"),
            (3, "21i3v9"),
            (3, "-2"),
            (2, "COckEA8Y////////////ASADMAA="),
            (2, "COckEA8Y////////////ASAD"),
            (4, "CAwQ2QI="),
            (4, "CAw="),
        ] {
            let id = WalMessageId::checked(number, text).unwrap();
            assert_eq!(id.text, text);
            assert_eq!(WalMessageId::unpack(id.pack().unwrap()), Some(id));
        }
    }

    /// `CAAQAA==` would be answered from behind the truncation point on.
    #[test]
    fn the_empty_id_of_woodpecker_is_asked_for_as_the_entry_behind_it() {
        let first = WalMessageId::checked(4, "").unwrap();
        assert_eq!(first, WalMessageId::first_of_woodpecker());
        assert_eq!(first.text, "EAE=");
        assert_eq!(WalMessageId::unpack(first.pack().unwrap()), Some(first.clone()));
        let stored_by_earlier_versions = 4u128 << QUEUE_SHIFT;
        assert_eq!(WalMessageId::unpack(stored_by_earlier_versions), Some(first));
    }

    #[test]
    fn places_in_a_queue() {
        assert_eq!(Queue::Kafka.position("3c"), Some(Position::at(120)));
        assert_eq!(Queue::RocksMq.position("3g3hw38fqiqt").map(Position::number), Some(453_718_800_000_000_101));
        assert_eq!(Queue::Pulsar.position("CAsQARgAIAAwAQ=="), Some(Position::in_ledger(11, 1, 0)));
        assert_eq!(Queue::Pulsar.position("COckEA8Y////////////ASADMAA="), Some(Position::in_ledger(4711, 15, 3)));
        for (queue, wrong) in
            [(Queue::Kafka, ""), (Queue::RocksMq, "-1"), (Queue::Pulsar, "CAs="), (Queue::Pulsar, "!")]
        {
            assert_eq!(queue.position(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn ids_that_would_not_come_back_are_refused() {
        for (number, text) in
            [(0, "1"), (999, "1"), (1, ""), (1, "A"), (1, "+1"), (1, "zzzzzzzzzzzzzzzz"), (2, "CAw="), (4, "!")]
        {
            assert!(WalMessageId::checked(number, text).is_err(), "{number} {text}");
        }
    }

    #[test]
    fn where_a_collection_begins() {
        let kafka = WalMessageId::from_position(Queue::Kafka, &123_456_789i64.to_le_bytes()).unwrap();
        assert_eq!(kafka.text, "21i3v9");
        let woodpecker = WalMessageId::from_position(Queue::Woodpecker, &[8, 12, 16, 217, 2]).unwrap();
        assert_eq!(woodpecker.text, "CAwQ2QI=");
        assert_eq!(WalMessageId::from_position(Queue::RocksMq, &[1, 2]), None);
    }
}
