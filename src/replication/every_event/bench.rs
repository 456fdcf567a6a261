//! The real loop with two collections, and whatever can happen to the first one.

mod checks;

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use crossbeam_channel::bounded;

use crate::catalog::{CallsInFlight, CatalogEvent, HeldCollection, Hint, TargetLoss};
use crate::domain::{
    Body, Channel, CollectionId, CollectionName, Insert, LogKind, PartitionId, Position, Record, Timestamp,
};
use crate::milvus::field_data::testing::longs;
use crate::replication::aside::AsideCollections;
use crate::replication::backfill::{
    Against, BackfillDone, BackfillEvent, BackfillJob, BackfillOutcome, Span, SurplusRows,
};
use crate::replication::checkpoint::{Checkpoint, CollectionCheckpoint};
use crate::replication::collection_state::JoinPoints;
use crate::replication::collections::{Reasons, Rows, Sight};
use crate::replication::effect::{Effect, OnceSaved};
use crate::replication::event::{CollectionOrder, Event, RepairOrder};
use crate::replication::log_question::{LogAnswer, LogQuestion};
use crate::replication::model::{ready, restored};
use crate::replication::reconciliations::Reconciliations;
use crate::replication::task_loop::TaskLoop;
use crate::sink::{CallAttempt, CallFailure, CallOutcome, PoolEvent, TargetReach};
use crate::source::{LogError, ReaderEvent, Start};
use crate::task::collection_request::CollectionWish;

/// The collection that things happen to.
const ID: CollectionId = CollectionId(7);
/// The other one.
const OTHER: CollectionId = CollectionId(8);
const REFUSED: &str = "refused: too many";
const IN_THE_WAY: &str = "another schema";

/// Whether the source has a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Log,
    Scan,
}

macro_rules! happenings {
    ($($name:ident),* $(,)?) => {
        /// What can happen.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum Happening { $($name),* }

        impl Happening {
            pub(super) const ALL: &[Happening] = &[$(Happening::$name),*];
        }
    };
}

happenings! {
    Ready, ReadyOnAnotherChannel, Dropped, Absent, Block, BlockCancelling, Unblock, Compare, Imported, Settled,
    LostGone, LostReplaced, LostWithheld, Held, HeldForAnotherReason, Skipped,
    Insert, LogCompares, LogDrops, LogCreates, LogHasMore, Gap, LogFails, LogRecovers,
    CallDone, CallCancelled, CallRefused, CallFails, SomethingIsDue,
    BackfillBegan, BackfillWaits, BackfillRetries, BackfillProgresses, BackfillDone, BackfillUnchanged,
    BackfillCancelled, BackfillStateLost, BackfillHopeless,
    Repair, Pause, Resume, Resync,
    JoinsLog, JoinsByCopy, JoinFails, CopyStarts, CopyStartsFail,
    Heartbeat, AnHourPasses, SaveFails, Restart,
}

pub(super) struct Bench {
    kind: Kind,
    task: TaskLoop,
    now: Instant,
    /// The last question to the catalog.
    asked: u64,
    questions: VecDeque<LogQuestion>,
    calls: Vec<CallAttempt>,
    job: Option<BackfillJob>,
    /// It was told to give up.
    is_cancelled: bool,
    epochs: BTreeMap<Channel, u64>,
    /// The next message of the log.
    next: u64,
    checkpoint: Checkpoint,
    disk_is_full: bool,
    /// Whose calls and backfills were begun by what happened last.
    begun: Vec<CollectionId>,
}

fn channel_of(id: CollectionId) -> Channel {
    Channel::new(if id == ID { "c" } else { "d" })
}

fn is_its(attempt: &CallAttempt) -> bool {
    attempt.call().collection.id == ID
}

fn none() -> crossbeam_channel::Sender<()> {
    bounded(1).0
}

fn down() -> LogError {
    LogError { place: "log".into(), cause: std::sync::Arc::from(Box::from("down")) }
}

impl Bench {
    /// The other collection follows its log.
    pub(super) fn new(kind: Kind) -> Bench {
        let streams = |name: &str| CollectionCheckpoint::Streaming {
            upsert_until: [(name.to_owned(), None)].into(),
            complete_until: BTreeMap::new(),
        };
        let other = if kind == Kind::Log { streams("d") } else { CollectionCheckpoint::Rescan };
        let channels = if kind == Kind::Log { [("d".to_owned(), Default::default())].into() } else { BTreeMap::new() };
        let checkpoint = Checkpoint { collections: [(OTHER.0, other)].into(), channels, ..Checkpoint::default() };
        Bench::restored(kind, checkpoint, Instant::now())
    }

    fn restored(kind: Kind, checkpoint: Checkpoint, now: Instant) -> Bench {
        let (log_kind, every) = match kind {
            Kind::Log => (LogKind::RocksMq, None),
            Kind::Scan => (LogKind::Scan, Some(Duration::from_secs(3))),
        };
        let task = TaskLoop::new(restored(&checkpoint, log_kind, every.map(Reconciliations::every), now));
        let mut bench = Bench {
            kind,
            task,
            now,
            asked: 0,
            questions: VecDeque::new(),
            calls: Vec::new(),
            job: None,
            is_cancelled: false,
            epochs: BTreeMap::new(),
            next: 0,
            checkpoint,
            disk_is_full: false,
            begun: Vec::new(),
        };
        bench.task.begin();
        bench.pump();
        bench.describe(OTHER, "d");
        bench.begun.clear();
        bench
    }

    pub(super) fn sight(&self) -> Sight {
        let number = |asked: &LogQuestion| match asked {
            LogQuestion::Join(question) => Some(question.number),
            _ => None,
        };
        let question = self.questions.iter().find_map(number).unwrap_or_default();
        self.task.collections().sight(ID, question, self.now)
    }

    pub(super) fn is_active(&self) -> bool {
        self.task.collections().is_active(ID)
    }

    fn feed(&mut self, event: Event) {
        self.task.handle(event, self.now);
        self.pump();
    }

    fn pump(&mut self) {
        while let Some(effect) = self.task.next_effect() {
            match effect {
                Effect::Seek(seek) => drop(self.epochs.insert(seek.channel, seek.epoch)),
                Effect::Save { checkpoint, then } => self.save(*checkpoint, then),
                Effect::Send(attempt) => {
                    self.begun.push(attempt.call().collection.id);
                    self.calls.push(*attempt);
                }
                Effect::StartBackfill(job) => {
                    self.begun.push(job.info.id);
                    if job.info.id == ID {
                        assert!(self.job.is_none(), "two at once");
                        self.job = Some(*job);
                        self.is_cancelled = false;
                    }
                }
                Effect::AskLog(LogQuestion::RequestsEnd(_)) => {}
                Effect::CancelBackfill(id) => self.is_cancelled |= id == ID,
                Effect::AskLog(question) => self.questions.push_back(question),
                Effect::Hint(Hint::Collection(_, question)) => self.asked = self.asked.max(question),
                Effect::CancelCalls
                | Effect::CancelCallsOf(_)
                | Effect::Hint(_)
                | Effect::AnswerBlock(_)
                | Effect::TellRepaired(_)
                | Effect::History { .. }
                | Effect::Count(_)
                | Effect::Publish(_) => {}
            }
        }
    }

    fn save(&mut self, checkpoint: Checkpoint, then: Vec<OnceSaved>) {
        let outcome = if self.disk_is_full { Err("full".to_owned()) } else { Ok(()) };
        if outcome.is_ok() {
            self.checkpoint = checkpoint;
            drop(then);
        }
        self.task.handle(Event::Saved(outcome), self.now);
    }

    /// Whether it can happen now: a backfill that does not run reports nothing.
    pub(super) fn can_happen(&self, happening: Happening) -> bool {
        use Happening::*;
        let asks = |is_it: fn(&LogQuestion) -> bool| self.questions.iter().any(is_it);
        match happening {
            BackfillBegan | BackfillWaits | BackfillRetries | BackfillProgresses | BackfillDone | BackfillStateLost
            | BackfillHopeless => self.job.is_some(),
            BackfillUnchanged => self.job.as_ref().is_some_and(|job| job.against == Against::State),
            BackfillCancelled => self.is_cancelled && self.job.is_some(),
            CallDone | CallCancelled | CallRefused | CallFails => self.calls.iter().any(is_its),
            JoinsLog => self.kind == Kind::Log && asks(|asked| matches!(asked, LogQuestion::Join(_))),
            JoinsByCopy | JoinFails => asks(|asked| matches!(asked, LogQuestion::Join(_))),
            CopyStarts | CopyStartsFail => asks(|asked| matches!(asked, LogQuestion::BackfillStarts { .. })),
            Insert | LogCompares | Gap | ReadyOnAnotherChannel => self.kind == Kind::Log,
            _ => true,
        }
    }

    pub(super) fn happen(&mut self, happening: Happening) {
        use Happening::*;
        self.begun.clear();
        match happening {
            Ready => self.describe(ID, "c"),
            ReadyOnAnotherChannel => self.describe(ID, "e"),
            Insert => self.insert(),
            LogCompares => self.read(Body::Compare { collection: ID, what: "something" }),
            LogDrops => self.read(Body::DropCollection(ID)),
            LogCreates => self.read(Body::CreateCollection(ID)),
            LogHasMore => self.read(Body::Uncarried { collection: ID, what: "something else" }),
            Gap => self.gap(),
            LogFails => self.feed(Event::Log(ReaderEvent::Failing(down()))),
            LogRecovers => self.feed(Event::Log(ReaderEvent::Recovered)),
            CallDone => self.end_call(CallOutcome::Done),
            CallCancelled => self.end_call(CallOutcome::Cancelled),
            CallRefused => self.end_call(CallOutcome::Refused(REFUSED.into())),
            CallFails => self.postpone_call(),
            SomethingIsDue => self.feed(Event::Due),
            Repair => self.repair(),
            Pause => self.wish(CollectionWish::Pause),
            Resume => self.wish(CollectionWish::Resume),
            Resync => self.wish(CollectionWish::Resync),
            JoinsLog | JoinsByCopy | JoinFails | CopyStarts | CopyStartsFail => self.answer(happening),
            Heartbeat => self.feed(Event::Heartbeat),
            AnHourPasses => {
                self.now += Duration::from_secs(3600);
                self.feed(Event::Heartbeat);
            }
            SaveFails => {
                self.disk_is_full = true;
                self.feed(Event::Repair(RepairOrder { collections: Vec::new(), done: none() }));
                self.disk_is_full = false;
                self.now += Duration::from_secs(2);
                self.feed(Event::Log(ReaderEvent::Recovered));
            }
            Restart => *self = self.restarted(),
            _ if self.backfill_event(happening).is_some() => self.report(happening),
            _ => self.tell(happening),
        }
    }

    fn describe(&mut self, id: CollectionId, channel: &str) {
        let mut ready = ready(id, self.asked);
        ready.channels = vec![Channel::new(channel)];
        self.feed(Event::Catalog(CatalogEvent::Ready(Box::new(ready))));
    }

    fn tell(&mut self, happening: Happening) {
        use Happening::*;
        let held = |why: &str| {
            let (source, why) = (format!("d.n{ID}"), why.to_owned());
            CatalogEvent::Held(HeldCollection { id: ID, source, why, adopted: false })
        };
        let lost = |loss| CatalogEvent::Lost { id: ID, loss, noted: none() };
        self.feed(Event::Catalog(match happening {
            Dropped => CatalogEvent::Dropped(ID),
            Absent => CatalogEvent::Absent(ID),
            Block => CatalogEvent::Block { id: ID, calls: CallsInFlight::Awaited, answer: none() },
            BlockCancelling => CatalogEvent::Block { id: ID, calls: CallsInFlight::Cancelled, answer: none() },
            Unblock => CatalogEvent::Unblock(ID),
            Compare => CatalogEvent::Compare(ID, none()),
            Imported => CatalogEvent::Imported { id: ID, rows: 3, answer: none() },
            Settled => CatalogEvent::Settled,
            LostGone => lost(TargetLoss::Gone),
            LostReplaced => lost(TargetLoss::Replaced),
            LostWithheld => lost(TargetLoss::Withheld),
            Held => held(IN_THE_WAY),
            HeldForAnotherReason => held("a partition too many"),
            Skipped => CatalogEvent::Skipped { what: "an index".into(), why: "refused".into() },
            other => panic!("{other:?} is not told by the catalog"),
        }));
    }

    fn record(&mut self, body: Body) -> Record {
        self.next += 1;
        let ts = Timestamp(self.next << 28);
        Record { position: Position::at(self.next), begin: ts, end: ts, mark: None, body }
    }

    fn records(&mut self, bodies: Vec<Body>) {
        let channel = channel_of(ID);
        let Some(&epoch) = self.epochs.get(&channel) else { return };
        let records = bodies.into_iter().map(|body| self.record(body)).collect();
        self.feed(Event::Log(ReaderEvent::Records { channel, epoch, records, at_tail: true }));
    }

    fn read(&mut self, body: Body) {
        self.records(vec![body]);
    }

    fn insert(&mut self) {
        let columns = vec![longs("id", &[1]), longs("version", &[1])];
        let partition = PartitionId(2);
        let insert = Insert { collection: ID, partition, rows: 1, columns, half: false, row_id: Some(1) };
        self.records(vec![Body::Insert(insert), Body::Tick { resume: None }]);
    }

    /// What is to be read next is gone, and the log says where it goes on.
    fn gap(&mut self) {
        let channel = channel_of(ID);
        let Some(&epoch) = self.epochs.get(&channel) else { return };
        self.feed(Event::Log(ReaderEvent::Gap { channel, epoch }));
        let is_it = |asked: &LogQuestion| matches!(asked, LogQuestion::AfterGap { .. });
        if let Some(LogQuestion::AfterGap { channel, epoch }) = self.take_question(is_it) {
            let start = Ok(Start { position: Some(Position::at(self.next)), after: Timestamp::ZERO });
            self.feed(Event::LogAnswer(LogAnswer::AfterGap { channel, epoch, start }));
        }
    }

    fn take_question(&mut self, is_it: impl Fn(&LogQuestion) -> bool) -> Option<LogQuestion> {
        let index = self.questions.iter().position(is_it)?;
        self.questions.remove(index)
    }

    fn end_call(&mut self, outcome: CallOutcome) {
        let Some(index) = self.calls.iter().position(is_its) else { return };
        let call = self.calls.remove(index).call().id;
        self.feed(Event::Sink(PoolEvent::Ended { collection: ID, call, outcome }));
    }

    fn postpone_call(&mut self) {
        let Some(index) = self.calls.iter().position(is_its) else { return };
        let failure = CallFailure { why: "no answer".into(), is_missing: true, reach: TargetReach::Answers };
        let postponed = self.calls.remove(index).postponed(self.now, Some(failure));
        self.feed(Event::Sink(PoolEvent::Postponed(Box::new(postponed))));
    }

    fn repair(&mut self) {
        let collections = vec![CollectionName::new("d", format!("n{ID}"))];
        self.feed(Event::Repair(RepairOrder { collections, done: none() }));
    }

    fn wish(&mut self, wish: CollectionWish) {
        let (reply, _answer) = bounded(1);
        let collection = format!("d.n{ID}");
        self.feed(Event::Collection(CollectionOrder { collection, wish, reply, idle: none() }));
    }

    fn answer(&mut self, happening: Happening) {
        let start = Start { position: Some(Position::at(self.next)), after: Timestamp::ZERO };
        let is_join = matches!(happening, Happening::JoinsLog | Happening::JoinsByCopy | Happening::JoinFails);
        let question = self.take_question(|asked| matches!(asked, LogQuestion::Join(_)) == is_join);
        let answer = match question {
            Some(LogQuestion::Join(question)) => {
                let starts = (happening == Happening::JoinsLog)
                    .then(|| question.channels.iter().map(|channel| (channel.clone(), start)).collect());
                let points = JoinPoints { starts, tails: BTreeMap::new() };
                let points = if happening == Happening::JoinFails { Err(down()) } else { Ok(points) };
                LogAnswer::Join { id: question.id, number: question.number, points }
            }
            Some(LogQuestion::BackfillStarts { id, channels, reply }) => {
                let starts = channels.into_iter().map(|channel| (channel, start)).collect();
                let starts = if happening == Happening::CopyStartsFail { Err(down()) } else { Ok(starts) };
                LogAnswer::BackfillStarts { id, starts, reply }
            }
            other => panic!("{happening:?} answers {other:?}"),
        };
        self.feed(Event::LogAnswer(answer));
    }

    fn backfill_event(&self, happening: Happening) -> Option<BackfillEvent> {
        use Happening::*;
        let why = || "why".to_owned();
        Some(match happening {
            BackfillBegan => BackfillEvent::Began(ID, bounded(1).0),
            BackfillWaits => BackfillEvent::Waiting(ID, why()),
            BackfillRetries => BackfillEvent::Retrying(ID, why()),
            BackfillProgresses => BackfillEvent::Progress(ID, 3),
            BackfillDone => BackfillEvent::Ended(ID, BackfillOutcome::Done(self.done())),
            BackfillUnchanged => BackfillEvent::Ended(ID, BackfillOutcome::Unchanged),
            BackfillCancelled => BackfillEvent::Ended(ID, BackfillOutcome::Cancelled),
            BackfillStateLost => BackfillEvent::Ended(ID, BackfillOutcome::StateLost(why())),
            BackfillHopeless => BackfillEvent::Ended(ID, BackfillOutcome::Hopeless(REFUSED.into())),
            _ => return None,
        })
    }

    fn report(&mut self, happening: Happening) {
        let Some(event) = self.backfill_event(happening) else { return };
        if matches!(event, BackfillEvent::Ended(..) | BackfillEvent::Waiting(..)) {
            self.job = None;
        }
        self.feed(Event::Backfill(event));
    }

    fn done(&self) -> BackfillDone {
        let span = Span { start: Start { position: None, after: Timestamp::ZERO }, until: None };
        let spans = if self.kind == Kind::Log { BTreeMap::from([(channel_of(ID), span)]) } else { BTreeMap::new() };
        BackfillDone {
            against: self.job.as_ref().map_or(Against::Target, |job| job.against),
            rows: 0,
            extra: 0,
            began: Timestamp::ZERO,
            took: Duration::ZERO,
            spans,
            count: None,
            changes: Default::default(),
        }
    }

    /// It is stopped in order.
    fn restarted(&mut self) -> Bench {
        self.feed(Event::Stop(self.now));
        assert!(self.task.end().is_some(), "it does not end");
        Bench { next: self.next, ..Bench::restored(self.kind, self.checkpoint.clone(), self.now) }
    }

    /// What must be so after everything.
    pub(super) fn check(&self, at: &str) {
        let sight = self.sight();
        let stands_still = sight.blocked || sight.stands || sight.reasons.is_any() || !sight.described;
        if stands_still {
            assert!(!self.begun.contains(&ID), "{at}: something begins, though it is to stand still");
            assert!(self.task.collections().applicable(ID).is_none(), "{at}: its rows would be written");
        }
        let details = self.task.collections().details(&AsideCollections::default());
        let of = |id: CollectionId| details.iter().find(|detail| detail.id == id.0);
        if sight.reasons.is_any() {
            let hold = of(ID).and_then(|detail| detail.hold.as_ref()).expect(at);
            let says = |why: &str| hold.why.contains(why);
            let Reasons { by_catalog, rows, paused } = sight.reasons;
            assert!(!paused || says("until it is resumed"), "{at}: {}", hold.why);
            assert!(paused || rows.is_none() || says(REFUSED), "{at}: {}", hold.why);
            assert!(paused || !by_catalog || says(IN_THE_WAY) || says("too many"), "{at}: {}", hold.why);
        }
        let other = of(OTHER).expect(at);
        assert_eq!(other.stage.name(), "following", "{at}: the other one");
        assert!(other.hold.is_none(), "{at}: the other one");
    }

    /// What may go on does, also when what was told to give up has done so; and what is stored is what was so.
    pub(super) fn check_what_is_stored(mut self, at: &str) {
        if self.is_cancelled && self.job.is_some() {
            self.happen(Happening::BackfillCancelled);
        }
        self.happen(Happening::Heartbeat);
        let before = self.sight();
        let may_go_on = before.described && !before.blocked && !before.stands && !before.reasons.is_any();
        if may_go_on && matches!(before.rows, Rows::Copy | Rows::Log) {
            assert!(self.is_active(), "{at}: stands still, and nothing is in its way");
        }
        let mut after = self.restarted();
        let sight = after.sight();
        let expected = if before.rows == Rows::Joining { Rows::Nowhere } else { before.rows };
        assert_eq!(sight.rows, expected, "{at}: after a restart");
        assert_eq!(sight.reasons.paused, before.reasons.paused, "{at}: after a restart");
        if before.reasons.paused {
            after.happen(Happening::Ready);
            assert!(!after.is_active(), "{at}: paused, after a restart");
        } else if sight.rows == Rows::Copy || sight.rows == Rows::Log {
            after.happen(Happening::Ready);
            after.happen(Happening::Heartbeat);
            assert!(after.is_active(), "{at}: stands still for ever, after a restart");
        }
    }
}
