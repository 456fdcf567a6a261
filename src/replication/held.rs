/*!
Collections that are held: each stands still while the others go on, until what is in the way has changed.

The catalog tries again itself what it has reported, and describes the collection when that works. What calls and
backfills were refused is tried again here, with growing pauses. Holding is not on disk: the checkpoint says that the
collection's rows are to be compared, and a restart finds again whatever is still in the way.

The two are independent: one collection may be held for both, and goes on when neither is left. What a user has paused
stands still besides, whatever else is in the way, until a user resumes it. That is on disk.
*/

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::checkpoint::PauseRecord;
use crate::domain::{CollectionId, Timestamp};

/// The first pause before refused rows are tried again; the pauses double.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
/// The longest one.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// One collection that stands still.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hold {
    /// Database and name at the source, or the id.
    pub(super) source: String,
    /// What is in the way, and what to do.
    pub(super) why: String,
    /// When it began.
    pub(super) since: Timestamp,
}

/// One collection whose rows were refused.
#[derive(Debug)]
struct RowHold {
    hold: Hold,
    /// When its rows are tried again.
    due: Instant,
}

/// Why a collection stands still, for tests.
#[cfg(test)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Reasons {
    pub(super) by_catalog: bool,
    /// Its rows were refused; whether they are due to be tried again.
    pub(super) rows: Option<bool>,
    pub(super) paused: bool,
}

#[cfg(test)]
impl Reasons {
    pub(super) fn is_any(self) -> bool {
        self.by_catalog || self.rows.is_some() || self.paused
    }

    pub(super) fn hurry(&mut self) {
        self.rows = self.rows.map(|_| true);
    }
}

/// Whether a hold was known before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Novelty {
    New,
    Known,
}

/// All collections that are held.
#[derive(Debug, Default)]
pub(super) struct HeldCollections {
    /// By the catalog, until it describes the collection: it has tried again.
    by_catalog: BTreeMap<CollectionId, Hold>,
    /// Because of refused rows, until they are tried again.
    rows: BTreeMap<CollectionId, RowHold>,
    /// The last pause of those whose rows were refused. Kept until their rows are through.
    pauses: BTreeMap<CollectionId, Duration>,
    /// By a user.
    paused: BTreeMap<CollectionId, PausedCollection>,
}

/// One collection that a user has paused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PausedCollection {
    /// Database and name at the source.
    pub(super) source: String,
    /// When it began.
    pub(super) since: Timestamp,
}

impl HeldCollections {
    /// The catalog cannot carry the collection over.
    pub(super) fn hold_by_catalog(&mut self, id: CollectionId, source: String, why: String) -> Novelty {
        let before = self.by_catalog.get(&id);
        let (hold, novelty) = Hold::new(source, why, before);
        self.by_catalog.insert(id, hold);
        novelty
    }

    /// The target has refused rows of the collection, or they cannot be read.
    pub(super) fn hold_rows(&mut self, id: CollectionId, source: String, why: String, now: Instant) -> Novelty {
        let pause = self.pauses.get(&id).map_or(FIRST_PAUSE, |pause| (*pause * 2).min(LONGEST_PAUSE));
        self.pauses.insert(id, pause);
        let before = self.rows.get(&id).map(|rows| &rows.hold);
        let (hold, novelty) = Hold::new(source, why, before);
        self.rows.insert(id, RowHold { hold, due: now + pause });
        novelty
    }

    pub(super) fn is_held(&self, id: CollectionId) -> bool {
        self.by_catalog.contains_key(&id) || self.rows.contains_key(&id) || self.is_paused(id)
    }

    /// Whether the catalog has to end a hold.
    pub(super) fn is_held_by_catalog(&self, id: CollectionId) -> bool {
        self.by_catalog.contains_key(&id)
    }

    pub(super) fn is_paused(&self, id: CollectionId) -> bool {
        self.paused.contains_key(&id)
    }

    /// A user pauses the collection.
    pub(super) fn pause(&mut self, id: CollectionId, source: String) {
        self.paused.insert(id, PausedCollection { source, since: Timestamp::now() });
    }

    /// A user resumes the collection.
    pub(super) fn resume(&mut self, id: CollectionId) {
        self.paused.remove(&id);
    }

    /// As an earlier run has left them.
    pub(super) fn restore_paused(&mut self, records: &BTreeMap<i64, PauseRecord>) {
        let restored =
            |record: &PauseRecord| PausedCollection { source: record.source.clone(), since: Timestamp(record.since) };
        self.paused.extend(records.iter().map(|(&id, record)| (CollectionId(id), restored(record))));
    }

    /// For the checkpoint.
    pub(super) fn paused_records(&self) -> BTreeMap<i64, PauseRecord> {
        let record = |paused: &PausedCollection| PauseRecord { source: paused.source.clone(), since: paused.since.0 };
        self.paused.iter().map(|(id, paused)| (id.0, record(paused))).collect()
    }

    /// Those that a user has paused.
    pub(super) fn paused(&self) -> impl Iterator<Item = (CollectionId, &PausedCollection)> {
        self.paused.iter().map(|(id, paused)| (*id, paused))
    }

    /// The catalog has described the collection. Whether it is held no more.
    pub(super) fn described(&mut self, id: CollectionId) -> bool {
        self.by_catalog.remove(&id);
        !self.is_held(id)
    }

    /// Those whose rows are to be tried again now. Their rows hold them no more.
    pub(super) fn take_due(&mut self, now: Instant) -> Vec<CollectionId> {
        self.rows.extract_if(.., |_, rows| rows.due <= now).map(|(id, _)| id).collect()
    }

    /// A user wants the rows of the collection tried again now.
    pub(super) fn hurry(&mut self, id: CollectionId, now: Instant) {
        if let Some(rows) = self.rows.get_mut(&id) {
            rows.due = now;
        }
    }

    /// The rows of the collection are through.
    pub(super) fn rows_are_through(&mut self, id: CollectionId) {
        self.pauses.remove(&id);
    }

    /// The collection is gone.
    pub(super) fn forget(&mut self, id: CollectionId) {
        self.by_catalog.remove(&id);
        self.rows.remove(&id);
        self.pauses.remove(&id);
        self.paused.remove(&id);
    }

    #[cfg(test)]
    pub(super) fn reasons(&self, id: CollectionId, now: Instant) -> Reasons {
        let rows = self.rows.get(&id).map(|rows| rows.due <= now);
        Reasons { by_catalog: self.by_catalog.contains_key(&id), rows, paused: self.is_paused(id) }
    }

    /// Those that are held, and not paused besides.
    pub(super) fn iter(&self) -> impl Iterator<Item = (CollectionId, Hold)> {
        let by_rows_alone = self.rows.iter().filter(|(id, _)| !self.by_catalog.contains_key(id));
        let by_rows_alone = by_rows_alone.map(|(id, rows)| (*id, rows.hold.clone()));
        let by_catalog = self.by_catalog.iter().map(move |(id, hold)| match self.rows.get(id) {
            Some(rows) => (*id, hold.and(&rows.hold)),
            None => (*id, hold.clone()),
        });
        by_catalog.chain(by_rows_alone).filter(|(id, _)| !self.is_paused(*id))
    }
}

impl Hold {
    /// A hold that lasts on, if it was held before, with what is in the way now.
    fn new(source: String, why: String, before: Option<&Hold>) -> (Hold, Novelty) {
        let novelty = if before.is_some_and(|before| before.why == why) { Novelty::Known } else { Novelty::New };
        let since = before.map_or_else(Timestamp::now, |before| before.since);
        (Hold { source, why, since }, novelty)
    }

    /// What is in the way for both reasons.
    fn and(&self, other: &Hold) -> Hold {
        let (source, why) = (self.source.clone(), format!("{}; {}", self.why, other.why));
        Hold { source, why, since: self.since.min(other.since) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: CollectionId = CollectionId(7);

    fn hold_rows(held: &mut HeldCollections, now: Instant) -> Novelty {
        held.hold_rows(ID, "d.a".into(), "refused".into(), now)
    }

    #[test]
    fn refused_rows_are_tried_again_with_growing_pauses() {
        let (mut held, mut now) = (HeldCollections::default(), Instant::now());
        for pause in [FIRST_PAUSE, FIRST_PAUSE * 2, FIRST_PAUSE * 4] {
            assert_eq!(hold_rows(&mut held, now), Novelty::New);
            assert!(!held.described(ID), "a description mends no rows");
            assert!(held.take_due(now + pause - Duration::from_millis(1)).is_empty());
            now += pause;
            assert_eq!(held.take_due(now), [ID]);
            assert!(!held.is_held(ID));
        }
        held.rows_are_through(ID);
        hold_rows(&mut held, now);
        assert_eq!(held.take_due(now + FIRST_PAUSE), [ID]);
        hold_rows(&mut held, now);
        (0..20).for_each(|_| assert_eq!(hold_rows(&mut held, now), Novelty::Known));
        assert_eq!(held.take_due(now + LONGEST_PAUSE), [ID], "no pause is longer");
    }

    #[test]
    fn what_the_catalog_reports_ends_with_its_next_description() {
        let mut held = HeldCollections::default();
        let hold = |held: &mut HeldCollections, why: &str| held.hold_by_catalog(ID, "d.a".into(), why.into());
        assert_eq!(hold(&mut held, "other schema"), Novelty::New);
        let since = held.iter().map(|(_, hold)| hold.since).next();
        assert_eq!(hold(&mut held, "other schema"), Novelty::Known);
        assert_eq!(hold(&mut held, "another one"), Novelty::New);
        assert_eq!(held.iter().map(|(_, hold)| hold.since).next(), since, "it has been held all the time");
        assert!(held.take_due(Instant::now() + LONGEST_PAUSE).is_empty());
        assert!(held.described(ID) && !held.is_held(ID));
    }

    #[test]
    fn what_a_user_has_paused_stands_still_whatever_else_is_in_the_way() {
        let (mut held, now) = (HeldCollections::default(), Instant::now());
        held.pause(ID, "d.a".into());
        hold_rows(&mut held, now);
        assert_eq!(held.iter().count(), 0, "shown once");
        assert_eq!(held.take_due(now + FIRST_PAUSE), [ID]);
        assert!(held.is_held(ID) && !held.described(ID));
        let mut again = HeldCollections::default();
        again.restore_paused(&held.paused_records());
        assert_eq!(again.paused, held.paused);
        again.resume(ID);
        assert!(!again.is_held(ID) && again.paused_records().is_empty());
        held.forget(ID);
        assert!(!held.is_held(ID));
    }

    #[test]
    fn what_holds_its_rows_and_what_the_catalog_reports_end_apart() {
        for rows_first in [true, false] {
            let (mut held, now) = (HeldCollections::default(), Instant::now());
            let by_catalog = |held: &mut HeldCollections| {
                held.hold_by_catalog(ID, "d.a".into(), "other schema".into());
            };
            if rows_first {
                hold_rows(&mut held, now);
                by_catalog(&mut held);
            } else {
                by_catalog(&mut held);
                hold_rows(&mut held, now);
            }
            let why = |held: &HeldCollections| held.iter().map(|(_, hold)| hold.why).collect::<Vec<_>>();
            assert_eq!(why(&held), ["other schema; refused"], "once, with both reasons");
            assert!(!held.described(ID));
            assert_eq!(why(&held), ["refused"]);
            by_catalog(&mut held);
            assert_eq!(held.take_due(now + FIRST_PAUSE), [ID]);
            assert!(held.is_held(ID), "the catalog still cannot carry it over");
            assert_eq!(why(&held), ["other schema"]);
            assert!(held.described(ID));
        }
    }

    #[test]
    fn a_user_may_hurry_it() {
        let (mut held, now) = (HeldCollections::default(), Instant::now());
        hold_rows(&mut held, now);
        held.hurry(ID, now);
        assert_eq!(held.take_due(now), [ID]);
    }
}
