/*!
The ordering and checkpoint logic against a model: any history of a few keys, read, released, sent and acknowledged in any
order, with a crash possible at every step. Whatever happens, the target ends with the source's rows, each once.

The loop around the logic (`core`) is played by [`Run`]; the target is a list of rows that behaves as Milvus does: an
insert adds a row whatever is there.
*/

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::channel::ChannelState;
use super::checkpoint::ChannelRecord;
use crate::domain::{Channel, CollectionId, PartitionId, Position, Timestamp};
use crate::milvus::rows::{Column, Write};
use crate::pipeline::columns::{KnownFields, keys};
use crate::pipeline::testing::longs;
use crate::pipeline::{Call, CollectionInfo, KeyField, Rules, Scheduler, Step, Work};
use crate::source::{Delete, Insert, Keys, Start};

const COLLECTION: CollectionId = CollectionId(1);
const PARTITION: PartitionId = PartitionId(2);
/// Far apart, so that bounds (10 s ahead) lie between them and matter.
const STEP: u64 = 3_000 << 18;

fn channel() -> Channel {
    Channel::new("c")
}

#[derive(Debug, Clone)]
enum Message_ {
    Insert { ts: u64, rows: Vec<(i64, i64)>, half: bool },
    Delete { ts: u64, keys: Vec<i64> },
    Tick(u64),
}

impl Message_ {
    fn ts(&self) -> u64 {
        match self {
            Message_::Insert { ts, .. } | Message_::Delete { ts, .. } | Message_::Tick(ts) => *ts,
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Op {
    Insert(i64),
    Delete(i64),
    Upsert(i64),
    /// An upsert whose delete was never written, as the source died in the middle of it.
    TornUpsert(i64),
    Tick,
}

impl Op {
    fn key(self) -> Option<i64> {
        match self {
            Op::Insert(key) | Op::Delete(key) | Op::Upsert(key) | Op::TornUpsert(key) => Some(key),
            Op::Tick => None,
        }
    }
}

/// Whose messages come behind the next tick, although they are older.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Late {
    Nothing,
    Everything,
    /// An upsert's delete alone.
    Delete,
}

/// The ticks go on: half an upsert that is read again without its other half, which stands before it, waits for some.
const AT_LAST: [(Op, Late); 30] = [(Op::Tick, Late::Nothing); 30];

/// The versions of each key at the source; more than one where an upsert was torn.
type Live = BTreeMap<i64, Vec<i64>>;

/// A log and the rows that it ends with. Messages between two ticks are in any order (`shuffle`), but for those that are late
/// (`late`): they come first, so that what builds on them stands behind them. Some inserts stand there twice, sent again by a producer.
fn history(ops: &[Op], late: &[Late], shuffle: &[usize]) -> (Vec<Message_>, Live) {
    let (mut log, mut window, mut live) = (Vec::new(), Vec::new(), Live::new());
    let (mut belated, mut late_keys): (Vec<Message_>, Vec<i64>) = Default::default();
    let mut ts = 0;
    for (op, late) in ops.iter().copied().zip(late.iter().copied()).chain(AT_LAST) {
        ts += STEP;
        let version = ts as i64;
        let key = op.key();
        let late = if key.is_some_and(|key| late_keys.contains(&key)) { Late::Everything } else { late };
        if late != Late::Nothing {
            late_keys.extend(key);
        }
        match op {
            Op::Insert(key) if !live.contains_key(&key) => {
                live.insert(key, vec![version]);
                let insert = Message_::Insert { ts, rows: vec![(key, version)], half: false };
                if late == Late::Everything { &mut belated } else { &mut window }.push(insert);
            }
            // The source's users may insert a key twice; the promise is about keys that are there once.
            Op::Insert(_) => {}
            Op::Delete(key) => {
                live.remove(&key);
                let delete = Message_::Delete { ts, keys: vec![key] };
                if late == Late::Everything { &mut belated } else { &mut window }.push(delete);
            }
            Op::Upsert(key) | Op::TornUpsert(key) => {
                let insert = Message_::Insert { ts, rows: vec![(key, version)], half: true };
                if late == Late::Everything { &mut belated } else { &mut window }.push(insert);
                let versions = live.entry(key).or_default();
                if matches!(op, Op::Upsert(_)) {
                    versions.clear();
                    let delete = Message_::Delete { ts, keys: vec![key] };
                    if late == Late::Nothing { &mut window } else { &mut belated }.push(delete);
                }
                versions.push(version);
            }
            Op::Tick => {
                let again = |(index, message): (usize, &Message_)| {
                    let sent_again = shuffle.get(index).is_some_and(|number| number % 3 == 0);
                    (sent_again && matches!(message, Message_::Insert { .. })).then(|| message.clone())
                };
                window.extend(window.iter().enumerate().filter_map(again).collect::<Vec<_>>());
                for (index, other) in shuffle.iter().enumerate().take(window.len()) {
                    let other = other % window.len();
                    window.swap(index, other);
                }
                log.append(&mut window);
                log.push(Message_::Tick(ts));
                log.append(&mut belated);
                late_keys.clear();
            }
        }
    }
    (log, live)
}

fn ints(columns: &[Column], name: &str) -> Vec<i64> {
    let Keys::Int(values) = keys(columns, name).unwrap() else { panic!("not integers") };
    values
}

/// A Milvus, as far as it matters.
#[derive(Debug, Default)]
struct Target(Vec<(i64, i64)>);

impl Target {
    fn apply(&mut self, work: &Work) {
        match work {
            Work::Write { write, rows } => {
                let columns = rows.columns().unwrap();
                let (keys, versions) = (ints(&columns, "id"), ints(&columns, "version"));
                if *write == Write::Upsert {
                    self.0.retain(|(key, _)| !keys.contains(key));
                }
                self.0.extend(keys.into_iter().zip(versions));
            }
            Work::Delete(Keys::Int(keys)) => self.0.retain(|(key, _)| !keys.contains(key)),
            Work::Delete(Keys::Str(_)) => panic!("integers only"),
            Work::Truncate => self.0.clear(),
        }
    }
}

/// One life of the process.
struct Run {
    state: ChannelState,
    scheduler: Scheduler,
    under_way: Vec<Call>,
    next: usize,
}

struct View<'a>(&'a ChannelState, Arc<CollectionInfo>);

impl Rules for View<'_> {
    fn collection(&self, _: CollectionId) -> Option<Arc<CollectionInfo>> {
        Some(Arc::clone(&self.1))
    }
    fn question(&self) -> u64 {
        1
    }
    fn open(&self, _: &Channel) -> bool {
        true
    }
    fn bound(&self, _: &Channel) -> Timestamp {
        self.0.bound
    }
    fn replayed(&self, _: &Channel) -> Timestamp {
        self.0.replayed
    }
}

fn info() -> Arc<CollectionInfo> {
    Arc::new(CollectionInfo {
        id: COLLECTION,
        db: "d".into(),
        name: "n".into(),
        key: KeyField { name: "id".into(), is_int: true },
        partitions: [(PARTITION, "p".to_owned())].into(),
        unnamed_partitions: false,
        mergeable: true,
        fields: KnownFields::named(&["id", "version"]),
        shape: Default::default(),
        upsert_until: Default::default(),
        generation: 1,
    })
}

impl Run {
    fn start(disk: &ChannelRecord) -> Run {
        let state = ChannelState::restore(disk);
        let next = state.acked.position.map_or(0, |position| position.number() as usize);
        Run { state, scheduler: Scheduler::default(), under_way: Vec::new(), next }
    }

    fn read(&mut self, log: &[Message_]) {
        let Some(message) = log.get(self.next) else { return };
        let (position, ts) = (Position::at(self.next as u64), Timestamp(message.ts()));
        self.next += 1;
        let wanted = self.state.wants(COLLECTION, true, position, ts);
        match message {
            Message_::Insert { rows, half, .. } if wanted => {
                let (keys, versions): (Vec<i64>, Vec<i64>) = rows.iter().copied().unzip();
                let columns = vec![longs("id", &keys), longs("version", &versions)];
                let insert = Insert {
                    collection: COLLECTION,
                    partition: PARTITION,
                    rows: rows.len(),
                    columns,
                    half: *half,
                    row_id: Some(ts.0 as i64),
                };
                self.state.pending.insert(&channel(), position, ts, insert);
            }
            Message_::Delete { keys, .. } if wanted => {
                let delete = Delete { collection: COLLECTION, partition: PARTITION, keys: Keys::Int(keys.clone()) };
                self.state.pending.delete(&channel(), position, ts, delete);
            }
            Message_::Tick(_) => {
                self.state.released = ts;
                let (ops, reached) = self.state.pending.release(ts, position);
                let batch = self.state.progress.release(ops.len(), reached);
                for mut op in ops {
                    op.batch = batch;
                    self.scheduler.push(op);
                }
            }
            _ => {}
        }
    }

    fn send(&mut self, disk: &mut ChannelRecord) {
        match self.scheduler.next(&View(&self.state, info())) {
            Step::Call(call) => {
                self.state.sent = self.state.sent.max(call.latest);
                self.under_way.push(*call);
            }
            Step::RaiseBound(_, ts) => {
                self.state.raise_bound(ts);
                *disk = self.state.record();
            }
            Step::Idle => {}
            other => panic!("{other:?}"),
        }
    }

    fn acknowledge(&mut self, which: usize, target: &mut Target) {
        if self.under_way.is_empty() {
            return;
        }
        let call = self.under_way.swap_remove(which % self.under_way.len());
        target.apply(&call.work);
        for (_, batch) in self.scheduler.finish(COLLECTION, call.id) {
            self.state.progress.done(batch);
        }
    }

    fn is_done(&self, log: &[Message_]) -> bool {
        self.next >= log.len() && self.under_way.is_empty() && self.state.progress.is_idle()
    }
}

#[derive(Debug, Clone, Copy)]
enum Event {
    Read,
    Send,
    Acknowledge(usize),
    Save,
    /// The process dies; each bit says whether a call under way had been carried out.
    Crash(u32),
    /// It is stopped in order: everything under way ends, and the bound is settled.
    Stop,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => Just(Event::Read),
        8 => Just(Event::Send),
        6 => any::<usize>().prop_map(Event::Acknowledge),
        2 => Just(Event::Save),
        1 => any::<u32>().prop_map(Event::Crash),
        1 => Just(Event::Stop),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (0i64..6).prop_map(Op::Insert),
        2 => (0i64..6).prop_map(Op::Delete),
        2 => (0i64..6).prop_map(Op::Upsert),
        1 => (0i64..6).prop_map(Op::TornUpsert),
        2 => Just(Op::Tick),
    ]
}

fn late() -> impl Strategy<Value = Late> {
    prop_oneof![6 => Just(Late::Nothing), 1 => Just(Late::Everything), 1 => Just(Late::Delete)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5000))]

    #[test]
    fn no_row_is_lost_and_none_doubled(
        ops in proptest::collection::vec(op(), 1..40),
        late in proptest::collection::vec(late(), 40),
        shuffle in proptest::collection::vec(any::<usize>(), 40),
        events in proptest::collection::vec(event(), 0..200),
    ) {
        let (log, mut expected) = history(&ops, &late, &shuffle);
        let mut target = Target::default();
        let mut disk = ChannelState::new(Start { position: None, after: Timestamp::ZERO }).record();
        let mut run = Run::start(&disk);
        for event in events {
            match event {
                Event::Read => run.read(&log),
                Event::Send => run.send(&mut disk),
                Event::Acknowledge(which) => run.acknowledge(which, &mut target),
                Event::Save => {
                    run.state.advance();
                    disk = run.state.record();
                }
                Event::Crash(carried_out) => {
                    for (index, call) in run.under_way.iter().enumerate() {
                        if carried_out >> (index % 32) & 1 == 1 {
                            target.apply(&call.work);
                        }
                    }
                    run = Run::start(&disk);
                }
                Event::Stop => {
                    while !run.under_way.is_empty() {
                        run.acknowledge(0, &mut target);
                    }
                    run.state.advance();
                    run.state.settle_bound();
                    disk = run.state.record();
                    run = Run::start(&disk);
                }
            }
        }
        let mut turns = 0;
        while !run.is_done(&log) {
            run.read(&log);
            run.send(&mut disk);
            run.acknowledge(0, &mut target);
            turns += 1;
            prop_assert!(turns < 10_000, "stuck");
        }
        let mut found = Live::new();
        target.0.into_iter().for_each(|(key, version)| found.entry(key).or_default().push(version));
        found.values_mut().for_each(|versions| versions.sort_unstable());
        for (key, versions) in &mut expected {
            // A torn upsert that is applied again after a crash replaces what it has not replaced at the source.
            let newest = versions.last().copied();
            if let Some(found) = found.get(key).filter(|found| found.last().copied() == newest) {
                versions.retain(|version| found.contains(version));
            }
        }
        prop_assert_eq!(found, expected);
    }
}
