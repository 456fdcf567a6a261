/*!
Ids of messages. What the text holds depends on the queue that the source keeps its log in; here it is read as little as
possible: an id is kept in 128 bits and sent back as it came. Nothing is ever made up: a text that an id does not come back
from is refused (a malformed one has crashed servers).
*/

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use protobuf::CodedOutputStream;

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

    fn numbered(number: i32) -> Option<Queue> {
        Queue::ALL.into_iter().find(|queue| queue.number() == number)
    }
}

/// The id of one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageId {
    /// Of which queue.
    pub queue: Queue,
    /// As the server writes it.
    pub text: String,
}

/// An id that cannot be kept.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the message id {text:?} of queue {queue} is of a form that is not known here")]
pub struct UnknownId {
    text: String,
    queue: i32,
}

/// Bits of the packed form: three for the queue on top, the rest as the queue needs it.
const QUEUE_SHIFT: u32 = 125;
/// Of Woodpecker's segment and entry.
const WOODPECKER_BITS: u32 = 62;
/// Of Pulsar's ledger, entry, partition, index in a batch and size of the batch; the last three are kept one larger.
const PULSAR_BITS: [u32; 5] = [56, 40, 9, 10, 10];
/// Woodpecker's first message has an empty text, which a request may not have: this reads as the same.
const WOODPECKER_FIRST: &str = "CAAQAA==";

impl MessageId {
    /// Takes an id from the wire.
    ///
    /// # Errors
    /// It is of a queue or a form that is not known here.
    pub fn read(wire: &WireId) -> Result<MessageId, UnknownId> {
        MessageId::checked(wire.WAL_name, &wire.id)
    }

    /// The id with this text, of the same queue: what a property of a message says.
    ///
    /// # Errors
    /// It is of a form that is not known here.
    pub fn sibling(&self, text: &str) -> Result<MessageId, UnknownId> {
        MessageId::checked(self.queue.number(), text)
    }

    /// From the bytes in which `DescribeCollection` tells where a collection begins; `None` when they are none.
    pub fn from_position(queue: Queue, bytes: &[u8]) -> Option<MessageId> {
        let text = match queue {
            Queue::RocksMq | Queue::Kafka => base36(i64::from_le_bytes(bytes.try_into().ok()?)),
            Queue::Pulsar | Queue::Woodpecker => STANDARD.encode(bytes),
        };
        MessageId::checked(queue.number(), &text).ok()
    }

    fn checked(number: i32, text: &str) -> Result<MessageId, UnknownId> {
        let unknown = || UnknownId { text: text.into(), queue: number };
        let queue = Queue::numbered(number).ok_or_else(unknown)?;
        let text = if queue == Queue::Woodpecker && text.is_empty() { WOODPECKER_FIRST } else { text };
        let id = MessageId { queue, text: text.to_owned() };
        let kept = id.pack().and_then(MessageId::unpack);
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
                // A missing size is kept as 0, a given one as one more than it is.
                join([ledger?, entry?, above(partition)?, above(index)?, above(size).unwrap_or(0)], PULSAR_BITS)?
            }
        };
        Some((self.queue.number() as u128) << QUEUE_SHIFT | body)
    }

    /// The reverse of [`Self::pack`].
    pub fn unpack(packed: u128) -> Option<MessageId> {
        let queue = Queue::numbered((packed >> QUEUE_SHIFT) as i32)?;
        let body = packed & ((1 << QUEUE_SHIFT) - 1);
        let text = match queue {
            Queue::RocksMq | Queue::Kafka => base36(body as u64 as i64),
            Queue::Woodpecker => match split(body, [WOODPECKER_BITS; 2]) {
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
        Some(MessageId { queue, text })
    }

    /// The numbers in fields of a text that is a small message.
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

/// Puts numbers side by side; `None` when one does not fit.
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
            let id = MessageId::checked(number, text).unwrap();
            assert_eq!(id.text, text);
            assert_eq!(MessageId::unpack(id.pack().unwrap()), Some(id));
        }
        assert_eq!(MessageId::checked(4, "").unwrap().text, WOODPECKER_FIRST);
    }

    #[test]
    fn what_would_not_come_back_is_refused() {
        for (number, text) in
            [(0, "1"), (999, "1"), (1, ""), (1, "A"), (1, "+1"), (1, "zzzzzzzzzzzzzzzz"), (2, "CAw="), (4, "!")]
        {
            assert!(MessageId::checked(number, text).is_err(), "{number} {text}");
        }
    }

    #[test]
    fn where_a_collection_begins() {
        let kafka = MessageId::from_position(Queue::Kafka, &123_456_789i64.to_le_bytes()).unwrap();
        assert_eq!(kafka.text, "21i3v9");
        let woodpecker = MessageId::from_position(Queue::Woodpecker, &[8, 12, 16, 217, 2]).unwrap();
        assert_eq!(woodpecker.text, "CAwQ2QI=");
        assert_eq!(MessageId::from_position(Queue::RocksMq, &[1, 2]), None);
    }
}
