//! The keys of the log: `<topic>/<message id>`, where the id is a decimal int64 of 18 digits, so that bytes sort as ids
//! do.

use crate::domain::{Channel, Position};

/// The key of one message.
pub(super) fn of(channel: &Channel, position: Position) -> Vec<u8> {
    format!("{channel}/{}", position.number()).into_bytes()
}

/// Before every message of the channel.
pub(super) fn before_first(channel: &Channel) -> Vec<u8> {
    format!("{channel}/").into_bytes()
}

/// After every message of the channel: the character after the slash is `0`.
pub(super) fn after_last(channel: &Channel) -> Vec<u8> {
    format!("{channel}0").into_bytes()
}

/// The position in a key, if the key belongs to this channel.
pub(super) fn position(channel: &Channel, key: &[u8]) -> Option<Position> {
    let id = key.strip_prefix(channel.as_str().as_bytes())?.strip_prefix(b"/")?;
    std::str::from_utf8(id).ok()?.parse().ok().map(Position::at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_one_channel_only() {
        let one = Channel::new("by-dev-rootcoord-dml_1");
        let ten = Channel::new("by-dev-rootcoord-dml_10");
        let key = of(&ten, Position::at(470634828216664064));
        assert_eq!(position(&ten, &key), Some(Position::at(470634828216664064)));
        assert_eq!(position(&one, &key), None);
        assert!(after_last(&one) < key, "the tenth channel lies behind the first");
        assert!(before_first(&ten) < key && key < after_last(&ten));
    }
}
