//! The collections that a task knows, and where their rows come from at the moment.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::checkpoint::{MemberRecord, PositionRecord, StartRecord};
use crate::catalog::ReadyCollection;
use crate::domain::{Channel, CollectionId, Position, Timestamp};
use crate::pipeline::CollectionInfo;
use crate::source::Start;

/// Where rows come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Rows {
    /// From the log. Per channel of the collection the position up to which rows may have been there before.
    Joined(BTreeMap<Channel, Option<Position>>),
    /// From a copy, under way or waited for.
    Copying {
        /// Rows that the source no longer has must be removed from the target.
        prune: bool,
        /// The target has rows already: the copy compares with them.
        compare: bool,
        /// Where the log stood when the first attempt began; empty before that.
        begun: BTreeMap<Channel, Start>,
    },
    /// From rounds, which compare the source with what the last one has left: the source has no log.
    Scanned,
}

/// One collection.
#[derive(Debug, Clone)]
pub(super) struct Member {
    /// Where its rows come from.
    pub(super) rows: Rows,
    /// As the catalog carried it over; `None` until it has looked at it in this run.
    pub(super) ready: Option<Arc<Ready>>,
    /// No call may start: the catalog is changing names.
    pub(super) blocked: bool,
}

/// What the catalog told.
#[derive(Debug, Clone)]
pub(super) struct Ready {
    pub(super) info: Arc<CollectionInfo>,
    pub(super) source: (String, String),
    pub(super) channels: Vec<Channel>,
    /// It was on the target before the task.
    pub(super) adopted: bool,
}

/// All collections.
#[derive(Debug, Default)]
pub(super) struct Members {
    by_id: BTreeMap<CollectionId, Member>,
    /// Not at the source, or not for this task: their records were passed over.
    passed_over: BTreeSet<CollectionId>,
    /// Rows up to here are gone: a truncation has been carried out. Kept until the channel has been acknowledged past it.
    truncated: BTreeMap<(CollectionId, Channel), Timestamp>,
}

impl Members {
    pub(super) fn restore(
        records: &BTreeMap<i64, MemberRecord>,
        truncated: &BTreeMap<i64, BTreeMap<String, u64>>,
    ) -> Members {
        let member = |record: &MemberRecord| Member { rows: Rows::from(record), ready: None, blocked: false };
        let by_id = records.iter().map(|(&id, record)| (CollectionId(id), member(record))).collect();
        let ticks = truncated.iter().flat_map(|(&id, ticks)| {
            ticks.iter().map(move |(channel, &tick)| ((CollectionId(id), Channel::new(channel)), Timestamp(tick)))
        });
        Members { by_id, passed_over: BTreeSet::new(), truncated: ticks.collect() }
    }

    pub(super) fn records(&self) -> BTreeMap<i64, MemberRecord> {
        self.by_id.iter().map(|(id, member)| (id.0, MemberRecord::from(&member.rows))).collect()
    }

    /// Rows of these shards up to these ticks are gone.
    pub(super) fn truncate(&mut self, id: CollectionId, ticks: Vec<(Channel, Timestamp)>) {
        self.truncated.extend(ticks.into_iter().map(|(channel, tick)| ((id, channel), tick)));
    }

    /// Whether what stands at this tick is gone by a truncation that has been carried out.
    pub(super) fn is_truncated(&self, id: CollectionId, channel: &Channel, at: Timestamp) -> bool {
        !self.truncated.is_empty() && self.truncated.get(&(id, channel.clone())).is_some_and(|&tick| at <= tick)
    }

    /// Forgets truncations that no reading comes to any more: `acked` tells how far a channel is through.
    pub(super) fn forget_truncated(&mut self, acked: impl Fn(&Channel) -> Option<Timestamp>) {
        self.truncated.retain(|(id, channel), tick| {
            self.by_id.contains_key(id) && acked(channel).is_some_and(|acked| acked < *tick)
        });
    }

    pub(super) fn truncated(&self) -> BTreeMap<i64, BTreeMap<String, u64>> {
        let mut records: BTreeMap<i64, BTreeMap<String, u64>> = BTreeMap::new();
        for ((id, channel), tick) in &self.truncated {
            records.entry(id.0).or_default().insert(channel.to_string(), tick.0);
        }
        records
    }

    pub(super) fn get(&self, id: CollectionId) -> Option<&Member> {
        self.by_id.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: CollectionId) -> Option<&mut Member> {
        self.by_id.get_mut(&id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (CollectionId, &Member)> {
        self.by_id.iter().map(|(id, member)| (*id, member))
    }

    /// Those that the catalog has said nothing of in this run.
    pub(super) fn unseen(&self) -> Vec<CollectionId> {
        self.by_id.iter().filter(|(_, member)| member.ready.is_none()).map(|(id, _)| *id).collect()
    }

    pub(super) fn insert(&mut self, id: CollectionId, member: Member) {
        self.by_id.insert(id, member);
    }

    pub(super) fn remove(&mut self, id: CollectionId) {
        self.by_id.remove(&id);
    }

    /// Its records need not be kept.
    pub(super) fn pass_over(&mut self, id: CollectionId) {
        self.passed_over.insert(id);
    }

    /// It has come into scope after records of it were passed over. True when they were.
    pub(super) fn take_passed_over(&mut self, id: CollectionId) -> bool {
        self.passed_over.remove(&id)
    }

    /// Whether records of the collection are of use: it follows from the log, or nobody knows it yet.
    pub(super) fn wants(&self, id: CollectionId) -> bool {
        match self.by_id.get(&id) {
            Some(member) => matches!(member.rows, Rows::Joined(_)),
            None => !self.passed_over.contains(&id),
        }
    }

    /// The collection, when calls for it may start.
    pub(super) fn applicable(&self, id: CollectionId) -> Option<Arc<CollectionInfo>> {
        let member = self.by_id.get(&id)?;
        let usable = !member.blocked && matches!(member.rows, Rows::Joined(_));
        member.ready.as_ref().filter(|_| usable).map(|ready| Arc::clone(&ready.info))
    }
}

impl Member {
    /// Takes in what the catalog tells; the positions up to which rows go in as upserts are the task's own.
    pub(super) fn update(&mut self, ready: ReadyCollection) {
        let ReadyCollection { info, source, channels, adopted, .. } = ready;
        self.blocked = false;
        let info = Arc::new(with_upserts(info, &self.rows));
        self.ready = Some(Arc::new(Ready { info, source, channels, adopted }));
    }

    /// Changes where the rows come from.
    pub(super) fn set_rows(&mut self, rows: Rows) {
        self.rows = rows;
        if let Some(ready) = self.ready.as_deref() {
            let info = Arc::new(with_upserts((*ready.info).clone(), &self.rows));
            self.ready = Some(Arc::new(Ready { info, ..ready.clone() }));
        }
    }

    /// The channels that its rows arrive on.
    pub(super) fn channels(&self) -> Vec<Channel> {
        match (&self.rows, &self.ready) {
            (_, Some(ready)) if !ready.channels.is_empty() => ready.channels.clone(),
            (Rows::Joined(until), _) => until.keys().cloned().collect(),
            _ => Vec::new(),
        }
    }
}

/// The positions up to which rows go in as upserts are the task's own; the catalog does not know them.
fn with_upserts(mut info: CollectionInfo, rows: &Rows) -> CollectionInfo {
    info.upsert_until = match rows {
        Rows::Joined(until) => until.iter().filter_map(|(channel, until)| Some((channel.clone(), (*until)?))).collect(),
        Rows::Copying { .. } | Rows::Scanned => Default::default(),
    };
    info
}

impl From<&MemberRecord> for Rows {
    fn from(record: &MemberRecord) -> Self {
        match record {
            MemberRecord::Joined { upsert_until } => {
                let until = |(channel, until): (&String, &Option<PositionRecord>)| {
                    (Channel::new(channel), until.map(Position::from))
                };
                Rows::Joined(upsert_until.iter().map(until).collect())
            }
            MemberRecord::Scanned => Rows::Scanned,
            MemberRecord::Copying { prune, compare, begun } => {
                let start = |(channel, start): (&String, &StartRecord)| {
                    let position = start.position.map(Position::from);
                    (Channel::new(channel), Start { position, after: Timestamp(start.after) })
                };
                let compare = *compare || *prune;
                Rows::Copying { prune: *prune, compare, begun: begun.iter().map(start).collect() }
            }
        }
    }
}

impl From<&Rows> for MemberRecord {
    fn from(rows: &Rows) -> Self {
        match rows {
            Rows::Joined(until) => {
                let record = |(channel, until): (&Channel, &Option<Position>)| {
                    (channel.to_string(), until.map(PositionRecord::from))
                };
                MemberRecord::Joined { upsert_until: until.iter().map(record).collect() }
            }
            Rows::Scanned => MemberRecord::Scanned,
            Rows::Copying { prune, compare, begun } => {
                let record = |(channel, start): (&Channel, &Start)| {
                    let position = start.position.map(PositionRecord::from);
                    (channel.to_string(), StartRecord { position, after: start.after.0 })
                };
                let (prune, compare) = (*prune, *compare);
                MemberRecord::Copying { prune, compare, begun: begun.iter().map(record).collect() }
            }
        }
    }
}
