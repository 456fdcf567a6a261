//! Places in the log that are known to precede a time tick: a question about a time begins at the last one before it,
//! because from the oldest message on a server would have to read through everything that it keeps.

use std::collections::BTreeMap;
use std::time::Duration;

use super::resume_point::ResumePoint;
use crate::domain::{Channel, Timestamp};

/// How far apart the places of a channel are.
const SPACING: Duration = Duration::from_secs(60);
/// How many are kept of a channel.
const KEPT: usize = 32;

/// The places of all channels, by what precedes them.
#[derive(Debug, Default)]
pub(super) struct Anchors(BTreeMap<Channel, BTreeMap<u64, ResumePoint>>);

impl Anchors {
    /// A place that the channel was read up to, or where something was found.
    pub(super) fn note(&mut self, channel: &Channel, place: &ResumePoint) {
        let places = self.0.entry(channel.clone()).or_default();
        let before = places.range(..=place.passed).next_back();
        if before.is_some_and(|(passed, _)| Timestamp(*passed).plus(SPACING) > Timestamp(place.passed)) {
            return;
        }
        places.insert(place.passed, place.clone());
        // Collections are searched for in the order of their creation, so the earliest is needed least.
        if places.len() > KEPT {
            places.pop_first();
        }
    }

    /// The last known place from which on every message with this tick or a later one is found.
    pub(super) fn before(&self, channel: &Channel, tick: Timestamp) -> Option<&ResumePoint> {
        self.0.get(channel)?.range(..tick.0).next_back().map(|(_, place)| place)
    }

    /// The channel has a gap: what lies before it is of no use.
    pub(super) fn forget(&mut self, channel: &Channel) {
        self.0.remove(channel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::decode::wal_message_id::WalMessageId;

    fn at(second: u64) -> ResumePoint {
        let passed = Timestamp(0).plus(Duration::from_secs(second)).0;
        ResumePoint { passed, witness: passed, start: WalMessageId::first_of_woodpecker() }
    }

    #[test]
    fn the_last_place_before_a_time_is_found() {
        let (channel, mut anchors) = (Channel::new("a"), Anchors::default());
        for second in [300, 100, 130, 170] {
            anchors.note(&channel, &at(second));
        }
        let before = |second| anchors.before(&channel, Timestamp(at(second).passed)).map(|found| found.passed);
        assert_eq!(before(100), None, "the message may have that very tick");
        assert_eq!(before(160), Some(at(100).passed), "130 is too close to be kept");
        assert_eq!(before(200), Some(at(170).passed));
        assert_eq!(before(900), Some(at(300).passed));
        anchors.forget(&channel);
        assert_eq!(anchors.before(&channel, Timestamp(u64::MAX)), None);
    }

    #[test]
    fn their_number_is_limited() {
        let (channel, mut anchors) = (Channel::new("a"), Anchors::default());
        for minute in 1..100 {
            anchors.note(&channel, &at(minute * 60));
        }
        assert_eq!(anchors.0[&channel].len(), KEPT);
        assert_eq!(anchors.before(&channel, Timestamp(u64::MAX)), Some(&at(99 * 60)));
    }
}
