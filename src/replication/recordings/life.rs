//! Lives of the process over one log: each begins with what the one before has left on disk and on the target.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::target::Target;
use crate::catalog::{CatalogEvent, Hint, ReadyCollection, schema};
use crate::domain::{Channel, CollectionId, CollectionName, LogKind, PartitionId, Position, Timestamp};
use crate::milvus::field_data::KnownFields;
use crate::milvus::pb::api::{DescribeCollectionResponse, ShowPartitionsResponse};
use crate::pipeline::WritableCollection;
use crate::replication::checkpoint::Checkpoint;
use crate::replication::effect::{Effect, Executor, OnceSaved};
use crate::replication::event::{Event, Takes};
use crate::replication::model::restored;
use crate::replication::task_loop::TaskLoop;
use crate::sink::{CallAttempt, CallOutcome, PoolEvent};
use crate::source::{Log, ReadEnd, ReadFrom, ReaderEvent, Recording};

/// The source's collections at the end of the recording.
pub(super) struct Catalog(BTreeMap<CollectionId, ReadyCollection>);

impl Catalog {
    pub(super) fn of(recording: &Recording) -> Catalog {
        let partitions = recording.last_answers::<ShowPartitionsResponse>("ShowPartitions");
        let described = recording.last_answers::<DescribeCollectionResponse>("DescribeCollection").into_iter();
        // One that is not there has no id.
        let there = described.filter(|(_, answer)| answer.collectionID != 0);
        let ready: BTreeMap<_, _> = there
            .map(|(name, answer)| {
                let ready = ready(&name, answer, &partitions[&name]);
                (ready.info.id, ready)
            })
            .collect();
        assert!(ready.len() >= 19, "only {} collections", ready.len());
        Catalog(ready)
    }

    pub(super) fn id_of(&self, (db, collection): &(String, String)) -> CollectionId {
        let source = CollectionName::new(db, collection);
        *self.0.iter().find(|(_, ready)| ready.source == source).unwrap().0
    }
}

fn ready(
    (db, name): &(String, String),
    answer: DescribeCollectionResponse,
    partitions: &ShowPartitionsResponse,
) -> ReadyCollection {
    let (fields, id) = (answer.schema.unwrap_or_default(), CollectionId(answer.collectionID));
    let by_key = schema::has_partition_key(&fields);
    let ids = partitions.partitionIDs.iter().map(|id| PartitionId(*id));
    let info = WritableCollection {
        id,
        // Nothing in these logs was written by a task.
        target_id: CollectionId(0),
        db: db.clone(),
        name: name.clone(),
        key: schema::key_field(&fields).unwrap(),
        partitions: ids.zip(partitions.partition_names.iter().cloned()).filter(|_| !by_key).collect(),
        unnamed_partitions: by_key,
        mergeable: schema::is_mergeable(&fields),
        fields: KnownFields::of(&fields),
        // Rows are compared as they are in the log.
        shape: Default::default(),
        ttl: None,
        upsert_until: Default::default(),
        generation: 0,
        replacement: Default::default(),
    };
    ReadyCollection {
        source: CollectionName::new(db, name),
        info,
        channels: answer.physical_channel_names.iter().map(|name| Channel::new(name)).collect(),
        begins: BTreeMap::new(),
        created: Timestamp(answer.created_timestamp),
        adopted: false,
    }
}

/// What becomes of a life's calls until it dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// They are all carried out and acknowledged.
    Acknowledged,
    /// They are carried out, and the answers are lost.
    Unanswered,
    /// None comes to the target.
    Lost,
    /// Some are acknowledged, and of those that are under way in the end every other one is carried out.
    Mixed,
}

impl Ending {
    /// One after the other.
    pub(super) fn numbered(number: usize) -> Ending {
        [Ending::Acknowledged, Ending::Lost, Ending::Mixed, Ending::Unanswered][number % 4]
    }
}

/// What outlives the process.
pub(super) struct Lives<'a> {
    open: &'a dyn Fn() -> Arc<dyn Log>,
    catalog: &'a Catalog,
    channels: BTreeSet<Channel>,
    target: Target,
    checkpoint: Checkpoint,
    /// How far each channel was ever read.
    furthest: BTreeMap<Channel, Reached>,
    now: Instant,
}

impl<'a> Lives<'a> {
    pub(super) fn new(open: &'a dyn Fn() -> Arc<dyn Log>, catalog: &'a Catalog, channels: &[Channel]) -> Lives<'a> {
        let channels = channels.iter().cloned().collect();
        let (target, checkpoint, furthest) = Default::default();
        Lives { open, catalog, channels, target, checkpoint, furthest, now: Instant::now() }
    }

    /// Lives until so many records have come that no life has read before, and is killed. False if all were read.
    pub(super) fn live(&mut self, records: usize, ending: Ending) -> bool {
        let mut life = Life::begin(self);
        let (mut fresh, mut turns) = (0, 0);
        while fresh < records {
            let Some(is_fresh) = life.read_one() else { break };
            fresh += usize::from(is_fresh);
            turns += 1;
            life.end_calls(ending);
            if turns % 5 == 0 {
                life.heartbeat();
            }
        }
        life.die(ending);
        fresh == records
    }

    /// A life that nothing disturbs: what it leaves on the target.
    pub(super) fn until_rest(&mut self) -> Target {
        let mut life = Life::begin(self);
        let mut idle = 0;
        while idle < 20 {
            let has_read = life.read_one().is_some();
            let has_ended = life.end_calls(Ending::Acknowledged);
            life.heartbeat();
            idle = if has_read || has_ended { 0 } else { idle + 1 };
        }
        self.target.clone()
    }
}

/// The last record's position, and how many messages have been read behind it that have completed nothing yet.
type Reached = (Option<Position>, usize);

struct Cursor {
    next: ReadFrom,
    epoch: u64,
    at_tail: bool,
    /// Messages since the last record: parts of transactions.
    parts: usize,
}

/// One life of the process: the real loop, with what carries its effects out.
struct Life<'l, 'a> {
    lives: &'l mut Lives<'a>,
    task: TaskLoop,
    world: World,
    /// The channel whose turn is next.
    turn: usize,
    /// Calls that have ended in some way.
    ended: usize,
}

struct World {
    log: Arc<dyn Log>,
    channels: BTreeSet<Channel>,
    cursors: BTreeMap<Channel, Cursor>,
    calls: Vec<CallAttempt>,
    checkpoint: Checkpoint,
    questions: VecDeque<(CollectionId, u64)>,
}

impl Executor for World {
    fn carry_out(&mut self, effect: Effect) -> Option<Event> {
        match effect {
            // Nobody has recorded the channel of users' requests.
            Effect::Seek(seek) if self.channels.contains(&seek.channel) => {
                let next = seek.from.map_or(ReadFrom::First, ReadFrom::At);
                self.cursors.insert(seek.channel, Cursor { next, epoch: seek.epoch, at_tail: false, parts: 0 });
            }
            Effect::Save { checkpoint, then } => {
                let expected = then.iter().all(|once| matches!(once, OnceSaved::ForgetBackfillFiles(_)));
                assert!(expected, "nothing is copied or asked for: {then:?}");
                self.checkpoint = *checkpoint;
                return Some(Event::Saved(Ok(())));
            }
            Effect::Send(call) => self.calls.push(*call),
            Effect::AskLog(question) => return Some(Event::LogAnswer(question.ask(self.log.as_ref()))),
            Effect::Hint(Hint::Collection(id, number)) if number > 0 => self.questions.push_back((id, number)),
            Effect::StartBackfill(job) => panic!("rows are copied that are in the log: {}", job.info.name),
            Effect::AnswerBlock(answer) => drop(answer.send(())),
            Effect::Seek(_)
            | Effect::CancelCalls
            | Effect::CancelCallsOf(_)
            | Effect::CancelBackfill(_)
            | Effect::Hint(_)
            | Effect::TellRepaired(_)
            | Effect::History { .. }
            | Effect::Count(_)
            | Effect::Publish(_) => {}
        }
        None
    }
}

impl<'l, 'a> Life<'l, 'a> {
    fn begin(lives: &'l mut Lives<'a>) -> Life<'l, 'a> {
        let saved = lives.checkpoint.clone();
        let task = TaskLoop::new(restored(&saved, LogKind::RocksMq, None, lives.now));
        let world = World {
            log: (lives.open)(),
            channels: lives.channels.clone(),
            cursors: BTreeMap::new(),
            calls: Vec::new(),
            checkpoint: saved,
            questions: VecDeque::new(),
        };
        let mut life = Life { lives, task, world, turn: 0, ended: 0 };
        life.task.begin();
        life.pump();
        let catalog = life.lives.catalog;
        for ready in catalog.0.values() {
            life.feed(Event::Catalog(CatalogEvent::Ready(Box::new(ready.clone()))));
        }
        life.feed(Event::Catalog(CatalogEvent::Settled));
        life
    }

    fn feed(&mut self, event: Event) {
        self.task.handle(event, self.lives.now);
        self.pump();
    }

    fn pump(&mut self) {
        loop {
            if let Some(effect) = self.task.next_effect() {
                if let Some(outcome) = self.world.carry_out(effect) {
                    self.task.handle(outcome, self.lives.now);
                }
            } else if let Some((id, number)) = self.world.questions.pop_front() {
                self.task.handle(Event::Catalog(self.answer(id, number)), self.lives.now);
            } else {
                break;
            }
        }
        assert_eq!(self.task.end(), None);
    }

    /// What the catalog says of a collection that the task asks about.
    fn answer(&self, id: CollectionId, number: u64) -> CatalogEvent {
        let Some(known) = self.lives.catalog.0.get(&id) else { return CatalogEvent::Absent(id) };
        let mut ready = known.clone();
        ready.info.generation = number;
        CatalogEvent::Ready(Box::new(ready))
    }

    /// Reads one record of the next channel that has one; whether it is one that no life has read before. None: all
    /// were read, or no more is taken.
    fn read_one(&mut self) -> Option<bool> {
        if self.task.takes() != Takes::Everything {
            return None;
        }
        let behind = self.world.cursors.iter().filter(|(_, cursor)| !cursor.at_tail);
        let behind: Vec<Channel> = behind.map(|(channel, _)| channel.clone()).collect();
        let channel = behind.get(self.turn % behind.len().max(1))?.clone();
        self.turn += 1;
        let cursor = self.world.cursors.get_mut(&channel)?;
        let mut records = Vec::new();
        let end = self.world.log.read(&channel, cursor.next, 1, &mut |record| {
            cursor.next = ReadFrom::After(record.position);
            records.push(record);
        });
        let end = end.unwrap();
        assert_ne!(end, ReadEnd::Gap, "{channel}");
        cursor.at_tail = end == ReadEnd::AtTail;
        let (at_tail, epoch) = (cursor.at_tail, cursor.epoch);
        cursor.parts = if records.is_empty() { cursor.parts + 1 } else { 0 };
        let reached = (cursor.next.position(), cursor.parts);
        let is_fresh = self.lives.furthest.get(&channel).is_none_or(|furthest| reached > *furthest);
        if is_fresh {
            self.lives.furthest.insert(channel.clone(), reached);
        }
        self.feed(Event::Log(ReaderEvent::Records { channel, epoch, records, at_tail }));
        Some(is_fresh)
    }

    fn heartbeat(&mut self) {
        self.lives.now += Duration::from_secs(1);
        self.feed(Event::Heartbeat);
    }

    /// Calls end; whether any did.
    fn end_calls(&mut self, ending: Ending) -> bool {
        let before = self.ended;
        let is_acknowledged = |number: usize| match ending {
            Ending::Acknowledged => true,
            Ending::Mixed => number.is_multiple_of(2),
            Ending::Lost | Ending::Unanswered => false,
        };
        let mut index = 0;
        while index < self.world.calls.len() {
            self.ended += 1;
            if is_acknowledged(self.ended) {
                let call = self.world.calls.remove(index);
                let call = call.call();
                self.lives.target.carry_out(call);
                let (collection, call, outcome) = (call.collection.id, call.id, CallOutcome::Done);
                self.feed(Event::Sink(PoolEvent::Ended { collection, call, outcome }));
            } else {
                index += 1;
            }
        }
        self.ended != before
    }

    /// The process is killed: what is on disk stays there, and some of what was on its way to the target.
    fn die(self, ending: Ending) {
        let is_carried_out = |index: usize| match ending {
            Ending::Acknowledged | Ending::Lost => false,
            Ending::Unanswered => true,
            Ending::Mixed => index.is_multiple_of(2),
        };
        let calls = self.world.calls.iter().enumerate();
        calls
            .filter(|(index, _)| is_carried_out(*index))
            .for_each(|(_, call)| self.lives.target.carry_out(call.call()));
        self.lives.checkpoint = self.world.checkpoint;
    }
}
