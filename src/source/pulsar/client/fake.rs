/*!
A FAKE broker that answers as a test wants, for what a real one does not do on demand (redirections, a proxy, damaged
frames).
*/

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use openssl::ssl::SslAcceptor;
use parking_lot::Mutex;
use protobuf::{Message as _, MessageField};

use super::command::kind;
use super::frame::{Frame, Frames, encode};
use super::id::EntryId;
use super::proto::{
    BaseCommand, Connected, Error, GetLastMessageIdResponse, LookupResponse, Message, MessageMetadata,
    PartitionedMetadataResponse, Success,
};
use super::session::PulsarSettings;
use crate::config::{Address, BrokerTls, PulsarService, Secret};
use crate::http_client::identity::Identity;
use crate::observe::thread::ThreadSpec;

/// How long a test waits for what should come at once: its threads share two cores with much else.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A command, and over which connection it came.
pub(crate) type SeenCommand = (usize, BaseCommand);

/// What a test wants to be answered.
type Script = dyn Fn(usize, &BaseCommand) -> Option<Vec<Vec<u8>>> + Send + Sync;

/// A running fake broker. Its threads end with the connections to it.
pub(crate) struct Fake {
    pub(crate) address: Address,
    tls: bool,
    seen: Arc<Mutex<Vec<SeenCommand>>>,
    sockets: Arc<Mutex<Vec<TcpStream>>>,
}

impl Fake {
    /// Starts one. `script` answers a command with frames (an empty one ends the connection), or `None` for the usual
    /// answer of a single broker.
    pub(crate) fn start(script: impl Fn(usize, &BaseCommand) -> Option<Vec<Vec<u8>>> + Send + Sync + 'static) -> Fake {
        Fake::launch(None, Arc::new(script))
    }

    /// The same with TLS.
    pub(crate) fn start_tls(
        identity: &Identity,
        script: impl Fn(usize, &BaseCommand) -> Option<Vec<Vec<u8>>> + Send + Sync + 'static,
    ) -> Fake {
        Fake::launch(Some(identity.acceptor().build()), Arc::new(script))
    }

    fn launch(tls: Option<SslAcceptor>, script: Arc<Script>) -> Fake {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = Address { host: "127.0.0.1".into(), port: listener.local_addr().unwrap().port() };
        let fake = Fake { address, tls: tls.is_some(), seen: Arc::default(), sockets: Arc::default() };
        let (seen, sockets, address) = (Arc::clone(&fake.seen), Arc::clone(&fake.sockets), fake.address.to_string());
        let accepts = ThreadSpec::of_server("fake-accept").spawn(move || {
            for (number, socket) in listener.incoming().flatten().enumerate() {
                sockets.lock().push(socket.try_clone().unwrap());
                let (seen, script, address) = (Arc::clone(&seen), Arc::clone(&script), address.clone());
                let (tls, below) = (tls.clone(), socket.try_clone().unwrap());
                let serves =
                    ThreadSpec::of_server("fake-serve").spawn(move || match tls.map(|tls| tls.accept(&socket)) {
                        None => serve(number, &socket, &below, &seen, &address, &*script),
                        Some(Ok(stream)) => serve(number, stream, &below, &seen, &address, &*script),
                        // A client that does not trust us.
                        Some(Err(_)) => {}
                    });
                serves.unwrap();
            }
        });
        accepts.unwrap();
        fake
    }

    /// The settings of a client of this broker.
    pub(crate) fn settings(&self) -> PulsarSettings {
        PulsarSettings {
            service: PulsarService { tls: self.tls, addresses: vec![self.address.clone()] },
            token: Secret::new("a-token"),
            tls: BrokerTls::default(),
            max_message_size: 16 << 20,
        }
    }

    /// Says something unasked, over every connection.
    pub(crate) fn say(&self, frame: &[u8]) {
        for socket in self.sockets.lock().iter_mut() {
            // Some may be closed.
            let _ = socket.write_all(frame);
        }
    }

    /// Waits until such a command has come.
    pub(crate) fn wait(&self, what: &str, is_it: impl Fn(&SeenCommand) -> bool) -> SeenCommand {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(seen) = self.seen.lock().iter().find(|seen| is_it(seen)) {
                return seen.clone();
            }
            assert!(Instant::now() < deadline, "{what} has not come");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The commands of a kind, in order.
    pub(crate) fn seen(&self, kind: i32) -> Vec<SeenCommand> {
        self.seen.lock().iter().filter(|(_, command)| command.kind() == kind).cloned().collect()
    }
}

fn serve(
    number: usize,
    mut stream: impl Read + Write,
    socket: &TcpStream,
    seen: &Mutex<Vec<SeenCommand>>,
    address: &str,
    script: &Script,
) {
    let (mut frames, mut buffer) = (Frames::new(), vec![0; 4096]);
    while let Ok(read @ 1..) = stream.read(&mut buffer) {
        frames.push(&buffer[..read]);
        while let Some(Frame::Command(command)) = frames.next().unwrap() {
            seen.lock().push((number, (*command).clone()));
            let answers = script(number, &command).unwrap_or_else(|| usual(&command, address));
            for frame in answers {
                let sent = match frame.is_empty() {
                    true => socket.shutdown(Shutdown::Write),
                    false => stream.write_all(&frame),
                };
                if sent.is_err() {
                    return;
                }
            }
        }
    }
}

fn command(kind: i32) -> BaseCommand {
    BaseCommand { kind: Some(kind), ..Default::default() }
}

/// What a single broker answers whose topics are empty.
fn usual(asked: &BaseCommand, address: &str) -> Vec<Vec<u8>> {
    match asked.kind() {
        kind::CONNECT => vec![connected()],
        kind::PARTITIONS => {
            let request_id = Some(asked.partitions.request_id());
            let response = PartitionedMetadataResponse {
                partitions: Some(0),
                request_id,
                response: Some(0),
                ..Default::default()
            };
            vec![encode(&BaseCommand {
                partitions_response: MessageField::some(response),
                ..command(kind::PARTITIONS_RESPONSE)
            })]
        }
        kind::LOOKUP => vec![located(asked, &format!("pulsar://{address}"), Located::BehindProxy)],
        kind::SUBSCRIBE => vec![success(asked.subscribe.request_id())],
        kind::LAST_ID => vec![last(asked, EntryId { ledger: 0, entry: u64::MAX })],
        kind::UNSUBSCRIBE => vec![success(asked.unsubscribe.request_id())],
        _ => Vec::new(),
    }
}

pub(crate) fn connected() -> Vec<u8> {
    let connected =
        Connected { server_version: Some("fake".into()), max_message_size: Some(5 << 20), ..Default::default() };
    encode(&BaseCommand { connected: MessageField::some(connected), ..command(kind::CONNECTED) })
}

fn success(request: u64) -> Vec<u8> {
    let success = Success { request_id: Some(request), ..Default::default() };
    encode(&BaseCommand { success: MessageField::some(success), ..command(kind::SUCCESS) })
}

/// A request is refused.
pub(crate) fn refusal(request: u64, code: i32, message: &str) -> Vec<u8> {
    let error =
        Error { request_id: Some(request), error: Some(code), message: Some(message.to_owned()), ..Default::default() };
    encode(&BaseCommand { error: MessageField::some(error), ..command(kind::ERROR) })
}

/// What the answer to a lookup says of the address in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Located {
    /// Another broker, which knows more.
    Redirection,
    /// The owner, reached through the address that was asked.
    BehindProxy,
}

/// The answer to a lookup.
pub(crate) fn located(asked: &BaseCommand, url: &str, located: Located) -> Vec<u8> {
    let (response, by_proxy) = match located {
        Located::Redirection => (0, false),
        Located::BehindProxy => (1, true),
    };
    let response = LookupResponse {
        broker_url: Some(url.to_owned()),
        broker_url_tls: Some(url.to_owned()),
        response: Some(response),
        request_id: Some(asked.lookup.request_id()),
        authoritative: Some(true),
        proxy_through_service_url: Some(by_proxy),
        ..Default::default()
    };
    encode(&BaseCommand { lookup_response: MessageField::some(response), ..command(kind::LOOKUP_RESPONSE) })
}

/// Where a topic ends.
pub(crate) fn last(asked: &BaseCommand, entry: EntryId) -> Vec<u8> {
    let response = GetLastMessageIdResponse {
        last: MessageField::some(entry.to_wire()),
        request_id: Some(asked.last_id.request_id()),
        ..Default::default()
    };
    encode(&BaseCommand { last_id_response: MessageField::some(response), ..command(kind::LAST_ID_RESPONSE) })
}

/// A message of the producer `p` for whoever asked for it.
pub(crate) fn message(consumer: u64, entry: EntryId, sequence: u64, body: &[u8]) -> Vec<u8> {
    let message =
        Message { consumer_id: Some(consumer), message_id: MessageField::some(entry.to_wire()), ..Default::default() };
    let command = BaseCommand { message: MessageField::some(message), ..command(9) }.write_to_bytes().unwrap();
    let metadata = MessageMetadata {
        producer: Some("p".into()),
        sequence: Some(sequence),
        publish_time: Some(1),
        ..Default::default()
    };
    let metadata = metadata.write_to_bytes().unwrap();
    let checked = [&(metadata.len() as u32).to_be_bytes()[..], &metadata, body].concat();
    let checksum = crc32c::crc32c(&checked).to_be_bytes();
    let rest = [&(command.len() as u32).to_be_bytes()[..], &command, &[0x0e, 0x01], &checksum, &checked].concat();
    [&(rest.len() as u32).to_be_bytes()[..], &rest].concat()
}
