//! Collections that are held, or set aside while something of them is dropped.

use std::time::Instant;

use super::Collections;
use crate::domain::CollectionId;
use crate::replication::backfill::SurplusRows;
use crate::replication::collection_state::HoldState;
use crate::replication::effect::Effects;
use crate::replication::held::Novelty;

impl Collections {
    /// Rows of the collection cannot be applied: nothing of it starts before it is tried again.
    pub(in crate::replication) fn hold_rows(
        &mut self,
        id: CollectionId,
        why: String,
        surplus: SurplusRows,
        now: Instant,
        effects: &mut Effects,
    ) -> Novelty {
        let novelty = self.held.hold_rows(id, self.name_of(id), why, now);
        self.stop_rows(id, surplus, effects);
        self.stand(id, HoldState::Held);
        novelty
    }

    /// The catalog cannot carry the collection over: nothing of it starts before it is described.
    pub(in crate::replication) fn hold_by_catalog(
        &mut self,
        id: CollectionId,
        source: String,
        why: String,
        surplus: SurplusRows,
        effects: &mut Effects,
    ) -> Novelty {
        // The catalog asks again by itself.
        self.questions.forget(id);
        self.stop_and_block(id, surplus, effects);
        self.held.hold_by_catalog(id, source, why)
    }

    /// Nothing of the collection starts before the catalog describes it.
    pub(in crate::replication) fn stop_and_block(
        &mut self,
        id: CollectionId,
        surplus: SurplusRows,
        effects: &mut Effects,
    ) {
        self.stop_rows(id, surplus, effects);
        if let Some(state) = self.by_id.get_mut(&id) {
            state.block();
        }
    }

    /// What is read of the collection is passed over. What the source has written meanwhile comes by a comparison, or,
    /// when it has not joined yet, by reading again.
    pub(super) fn stop_rows(&mut self, id: CollectionId, surplus: SurplusRows, effects: &mut Effects) {
        let Some(state) = self.by_id.get_mut(&id).filter(|state| state.is_joined()) else {
            self.by_id.remove(&id);
            return self.pass_over(id);
        };
        if state.is_streaming() {
            self.backfills.begin_again(id, effects);
            state.backfill_again(surplus);
        } else {
            self.backfills.cancel(id, effects);
        }
    }

    pub(super) fn stand(&mut self, id: CollectionId, standing: HoldState) {
        if let Some(state) = self.by_id.get_mut(&id) {
            state.stand(standing);
        }
    }

    /// Nothing of what was copied is on the target any more.
    pub(in crate::replication) fn lose(&mut self, id: CollectionId, surplus: SurplusRows, effects: &mut Effects) {
        let Some(state) = self.by_id.get_mut(&id).filter(|state| state.is_joined()) else { return };
        state.backfill_again(surplus);
        state.block();
        self.backfills.begin_again(id, effects);
    }

    /// Those whose rows are tried again now.
    pub(in crate::replication) fn release_holds(&mut self, now: Instant) -> Vec<CollectionId> {
        let due = self.held.take_due(now);
        for id in &due {
            if let Some(state) = self.by_id.get_mut(id).filter(|_| !self.held.is_held(*id)) {
                state.stand(HoldState::Free);
                self.backfills.want(*id, state);
            }
        }
        due
    }

    /// The rows of a collection have been backfilled.
    pub(in crate::replication) fn rows_are_through(&mut self, id: CollectionId) {
        self.held.rows_are_through(id);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use crossbeam_channel::bounded;

    use super::*;
    use crate::domain::Timestamp;
    use crate::replication::backfill::{Against, BackfillDone, BackfillEvent, BackfillOutcome};
    use crate::replication::checkpoint::{CollectionCheckpoint, StartRecord};
    use crate::replication::joins::Joins;
    use crate::replication::model::ready;

    const ID: CollectionId = CollectionId(7);

    fn waiting() -> BackfillEvent {
        BackfillEvent::Waiting(ID, "not loaded".into())
    }

    fn done() -> BackfillEvent {
        let done = BackfillDone {
            against: Against::Target,
            rows: 0,
            extra: 0,
            began: Timestamp::ZERO,
            took: Duration::ZERO,
            spans: BTreeMap::new(),
            count: None,
            changes: Default::default(),
        };
        BackfillEvent::Ended(ID, BackfillOutcome::Done(done))
    }

    /// A collection that is compared with the target, whose comparison is with a thread.
    fn compared(now: Instant) -> Collections {
        let begun = BTreeMap::from([("c".to_owned(), StartRecord { position: None, after: 0 })]);
        let record = CollectionCheckpoint::Backfill { prune: true, compare: true, begun };
        let (joins, mut effects) = (Joins::new(BTreeMap::new(), SurplusRows::Keep), Effects::default());
        let mut collections = Collections::restore(&[(ID.0, record)].into(), &BTreeMap::new(), joins, None);
        collections.on_ready(ready(ID, 0), now, &mut effects);
        collections.start_backfills(|_| false, now, &mut effects);
        assert!(collections.backfills().is_running(ID));
        collections
    }

    #[test]
    fn rows_that_are_tried_again_wait_for_what_the_catalog_changes() {
        let (now, mut effects) = (Instant::now(), Effects::default());
        let due = now + Duration::from_secs(5);
        for is_refused_first in [true, false] {
            let mut collections = compared(now);
            let (answer, _answered) = bounded(1);
            if is_refused_first {
                collections.hold_rows(ID, "refused".into(), SurplusRows::Keep, now, &mut effects);
                collections.block(ID, answer, &mut effects);
            } else {
                collections.block(ID, answer, &mut effects);
                collections.hold_rows(ID, "refused".into(), SurplusRows::Keep, now, &mut effects);
            }
            collections.on_backfill(BackfillEvent::Ended(ID, BackfillOutcome::Cancelled), now, &mut effects);
            assert_eq!(collections.release_holds(due), [ID]);
            collections.start_backfills(|_| false, due, &mut effects);
            assert!(!collections.backfills().is_active(ID), "the catalog is at work");
            collections.unblock(ID);
            collections.start_backfills(|_| false, due, &mut effects);
            assert!(collections.backfills().is_running(ID));
        }
    }

    /// Whether nothing is kept of how far the backfill has come, when the collection is lost and `then` reported.
    fn forgets(collections: &mut Collections, then: Option<BackfillEvent>) -> bool {
        let (now, mut effects) = (Instant::now(), Effects::default());
        collections.lose(ID, SurplusRows::Remove, &mut effects);
        if let Some(event) = then {
            collections.on_backfill(event, now, &mut effects);
        }
        collections.stale_progress().contains(ID)
    }

    #[test]
    fn what_was_copied_before_a_loss_does_not_count() {
        let now = Instant::now();
        assert!(!forgets(&mut compared(now), None), "a thread may still write it");
        for last in [done(), waiting(), BackfillEvent::Ended(ID, BackfillOutcome::Cancelled)] {
            let mut collections = compared(now);
            assert!(forgets(&mut collections, Some(last)));
            assert!(collections.is_backfilled(ID) && !collections.backfills().is_active(ID));
        }
        let mut collections = compared(now);
        collections.on_backfill(waiting(), now, &mut Effects::default());
        assert!(forgets(&mut collections, None), "no thread has it");
        assert!(!collections.backfills().is_active(ID));
    }
}
