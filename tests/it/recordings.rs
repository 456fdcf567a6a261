/*!
Logs of real servers (Milvus 2.6.20 and 3.0), read in each of the ways that a log is read, and applied: what is left
must be the rows that the server was told to hold.

The recordings are no part of the repository but lie beside the checkout, in `../shared/recordings` or where
MILVUS_CDC_RECORDINGS says, one archive each with a page that tells what is in it. So these tests are ignored until they
are asked for: `scripts/test` runs them where the recordings are, and fails in CI where they are not.
*/

mod logs;
mod net_rows;
#[path = "../../src/source/recorded/unpacked.rs"]
mod unpacked;
mod value;

use std::collections::BTreeMap;

use milvus_cdc::internals::{
    AppliedMark, Body, Channel, CollectionId, Op, Position, ReadFrom, Record, RecordOrigin, ReorderBuffer, StartQuery,
    TickPlace, Timestamp,
};
use serde_json::Value;

use self::net_rows::NetRows;
use self::unpacked::Recording;

impl Recording {
    /// What the server has answered in the last step, by database and collection.
    fn last_answers(&self, method: &str) -> BTreeMap<(String, String), Value> {
        self.last_calls(method).into_iter().map(|(place, mut line)| (place, line["response_json"].take())).collect()
    }
}

/// How far applying a channel has come after a tick.
struct Restart {
    applied: usize,
    position: Position,
    mark: AppliedMark,
}

/// The operations of a channel in the order in which a task applies them, and where it would go on after each tick.
/// `mark`: what is applied already.
fn operations(
    channel: &Channel,
    records: impl IntoIterator<Item = Record>,
    mark: AppliedMark,
) -> (Vec<Op>, Vec<Restart>) {
    let mut buffer = ReorderBuffer::default();
    let (mut applied, mut restarts) = (Vec::new(), Vec::new());
    for Record { position, end, body, .. } in records {
        let origin = RecordOrigin { channel, position, ts: end, mark: None };
        match body {
            Body::Tick { resume } => {
                let (released, reached) =
                    buffer.release(end, TickPlace { position, resume: resume.unwrap_or(position) });
                applied.extend(released);
                restarts.push(Restart { applied: applied.len(), position: reached.position, mark: reached.mark });
            }
            Body::Undecodable(error) => panic!("{channel} at {position}: {error}"),
            Body::Stop(why) => panic!("{channel} at {position}: {why}"),
            Body::Uncarried { what, .. } | Body::Compare { what, .. } => panic!("{channel} at {position}: {what}"),
            _ if mark.covers(position, end) => {}
            Body::Insert(insert) => {
                assert!(!insert.half, "the time of a message is the time of its rows");
                buffer.insert(origin, insert);
            }
            Body::Delete(delete) => buffer.delete(origin, delete),
            Body::Truncate(truncate) => buffer.truncate(origin, truncate),
            _ => {}
        }
    }
    assert!(buffer.is_empty(), "{channel}: the recording ends in a tick");
    (applied, restarts)
}

/// A channel and its log, in order.
type ChannelLog = (Channel, Vec<Record>);

fn check(recording: &Recording, log: Vec<ChannelLog>) {
    let mut net = NetRows::new(recording);
    for (channel, records) in log {
        let (operations, _) = operations(&channel, records, AppliedMark::NOTHING);
        operations.into_iter().for_each(|op| net.apply(op));
    }
    net.check();
}

#[test]
#[ignore = "needs the recordings; scripts/test runs it where they are"]
fn recordings_over_dump_messages_end_in_the_rows_that_were_written() {
    for name in
        ["2.6.20-rocksmq", "2.6.20-woodpecker", "2.6.20-kafka", "2.6.20-pulsar", "3.0-rocksmq", "3.0-woodpecker"]
    {
        let recording = Recording::unpack(name);
        check(&recording, logs::dumped(&recording));
    }
}

#[test]
#[ignore = "needs the recordings; scripts/test runs it where they are"]
fn recordings_of_rocksmq_folders_end_in_the_rows_that_were_written() {
    for name in ["2.6.20-rocksmq", "2.6.20-rocksmq-rollback", "3.0-rocksmq"] {
        for state in ["rocksmq", "rocksmq-running"] {
            let recording = Recording::unpack(name);
            recording.extract(&recording.path(&format!("{state}.tar.xz")));
            check(&recording, logs::rocksmq(&recording));
        }
    }
}

#[test]
#[ignore = "needs the recordings; scripts/test runs it where they are"]
fn recordings_of_rocksmq_folders_tell_where_to_begin() {
    for name in ["2.6.20-rocksmq", "3.0-rocksmq"] {
        let recording = Recording::unpack(name);
        recording.extract(&recording.path("rocksmq.tar.xz"));
        let log = logs::open_rocksmq(&recording);
        let begins = |channel: &Channel, position: Position, id: CollectionId| {
            let first = logs::read_all(log.as_ref(), channel, ReadFrom::At(position)).remove(0);
            matches!(first.body, Body::CreateCollection(found) if found == id)
        };
        let mut found = 0;
        for answer in recording.last_answers("DescribeCollection").into_values() {
            let number = |key: &str| answer[key].as_str().and_then(|text| text.parse::<i64>().ok());
            let Some(id) = number("collectionID").map(CollectionId) else { continue };
            let created = Timestamp(number("created_timestamp").unwrap() as u64);
            for channel in answer["physical_channel_names"].as_array().unwrap() {
                let channel = Channel::new(channel.as_str().unwrap());
                let query = StartQuery { collection: id, created, reported: None };
                let start = log.collection_start(&channel, &query).unwrap();
                assert!(start.is_some_and(|start| begins(&channel, start, id)), "{name}: {channel} {id}: {start:?}");
                found += 1;
            }
        }
        assert!(found >= 25, "{name}: only {found} shards");
        for channel in recording.channels() {
            let start = log.shortly_before_tail(&channel).unwrap();
            let from = start.position.map_or(ReadFrom::First, ReadFrom::At);
            let later = |from| {
                let (ops, _) = operations(&channel, logs::read_all(log.as_ref(), &channel, from), AppliedMark::NOTHING);
                ops.iter().filter(|op| op.ts > start.after).map(|op| format!("{:?}", op.body)).collect::<Vec<_>>()
            };
            assert_eq!(later(from), later(ReadFrom::First), "{name}: {channel}: {start:?}");
        }
    }
}

#[test]
#[ignore = "needs the recordings; scripts/test runs it where they are"]
fn recordings_of_kafka_end_in_the_rows_that_were_written() {
    let recording = Recording::unpack("2.6.20-kafka");
    check(&recording, logs::decoded(logs::kafka(&recording), Position::at(0)));
}

#[test]
#[ignore = "needs the recordings; scripts/test runs it where they are"]
fn recordings_of_pulsar_end_in_the_rows_that_were_written() {
    let recording = Recording::unpack("2.6.20-pulsar");
    check(&recording, logs::decoded(logs::pulsar(&recording), Position::at(0)));
}

/// A queue's messages, read anew each time.
type ReadQueue = fn(&Recording) -> Vec<logs::QueueLog>;

#[test]
#[ignore = "needs the recordings; scripts/test runs it where they are"]
fn recordings_read_on_after_a_restart_at_any_tick() {
    let queues: [(&str, ReadQueue); 2] = [("2.6.20-kafka", logs::kafka), ("2.6.20-pulsar", logs::pulsar)];
    for (name, read) in queues {
        let recording = Recording::unpack(name);
        for channel in recording.channels() {
            let log = |from: Position| {
                let queue = read(&recording).into_iter().filter(|queue| queue.channel == channel).collect();
                logs::decoded(queue, from).remove(0).1
            };
            let (whole, restarts) = operations(&channel, log(Position::at(0)), AppliedMark::NOTHING);
            let said = |ops: &[Op]| ops.iter().map(|op| format!("{} {:?}", op.ts, op.body)).collect::<Vec<_>>();
            // Each costs a look at the whole file.
            let every = restarts.len() / 8 + 1;
            for Restart { applied, position, mark } in restarts.into_iter().step_by(every) {
                let (rest, _) = operations(&channel, log(position), mark);
                assert_eq!(said(&rest), said(&whole[applied..]), "{name}: {channel} from {position}");
            }
        }
    }
}
