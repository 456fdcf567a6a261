/*!
Which backfills and rescans are queued, running or waiting.

```text
 wanted ─ no call of the collection under way ─▶ queued ─ a thread is free ─▶ running ─▶ ended
                                                   ▲                           │
                                                   └── a second later ── waiting (the collection cannot be read yet)
```

One that is running stays until its end is reported, even if its collection has gone: nothing else may be done with
the collection before.
*/

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use super::backfill::{Against, BackfillJob, THREADS};
use super::described::Described;
use super::effect::{Effect, Effects};
use crate::domain::{CollectionId, CollectionName};
use crate::task::detail::CopyDetail;

/// How often collections that cannot be read yet are looked at.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The backfills of one task.
#[derive(Debug, Default)]
pub(super) struct BackfillQueue {
    /// Collections to backfill as soon as no call for them is under way.
    wanted: Vec<CollectionId>,
    active: BTreeMap<CollectionId, Active>,
    /// Waiting for a thread. At most one per collection.
    queued: VecDeque<CollectionId>,
    /// Cannot be read yet: when they are looked at again.
    later: Vec<Later>,
    /// How many of `active` are with a thread.
    running: usize,
    /// Steps that fail and are tried again, by collection.
    errors: BTreeMap<CollectionId, String>,
}

#[derive(Debug)]
struct Active {
    job: BackfillJob,
    place: Place,
    cancelled: bool,
    waiting: Option<String>,
    rows: u64,
    total: Option<u64>,
}

/// Where a backfill is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// With us, queued or waiting.
    Here,
    /// With a thread.
    Thread,
}

#[derive(Debug)]
struct Later {
    at: Instant,
    id: CollectionId,
}

impl BackfillQueue {
    /// A backfill of the collection is to start as soon as it can.
    pub(super) fn want(&mut self, id: CollectionId) {
        if !self.wanted.contains(&id) {
            self.wanted.push(id);
        }
    }

    /// Takes those that are wanted.
    pub(super) fn take_wanted(&mut self) -> Vec<CollectionId> {
        std::mem::take(&mut self.wanted)
    }

    /// Queues a job.
    pub(super) fn start(&mut self, job: BackfillJob) {
        let id = job.info.id;
        let place = Place::Here;
        self.active.insert(id, Active { job, place, cancelled: false, waiting: None, rows: 0, total: None });
        self.queued.push_back(id);
    }

    /// The catalog has described a collection again. A backfill that waits goes on with that: with a partition that
    /// has gone since, it would wait for ever.
    pub(super) fn renew(&mut self, id: CollectionId, ready: &Described) {
        if let Some(active) = self.active.get_mut(&id) {
            active.job.info = ready.info.clone();
            active.job.source = ready.source.clone();
        }
    }

    /// Hands over what the threads have room for.
    pub(super) fn hand_over(&mut self, now: Instant, effects: &mut Effects) {
        if !self.later.is_empty() {
            let (due, later): (Vec<Later>, Vec<Later>) =
                std::mem::take(&mut self.later).into_iter().partition(|later| later.at <= now);
            self.later = later;
            self.queued.extend(due.into_iter().map(|later| later.id));
        }
        while self.running < THREADS {
            let Some(id) = self.queued.pop_front() else { return };
            let Some(active) = self.active.get_mut(&id) else { continue };
            active.place = Place::Thread;
            self.running += 1;
            effects.push(Effect::StartBackfill(Box::new(active.job.clone())));
        }
    }

    /// Ends a backfill soon; a running one stays active until it has.
    pub(super) fn cancel(&mut self, id: CollectionId, effects: &mut Effects) {
        let Some(active) = self.active.get_mut(&id) else { return };
        active.cancelled = true;
        match active.place {
            Place::Here => self.forget(id),
            Place::Thread => effects.push(Effect::CancelBackfill(id)),
        }
    }

    /// The collection is gone.
    pub(super) fn remove(&mut self, id: CollectionId, effects: &mut Effects) {
        self.cancel(id, effects);
        self.wanted.retain(|wanted| *wanted != id);
        self.errors.remove(&id);
    }

    pub(super) fn is_active(&self, id: CollectionId) -> bool {
        self.active.contains_key(&id)
    }

    /// Whether a thread works on the collection.
    pub(super) fn is_running(&self, id: CollectionId) -> bool {
        self.active.get(&id).is_some_and(|active| active.place == Place::Thread)
    }

    #[cfg(test)]
    pub(super) fn is_cancelled(&self, id: CollectionId) -> bool {
        self.active.get(&id).is_some_and(|active| active.cancelled)
    }

    /// Whether rows of the collection are being copied.
    pub(super) fn is_under_way(&self, id: CollectionId) -> bool {
        self.active.get(&id).is_some_and(|active| active.waiting.is_none())
    }

    /// It has ended.
    pub(super) fn forget(&mut self, id: CollectionId) {
        if self.active.remove(&id).is_some_and(|active| active.place == Place::Thread) {
            self.running -= 1;
        }
        self.queued.retain(|queued| *queued != id);
        self.later.retain(|later| later.id != id);
    }

    /// It has come back from its thread and is looked at again later.
    pub(super) fn set_waiting(&mut self, id: CollectionId, why: String, now: Instant) {
        let Some(active) = self.active.get_mut(&id) else { return };
        if active.cancelled {
            return self.forget(id);
        }
        active.waiting = Some(why);
        if std::mem::replace(&mut active.place, Place::Here) == Place::Thread {
            self.running -= 1;
        }
        self.later.push(Later { at: now + LOOK_AGAIN, id });
    }

    pub(super) fn set_progress(&mut self, id: CollectionId, rows: u64) {
        if let Some(active) = self.active.get_mut(&id) {
            active.waiting = None;
            active.rows = rows;
        }
    }

    pub(super) fn set_total(&mut self, id: CollectionId, total: u64) {
        if let Some(active) = self.active.get_mut(&id) {
            active.total = Some(total);
        }
    }

    pub(super) fn set_error(&mut self, id: CollectionId, why: String) {
        self.errors.insert(id, why);
    }

    pub(super) fn clear_error(&mut self, id: CollectionId) {
        self.errors.remove(&id);
    }

    /// Steps that fail and are tried again.
    pub(super) fn errors(&self) -> impl Iterator<Item = &String> {
        self.errors.values()
    }

    /// Whether what is at work on the collection is a backfill that people want to know of, and not a rescan that
    /// looks for changes.
    pub(super) fn is_shown(&self, id: CollectionId) -> bool {
        self.active.get(&id).is_some_and(|active| !active.is_rescan())
    }

    /// What the backfills are at, for people and metrics.
    pub(super) fn progress(&self) -> Vec<CopyDetail> {
        let one = |active: &Active| CopyDetail {
            collection: active.job.source.to_string(),
            rows: active.rows,
            total: active.total,
            waiting: active.waiting.clone(),
        };
        let shown = |active: &&Active| !active.is_rescan() || active.waiting.is_some();
        self.active.values().filter(shown).map(one).collect()
    }

    /// Whether rows are being copied now, other than in rescans.
    pub(super) fn is_copying(&self) -> bool {
        self.active.values().any(|active| active.waiting.is_none() && !active.is_rescan())
    }

    /// What backfills wait for or have reached, for the task's reason.
    pub(super) fn reasons(&self) -> impl Iterator<Item = String> {
        let line = |active: &Active| match &active.waiting {
            Some(why) => Some(why.clone()),
            None if active.is_rescan() => None,
            None => {
                let CollectionName { db, name } = &active.job.source;
                let of = active.total.map(|total| format!("of {total} rows")).unwrap_or_else(|| "rows so far".into());
                Some(format!("copying {db}.{name}: {} {of}", active.rows))
            }
        };
        self.active.values().filter_map(line)
    }
}

impl Active {
    fn is_rescan(&self) -> bool {
        self.job.against == Against::State
    }
}
