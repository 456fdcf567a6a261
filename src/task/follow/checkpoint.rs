/*!
Where a task goes on after it was stopped or killed: one file, `checkpoint.json`, replaced as a whole.

# Why a crash neither loses nor doubles a row

Per channel the file holds three things.

- `position`, `time_tick` and `tick`: everything up to there has been acknowledged by the target. They move only after the
  acknowledgement, so nothing is lost: reading goes on at the position, past what is not later than `time_tick`, up to
  the place `tick`. (Rows may stand behind a tick that is later than they are; see `pipeline::order`.)
- `bound`: no insert later than this is sent before a file with a higher bound is on disk. So whatever was sent before
  the crash is not later than the bound on disk. After a restart everything up to it *may* be on the target and goes in
  as an upsert, which replaces the row that is there; everything later has certainly not been sent and goes in as a
  plain insert. Nothing is doubled, and only the stretch between tick and bound pays for upserts.
- `ahead` and `behind`: while a channel is read a second time for the sake of a few collections (`behind`), all others
  have been applied up to `ahead` and are passed over until then.

Deletes need no bound: repeating one changes nothing, and a later insert of the same key is repeated after it.
*/

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::domain::{Channel, Position, Timestamp};
use crate::journal::sealed::{self, SealedError};
use crate::pipeline::Mark;

const FORMAT: &str = "milvus-cdc checkpoint";
const VERSION: u32 = 3;
const FILE: &str = "checkpoint.json";

/// The file's content.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Checkpoint {
    /// The kind of log whose positions these are.
    pub(crate) log: String,
    /// By physical channel.
    pub(crate) channels: BTreeMap<String, ChannelRecord>,
    /// By collection id at the source: those whose rows follow, and how.
    pub(crate) collections: BTreeMap<i64, MemberRecord>,
    /// What could not be carried over, counted per reason.
    pub(crate) skipped: BTreeMap<String, u64>,
    /// By collection and channel: rows up to this are gone, since a truncation was carried out on the target. What is replayed of
    /// them must not come back, and not every shard is replayed from before the truncation.
    #[serde(default)]
    pub(crate) truncated: BTreeMap<i64, BTreeMap<String, u64>>,
    /// By collection what happened to its rows and does not stand in the log, and how often.
    #[serde(default)]
    pub(crate) uncarried: BTreeMap<i64, BTreeMap<String, u64>>,
}

impl Checkpoint {
    /// The moment of the source up to which everything has been acknowledged, over the channels that collections live on.
    pub(crate) fn oldest(&self) -> Option<Timestamp> {
        let live = self.collections.values().flat_map(|member| match member {
            MemberRecord::Joined { upsert_until } => upsert_until.keys().collect::<Vec<_>>(),
            MemberRecord::Copying { .. } | MemberRecord::Scanned => Vec::new(),
        });
        live.filter_map(|channel| self.channels.get(channel)).map(|record| Timestamp(record.time_tick)).min()
    }

    /// By channel the first message that is needed after a restart; `None`: the channel's first.
    pub(crate) fn needed(&self) -> BTreeMap<Channel, Option<Position>> {
        let mut needed: BTreeMap<Channel, Option<Position>> = self
            .channels
            .iter()
            .map(|(name, record)| (Channel::new(name), record.position.map(Position::from)))
            .collect();
        let copies = self.collections.values().filter_map(|member| match member {
            MemberRecord::Copying { begun, .. } => Some(begun),
            MemberRecord::Joined { .. } | MemberRecord::Scanned => None,
        });
        // A channel is read again from where a copy began.
        for (name, start) in copies.flatten() {
            let start = start.position.map(Position::from);
            needed.entry(Channel::new(name)).and_modify(|position| *position = (*position).min(start)).or_insert(start);
        }
        needed
    }
}

/// One channel.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ChannelRecord {
    /// First message to read; none: the channel's first.
    pub(crate) position: Option<PositionRecord>,
    /// Up to this everything is applied (see `ahead` for the exceptions).
    pub(crate) time_tick: u64,
    /// Where that tick stands: what stands behind it is not applied, however old it says it is.
    #[serde(default)]
    pub(crate) tick: Option<PositionRecord>,
    /// Inserts up to this may have been applied.
    pub(crate) bound: u64,
    /// Collections not in `behind` have been applied up to this.
    #[serde(default)]
    pub(crate) ahead: MarkRecord,
    /// Collections that are being read again, and what of each has been applied already.
    #[serde(default)]
    pub(crate) behind: BTreeMap<i64, MarkRecord>,
}

/// What has been applied already: up to a timestamp, as far as it stands at or before a tick.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MarkRecord {
    /// The timestamp.
    pub(crate) ts: u64,
    /// The tick's place; none: wherever it stands.
    pub(crate) tick: Option<PositionRecord>,
}

impl From<Mark> for MarkRecord {
    fn from(mark: Mark) -> Self {
        MarkRecord { ts: mark.ts.0, tick: mark.tick.map(PositionRecord::from) }
    }
}

impl From<MarkRecord> for Mark {
    fn from(record: MarkRecord) -> Self {
        Mark { ts: Timestamp(record.ts), tick: record.tick.map(Position::from) }
    }
}

/// One collection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub(crate) enum MemberRecord {
    /// Its rows come from the log.
    Joined {
        /// Its channels; up to these positions its rows may have been on the target before.
        upsert_until: BTreeMap<String, Option<PositionRecord>>,
    },
    /// Its rows are being copied, or will be.
    Copying {
        /// Rows that the source no longer has must be removed from the target.
        prune: bool,
        /// The target has rows already: the copy compares with them.
        #[serde(default)]
        compare: bool,
        /// By channel where the log stood when the first attempt began; empty before that.
        begun: BTreeMap<String, StartRecord>,
    },
    /// Its rows are on the target as a file of the task's says, and are compared with the source's again and again.
    Scanned,
}

/// A place in a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StartRecord {
    /// First message to read; none: the channel's first.
    pub(crate) position: Option<PositionRecord>,
    /// Every message later than this lies at or behind the position.
    pub(crate) after: u64,
}

/// A position in the file: text, because JSON's numbers are not made for 128 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct PositionRecord(Position);

impl From<Position> for PositionRecord {
    fn from(position: Position) -> Self {
        PositionRecord(position)
    }
}

impl From<PositionRecord> for Position {
    fn from(record: PositionRecord) -> Self {
        record.0
    }
}

impl TryFrom<String> for PositionRecord {
    type Error = std::num::ParseIntError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse().map(PositionRecord)
    }
}

impl From<PositionRecord> for String {
    fn from(record: PositionRecord) -> Self {
        record.0.to_string()
    }
}

/// Reads the file in a task's folder; a new task has none.
pub(crate) fn load(folder: &Path) -> Result<Option<Checkpoint>, SealedError> {
    sealed::load(&folder.join(FILE), FORMAT, VERSION)
}

/// Writes the file.
pub(crate) fn save(folder: &Path, checkpoint: &Checkpoint) -> Result<(), SealedError> {
    sealed::save(&folder.join(FILE), FORMAT, VERSION, checkpoint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_needed_after_a_restart() {
        let at = |number| Some(PositionRecord::from(Position::at(number)));
        let channel = |number| ChannelRecord { position: number, ..ChannelRecord::default() };
        let channels = [("a", at(5)), ("b", at(5)), ("c", None)];
        let begun = [("a", at(3)), ("b", at(7)), ("d", at(9)), ("c", at(1))];
        let start = |position| StartRecord { position, after: 0 };
        let begun = begun.map(|(name, position)| (name.to_owned(), start(position))).into();
        let checkpoint = Checkpoint {
            channels: channels.map(|(name, number)| (name.to_owned(), channel(number))).into(),
            collections: [(1, MemberRecord::Copying { prune: false, compare: false, begun })].into(),
            ..Checkpoint::default()
        };
        let needed = [("a", Some(3)), ("b", Some(5)), ("c", None), ("d", Some(9))];
        assert_eq!(checkpoint.needed(), needed.map(|(name, it)| (Channel::new(name), it.map(Position::at))).into());
    }

    #[test]
    fn the_oldest_channel_that_is_lived_on() {
        let channel = |time_tick| ChannelRecord { time_tick, ..ChannelRecord::default() };
        let joined = |channel: &str| MemberRecord::Joined { upsert_until: [(channel.to_owned(), None)].into() };
        let mut checkpoint = Checkpoint::default();
        assert_eq!(checkpoint.oldest(), None);
        checkpoint.channels =
            [("a", 30), ("b", 20), ("dead", 1)].map(|(name, tick)| (name.to_owned(), channel(tick))).into();
        checkpoint.collections = [(1, joined("a")), (2, joined("b"))].into();
        assert_eq!(checkpoint.oldest(), Some(Timestamp(20)));
    }
}
