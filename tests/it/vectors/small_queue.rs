//! A message of each kind as Milvus 2.6.20 has written it into its queue (`queue-2.6.20.jsonl`: channel, offset,
//! properties and payload as they came from Kafka), read as Kafka and as RocksMQ hold it.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use milvus_cdc::internals::decode::{ChannelDecoder, Queue, QueueMessage};
use milvus_cdc::internals::{Body, Keys, Position, Record};
use serde_json::Value;

use super::wire::Message;

/// A message of the file.
struct Line(Value);

fn lines() -> impl Iterator<Item = Line> {
    include_str!("queue-2.6.20.jsonl").lines().map(|line| Line(serde_json::from_str(line).unwrap()))
}

impl Line {
    fn channel(&self) -> String {
        self.0["channel"].as_str().unwrap().trim_start_matches("by-dev-rootcoord-").to_owned()
    }

    fn position(&self) -> Position {
        Position::at(self.0["offset"].as_u64().unwrap())
    }

    fn properties(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0["properties"].as_object().unwrap().iter().map(|(key, value)| (key.as_str(), value.as_str().unwrap()))
    }

    fn payload(&self) -> Vec<u8> {
        STANDARD.decode(self.0["payload"].as_str().unwrap()).unwrap()
    }

    /// Properties as headers.
    fn in_kafka(&self) -> QueueMessage {
        let properties = self.properties().map(|(key, value)| (key, value.as_bytes()));
        QueueMessage::with_properties(self.position(), properties, self.payload().into(), Queue::Kafka)
    }

    /// Everything in the value, behind ten bytes that no message of 2.5 begins with.
    fn in_rocksmq(&self) -> QueueMessage {
        let entry = |(key, value): (&str, &str)| Message::new().bytes(1, key).bytes(2, value);
        let layout = Message::new().bytes(1, self.payload());
        let layout = self.properties().map(entry).fold(layout, |layout, entry| layout.message(2, &entry));
        let value = [&b"\xff\xfe\xfd\xfcSTREAM"[..], &layout.encoded()].concat();
        QueueMessage::of_rocksmq(self.position(), &value.into())
    }
}

/// Channel, position, milliseconds of the last minute, and what it says.
fn words(channel: &str, record: &Record) -> String {
    let what = match &record.body {
        Body::Tick { resume } => format!("tick, resume {}", resume.unwrap()),
        Body::Insert(insert) => format!("insert {} into {}", insert.rows, short(insert.collection.0)),
        Body::Delete(delete) => {
            let Keys::Int(keys) = &delete.keys else { panic!("no integers") };
            format!("delete {} from {}", keys.len(), short(delete.collection.0))
        }
        Body::CreateCollection(id) => format!("create {}", short(id.0)),
        Body::DropCollection(id) => format!("drop {}", short(id.0)),
        Body::CollectionHint(id) => format!("hint {}", short(id.0)),
        Body::CatalogHint(None) => "hint".into(),
        Body::Truncate(truncate) => {
            let channels: Vec<&str> = truncate.channels.iter().map(|channel| channel.as_str()).collect();
            let channels = channels.join(" ").replace("by-dev-rootcoord-", "");
            format!("truncate {} on {channels}", short(truncate.collection.0))
        }
        Body::Ignored(name) => format!("ignored {name}"),
        Body::Part => "part".into(),
        other => panic!("{other:?}"),
    };
    format!("{channel} {} @{} {what}", record.position, record.end.physical_ms() % 60_000)
}

/// All ids begin alike.
fn short(id: i64) -> i64 {
    id % 1000
}

fn read(queue: Queue, message: fn(&Line) -> QueueMessage) -> Vec<String> {
    let (mut decoders, mut said) = (BTreeMap::new(), Vec::new());
    for line in lines() {
        let channel = line.channel();
        let decoder = decoders.entry(channel.clone()).or_insert_with(|| ChannelDecoder::new(queue));
        decoder.take(message(&line), &mut |record| said.push(words(&channel, &record)));
    }
    said
}

#[test]
fn a_message_of_each_kind() {
    let kafka = read(Queue::Kafka, Line::in_kafka);
    assert_eq!(kafka, EXPECTED);
    assert_eq!(read(Queue::RocksMq, Line::in_rocksmq), EXPECTED);
}

/// In this order. Bodies of a transaction stand where it begins, which is where reading must resume for them.
const EXPECTED: &[&str] = &[
    // The first message of the server's first term.
    "dml_0 0 @36995 tick, resume 0",
    "dml_0 1 @38094 tick, resume 1",
    "dml_0 2 @38094 ignored FlushAll",
    // A collection is made: its shard's copy and the control channel's.
    "dml_0 5 @38946 create 623",
    "dml_0 6 @38946 hint 623",
    "dml_0 7 @39194 hint 623",
    "dml_0 77 @52795 hint 623",
    "dml_0 82 @54795 ignored CreateSegment",
    "dml_0 109 @58194 delete 1 from 623",
    // An upsert, with a tick in it and its insert first; a row of its own behind it.
    "dml_0 110 @58194 part",
    "dml_0 111 @58194 tick, resume 110",
    "dml_0 112 @58394 part",
    "dml_0 113 @58394 part",
    "dml_0 110 @58394 insert 1 into 623",
    "dml_0 110 @58394 delete 1 from 623",
    "dml_0 114 @58394 part",
    "dml_0 115 @58394 insert 1 into 623",
    "dml_0 163 @195 hint 634",
    "dml_0 167 @595 hint 623",
    "dml_0 173 @1144 ignored ManualFlush",
    // One collection is truncated that has no shard here, and one that has.
    "dml_0 178 @5003 ignored TruncateCollection",
    "dml_0 179 @5195 tick, resume 179",
    "dml_0 180 @6594 truncate 740 on dml_0 dml_1 dml_9",
    "dml_0 181 @6594 ignored TruncateCollection",
    "dml_0 185 @7994 hint 623",
    "dml_0 186 @7994 hint 623",
    "dml_0 191 @11194 hint",
    "dml_0 201 @12594 hint 634",
    "dml_0 202 @12594 drop 751",
    "dml_0 292 @7906 hint",
    "dml_0 297 @8501 hint",
    // Another upsert: the tick in it is as old as its beginning.
    "dml_11 34 @57395 part",
    "dml_11 35 @57594 part",
    "dml_11 36 @57594 part",
    "dml_11 37 @57395 tick, resume 34",
    "dml_11 34 @57594 insert 3 into 634",
    "dml_11 34 @57594 delete 3 from 634",
    "dml_11 38 @57594 part",
    // Rolled back.
    "dml_11 222 @8102 part",
    "dml_11 223 @8102 ignored RollbackTxn",
];
