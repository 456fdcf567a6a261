//! A message of each kind of the write-ahead log of Milvus 2.6 and 3, as `DumpMessages` answers it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use milvus_cdc::internals::decode::{DecodeError, DumpAnswer, Envelope, Queue, Transactions, body, read};
use milvus_cdc::internals::{Body, CollectionRef, Keys};

use super::wire::{Message, column};

/// The hybrid time of 2026-01-01, about.
const TICK: u64 = 463_275_000_000_000_005;
const COLLECTION: u64 = 451_000_000_000_000_001;
const PARTITION: u64 = 451_000_000_000_000_002;
const PCHANNEL: &str = "by-dev-rootcoord-dml_3";
const VCHANNEL: &str = "by-dev-rootcoord-dml_3_451000000000000001v0";
const OTHER_SHARD: &str = "by-dev-rootcoord-dml_4_451000000000000001v1";
const CONTROL: &str = "by-dev-rootcoord-dml_0_vcchan";

fn base36(number: u64) -> String {
    let digit = |number: u64| char::from_digit((number % 36) as u32, 36).unwrap();
    let rest = if number < 36 { String::new() } else { base36(number / 36) };
    rest + &digit(number).to_string()
}

fn base64(message: &Message) -> String {
    STANDARD.encode(message.encoded())
}

/// A message that is not encoded yet: properties can be put in and taken out.
#[derive(Clone)]
struct Draft {
    /// Text and number of the queue.
    id: (&'static str, u64),
    payload: Message,
    properties: Vec<(&'static str, String)>,
}

impl Draft {
    fn new(kind: u32, header: &Message, payload: Message) -> Draft {
        let properties = vec![
            ("_v", "1".to_owned()),
            ("_t", kind.to_string()),
            ("_tt", base36(TICK)),
            ("_lc", "21i3v8".to_owned()),
            ("_wt", "5".to_owned()),
            ("_vc", VCHANNEL.to_owned()),
            ("_h", base64(header)),
            ("somebody's own", "is passed over".to_owned()),
        ];
        Draft { id: ("21i3v9", 3), payload, properties }
    }

    fn with(mut self, key: &'static str, value: impl Into<String>) -> Draft {
        self.properties.retain(|(name, _)| *name != key);
        self.properties.push((key, value.into()));
        self
    }

    fn without(mut self, key: &str) -> Draft {
        self.properties.retain(|(name, _)| *name != key);
        self
    }

    fn of_transaction(self, id: u64) -> Draft {
        self.with("_tx", base64(&Message::new().number(1, id).number(2, 10_000)))
    }

    fn broadcast(self, vchannels: &[&str]) -> Draft {
        let header = vchannels.iter().fold(Message::new().number(1, 4_711), |header, name| header.bytes(2, name));
        self.with("_bh", base64(&header.number(4, 1)))
    }

    /// `DumpMessagesResponse`: a message (2) with its id 1, payload 2 and properties 3.
    fn answer(&self) -> Message {
        let id = Message::new().bytes(1, self.id.0).number(2, self.id.1);
        let message = Message::new().message(1, &id).message(2, &self.payload);
        let property = |key: &str, value: &str| Message::new().bytes(1, key).bytes(2, value);
        let add = |message: Message, (key, value): &(&str, String)| message.message(3, &property(key, value));
        Message::new().message(2, &self.properties.iter().fold(message, add))
    }

    fn read(&self) -> Envelope {
        match read(&self.answer().encoded().into()) {
            Ok(DumpAnswer::Message(message)) => *message,
            other => panic!("{other:?}"),
        }
    }

    fn body(&self) -> Body {
        body(&self.read()).unwrap()
    }
}

/// Headers that name a collection in this field.
fn header(field: u64) -> Message {
    Message::new().number(field, COLLECTION)
}

/// `msg.InsertRequest` with two rows.
fn insert() -> Draft {
    let columns = [column::int64(100, "id", &[1, 2]), column::varchar(101, "title", &[Some("a"), None])];
    let base = Message::new().number(1, 400).number(3, TICK - 9);
    let named = Message::new().message(1, &base).bytes(3, "shop").bytes(4, "books").bytes(5, "_default");
    let located = named.number(7, COLLECTION).number(8, PARTITION).packed(10, &[TICK - 9; 2]).packed(11, &[901, 902]);
    let rows = columns.iter().fold(located, |rows, column| rows.message(13, column)).number(14, 2).number(15, 1);
    let partition = Message::new().number(1, PARTITION).number(2, 2).number(3, 64);
    Draft::new(2, &header(1).message(2, &partition), rows)
}

/// `msg.DeleteRequest` of these keys (`schema.IDs`).
fn delete(keys: &Message) -> Draft {
    let located = Message::new().message(1, &Message::new().number(1, 401)).number(7, COLLECTION).signed(8, -1);
    Draft::new(3, &header(1).number(2, 2), located.packed(10, &[TICK - 9; 2]).number(11, 2).message(12, keys))
}

fn integers() -> Message {
    Message::new().message(1, &Message::new().packed(1, &[7, u64::MAX]))
}

#[test]
fn every_property_of_a_message() {
    let draft = insert().of_transaction(12).broadcast(&[VCHANNEL, OTHER_SHARD]).with("_rh", "");
    let message = draft.read();
    assert_eq!((message.id.queue, message.id.text.as_str()), (Queue::Kafka, "21i3v9"));
    assert_eq!((message.last_confirmed.queue, message.last_confirmed.text.as_str()), (Queue::Kafka, "21i3v8"));
    assert_eq!((message.number, message.tick, message.vchannel.as_str()), (2, TICK, VCHANNEL));
    assert_eq!(Envelope::pchannel(&message.vchannel), PCHANNEL);
    assert_eq!((message.txn, message.replicated, message.encrypted), (Some(12), true, false));
    let broadcast = message.broadcast.as_ref().unwrap();
    assert_eq!((broadcast.id, &broadcast.vchannels[..]), (4_711, &[VCHANNEL.to_owned(), OTHER_SHARD.to_owned()][..]));
    assert_eq!(STANDARD.encode(&message.header), draft.properties.iter().find(|(key, _)| *key == "_h").unwrap().1);
    assert_eq!(message.payload, draft.payload.encoded());

    let plain = insert().without("_lc").with("_lcs", "").without("_vc").read();
    assert_eq!(plain.last_confirmed, plain.id, "the message's own id");
    assert_eq!((plain.txn, plain.replicated, plain.vchannel.as_str(), plain.broadcast), (None, false, "", None));
}

#[test]
fn ids_of_every_queue() {
    let pulsar = base64(&Message::new().number(1, 4_711).number(2, 15).signed(3, -1).signed(4, -1));
    let woodpecker = base64(&Message::new().number(1, 12).number(2, 345));
    let cases = [
        ("3g3hw38fqiqt", 1, Queue::RocksMq),
        (pulsar.leak(), 2, Queue::Pulsar),
        ("21i3v9", 3, Queue::Kafka),
        (woodpecker.leak(), 4, Queue::Woodpecker),
    ];
    for (text, number, queue) in cases {
        let message = Draft { id: (text, number), ..insert().without("_lc").with("_lcs", "") }.read();
        assert_eq!((message.id.queue, message.id.text.as_str()), (queue, text));
    }
}

#[test]
fn rows_and_keys() {
    let Body::Insert(rows) = insert().body() else { panic!("no insert") };
    assert_eq!((rows.collection.0, rows.partition.0), (COLLECTION as i64, PARTITION as i64));
    assert_eq!((rows.rows, rows.half, rows.row_id), (2, false, Some(901)));
    let columns = [column::int64(100, "id", &[1, 2]), column::varchar(101, "title", &[Some("a"), None])];
    let found: Vec<Vec<u8>> = rows.columns.iter().map(|column| column.parts().concat()).collect();
    assert_eq!(found, columns.map(|column| column.encoded()));

    let texts = Message::new().message(2, &Message::new().bytes(1, "x").bytes(1, "ü"));
    for (keys, expected) in [(integers(), Keys::Int(vec![7, -1])), (texts, Keys::Str(vec!["x".into(), "ü".into()]))] {
        let Body::Delete(found) = delete(&keys).body() else { panic!("no delete") };
        assert_eq!((found.collection.0, found.partition.0), (COLLECTION as i64, -1));
        assert_eq!(found.keys, expected);
    }
    let by_condition = Draft { payload: Message::new().number(7, COLLECTION).bytes(14, "plan"), ..delete(&integers()) };
    assert!(matches!(body(&by_condition.read()), Err(DecodeError::ByCondition)));
    for (draft, what) in [(insert(), "encrypted rows"), (delete(&integers()), "encrypted deletes")] {
        let draft = Draft { payload: Message::new().bytes(1, "secret"), ..draft.with("_ch", "") };
        let Body::Uncarried { collection, what: found } = draft.body() else { panic!("{what}: not seen") };
        assert_eq!((collection.0, found), (COLLECTION as i64, what));
    }
}

/// What a message without rows says, in words.
fn said(draft: &Draft) -> String {
    match draft.body() {
        Body::Tick { .. } => "tick".to_owned(),
        Body::CreateCollection(id) => format!("create {id}"),
        Body::DropCollection(id) => format!("drop {id}"),
        Body::CollectionHint(id) => format!("hint {id}"),
        Body::CatalogHint(None) => "hint".to_owned(),
        Body::Release(CollectionRef::Id(id)) => format!("release {id}"),
        Body::Truncate(truncate) => {
            let channels: Vec<&str> = truncate.channels.iter().map(|channel| channel.as_str()).collect();
            format!("truncate {} as {} on {}", truncate.collection, truncate.id, channels.join(" "))
        }
        Body::Uncarried { collection, what } => format!("{what} {collection}"),
        Body::Ignored(name) => format!("ignored {name}"),
        Body::Stop(why) => format!("stop: {why}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_concerns_the_catalog() {
    let shards = [CONTROL, VCHANNEL, OTHER_SHARD];
    let of = |kind: u32, header: Message| Draft::new(kind, &header, Message::new());
    let database = || Message::new().bytes(1, "shop").number(2, 5);
    let imported = Draft { payload: header(4), ..of(11, Message::new()) };
    let cases = [
        (of(1, Message::new()).without("_vc"), "tick".to_owned()),
        (of(5, header(1)).broadcast(&shards), format!("create {COLLECTION}")),
        (of(6, header(1)).broadcast(&shards), format!("drop {COLLECTION}")),
        (of(7, header(1)), format!("hint {COLLECTION}")),
        (of(8, header(1)), format!("hint {COLLECTION}")),
        (of(13, header(2)), format!("hint {COLLECTION}")),
        (of(14, header(2)), format!("hint {COLLECTION}")),
        (of(15, header(2)), format!("release {COLLECTION}")),
        (of(19, header(3)), format!("hint {COLLECTION}")),
        (of(34, header(2)), format!("hint {COLLECTION}")),
        (of(36, header(1)), format!("hint {COLLECTION}")),
        (of(16, database()), "hint".to_owned()),
        (of(20, database()), "hint".to_owned()),
        (
            of(38, header(2)).broadcast(&shards),
            format!("truncate {COLLECTION} as 4711 on by-dev-rootcoord-dml_3 by-dev-rootcoord-dml_4"),
        ),
        (of(38, header(2)).broadcast(&shards).with("_vc", CONTROL), "ignored TruncateCollection".to_owned()),
        (imported, format!("bulk import {COLLECTION}")),
        (of(45, header(1)), format!("committed bulk import {COLLECTION}")),
        (of(42, header(1)), format!("rows changed in storage {COLLECTION}")),
        (of(37, Message::new()), "ignored FlushAll".to_owned()),
        (of(22, Message::new()), "ignored AlterUser".to_owned()),
    ];
    for (draft, expected) in cases {
        assert_eq!(said(&draft), expected);
    }
    let copy = of(45, header(1)).broadcast(&shards).with("_vc", OTHER_SHARD);
    assert_eq!(said(&copy), "ignored committed bulk import", "one copy stands for all");
    assert!(said(&of(555, Message::new())).starts_with("stop: the source's log has a message of the unknown type 555"));
    assert!(said(&of(999, Message::new())).starts_with("stop: the source sends transactions without their rows"));
}

#[test]
fn a_transaction_counts_when_it_is_committed_and_as_a_whole() {
    let part = |draft: Draft| draft.of_transaction(12).read();
    let (begin, commit) = [900, 901].map(|kind| part(Draft::new(kind, &Message::new(), Message::new()))).into();
    let mut transactions = Transactions::default();
    for message in [&begin, &part(insert()), &part(delete(&integers()))] {
        assert!(transactions.take(message).unwrap().is_none());
        assert!(!transactions.is_idle());
    }
    let complete = transactions.take(&commit).unwrap().unwrap();
    assert_eq!(complete.tick, TICK);
    assert!(matches!(&complete.bodies[..], [Body::Insert(_), Body::Delete(_)]), "{complete:?}");
    assert!(transactions.is_idle());
    let missing = transactions.take(&part(insert())).unwrap_err();
    assert_eq!(missing.to_string(), "got a part of transaction 12 without its beginning");
}

#[test]
fn how_a_stream_goes() {
    let failed = Message::new().number(1, 1).bytes(2, "channel is gone").number(3, 2_200);
    let Ok(DumpAnswer::Status(status)) = read(&Message::new().message(1, &failed).encoded().into()) else {
        panic!("no status")
    };
    assert_eq!((status.error_code, status.reason.as_str(), status.code), (1, "channel is gone", 2_200));
    for key in ["_t", "_tt", "_lc"] {
        let error = read(&insert().without(key).answer().encoded().into()).unwrap_err();
        assert!(error.to_string().ends_with(&format!("it has no property {key}")), "{error}");
    }
    assert!(read(&Draft { id: ("?", 3), ..insert() }.answer().encoded().into()).is_err(), "no id of Kafka");
}
