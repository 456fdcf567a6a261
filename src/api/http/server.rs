/*!
Accepts connections and serves each with a thread of its own.

A client that is slow costs its own thread only, until its deadline. When there are too many connections, the oldest that
sends its request or takes its answer is cut off in favour of the newcomer: whoever is quick is served, however many are not.
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

use super::message::{Request, Response};
use super::reader::{HeadError, read_request};

/// What one client and all together may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections at the same time.
    pub connections: usize,
    /// From the connection to the last byte of the request.
    pub request_time: Duration,
    /// The longest body, in bytes.
    pub body: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { connections: 256, request_time: Duration::from_secs(10), body: 1024 * 1024 }
    }
}

/// How long a client may take to accept all of its answer.
const ANSWER_TIME: Duration = Duration::from_secs(10);
/// How long and how much of a refused body is read, so that the client gets to see the answer before the end.
const LINGER_TIME: Duration = Duration::from_secs(5);
const LINGER_BYTES: usize = 64 * 1024 * 1024;
/// After a failed `accept` (no file descriptors left, for example).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Enough for the deepest JSON that is read; there may be many of these threads.
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
    open: Mutex<Open>,
    all_closed: Condvar,
}

#[derive(Default)]
struct Open {
    next: u64,
    /// Threads that have not ended, cut off or not.
    threads: usize,
    /// Connections by age; not those that were cut off.
    connections: BTreeMap<u64, Connection>,
}

struct Connection {
    stream: TcpStream,
    stage: Stage,
}

/// How far a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The request is not complete: nobody is hurt when it is cut off.
    Receiving,
    /// Something is done for it, of which the client must hear.
    Handling,
    /// The answer is sent, as fast as the client takes it.
    Answering,
    /// The answer is sent.
    Closing,
}

impl Stage {
    /// It may be cut off for a newcomer: how long it lasts is up to the client.
    fn gives_way(self) -> bool {
        self != Stage::Handling
    }

    /// The server need not wait for it when it stops.
    fn ends_at_stop(self) -> bool {
        matches!(self, Stage::Receiving | Stage::Closing)
    }
}

impl HttpServer {
    /// Serves the listener's connections from now on.
    ///
    /// # Errors
    /// When the listener has no address or there is no thread for it.
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
        let acceptor = thread::Builder::new().name("http-accept".into()).spawn(move || {
            let _until_end: Sender<Infallible> = until_end;
            accept_loop(&listener, &for_thread);
        })?;
        Ok(HttpServer { address, shared, acceptor, accepting })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no more connections and cuts off those whose request is not complete; those being answered go on.
    pub fn stop_accepting(&self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        // Wakes the acceptor. Where nothing reaches it, `finish` gives it up.
        let wake = |address: &SocketAddr| TcpStream::connect_timeout(address, Duration::from_secs(1)).is_ok();
        let _ = reachable(self.address).iter().any(wake);
        for connection in
            self.shared.open.lock().connections.values().filter(|connection| connection.stage.ends_at_stop())
        {
            let _ = connection.stream.shutdown(Shutdown::Both);
        }
    }

    /// Waits for the requests being answered, at the latest until the deadline.
    pub fn finish(self, deadline: Instant) {
        if self.accepting.recv_deadline(deadline) == Err(RecvTimeoutError::Timeout) {
            log::warn!("{}: the http accept thread could not be woken", self.address);
        } else if self.acceptor.join().is_err() {
            log::error!("the http accept thread panicked");
        }
        let mut open = self.shared.open.lock();
        while open.threads > 0 {
            if self.shared.all_closed.wait_until(&mut open, deadline).timed_out() {
                log::warn!("{} requests were not answered in time", open.threads);
                return;
            }
        }
    }
}

/// Where a listener may be reached from here: a wildcard address at the local host, that of IPv6 also where only IPv4 has one.
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
                    log::debug!("a connection was lost before it was served: {error}");
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
        return error_answer(503, "too many requests are being answered, try again").write(&mut timed, true);
    };
    let for_thread = Arc::clone(shared);
    let spawned = thread::Builder::new().name(format!("http-{id}")).stack_size(STACK_SIZE).spawn(move || {
        serve(&stream, id, deadline, &for_thread);
        for_thread.unregister(id);
    });
    if spawned.is_err() {
        shared.unregister(id);
    }
    spawned.map(drop)
}

impl Shared {
    /// A number for the connection, or `None` when all others are being answered.
    fn register(&self, stream: &TcpStream) -> io::Result<Option<u64>> {
        let stream = stream.try_clone()?;
        let mut open = self.open.lock();
        // Asked with the lock held: who comes in later than `stop_accepting` is not cut off by it.
        if self.stopping.load(Ordering::SeqCst) {
            return Err(io::Error::other("the server stops"));
        }
        if open.connections.len() >= self.limits.connections {
            let Some((&oldest, _)) = open.connections.iter().find(|(_, connection)| connection.stage.gives_way())
            else {
                return Ok(None);
            };
            if let Some(slow) = open.connections.remove(&oldest) {
                // It fails when the client has gone by itself.
                let _ = slow.stream.shutdown(Shutdown::Both);
            }
        }
        let id = open.next;
        open.next += 1;
        open.threads += 1;
        open.connections.insert(id, Connection { stream, stage: Stage::Receiving });
        Ok(Some(id))
    }

    fn mark(&self, id: u64, stage: Stage) {
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
    shared.mark(id, Stage::Handling);
    let (response, with_body, complete) = match incoming {
        Err(HeadError::Closed) => return,
        Err(error) => (head_error(&error), true, false),
        Ok(incoming) => {
            let with_body = incoming.request.method != "HEAD";
            let answer = catch_unwind(AssertUnwindSafe(|| (shared.handler)(incoming.request)));
            let answer = answer.unwrap_or_else(|_| error_answer(500, "internal error, see the server's log"));
            (answer, with_body, incoming.complete)
        }
    };
    shared.mark(id, Stage::Answering);
    let mut timed = Timed { stream, deadline: Instant::now() + ANSWER_TIME };
    // The client may have gone; there is nobody else to tell.
    let written = response.write(&mut timed, with_body);
    shared.mark(id, Stage::Closing);
    if written.is_ok() {
        close(stream, complete);
    }
}

/// Ends the connection. Closing a socket with unread bytes resets it, and the client could lose the answer: so they are
/// read first, within limits.
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

/// A socket whose reads and writes end at a deadline, however slowly the bytes drip in or out.
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
    fn where_a_listener_is_reached() {
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
    fn an_acceptor_that_is_not_woken_is_given_up() {
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
