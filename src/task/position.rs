/*!
Positions in a source's log as the API writes them: base64 of Milvus' `MsgPosition` message.
*/

use base64::engine::general_purpose::STANDARD;
use base64::{DecodeError, Engine as _};
use protobuf::Message;

use super::selection::SelectedCollection;
use crate::milvus::pb::log;

/// Where reading starts on one virtual channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartPosition {
    /// Virtual channel, `<pchannel>_<collection id>v<shard>`.
    pub vchannel: String,
    /// Physical channel that carries the virtual one.
    pub pchannel: String,
    /// Id of the collection that the virtual channel belongs to.
    pub collection_id: i64,
    /// Message id in the log's own bytes.
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

/// The defect of the base64 text or of the message in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DataError {
    /// A character outside the base64 alphabet, or a wrong length.
    #[error("illegal base64 data at input byte {0}")]
    Base64(usize),
    /// Not a protobuf message.
    #[error("the data is no MsgPosition message")]
    Message,
}

/// A decoded `MsgPosition`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MsgPosition {
    /// `channel_name`, field 1.
    pub channel_name: String,
    /// `msgID`, field 2.
    pub message_id: Vec<u8>,
    /// `timestamp`, field 4: a hybrid timestamp.
    pub timestamp: u64,
}

/// Whether a channel name can be virtual: a `v` after its last underscore.
pub fn looks_virtual(channel: &str) -> bool {
    channel.rsplit_once('_').is_some_and(|(_, tail)| tail.contains('v'))
}

/// The start positions of one collection of a request.
///
/// # Errors
/// The first problem in the order of the channels.
pub fn start_positions(info: &SelectedCollection) -> Result<Vec<StartPosition>, PositionError> {
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
    /// Decodes the API's form.
    ///
    /// # Errors
    /// [`DataError`] with the offset of the wrong byte, or if the bytes are no `MsgPosition`.
    pub fn from_base64(text: &str) -> Result<Self, DataError> {
        let bytes = STANDARD.decode(text).map_err(|error| match error {
            DecodeError::InvalidByte(at, _) | DecodeError::InvalidLastSymbol { offset: at, .. } => {
                DataError::Base64(at)
            }
            DecodeError::InvalidLength(_) | DecodeError::InvalidPadding => DataError::Base64(text.len()),
        })?;
        let message = log::MsgPosition::parse_from_bytes(&bytes).map_err(|_| DataError::Message)?;
        let log::MsgPosition { channel_name, msgID, timestamp, .. } = message;
        Ok(MsgPosition { channel_name, message_id: msgID, timestamp })
    }

    /// Encodes into the API's form; the timestamp is left out, as in the Go server.
    pub fn to_base64(&self) -> String {
        let mut message = log::MsgPosition::new();
        message.channel_name.clone_from(&self.channel_name);
        message.msgID.clone_from(&self.message_id);
        // Writing into memory fails only for messages over 2 GB.
        STANDARD.encode(message.write_to_bytes().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn info(positions: &[(&str, &str)]) -> SelectedCollection {
        let positions: BTreeMap<_, _> =
            positions.iter().map(|(channel, data)| ((*channel).into(), (*data).into())).collect();
        SelectedCollection { name: "a".into(), positions: Some(positions), use_start_position: false }
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
        fn any_text_and_any_bytes_are_handled(text in ".{0,40}", bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = MsgPosition::from_base64(&text);
            let _ = MsgPosition::from_base64(&STANDARD.encode(&bytes));
        }
    }
}
