/*!
Where a task goes on after it was stopped or killed: one file, `checkpoint.json`, replaced as a whole.

# Why a crash neither loses nor doubles a row

The file holds three things.

- `position` and `ahead` (in the code `high_water_mark`): reading goes on at the position, past what a mark of `ahead`
  covers: what is not later than the mark's time, up to the place of its tick. (Rows may stand behind a tick that is
  later than they are; see `pipeline::reorder_buffer`.) They move only after the target has acknowledged all of that,
  so nothing is lost. `behind` (`replaying`) says the same of collections for whose sake the channel is read a second
  time. A collection that neither `collections` nor `behind` knows has had nothing of the channel yet. `time_tick` is
  what people are shown.
- `bound`: no insert later than this is sent before a file with a higher bound is on disk. So whatever was sent before
  the crash is not later than the bound on disk. After a restart everything up to it *may* be on the target and goes in
  as an upsert, which replaces the row that is there; everything later has certainly not been sent and goes in as a
  plain insert. Nothing is doubled, and only the stretch between tick and bound pays for upserts.
- Per collection `complete_until`: what a copy holds (or a user has said to be there) up to that time is never applied,
  wherever it stands.

Deletes need no bound: repeating one changes nothing, and a later insert of the same key is repeated after it.
*/

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::domain::{Channel, CollectionId, Position, Timestamp};
use crate::pipeline::AppliedMark;
use crate::source::ReadTick;
use crate::storage::sealed_file;
use crate::storage::sealed_file::SealedError;

const FORMAT: &str = "milvus-cdc checkpoint";
const VERSION: u32 = 3;
const FILE: &str = "checkpoint.json";
/// Collections that are compared since the source has another log are counted so.
const NEW_LOG: &str = "source's log made anew, compared";

/// The file's content.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Checkpoint {
    /// The kind of log whose positions these are.
    pub(crate) log: String,
    /// By physical channel.
    pub(crate) channels: BTreeMap<String, ChannelRecord>,
    /// By collection id at the source: those whose rows follow, and how.
    pub(crate) collections: BTreeMap<i64, CollectionCheckpoint>,
    /// What could not be carried over, counted per reason.
    pub(crate) skipped: BTreeMap<String, u64>,
    /// By collection and channel: rows up to this are gone, since a truncation was carried out on the target. What is
    /// replayed of them must not come back, and not every shard is replayed from before the truncation.
    #[serde(default)]
    pub(crate) truncated: BTreeMap<i64, BTreeMap<String, u64>>,
    /// By collection what happened to its rows and does not stand in the log, and how often.
    #[serde(rename = "uncarried", default)]
    pub(crate) unreplicated: BTreeMap<i64, BTreeMap<String, u64>>,
    /// Collections that a user has paused.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) paused: BTreeMap<i64, PauseRecord>,
    /// The epoch of the task's role in which it was written.
    #[serde(default, skip_serializing_if = "is_first_epoch")]
    pub(crate) epoch: u64,
}

fn is_first_epoch(epoch: &u64) -> bool {
    *epoch == 0
}

impl Checkpoint {
    /// The moment of the source up to which everything has been acknowledged, over the channels that collections live
    /// on.
    pub(crate) fn oldest(&self) -> Option<Timestamp> {
        let live = self.collections.values().flat_map(|collection| match collection {
            CollectionCheckpoint::Streaming { upsert_until, .. } => upsert_until.keys().collect::<Vec<_>>(),
            CollectionCheckpoint::Backfill { .. } | CollectionCheckpoint::Rescan => Vec::new(),
        });
        live.filter_map(|channel| self.channels.get(channel)).map(|record| Timestamp(record.time_tick)).min()
    }

    /// Copies under way leave rows on the target that the source does not have.
    pub(crate) fn keep_surplus_rows(&mut self) {
        for collection in self.collections.values_mut() {
            if let CollectionCheckpoint::Backfill { prune, .. } = collection {
                *prune = false;
            }
        }
    }

    /// The source has another log, in which no position of the old one means anything. Everything is compared, and what
    /// only the target has stays: what stood in the old log and was not stored yet is lost at the source.
    pub(crate) fn begin_in_another_log(&mut self) {
        self.channels.clear();
        for collection in self.collections.values_mut() {
            if *collection != CollectionCheckpoint::Rescan {
                *self.skipped.entry(NEW_LOG.to_owned()).or_default() += 1;
                *collection = CollectionCheckpoint::Backfill { prune: false, compare: true, begun: BTreeMap::new() };
            }
        }
    }

    /// The ticks up to which channels have been acknowledged, where they are known to stand in the log.
    pub(crate) fn ticks(&self) -> BTreeMap<Channel, ReadTick> {
        let tick = |(name, record): (&String, &ChannelRecord)| {
            let newest = record.marks(&record.high_water_mark).find(|mark| mark.ts.0 == record.time_tick)?;
            Some((Channel::new(name), ReadTick { position: newest.tick?, time: newest.ts }))
        };
        self.channels.iter().filter_map(tick).collect()
    }

    /// By channel the first message that is needed after a restart; `None`: the channel's first.
    pub(crate) fn needed(&self) -> BTreeMap<Channel, Option<Position>> {
        let mut needed: BTreeMap<Channel, Option<Position>> = self
            .channels
            .iter()
            .map(|(name, record)| (Channel::new(name), record.position.map(Position::from)))
            .collect();
        let copies = self.collections.values().filter_map(|collection| match collection {
            CollectionCheckpoint::Backfill { begun, .. } => Some(begun),
            CollectionCheckpoint::Streaming { .. } | CollectionCheckpoint::Rescan => None,
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
    /// For people: up to this everything is applied, but for what is being read again.
    pub(crate) time_tick: u64,
    /// In files of earlier versions, where that tick stands (see [`AppliedRecord::One`]).
    #[serde(default)]
    pub(crate) tick: Option<PositionRecord>,
    /// Inserts up to this may have been applied.
    pub(crate) bound: u64,
    /// What has been applied of the collections that are not in `replaying`.
    #[serde(rename = "ahead", default)]
    pub(crate) high_water_mark: AppliedRecord,
    /// Collections that are being read again, and what of each has been applied.
    #[serde(rename = "behind", default)]
    pub(crate) replaying: BTreeMap<i64, AppliedRecord>,
}

impl ChannelRecord {
    /// What has been applied by one of the channel's records.
    pub(crate) fn marks(&self, applied: &AppliedRecord) -> impl Iterator<Item = AppliedMark> {
        let (marks, reached) = match applied {
            AppliedRecord::Union(marks) => (marks.as_slice(), None),
            AppliedRecord::One(mark) => {
                (std::slice::from_ref(mark), Some(MarkRecord { ts: self.time_tick, tick: self.tick }))
            }
        };
        marks.iter().copied().chain(reached).map(AppliedMark::from)
    }
}

/// What has been applied already.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum AppliedRecord {
    /// What any of these covers.
    Union(Vec<MarkRecord>),
    /// As earlier versions have written it: what stands up to `time_tick` before `tick` has been applied as well.
    One(MarkRecord),
}

impl Default for AppliedRecord {
    fn default() -> Self {
        AppliedRecord::One(MarkRecord::default())
    }
}

impl FromIterator<AppliedMark> for AppliedRecord {
    fn from_iter<T: IntoIterator<Item = AppliedMark>>(marks: T) -> Self {
        AppliedRecord::Union(marks.into_iter().map(MarkRecord::from).collect())
    }
}

/// What has been applied already: up to a timestamp, as far as it stands at or before a tick.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MarkRecord {
    /// The timestamp.
    pub(crate) ts: u64,
    /// The tick's place; none: wherever it stands.
    pub(crate) tick: Option<PositionRecord>,
}

impl From<AppliedMark> for MarkRecord {
    fn from(mark: AppliedMark) -> Self {
        MarkRecord { ts: mark.ts.0, tick: mark.tick.map(PositionRecord::from) }
    }
}

impl From<MarkRecord> for AppliedMark {
    fn from(record: MarkRecord) -> Self {
        AppliedMark { ts: Timestamp(record.ts), tick: record.tick.map(Position::from) }
    }
}

/// One collection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state")]
pub(crate) enum CollectionCheckpoint {
    /// Its rows come from the log.
    #[serde(rename = "joined")]
    Streaming {
        /// Its channels; up to these positions its rows may have been on the target before.
        upsert_until: BTreeMap<String, Option<PositionRecord>>,
        /// Of its channels those of which the target had everything up to this time before.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        complete_until: BTreeMap<String, u64>,
    },
    /// Its rows are being copied, or will be.
    #[serde(rename = "copying")]
    Backfill {
        /// Rows that the source no longer has must be removed from the target.
        prune: bool,
        /// The target has rows already: the copy compares with them.
        #[serde(default)]
        compare: bool,
        /// By channel where the log stood when the first attempt began; empty before that.
        begun: BTreeMap<String, StartRecord>,
    },
    /// Its rows are on the target as a file of the task's says, and are compared with the source's again and again.
    #[serde(rename = "scanned")]
    Rescan,
}

/// A collection that a user has paused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PauseRecord {
    /// Database and name at the source.
    pub(crate) source: String,
    /// Since when, as a hybrid timestamp.
    pub(crate) since: u64,
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

/// Why rows of a collection of the task's are missing on the target, or are there, that its log does not show.
pub(crate) fn beside_the_log(checkpoint: &Checkpoint, id: CollectionId) -> Option<&'static str> {
    match checkpoint.collections.get(&id.0)? {
        _ if checkpoint.paused.contains_key(&id.0) => Some("paused by a user"),
        CollectionCheckpoint::Backfill { .. } => Some("its rows were being copied or compared"),
        CollectionCheckpoint::Rescan => Some("its rows do not come from a log"),
        CollectionCheckpoint::Streaming { .. } if checkpoint.unreplicated.contains_key(&id.0) => {
            Some("rows of it came past the log")
        }
        CollectionCheckpoint::Streaming { .. } => None,
    }
}

/// The collections whose rows come from the log, and which nobody has paused.
pub(crate) fn followed_by_log(checkpoint: &Checkpoint) -> BTreeSet<CollectionId> {
    let is_followed = |(id, collection): &(&i64, &CollectionCheckpoint)| {
        matches!(collection, CollectionCheckpoint::Streaming { .. }) && !checkpoint.paused.contains_key(*id)
    };
    checkpoint.collections.iter().filter(is_followed).map(|(id, _)| CollectionId(*id)).collect()
}

/// Reads the file in a task's folder; a new task has none.
pub(crate) fn load(folder: &Path) -> Result<Option<Checkpoint>, SealedError> {
    sealed_file::load(&folder.join(FILE), FORMAT, VERSION)
}

/// Writes the file.
pub(crate) fn save(folder: &Path, checkpoint: &Checkpoint) -> Result<(), SealedError> {
    sealed_file::save(&folder.join(FILE), FORMAT, VERSION, checkpoint)
}

#[cfg(test)]
mod fault_tests;

#[cfg(test)]
mod tests {
    use super::*;

    /// As the release before the types were renamed has written it, byte for byte.
    const OLD_FILE: &str = concat!(
        r#"{"format":"milvus-cdc checkpoint","version":3,"crc32":"63b7d2d9"}"#,
        "\n",
        r#"{"log":"rocksmq","channels":{"dml_0":{"position":"70","time_tick":700,"tick":"71@72","bound":900,"#,
        r#""ahead":{"ts":800,"tick":"80"},"behind":{"4":{"ts":200,"tick":null}}},"#,
        r#""dml_1":{"position":null,"time_tick":0,"tick":null,"bound":0,"ahead":{"ts":0,"tick":null},"behind":{}}},"#,
        r#""collections":{"3":{"state":"joined","upsert_until":{"dml_0":"60","dml_1":null}},"#,
        r#""4":{"state":"copying","prune":true,"compare":true,"begun":{"dml_0":{"position":"55","after":550}}},"#,
        r#""5":{"state":"scanned"}},"skipped":{"users and roles":1},"#,
        r#""truncated":{"3":{"dml_0":650}},"uncarried":{"3":{"bulk import":2}}}"#,
        "\n"
    );

    #[test]
    fn what_stands_beside_the_log_is_named() {
        let streaming =
            CollectionCheckpoint::Streaming { upsert_until: BTreeMap::new(), complete_until: BTreeMap::new() };
        let mut saved = Checkpoint::default();
        saved.collections.extend([(1, streaming.clone()), (2, streaming), (3, CollectionCheckpoint::Rescan)]);
        saved.unreplicated.insert(2, [("bulk import".to_owned(), 2)].into());
        let why = |id| beside_the_log(&saved, CollectionId(id));
        assert_eq!((why(1), why(4)), (None, None));
        assert_eq!((why(2), why(3)), (Some("rows of it came past the log"), Some("its rows do not come from a log")));
    }

    #[test]
    fn a_file_of_an_earlier_release_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        std::fs::write(&path, OLD_FILE).unwrap();
        let checkpoint = load(folder.path()).unwrap().unwrap();
        assert_eq!(checkpoint.unreplicated[&3]["bulk import"], 2);
        assert_eq!(checkpoint.collections[&5], CollectionCheckpoint::Rescan);
        let marks = |channel: &ChannelRecord, applied: &AppliedRecord| {
            channel.marks(applied).map(|mark| (mark.ts.0, mark.tick)).collect::<Vec<_>>()
        };
        let channel = &checkpoint.channels["dml_0"];
        let reached = (700, Some("71@72".parse().unwrap()));
        assert_eq!(marks(channel, &channel.high_water_mark), [(800, Some(Position::at(80))), reached]);
        assert_eq!(marks(channel, &channel.replaying[&4]), [(200, None), reached]);
        save(folder.path(), &checkpoint).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), OLD_FILE);
    }

    #[test]
    fn what_a_user_has_paused_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let paused = [(7, PauseRecord { source: "d.a".into(), since: 5 })].into();
        let checkpoint = Checkpoint { paused, ..Checkpoint::default() };
        save(folder.path(), &checkpoint).unwrap();
        assert_eq!(load(folder.path()).unwrap(), Some(checkpoint));
    }

    #[test]
    fn what_has_been_applied_survives_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let marks = [(70, Some(Position::at(8))), (65, Some(Position::at(9)))];
        let marks = marks.map(|(ts, tick)| AppliedMark { ts: Timestamp(ts), tick });
        let applied: AppliedRecord = marks.into_iter().collect();
        let replaying = [(7, AppliedRecord::Union(Vec::new())), (8, applied.clone())].into();
        let channel = ChannelRecord { time_tick: 99, high_water_mark: applied, replaying, ..ChannelRecord::default() };
        let streaming = CollectionCheckpoint::Streaming {
            upsert_until: [("a".to_owned(), None)].into(),
            complete_until: [("a".to_owned(), 60)].into(),
        };
        let checkpoint = Checkpoint {
            channels: [("a".to_owned(), channel)].into(),
            collections: [(7, streaming)].into(),
            ..Checkpoint::default()
        };
        save(folder.path(), &checkpoint).unwrap();
        let loaded = load(folder.path()).unwrap().unwrap();
        assert_eq!(loaded, checkpoint);
        let channel = &loaded.channels["a"];
        assert_eq!(channel.marks(&channel.high_water_mark).collect::<Vec<_>>(), marks, "its time tick is for people");
        assert_eq!(channel.marks(&channel.replaying[&7]).count(), 0);
    }

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
            collections: [(1, CollectionCheckpoint::Backfill { prune: false, compare: false, begun })].into(),
            ..Checkpoint::default()
        };
        let needed = [("a", Some(3)), ("b", Some(5)), ("c", None), ("d", Some(9))];
        assert_eq!(checkpoint.needed(), needed.map(|(name, it)| (Channel::new(name), it.map(Position::at))).into());
    }

    #[test]
    fn in_another_log_everything_is_compared_and_nothing_removed() {
        let begun = [("a".to_owned(), StartRecord { position: None, after: 0 })].into();
        let streaming =
            CollectionCheckpoint::Streaming { upsert_until: BTreeMap::new(), complete_until: BTreeMap::new() };
        let mut checkpoint = Checkpoint {
            channels: [("a".to_owned(), ChannelRecord::default())].into(),
            collections: [
                (1, streaming),
                (2, CollectionCheckpoint::Backfill { prune: true, compare: false, begun }),
                (3, CollectionCheckpoint::Rescan),
            ]
            .into(),
            ..Checkpoint::default()
        };
        checkpoint.begin_in_another_log();
        let compared = CollectionCheckpoint::Backfill { prune: false, compare: true, begun: BTreeMap::new() };
        let expected = [(1, compared.clone()), (2, compared), (3, CollectionCheckpoint::Rescan)];
        assert_eq!(checkpoint.collections, expected.into());
        assert!(checkpoint.channels.is_empty() && checkpoint.skipped == [(NEW_LOG.to_owned(), 2)].into());
    }

    #[test]
    fn the_oldest_channel_that_is_lived_on() {
        let channel = |time_tick| ChannelRecord { time_tick, ..ChannelRecord::default() };
        let joined = |channel: &str| CollectionCheckpoint::Streaming {
            upsert_until: [(channel.to_owned(), None)].into(),
            complete_until: BTreeMap::new(),
        };
        let mut checkpoint = Checkpoint::default();
        assert_eq!(checkpoint.oldest(), None);
        checkpoint.channels =
            [("a", 30), ("b", 20), ("dead", 1)].map(|(name, tick)| (name.to_owned(), channel(tick))).into();
        checkpoint.collections = [(1, joined("a")), (2, joined("b"))].into();
        assert_eq!(checkpoint.oldest(), Some(Timestamp(20)));
    }
}
