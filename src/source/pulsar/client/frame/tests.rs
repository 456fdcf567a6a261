use proptest::prelude::*;
use protobuf::MessageField;

use super::super::proto::{MessageId, Success};
use super::*;

fn success(request: u64) -> Vec<u8> {
    let success = Success { request_id: Some(request), ..Default::default() };
    encode(&BaseCommand { kind: Some(13), success: MessageField::some(success), ..Default::default() })
}

/// Whether a broker sends a message with its checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Checksum {
    Sent,
    Omitted,
}

/// A message as a broker sends it.
fn message(metadata: MessageMetadata, payload: &[u8], checksum: Checksum) -> Vec<u8> {
    let id = MessageId { ledger: Some(7), entry: Some(3), ..Default::default() };
    let message = Message { consumer_id: Some(1), message_id: MessageField::some(id), ..Default::default() };
    let command = BaseCommand { kind: Some(MESSAGE), message: MessageField::some(message), ..Default::default() };
    let (command, metadata) = (command.write_to_bytes().unwrap(), metadata.write_to_bytes().unwrap());
    let body = [&(metadata.len() as u32).to_be_bytes()[..], &metadata, payload].concat();
    let mut rest = [&(command.len() as u32).to_be_bytes()[..], &command].concat();
    if checksum == Checksum::Sent {
        rest.extend(CHECKSUM.to_be_bytes());
        rest.extend(crc32c::crc32c(&body).to_be_bytes());
    }
    rest.extend(body);
    [&(rest.len() as u32).to_be_bytes()[..], &rest].concat()
}

fn metadata() -> MessageMetadata {
    MessageMetadata { producer: Some("p".into()), sequence: Some(5), publish_time: Some(1), ..Default::default() }
}

/// Bodies in a batch.
fn batch(bodies: &[&[u8]]) -> (MessageMetadata, Vec<u8>) {
    let one = |body: &&[u8]| {
        let metadata = SingleMetadata { size: Some(body.len() as i32), ..Default::default() };
        let metadata = metadata.write_to_bytes().unwrap();
        [&(metadata.len() as u32).to_be_bytes()[..], &metadata, body].concat()
    };
    let metadata = MessageMetadata { batch: Some(bodies.len() as i32), ..metadata() };
    (metadata, bodies.iter().flat_map(one).collect())
}

fn zstd(mut metadata: MessageMetadata, payload: &[u8]) -> (MessageMetadata, Vec<u8>) {
    let mut packed = vec![0; zstd_safe::compress_bound(payload.len())];
    let written = zstd_safe::compress(&mut packed[..], payload, 3).unwrap();
    packed.truncate(written);
    metadata.compression = Some(3);
    metadata.uncompressed_size = Some(payload.len() as u32);
    (metadata, packed)
}

fn received(frame: &[u8]) -> Result<Box<ReceivedEntry>, FrameError> {
    let mut frames = Frames::new();
    frames.push(frame);
    match frames.next()? {
        Some(Frame::Message(message)) => Ok(message),
        other => panic!("{other:?}"),
    }
}

fn bodies(frame: &[u8]) -> Result<Vec<Vec<u8>>, FrameError> {
    let bodies = received(frame)?.bodies(1 << 20)?;
    Ok(bodies.into_iter().flatten().map(|body| body.payload.to_vec()).collect())
}

#[test]
fn one_body_and_batches() {
    assert_eq!(bodies(&message(metadata(), b"body", Checksum::Sent)).unwrap(), [b"body"]);
    assert_eq!(bodies(&message(metadata(), b"body", Checksum::Omitted)).unwrap(), [b"body"]);
    let (of_one, payload) = batch(&[b"one"]);
    let (of_one, payload) = zstd(of_one, &payload);
    assert_eq!(bodies(&message(of_one, &payload, Checksum::Sent)).unwrap(), [b"one"], "as Milvus writes them");
    let (of_three, payload) = batch(&[b"one", b"", b"three"]);
    let frame = message(of_three, &payload, Checksum::Sent);
    assert_eq!(bodies(&frame).unwrap(), [&b"one"[..], b"", b"three"]);
    assert_eq!(received(&frame).unwrap().message_count(), 3);
}

#[test]
fn what_a_message_must_not_be() {
    let told = |metadata: MessageMetadata| bodies(&message(metadata, b"body", Checksum::Sent)).unwrap_err();
    for (compression, name) in [(1, "LZ4"), (2, "zlib"), (4, "Snappy"), (9, "something new")] {
        let metadata = MessageMetadata { compression: Some(compression), ..metadata() };
        assert_eq!(told(metadata), FrameError::Compression(name));
    }
    assert_eq!(told(MessageMetadata { encryption_keys: vec![vec![1]], ..metadata() }), FrameError::Encrypted);
    assert_eq!(told(MessageMetadata { chunks: Some(2), ..metadata() }), FrameError::Chunked);
    assert_eq!(told(MessageMetadata { batch: Some(-1), ..metadata() }), FrameError::Lengths);
    assert_eq!(told(MessageMetadata { batch: Some(i32::MAX), ..metadata() }), FrameError::Lengths);
    assert_eq!(told(MessageMetadata { batch: Some(2), ..metadata() }), FrameError::Lengths);
    assert_eq!(
        told(MessageMetadata { compression: Some(3), uncompressed_size: Some(9), ..metadata() }),
        FrameError::Decompress
    );
    let (mut wrong, payload) = zstd(metadata(), b"body");
    wrong.uncompressed_size = Some(3);
    assert_eq!(bodies(&message(wrong.clone(), &payload, Checksum::Sent)).unwrap_err(), FrameError::Decompress);
    wrong.uncompressed_size = Some(u32::MAX);
    assert!(matches!(bodies(&message(wrong, &payload, Checksum::Sent)).unwrap_err(), FrameError::TooLarge { .. }));
}

#[test]
fn damage_is_seen() {
    let frame = message(metadata(), b"body", Checksum::Sent);
    for at in frame.len() - 4..frame.len() {
        let mut damaged = frame.clone();
        damaged[at] ^= 1;
        assert_eq!(received(&damaged).unwrap_err(), FrameError::Checksum);
    }
}

#[test]
fn lengths_that_are_too_large() {
    let mut frames = Frames::new();
    frames.push(&u32::MAX.to_be_bytes());
    assert!(matches!(frames.next(), Err(FrameError::TooLarge { .. })));
    let mut frames = Frames::new();
    frames.set_largest(10);
    frames.push(&(10 + OVERHEAD as u32 + 1).to_be_bytes());
    assert!(matches!(frames.next(), Err(FrameError::TooLarge { .. })));
    let mut frames = Frames::new();
    frames.push(&[0, 0, 0, 8, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4]);
    assert_eq!(frames.next().unwrap_err(), FrameError::Lengths);
}

/// Reads all frames, their bodies too, until the bytes end or an error comes.
fn read_all(frames: &mut Frames) -> usize {
    let mut count = 0;
    while let Ok(Some(frame)) = frames.next() {
        count += 1;
        if let Frame::Message(message) = frame {
            let _ = message.bodies(1 << 16);
        }
    }
    count
}

/// Read as a connection reads: a large frame gets memory for itself alone, and what comes behind it does not share it.
#[test]
fn a_large_frame_takes_no_more_than_itself() {
    const READ: usize = 64 * 1024;
    let large = message(metadata(), &vec![7; 3_000_000], Checksum::Sent);
    let stream = [success(1), large.clone(), success(2)].concat();
    let (mut frames, mut rest, mut most, mut count) = (Frames::new(), stream.as_slice(), 0, 0);
    while !rest.is_empty() {
        let (piece, more) = rest.split_at(frames.wanted(READ).min(rest.len()));
        frames.push(piece);
        most = most.max(frames.buffer.capacity());
        count += read_all(&mut frames);
        rest = more;
    }
    assert_eq!(count, 3);
    assert!(most < large.len() + READ, "{most} bytes for a frame of {}", large.len());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let mut frames = Frames::new();
        frames.push(&bytes);
        read_all(&mut frames);
        prop_assert!(frames.buffer.capacity() <= 4096);
    }

    /// A good frame with some bytes changed, also behind its own checksum.
    #[test]
    fn changed_bytes_are_read_or_refused(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        checksum in prop::sample::select(vec![Checksum::Sent, Checksum::Omitted]),
        packed in any::<bool>(),
    ) {
        let (metadata, payload) = batch(&[b"some body", b"another"]);
        let (metadata, payload) = if packed { zstd(metadata, &payload) } else { (metadata, payload) };
        let mut frame = message(metadata, &payload, checksum);
        for (index, byte) in changes {
            let at = index.index(frame.len());
            frame[at] = byte;
        }
        let mut frames = Frames::new();
        frames.push(&frame);
        read_all(&mut frames);
    }

    /// However a stream is cut into pieces, the same frames come out of it.
    #[test]
    fn pieces_of_any_size(sizes in proptest::collection::vec(1usize..40, 1..60)) {
        let (of_two, payload) = batch(&[b"one", b"two"]);
        let (large, small) = (message(of_two, &payload, Checksum::Sent), message(metadata(), b"x", Checksum::Omitted));
        let stream = [success(1), large, success(300), small].concat();
        let mut frames = Frames::new();
        let (mut rest, mut count) = (stream.as_slice(), 0);
        for size in sizes.into_iter().cycle() {
            let (piece, more) = rest.split_at(size.min(rest.len()));
            frames.push(piece);
            count += read_all(&mut frames);
            rest = more;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(count, 4);
        prop_assert!(frames.buffer.is_empty());
    }
}
