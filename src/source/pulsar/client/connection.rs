/*!
One connection to a broker. A thread of its own reads what comes, so that pings are answered whatever the rest does.

Back-pressure has two stages. A consumer permits the broker a number of messages at a time; and while too many bytes
wait to be taken, the thread reads nothing more from the socket, so that memory stays bounded whatever the messages'
sizes. It goes on sending pings meanwhile, so that the broker does not take the client for dead.
*/

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::command::{self, kind};
use super::error::{EndCause, PulsarError, RefusalCode};
use super::frame::{Frame, FrameError, Frames};
use super::inbox::{Inbox, Notify};
use super::proto::BaseCommand;
use super::transport::{Stream, TURN, is_nothing};
use crate::config::{Address, BrokerTls, Secret};
use crate::observe::thread::ThreadSpec;

/// How long an answer may take; somebody waits for it.
const ANSWER: Duration = Duration::from_secs(5);
/// How often the client pings. Brokers close a connection that is silent for 60 s.
const PING: Duration = Duration::from_secs(15);
/// A broker that is silent for this long is gone, since it answers pings.
const SILENCE: Duration = Duration::from_secs(45);
/// Size of a read, in bytes.
const READ: usize = 64 << 10;

/// The broker to connect to, and how.
#[derive(Debug, Clone, Copy)]
pub(super) struct PeerSettings<'a> {
    pub(super) address: &'a Address,
    pub(super) tls: Option<&'a BrokerTls>,
    pub(super) token: &'a Secret,
    /// The broker, `host:port`, to be reached through a proxy at this address.
    pub(super) broker: Option<&'a str>,
    /// Limit of a message, whatever the broker allows, in bytes.
    pub(super) largest: usize,
}

/// An open connection. Dropping it closes it and joins its thread.
pub(super) struct BrokerConnection {
    address: String,
    stream: Arc<Mutex<Stream>>,
    socket: TcpStream,
    inbox: Arc<Inbox>,
    numbers: AtomicU64,
    thread: Option<JoinHandle<()>>,
}

impl BrokerConnection {
    /// Connects and logs in. The connection's thread calls `notify` when messages come.
    pub(super) fn open(peer: PeerSettings<'_>, notify: &Notify) -> Result<BrokerConnection, PulsarError> {
        let address = match peer.broker {
            Some(broker) => format!("{broker} behind {}", peer.address),
            None => peer.address.to_string(),
        };
        let ended = |error: std::io::Error| PulsarError::Ended { address: address.clone(), source: error.into() };
        let mut stream = Stream::connect(peer.address, peer.tls)?;
        let socket = stream.socket().map_err(ended)?;
        stream.write_all(&command::connect(peer.token, peer.broker)).map_err(ended)?;
        let mut frames = Frames::new();
        greet(&mut stream, &mut frames, &address, peer.largest)?;
        let stream = Arc::new(Mutex::new(stream));
        let inbox = Arc::new(Inbox::new(Arc::clone(notify)));
        let receiver = ReceiveThread {
            address: address.clone(),
            stream: Arc::clone(&stream),
            socket: socket.try_clone().map_err(ended)?,
            inbox: Arc::clone(&inbox),
            frames,
            token: peer.token.clone(),
            heard: Instant::now(),
            pinged: Instant::now(),
        };
        let thread = ThreadSpec::helper(format!("pulsar-{}", peer.address)).spawn(move || receiver.run());
        let thread = Some(thread.map_err(|error| PulsarError::Thread(error.into()))?);
        Ok(BrokerConnection { address, stream, socket, inbox, numbers: AtomicU64::new(1), thread })
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

    /// A number that no other request or consumer of this connection has.
    pub(super) fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// Sends a command that has no answer.
    pub(super) fn send(&self, frame: &[u8]) -> Result<(), PulsarError> {
        if let Some(error) = self.inbox.ended() {
            return Err(error);
        }
        self.stream.lock().write_all(frame).map_err(|error| {
            // Part of the command may have been sent: nothing can follow it.
            let error = PulsarError::Ended { address: self.address.clone(), source: error.into() };
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
        PulsarError::Refused { address, question, code: RefusalCode(code), message }
    }

    pub(super) fn malformed(&self) -> PulsarError {
        PulsarError::Malformed { address: self.address.clone() }
    }
}

impl Drop for BrokerConnection {
    fn drop(&mut self) {
        self.inbox.end(PulsarError::Ended { address: self.address.clone(), source: EndCause::ByClient });
        // Fails when it is shut down already.
        let _ = self.socket.shutdown(Shutdown::Both);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!("the thread of a Pulsar connection panicked");
        }
    }
}

/// Waits for the broker's answer to `connect`.
fn greet(stream: &mut Stream, frames: &mut Frames, address: &str, largest: usize) -> Result<(), PulsarError> {
    let deadline = Instant::now() + ANSWER;
    let frame_error = |error: FrameError| PulsarError::Frame { address: address.to_owned(), source: error };
    let ended = |source: EndCause| PulsarError::Ended { address: address.to_owned(), source };
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
                    code: RefusalCode(answer.error.error()),
                    message: answer.error.message().to_owned(),
                }),
                _ => Err(PulsarError::Malformed { address: address.to_owned() }),
            };
        }
        if Instant::now() > deadline {
            let (address, seconds) = (address.to_owned(), ANSWER.as_secs());
            return Err(PulsarError::Silent { address, question: "the greeting", seconds });
        }
        match stream.read(&mut buffer) {
            Ok(0) => return Err(ended(EndCause::ByBroker)),
            Ok(read) => frames.push(&buffer[..read]),
            Err(error) if is_nothing(&error) => {}
            Err(error) => return Err(ended(error.into())),
        }
    }
}

/// The thread that reads.
struct ReceiveThread {
    address: String,
    stream: Arc<Mutex<Stream>>,
    socket: TcpStream,
    inbox: Arc<Inbox>,
    frames: Frames,
    token: Secret,
    /// When the broker was last heard.
    heard: Instant,
    /// When the client last sent something.
    pinged: Instant,
}

impl ReceiveThread {
    fn run(mut self) {
        let mut buffer = vec![0; READ];
        while self.inbox.ended().is_none() {
            if let Err(error) = self.turn(&mut buffer) {
                self.inbox.end(error);
                // Nobody must wait to be able to send.
                let _ = self.socket.shutdown(Shutdown::Both);
            }
        }
    }

    fn ended(&self, source: impl Into<EndCause>) -> PulsarError {
        PulsarError::Ended { address: self.address.clone(), source: source.into() }
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
            return Err(self.ended(EndCause::Silence { seconds: SILENCE.as_secs() }));
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
                Err(error) => return Err(PulsarError::Frame { address: self.address.clone(), source: error }),
            }
        }
    }

    /// Reads what has come. Waits without holding the stream's lock, because others want to write.
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, PulsarError> {
        // Bytes that TLS has decrypted already do not show at the socket.
        let is_there = self.stream.lock().is_ahead();
        let outcome = match if is_there { Ok(1) } else { self.socket.peek(&mut [0]) } {
            Ok(0) => return Err(self.ended(EndCause::ByBroker)),
            Ok(_) => {
                let wanted = self.frames.wanted(buffer.len());
                self.stream.lock().read(&mut buffer[..wanted])
            }
            Err(error) => Err(error),
        };
        match outcome {
            Ok(0) => Err(self.ended(EndCause::ByBroker)),
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
                // An error of the connection as a whole.
                kind::ERROR if command.error.request_id() == u64::MAX => {
                    let (address, message) = (self.address.clone(), command.error.message().to_owned());
                    let code = RefusalCode(command.error.error());
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
