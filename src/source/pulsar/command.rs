//! The commands that we send, and what is asked of those that come.

use protobuf::MessageField;

use super::frame::encode;
use super::id::Entry;
use crate::config::Secret;
use crate::milvus::pb::pulsar::{
    Ack, AuthData, AuthResponse, BaseCommand, CloseConsumer, Connect, Flow, GetLastMessageId, Lookup,
    PartitionedMetadata, Ping, Pong, Subscribe, Unsubscribe,
};

/// The numbers of commands. Each is also the number of the field that holds the command.
pub(super) mod kind {
    pub(in crate::source::pulsar) const CONNECTED: i32 = 3;
    pub(in crate::source::pulsar) const ERROR: i32 = 14;
    pub(in crate::source::pulsar) const CLOSE_CONSUMER: i32 = 16;
    pub(in crate::source::pulsar) const PING: i32 = 18;
    pub(in crate::source::pulsar) const AUTH_CHALLENGE: i32 = 36;
    pub(in crate::source::pulsar) const CONNECT: i32 = 2;
    pub(in crate::source::pulsar) const SUBSCRIBE: i32 = 4;
    pub(in crate::source::pulsar) const ACK: i32 = 10;
    pub(in crate::source::pulsar) const FLOW: i32 = 11;
    pub(in crate::source::pulsar) const UNSUBSCRIBE: i32 = 12;
    pub(in crate::source::pulsar) const SUCCESS: i32 = 13;
    pub(in crate::source::pulsar) const PONG: i32 = 19;
    pub(in crate::source::pulsar) const PARTITIONS: i32 = 21;
    pub(in crate::source::pulsar) const PARTITIONS_RESPONSE: i32 = 22;
    pub(in crate::source::pulsar) const LOOKUP: i32 = 23;
    pub(in crate::source::pulsar) const LOOKUP_RESPONSE: i32 = 24;
    pub(in crate::source::pulsar) const LAST_ID: i32 = 29;
    pub(in crate::source::pulsar) const LAST_ID_RESPONSE: i32 = 30;
    pub(in crate::source::pulsar) const AUTH_RESPONSE: i32 = 37;
}

/// The version that brokers since 2.8 speak; older ones answer with their own.
const PROTOCOL_VERSION: i32 = 19;
const CLIENT: &str = concat!("milvus-cdc ", env!("CARGO_PKG_VERSION"));
const TOKEN: &str = "token";
const EXCLUSIVE: i32 = 0;
const CUMULATIVE: i32 = 1;
const EARLIEST: i32 = 1;

/// Where a subscription begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum From {
    /// With the first message that there is.
    Earliest,
    /// Behind the last one.
    Latest,
    /// With this entry.
    Entry(Entry),
    /// With what was published this many seconds ago, by the broker's clock.
    Ago(u64),
}

fn command(kind: i32) -> BaseCommand {
    BaseCommand { kind: Some(kind), ..Default::default() }
}

/// Opens a connection; `broker`: through a proxy, to that one.
pub(super) fn connect(token: &Secret, broker: Option<&str>) -> Vec<u8> {
    let mut connect = Connect::new();
    connect.set_client_version(CLIENT.to_owned());
    connect.set_protocol_version(PROTOCOL_VERSION);
    if !token.is_empty() {
        connect.set_auth_method_name(TOKEN.to_owned());
        connect.set_auth_data(token.expose().into());
    }
    connect.proxy_to_broker_url = broker.map(str::to_owned);
    encode(&BaseCommand { connect: MessageField::some(connect), ..command(kind::CONNECT) })
}

/// Shows the token once more.
pub(super) fn auth_response(token: &Secret) -> Vec<u8> {
    let data = AuthData {
        auth_method_name: Some(TOKEN.to_owned()),
        auth_data: Some(token.expose().into()),
        ..Default::default()
    };
    let response = AuthResponse {
        client_version: Some(CLIENT.to_owned()),
        response: MessageField::some(data),
        protocol_version: Some(PROTOCOL_VERSION),
        ..Default::default()
    };
    encode(&BaseCommand { auth_response: MessageField::some(response), ..command(kind::AUTH_RESPONSE) })
}

pub(super) fn ping() -> Vec<u8> {
    encode(&BaseCommand { ping: MessageField::some(Ping::new()), ..command(kind::PING) })
}

pub(super) fn pong() -> Vec<u8> {
    encode(&BaseCommand { pong: MessageField::some(Pong::new()), ..command(kind::PONG) })
}

/// How many partitions a topic has.
pub(super) fn partitions(topic: &str, request: u64) -> BaseCommand {
    let question =
        PartitionedMetadata { topic: Some(topic.to_owned()), request_id: Some(request), ..Default::default() };
    BaseCommand { partitions: MessageField::some(question), ..command(kind::PARTITIONS) }
}

/// Which broker has a topic.
pub(super) fn lookup(topic: &str, authoritative: bool, request: u64) -> BaseCommand {
    let question = Lookup {
        topic: Some(topic.to_owned()),
        request_id: Some(request),
        authoritative: Some(authoritative),
        ..Default::default()
    };
    BaseCommand { lookup: MessageField::some(question), ..command(kind::LOOKUP) }
}

/// What a subscription is to be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Subscription<'a> {
    pub(super) name: &'a str,
    pub(super) durable: bool,
    /// Where it begins; a durable one that exists goes on where it is.
    pub(super) from: From,
}

/// Subscribes. A topic that does not exist is not made.
pub(super) fn subscribe(topic: &str, wanted: Subscription<'_>, consumer: u64, request: u64) -> BaseCommand {
    let start = match wanted.from {
        From::Entry(entry) => MessageField::some(entry.to_wire()),
        From::Latest if !wanted.durable => MessageField::some(Entry::LATEST.to_wire()),
        From::Earliest if !wanted.durable => MessageField::some(Entry::EARLIEST.to_wire()),
        From::Ago(_) => MessageField::some(Entry::EARLIEST.to_wire()),
        From::Latest | From::Earliest => MessageField::none(),
    };
    let subscribe = Subscribe {
        topic: Some(topic.to_owned()),
        subscription: Some(wanted.name.to_owned()),
        sub_type: Some(EXCLUSIVE),
        consumer_id: Some(consumer),
        request_id: Some(request),
        consumer_name: Some(CLIENT.to_owned()),
        durable: Some(wanted.durable),
        start,
        initial_position: Some(if wanted.from == From::Latest { 0 } else { EARLIEST }),
        force_topic_creation: Some(false),
        rollback_seconds: match wanted.from {
            From::Ago(seconds) => Some(seconds),
            _ => None,
        },
        ..Default::default()
    };
    BaseCommand { subscribe: MessageField::some(subscribe), ..command(kind::SUBSCRIBE) }
}

/// Allows the broker to send this many messages more.
pub(super) fn flow(consumer: u64, permits: u32) -> Vec<u8> {
    let flow = Flow { consumer_id: Some(consumer), permits: Some(permits), ..Default::default() };
    encode(&BaseCommand { flow: MessageField::some(flow), ..command(kind::FLOW) })
}

/// A durable subscription does not need this entry and those before it.
pub(super) fn ack(consumer: u64, entry: Entry) -> Vec<u8> {
    let ack = Ack {
        consumer_id: Some(consumer),
        ack_type: Some(CUMULATIVE),
        message_id: vec![entry.to_wire()],
        ..Default::default()
    };
    encode(&BaseCommand { ack: MessageField::some(ack), ..command(kind::ACK) })
}

/// Where the topic ends.
pub(super) fn last_id(consumer: u64, request: u64) -> BaseCommand {
    let question = GetLastMessageId { consumer_id: Some(consumer), request_id: Some(request), ..Default::default() };
    BaseCommand { last_id: MessageField::some(question), ..command(kind::LAST_ID) }
}

/// Ends a durable subscription for good.
pub(super) fn unsubscribe(consumer: u64, request: u64) -> BaseCommand {
    let unsubscribe = Unsubscribe { consumer_id: Some(consumer), request_id: Some(request), ..Default::default() };
    BaseCommand { unsubscribe: MessageField::some(unsubscribe), ..command(kind::UNSUBSCRIBE) }
}

/// Nobody takes the consumer's messages any more.
pub(super) fn close_consumer(consumer: u64, request: u64) -> Vec<u8> {
    let close = CloseConsumer { consumer_id: Some(consumer), request_id: Some(request), ..Default::default() };
    encode(&BaseCommand { close_consumer: MessageField::some(close), ..command(kind::CLOSE_CONSUMER) })
}

/// The number of the request that a command answers.
pub(super) fn answers(command: &BaseCommand) -> Option<u64> {
    match command.kind() {
        kind::SUCCESS => Some(command.success.request_id()),
        kind::ERROR => Some(command.error.request_id()),
        kind::PARTITIONS_RESPONSE => Some(command.partitions_response.request_id()),
        kind::LOOKUP_RESPONSE => Some(command.lookup_response.request_id()),
        kind::LAST_ID_RESPONSE => Some(command.last_id_response.request_id()),
        _ => None,
    }
}
