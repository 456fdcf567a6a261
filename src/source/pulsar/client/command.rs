//! The commands that the client sends, and the request that an incoming command answers.

use protobuf::MessageField;

use super::frame::encode;
use super::id::EntryId;
use super::proto::{
    Ack, AuthData, AuthResponse, BaseCommand, CloseConsumer, Connect, Flow, GetLastMessageId, Lookup,
    PartitionedMetadata, Ping, Pong, Subscribe, Unsubscribe,
};
use crate::config::Secret;

/// The numbers of commands. Each is also the number of the field that holds the command.
pub(crate) mod kind {
    pub(crate) const CONNECTED: i32 = 3;
    pub(crate) const ERROR: i32 = 14;
    pub(crate) const CLOSE_CONSUMER: i32 = 16;
    pub(crate) const PING: i32 = 18;
    pub(crate) const AUTH_CHALLENGE: i32 = 36;
    pub(crate) const CONNECT: i32 = 2;
    pub(crate) const SUBSCRIBE: i32 = 4;
    pub(crate) const ACK: i32 = 10;
    pub(crate) const FLOW: i32 = 11;
    pub(crate) const UNSUBSCRIBE: i32 = 12;
    pub(crate) const SUCCESS: i32 = 13;
    pub(crate) const PONG: i32 = 19;
    pub(crate) const PARTITIONS: i32 = 21;
    pub(crate) const PARTITIONS_RESPONSE: i32 = 22;
    pub(crate) const LOOKUP: i32 = 23;
    pub(crate) const LOOKUP_RESPONSE: i32 = 24;
    pub(crate) const LAST_ID: i32 = 29;
    pub(crate) const LAST_ID_RESPONSE: i32 = 30;
    pub(crate) const AUTH_RESPONSE: i32 = 37;
}

/// The protocol version of brokers since 2.8; older ones answer with their own.
const PROTOCOL_VERSION: i32 = 19;
const CLIENT: &str = concat!("milvus-cdc ", env!("CARGO_PKG_VERSION"));
const TOKEN: &str = "token";
const EXCLUSIVE: i32 = 0;
const CUMULATIVE: i32 = 1;
const EARLIEST: i32 = 1;

/// Where a subscription begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StartAt {
    /// At the first message that the topic has.
    Earliest,
    /// Behind the last message.
    Latest,
    /// At this entry.
    Entry(EntryId),
    /// At what was published this many seconds ago, by the broker's clock.
    Ago(u64),
}

fn command(kind: i32) -> BaseCommand {
    BaseCommand { kind: Some(kind), ..Default::default() }
}

/// Opens a connection; `broker`: the one to be reached through a proxy.
pub(crate) fn connect(token: &Secret, broker: Option<&str>) -> Vec<u8> {
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

/// Presents the token once more.
pub(crate) fn auth_response(token: &Secret) -> Vec<u8> {
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

pub(crate) fn ping() -> Vec<u8> {
    encode(&BaseCommand { ping: MessageField::some(Ping::new()), ..command(kind::PING) })
}

pub(crate) fn pong() -> Vec<u8> {
    encode(&BaseCommand { pong: MessageField::some(Pong::new()), ..command(kind::PONG) })
}

/// Asks how many partitions a topic has.
pub(crate) fn partitions(topic: &str, request: u64) -> BaseCommand {
    let question =
        PartitionedMetadata { topic: Some(topic.to_owned()), request_id: Some(request), ..Default::default() };
    BaseCommand { partitions: MessageField::some(question), ..command(kind::PARTITIONS) }
}

/// Asks which broker owns a topic.
pub(crate) fn lookup(topic: &str, authoritative: bool, request: u64) -> BaseCommand {
    let question = Lookup {
        topic: Some(topic.to_owned()),
        request_id: Some(request),
        authoritative: Some(authoritative),
        ..Default::default()
    };
    BaseCommand { lookup: MessageField::some(question), ..command(kind::LOOKUP) }
}

/// Whether a subscription outlives its consumer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// The broker keeps it, and the messages behind it, until it is ended.
    Durable,
    /// It ends with its consumer and keeps nothing.
    NonDurable,
}

/// The properties of a subscription.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subscription<'a> {
    pub(crate) name: &'a str,
    pub(crate) durability: Durability,
    /// Where it begins; an existing durable one continues where it stands.
    pub(crate) start: StartAt,
}

/// Subscribes. Does not create a topic that does not exist.
pub(crate) fn subscribe(topic: &str, wanted: Subscription<'_>, consumer: u64, request: u64) -> BaseCommand {
    let is_durable = wanted.durability == Durability::Durable;
    let start = match wanted.start {
        StartAt::Entry(entry) => MessageField::some(entry.to_wire()),
        StartAt::Latest if !is_durable => MessageField::some(EntryId::LATEST.to_wire()),
        StartAt::Earliest if !is_durable => MessageField::some(EntryId::EARLIEST.to_wire()),
        StartAt::Ago(_) => MessageField::some(EntryId::EARLIEST.to_wire()),
        StartAt::Latest | StartAt::Earliest => MessageField::none(),
    };
    let subscribe = Subscribe {
        topic: Some(topic.to_owned()),
        subscription: Some(wanted.name.to_owned()),
        sub_type: Some(EXCLUSIVE),
        consumer_id: Some(consumer),
        request_id: Some(request),
        consumer_name: Some(CLIENT.to_owned()),
        durable: Some(is_durable),
        start,
        initial_position: Some(if wanted.start == StartAt::Latest { 0 } else { EARLIEST }),
        force_topic_creation: Some(false),
        rollback_seconds: match wanted.start {
            StartAt::Ago(seconds) => Some(seconds),
            _ => None,
        },
        ..Default::default()
    };
    BaseCommand { subscribe: MessageField::some(subscribe), ..command(kind::SUBSCRIBE) }
}

/// Allows the broker to send this many more messages.
pub(crate) fn flow(consumer: u64, permits: u32) -> Vec<u8> {
    let flow = Flow { consumer_id: Some(consumer), permits: Some(permits), ..Default::default() };
    encode(&BaseCommand { flow: MessageField::some(flow), ..command(kind::FLOW) })
}

/// A durable subscription no longer needs this entry and those before it.
pub(crate) fn ack(consumer: u64, entry: EntryId) -> Vec<u8> {
    let ack = Ack {
        consumer_id: Some(consumer),
        ack_type: Some(CUMULATIVE),
        message_id: vec![entry.to_wire()],
        ..Default::default()
    };
    encode(&BaseCommand { ack: MessageField::some(ack), ..command(kind::ACK) })
}

/// Asks for the topic's last entry.
pub(crate) fn last_id(consumer: u64, request: u64) -> BaseCommand {
    let question = GetLastMessageId { consumer_id: Some(consumer), request_id: Some(request), ..Default::default() };
    BaseCommand { last_id: MessageField::some(question), ..command(kind::LAST_ID) }
}

/// Ends a durable subscription for good.
pub(crate) fn unsubscribe(consumer: u64, request: u64) -> BaseCommand {
    let unsubscribe = Unsubscribe { consumer_id: Some(consumer), request_id: Some(request), ..Default::default() };
    BaseCommand { unsubscribe: MessageField::some(unsubscribe), ..command(kind::UNSUBSCRIBE) }
}

/// Closes a consumer.
pub(crate) fn close_consumer(consumer: u64, request: u64) -> Vec<u8> {
    let close = CloseConsumer { consumer_id: Some(consumer), request_id: Some(request), ..Default::default() };
    encode(&BaseCommand { close_consumer: MessageField::some(close), ..command(kind::CLOSE_CONSUMER) })
}

/// The number of the request that a command answers.
pub(crate) fn answers(command: &BaseCommand) -> Option<u64> {
    match command.kind() {
        kind::SUCCESS => Some(command.success.request_id()),
        kind::ERROR => Some(command.error.request_id()),
        kind::PARTITIONS_RESPONSE => Some(command.partitions_response.request_id()),
        kind::LOOKUP_RESPONSE => Some(command.lookup_response.request_id()),
        kind::LAST_ID_RESPONSE => Some(command.last_id_response.request_id()),
        _ => None,
    }
}
