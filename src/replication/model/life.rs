//! One life of the process: the real loop, and a world that carries its effects out when the test wants it.

mod drained;
mod loss;
mod parted;
mod wishes;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, bounded};

use self::loss::Loss;
use super::described::{PARTITION, ready};
use super::history::{Message, Row};
use super::job::{Job, Report};
use super::world::{World, channel};
use crate::catalog::{CallsInFlight, CatalogEvent, HeldCollection, Hint};
use crate::domain::{Body, CollectionId, Delete, Insert, Keys, LogKind, Position, Record, Timestamp};
use crate::milvus::field_data::testing::longs;
use crate::pipeline::{Call, CallId};
use crate::replication::backfill::BackfillEvent;
use crate::replication::checkpoint::CollectionCheckpoint;
use crate::replication::collection_state::JoinPoints;
use crate::replication::effect::{Effect, Executor, OnceSaved};
use crate::replication::event::{Event, Takes};
use crate::replication::log_question::{Beginning, LogAnswer, LogQuestion, Tails};
use crate::replication::model::restored;
use crate::replication::task_loop::TaskLoop;
use crate::sink::{CallAttempt, CallFailure, CallOutcome, PoolEvent, TargetReach};
use crate::source::{LogError, ReaderEvent, Start};
use crate::task::role::Errand;

/// The world of one life.
pub(super) struct Fake {
    pub(super) world: World,
    pub(super) calls: Vec<CallAttempt>,
    pub(super) questions: VecDeque<LogQuestion>,
    pub(super) jobs: Vec<Job>,
    /// Outcomes of writes that the loop has not been told.
    saved: VecDeque<Result<(), String>>,
    reader: Option<Cursor>,
    /// The last question to the catalog.
    question: u64,
    blocks: Vec<(CollectionId, Receiver<()>)>,
    /// Collections that the catalog is changing.
    changing: BTreeSet<CollectionId>,
    /// Calls that give up.
    cancelled: BTreeSet<CallId>,
}

struct Cursor {
    next: usize,
    epoch: u64,
}

/// When the process dies.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fuse {
    /// After so many effects.
    pub(super) after: usize,
    /// Each bit says whether a call in flight had been carried out.
    pub(super) carried_out: u32,
}

pub(super) struct Life {
    pub(super) fake: Fake,
    task: TaskLoop,
    now: Instant,
    errand: Errand,
    fuse: Option<Fuse>,
    described: BTreeSet<CollectionId>,
    /// What the catalog does about those that were lost on the target.
    losses: BTreeMap<CollectionId, Loss>,
    /// Collections of which the task has been told that rows went.
    told_parted: BTreeMap<CollectionId, Receiver<()>>,
}

impl Executor for Fake {
    fn carry_out(&mut self, effect: Effect) -> Option<Event> {
        match effect {
            Effect::Seek(seek) if seek.channel == channel() => {
                let next = seek.from.map_or(self.world.first(), |from| from.number() as usize);
                self.reader = Some(Cursor { next, epoch: seek.epoch });
            }
            Effect::Save { checkpoint, then } => {
                if self.world.disk_is_full {
                    self.saved.push_back(Err("full".into()));
                    return None;
                }
                self.world.checkpoint = Some(*checkpoint);
                for once in then {
                    match once {
                        OnceSaved::AnswerBackfill { reply, starts } => drop(reply.send(starts)),
                        OnceSaved::AnswerCatalog(reply) => drop(reply.send(())),
                        OnceSaved::AnswerOrder { reply, outcome } => drop(reply.send(Ok(outcome))),
                        OnceSaved::ForgetBackfillProgress(id) | OnceSaved::ForgetBackfillFiles(id) => {
                            self.world.forget_copy(id);
                        }
                    }
                }
                self.saved.push_back(Ok(()));
            }
            Effect::Send(attempt) => {
                assert!(!self.changing.contains(&attempt.call().collection.id), "sent while the catalog is at work");
                self.calls.push(*attempt);
            }
            Effect::CancelCallsOf(id) => {
                let calls = self.calls.iter().map(CallAttempt::call).filter(|call| call.collection.id == id);
                self.cancelled.extend(calls.map(|call| call.id));
            }
            Effect::StartBackfill(job) => {
                assert!(!self.changing.contains(&job.info.id), "copied while the catalog is at work");
                self.jobs.push(Job::new(*job));
            }
            Effect::CancelBackfill(id) => self.jobs.iter_mut().filter(|job| job.id() == id).for_each(Job::cancel),
            Effect::Hint(Hint::Collection(_, question)) => self.question = self.question.max(question),
            Effect::AskLog(question) => self.questions.push_back(question),
            Effect::AnswerBlock(answer) => {
                let _ = answer.send(());
                self.check_blocks();
            }
            Effect::Seek(_)
            | Effect::CancelCalls
            | Effect::Hint(_)
            | Effect::TellRepaired(_)
            | Effect::History { .. }
            | Effect::Count(_)
            | Effect::Publish(_) => {}
        }
        None
    }
}

impl Fake {
    fn new(world: World) -> Fake {
        Fake {
            world,
            calls: Vec::new(),
            questions: VecDeque::new(),
            jobs: Vec::new(),
            saved: VecDeque::new(),
            reader: None,
            question: 0,
            blocks: Vec::new(),
            changing: BTreeSet::new(),
            cancelled: BTreeSet::new(),
        }
    }

    /// The catalog renames what it was told is not in use.
    fn check_blocks(&mut self) {
        let Fake { blocks, changing, calls, jobs, .. } = self;
        blocks.retain(|(id, answered)| {
            let is_answered = answered.try_recv().is_ok();
            let is_busy =
                calls.iter().any(|it| it.call().collection.id == *id) || jobs.iter().any(|job| job.id() == *id);
            assert!(!is_answered || !is_busy, "answered while a call is in flight");
            if is_answered {
                changing.insert(*id);
            }
            !is_answered
        });
    }

    /// What the log answers.
    fn answer(&self, question: LogQuestion, works: bool) -> LogAnswer {
        let down = || LogError { place: "log".into(), cause: std::sync::Arc::from(Box::from("down")) };
        let start = || works.then(|| self.world.shortly_before_tail()).ok_or_else(down);
        match question {
            LogQuestion::RequestsEnd(_) => LogAnswer::RequestsEnd(works.then_some(None).ok_or_else(down)),
            LogQuestion::AfterGap { channel, epoch } => LogAnswer::AfterGap { channel, epoch, start: start() },
            LogQuestion::BackfillStarts { id, channels, reply } => {
                let starts = start().map(|start| channels.into_iter().map(|channel| (channel, start)).collect());
                LogAnswer::BackfillStarts { id, starts, reply }
            }
            LogQuestion::Join(question) => {
                let is_asked = matches!(question.beginning, Beginning::Asked { .. });
                let position = self.world.collection_start(question.id).filter(|_| is_asked);
                let one = |position| BTreeMap::from([(channel(), Start { position, after: Timestamp::ZERO })]);
                let tails = match question.tails {
                    Tails::Asked => BTreeMap::from([(channel(), self.world.tail())]),
                    Tails::NotAsked => BTreeMap::new(),
                };
                let points = JoinPoints { starts: position.map(|position| one(Some(position))), tails };
                let points = works.then_some(points).ok_or_else(down);
                LogAnswer::Join { id: question.id, number: question.number, points }
            }
        }
    }

    /// What the log's reader reports next; at most `limit` messages. The rest may not have been written yet.
    fn read(&mut self, limit: usize, is_rest_written: bool) -> Option<ReaderEvent> {
        let Cursor { next, epoch } = self.reader.as_mut()?;
        let (channel, epoch) = (channel(), *epoch);
        if *next < self.world.first() {
            self.reader = None;
            return Some(ReaderEvent::Gap { channel, epoch });
        }
        let end = self.world.written().min(*next + limit);
        let records: Vec<Record> = (*next..end).map(|index| record(self.world.message(index), index)).collect();
        *next = end.max(*next);
        let at_tail = *next >= self.world.written() || !is_rest_written;
        (!records.is_empty()).then_some(ReaderEvent::Records { channel, epoch, records, at_tail })
    }
}

fn record(message: &Message, index: usize) -> Record {
    let (ts, body) = match *message {
        Message::Tick(ts) => (ts, Body::Tick { resume: None }),
        Message::Insert { ts, id, row: Row { key, version }, half } => {
            let columns = vec![longs("id", &[key]), longs("version", &[version])];
            let row_id = Some(ts as i64);
            (ts, Body::Insert(Insert { collection: id, partition: PARTITION, rows: 1, columns, half, row_id }))
        }
        Message::Delete { ts, id, key } => {
            (ts, Body::Delete(Delete { collection: id, partition: PARTITION, keys: Keys::Int(vec![key]) }))
        }
    };
    let position = Position::at(index as u64);
    Record { position, begin: Timestamp(ts), end: Timestamp(ts), mark: None, body }
}

impl Life {
    pub(super) fn begin(world: World, now: Instant) -> Life {
        Life::begin_on(world, now, Errand::Follow)
    }

    fn begin_on(world: World, now: Instant, errand: Errand) -> Life {
        let saved = world.checkpoint.clone().unwrap_or_default();
        let task = TaskLoop::new(restored(&saved, LogKind::RocksMq, None, now).sent_to(errand));
        let (described, losses, told_parted) = Default::default();
        let mut life = Life { fake: Fake::new(world), task, now, errand, fuse: None, described, losses, told_parted };
        life.task.begin();
        life.pump();
        life
    }

    /// One event is handled, and its effects are carried out until the process dies.
    pub(super) fn feed(&mut self, event: Event) {
        if self.is_dead() {
            return;
        }
        self.task.handle(event, self.now);
        self.pump();
    }

    fn pump(&mut self) {
        loop {
            if self.is_dead() {
                return;
            }
            let Some(effect) = self.task.next_effect() else { return };
            if let Some(outcome) = self.fake.carry_out(effect) {
                self.task.handle(outcome, self.now);
            }
            if let Some(fuse) = &mut self.fuse {
                fuse.after -= 1;
            }
        }
    }

    pub(super) fn light(&mut self, fuse: Fuse) {
        self.fuse.get_or_insert(fuse);
    }

    /// Nothing more goes wrong.
    pub(super) fn put_out(&mut self) {
        self.fuse = None;
    }

    pub(super) fn is_dead(&self) -> bool {
        self.fuse.is_some_and(|fuse| fuse.after == 0)
    }

    /// Dead, or stopped in order.
    pub(super) fn is_over(&self) -> bool {
        self.is_dead() || self.task.end().is_some()
    }

    /// What has died leaves the world behind, and perhaps what was on its way there.
    pub(super) fn restart(self) -> Life {
        let errand = self.errand;
        self.restart_on(errand)
    }

    pub(super) fn restart_on(self, errand: Errand) -> Life {
        let carried_out = self.fuse.map_or(0, |fuse| fuse.carried_out);
        let is_set = |index: usize| carried_out >> (index % 32) & 1 == 1;
        let Fake { mut world, calls, jobs, .. } = self.fake;
        calls.iter().enumerate().filter(|(index, _)| is_set(*index)).for_each(|(_, it)| world.carry_out(it.call()));
        jobs.iter().enumerate().filter(|(index, _)| is_set(index + 7)).for_each(|(_, job)| job.write(&mut world));
        Life::begin_on(world, self.now, errand)
    }

    fn is_closing(&self) -> bool {
        self.task.takes() == Takes::CallsOnly
    }

    fn takes(&self, event: &Event) -> bool {
        match self.task.takes() {
            Takes::Everything => true,
            Takes::EverythingButRecords => !matches!(event, Event::Log(_)),
            Takes::CallsOnly => matches!(event, Event::Sink(_) | Event::Saved(_) | Event::Heartbeat),
        }
    }

    fn feed_if_taken(&mut self, event: Event) {
        if self.takes(&event) {
            self.feed(event);
        }
    }

    pub(super) fn read(&mut self, limit: usize) {
        if self.task.takes() == Takes::Everything
            && let Some(event) = self.fake.read(limit, limit.is_multiple_of(2) || self.errand != Errand::Follow)
        {
            self.feed(Event::Log(event));
        }
    }

    /// A call ends well, or gives up when it was told to. What is lost on the target is asked for again and again.
    pub(super) fn acknowledge(&mut self, which: usize) {
        if !self.fake.calls.is_empty() {
            let call = self.fake.calls[which % self.fake.calls.len()].call();
            let is_lost = self.fake.world.is_lost(call.collection.id);
            let is_cancelled = self.fake.cancelled.contains(&call.id) || is_lost && self.is_closing();
            if is_lost && !is_cancelled {
                return self.postpone(which, true);
            }
            let attempt = self.fake.calls.swap_remove(which % self.fake.calls.len());
            if !is_cancelled || which.is_multiple_of(2) {
                self.fake.world.carry_out(attempt.call());
            }
            let outcome = if is_cancelled { CallOutcome::Cancelled } else { CallOutcome::Done };
            self.end(attempt.call(), outcome);
        }
    }

    fn end(&mut self, call: &Call, outcome: CallOutcome) {
        let (collection, call) = (call.collection.id, call.id);
        self.feed(Event::Sink(PoolEvent::Ended { collection, call, outcome }));
    }

    /// A call is carried out, its answer is lost, and it is to be tried again.
    pub(super) fn lose_answer(&mut self, which: usize) {
        if !self.fake.calls.is_empty() {
            self.fake.world.carry_out(self.fake.calls[which % self.fake.calls.len()].call());
            self.postpone(which, false);
        }
    }

    /// At once, or in a second or two. (One that was cancelled may have failed before it was.)
    fn postpone(&mut self, which: usize, is_missing: bool) {
        let mut attempt = self.fake.calls.swap_remove(which % self.fake.calls.len());
        if self.fake.cancelled.contains(&attempt.call().id) && which.is_multiple_of(2) {
            return self.end(attempt.call(), CallOutcome::Cancelled);
        }
        attempt.may_have_had_effect();
        let failure = CallFailure { why: "no answer".into(), is_missing, reach: TargetReach::Answers };
        let due = self.now + Duration::from_secs(which as u64 % 3);
        self.feed(Event::Sink(PoolEvent::Postponed(Box::new(attempt.postponed(due, Some(failure))))));
    }

    pub(super) fn answer_question(&mut self, works: bool) {
        if let Some(question) = self.fake.questions.pop_front() {
            let answer = self.fake.answer(question, works);
            self.feed_if_taken(Event::LogAnswer(answer));
        }
    }

    pub(super) fn tell_saved(&mut self) {
        if let Some(outcome) = self.fake.saved.pop_front() {
            self.feed(Event::Saved(outcome));
        }
    }

    pub(super) fn heartbeat(&mut self) {
        self.now += Duration::from_secs(1);
        self.feed(Event::Heartbeat);
    }

    /// The catalog describes a collection.
    pub(super) fn describe(&mut self, id: CollectionId) {
        self.tell_parted(id);
        if self.fake.world.is_lost(id) {
            self.create_again(id);
        } else if self.fake.world.exists(id) && !self.fake.blocks.iter().any(|(blocked, _)| *blocked == id) {
            self.described.insert(id);
            self.fake.changing.remove(&id);
            let ready = Box::new(ready(id, self.fake.question));
            self.feed_if_taken(Event::Catalog(CatalogEvent::Ready(ready)));
        }
    }

    /// The catalog does not find a collection that the task does not have.
    pub(super) fn miss(&mut self, id: CollectionId) {
        if !self.described.contains(&id) && !self.is_known(id) {
            self.feed_if_taken(Event::Catalog(CatalogEvent::Absent(id)));
        }
    }

    /// Whether a restart would know the collection.
    fn is_known(&self, id: CollectionId) -> bool {
        self.fake.world.checkpoint.as_ref().is_some_and(|saved| saved.collections.contains_key(&id.0))
    }

    /// The catalog wants to rename a collection, or to drop something of it; its next description ends that.
    pub(super) fn block(&mut self, id: CollectionId, calls: CallsInFlight) {
        if self.described.contains(&id) && self.fake.blocks.is_empty() && !self.fake.world.is_lost(id) {
            self.ask_to_block(id, calls);
        }
    }

    fn ask_to_block(&mut self, id: CollectionId, calls: CallsInFlight) {
        let (answer, answered) = bounded(1);
        self.fake.blocks.push((id, answered));
        self.feed_if_taken(Event::Catalog(CatalogEvent::Block { id, calls, answer }));
    }

    /// The catalog cannot carry the collection over; its next description ends that.
    pub(super) fn hold(&mut self, id: CollectionId) {
        let held = HeldCollection { id, source: format!("d.n{id}"), why: "other schema".into(), adopted: false };
        self.feed_if_taken(Event::Catalog(CatalogEvent::Held(held)));
    }

    /// Nothing of the collection can be applied for long.
    pub(super) fn set_aside(&mut self, id: CollectionId) {
        if !self.is_dead() && !self.is_closing() {
            self.task.set_aside(id);
            self.heartbeat();
        }
    }

    /// The target carries out a call and refuses it nevertheless, as it does with one that it takes in parts.
    pub(super) fn refuse(&mut self, which: usize) {
        if !self.fake.calls.is_empty() {
            let attempt = self.fake.calls.swap_remove(which % self.fake.calls.len());
            self.fake.world.carry_out(attempt.call());
            self.end(attempt.call(), CallOutcome::Refused("refused".into()));
        }
    }

    /// A backfill goes on by one step.
    pub(super) fn step_backfill(&mut self, which: usize) {
        if self.fake.jobs.is_empty() || self.task.takes() == Takes::CallsOnly {
            return;
        }
        let index = which % self.fake.jobs.len();
        let Fake { world, jobs, .. } = &mut self.fake;
        let event: Option<BackfillEvent> = match jobs[index].step(world) {
            Report::Nothing => None,
            Report::Event(event) => Some(event),
            Report::End(event) => {
                self.fake.jobs.swap_remove(index);
                Some(event)
            }
        };
        if let Some(event) = event {
            self.feed(Event::Backfill(event));
        }
    }

    /// It is stopped in order: everything in flight ends, and the bound is settled. Then it begins again.
    pub(super) fn stop(&mut self) {
        self.feed(Event::Stop(self.now + Duration::from_secs(3600)));
        while self.task.end().is_none() && !self.is_dead() {
            self.tell_saved();
            self.acknowledge(0);
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        let Fake { calls, questions, jobs, saved, .. } = &self.fake;
        let is_read = self.fake.reader.as_ref().is_some_and(|reader| reader.next >= self.fake.world.written());
        let checkpoint = self.fake.world.checkpoint.as_ref();
        let is_streaming = |it: &CollectionCheckpoint| matches!(it, CollectionCheckpoint::Streaming { .. });
        // What is held is compared, as soon as it is tried again.
        let is_held = checkpoint.is_some_and(|checkpoint| !checkpoint.collections.values().all(is_streaming));
        // What the log could not answer for is asked about again.
        let has_all = self.described.iter().all(|id| self.is_known(*id));
        let is_whole = !is_held && has_all && !self.task.has_aside() && self.fake.world.is_whole();
        is_read && is_whole && calls.is_empty() && questions.is_empty() && jobs.is_empty() && saved.is_empty()
    }
}
