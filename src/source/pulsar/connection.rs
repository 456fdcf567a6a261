/*!
One connection to a broker: a thread of its own reads what comes, so that pings are answered whatever everybody else is doing.

Backpressure has two steps. A consumer allows the broker a number of messages at a time; and while too many bytes wait for
whoever reads them, nothing more is read from the socket, so that memory stays bounded whatever the messages' sizes. The broker is told
that we are alive meanwhile.
*/

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::command::{self, kind};
use super::error::{PulsarError, ServerError};
use super::frame::{Frame, FrameError, Frames};
use super::inbox::Inbox;
use super::transport::{Stream, TURN, is_nothing};
use crate::config::{Address, BrokerTls, Secret};
use crate::milvus::pb::pulsar::BaseCommand;
use crate::source::news::News;

/// How long an answer may take; the task's thread may be waiting.
const ANSWER: Duration = Duration::from_secs(5);
/// How often we show that we are alive. Brokers close after 60 s without a sign.
const PING: Duration = Duration::from_secs(15);
/// A broker that has said nothing for so long is gone: it answers pings.
const SILENCE: Duration = Duration::from_secs(45);
const READ: usize = 64 << 10;

/// Whom to connect to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer<'a> {
    pub(super) address: &'a Address,
    pub(super) tls: Option<&'a BrokerTls>,
    pub(super) token: &'a Secret,
    /// The broker, `host:port`, that a proxy at this address is to lead to.
    pub(super) broker: Option<&'a str>,
    /// The largest message that is taken, whatever the broker allows.
    pub(super) largest: usize,
}

/// An open connection. Dropping it ends it and its thread.
pub(super) struct Connection {
    address: String,
    stream: Arc<Mutex<Stream>>,
    socket: TcpStream,
    inbox: Arc<Inbox>,
    numbers: AtomicU64,
    thread: Option<JoinHandle<()>>,
}

impl Connection {
    /// Connects and introduces us. `news` are given when messages come.
    pub(super) fn open(peer: Peer<'_>, news: &News) -> Result<Connection, PulsarError> {
        let address = match peer.broker {
            Some(broker) => format!("{broker} behind {}", peer.address),
            None => peer.address.to_string(),
        };
        let ended = |error: std::io::Error| PulsarError::Ended { address: address.clone(), detail: error.to_string() };
        let mut stream = Stream::connect(peer.address, peer.tls)?;
        let socket = stream.socket().map_err(ended)?;
        stream.write_all(&command::connect(peer.token, peer.broker)).map_err(ended)?;
        let mut frames = Frames::new();
        greet(&mut stream, &mut frames, &address, peer.largest)?;
        let stream = Arc::new(Mutex::new(stream));
        let inbox = Arc::new(Inbox::new(news.clone()));
        let receiver = Receiver {
            address: address.clone(),
            stream: Arc::clone(&stream),
            socket: socket.try_clone().map_err(ended)?,
            inbox: Arc::clone(&inbox),
            frames,
            token: peer.token.clone(),
            heard: Instant::now(),
            pinged: Instant::now(),
        };
        let thread = std::thread::Builder::new().name(format!("pulsar-{}", peer.address)).spawn(move || receiver.run());
        let thread = Some(thread.map_err(|error| PulsarError::Thread(error.to_string()))?);
        Ok(Connection { address, stream, socket, inbox, numbers: AtomicU64::new(1), thread })
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    pub(super) fn inbox(&self) -> &Inbox {
        &self.inbox
    }

    pub(super) fn is_open(&self) -> bool {
        self.inbox.ended().is_none()
    }

    /// A number that no request or consumer of this connection has had.
    pub(super) fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// Sends a command that has no answer.
    pub(super) fn send(&self, frame: &[u8]) -> Result<(), PulsarError> {
        if let Some(error) = self.inbox.ended() {
            return Err(error);
        }
        self.stream.lock().write_all(frame).map_err(|error| {
            // Half a command may have been sent: nothing can follow it.
            let error = PulsarError::Ended { address: self.address.clone(), detail: error.to_string() };
            self.inbox.end(error.clone());
            let _ = self.socket.shutdown(Shutdown::Both);
            error
        })
    }

    /// Asks something and waits for the answer.
    pub(super) fn ask(
        &self,
        question: &'static str,
        make: impl FnOnce(u64) -> BaseCommand,
    ) -> Result<BaseCommand, PulsarError> {
        let request = self.number();
        self.inbox.expect(request);
        self.send(&super::frame::encode(&make(request)))?;
        let answer = self.inbox.wait(request, Instant::now() + ANSWER)?;
        let address = self.address.clone();
        let answer = answer.ok_or(PulsarError::Silent { address, question, seconds: ANSWER.as_secs() })?;
        match answer.kind() {
            kind::ERROR => Err(self.refused(question, answer.error.error(), answer.error.message())),
            _ => Ok(answer),
        }
    }

    pub(super) fn refused(&self, question: &'static str, code: i32, message: &str) -> PulsarError {
        let (address, message) = (self.address.clone(), message.trim().to_owned());
        PulsarError::Refused { address, question, code: ServerError(code), message }
    }

    pub(super) fn nonsense(&self) -> PulsarError {
        PulsarError::Nonsense { address: self.address.clone() }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let ours = PulsarError::Ended { address: self.address.clone(), detail: "we have closed it".into() };
        self.inbox.end(ours);
        // Fails when it is shut down already.
        let _ = self.socket.shutdown(Shutdown::Both);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!("the thread of a connection to Pulsar panicked");
        }
    }
}

/// Waits for the broker to answer our first command.
fn greet(stream: &mut Stream, frames: &mut Frames, address: &str, largest: usize) -> Result<(), PulsarError> {
    let deadline = Instant::now() + ANSWER;
    let frame_error = |error: FrameError| PulsarError::Frame { address: address.to_owned(), error };
    let ended = |detail: String| PulsarError::Ended { address: address.to_owned(), detail };
    let mut buffer = vec![0; READ];
    loop {
        if let Some(Frame::Command(answer)) = frames.next().map_err(frame_error)? {
            return match answer.kind() {
                kind::CONNECTED => {
                    let told = usize::try_from(answer.connected.max_message_size()).unwrap_or(0);
                    if told > 0 {
                        frames.set_largest(told.min(largest));
                    }
                    Ok(())
                }
                kind::ERROR => Err(PulsarError::Refused {
                    address: address.to_owned(),
                    question: "to connect",
                    code: ServerError(answer.error.error()),
                    message: answer.error.message().to_owned(),
                }),
                _ => Err(PulsarError::Nonsense { address: address.to_owned() }),
            };
        }
        if Instant::now() > deadline {
            let (address, seconds) = (address.to_owned(), ANSWER.as_secs());
            return Err(PulsarError::Silent { address, question: "our greeting", seconds });
        }
        match stream.read(&mut buffer) {
            Ok(0) => return Err(ended("the other side has closed it".into())),
            Ok(read) => frames.push(&buffer[..read]),
            Err(error) if is_nothing(&error) => {}
            Err(error) => return Err(ended(error.to_string())),
        }
    }
}

/// The thread that reads.
struct Receiver {
    address: String,
    stream: Arc<Mutex<Stream>>,
    socket: TcpStream,
    inbox: Arc<Inbox>,
    frames: Frames,
    token: Secret,
    /// When something has come last.
    heard: Instant,
    /// When we have last shown that we are alive.
    pinged: Instant,
}

impl Receiver {
    fn run(mut self) {
        let mut buffer = vec![0; READ];
        while self.inbox.ended().is_none() {
            if let Err(error) = self.turn(&mut buffer) {
                self.inbox.end(error);
                // So that nobody waits to be able to send.
                let _ = self.socket.shutdown(Shutdown::Both);
            }
        }
    }

    fn ended(&self, detail: impl std::fmt::Display) -> PulsarError {
        PulsarError::Ended { address: self.address.clone(), detail: detail.to_string() }
    }

    /// Passes on what has come, and waits a little for more.
    fn turn(&mut self, buffer: &mut [u8]) -> Result<(), PulsarError> {
        if self.pinged.elapsed() >= PING {
            self.send(&command::ping())?;
        }
        if self.inbox.is_full() {
            self.heard = Instant::now();
            std::thread::sleep(TURN / 20);
            return Ok(());
        }
        if self.heard.elapsed() >= SILENCE {
            return Err(self.ended(format!("it has said nothing for {} s", SILENCE.as_secs())));
        }
        let read = self.read(buffer)?;
        if read > 0 {
            self.heard = Instant::now();
            self.frames.push(&buffer[..read]);
        }
        loop {
            match self.frames.next() {
                Ok(Some(frame)) => self.take(frame)?,
                Ok(None) => return Ok(()),
                Err(error) => return Err(PulsarError::Frame { address: self.address.clone(), error }),
            }
        }
    }

    /// What there is. Waiting is done without holding the stream: others want to write to it.
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, PulsarError> {
        // The socket does not show what TLS has decrypted already.
        let is_there = self.stream.lock().is_ahead();
        let outcome = match if is_there { Ok(1) } else { self.socket.peek(&mut [0]) } {
            Ok(0) => return Err(self.ended("the other side has closed it")),
            Ok(_) => {
                let wanted = self.frames.wanted(buffer.len());
                self.stream.lock().read(&mut buffer[..wanted])
            }
            Err(error) => Err(error),
        };
        match outcome {
            Ok(0) => Err(self.ended("the other side has closed it")),
            Ok(read) => Ok(read),
            Err(error) if is_nothing(&error) => Ok(0),
            Err(error) => Err(self.ended(error)),
        }
    }

    fn take(&mut self, frame: Frame) -> Result<(), PulsarError> {
        match frame {
            Frame::Message(message) => self.inbox.take_message(message),
            Frame::Command(command) => match command.kind() {
                kind::PING => self.send(&command::pong())?,
                kind::AUTH_CHALLENGE => self.send(&command::auth_response(&self.token))?,
                // Of the connection as a whole.
                kind::ERROR if command.error.request_id() == u64::MAX => {
                    let (address, message) = (self.address.clone(), command.error.message().to_owned());
                    let code = ServerError(command.error.error());
                    return Err(PulsarError::Refused { address, question: "to go on", code, message });
                }
                _ => self.inbox.take_command(*command),
            },
        }
        Ok(())
    }

    fn send(&mut self, frame: &[u8]) -> Result<(), PulsarError> {
        self.pinged = Instant::now();
        let sent = self.stream.lock().write_all(frame);
        sent.map_err(|error| self.ended(error))
    }
}
