/*!
Pulsar's frames: bytes to commands and messages, and back.

A frame is `total u32 | size u32 | command`; a message's frame continues with its checksum, its metadata and its body.
Integers are big-endian. Every length is checked against the bytes at hand, and against the largest frame, before
anything is allocated.
*/

use bytes::{Buf, Bytes, BytesMut};
use protobuf::Message as _;

use super::id::EntryId;
use super::proto::{BaseCommand, KeyValue, Message, MessageMetadata, SingleMetadata};

/// Room in a frame beyond the largest message, for command and metadata, in bytes.
const OVERHEAD: usize = 10 * 1024;
/// The largest message until the broker names another limit: the brokers' default.
const DEFAULT_LARGEST: usize = 5 * 1024 * 1024;
/// A checksum follows.
const CHECKSUM: u16 = 0x0e01;
/// Metadata of the broker follows, which this client has no use for.
const BROKER_METADATA: u16 = 0x0e02;
/// The kind of the command that a message comes with.
const MESSAGE: i32 = 9;
/// A smaller body is copied out of the buffer that it came in, which it would keep in memory as a whole, in bytes.
const SMALL: usize = 64 * 1024;
/// How much of a frame must have come before memory for the rest is reserved: a wrong length costs a broker four bytes.
const BEGUN: usize = 32 * 1024;
/// More messages than any producer puts into one batch.
const LARGEST_BATCH: i32 = 1 << 16;

/// Bytes that are not a frame, or a message that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("a frame of {size} bytes, of which {largest} are allowed")]
    TooLarge { size: usize, largest: usize },
    #[error("a frame whose lengths contradict each other")]
    Lengths,
    #[error("a command or metadata that is not a protobuf message")]
    Protobuf,
    #[error("the checksum does not match")]
    Checksum,
    #[error("a message compressed with {0}, which is not supported (only zstd is)")]
    Compression(&'static str),
    #[error("a message that does not decompress")]
    Decompress,
    #[error("an encrypted message, which is not supported")]
    Encrypted,
    #[error("a message in chunks, which is not supported")]
    Chunked,
}

/// What a frame holds.
#[derive(Debug)]
pub(super) enum Frame {
    /// A command alone.
    Command(Box<BaseCommand>),
    /// A message of a topic.
    Message(Box<ReceivedEntry>),
}

/// An entry of a topic, as it came: one message, or a batch.
#[derive(Debug)]
pub(crate) struct ReceivedEntry {
    /// Names its consumer and its id.
    command: Message,
    /// Written by its producer.
    metadata: MessageMetadata,
    /// Its body or bodies, perhaps compressed.
    payload: Bytes,
}

/// A message of an entry.
#[derive(Debug)]
pub(crate) struct EntryBody {
    /// Written by its producer beside the payload.
    pub(crate) properties: Vec<KeyValue>,
    pub(crate) payload: Bytes,
}

/// Takes frames out of a stream of bytes.
#[derive(Debug)]
pub(super) struct Frames {
    buffer: BytesMut,
    largest: usize,
}

impl Frames {
    pub(super) fn new() -> Frames {
        Frames { buffer: BytesMut::new(), largest: DEFAULT_LARGEST + OVERHEAD }
    }

    /// Sets the broker's limit of a message, in bytes.
    pub(super) fn set_largest(&mut self, message: usize) {
        self.largest = message.saturating_add(OVERHEAD);
    }

    /// Takes in bytes.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// How many bytes to read at most: the rest of a large frame that has begun, so that the frame has its buffer to
    /// itself.
    pub(super) fn wanted(&self, most: usize) -> usize {
        match self.size() {
            Some(size) if self.buffer.len() >= BEGUN => (4 + size).saturating_sub(self.buffer.len()).clamp(1, most),
            _ => most,
        }
    }

    /// The length of the frame that has begun, without the four bytes that hold it.
    fn size(&self) -> Option<usize> {
        self.buffer.first_chunk::<4>().map(|head| u32::from_be_bytes(*head) as usize)
    }

    /// The next frame; `None`: it is not complete yet.
    pub(super) fn next(&mut self) -> Result<Option<Frame>, FrameError> {
        let Some(size) = self.size() else { return Ok(None) };
        if size > self.largest {
            return Err(FrameError::TooLarge { size, largest: self.largest });
        }
        let come = self.buffer.len();
        if come < 4 + size {
            if come >= BEGUN {
                // All of it at once: growing by doubling moved a message of megabytes seven times, and took half as
                // much again.
                self.buffer.reserve(4 + size - come);
            }
            return Ok(None);
        }
        self.buffer.advance(4);
        read_frame(self.buffer.split_to(size).freeze()).map(Some)
    }
}

fn read_frame(mut rest: Bytes) -> Result<Frame, FrameError> {
    let command = take_sized(&mut rest)?;
    let mut command = BaseCommand::parse_from_bytes(&command).map_err(|_| FrameError::Protobuf)?;
    if command.kind() != MESSAGE {
        return Ok(Frame::Command(Box::new(command)));
    }
    let message = command.message.take().ok_or(FrameError::Protobuf)?;
    if peek_u16(&rest) == Some(BROKER_METADATA) {
        rest.advance(2);
        take_sized(&mut rest)?;
    }
    if peek_u16(&rest) == Some(CHECKSUM) {
        rest.advance(2);
        let told = take_u32(&mut rest)?;
        if crc32c::crc32c(&rest) != told {
            return Err(FrameError::Checksum);
        }
    }
    let metadata = take_sized(&mut rest)?;
    let metadata = MessageMetadata::parse_from_bytes(&metadata).map_err(|_| FrameError::Protobuf)?;
    let payload = if rest.len() < SMALL { Bytes::copy_from_slice(&rest) } else { rest };
    Ok(Frame::Message(Box::new(ReceivedEntry { command: message, metadata, payload })))
}

fn peek_u16(bytes: &Bytes) -> Option<u16> {
    bytes.first_chunk::<2>().map(|two| u16::from_be_bytes(*two))
}

fn take_u32(bytes: &mut Bytes) -> Result<u32, FrameError> {
    let four = *bytes.first_chunk::<4>().ok_or(FrameError::Lengths)?;
    bytes.advance(4);
    Ok(u32::from_be_bytes(four))
}

/// A length and that many bytes.
fn take_sized(bytes: &mut Bytes) -> Result<Bytes, FrameError> {
    let size = take_u32(bytes)? as usize;
    take(bytes, size)
}

fn take(bytes: &mut Bytes, size: usize) -> Result<Bytes, FrameError> {
    if size > bytes.len() {
        return Err(FrameError::Lengths);
    }
    Ok(bytes.split_to(size))
}

/// Encodes a command.
pub(crate) fn encode(command: &BaseCommand) -> Vec<u8> {
    // Fails only if a required field is missing; the functions of `command` set all of them.
    let body = command.write_to_bytes().unwrap_or_default();
    let size = body.len() as u32;
    [&(size + 4).to_be_bytes()[..], &size.to_be_bytes(), &body].concat()
}

impl ReceivedEntry {
    /// The consumer that it is for.
    pub(super) fn consumer(&self) -> u64 {
        self.command.consumer_id()
    }

    /// Its id.
    pub(crate) fn id(&self) -> EntryId {
        EntryId::of_wire(&self.command.message_id)
    }

    /// The name of its producer.
    pub(crate) fn producer(&self) -> &str {
        self.metadata.producer()
    }

    /// The producer's number of its first message.
    pub(crate) fn sequence(&self) -> u64 {
        self.metadata.sequence()
    }

    /// When it was published, by the producer's clock, in ms.
    pub(crate) fn publish_time(&self) -> u64 {
        self.metadata.publish_time()
    }

    /// How much memory its bodies take, in bytes.
    pub(super) fn len(&self) -> usize {
        self.payload.len()
    }

    /// How many messages it holds.
    pub(crate) fn message_count(&self) -> u32 {
        self.metadata.batch.map_or(1, |count| count.max(0) as u32)
    }

    /// Its bodies, decompressed, of at most `largest` bytes together; `None` for one that compaction has removed.
    /// A marker, which the broker wrote for itself, has none.
    pub(crate) fn bodies(&self, largest: usize) -> Result<Vec<Option<EntryBody>>, FrameError> {
        if self.metadata.marker.is_some() {
            return Ok(Vec::new());
        }
        if !self.metadata.encryption_keys.is_empty() {
            return Err(FrameError::Encrypted);
        }
        if self.metadata.chunks() > 1 {
            return Err(FrameError::Chunked);
        }
        let plain = self.decompressed(largest)?;
        match self.metadata.batch {
            None => Ok(vec![Some(EntryBody { properties: self.metadata.properties.clone(), payload: plain })]),
            Some(count) if (0..=LARGEST_BATCH).contains(&count) => split(plain, count),
            Some(_) => Err(FrameError::Lengths),
        }
    }

    fn decompressed(&self, largest: usize) -> Result<Bytes, FrameError> {
        match self.metadata.compression() {
            0 => return Ok(self.payload.clone()),
            1 => return Err(FrameError::Compression("LZ4")),
            2 => return Err(FrameError::Compression("zlib")),
            3 => {}
            4 => return Err(FrameError::Compression("Snappy")),
            _ => return Err(FrameError::Compression("something new")),
        }
        let size = self.metadata.uncompressed_size() as usize;
        if size > largest {
            return Err(FrameError::TooLarge { size, largest });
        }
        let mut plain = vec![0; size];
        let written = zstd_safe::decompress(&mut plain[..], &self.payload).map_err(|_| FrameError::Decompress)?;
        if written == size { Ok(plain.into()) } else { Err(FrameError::Decompress) }
    }
}

fn split(mut rest: Bytes, count: i32) -> Result<Vec<Option<EntryBody>>, FrameError> {
    let mut bodies = Vec::new();
    for _ in 0..count {
        let metadata = take_sized(&mut rest)?;
        let metadata = SingleMetadata::parse_from_bytes(&metadata).map_err(|_| FrameError::Protobuf)?;
        let size = usize::try_from(metadata.size()).map_err(|_| FrameError::Lengths)?;
        let payload = take(&mut rest, size)?;
        let is_there = !metadata.compacted_out();
        bodies.push(is_there.then_some(EntryBody { properties: metadata.properties, payload }));
    }
    Ok(bodies)
}

#[cfg(test)]
mod tests;
