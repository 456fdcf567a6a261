/*!
Collections that are set aside: their rows cannot be applied and would fill the memory that all share. What is queued
of them is forgotten, what is read of them is passed over, and later their channels are read again for them.
*/

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::unknown_rows::largest_beyond;
use crate::domain::{CollectionId, Timestamp};
use crate::task::detail::HoldDetail;

/// Limit in bytes of rows that cannot be applied at present: half of what the lanes may hold.
pub(super) const STUCK_MEMORY: usize = 4 << 20;
/// For how long they may.
const PATIENCE: Duration = Duration::from_secs(5);
/// The same with collections that have been set aside before: all others wait meanwhile.
const SHORT_PATIENCE: Duration = Duration::from_secs(1);
/// The first pause before a channel is read again for what was set aside; the pauses double.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
/// The longest one.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// A collection that has not been set aside again for so long begins with the first pause.
const FORGETS: Duration = Duration::from_secs(600);

/// What the catalog says of a collection whose rows come from the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Readiness {
    /// Calls for it may start.
    Ready,
    /// They may not.
    NotReady,
}

/// Why nothing of a collection can start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum StuckReason {
    /// Its calls fail.
    Calls(String),
    /// The catalog has not made it ready, or changes it.
    NotReady,
    /// Its next rows are of a partition or a field that is not known on the target.
    PartUnknown,
}

impl StuckReason {
    /// For a person.
    pub(super) fn text(self, name: &str) -> String {
        match self {
            StuckReason::Calls(why) => why,
            StuckReason::NotReady => format!("{name} is not ready on the target: its rows are read again when it is"),
            StuckReason::PartUnknown => {
                format!("{name} has rows of a partition or a field that the target lacks: they are read again later")
            }
        }
    }
}

/// The queued rows of a collection of which nothing can start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StuckRows {
    pub(super) id: CollectionId,
    pub(super) bytes: usize,
    pub(super) why: StuckReason,
}

/// All collections that are set aside.
#[derive(Debug, Default)]
pub(super) struct AsideCollections {
    by_id: BTreeMap<CollectionId, Aside>,
    /// Those that have been set aside before: their last pause, and when it began.
    pauses: BTreeMap<CollectionId, LastPause>,
    /// Since when stuck rows have taken too much.
    stuck_since: Option<Instant>,
}

#[derive(Debug)]
struct Aside {
    why: String,
    since: Timestamp,
    /// When it is tried again.
    due: Instant,
}

#[derive(Debug, Clone, Copy)]
struct LastPause {
    pause: Duration,
    began: Instant,
}

impl AsideCollections {
    /// Those to set aside now, the largest first: stuck rows have taken too much for too long.
    pub(super) fn choose(&mut self, stuck: Vec<StuckRows>, now: Instant) -> Vec<StuckRows> {
        let bytes: usize = stuck.iter().map(|rows| rows.bytes).sum();
        if bytes < STUCK_MEMORY {
            self.calm_down();
            return Vec::new();
        }
        let since = *self.stuck_since.get_or_insert(now);
        let was_aside = stuck.iter().all(|rows| self.pauses.contains_key(&rows.id));
        let patience = if was_aside { SHORT_PATIENCE } else { PATIENCE };
        if now.saturating_duration_since(since) < patience {
            return Vec::new();
        }
        self.calm_down();
        // Until they take less than that.
        largest_beyond(STUCK_MEMORY - 1, stuck, |rows| rows.bytes)
    }

    /// Stuck rows do not take too much: their time begins anew when they do.
    pub(super) fn calm_down(&mut self) {
        self.stuck_since = None;
    }

    /// A collection is set aside.
    pub(super) fn insert(&mut self, id: CollectionId, why: String, now: Instant) {
        let before = self.pauses.get(&id).filter(|last| now.saturating_duration_since(last.began) < FORGETS);
        let pause = before.map_or(FIRST_PAUSE, |last| (last.pause * 2).min(LONGEST_PAUSE));
        self.pauses.insert(id, LastPause { pause, began: now });
        self.by_id.insert(id, Aside { why, since: Timestamp::now(), due: now + pause });
    }

    pub(super) fn has(&self, id: CollectionId) -> bool {
        self.by_id.contains_key(&id)
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Those to try again: they are set aside no more.
    pub(super) fn take_due(&mut self, may_start: impl Fn(CollectionId) -> bool, now: Instant) -> Vec<CollectionId> {
        let is_due = |id: &CollectionId, aside: &mut Aside| aside.due <= now && may_start(*id);
        self.by_id.extract_if(.., |id, aside| is_due(id, aside)).map(|(id, _)| id).collect()
    }

    /// Those that calls may start for need not wait out their pauses.
    pub(super) fn hurry(&mut self, now: Instant) {
        self.by_id.values_mut().for_each(|aside| aside.due = aside.due.min(now));
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = CollectionId> {
        self.by_id.keys().copied()
    }

    /// Nothing of the collection need be read again.
    pub(super) fn forget(&mut self, id: CollectionId) {
        self.by_id.remove(&id);
        self.pauses.remove(&id);
    }

    /// Why the collection is set aside, and since when; `None` when it is not.
    pub(super) fn detail(&self, id: CollectionId) -> Option<HoldDetail> {
        let aside = self.by_id.get(&id)?;
        Some(HoldDetail { why: format!("set aside: {}", aside.why), since_ms: aside.since.physical_ms() })
    }

    /// Why each is set aside.
    pub(super) fn reasons(&self) -> impl Iterator<Item = &String> {
        self.by_id.values().map(|aside| &aside.why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: CollectionId = CollectionId(1);
    const B: CollectionId = CollectionId(2);

    fn stuck(sizes: &[(CollectionId, usize)]) -> Vec<StuckRows> {
        sizes.iter().map(|&(id, bytes)| StuckRows { id, bytes, why: StuckReason::NotReady }).collect()
    }

    fn chosen(aside: &mut AsideCollections, sizes: &[(CollectionId, usize)], now: Instant) -> Vec<CollectionId> {
        aside.choose(stuck(sizes), now).into_iter().map(|rows| rows.id).collect()
    }

    #[test]
    fn the_largest_go_when_they_have_been_in_the_way_for_a_time() {
        let (mut aside, start) = (AsideCollections::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let both = [(A, STUCK_MEMORY / 2), (B, STUCK_MEMORY)];
        assert!(chosen(&mut aside, &both, at(0)).is_empty() && chosen(&mut aside, &both, at(4)).is_empty());
        assert!(chosen(&mut aside, &[(A, STUCK_MEMORY - 1)], at(5)).is_empty(), "there is room");
        assert!(chosen(&mut aside, &both, at(6)).is_empty(), "its time begins anew");
        assert_eq!(chosen(&mut aside, &both, at(11)), [B], "what is left is little enough");
        assert!(chosen(&mut aside, &both, at(12)).is_empty());
        aside.calm_down();
        assert!(chosen(&mut aside, &both, at(20)).is_empty(), "there was room since");
        aside.insert(B, "quota".into(), at(11));
        assert!(aside.has(B) && !aside.has(A) && aside.len() == 1);
        assert_eq!(aside.detail(B).unwrap().why, "set aside: quota");
    }

    #[test]
    fn they_are_tried_again_with_growing_pauses() {
        let (mut aside, mut now) = (AsideCollections::default(), Instant::now());
        for pause in [FIRST_PAUSE, FIRST_PAUSE * 2, FIRST_PAUSE * 4] {
            aside.insert(A, "quota".into(), now);
            assert!(aside.take_due(|_| true, now + pause - Duration::from_millis(1)).is_empty());
            assert!(aside.take_due(|_| false, now + pause).is_empty(), "nothing of it can start");
            now += pause;
            assert_eq!(aside.take_due(|_| true, now), [A]);
        }
        assert!(chosen(&mut aside, &[(A, STUCK_MEMORY)], now).is_empty());
        assert_eq!(chosen(&mut aside, &[(A, STUCK_MEMORY)], now + SHORT_PATIENCE), [A]);
        aside.insert(A, "quota".into(), now + FORGETS);
        assert_eq!(aside.take_due(|_| true, now + FORGETS + FIRST_PAUSE), [A], "that was long ago");
    }
}
