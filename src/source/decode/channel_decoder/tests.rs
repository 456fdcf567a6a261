use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::*;
use crate::domain::{Channel, CollectionId, Mark};
use crate::pipeline::{AppliedMark, RecordOrigin, ReorderBuffer};
use crate::source::decode::testing::rocksmq_value;

const VCHANNEL: &str = "by-dev-rootcoord-dml_0_7v0";
/// `TxnContext` of transaction 5, which may be silent for 10 s.
const TXN: &str = "CAUQkE4=";
/// `TxnContext` of transaction 6, likewise.
const OTHER_TXN: &str = "CAYQkE4=";
/// `msg.InsertRequest` of one row into collection 7, partition 8.
const INSERT: &[u8] = &[0x38, 7, 0x40, 8, 0x52, 1, 3, 0x6a, 0, 0x70, 1, 0x78, 1];
/// `msg.DeleteRequest` of key 1 in collection 7.
const DELETE: &[u8] = &[0x38, 7, 0x62, 5, 0x0a, 3, 0x0a, 1, 1];

fn base36(number: u64) -> String {
    let digit = |number: u64| char::from_digit((number % 36) as u32, 36).unwrap();
    if number < 36 { digit(number).to_string() } else { base36(number / 36) + &digit(number).to_string() }
}

fn ms(ms: u64) -> Timestamp {
    Timestamp::at_ms(ms)
}

/// A message at this position, written at this time.
fn message(at: u64, kind: &str, time: Timestamp, txn: Option<&str>, payload: &[u8]) -> QueueMessage {
    traced_message(at, kind, (time, txn, None), payload)
}

/// The same, with this trace context.
fn traced_message(
    at: u64,
    kind: &str,
    (time, txn, trace): (Timestamp, Option<&str>, Option<&str>),
    payload: &[u8],
) -> QueueMessage {
    let tick = base36(time.0);
    let mut properties = vec![("_v", "1"), ("_t", kind), ("_tt", tick.as_str()), ("_lc", "0"), ("_vc", VCHANNEL)];
    properties.extend(txn.map(|txn| ("_tx", txn)).into_iter().chain(trace.map(|trace| ("_tc", trace))));
    QueueMessage::of_rocksmq(Position::at(at), &rocksmq_value(&properties, payload))
}

/// What the decoder says of a message, in words: position, milliseconds, content.
fn said(decoder: &mut ChannelDecoder, message: QueueMessage) -> Vec<String> {
    let mut said = Vec::new();
    decoder.take(message, &mut |record| said.push(words(&record)));
    said
}

fn words(record: &Record) -> String {
    let what = match &record.body {
        Body::Tick { resume } => format!("tick, resume {}", resume.unwrap()),
        Body::Insert(insert) => format!("insert into {}", insert.collection),
        Body::Delete(delete) => format!("delete {:?}", delete.keys),
        Body::Ignored(name) => format!("ignored {name}"),
        Body::Part => "part".into(),
        Body::Undecodable(error) => error.to_string(),
        Body::Stop(why) => format!("stop: {why}"),
        other => panic!("{other:?}"),
    };
    format!("{}@{} {what}", record.position, record.end.physical_ms())
}

fn decoder() -> ChannelDecoder {
    ChannelDecoder::new(Queue::RocksMq)
}

#[test]
fn a_transaction_counts_at_its_commit_and_holds_the_place_to_resume() {
    let mut decoder = decoder();
    assert_eq!(said(&mut decoder, message(1, "900", ms(10), Some(TXN), b"")), ["1@10 part"]);
    assert_eq!(said(&mut decoder, message(2, "2", ms(11), Some(TXN), INSERT)), ["2@11 part"]);
    assert_eq!(said(&mut decoder, message(3, "2", ms(12), None, INSERT)), ["3@12 insert into 7"], "not of it");
    assert_eq!(said(&mut decoder, message(4, "1", ms(12), None, b"")), ["4@12 tick, resume 1"]);
    assert_eq!(said(&mut decoder, message(5, "3", ms(13), Some(TXN), DELETE)), ["5@13 part"]);
    let whole = ["1@14 insert into 7", "1@14 delete Int([1])", "6@14 part"];
    assert_eq!(said(&mut decoder, message(6, "901", ms(14), Some(TXN), b"")), whole);
    assert_eq!(said(&mut decoder, message(7, "1", ms(14), None, b"")), ["7@14 tick, resume 7"]);
}

/// A trace context as Milvus after 3.0 writes it: the ids of the trace and the span as bytes.
fn trace_context(traceparent: &str) -> String {
    let bytes =
        |hex: &str| (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
    let (trace, span): (Vec<u8>, Vec<u8>) = (bytes(&traceparent[3..35]), bytes(&traceparent[36..52]));
    STANDARD.encode([&[0x0a, 16], &trace[..], &[0x12, 8], &span[..], &[0x18, 1]].concat())
}

#[test]
fn the_mark_is_found_in_the_context_of_the_trace() {
    let mark = Mark::of(CollectionId(446_028_871_133_593_604), Timestamp(446_028_900_000_000_123));
    let (ours, mut decoder) = (trace_context(&mark.traceparent(9)), decoder());
    let mut marks = |message| {
        let mut marks = Vec::new();
        decoder.take(message, &mut |record| marks.push(record.mark.map(|mark| mark.traceparent(9))));
        marks
    };
    let expected = Some(mark.traceparent(9));
    let alone = traced_message(1, "2", (ms(10), None, Some(&ours)), INSERT);
    assert_eq!(marks(alone), vec![expected.clone()]);
    for part in [
        traced_message(2, "900", (ms(11), Some(TXN), None), b""),
        traced_message(3, "3", (ms(11), Some(TXN), Some(&ours)), DELETE),
        traced_message(4, "2", (ms(11), Some(TXN), Some(&ours)), INSERT),
    ] {
        assert_eq!(marks(part), [None], "it counts when it is committed");
    }
    let commit = traced_message(5, "901", (ms(12), Some(TXN), None), b"");
    assert_eq!(marks(commit), [expected.clone(), expected, None], "the last stands for the message's place");
    let theirs = trace_context("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    for other in [theirs.as_str(), "", "no base64", "CgE=", &mark.traceparent(9)] {
        assert_eq!(marks(traced_message(6, "2", (ms(13), None, Some(other)), INSERT)), [None], "{other}");
    }
}

#[test]
fn what_is_rolled_back_or_began_earlier_changes_nothing() {
    let mut decoder = decoder();
    said(&mut decoder, message(1, "900", ms(10), Some(TXN), b""));
    said(&mut decoder, message(2, "2", ms(11), Some(TXN), INSERT));
    assert_eq!(said(&mut decoder, message(3, "902", ms(12), Some(TXN), b"")), ["3@12 ignored RollbackTxn"]);
    assert_eq!(said(&mut decoder, message(4, "1", ms(12), None, b"")), ["4@12 tick, resume 4"]);
    assert_eq!(said(&mut decoder, message(5, "3", ms(13), Some(OTHER_TXN), DELETE)), ["5@13 part"]);
    assert_eq!(said(&mut decoder, message(6, "901", ms(13), Some(OTHER_TXN), b"")), ["6@13 part"]);
}

#[test]
fn a_transaction_whose_writer_is_silent_for_too_long_is_dropped() {
    let mut decoder = decoder();
    said(&mut decoder, message(1, "900", ms(10), Some(TXN), b""));
    said(&mut decoder, message(2, "2", ms(500), Some(TXN), INSERT));
    assert_eq!(said(&mut decoder, message(3, "1", ms(10_500), None, b"")), ["3@10500 tick, resume 1"]);
    assert_eq!(said(&mut decoder, message(4, "1", ms(10_501), None, b"")), ["4@10501 tick, resume 4"]);
    assert_eq!(said(&mut decoder, message(5, "901", ms(10_502), Some(TXN), b"")), ["5@10502 part"]);
}

#[test]
fn what_stands_behind_a_later_tick_does_not_count() {
    let mut decoder = decoder();
    said(&mut decoder, message(1, "1", ms(20), None, b""));
    let late = said(&mut decoder, message(2, "2", ms(19), None, INSERT));
    assert!(late[0].starts_with("2@19 a later time tick stands before it"), "{late:?}");
    assert_eq!(said(&mut decoder, message(3, "2", ms(20), None, INSERT)), ["3@20 insert into 7"]);
}

#[test]
fn an_idle_channel_follows_the_sources_clock() {
    let mut decoder = decoder();
    let idle = |decoder: &mut ChannelDecoder, at| decoder.idle_tick(ms(at)).map(|record| words(&record));
    assert_eq!(idle(&mut decoder, 5), None, "nothing has been read");
    said(&mut decoder, message(1, "1", ms(10), None, b""));
    assert!(decoder.ends_in_tick() && decoder.is_idle_before(ms(11)) && !decoder.is_idle_before(ms(10)));
    assert_eq!(idle(&mut decoder, 10), None);
    assert_eq!(idle(&mut decoder, 50).as_deref(), Some("1@50 tick, resume 1"));
    assert_eq!(idle(&mut decoder, 50), None);
    assert_eq!(said(&mut decoder, message(2, "2", ms(40), None, INSERT)), ["2@40 insert into 7"], "it is only late");
    assert_eq!(idle(&mut decoder, 60), None, "its tick will come");
    said(&mut decoder, message(3, "900", ms(60), Some(TXN), b""));
    said(&mut decoder, message(4, "1", ms(60), None, b""));
    assert_eq!(idle(&mut decoder, 70), None, "a transaction is open");
    let given_up = 60 + 10_000 + 600_001;
    assert_eq!(idle(&mut decoder, given_up).as_deref(), Some("4@610061 tick, resume 4"));
}

#[test]
fn both_formats_in_one_channel() {
    let mut decoder = decoder();
    // `msg.TimeTickMsg` of time 7, as Milvus 2.5 writes it.
    let before = bytes::Bytes::from_static(&[0x0a, 0x05, 0x08, 0xb0, 0x09, 0x18, 0x07]);
    let mut ticks = Vec::new();
    decoder.take(QueueMessage::of_rocksmq(Position::at(1), &before), &mut |record| {
        ticks.push((record.position, record.end, matches!(record.body, Body::Tick { resume: None })));
    });
    assert_eq!(ticks, [(Position::at(1), Timestamp(7), true)]);
    assert!(!decoder.ends_in_tick(), "such a source ticks all the time");
    assert_eq!(said(&mut decoder, message(2, "1", ms(10), None, b"")), ["2@10 tick, resume 2"]);
    assert_eq!(said(&mut decoder, message(3, "2", ms(11), None, INSERT)), ["3@11 insert into 7"]);
}

#[test]
fn what_cannot_be_read_here_stops_with_what_to_do() {
    let stop = |properties: &[(&str, &str)]| {
        let properties = [&[("_v", "2"), ("_tt", "z"), ("_lc", "0")], properties].concat();
        said(&mut decoder(), QueueMessage::of_rocksmq(Position::at(1), &rocksmq_value(&properties, b""))).remove(0)
    };
    let moved = stop(&[("_t", "700"), ("_h", "CAQ=")]);
    assert!(moved.contains("moved its log from RocksMQ to Woodpecker"), "{moved}");
    assert!(moved.contains("set sourceConfig.log to `wal`"), "{moved}");
    let to_kafka = stop(&[("_t", "700"), ("_h", "CAM=")]);
    assert!(
        to_kafka.contains("set sourceConfig.kafka.address to its brokers, or sourceConfig.log to `wal`"),
        "{to_kafka}"
    );
    assert_eq!(stop(&[("_t", "700"), ("_h", "CAE=")]), "1@0 ignored AlterWAL", "it stays where it is");
    assert!(stop(&[("_t", "700"), ("_h", "CGM=")]).contains("to another queue"));
    assert!(stop(&[("_t", "2"), ("_ct", "3")]).contains("in several pieces"));
    assert!(stop(&[("_t", "555")]).contains("unknown type 555"));
    assert!(stop(&[("_t", "37")]).contains("ignored FlushAll"));
}

/// A transaction and the messages around it, with a tick wherever one may stand.
fn log() -> Vec<QueueMessage> {
    vec![
        message(1, "2", ms(10), None, INSERT),
        message(2, "900", ms(11), Some(TXN), b""),
        message(3, "1", ms(11), None, b""),
        message(4, "2", ms(12), Some(TXN), INSERT),
        message(5, "900", ms(12), Some(OTHER_TXN), b""),
        message(6, "1", ms(12), None, b""),
        message(7, "2", ms(14), None, INSERT),
        message(8, "3", ms(15), Some(TXN), DELETE),
        message(9, "901", ms(16), Some(TXN), b""),
        message(10, "1", ms(13), None, b""),
        message(11, "3", ms(16), Some(OTHER_TXN), DELETE),
        message(12, "1", ms(16), None, b""),
        message(13, "901", ms(17), Some(OTHER_TXN), b""),
        message(14, "2", ms(18), None, INSERT),
        message(15, "1", ms(18), None, b""),
    ]
}

/// Applies a log from a place on, over what is applied already. Returns what is applied, and after each tick the
/// number of those and where a restart would read on.
fn apply(from: Position, mark: AppliedMark) -> (Vec<String>, Vec<(usize, Position, AppliedMark)>) {
    let (channel, mut decoder, mut buffer) = (Channel::new("c"), decoder(), ReorderBuffer::default());
    let (mut applied, mut restarts) = (Vec::new(), Vec::new());
    for message in log().into_iter().filter(|message| message.position >= from) {
        decoder.take(message, &mut |Record { position, end, body, .. }| {
            let origin = RecordOrigin { channel: &channel, position, ts: end, mark: None };
            match body {
                Body::Tick { resume } => {
                    let at = crate::pipeline::TickPlace { position, resume: resume.unwrap() };
                    let (released, reached) = buffer.release(end, at);
                    applied.extend(released.iter().map(|op| format!("{} {:?}", op.ts.physical_ms(), op.body)));
                    restarts.push((applied.len(), reached.position, reached.mark));
                }
                _ if mark.covers(position, end) => {}
                Body::Insert(insert) => buffer.insert(origin, insert),
                Body::Delete(delete) => buffer.delete(origin, delete),
                Body::Part => {}
                other => panic!("{other:?}"),
            }
        });
    }
    (applied, restarts)
}

#[test]
fn a_restart_at_any_tick_loses_nothing_and_repeats_nothing() {
    let (whole, restarts) = apply(Position::at(1), AppliedMark::NOTHING);
    let kinds: Vec<&str> = whole.iter().map(|op| op.split(' ').nth(1).unwrap()).collect();
    assert_eq!(kinds, ["Insert", "Insert", "Delete(Int([1]))", "Insert", "Delete(Int([1]))", "Insert"]);
    assert_eq!(restarts.len(), 5);
    assert_eq!(restarts[1].1, Position::at(2), "two transactions are open, the first of them from there on");
    for (applied, position, mark) in restarts {
        assert_eq!(apply(position, mark).0, whole[applied..], "from {position}");
    }
}
