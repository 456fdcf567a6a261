//! A backfill, as `backfill::reconcile` does it: page by page in the order of the keys, with the keys that a page
//! touches on disk before it is written.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crossbeam_channel::{Receiver, TryRecvError, bounded};

use super::history::{KEYS, Row};
use super::world::{Progress, World};
use crate::domain::{Channel, CollectionId, Timestamp, Write};
use crate::replication::backfill::{
    Against, BackfillDone, BackfillEvent, BackfillJob, BackfillOutcome, Span, SurplusRows,
};
use crate::source::Start;

/// Keys in a page.
const PAGE: i64 = 3;

pub(super) struct Job {
    job: BackfillJob,
    stage: Stage,
    cancelled: bool,
}

enum Stage {
    New,
    Asked(Receiver<BTreeMap<Channel, Start>>),
    Reading(BTreeMap<Channel, Start>),
    /// The keys are on disk, and the page is being written.
    Writing(BTreeMap<Channel, Start>, Page),
}

#[derive(Debug, Default)]
struct Page {
    upserts: Vec<Row>,
    inserts: Vec<Row>,
    removed: Vec<i64>,
    next: i64,
}

pub(super) enum Report {
    Nothing,
    Event(BackfillEvent),
    /// Its thread is free again.
    End(BackfillEvent),
}

impl Job {
    pub(super) fn new(job: BackfillJob) -> Job {
        Job { job, stage: Stage::New, cancelled: false }
    }

    pub(super) fn id(&self) -> CollectionId {
        self.job.info.id
    }

    pub(super) fn cancel(&mut self) {
        self.cancelled = true;
    }

    pub(super) fn step(&mut self, world: &mut World) -> Report {
        let id = self.id();
        if self.cancelled && !self.is_through(world) {
            self.write(world);
            return Report::End(BackfillEvent::Ended(id, BackfillOutcome::Cancelled));
        }
        if matches!(self.stage, Stage::Reading(_)) && world.is_damaged(id) {
            return Report::End(BackfillEvent::Ended(id, BackfillOutcome::StateLost("damaged".into())));
        }
        match std::mem::replace(&mut self.stage, Stage::New) {
            Stage::New => {
                let (answer, answered) = bounded(1);
                self.stage = Stage::Asked(answered);
                Report::Event(BackfillEvent::Began(id, answer))
            }
            Stage::Asked(answered) => match answered.try_recv() {
                Ok(starts) => {
                    self.stage = Stage::Reading(starts);
                    Report::Nothing
                }
                Err(TryRecvError::Empty) => {
                    self.stage = Stage::Asked(answered);
                    Report::Nothing
                }
                Err(TryRecvError::Disconnected) => Report::End(BackfillEvent::Waiting(id, "for the log".into())),
            },
            Stage::Reading(starts) => self.read(starts, world),
            Stage::Writing(starts, page) if world.is_lost(id) => {
                self.stage = Stage::Writing(starts, page);
                Report::Nothing
            }
            Stage::Writing(starts, page) => {
                page.write(id, world);
                if let Some(progress) = world.copies.get_mut(&id) {
                    progress.next = page.next;
                    progress.pending.retain(|key| *key >= page.next);
                }
                self.stage = Stage::Reading(starts);
                Report::Event(BackfillEvent::Progress(id, 1))
            }
        }
    }

    /// It was through before it was cancelled.
    fn is_through(&self, world: &World) -> bool {
        let is_at_end = |progress: &Progress| progress.compares == self.compares() && progress.next >= KEYS;
        matches!(self.stage, Stage::Reading(_)) && world.copies.get(&self.id()).is_some_and(is_at_end)
    }

    fn compares(&self) -> bool {
        self.job.against == Against::Target
    }

    /// What is being written is written.
    pub(super) fn write(&self, world: &mut World) {
        if let Stage::Writing(_, page) = &self.stage {
            page.write(self.id(), world);
        }
    }

    fn read(&mut self, starts: BTreeMap<Channel, Start>, world: &mut World) -> Report {
        let (id, compares) = (self.id(), self.compares());
        let mut progress = world.copies.get(&id).cloned().unwrap_or_default();
        if progress.compares != compares {
            progress = Progress { compares, ..Progress::default() };
        }
        if progress.next >= KEYS {
            progress.done = true;
        }
        if progress.done {
            world.copies.insert(id, progress);
            return Report::End(BackfillEvent::Ended(id, BackfillOutcome::Done(self.done(starts, world))));
        }
        if compares && world.is_lost(id) {
            // It cannot read the target.
            self.stage = Stage::Reading(starts);
            return Report::Nothing;
        }
        let page = self.page(&progress, world);
        let touched = page.upserts.iter().chain(&page.inserts).map(|row| row.key);
        progress.pending.extend(touched.chain(page.removed.iter().copied()));
        world.copies.insert(id, progress);
        self.stage = Stage::Writing(starts, page);
        Report::Nothing
    }

    fn page(&self, progress: &Progress, world: &World) -> Page {
        let (id, compares) = (self.id(), self.compares());
        let mut page = Page { next: progress.next + PAGE, ..Page::default() };
        let is_in = |key: i64| (progress.next..progress.next + PAGE).contains(&key);
        let source: BTreeMap<i64, i64> = world.source_rows(id).into_iter().filter(|(key, _)| is_in(*key)).collect();
        for (&key, &version) in &source {
            let row = Row { key, version };
            let there: Vec<Row> = world.target_rows(id).iter().filter(|row| row.key == key).copied().collect();
            match compares {
                true if there == [row] => {}
                true => page.upserts.push(row),
                false if progress.pending.contains(&key) => page.upserts.push(row),
                false => page.inserts.push(row),
            }
        }
        let there: BTreeSet<i64> = world.target_rows(id).iter().map(|row| row.key).filter(|key| is_in(*key)).collect();
        let removes = compares && self.job.surplus == SurplusRows::Remove;
        let surplus = there.into_iter().filter(|key| !source.contains_key(key));
        page.removed = surplus.filter(|key| removes || progress.pending.contains(key)).collect();
        page
    }

    fn done(&self, starts: BTreeMap<Channel, Start>, world: &World) -> BackfillDone {
        let span = |(channel, start)| (channel, Span { start, until: world.tail() });
        BackfillDone {
            against: self.job.against,
            rows: 0,
            extra: 0,
            began: Timestamp::ZERO,
            took: Duration::ZERO,
            spans: starts.into_iter().map(span).collect(),
            count: None,
            changes: Default::default(),
        }
    }
}

impl Page {
    fn write(&self, id: CollectionId, world: &mut World) {
        world.delete(id, &self.removed);
        world.write(id, Write::Upsert, &self.upserts);
        world.write(id, Write::Insert, &self.inserts);
    }
}
