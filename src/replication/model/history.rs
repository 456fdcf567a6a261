//! What the source's users have done, as a log that Milvus could have written, and the rows that it ends with.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use crate::domain::CollectionId;

/// Far apart, so that bounds (10 s ahead) lie between them and matter.
const STEP: u64 = 3_000 << 18;
/// Keys are smaller.
pub(super) const KEYS: i64 = 6;

/// One row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) key: i64,
    pub(super) version: i64,
}

#[derive(Debug, Clone)]
pub(super) enum Message {
    Insert { ts: u64, id: CollectionId, row: Row, half: bool },
    Delete { ts: u64, id: CollectionId, key: i64 },
    Tick(u64),
}

/// What happened to one key.
#[derive(Debug, Clone, Copy)]
pub(super) enum Change {
    Insert,
    /// Of a key that may be there.
    InsertAgain,
    Delete,
    Upsert,
    /// An upsert whose delete was never written, as the source died in the middle of it.
    TornUpsert,
    /// An upsert of a collection whose keys the source makes: the row gets another key.
    Replace,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Op {
    Change { change: Change, id: CollectionId, key: i64 },
    Tick,
}

/// Whose messages come behind the next tick, although they are older.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Late {
    Nothing,
    Everything,
    /// An upsert's delete alone.
    Delete,
}

/// The ticks go on: half an upsert that is read again without its other half, which stands before it, waits for some.
const AT_LAST: [(Op, Late); 30] = [(Op::Tick, Late::Nothing); 30];

/// The versions of each key of each collection at the source, the latest last; more than one where a key was inserted
/// again or an upsert was torn.
pub(super) type Live = BTreeMap<(CollectionId, i64), Vec<i64>>;

/// The source after a tick, and after what came too late for it.
#[derive(Debug, Clone)]
pub(super) struct Snapshot {
    /// Where the tick stands.
    pub(super) tick: usize,
    pub(super) ts: u64,
    /// How many messages have been written.
    pub(super) written: usize,
    pub(super) live: Live,
}

#[derive(Debug, Default)]
pub(super) struct History {
    pub(super) log: Vec<Message>,
    /// At least one.
    pub(super) snapshots: Vec<Snapshot>,
}

#[derive(Default)]
struct Writer {
    history: History,
    live: Live,
    /// What was written since the last tick.
    window: Vec<Message>,
    /// What comes behind the next tick.
    belated: Vec<Message>,
    late_keys: BTreeSet<(CollectionId, i64)>,
    ts: u64,
}

impl History {
    /// Messages between two ticks are in any order (`shuffle`), but for those that are late (`late`): they come
    /// first, so that what builds on them stands behind them. Some inserts stand there twice, sent again by a
    /// producer.
    pub(super) fn new(ops: &[Op], late: &[Late], shuffle: &[usize]) -> History {
        let mut writer = Writer::default();
        for (op, late) in ops.iter().copied().zip(late.iter().copied()).chain(AT_LAST) {
            writer.ts += STEP;
            match op {
                Op::Change { change, id, key } => writer.change(change, (id, key), late),
                Op::Tick => writer.tick(shuffle),
            }
        }
        writer.history
    }

    /// The same of a source that dies: what it wrote last stands behind its last tick, and no tick follows.
    pub(super) fn that_stops(ops: &[Op], late: &[Late], shuffle: &[usize]) -> History {
        let mut writer = Writer::default();
        for (op, late) in ops.iter().copied().zip(late.iter().copied()) {
            writer.ts += STEP;
            match op {
                Op::Change { change, id, key } => writer.change(change, (id, key), late),
                Op::Tick => writer.tick(shuffle),
            }
        }
        let Writer { mut history, live, mut window, mut belated, ts, .. } = writer;
        history.log.append(&mut window);
        history.log.append(&mut belated);
        let (tick, written) = (history.snapshots.last().map_or(0, |last| last.tick), history.log.len());
        history.snapshots.push(Snapshot { tick, ts, written, live });
        history
    }
}

impl Writer {
    fn change(&mut self, change: Change, at: (CollectionId, i64), late: Late) {
        let ((id, key), ts, version) = (at, self.ts, self.ts as i64);
        let new_key = if matches!(change, Change::Replace) { (key + 1) % KEYS } else { key };
        let new_at = (id, new_key);
        let late = if [at, new_at].iter().any(|at| self.late_keys.contains(at)) { Late::Everything } else { late };
        if late != Late::Nothing {
            self.late_keys.extend([at, new_at]);
        }
        let insert = |half| Message::Insert { ts, id, row: Row { key: new_key, version }, half };
        let delete = Message::Delete { ts, id, key };
        let is_all_late = late == Late::Everything;
        match change {
            Change::Insert if self.live.contains_key(&at) => {}
            Change::Insert | Change::InsertAgain => {
                self.live.entry(at).or_default().push(version);
                self.write(insert(false), is_all_late);
            }
            Change::Delete => {
                self.live.remove(&at);
                self.write(delete, is_all_late);
            }
            Change::TornUpsert => {
                self.live.entry(at).or_default().push(version);
                self.write(insert(true), is_all_late);
            }
            Change::Upsert | Change::Replace => {
                self.live.remove(&at);
                self.live.entry(new_at).or_default().push(version);
                self.write(insert(true), is_all_late);
                self.write(delete, late != Late::Nothing);
            }
        }
    }

    fn write(&mut self, message: Message, is_late: bool) {
        if is_late { &mut self.belated } else { &mut self.window }.push(message);
    }

    fn tick(&mut self, shuffle: &[usize]) {
        let again = |(index, message): (usize, &Message)| {
            let sent_again = shuffle.get(index).is_some_and(|number| number % 3 == 0);
            (sent_again && matches!(message, Message::Insert { .. })).then(|| message.clone())
        };
        let again: Vec<Message> = self.window.iter().enumerate().filter_map(again).collect();
        self.window.extend(again);
        for (index, other) in shuffle.iter().enumerate().take(self.window.len()) {
            let other = other % self.window.len();
            self.window.swap(index, other);
        }
        let log = &mut self.history.log;
        log.append(&mut self.window);
        let tick = log.len();
        log.push(Message::Tick(self.ts));
        log.append(&mut self.belated);
        self.late_keys.clear();
        let (ts, written, live) = (self.ts, log.len(), self.live.clone());
        self.history.snapshots.push(Snapshot { tick, ts, written, live });
    }
}

pub(super) fn op(collections: &'static [CollectionId]) -> impl Strategy<Value = Op> {
    let change = prop_oneof![
        8 => Just(Change::Insert),
        1 => Just(Change::InsertAgain),
        4 => Just(Change::Delete),
        4 => Just(Change::Upsert),
        2 => Just(Change::TornUpsert),
        1 => Just(Change::Replace),
    ];
    prop_oneof![
        9 => (change, proptest::sample::select(collections), 0..KEYS)
            .prop_map(|(change, id, key)| Op::Change { change, id, key }),
        2 => Just(Op::Tick),
    ]
}

pub(super) fn late() -> impl Strategy<Value = Late> {
    prop_oneof![6 => Just(Late::Nothing), 1 => Just(Late::Everything), 1 => Just(Late::Delete)]
}
