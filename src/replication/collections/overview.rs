//! What a task shows of its collections.

use std::collections::{BTreeMap, BTreeSet};

use super::Collections;
use crate::domain::{Channel, CollectionId};
use crate::replication::aside::AsideCollections;
use crate::replication::collection_state::CollectionState;
use crate::replication::held::Hold;
use crate::replication::row_source::RowSource;
use crate::task::detail::{CollectionDetail, CollectionStage, HoldDetail, RowsFrom};
use crate::task::status::CollectionCounts;

/// Why a collection stands still that a user has paused.
pub(in crate::replication) const PAUSED: &str = "by a user, until it is resumed (request `resume` with `collection`)";

impl Collections {
    /// How many collections are on each channel.
    pub(in crate::replication) fn count_by_channel(&self) -> BTreeMap<Channel, usize> {
        let mut counts = BTreeMap::new();
        for (_, state) in self.joined() {
            for channel in BTreeSet::from_iter(state.channels()) {
                *counts.entry(channel).or_default() += 1;
            }
        }
        counts
    }

    /// The collections that stand still.
    pub(in crate::replication) fn holds(&self) -> impl Iterator<Item = (CollectionId, Hold)> {
        self.held.iter()
    }

    /// How many collections are in which stage.
    pub(in crate::replication) fn counts(&self, asides: &AsideCollections) -> CollectionCounts {
        let (held, paused) = (self.held.iter().count(), self.held.paused().count());
        let mut counts = CollectionCounts { held, paused, ..CollectionCounts::default() };
        for (&id, state) in &self.by_id {
            match self.stage_of(id, state, asides) {
                CollectionStage::Following => counts.following += 1,
                CollectionStage::Waiting => counts.waiting += 1,
                CollectionStage::Copying => counts.copying += 1,
                // Counted, with those that the task does not have yet.
                CollectionStage::Held | CollectionStage::Paused => {}
            }
        }
        counts
    }

    /// Those whose rows do not follow and are not being copied, though nothing is known to be in the way for good.
    pub(in crate::replication) fn waiting(&self, asides: &AsideCollections) -> BTreeSet<CollectionId> {
        let waits = |id, state| self.stage_of(id, state, asides) == CollectionStage::Waiting;
        self.by_id.iter().filter(|(id, state)| waits(**id, state)).map(|(id, _)| *id).collect()
    }

    pub(super) fn stage_of(
        &self,
        id: CollectionId,
        state: &CollectionState,
        asides: &AsideCollections,
    ) -> CollectionStage {
        if self.held.is_paused(id) {
            return CollectionStage::Paused;
        }
        if self.held.is_held(id) {
            return CollectionStage::Held;
        }
        if asides.has(id) {
            return CollectionStage::Waiting;
        }
        match state.rows() {
            Some(RowSource::Streaming(_) | RowSource::Rescan) if state.ready().is_some() => CollectionStage::Following,
            Some(RowSource::Backfill { .. }) if self.backfills.queue().is_under_way(id) => CollectionStage::Copying,
            _ => CollectionStage::Waiting,
        }
    }

    /// For people.
    pub(in crate::replication) fn details(&self, asides: &AsideCollections) -> Vec<CollectionDetail> {
        let of_state = |(id, state): (CollectionId, &CollectionState)| {
            let ready = state.ready();
            let rows_from = state.rows().map(|rows| match rows {
                RowSource::Streaming(_) => RowsFrom::Log,
                RowSource::Backfill { .. } => RowsFrom::Copy,
                RowSource::Rescan => RowsFrom::Scan,
            });
            CollectionDetail {
                id: id.0,
                source: ready.map(|ready| ready.source.to_string()),
                target: ready.map(|ready| format!("{}.{}", ready.info.db, ready.info.name)),
                rows_from,
                channels: state.channels().iter().map(ToString::to_string).collect(),
                stage: self.stage_of(id, state, asides),
                hold: asides.detail(id),
            }
        };
        let mut details: BTreeMap<CollectionId, CollectionDetail> =
            self.joined().map(|joined| (joined.0, of_state(joined))).collect();
        let held = self.held.iter().map(|(id, hold)| {
            let why = HoldDetail { why: hold.why, since_ms: hold.since.physical_ms() };
            (id, CollectionStage::Held, hold.source, why)
        });
        let paused = self.held.paused().map(|(id, paused)| {
            let why = HoldDetail { why: PAUSED.into(), since_ms: paused.since.physical_ms() };
            (id, CollectionStage::Paused, paused.source.clone(), why)
        });
        for (id, stage, source, why) in held.chain(paused) {
            let detail = details.entry(id).or_insert_with(|| CollectionDetail {
                id: id.0,
                source: None,
                target: None,
                rows_from: None,
                channels: Vec::new(),
                stage,
                hold: None,
            });
            detail.source.get_or_insert(source);
            detail.hold = Some(why);
        }
        details.into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::replication::backfill::SurplusRows;
    use crate::replication::checkpoint::CollectionCheckpoint;
    use crate::replication::effect::Effects;
    use crate::replication::joins::Joins;
    use crate::replication::model::ready;

    #[test]
    fn what_is_set_aside_does_not_pass_for_followed() {
        let (ids, now) = ([1, 2].map(CollectionId), Instant::now());
        let record = CollectionCheckpoint::Streaming { upsert_until: BTreeMap::new(), complete_until: BTreeMap::new() };
        let records = ids.map(|id| (id.0, record.clone())).into();
        let joins = Joins::new(BTreeMap::new(), SurplusRows::Keep);
        let mut collections = Collections::restore(&records, &BTreeMap::new(), joins, None);
        for id in ids {
            let _ = collections.on_ready(ready(id, 0), now, &mut Effects::default());
        }
        let mut asides = AsideCollections::default();
        assert_eq!(collections.counts(&asides).following, 2);
        asides.insert(ids[0], "over its quota".into(), now);
        let counts = collections.counts(&asides);
        assert_eq!((counts.following, counts.waiting), (1, 1));
        assert_eq!(collections.waiting(&asides), [ids[0]].into(), "its lag is the task's");
        let details = collections.details(&asides);
        assert_eq!(details[0].stage, CollectionStage::Waiting);
        assert_eq!(details[0].hold.as_ref().unwrap().why, "set aside: over its quota");
        assert_eq!((details[1].stage, &details[1].hold), (CollectionStage::Following, &None));
    }
}
