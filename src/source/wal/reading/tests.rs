//! Reading against a log that is kept in memory and read as a server reads it: cut off anywhere, begun again, nothing lost, nothing twice.

use proptest::prelude::*;
use protobuf::Message;

use super::super::message_id::MessageId;
use super::*;
use crate::milvus::pb::wal::{ImmutableMessage, MessageID as WireId, TxnContext};

const INSERT: i32 = 2;
const COMMIT: i32 = 901;

/// A message or a whole transaction, which fills as many ids as it has parts.
#[derive(Debug, Clone)]
struct Entry {
    id: i64,
    tick: u64,
    confirmed: i64,
    kinds: Vec<i32>,
}

/// Entries with `parts` inserts each; 0 for one that is no transaction. Every other pair lies in the log in the wrong order.
fn log(parts: &[usize]) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    let (mut id, mut confirmed) = (1000, 1000);
    for (index, &parts) in parts.iter().enumerate() {
        let kinds = match parts {
            0 => vec![INSERT],
            parts => [vec![900], vec![INSERT; parts], vec![COMMIT]].concat(),
        };
        let swapped = index % 4 == 1;
        if !swapped {
            // A tick of the server's own, which is never sent.
            confirmed = id;
            id += 1;
        }
        let order = index as u64 + 1;
        let tick = 10
            * if index % 4 == 0 {
                order + 1
            } else if swapped {
                order - 1
            } else {
                order
            };
        entries.push(Entry { id, tick, confirmed, kinds: kinds.clone() });
        id += kinds.len() as i64;
    }
    entries
}

fn base36(number: u64) -> String {
    MessageId::unpack(u128::from(number) | 1 << 125).unwrap().text
}

fn answer(entry: &Entry, part: usize) -> Bytes {
    let id = WireId { id: base36((entry.id + part as i64) as u64), WAL_name: 1, ..WireId::default() };
    let kind = entry.kinds[part];
    let mut message = ImmutableMessage { id: protobuf::MessageField::some(id), ..ImmutableMessage::default() };
    let mut set = |key: &str, value: String| drop(message.properties.insert(key.into(), value));
    set("_t", kind.to_string());
    set("_tt", base36(entry.tick));
    set("_lc", base36(entry.confirmed as u64));
    if entry.kinds.len() > 1 {
        use base64::Engine as _;
        let txn = TxnContext { txn_id: entry.id, ..TxnContext::default() }.write_to_bytes().unwrap();
        set("_tx", base64::engine::general_purpose::STANDARD.encode(txn));
    }
    // An insert of one row whose collection is the tick: what is passed on is told by it.
    let mut payload = Vec::new();
    let mut out = protobuf::CodedOutputStream::vec(&mut payload);
    out.write_int64(7, entry.tick as i64).unwrap();
    out.write_bytes(13, &[part as u8]).unwrap();
    out.flush().unwrap();
    drop(out);
    message.payload = payload;
    let message = message.write_to_bytes().unwrap();
    let mut bytes = Vec::new();
    let mut out = protobuf::CodedOutputStream::vec(&mut bytes);
    out.write_bytes(2, &message).unwrap();
    out.flush().unwrap();
    drop(out);
    bytes.into()
}

/// What a server sends for a window: in the order of ticks, whole transactions from the start on.
fn sent(log: &[Entry], start: &MessageId, from: u64, until: u64) -> Vec<Bytes> {
    let start = i64::from_str_radix(&start.text, 36).unwrap();
    let mut entries: Vec<&Entry> =
        log.iter().filter(|entry| entry.id >= start && (from..=until).contains(&entry.tick)).collect();
    entries.sort_by_key(|entry| entry.tick);
    entries.into_iter().flat_map(|entry| (0..entry.kinds.len()).map(|part| answer(entry, part))).collect()
}

/// Tick and part of every insert, in the order of ticks.
fn inserts(log: &[Entry]) -> Vec<(u64, u8)> {
    let mut all: Vec<(u64, u8)> = log
        .iter()
        .flat_map(|entry| {
            let parts = entry.kinds.iter().enumerate().filter(|(_, kind)| **kind == INSERT);
            parts.map(|(part, _)| (entry.tick, part as u8)).collect::<Vec<_>>()
        })
        .collect();
    all.sort_unstable();
    all
}

fn collect(found: &mut Vec<(u64, u8)>, record: Record) {
    if let Body::Insert(insert) = record.body {
        found.push((record.end.0, insert.columns[0].parts()[0][0]));
    }
}

/// As a task that has just met the first message.
fn beginning(log: &[Entry]) -> Place {
    let start = MessageId::unpack(log[0].confirmed as u128 | 1 << 125).unwrap();
    let first = log.iter().map(|entry| entry.tick).min().unwrap();
    Place { passed: first - 1, witness: first, start }
}

proptest! {
    /// The process dies, or the stream breaks, after any number of answers, again and again.
    #[test]
    fn nothing_is_lost_and_nothing_comes_twice(
        parts in proptest::collection::vec(0usize..4, 1..24),
        lives in proptest::collection::vec((1usize..12, any::<bool>()), 1..8),
        windows in 1u64..80,
    ) {
        let log = log(&parts);
        let last = log.iter().map(|entry| entry.tick).max().unwrap();
        let mut found = Vec::new();
        let mut reading = Reading::at(beginning(&log));
        let mut lives = lives.into_iter();
        while reading.place().passed < last {
            let (answers, same_process) = lives.next().unwrap_or((usize::MAX, true));
            let end = (reading.place().passed + windows).max(reading.place().witness);
            let stream = sent(&log, &reading.place().start.clone(), reading.next_begin(), end);
            reading.opened(end);
            let whole = stream.len() <= answers;
            for bytes in stream.iter().take(answers) {
                prop_assert_eq!(reading.take(bytes, &mut |record| collect(&mut found, record)), Step::Next);
            }
            if whole {
                prop_assert_eq!(reading.ended(), Step::Next);
            } else if same_process {
                reading.close();
            } else {
                let position = reading.place().position().unwrap();
                reading = Reading::at(Place::of(position).unwrap());
            }
        }
        prop_assert_eq!(found, inserts(&log));
    }

    /// Retention takes the messages that were read last, and with them perhaps some that were not: that is noticed, whatever is left.
    #[test]
    fn a_cut_log_is_a_gap(parts in proptest::collection::vec(0usize..3, 4..16), read in 1usize..3, left in 0usize..4) {
        let log = log(&parts);
        let mut reading = Reading::at(beginning(&log));
        let first: Vec<u64> = { let mut ticks: Vec<u64> = log.iter().map(|e| e.tick).collect(); ticks.sort_unstable(); ticks };
        let end = first[read - 1];
        for bytes in sent(&log, &reading.place().start.clone(), reading.next_begin(), end) {
            if reading.window.is_none() { reading.opened(end); }
            prop_assert_eq!(reading.take(&bytes, &mut |_| {}), Step::Next);
        }
        reading.close();
        let kept: Vec<Entry> = log.iter().filter(|entry| entry.tick > end).rev().take(left).cloned().collect();
        reading.opened(10_000);
        let mut steps: Vec<Step> = Vec::new();
        // Such a server begins with the oldest that it has.
        let oldest = MessageId::unpack(1u128 << 125).unwrap();
        for bytes in sent(&kept, &oldest, reading.next_begin(), 10_000) {
            steps.push(reading.take(&bytes, &mut |record| panic!("passed on: {record:?}")));
            if steps.last() != Some(&Step::Next) { break; }
        }
        if steps.last().is_none_or(|step| *step == Step::Next) {
            steps.push(reading.ended());
        }
        prop_assert!(matches!(steps.last(), Some(Step::Gap(_))), "{:?}", steps);
    }
}

#[test]
fn what_comes_late_is_a_gap_and_what_comes_twice_is_not() {
    let log = log(&[0, 0, 0, 0, 0]);
    let mut reading = Reading::at(beginning(&log));
    reading.opened(1000);
    let mut entries = log.clone();
    entries.sort_by_key(|entry| entry.tick);
    let mut take = |entry: &Entry| reading.take(&answer(entry, 0), &mut |_| {});
    assert_eq!(take(&entries[0]), Step::Next);
    assert_eq!(take(&entries[2]), Step::Next);
    assert_eq!(take(&entries[0]), Step::Next, "a repetition");
    assert!(matches!(take(&entries[1]), Step::Gap(_)), "never seen, and behind what was passed on");
}

/// A server that shuts down may end a window as if all had been sent.
#[test]
fn what_a_window_has_left_out_is_a_gap() {
    let log = log(&[0, 0, 0]);
    let mut entries = log.clone();
    entries.sort_by_key(|entry| entry.tick);
    let end = entries[1].tick + 1;
    for same_process in [true, false] {
        let mut reading = Reading::at(beginning(&log));
        reading.opened(end);
        assert_eq!(reading.take(&answer(&entries[0], 0), &mut |_| {}), Step::Next);
        assert_eq!(reading.ended(), Step::Next);
        assert_eq!(reading.place().passed, end);
        if !same_process {
            reading = Reading::at(Place::of(reading.place().position().unwrap()).unwrap());
        }
        let next = sent(&log, &reading.place().start.clone(), reading.next_begin(), 10_000);
        reading.opened(10_000);
        let mut steps = next.iter().map(|bytes| reading.take(bytes, &mut |record| panic!("passed on: {record:?}")));
        assert!(steps.any(|step| matches!(step, Step::Gap(_))), "{same_process}");
    }
}

#[test]
fn nonsense_is_told_and_nothing_passed_on() {
    let log = log(&[2]);
    let mut reading = Reading::at(beginning(&log));
    reading.opened(1000);
    let nonsense = |step| matches!(step, Step::Nonsense(_));
    assert!(nonsense(reading.take(&Bytes::from_static(b"\xff\xff"), &mut |_| {})));
    assert!(nonsense(reading.take(&answer(&log[0], 1), &mut |_| {})), "a part without its beginning");
    assert_eq!(reading.take(&answer(&log[0], 0), &mut |_| {}), Step::Next);
    assert!(nonsense(reading.ended()), "the window ends within a transaction");
    reading.opened(1000);
    let status = Bytes::from_static(&[0x0a, 0x02, 0x18, 0x05]);
    assert_eq!(reading.take(&status, &mut |_| {}), Step::Nonsense("code 5: ".into()));
}

#[test]
fn an_idle_channel_moves_on_with_its_windows() {
    let log = log(&[0]);
    let mut reading = Reading::at(beginning(&log));
    reading.opened(1000);
    assert_eq!(reading.take(&answer(&log[0], 0), &mut |_| {}), Step::Next);
    assert_eq!(reading.ended(), Step::Next);
    assert_eq!((reading.place().passed, reading.place().witness), (1000, log[0].tick));
    assert_eq!(reading.next_begin(), log[0].tick + 1, "the last message is not sent again with every window");
    reading.close();
    assert_eq!(reading.next_begin(), log[0].tick, "but asked for where something may be gone");
}
