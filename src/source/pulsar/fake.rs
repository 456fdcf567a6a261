/*!
A broker that says what a test wants: for what a real one cannot be made to do on cue (redirections, a proxy, damaged frames).
*/

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use openssl::asn1::Asn1Time;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::ssl::{SslAcceptor, SslMethod};
use openssl::x509::extension::{BasicConstraints, SubjectAlternativeName};
use openssl::x509::{X509, X509Name};
use parking_lot::Mutex;
use protobuf::{Message as _, MessageField};

use super::command::kind;
use super::frame::{Frame, Frames, encode};
use super::id::Entry;
use crate::config::{Address, BrokerTls, PulsarConfig, PulsarService, Secret, SubscriptionMode};
use crate::milvus::pb::pulsar::{
    BaseCommand, Connected, Error, GetLastMessageIdResponse, LookupResponse, Message, MessageMetadata,
    PartitionedMetadataResponse, Success,
};

/// How long a test waits for what should come at once: its threads share two cores with much else.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// A command, and over which connection it came.
pub(super) type Seen = (usize, BaseCommand);

/// What a test wants to be answered.
type Script = dyn Fn(usize, &BaseCommand) -> Option<Vec<Vec<u8>>> + Send + Sync;

/// A certificate for this host that has signed itself, and its key.
pub(super) struct Identity {
    pub(super) certificate: X509,
    key: PKey<Private>,
}

impl Identity {
    pub(super) fn new() -> Identity {
        let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
        let key = PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap();
        let mut name = X509Name::builder().unwrap();
        name.append_entry_by_text("CN", "fake").unwrap();
        let name = name.build();
        let mut builder = X509::builder().unwrap();
        builder.set_version(2).unwrap();
        builder.set_subject_name(&name).unwrap();
        builder.set_issuer_name(&name).unwrap();
        builder.set_pubkey(&key).unwrap();
        builder.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
        builder.set_not_after(&Asn1Time::days_from_now(1).unwrap()).unwrap();
        let host = SubjectAlternativeName::new().ip("127.0.0.1").build(&builder.x509v3_context(None, None)).unwrap();
        builder.append_extension(host).unwrap();
        builder.append_extension(BasicConstraints::new().critical().ca().build().unwrap()).unwrap();
        builder.sign(&key, MessageDigest::sha256()).unwrap();
        Identity { certificate: builder.build(), key }
    }

    /// Writes the certificate where one who trusts it looks for it.
    pub(super) fn save(&self, folder: &Path) -> PathBuf {
        let file = folder.join("ca.pem");
        std::fs::write(&file, self.certificate.to_pem().unwrap()).unwrap();
        file
    }
}

/// A running fake. Its threads end with the connections to it.
pub(super) struct Fake {
    pub(super) address: Address,
    tls: bool,
    seen: Arc<Mutex<Vec<Seen>>>,
    sockets: Arc<Mutex<Vec<TcpStream>>>,
}

impl Fake {
    /// Starts one. `script` answers a command with frames (an empty one ends the connection), or `None` for the usual answer of a single
    /// broker.
    pub(super) fn start(script: impl Fn(usize, &BaseCommand) -> Option<Vec<Vec<u8>>> + Send + Sync + 'static) -> Fake {
        Fake::launch(None, Arc::new(script))
    }

    /// The same with TLS.
    pub(super) fn start_tls(
        identity: &Identity,
        script: impl Fn(usize, &BaseCommand) -> Option<Vec<Vec<u8>>> + Send + Sync + 'static,
    ) -> Fake {
        let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server()).unwrap();
        acceptor.set_certificate(&identity.certificate).unwrap();
        acceptor.set_private_key(&identity.key).unwrap();
        Fake::launch(Some(acceptor.build()), Arc::new(script))
    }

    fn launch(tls: Option<SslAcceptor>, script: Arc<Script>) -> Fake {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = Address { host: "127.0.0.1".into(), port: listener.local_addr().unwrap().port() };
        let fake = Fake { address, tls: tls.is_some(), seen: Arc::default(), sockets: Arc::default() };
        let (seen, sockets, address) = (Arc::clone(&fake.seen), Arc::clone(&fake.sockets), fake.address.to_string());
        std::thread::spawn(move || {
            for (number, socket) in listener.incoming().flatten().enumerate() {
                sockets.lock().push(socket.try_clone().unwrap());
                let (seen, script, address) = (Arc::clone(&seen), Arc::clone(&script), address.clone());
                let (tls, below) = (tls.clone(), socket.try_clone().unwrap());
                std::thread::spawn(move || match tls.map(|tls| tls.accept(&socket)) {
                    None => serve(number, &socket, &below, &seen, &address, &*script),
                    Some(Ok(stream)) => serve(number, stream, &below, &seen, &address, &*script),
                    // A client that does not trust us.
                    Some(Err(_)) => {}
                });
            }
        });
        fake
    }

    pub(super) fn config(&self) -> PulsarConfig {
        PulsarConfig {
            service: PulsarService { tls: self.tls, addresses: vec![self.address.clone()] },
            web: None,
            max_message_size: 16 << 20,
            tenant: "public".into(),
            namespace: "default".into(),
            token: Secret::new("a-token"),
            tls: BrokerTls::default(),
            subscription: SubscriptionMode::Auto,
        }
    }

    /// Says something unasked, over every connection.
    pub(super) fn say(&self, frame: &[u8]) {
        for socket in self.sockets.lock().iter_mut() {
            // Some may be closed.
            let _ = socket.write_all(frame);
        }
    }

    /// Waits until such a command has come.
    pub(super) fn wait(&self, what: &str, is_it: impl Fn(&Seen) -> bool) -> Seen {
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
    pub(super) fn seen(&self, kind: i32) -> Vec<Seen> {
        self.seen.lock().iter().filter(|(_, command)| command.kind() == kind).cloned().collect()
    }
}

fn serve(
    number: usize,
    mut stream: impl Read + Write,
    socket: &TcpStream,
    seen: &Mutex<Vec<Seen>>,
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
        kind::LOOKUP => vec![located(asked, &format!("pulsar://{address}"), 1, true)],
        kind::SUBSCRIBE => vec![success(asked.subscribe.request_id())],
        kind::LAST_ID => vec![last(asked, Entry { ledger: 0, entry: u64::MAX })],
        kind::UNSUBSCRIBE => vec![success(asked.unsubscribe.request_id())],
        _ => Vec::new(),
    }
}

pub(super) fn connected() -> Vec<u8> {
    let connected =
        Connected { server_version: Some("fake".into()), max_message_size: Some(5 << 20), ..Default::default() };
    encode(&BaseCommand { connected: MessageField::some(connected), ..command(kind::CONNECTED) })
}

fn success(request: u64) -> Vec<u8> {
    let success = Success { request_id: Some(request), ..Default::default() };
    encode(&BaseCommand { success: MessageField::some(success), ..command(kind::SUCCESS) })
}

/// A request is refused.
pub(super) fn refusal(request: u64, code: i32, message: &str) -> Vec<u8> {
    let error =
        Error { request_id: Some(request), error: Some(code), message: Some(message.to_owned()), ..Default::default() };
    encode(&BaseCommand { error: MessageField::some(error), ..command(kind::ERROR) })
}

/// The answer to a lookup: a redirection (0) or the place (1), perhaps reached through the address that was asked.
pub(super) fn located(asked: &BaseCommand, url: &str, response: i32, by_proxy: bool) -> Vec<u8> {
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
pub(super) fn last(asked: &BaseCommand, entry: Entry) -> Vec<u8> {
    let response = GetLastMessageIdResponse {
        last: MessageField::some(entry.to_wire()),
        request_id: Some(asked.last_id.request_id()),
        ..Default::default()
    };
    encode(&BaseCommand { last_id_response: MessageField::some(response), ..command(kind::LAST_ID_RESPONSE) })
}

/// A message of the producer `p` for whoever asked for it.
pub(super) fn message(consumer: u64, entry: Entry, sequence: u64, body: &[u8]) -> Vec<u8> {
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
