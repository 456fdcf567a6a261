/*!
Pulsar's frames: bytes to commands and messages, and back.

A frame is `total u32 | size u32 | command`; a message's frame goes on with its checksum, its metadata and its body. Integers are
big-endian. Whatever length the bytes name is held against what is there and against the largest frame before anything is
allocated.
*/

use bytes::{Buf, Bytes, BytesMut};
use protobuf::Message as _;

use crate::milvus::pb::pulsar::{BaseCommand, Message, MessageMetadata, SingleMetadata};

/// What a frame may have beyond the largest message: its command and metadata.
const OVERHEAD: usize = 10 * 1024;
/// The largest message until the broker has named another, as brokers have it by default.
const DEFAULT_LARGEST: usize = 5 * 1024 * 1024;
/// Says that a checksum follows.
const CHECKSUM: u16 = 0x0e01;
/// Says that metadata of the broker follows, which nobody has asked for.
const BROKER_METADATA: u16 = 0x0e02;
/// The number of the command that a message comes with.
const MESSAGE: i32 = 9;
/// A body that is smaller is copied out of the bytes that it came in, or it would keep all of those in memory.
const SMALL: usize = 64 * 1024;
/// How much of a frame must have come before room is made for the rest: a length alone costs a broker four bytes.
const BEGUN: usize = 32 * 1024;
/// More messages than anybody puts into one batch.
const LARGEST_BATCH: i32 = 1 << 16;

/// Bytes that are no frame, or no message that can be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum FrameError {
    #[error("a frame of {size} bytes, of which {largest} are allowed")]
    TooLarge { size: usize, largest: usize },
    #[error("a frame whose lengths contradict each other")]
    Lengths,
    #[error("a command or metadata that is no protobuf message")]
    Protobuf,
    #[error("a checksum that does not fit")]
    Checksum,
    #[error("a message compressed with {0}, which is not supported (Milvus writes zstd)")]
    Compression(&'static str),
    #[error("a message that does not decompress")]
    Decompress,
    #[error("an encrypted message, which is not supported")]
    Encrypted,
    #[error("a message in chunks, which is not supported (Milvus writes none)")]
    Chunked,
}

/// What a frame holds.
#[derive(Debug)]
pub(super) enum Frame {
    /// A command without anything behind it.
    Command(Box<BaseCommand>),
    /// A message of a topic.
    Message(Box<Received>),
}

/// A message as it came.
#[derive(Debug)]
pub(super) struct Received {
    /// For whom, and where it stands.
    pub(super) command: Message,
    /// What its producer says about it.
    pub(super) metadata: MessageMetadata,
    /// Its body or bodies, perhaps compressed.
    payload: Bytes,
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

    /// The broker has said how large its messages may be.
    pub(super) fn set_largest(&mut self, message: usize) {
        self.largest = message.saturating_add(OVERHEAD);
    }

    /// Takes in what has been read.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// How much to read at most: the rest of a large frame that has begun, which then has its memory for itself alone.
    pub(super) fn wanted(&self, most: usize) -> usize {
        match self.size() {
            Some(size) if self.buffer.len() >= BEGUN => (4 + size).saturating_sub(self.buffer.len()).clamp(1, most),
            _ => most,
        }
    }

    /// What the frame that has begun has behind the four bytes of its length, if those have come.
    fn size(&self) -> Option<usize> {
        self.buffer.first_chunk::<4>().map(|head| u32::from_be_bytes(*head) as usize)
    }

    /// The next frame; `None`: it is not complete.
    pub(super) fn next(&mut self) -> Result<Option<Frame>, FrameError> {
        let Some(size) = self.size() else { return Ok(None) };
        if size > self.largest {
            return Err(FrameError::TooLarge { size, largest: self.largest });
        }
        let come = self.buffer.len();
        if come < 4 + size {
            if come >= BEGUN {
                // At once and exactly: growing by doubling moved a message of megabytes seven times, and took half as much again.
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
    Ok(Frame::Message(Box::new(Received { command: message, metadata, payload })))
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

/// A command as it is sent.
pub(super) fn encode(command: &BaseCommand) -> Vec<u8> {
    // Writing into memory fails only for required fields that are missing; they are all set where commands are made.
    let body = command.write_to_bytes().unwrap_or_default();
    let size = body.len() as u32;
    [&(size + 4).to_be_bytes()[..], &size.to_be_bytes(), &body].concat()
}

impl Received {
    /// How much memory it takes.
    pub(super) fn len(&self) -> usize {
        self.payload.len()
    }

    /// How many messages it is.
    pub(super) fn messages(&self) -> u32 {
        self.metadata.batch.map_or(1, |count| count.max(0) as u32)
    }

    /// The broker's own business.
    pub(super) fn is_marker(&self) -> bool {
        self.metadata.marker.is_some()
    }

    /// Its bodies, decompressed, of which none may be larger than `largest`; `None` for one that compaction has taken away.
    pub(super) fn bodies(&self, largest: usize) -> Result<Vec<Option<Bytes>>, FrameError> {
        if !self.metadata.encryption_keys.is_empty() {
            return Err(FrameError::Encrypted);
        }
        if self.metadata.chunks() > 1 {
            return Err(FrameError::Chunked);
        }
        let plain = self.decompressed(largest)?;
        match self.metadata.batch {
            None => Ok(vec![Some(plain)]),
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

fn split(mut rest: Bytes, count: i32) -> Result<Vec<Option<Bytes>>, FrameError> {
    let mut bodies = Vec::new();
    for _ in 0..count {
        let metadata = take_sized(&mut rest)?;
        let metadata = SingleMetadata::parse_from_bytes(&metadata).map_err(|_| FrameError::Protobuf)?;
        let size = usize::try_from(metadata.size()).map_err(|_| FrameError::Lengths)?;
        let body = take(&mut rest, size)?;
        bodies.push((!metadata.compacted_out()).then_some(body));
    }
    Ok(bodies)
}

#[cfg(test)]
mod tests;
