//! Reading from a log in memory that answers as a server does: interrupted anywhere and resumed, it brings every
//! message once.

use proptest::prelude::*;
use protobuf::Message;

use super::*;
use crate::milvus::pb::wal::{ImmutableMessage, MessageID as WireId, TxnContext};
use crate::source::decode::wal_message_id::WalMessageId;

const INSERT: i32 = 2;
const COMMIT: i32 = 901;

/// A message or a whole transaction, which fills as many ids as it has parts.
#[derive(Debug, Clone)]
struct LogEntry {
    id: i64,
    tick: u64,
    confirmed: i64,
    kinds: Vec<i32>,
}

/// Entries with `parts` inserts each; 0 for one that is no transaction. Every other pair lies in the log in the wrong
/// order.
fn log(parts: &[usize]) -> Vec<LogEntry> {
    let mut entries: Vec<LogEntry> = Vec::new();
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
        entries.push(LogEntry { id, tick, confirmed, kinds: kinds.clone() });
        id += kinds.len() as i64;
    }
    entries
}

fn base36(number: u64) -> String {
    WalMessageId::unpack(u128::from(number) | 1 << 125).unwrap().text
}

fn answer(entry: &LogEntry, part: usize) -> Bytes {
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
fn sent(log: &[LogEntry], start: &WalMessageId, from: u64, until: u64) -> Vec<Bytes> {
    let start = i64::from_str_radix(&start.text, 36).unwrap();
    let mut entries: Vec<&LogEntry> =
        log.iter().filter(|entry| entry.id >= start && (from..=until).contains(&entry.tick)).collect();
    entries.sort_by_key(|entry| entry.tick);
    entries.into_iter().flat_map(|entry| (0..entry.kinds.len()).map(|part| answer(entry, part))).collect()
}

/// Tick and part of every insert, in the order of ticks.
fn inserts(log: &[LogEntry]) -> Vec<(u64, u8)> {
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
fn beginning(log: &[LogEntry]) -> ResumePoint {
    let start = WalMessageId::unpack(log[0].confirmed as u128 | 1 << 125).unwrap();
    let first = log.iter().map(|entry| entry.tick).min().unwrap();
    ResumePoint { passed: first - 1, witness: first, start }
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
                prop_assert_eq!(reading.take(bytes, &mut |record| collect(&mut found, record)), ReadingStep::Next);
            }
            if whole {
                prop_assert_eq!(reading.ended(), ReadingStep::Next);
            } else if same_process {
                reading.close();
            } else {
                let position = reading.place().position().unwrap();
                reading = Reading::at(ResumePoint::of(position).unwrap());
            }
        }
        prop_assert_eq!(found, inserts(&log));
    }

    /// Retention takes the messages that were read last, and with them perhaps some that were not: that is noticed,
    /// whatever is left.
    #[test]
    fn a_cut_log_is_a_gap(parts in proptest::collection::vec(0usize..3, 4..16), read in 1usize..3, left in 0usize..4) {
        let log = log(&parts);
        let mut reading = Reading::at(beginning(&log));
        let mut first: Vec<u64> = log.iter().map(|entry| entry.tick).collect();
        first.sort_unstable();
        let end = first[read - 1];
        for bytes in sent(&log, &reading.place().start.clone(), reading.next_begin(), end) {
            if reading.window.is_none() { reading.opened(end); }
            prop_assert_eq!(reading.take(&bytes, &mut |_| {}), ReadingStep::Next);
        }
        reading.close();
        let kept: Vec<LogEntry> = log.iter().filter(|entry| entry.tick > end).rev().take(left).cloned().collect();
        reading.opened(10_000);
        let mut steps: Vec<ReadingStep> = Vec::new();
        // Such a server begins with the oldest that it has.
        let oldest = WalMessageId::unpack(1u128 << 125).unwrap();
        for bytes in sent(&kept, &oldest, reading.next_begin(), 10_000) {
            steps.push(reading.take(&bytes, &mut |record| panic!("passed on: {record:?}")));
            if steps.last() != Some(&ReadingStep::Next) { break; }
        }
        if steps.last().is_none_or(|step| *step == ReadingStep::Next) {
            steps.push(reading.ended());
        }
        prop_assert!(matches!(steps.last(), Some(ReadingStep::Gap(_))), "{:?}", steps);
    }
}

#[test]
fn what_comes_late_is_a_gap_and_what_comes_twice_is_not() {
    let log = log(&[0, 0, 0, 0, 0]);
    let mut reading = Reading::at(beginning(&log));
    reading.opened(1000);
    let mut entries = log.clone();
    entries.sort_by_key(|entry| entry.tick);
    let mut take = |entry: &LogEntry| reading.take(&answer(entry, 0), &mut |_| {});
    assert_eq!(take(&entries[0]), ReadingStep::Next);
    assert_eq!(take(&entries[2]), ReadingStep::Next);
    assert_eq!(take(&entries[0]), ReadingStep::Next, "a repetition");
    assert!(matches!(take(&entries[1]), ReadingStep::Gap(_)), "never seen, and behind what was passed on");
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
        assert_eq!(reading.take(&answer(&entries[0], 0), &mut |_| {}), ReadingStep::Next);
        assert_eq!(reading.ended(), ReadingStep::Next);
        assert_eq!(reading.place().passed, end);
        if !same_process {
            reading = Reading::at(ResumePoint::of(reading.place().position().unwrap()).unwrap());
        }
        let next = sent(&log, &reading.place().start.clone(), reading.next_begin(), 10_000);
        reading.opened(10_000);
        let mut steps = next.iter().map(|bytes| reading.take(bytes, &mut |record| panic!("passed on: {record:?}")));
        assert!(steps.any(|step| matches!(step, ReadingStep::Gap(_))), "{same_process}");
    }
}

#[test]
fn nonsense_is_told_and_nothing_passed_on() {
    let log = log(&[2]);
    let mut reading = Reading::at(beginning(&log));
    reading.opened(1000);
    let nonsense = |step| matches!(step, ReadingStep::Malformed(_));
    assert!(nonsense(reading.take(&Bytes::from_static(b"\xff\xff"), &mut |_| {})));
    assert!(nonsense(reading.take(&answer(&log[0], 1), &mut |_| {})), "a part without its beginning");
    assert_eq!(reading.take(&answer(&log[0], 0), &mut |_| {}), ReadingStep::Next);
    assert!(nonsense(reading.ended()), "the window ends within a transaction");
    reading.opened(1000);
    let status = Bytes::from_static(&[0x0a, 0x02, 0x18, 0x05]);
    assert_eq!(reading.take(&status, &mut |_| {}), ReadingStep::Malformed("code 5: ".into()));
}

#[test]
fn an_idle_channel_moves_on_with_its_windows() {
    let log = log(&[0]);
    let mut reading = Reading::at(beginning(&log));
    reading.opened(1000);
    assert_eq!(reading.take(&answer(&log[0], 0), &mut |_| {}), ReadingStep::Next);
    assert_eq!(reading.ended(), ReadingStep::Next);
    assert_eq!((reading.place().passed, reading.place().witness), (1000, log[0].tick));
    assert_eq!(reading.next_begin(), log[0].tick + 1, "the last message is not sent again with every window");
    reading.close();
    assert_eq!(reading.next_begin(), log[0].tick, "but asked for where something may be gone");
}

/// A message without content, in any queue.
fn answer_in(queue: Queue, id: &str, kind: i32, tick: u64) -> Bytes {
    let id = WireId { id: id.into(), WAL_name: queue.number(), ..WireId::default() };
    let properties = [("_t", kind.to_string()), ("_tt", base36(tick)), ("_lc", id.id.clone())];
    let properties = properties.map(|(key, value)| (key.to_owned(), value)).into_iter().collect();
    let message = ImmutableMessage { id: protobuf::MessageField::some(id), properties, ..Default::default() };
    let mut bytes = Vec::new();
    let mut out = protobuf::CodedOutputStream::vec(&mut bytes);
    out.write_bytes(2, &message.write_to_bytes().unwrap()).unwrap();
    out.flush().unwrap();
    drop(out);
    bytes.into()
}

#[test]
fn a_log_that_moves_to_another_queue_goes_on_there() {
    const FLUSH: i32 = 4;
    const ALTER_WAL: i32 = 700;
    let start = WalMessageId { queue: Queue::RocksMq, text: "5".into() };
    let mut reading = Reading::at(ResumePoint { passed: 9, witness: 10, start });
    reading.opened(1000);
    let alter = answer_in(Queue::RocksMq, "6", ALTER_WAL, 20);
    let there = answer_in(Queue::Woodpecker, "CAwQ2QI=", FLUSH, 30);
    for answer in [answer_in(Queue::RocksMq, "5", FLUSH, 10), alter.clone(), there.clone()] {
        assert_eq!(reading.take(&answer, &mut |_| {}), ReadingStep::Next);
    }
    // After a restart, too.
    let place = ResumePoint::of(reading.place().position().unwrap()).unwrap();
    assert_eq!((place.start.queue, place.passed, place.witness), (Queue::Woodpecker, 30, 30));
    let mut again = Reading::at(place);
    again.opened(1000);
    assert_eq!(again.take(&there, &mut |_| panic!("it was passed on before")), ReadingStep::Next);
    // The places before the move compare with those behind it by their time.
    let mut before = Reading::at(ResumePoint { passed: 9, witness: 20, ..again.place().clone() });
    before.opened(1000);
    before.take(&alter, &mut |_| {});
    assert!(before.place().position() < again.place().position());
}

/// It is what a server answers from messages that it has deleted, and what one that hangs answers.
#[test]
fn only_repeated_silence_in_woodpecker_may_be_a_deletion() {
    let id = |queue| WalMessageId { queue, text: "EAI=".into() };
    for (queue, expected) in [(Queue::Woodpecker, [false, true, false]), (Queue::RocksMq, [false; 3])] {
        let mut reading = Reading::at(ResumePoint { passed: 9, witness: 9, start: id(queue) });
        let mut found = Vec::new();
        for round in 0..3 {
            reading.opened(10);
            if round == 2 {
                // Something has come.
                let status = Bytes::from_static(&[0x0a, 0x00]);
                assert_eq!(reading.take(&status, &mut |_| {}), ReadingStep::Next);
            }
            reading.patience = Duration::ZERO;
            assert!(reading.hung(Timestamp(9)).is_none(), "the window is not over");
            assert!(reading.hung(Timestamp(10)).is_some());
            found.push(reading.may_be_deleted());
            reading.close();
        }
        assert_eq!(found, expected);
    }
}
