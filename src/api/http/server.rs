/*!
Accepts connections and serves each on a thread of its own.

A slow client occupies only its own thread, and only until its deadline. When there are too many connections, a new one
displaces the oldest that is still sending its request or receiving its answer: fast clients are served however many
slow ones there are.
*/

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use parking_lot::{Condvar, Mutex};
use serde_json::json;

use super::message::{BodyPart, Request, Response};
use super::reader::{HeadError, read_request};
use crate::observe::thread::ThreadSpec;

/// The limits of one client and of all clients together.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Largest number of concurrent connections.
    pub connections: usize,
    /// Time from the connection to the last byte of the request.
    pub request_time: Duration,
    /// Longest body, in bytes.
    pub body: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { connections: 256, request_time: Duration::from_secs(10), body: 1024 * 1024 }
    }
}

/// Time for a client to receive its whole answer.
const ANSWER_TIME: Duration = Duration::from_secs(10);
/// How long and how many bytes of a refused body are read, so that the client sees the answer before the reset.
const LINGER_TIME: Duration = Duration::from_secs(5);
const LINGER_BYTES: usize = 64 * 1024 * 1024;
/// Pause after a failed `accept` (no file descriptors left, for example).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// In bytes. Enough for the deepest JSON that is accepted; there may be many of these threads.
const STACK_SIZE: usize = 512 * 1024;

type Handler = dyn Fn(Request) -> Response + Send + Sync;

/// A listening server.
pub struct HttpServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: JoinHandle<()>,
    /// Disconnected when the acceptor has ended.
    accepting: Receiver<Infallible>,
}

struct Shared {
    handler: Box<Handler>,
    limits: Limits,
    stopping: AtomicBool,
    open: Mutex<OpenConnections>,
    all_closed: Condvar,
}

#[derive(Default)]
struct OpenConnections {
    next: u64,
    /// Threads that have not ended, of displaced connections too.
    threads: usize,
    /// Connections by age, without the displaced ones.
    connections: BTreeMap<u64, OpenConnection>,
}

struct OpenConnection {
    stream: TcpStream,
    stage: ConnectionStage,
}

/// The progress of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ConnectionStage {
    /// The request is incomplete: closing the connection loses nothing.
    Receiving,
    /// The request is being executed, and the client must learn the outcome.
    Handling,
    /// The answer is being sent, as fast as the client receives it.
    Answering,
    /// The answer has been sent.
    Closing,
}

impl ConnectionStage {
    /// A new connection may displace this one: its duration depends on the client.
    fn gives_way(self) -> bool {
        self != ConnectionStage::Handling
    }

    /// A stopping server does not wait for this connection.
    fn ends_at_stop(self) -> bool {
        matches!(self, ConnectionStage::Receiving | ConnectionStage::Closing)
    }
}

impl HttpServer {
    /// Starts serving the listener's connections.
    ///
    /// # Errors
    /// When the listener has no address or its thread cannot be started.
    pub fn start(
        listener: TcpListener,
        limits: Limits,
        handler: impl Fn(Request) -> Response + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            handler: Box::new(handler),
            limits,
            stopping: AtomicBool::new(false),
            open: Mutex::default(),
            all_closed: Condvar::new(),
        });
        let for_thread = Arc::clone(&shared);
        let (until_end, accepting) = crossbeam_channel::bounded(0);
        let acceptor = ThreadSpec::of_server("http-accept").spawn(move || {
            let _until_end: Sender<Infallible> = until_end;
            accept_loop(&listener, &for_thread);
        })?;
        Ok(HttpServer { address, shared, acceptor, accepting })
    }

    /// The address that the server listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts no more connections and closes those with an incomplete request; those being answered continue.
    pub fn stop_accepting(&self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        // Wakes the acceptor. If no address reaches it, `finish` abandons it.
        let wake = |address: &SocketAddr| TcpStream::connect_timeout(address, Duration::from_secs(1)).is_ok();
        let _ = reachable(self.address).iter().any(wake);
        for connection in
            self.shared.open.lock().connections.values().filter(|connection| connection.stage.ends_at_stop())
        {
            let _ = connection.stream.shutdown(Shutdown::Both);
        }
    }

    /// Waits until all requests are answered, at the latest until the deadline.
    pub fn finish(self, deadline: Instant) {
        if self.accepting.recv_deadline(deadline) == Err(RecvTimeoutError::Timeout) {
            log::warn!("{}: the http accept thread could not be woken", self.address);
        } else if self.acceptor.join().is_err() {
            log::error!("the http accept thread panicked");
        }
        let mut open = self.shared.open.lock();
        while open.threads > 0 {
            if self.shared.all_closed.wait_until(&mut open, deadline).timed_out() {
                log::warn!("{} requests still unanswered at the shutdown deadline", open.threads);
                return;
            }
        }
    }
}

/// The addresses at which this host may reach a listener. A wildcard address is reached at the local host; that of IPv6
/// also at IPv4's, since the host may lack the other.
fn reachable(address: SocketAddr) -> Vec<SocketAddr> {
    let local: &[IpAddr] = match address.ip() {
        ip if !ip.is_unspecified() => return vec![address],
        IpAddr::V4(_) => &[IpAddr::V4(Ipv4Addr::LOCALHOST)],
        IpAddr::V6(_) => &[IpAddr::V6(Ipv6Addr::LOCALHOST), IpAddr::V4(Ipv4Addr::LOCALHOST)],
    };
    local.iter().map(|ip| SocketAddr::new(*ip, address.port())).collect()
}

fn accept_loop(listener: &TcpListener, shared: &Arc<Shared>) {
    while !shared.stopping.load(Ordering::SeqCst) {
        match listener.accept() {
            Ok(_) if shared.stopping.load(Ordering::SeqCst) => return,
            Ok((stream, _)) => {
                if let Err(error) = admit(stream, shared) {
                    log::debug!("connection lost before it was served: {error}");
                }
            }
            Err(error) => {
                log::warn!("cannot accept a connection: {error}");
                thread::sleep(ACCEPT_PAUSE);
            }
        }
    }
}

fn admit(stream: TcpStream, shared: &Arc<Shared>) -> io::Result<()> {
    let deadline = Instant::now() + shared.limits.request_time;
    let Some(id) = shared.register(&stream)? else {
        let mut timed = Timed { stream: &stream, deadline };
        return error_answer(503, "too many requests are being answered, try again").write(&mut timed, BodyPart::Send);
    };
    let for_thread = Arc::clone(shared);
    let spawned = ThreadSpec::of_server(format!("http-{id}")).with_stack(STACK_SIZE).spawn(move || {
        serve(&stream, id, deadline, &for_thread);
        for_thread.unregister(id);
    });
    if spawned.is_err() {
        shared.unregister(id);
    }
    spawned.map(drop)
}

impl Shared {
    /// A number for the connection, or `None` when no other may be displaced.
    fn register(&self, stream: &TcpStream) -> io::Result<Option<u64>> {
        let stream = stream.try_clone()?;
        let mut open = self.open.lock();
        // Checked with the lock held: `stop_accepting` does not close connections registered after it.
        if self.stopping.load(Ordering::SeqCst) {
            return Err(io::Error::other("the server is stopping"));
        }
        if open.connections.len() >= self.limits.connections {
            let Some((&oldest, _)) = open.connections.iter().find(|(_, connection)| connection.stage.gives_way())
            else {
                return Ok(None);
            };
            if let Some(slow) = open.connections.remove(&oldest) {
                // Fails when the client has closed the connection already.
                let _ = slow.stream.shutdown(Shutdown::Both);
            }
        }
        let id = open.next;
        open.next += 1;
        open.threads += 1;
        open.connections.insert(id, OpenConnection { stream, stage: ConnectionStage::Receiving });
        Ok(Some(id))
    }

    fn mark(&self, id: u64, stage: ConnectionStage) {
        if let Some(connection) = self.open.lock().connections.get_mut(&id) {
            connection.stage = stage;
        }
    }

    fn unregister(&self, id: u64) {
        let mut open = self.open.lock();
        open.connections.remove(&id);
        open.threads -= 1;
        if open.threads == 0 {
            self.all_closed.notify_all();
        }
    }
}

fn serve(stream: &TcpStream, id: u64, deadline: Instant, shared: &Shared) {
    let mut timed = Timed { stream, deadline };
    let incoming = read_request(&mut timed, shared.limits.body);
    shared.mark(id, ConnectionStage::Handling);
    let (response, body, complete) = match incoming {
        Err(HeadError::Closed) => return,
        Err(error) => (head_error(&error), BodyPart::Send, false),
        Ok(incoming) => {
            let body = match incoming.request.method.as_str() {
                "HEAD" => BodyPart::Omit,
                _ => BodyPart::Send,
            };
            let answer = catch_unwind(AssertUnwindSafe(|| (shared.handler)(incoming.request)));
            let answer = answer.unwrap_or_else(|_| error_answer(500, "internal error, see the server's log"));
            (answer, body, incoming.complete)
        }
    };
    shared.mark(id, ConnectionStage::Answering);
    let mut timed = Timed { stream, deadline: Instant::now() + ANSWER_TIME };
    // A failed write means that the client is gone.
    let written = response.write(&mut timed, body);
    shared.mark(id, ConnectionStage::Closing);
    if written.is_ok() {
        close(stream, complete);
    }
}

/// Closes the connection. Closing a socket with unread bytes resets it, and the client could lose the answer, so the
/// bytes are read first, within limits.
fn close(stream: &TcpStream, complete: bool) {
    let _ = stream.shutdown(Shutdown::Write);
    if complete {
        return;
    }
    let mut timed = Timed { stream, deadline: Instant::now() + LINGER_TIME };
    let mut buffer = [0; 16 * 1024];
    let mut left = LINGER_BYTES;
    while let Ok(read @ 1..) = timed.read(&mut buffer) {
        match left.checked_sub(read) {
            Some(rest) => left = rest,
            None => return,
        }
    }
}

fn head_error(error: &HeadError) -> Response {
    match error {
        HeadError::Closed | HeadError::Stalled => error_answer(408, "the request did not arrive in time"),
        HeadError::TooLarge => error_answer(431, "the request's head is too long"),
        HeadError::Malformed(what) => error_answer(400, what),
    }
}

fn error_answer(status: u16, message: &str) -> Response {
    Response::json(status, &json!({ "code": status, "message": message }))
}

/// A socket whose reads and writes together end at a deadline, however slowly bytes arrive or leave.
struct Timed<'a> {
    stream: &'a TcpStream,
    deadline: Instant,
}

impl Timed<'_> {
    fn left(&self) -> io::Result<Duration> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
    }
}

impl Read for Timed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(Some(self.left()?))?;
        let mut stream = self.stream;
        stream.read(buffer)
    }
}

impl Write for Timed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(Some(self.left()?))?;
        let mut stream = self.stream;
        stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_reach_a_listener() {
        for (address, expected) in [
            ("127.0.0.1:5", &["127.0.0.1:5"][..]),
            ("10.1.2.3:5", &["10.1.2.3:5"]),
            ("[::1]:5", &["[::1]:5"]),
            ("0.0.0.0:5", &["127.0.0.1:5"]),
            ("[::]:5", &["[::1]:5", "127.0.0.1:5"]),
        ] {
            let reached: Vec<String> = reachable(address.parse().unwrap()).iter().map(ToString::to_string).collect();
            assert_eq!(reached, expected, "{address}");
        }
    }

    #[test]
    fn an_acceptor_that_cannot_be_woken_is_abandoned() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut server = HttpServer::start(listener, Limits::default(), |_| Response::text(200, "")).unwrap();
        // Nothing listens there.
        server.address.set_port(1);
        server.stop_accepting();
        server.finish(Instant::now());
    }

    #[test]
    fn all_writes_together_have_one_deadline() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let later = Instant::now() + Duration::from_secs(60);
        Timed { stream: &stream, deadline: later }.write_all(b"x").unwrap();
        let error = Timed { stream: &stream, deadline: Instant::now() }.write_all(b"x").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
