//! The logs of a recording as records, in each of the ways that a log is read.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use milvus_cdc::internals::decode::{ChannelDecoder, DumpAnswer, Queue, QueueMessage, Transactions, read};
use milvus_cdc::internals::{
    Body, Cancel, Channel, Client, ConnectOptions, Log, LogKind, LogSettings, Position, ReadEnd, ReadFrom, Record,
    Timestamp, open_log,
};
use serde_json::Value;

use super::{ChannelLog, Recording};

/// A channel of a queue.
pub(super) struct QueueLog {
    pub(super) channel: Channel,
    queue: Queue,
    messages: Vec<QueueMessage>,
}

/// Each channel's answers of `DumpMessages`, put together as `wal` does it.
pub(super) fn dumped(recording: &Recording) -> Vec<ChannelLog> {
    let channels = recording.channels().into_iter();
    channels.map(|channel| (channel.clone(), dumped_channel(&recording.path(&format!("dump/{channel}.bin"))))).collect()
}

fn dumped_channel(file: &Path) -> Vec<Record> {
    let mut rest = Bytes::from(std::fs::read(file).unwrap());
    let (mut transactions, mut records) = (Transactions::default(), Vec::new());
    while !rest.is_empty() {
        let size = u32::from_le_bytes(rest.split_to(4)[..].try_into().unwrap());
        let DumpAnswer::Message(message) = read(&rest.split_to(size as usize)).unwrap() else { panic!("no message") };
        let Some(complete) = transactions.take(&message).unwrap() else { continue };
        let (position, at) = (Position::at(complete.tick), Timestamp(complete.tick));
        let bodies = complete.bodies.into_iter().chain([Body::Tick { resume: None }]);
        records.extend(bodies.map(|body| Record { position, begin: at, end: at, mark: None, body }));
    }
    assert!(transactions.is_idle());
    records
}

/// The folder of a RocksMQ, opened as a task opens it. Questions about the time are refused: nobody listens.
pub(super) fn open_rocksmq(recording: &Recording) -> Arc<dyn Log> {
    let (address, connect_timeout) = ("127.0.0.1:9".to_owned(), Duration::from_secs(1));
    let nobody = ConnectOptions { address, token: String::new(), tls: None, connect_timeout };
    let settings = LogSettings {
        wanted: Some(LogKind::RocksMq),
        rocksmq: Some(recording.path("rdb_data")),
        kafka: None,
        pulsar: None,
    };
    let client = Arc::new(Client::open(&nobody).unwrap());
    let log = open_log(&settings, &client, &Cancel::default(), &recording.path("own")).unwrap().log;
    log.refresh().unwrap();
    log
}

/// All of its records.
pub(super) fn rocksmq(recording: &Recording) -> Vec<ChannelLog> {
    let log = open_rocksmq(recording);
    let read = |channel: Channel| (channel.clone(), read_all(log.as_ref(), &channel, ReadFrom::First));
    recording.channels().into_iter().map(read).collect()
}

/// The records from a place on, in turns so small that transactions are open between them.
pub(super) fn read_all(log: &dyn Log, channel: &Channel, from: ReadFrom) -> Vec<Record> {
    let (mut records, mut next) = (Vec::new(), from);
    loop {
        let end = log.read(channel, next, 2000, &mut |record: Record| {
            next = ReadFrom::After(record.position);
            records.push(record);
        });
        match end.unwrap() {
            ReadEnd::More => {}
            ReadEnd::AtTail => return records,
            other => panic!("{channel}: {other:?}"),
        }
    }
}

/// The records of a Kafka.
pub(super) fn kafka(recording: &Recording) -> Vec<QueueLog> {
    by_channel(Queue::Kafka, recording.lines("kafka.jsonl").iter().map(of_kafka))
}

fn of_kafka(line: &Value) -> (&str, QueueMessage) {
    let position = Position::at(line["offset"].as_u64().unwrap());
    (text(&line["topic"]), message(position, &line["headers"], &line["value"], Queue::Kafka))
}

/// The messages of a Pulsar.
pub(super) fn pulsar(recording: &Recording) -> Vec<QueueLog> {
    by_channel(Queue::Pulsar, recording.lines("pulsar.jsonl").iter().map(of_pulsar))
}

fn of_pulsar(line: &Value) -> (&str, QueueMessage) {
    let number = |key: &str| line[key].as_u64().unwrap();
    let position = Position::in_ledger(number("ledger"), number("entry"), number("batch") as u16);
    let topic = text(&line["topic"]).rsplit_once('/').unwrap().1;
    (topic, message(position, &line["properties"], &line["payload"], Queue::Pulsar))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn message(position: Position, properties: &Value, payload: &Value, queue: Queue) -> QueueMessage {
    let properties = properties.as_object().unwrap().iter();
    let properties = properties.map(|(key, value)| (key.as_str(), text(value).as_bytes()));
    let payload = STANDARD.decode(payload.as_str().unwrap_or_default()).unwrap();
    QueueMessage::with_properties(position, properties, payload.into(), queue)
}

fn by_channel<'a>(queue: Queue, messages: impl Iterator<Item = (&'a str, QueueMessage)>) -> Vec<QueueLog> {
    let mut channels: BTreeMap<&str, Vec<QueueMessage>> = BTreeMap::new();
    for (topic, message) in messages {
        channels.entry(topic).or_default().push(message);
    }
    let log = |(name, mut messages): (&str, Vec<QueueMessage>)| {
        messages.sort_by_key(|message| message.position);
        QueueLog { channel: Channel::new(name), queue, messages }
    };
    channels.into_iter().map(log).collect()
}

/// The messages from a place on, decoded one after the other.
pub(super) fn decoded(logs: Vec<QueueLog>, from: Position) -> Vec<ChannelLog> {
    let decode = |log: QueueLog| {
        let (mut decoder, mut records) = (ChannelDecoder::new(log.queue), Vec::new());
        for message in log.messages.into_iter().filter(|message| message.position >= from) {
            decoder.take(message, &mut |record| records.push(record));
        }
        (log.channel, records)
    };
    logs.into_iter().map(decode).collect()
}
