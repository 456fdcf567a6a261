use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::JoinHandle;

use openssl::ssl::{SslAcceptor, SslVerifyMode};
use openssl::x509::store::X509StoreBuilder;

use super::identity::Identity;
use super::*;
use crate::config::BrokerIdentity;
use crate::observe::thread::ThreadSpec;

const TOKEN: &str = "t0ken-of-the-test";
const PATIENCE: Duration = Duration::from_secs(30);
const LIMITS: HttpLimits = HttpLimits { connect: PATIENCE, silence: PATIENCE, answer: None, bytes: 100 };
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// Answers one request, and then tells what it was; `None` when there was none.
struct OneAnswer {
    address: String,
    thread: JoinHandle<Option<String>>,
}

impl OneAnswer {
    fn plain(answer: &str) -> OneAnswer {
        OneAnswer::start(None, answer)
    }

    fn encrypted(acceptor: SslAcceptor, answer: &str) -> OneAnswer {
        OneAnswer::start(Some(acceptor), answer)
    }

    fn start(acceptor: Option<SslAcceptor>, answer: &str) -> OneAnswer {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let answer = answer.to_owned();
        let thread = ThreadSpec::of_server("one-answer").spawn(move || {
            let socket = listener.accept().unwrap().0;
            match acceptor {
                None => serve(socket, &answer),
                Some(acceptor) => serve(acceptor.accept(socket).ok()?, &answer),
            }
        });
        OneAnswer { address, thread: thread.unwrap() }
    }

    fn seen(self) -> Option<String> {
        self.thread.join().unwrap()
    }
}

/// Reads a request whose body, if it has one, is `{}`. Drops the connection without a farewell.
fn serve(mut stream: impl Read + Write, answer: &str) -> Option<String> {
    let (mut text, mut buffer) = (String::new(), [0; 4096]);
    while !(text.ends_with("\r\n\r\n") && text.starts_with("GET") || text.ends_with("{}")) {
        match stream.read(&mut buffer) {
            Ok(read @ 1..) => text.push_str(std::str::from_utf8(&buffer[..read]).unwrap()),
            _ => return None,
        }
    }
    stream.write_all(answer.as_bytes()).ok()?;
    Some(text)
}

fn send(url: &str, post: Option<&str>, tls: &BrokerTls, limits: HttpLimits) -> Result<HttpAnswer, HttpError> {
    let answer = HttpRequest { url, token: &Secret::new(TOKEN), tls, post, limits }.send();
    if let Err(error) = &answer {
        assert!(!format!("{error} {error:?}").contains(TOKEN), "{error}");
    }
    answer
}

fn get(address: &str, limits: HttpLimits) -> Result<HttpAnswer, HttpError> {
    send(&format!("http://{address}/path"), None, &BrokerTls::default(), limits)
}

fn get_encrypted(server: &OneAnswer, tls: &BrokerTls) -> Result<HttpAnswer, HttpError> {
    send(&format!("https://{}/path", server.address), None, tls, LIMITS)
}

#[test]
fn what_is_sent() {
    let server = OneAnswer::plain("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\n\r\n");
    let answer = get(&server.address, LIMITS).unwrap();
    assert_eq!((answer.status, answer.reason, answer.body.as_slice()), (200, "OK", &b"ok"[..]));
    let address = server.address.clone();
    let seen = server.seen().unwrap().to_ascii_lowercase();
    assert!(seen.starts_with("get /path http/1.1\r\n"), "{seen}");
    for header in [format!("host: {address}"), format!("authorization: bearer {TOKEN}")] {
        assert_eq!(seen.matches(&format!("\r\n{header}\r\n")).count(), 1, "{header} in {seen}");
    }
    let server = OneAnswer::plain(OK);
    let posted = send(&format!("http://{}/cdc", server.address), Some("{}"), &BrokerTls::default(), LIMITS);
    assert_eq!(posted.unwrap().status, 200);
    let seen = server.seen().unwrap().to_ascii_lowercase();
    assert!(seen.starts_with("post /cdc http/1.1\r\n") && seen.ends_with("\r\n\r\n{}"), "{seen}");
    assert!(seen.contains("\r\ncontent-type: application/json\r\n") && seen.contains("\r\ncontent-length: 2\r\n"));
}

#[test]
fn any_status_is_an_answer_and_a_redirection_is_not_followed() {
    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = elsewhere.local_addr().unwrap();
    let answer = format!("HTTP/1.1 302 Found\r\nLocation: http://{target}/\r\nContent-Length: 0\r\n\r\n");
    let server = OneAnswer::plain(&answer);
    assert_eq!(get(&server.address, LIMITS).unwrap().status, 302);
    elsewhere.set_nonblocking(true).unwrap();
    assert_eq!(elsewhere.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
    let server = OneAnswer::plain("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 1\r\n\r\nx");
    let answer = get(&server.address, LIMITS).unwrap();
    assert_eq!((answer.status, answer.reason), (503, "Service Unavailable"));
}

#[test]
fn answers_that_are_too_long() {
    for head in ["HTTP/1.1 200 OK\r\nContent-Length: 101\r\n", "HTTP/1.0 200 OK\r\n"] {
        let fits = OneAnswer::plain(&format!("{}\r\n{}", head.replace("101", "100"), "x".repeat(100)));
        assert_eq!(get(&fits.address, LIMITS).unwrap().body.len(), 100);
        let server = OneAnswer::plain(&format!("{head}\r\n{}", "x".repeat(101)));
        let error = get(&server.address, LIMITS).unwrap_err();
        assert!(matches!(error, HttpError::TooLong(100)), "{error:?}");
    }
}

#[test]
fn answers_that_do_not_come() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let short = Duration::from_millis(50);
    for limits in [HttpLimits { silence: short, ..LIMITS }, HttpLimits { answer: Some(short), ..LIMITS }] {
        let error = get(&silent.local_addr().unwrap().to_string(), limits).unwrap_err();
        assert!(matches!(error, HttpError::Silent(_)), "{error:?}");
    }
    let error = get("127.0.0.1:1", LIMITS).unwrap_err();
    assert!(error.to_string().contains("refused"), "{error}");
    for wrong in ["SSH-2.0-x\r\n\r\n", "HTTP/9 what\r\n\r\n"] {
        let server = OneAnswer::plain(wrong);
        let error = get(&server.address, LIMITS).unwrap_err();
        assert!(matches!(error, HttpError::NoHttp(_)), "{error:?}");
    }
    let cut = OneAnswer::plain("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nok");
    assert!(get(&cut.address, LIMITS).is_err());
}

#[test]
fn only_certificates_of_the_authority_are_accepted() {
    let (ours, other, folder) = (Identity::new(), Identity::new(), tempfile::tempdir().unwrap());
    let files = BrokerTls { ca: Some(ours.save(folder.path())), ..BrokerTls::default() };
    // The body ends with the connection, which ends without a farewell.
    let server = OneAnswer::encrypted(ours.acceptor().build(), "HTTP/1.0 200 OK\r\n\r\nok");
    assert_eq!(get_encrypted(&server, &files).unwrap().body, b"ok");
    assert!(server.seen().unwrap().contains(TOKEN));
    for (identity, files) in [(&other, &files), (&ours, &BrokerTls::default())] {
        let server = OneAnswer::encrypted(identity.acceptor().build(), OK);
        let error = get_encrypted(&server, files).unwrap_err();
        assert!(matches!(&error, HttpError::Tls(why) if why.is_unknown_authority()), "{error:?}");
        assert!(error.to_string().starts_with("the server's certificate is refused: self"), "{error}");
        assert_eq!(server.seen(), None, "nothing is said to whoever is not trusted");
    }
}

#[test]
fn a_certificate_must_be_for_the_name() {
    let (identity, folder) = (Identity::new(), tempfile::tempdir().unwrap());
    let files = BrokerTls { ca: Some(identity.save(folder.path())), ..BrokerTls::default() };
    let server = OneAnswer::encrypted(identity.acceptor().build(), OK);
    let url = format!("https://{}/", server.address.replace("127.0.0.1", "localhost"));
    let error = send(&url, None, &files, LIMITS).unwrap_err();
    assert!(error.to_string().to_ascii_lowercase().contains("hostname mismatch"), "{error}");
    assert!(matches!(&error, HttpError::Tls(why) if !why.is_unknown_authority()), "{error:?}");
    assert_eq!(server.seen(), None);
}

#[test]
fn a_server_may_ask_for_our_certificate() {
    let (server_identity, mine) = (Identity::new(), Identity::new());
    let (theirs, own) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let start = || {
        let mut acceptor = server_identity.acceptor();
        let mut store = X509StoreBuilder::new().unwrap();
        store.add_cert(mine.certificate.clone()).unwrap();
        acceptor.set_verify_cert_store(store.build()).unwrap();
        acceptor.set_verify(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT);
        OneAnswer::encrypted(acceptor.build(), OK)
    };
    let without = BrokerTls { ca: Some(server_identity.save(theirs.path())), ..BrokerTls::default() };
    let server = start();
    assert!(get_encrypted(&server, &without).is_err());
    assert_eq!(server.seen(), None);
    let (certificate, key) = (mine.save(own.path()), mine.save_key(own.path(), "opens"));
    let identity = Some(BrokerIdentity { certificate, key });
    let with = BrokerTls { identity, key_password: Secret::new("opens"), ..without };
    assert_eq!(get_encrypted(&start(), &with).unwrap().body, b"ok");
    let closed = BrokerTls { key_password: Secret::new("0pens-nothing"), ..with };
    let error = send("https://127.0.0.1:1/", None, &closed, LIMITS).unwrap_err().to_string();
    assert!(error.contains("key.pem: ") && !error.contains("0pens"), "{error}");
}

#[test]
fn a_server_without_tls() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let thread = ThreadSpec::of_server("no-tls").spawn(move || {
        let mut socket: TcpStream = listener.accept().unwrap().0;
        socket.write_all(b"HTTP/1.1 400 Bad HttpRequest\r\n\r\n").unwrap();
        // Until the client has gone: a reset could overtake the answer.
        let _ = socket.read_to_end(&mut Vec::new());
    });
    let error = send(&format!("https://{address}/"), None, &BrokerTls::default(), LIMITS).unwrap_err();
    assert!(matches!(error, HttpError::Tls(TlsError::Handshake(_))), "{error:?}");
    thread.unwrap().join().unwrap();
}
