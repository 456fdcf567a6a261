/*!
Positions in a source's log as the API writes them: base64 of Milvus' `MsgPosition` message.

Four of its fields matter here: 1 `channel_name`, 2 `msgID`, 4 `timestamp`. Two length-delimited fields and a number do not
need a generated type, and reading them by hand keeps the API free of the gRPC client.
*/

use super::spec::CollectionInfo;

/// Bits of a hybrid timestamp below the milliseconds.
const LOGICAL_BITS: u32 = 18;

/// Where reading begins on one virtual channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartPosition {
    /// The virtual channel, `<pchannel>_<collection id>v<shard>`.
    pub vchannel: String,
    /// The physical channel that carries it.
    pub pchannel: String,
    /// The collection that the virtual channel belongs to.
    pub collection_id: i64,
    /// The log's own message id.
    pub message_id: Vec<u8>,
    /// Hybrid timestamp of the position, 0 when not given.
    pub timestamp: u64,
}

/// Why a start position was refused; the texts are the Go server's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PositionError {
    /// The key is a physical channel.
    #[error("the position channel name is not virtual channel, {0}")]
    NotVirtual(String),
    /// The key looks virtual but has no collection id or shard.
    #[error("the vchannel is invalid, {0}, err: virtual channel name({0}) is not valid: invalid parameter")]
    Vchannel(String),
    /// The value is not base64 of a `MsgPosition`.
    #[error("fail to decode the position data: {0}")]
    Data(DataError),
    /// Two keys of one list belong to different collections.
    #[error("the channel position info should be in the same collection")]
    SeveralCollections,
}

/// What is wrong with the base64 text or the message in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DataError {
    /// A character that base64 does not have, or a wrong length.
    #[error("illegal base64 data at input byte {0}")]
    Base64(usize),
    /// Not a protobuf message.
    #[error("the data is no MsgPosition message")]
    Message,
}

/// A decoded `MsgPosition`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MsgPosition {
    /// Field 1.
    pub channel_name: String,
    /// Field 2.
    pub message_id: Vec<u8>,
    /// Field 4.
    pub timestamp: u64,
}

/// Physical milliseconds of a hybrid timestamp.
pub fn physical_ms(timestamp: u64) -> u64 {
    timestamp >> LOGICAL_BITS
}

/// The hybrid timestamp at which a millisecond begins.
pub fn hybrid_timestamp(ms: u64) -> u64 {
    ms << LOGICAL_BITS
}

/// Whether a channel name can be virtual: a `v` after its last underscore.
pub fn looks_virtual(channel: &str) -> bool {
    channel.rsplit_once('_').is_some_and(|(_, tail)| tail.contains('v'))
}

/// The start positions of one collection of a request.
///
/// # Errors
/// The first problem met, in the order of the channels.
pub fn start_positions(info: &CollectionInfo) -> Result<Vec<StartPosition>, PositionError> {
    let mut found: Vec<StartPosition> = Vec::new();
    for (vchannel, data) in info.positions.iter().flatten() {
        let (pchannel, collection_id) =
            split_vchannel(vchannel).ok_or_else(|| PositionError::Vchannel(vchannel.clone()))?;
        let position = MsgPosition::from_base64(data).map_err(PositionError::Data)?;
        if found.first().is_some_and(|first| first.collection_id != collection_id) {
            return Err(PositionError::SeveralCollections);
        }
        found.push(StartPosition {
            vchannel: vchannel.clone(),
            pchannel: pchannel.to_owned(),
            collection_id,
            message_id: position.message_id,
            timestamp: position.timestamp,
        });
    }
    Ok(found)
}

fn split_vchannel(vchannel: &str) -> Option<(&str, i64)> {
    let (pchannel, tail) = vchannel.rsplit_once('_')?;
    let (collection, shard) = tail.split_once('v')?;
    shard.parse::<u32>().ok()?;
    (!pchannel.is_empty()).then_some((pchannel, collection.parse().ok()?))
}

impl MsgPosition {
    /// From what the API carries.
    ///
    /// # Errors
    /// [`DataError`] naming the wrong byte, or that it is no such message.
    pub fn from_base64(text: &str) -> Result<Self, DataError> {
        decode_message(&base64_decode(text)?).ok_or(DataError::Message)
    }

    /// Into what the API carries; the timestamp is left out, as the Go server does.
    pub fn to_base64(&self) -> String {
        let mut bytes = Vec::new();
        put_field(&mut bytes, 1, self.channel_name.as_bytes());
        put_field(&mut bytes, 2, &self.message_id);
        base64_encode(&bytes)
    }
}

/// Wire type of bytes and strings.
const LENGTH_DELIMITED: u64 = 2;

fn put_field(out: &mut Vec<u8>, number: u64, bytes: &[u8]) {
    if !bytes.is_empty() {
        put_varint(out, number << 3 | LENGTH_DELIMITED);
        put_varint(out, bytes.len() as u64);
        out.extend_from_slice(bytes);
    }
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn decode_message(mut rest: &[u8]) -> Option<MsgPosition> {
    let mut position = MsgPosition::default();
    while !rest.is_empty() {
        let tag = take_varint(&mut rest)?;
        match (tag >> 3, tag & 7) {
            (0, _) => return None,
            (4, 0) => position.timestamp = take_varint(&mut rest)?,
            (_, 0) => drop(take_varint(&mut rest)?),
            (_, 1) => drop(take(&mut rest, 8)?),
            (number, LENGTH_DELIMITED) => {
                let length = usize::try_from(take_varint(&mut rest)?).ok()?;
                let bytes = take(&mut rest, length)?;
                match number {
                    1 => position.channel_name = std::str::from_utf8(bytes).ok()?.to_owned(),
                    2 => position.message_id = bytes.to_vec(),
                    _ => {}
                }
            }
            (_, 5) => drop(take(&mut rest, 4)?),
            _ => return None,
        }
    }
    Some(position)
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (bytes, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(bytes)
}

fn take_varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = take(rest, 1)?[0];
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const PADDING: u8 = b'=';

fn base64_encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group = chunk.iter().fold(0, |group, byte| group << 8 | usize::from(*byte)) << (8 * (3 - chunk.len()));
        for index in 0..4 {
            let digit = if index <= chunk.len() { ALPHABET[group >> (18 - 6 * index) & 63] } else { PADDING };
            text.push(char::from(digit));
        }
    }
    text
}

fn base64_decode(text: &str) -> Result<Vec<u8>, DataError> {
    let text = text.as_bytes();
    let padding = text.iter().rev().take(2).take_while(|byte| **byte == PADDING).count();
    let digits = &text[..text.len() - padding];
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    for (chunk_index, chunk) in digits.chunks(4).enumerate() {
        let mut group = 0;
        for (index, digit) in chunk.iter().enumerate() {
            let value = ALPHABET.iter().position(|known| known == digit);
            group = group << 6 | value.ok_or(DataError::Base64(chunk_index * 4 + index))?;
        }
        group <<= 6 * (4 - chunk.len());
        let whole = [(group >> 16) as u8, (group >> 8) as u8, group as u8];
        bytes.extend_from_slice(&whole[..chunk.len().saturating_sub(1)]);
    }
    if text.len().is_multiple_of(4) { Ok(bytes) } else { Err(DataError::Base64(text.len())) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn info(positions: &[(&str, &str)]) -> CollectionInfo {
        let positions: BTreeMap<_, _> =
            positions.iter().map(|(channel, data)| ((*channel).into(), (*data).into())).collect();
        CollectionInfo { name: "a".into(), positions: Some(positions), use_start_position: false }
    }

    #[test]
    fn encodes_what_a_go_server_answered() {
        let position =
            MsgPosition { channel_name: "by-dev-rootcoord-dml_0".into(), message_id: vec![0; 8], timestamp: 0 };
        assert_eq!(position.to_base64(), "ChZieS1kZXYtcm9vdGNvb3JkLWRtbF8wEggAAAAAAAAAAA==");
        assert_eq!(MsgPosition::from_base64(&position.to_base64()), Ok(position));
    }

    #[test]
    fn names_the_wrong_byte() {
        assert_eq!(MsgPosition::from_base64("!!"), Err(DataError::Base64(0)));
        assert_eq!(MsgPosition::from_base64("AA=A"), Err(DataError::Base64(2)));
        assert_eq!(MsgPosition::from_base64("AAA"), Err(DataError::Base64(3)));
        assert_eq!(MsgPosition::from_base64("////"), Err(DataError::Message));
        // Field 2, four bytes promised, none there.
        assert_eq!(MsgPosition::from_base64("EgQ="), Err(DataError::Message));
    }

    #[test]
    fn virtual_channels() {
        assert!(looks_virtual("by-dev-rootcoord-dml_0_1v0") && looks_virtual("x_v0"));
        assert!(!looks_virtual("by-dev-rootcoord-dml_0") && !looks_virtual("v"));
        assert_eq!(split_vchannel("by-dev-rootcoord-dml_0_12v3"), Some(("by-dev-rootcoord-dml_0", 12)));
        assert_eq!(split_vchannel("x_v0"), None);
        assert_eq!(split_vchannel("x_1v"), None);
    }

    #[test]
    fn positions_of_one_collection_only() {
        let good = start_positions(&info(&[("p_0_7v0", "EgIBAg=="), ("p_1_7v1", "")])).unwrap();
        assert_eq!((good[0].pchannel.as_str(), good[0].collection_id), ("p_0", 7));
        assert_eq!(good[0].message_id, [1, 2]);
        let mixed = start_positions(&info(&[("p_0_7v0", ""), ("p_1_8v1", "")]));
        assert_eq!(mixed, Err(PositionError::SeveralCollections));
        let text = start_positions(&info(&[("x_v0", "")])).unwrap_err().to_string();
        assert_eq!(
            text,
            "the vchannel is invalid, x_v0, err: virtual channel name(x_v0) is not valid: invalid parameter"
        );
    }

    proptest! {
        #[test]
        fn base64_round_trip(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            prop_assert_eq!(base64_decode(&base64_encode(&bytes)), Ok(bytes));
        }

        #[test]
        fn any_text_and_any_bytes_are_handled(text in ".{0,40}", bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = MsgPosition::from_base64(&text);
            let _ = MsgPosition::from_base64(&base64_encode(&bytes));
        }
    }
}
