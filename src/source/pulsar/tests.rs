//! The client against a fake broker. The real one is met by the end-to-end tests.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use protobuf::MessageField;

use std::time::{Duration, Instant};

use super::client::fake::{Fake, Located, PATIENCE, connected, last, located, message};
use super::client::{
    AuthChallenge, BaseCommand, CloseConsumer, Durability, EntryId, FULL, PulsarClient, StartAt, Subscription, Taken,
    encode, kind, ping,
};
use super::position::{entry_of, position_of};
use super::*;
use crate::config::Address;
use crate::http_client::identity::Identity;

const READER: Subscription<'static> =
    Subscription { name: "s", durability: Durability::NonDurable, start: StartAt::Earliest };
const TOPIC: &str = "persistent://public/default/by-dev-rootcoord-dml_0";

fn channel() -> Channel {
    Channel::new("by-dev-rootcoord-dml_0")
}

fn at(ledger: u64, entry: u64) -> EntryId {
    EntryId { ledger, entry }
}

/// The entries that reading brings, until `enough` have come or reading ends otherwise than by waiting.
fn read(topics: &mut PulsarTopics, next: &mut ReadFrom, enough: usize) -> Result<Vec<EntryId>, PulsarError> {
    let (mut entries, began) = (Vec::new(), Instant::now());
    while began.elapsed() < PATIENCE {
        let end = topics.read(&channel(), *next, 1 << 20, &mut |record| {
            *next = ReadFrom::After(record.position);
            entries.push(entry_of(record.position));
        })?;
        if end == ReadEnd::Gap || entries.len() >= enough {
            return Ok(entries);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("{} of {enough} have come", entries.len());
}

fn client(fake: &Fake) -> PulsarClient {
    PulsarClient::new(fake.settings(), || {})
}

fn topics(fake: &Fake) -> PulsarTopics {
    PulsarTopics::new(Arc::new(Cluster::new(&testing::config(fake), || {})))
}

#[test]
fn redirections_are_followed() {
    let owner = Fake::start(|_, _| None);
    let url = format!("pulsar://{}", owner.address);
    let asked = Fake::start(move |_, command| {
        (command.kind() == kind::LOOKUP).then(|| vec![located(command, &url, Located::Redirection)])
    });
    let client = client(&asked);
    let consumer = client.subscribe(TOPIC.to_owned(), READER).unwrap();
    assert_eq!(consumer.topic(), "persistent://public/default/by-dev-rootcoord-dml_0");
    assert!(asked.seen(kind::SUBSCRIBE).is_empty());
    assert_eq!(owner.seen(kind::SUBSCRIBE).len(), 1);
    assert!(owner.seen(kind::LOOKUP)[0].1.lookup.authoritative(), "as the redirection said");
    assert!(!asked.seen(kind::LOOKUP)[0].1.lookup.authoritative());
}

#[test]
fn redirections_without_end() {
    let own = Arc::new(Mutex::new(String::new()));
    let url = Arc::clone(&own);
    let fake = Fake::start(move |_, command| {
        (command.kind() == kind::LOOKUP).then(|| vec![located(command, &url.lock(), Located::Redirection)])
    });
    *own.lock() = format!("pulsar://{}", fake.address);
    let error = client(&fake).subscribe(TOPIC.to_owned(), READER).err().unwrap();
    assert!(error.to_string().contains("was redirected"), "{error}");
}

#[test]
fn brokers_behind_a_proxy() {
    let proxy = Fake::start(|_, command| {
        (command.kind() == kind::LOOKUP).then(|| vec![located(command, "pulsar://broker-7:6650", Located::BehindProxy)])
    });
    let client = client(&proxy);
    client.subscribe(TOPIC.to_owned(), READER).unwrap();
    client.subscribe(TOPIC.replace("_0", "_1"), READER).unwrap();
    let connects = proxy.seen(kind::CONNECT);
    let asked: Vec<&str> = connects.iter().map(|(_, command)| command.connect.proxy_to_broker_url()).collect();
    assert_eq!(asked, ["", "broker-7:6650"], "one connection to ask, and one to the broker for all its topics");
    let over: Vec<usize> = proxy.seen(kind::SUBSCRIBE).iter().map(|(connection, _)| *connection).collect();
    assert_eq!(over, [1, 1]);
}

#[test]
fn who_we_are_is_shown_and_pings_are_answered() {
    let fake = Fake::start(|_, _| None);
    let client = client(&fake);
    client.probe().unwrap();
    assert_eq!(fake.seen(kind::CONNECT)[0].1.connect.auth_data(), b"a-token");
    // Nobody reads or asks anything.
    fake.say(&ping());
    fake.wait("an answer to the ping", |(_, command)| command.kind() == kind::PONG);
    let challenge = AuthChallenge::new();
    fake.say(&encode(&BaseCommand {
        kind: Some(kind::AUTH_CHALLENGE),
        auth_challenge: MessageField::some(challenge),
        ..Default::default()
    }));
    let (_, answer) = fake.wait("the token", |(_, command)| command.kind() == kind::AUTH_RESPONSE);
    assert_eq!(answer.auth_response.response.auth_data(), b"a-token");
}

/// A broker whose topic has two messages; the first subscription gets a damaged second one.
fn damaging(damage: impl Fn(&mut Vec<u8>) + Send + Sync + 'static) -> Fake {
    let flows = AtomicUsize::new(0);
    Fake::start(move |_, command| match command.kind() {
        kind::LAST_ID => Some(vec![last(command, at(3, 1))]),
        kind::FLOW => {
            let consumer = command.flow.consumer_id();
            let (first, mut second) = (message(consumer, at(3, 0), 0, b"one"), message(consumer, at(3, 1), 1, b"two"));
            if flows.fetch_add(1, Ordering::Relaxed) == 0 {
                damage(&mut second);
            }
            Some(vec![first, second])
        }
        _ => None,
    })
}

#[test]
fn damaged_frames_are_told_and_asked_for_again() {
    type DamageFrame = fn(&mut Vec<u8>);
    let cases: [(DamageFrame, &str); 3] = [
        (|frame| *frame.last_mut().unwrap() ^= 1, "the checksum does not match"),
        (|frame| frame[0] = 0xff, "bytes, of which"),
        (|frame| frame[7] = 0xff, "contradict each other"),
    ];
    for (damage, told) in cases {
        let fake = damaging(damage);
        let (mut topics, mut next) = (topics(&fake), ReadFrom::First);
        let mut entries = Vec::new();
        let (mut errors, began) = (Vec::new(), Instant::now());
        while began.elapsed() < PATIENCE {
            let end = topics.read(&channel(), next, 1 << 20, &mut |record| {
                next = ReadFrom::After(record.position);
                entries.push(entry_of(record.position));
            });
            errors.extend(end.err().map(|error| error.to_string()));
            if entries.len() == 2 {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(entries, [at(3, 0), at(3, 1)], "{told}: nothing missing, nothing twice");
        assert!(errors.iter().any(|error| error.contains(told)), "{errors:?}");
        let starts: Vec<EntryId> =
            fake.seen(kind::SUBSCRIBE).iter().map(|(_, it)| EntryId::of_wire(&it.subscribe.start)).collect();
        assert_eq!(starts, [EntryId::EARLIEST, at(3, 0)], "behind what has been read");
    }
}

#[test]
fn brokers_that_do_not_answer_are_left_alone() {
    let fake = Fake::start(|_, command| (command.kind() == kind::PARTITIONS).then(Vec::new));
    let mut settings = fake.settings();
    // Nobody listens at port 1.
    settings.service.addresses.insert(0, Address { host: "127.0.0.1".into(), port: 1 });
    let client = PulsarClient::new(settings, || {});
    client.probe().unwrap();
    let errors = [0; 3].map(|_| client.subscribe(TOPIC.to_owned(), READER).err().unwrap().to_string());
    assert!(errors.iter().all(|error| error.contains("no answer to how many partitions")), "{errors:?}");
    assert_eq!(fake.seen(kind::PARTITIONS).len(), 1, "not every one of them has asked, and waited for 5 s");
}

#[test]
fn greetings_that_are_none() {
    for (greeting, told) in [
        (&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], "a frame of 1213486160 bytes"),
        (&[0, 0, 0, 8, 0, 0, 0, 4, 1, 2, 3, 4], "not a protobuf message"),
    ] {
        let fake = Fake::start(move |_, _| Some(vec![greeting.to_vec()]));
        let error = client(&fake).probe().unwrap_err().to_string();
        assert!(error.contains(told) && error.contains(&fake.address.to_string()), "{error}");
    }
}

#[test]
fn a_closed_consumer_goes_on_behind_its_last_message() {
    let fake = Fake::start(|_, command| match command.kind() {
        kind::LAST_ID => Some(vec![last(command, at(8, 0))]),
        kind::FLOW => {
            let consumer = command.flow.consumer_id();
            let close = CloseConsumer { consumer_id: Some(consumer), request_id: Some(u64::MAX), ..Default::default() };
            let close = encode(&BaseCommand {
                kind: Some(kind::CLOSE_CONSUMER),
                close_consumer: MessageField::some(close),
                ..Default::default()
            });
            Some(vec![message(consumer, at(5, 9), 0, b"one"), message(consumer, at(8, 0), 1, b"two"), close])
        }
        _ => None,
    });
    let (mut topics, mut next) = (topics(&fake), ReadFrom::First);
    assert_eq!(read(&mut topics, &mut next, 2).unwrap(), [at(5, 9), at(8, 0)]);
    let starts: Vec<EntryId> =
        fake.seen(kind::SUBSCRIBE).iter().map(|(_, it)| EntryId::of_wire(&it.subscribe.start)).collect();
    assert_eq!(starts, [EntryId::EARLIEST, at(5, 9)], "the first of a new ledger is looked at twice");
}

#[test]
fn a_connection_that_ends_while_messages_wait() {
    const MESSAGES: u64 = 32;
    let sent = AtomicU64::new(0);
    let fake = Fake::start(move |connection, command| match command.kind() {
        kind::SUBSCRIBE => {
            let start = EntryId::of_wire(&command.subscribe.start);
            sent.store(if start == EntryId::EARLIEST { 0 } else { start.entry }, Ordering::Relaxed);
            None
        }
        kind::LAST_ID => Some(vec![last(command, at(1, MESSAGES - 1))]),
        kind::FLOW => {
            let (consumer, first) = (command.flow.consumer_id(), sent.swap(MESSAGES, Ordering::Relaxed));
            let messages = (first..MESSAGES).map(|entry| message(consumer, at(1, entry), entry, b"body"));
            let end = (connection == 0).then(Vec::new);
            Some(messages.chain(end).collect())
        }
        _ => None,
    });
    let cluster = Arc::new(Cluster::new(&testing::config(&fake), || {}));
    let mut topics = PulsarTopics::new(Arc::clone(&cluster));
    let (mut next, mut entries, mut errors) = (ReadFrom::First, Vec::new(), Vec::new());
    let deadline = Instant::now() + PATIENCE;
    while entries.len() < MESSAGES as usize {
        let end = topics.read(&channel(), next, 1, &mut |record| {
            next = ReadFrom::After(record.position);
            entries.push(entry_of(record.position));
        });
        errors.extend(end.err());
        // The end is noticed while most of the messages wait.
        while fake.seen(kind::CONNECT).len() < 2 {
            cluster.client().probe().unwrap();
            assert!(Instant::now() < deadline, "the connection has not ended");
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(Instant::now() < deadline, "{entries:?} have come");
    }
    assert_eq!(entries, (0..MESSAGES).map(|entry| at(1, entry)).collect::<Vec<_>>(), "nothing missing, nothing twice");
    assert_eq!(errors.len(), 1, "not one for each message that waited: {errors:?}");
}

#[test]
fn what_tls_has_decrypted_is_not_waited_for() {
    let (identity, folder) = (Identity::new(), tempfile::tempdir().unwrap());
    let fake = Fake::start_tls(&identity, |_, command| match command.kind() {
        kind::LAST_ID => Some(vec![last(command, at(1, 1))]),
        // The end of the large one and the small one are in one record of TLS, and nothing comes behind it.
        kind::FLOW => {
            let consumer = command.flow.consumer_id();
            let large = message(consumer, at(1, 0), 0, &[7; 50_000]);
            Some(vec![[large, message(consumer, at(1, 1), 1, b"small")].concat()])
        }
        _ => None,
    });
    let mut config = testing::config(&fake);
    config.tls.ca = Some(identity.save(folder.path()));
    let (mut topics, mut next) = (PulsarTopics::new(Arc::new(Cluster::new(&config, || {}))), ReadFrom::First);
    assert_eq!(read(&mut topics, &mut next, 2).unwrap(), [at(1, 0), at(1, 1)]);
}

#[test]
fn what_is_gone_is_a_gap() {
    let fake = Fake::start(|_, command| match command.kind() {
        kind::LAST_ID => Some(vec![last(command, at(8, 4))]),
        kind::FLOW => Some(vec![message(command.flow.consumer_id(), at(8, 2), 7, b"left")]),
        _ => None,
    });
    for (next, expected) in [(at(5, 9), vec![]), (at(8, 2), vec![at(8, 2)])] {
        let (mut topics, mut next) = (topics(&fake), ReadFrom::At(position_of(next, 0)));
        assert_eq!(read(&mut topics, &mut next, 1).unwrap(), expected);
    }
    // A topic that was made anew ends in front of what was read.
    let mut next = ReadFrom::At(position_of(at(9, 0), 0));
    assert!(read(&mut topics(&fake), &mut next, 1).unwrap().is_empty());
}

#[test]
fn a_broker_that_shows_nothing_is_no_topic_that_has_gone_back() {
    let fake = Fake::start(|_, command| (command.kind() == kind::LAST_ID).then(|| vec![last(command, at(8, 4))]));
    let cluster = Cluster::new(&testing::config(&fake), || {});
    let search = PulsarSearch { cluster: &cluster, channel: &channel() };
    let next = |entry| search.next_within(position_of(entry, 0), Duration::from_millis(50));
    let stalled = next(at(8, 2)).unwrap_err();
    assert!(stalled.to_string().contains(TOPIC), "{stalled}");
    assert!(next(at(8, 5)).unwrap().is_none(), "it ends in front of that");
}

#[test]
fn a_reader_that_is_slow_bounds_what_is_read() {
    const MESSAGES: u64 = 64;
    let body = Arc::new(vec![7; 1 << 20]);
    let sent = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&sent);
    let fake = Fake::start(move |_, command| match command.kind() {
        kind::CONNECT => Some(vec![connected()]),
        kind::FLOW if counter.swap(1, Ordering::Relaxed) == 0 => {
            let consumer = command.flow.consumer_id();
            Some((0..MESSAGES).map(|entry| message(consumer, at(1, entry), entry, &body)).collect())
        }
        _ => None,
    });
    let client = client(&fake);
    let mut consumer = client.subscribe(TOPIC.to_owned(), READER).unwrap();
    consumer.allow(32).unwrap();
    let waiting = || consumer.waiting();
    let deadline = Instant::now() + PATIENCE;
    while waiting() < FULL {
        assert!(Instant::now() < deadline, "{} bytes have come", waiting());
        std::thread::sleep(Duration::from_millis(5));
    }
    std::thread::sleep(Duration::from_millis(200));
    assert!(waiting() <= FULL + (2 << 20), "{} bytes wait", waiting());
    let mut taken = 0;
    while taken < MESSAGES {
        match consumer.take().unwrap() {
            Taken::Message(message) => {
                assert_eq!(message.id(), at(1, taken));
                taken += 1;
            }
            Taken::Nothing => std::thread::sleep(Duration::from_millis(1)),
            Taken::Closed => panic!("closed"),
        }
    }
}
