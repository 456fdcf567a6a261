//! Where the rows of a collection come from, and how the checkpoint says so.

use std::collections::BTreeMap;

use super::backfill::SurplusRows;
use super::checkpoint::{CollectionCheckpoint, PositionRecord, StartRecord};
use crate::domain::{Channel, Position, Timestamp};
use crate::source::Start;

/// What the target has of a channel by other ways than the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Beforehand {
    /// Rows up to this position may have been there before: they go in as upserts.
    pub(super) upsert_until: Option<Position>,
    /// Everything up to this time is there, wherever it stands in the log, and must not be applied again: what comes
    /// after it might not be. Zero where nothing is.
    pub(super) complete_until: Timestamp,
}

/// Where rows come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum RowSource {
    /// From the log, by channel of the collection.
    Streaming(BTreeMap<Channel, Beforehand>),
    /// From a backfill, under way or waited for.
    Backfill {
        /// What becomes of rows that the source no longer has.
        surplus: SurplusRows,
        /// The target has rows already: the backfill compares with them.
        compare: bool,
        /// Where the log stood when the first attempt began; empty before that.
        begun: BTreeMap<Channel, Start>,
    },
    /// From rescans, which compare the source with what the last one has left: the source has no log.
    Rescan,
}

impl From<&CollectionCheckpoint> for RowSource {
    fn from(record: &CollectionCheckpoint) -> Self {
        match record {
            CollectionCheckpoint::Streaming { upsert_until, complete_until } => {
                let beforehand = |(channel, until): (&String, &Option<PositionRecord>)| {
                    let complete_until = complete_until.get(channel).copied().map_or(Timestamp::ZERO, Timestamp);
                    let upsert_until = until.map(Position::from);
                    (Channel::new(channel), Beforehand { upsert_until, complete_until })
                };
                RowSource::Streaming(upsert_until.iter().map(beforehand).collect())
            }
            CollectionCheckpoint::Rescan => RowSource::Rescan,
            CollectionCheckpoint::Backfill { prune, compare, begun } => {
                let start = |(channel, start): (&String, &StartRecord)| {
                    let position = start.position.map(Position::from);
                    (Channel::new(channel), Start { position, after: Timestamp(start.after) })
                };
                let surplus = if *prune { SurplusRows::Remove } else { SurplusRows::Keep };
                let compare = *compare || *prune;
                RowSource::Backfill { surplus, compare, begun: begun.iter().map(start).collect() }
            }
        }
    }
}

impl From<&RowSource> for CollectionCheckpoint {
    fn from(rows: &RowSource) -> Self {
        match rows {
            RowSource::Streaming(channels) => {
                let until = |(channel, beforehand): (&Channel, &Beforehand)| {
                    (channel.to_string(), beforehand.upsert_until.map(PositionRecord::from))
                };
                let complete = |(channel, beforehand): (&Channel, &Beforehand)| {
                    let Timestamp(until) = beforehand.complete_until;
                    (until > 0).then(|| (channel.to_string(), until))
                };
                CollectionCheckpoint::Streaming {
                    upsert_until: channels.iter().map(until).collect(),
                    complete_until: channels.iter().filter_map(complete).collect(),
                }
            }
            RowSource::Rescan => CollectionCheckpoint::Rescan,
            RowSource::Backfill { surplus, compare, begun } => {
                let record = |(channel, start): (&Channel, &Start)| {
                    let position = start.position.map(PositionRecord::from);
                    (channel.to_string(), StartRecord { position, after: start.after.0 })
                };
                let prune = *surplus == SurplusRows::Remove;
                CollectionCheckpoint::Backfill { prune, compare: *compare, begun: begun.iter().map(record).collect() }
            }
        }
    }
}
