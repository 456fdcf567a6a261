//! A connection to a Milvus, and how every call is made.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use grpcio::{CallOption, Metadata, MetadataBuilder, Method, RpcStatusCode};

use super::capabilities::TickProbe;
use super::connect::{ConnectOptions, Connection};
use super::error::{Error, ErrorKind};
use super::error_policy::kind_of;
use super::expected_server::ExpectedServer;
use super::known_server::KnownServer;
use super::methods::short_name;
use super::pb::api::{ClientInfo, ConnectRequest, ReplicateMessageRequest, ServerInfo};
use super::row_witness::RowWitnesses;
use super::serialized_calls::Cancelled;
use super::settling::Settling;
use super::status::HasStatus;
use super::wait::{Cancel, wait};
use super::{methods, serialized_calls};
use crate::domain::Mark;

pub(super) mod together;

/// The limits of a call.
#[derive(Debug, Clone)]
pub struct CallContext {
    /// The call fails if there is no response within this time.
    pub timeout: Duration,
    /// Ends the call from another thread.
    pub cancel: Cancel,
}

/// Observes the end of every call of a connection.
pub trait Observer: Send + Sync {
    /// A call of this method (its short name, such as `Insert`) succeeded or failed.
    fn ended(&self, method: &'static str, error: Option<&Error>);
}

/// What a call does while there is no connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Disconnected {
    /// It fails at once.
    Fail,
    /// It waits for the connection, within its timeout.
    Wait,
}

/// A unary call.
struct UnaryCall<'a, Q, A> {
    object: &'a str,
    method: &'a Method<Q, A>,
    request: &'a Q,
    context: &'a CallContext,
    disconnected: Disconnected,
    /// What a call that changes something bears.
    mark: Option<Mark>,
}

/// A connection to a Milvus. Calls block the calling thread; any number of threads may call at once, except to a Milvus
/// Lite, which gets one call at a time (see `serialized_calls`).
pub struct Client {
    connection: Connection,
    address: String,
    headers: Metadata,
    connect_timeout: Duration,
    observer: Option<Arc<dyn Observer>>,
    expected: ExpectedServer,
    pub(super) settling: Settling,
    witnesses: RowWitnesses,
    losses: AtomicU64,
    server: Arc<KnownServer>,
    #[cfg(test)]
    fake: Option<Arc<super::fake::FakeMilvus>>,
}

impl Client {
    /// Opens a connection. Nothing is sent before the first call.
    ///
    /// # Errors
    /// A PEM file cannot be read, or the token contains characters that a header cannot carry.
    pub fn open(endpoint: &ConnectOptions) -> Result<Client, Error> {
        let fail = |detail: String| Error {
            method: "Connect",
            address: endpoint.address.clone(),
            object: String::new(),
            kind: ErrorKind::Denied,
            detail,
        };
        let connection = Connection::open(endpoint).map_err(fail)?;
        let mut headers = MetadataBuilder::new();
        if !endpoint.token.is_empty() {
            let token = STANDARD.encode(&endpoint.token);
            headers.add_str("authorization", &token).map_err(|_| fail("the token cannot be sent".into()))?;
        }
        Ok(Client {
            connection,
            address: endpoint.address.clone(),
            headers: headers.build(),
            connect_timeout: endpoint.connect_timeout,
            observer: None,
            expected: ExpectedServer::default(),
            settling: Settling::default(),
            witnesses: RowWitnesses::default(),
            losses: AtomicU64::default(),
            server: Arc::default(),
            #[cfg(test)]
            fake: None,
        })
    }

    /// A client that is answered by a fake; the channel is not used.
    #[cfg(test)]
    pub(super) fn answered_by(address: &str, channel: grpcio::Channel, fake: Arc<super::fake::FakeMilvus>) -> Client {
        Client {
            connection: Connection::fixed(channel),
            address: address.into(),
            headers: MetadataBuilder::new().build(),
            connect_timeout: Duration::ZERO,
            observer: None,
            expected: ExpectedServer::default(),
            settling: Settling::default(),
            witnesses: RowWitnesses::default(),
            losses: AtomicU64::default(),
            server: Arc::default(),
            fake: Some(fake),
        }
    }

    /// The same connection with an observer of its calls.
    #[must_use]
    pub fn observed(self, observer: Arc<dyn Observer>) -> Client {
        Client { observer: Some(observer), ..self }
    }

    /// From now on only the server that made its database `default` then is spoken to: after each loss of the
    /// connection it is recognised first. `None`: any.
    pub fn expect_server(&self, created: Option<u64>) {
        self.expected.expect(created);
    }

    /// The server that was set up then has answered: if it is the expected one, it is not lost any more.
    pub fn saw_server(&self, created: Option<u64>) {
        self.expected.recognise(created);
    }

    /// Whether the connection was lost since the server was recognised last.
    pub fn has_lost_server(&self) -> bool {
        self.expected.is_lost()
    }

    /// Whether the connection is up. One that was lost while no call was made comes back with the next call, which
    /// would not fail.
    fn is_connected(&self) -> bool {
        #[cfg(test)]
        if self.fake.is_some() {
            return true;
        }
        self.connection.is_ready()
    }

    /// Recognises the server before a call, if the connection was lost.
    fn recognise_before(&self, method: &'static str, context: &CallContext) -> Result<(), Error> {
        if !self.is_connected() {
            self.lose_server();
        }
        if !self.expected.must_be_asked_before(method) {
            return Ok(());
        }
        let seen = self.describe_databases(context).map_err(|error| Error { method, ..error })?;
        if self.expected.recognise(seen.server_created) {
            return Ok(());
        }
        let detail = "another server answers than before, to which nothing is sent until it is recognised".into();
        Err(self.error(method, "", ErrorKind::Transport, detail))
    }

    /// Nobody knows who answers next.
    pub(super) fn lose_server(&self) {
        self.server.doubt();
        self.expected.lose();
        self.witnesses.doubt();
        self.losses.fetch_add(1, Ordering::Relaxed);
    }

    /// How often the connection was lost: whoever has answered before, another state of the server, or another server,
    /// may have taken its place since.
    pub fn losses(&self) -> u64 {
        self.losses.load(Ordering::Relaxed)
    }

    /// Rows that the server must still have.
    pub fn witnesses(&self) -> &RowWitnesses {
        &self.witnesses
    }

    /// What is known of the server, to be shown.
    pub fn known_server(&self) -> &Arc<KnownServer> {
        &self.server
    }

    /// `host:port` of the server.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Whether it sends credentials: without any, a server that answers denies nothing.
    pub fn has_credentials(&self) -> bool {
        !self.headers.is_empty()
    }

    /// Whether the server is a Milvus Lite 3, as its answer to `Connect` told.
    pub(super) fn is_lite(&self) -> bool {
        serialized_calls::is_lite(&self.address)
    }

    /// Logs in with `Connect`, which proves that the server answers and accepts the credentials.
    ///
    /// # Errors
    /// The call failed.
    pub fn connect(&self, cancel: &Cancel) -> Result<(), Error> {
        let context = CallContext { timeout: self.connect_timeout, cancel: cancel.clone() };
        self.log_in(&context, Disconnected::Wait).map(drop)
    }

    /// Logs in again, to learn which build answers.
    pub(super) fn introduce(&self, context: &CallContext) -> Result<ServerInfo, Error> {
        self.log_in(context, Disconnected::Fail)
    }

    fn log_in(&self, context: &CallContext, disconnected: Disconnected) -> Result<ServerInfo, Error> {
        let request = ConnectRequest {
            client_info: protobuf::MessageField::some(ClientInfo {
                sdk_type: "milvus-cdc".into(),
                sdk_version: env!("CARGO_PKG_VERSION").into(),
                ..Default::default()
            }),
            ..Default::default()
        };
        let answer = self.make(&UnaryCall {
            object: "",
            method: &methods::CONNECT,
            request: &request,
            context,
            disconnected,
            mark: None,
        })?;
        let server = answer.server_info.unwrap_or_default();
        serialized_calls::introduce(&self.address, &server);
        Ok(server)
    }

    /// Whether rows written with ordinary calls never become visible: an instance with `common.ttMsgEnabled: false`
    /// makes no time ticks of its own. Such an instance refuses an empty `ReplicateMessage` for its missing channel
    /// name, an ordinary instance refuses any `ReplicateMessage` (1900). Seen on 2.3.5; from 2.5 on the codes mean
    /// something else, so only older servers are asked.
    ///
    /// # Errors
    /// The server did not respond.
    pub fn lacks_time_ticks(&self, context: &CallContext) -> Result<bool, Error> {
        const NO_CHANNEL_NAME: i32 = 1100;
        if self.capabilities(context)?.tick_probe == TickProbe::Meaningless {
            return Ok(false);
        }
        let request = ReplicateMessageRequest::new();
        match self.call("", &methods::REPLICATE_MESSAGE, &request, context) {
            Err(Error { kind: ErrorKind::Server { code, .. }, .. }) => Ok(code == NO_CHANNEL_NAME),
            Err(error) if error.kind == ErrorKind::Transport => Err(error),
            _ => Ok(false),
        }
    }

    /// Opens a server stream.
    pub(super) fn stream<Q, A>(
        &self,
        object: &str,
        method: &Method<Q, A>,
        request: &Q,
    ) -> Result<grpcio::ClientSStreamReceiver<A>, Error> {
        let options = CallOption::default().headers(self.headers.clone());
        let opened = self.connection.grpc().server_streaming(method, request, options);
        opened.map_err(|error| self.failed(method, object, error))
    }

    /// Turns a transport failure into an error of this client.
    pub(super) fn failed<Q, A>(&self, method: &Method<Q, A>, object: &str, error: grpcio::Error) -> Error {
        let (kind, detail) = classify(error);
        if kind == ErrorKind::Transport {
            self.connection.renew();
        }
        self.error(short_name(method), object, kind, detail)
    }

    /// Makes a call and checks the status in its response. Fails at once while there is no connection.
    pub(super) fn call<Q: 'static, A: HasStatus + Unpin + 'static>(
        &self,
        object: &str,
        method: &Method<Q, A>,
        request: &Q,
        context: &CallContext,
    ) -> Result<A, Error> {
        self.make(&UnaryCall { object, method, request, context, disconnected: Disconnected::Fail, mark: None })
    }

    /// [`Self::call`] with a mark.
    pub(super) fn call_marked<Q: 'static, A: HasStatus + Unpin + 'static>(
        &self,
        mark: Mark,
        object: &str,
        method: &Method<Q, A>,
        request: &Q,
        context: &CallContext,
    ) -> Result<A, Error> {
        self.make(&UnaryCall { object, method, request, context, disconnected: Disconnected::Fail, mark: Some(mark) })
    }

    /// The headers of a call.
    fn headers(&self, mark: Option<Mark>) -> grpcio::Result<Metadata> {
        let Some(mark) = mark else { return Ok(self.headers.clone()) };
        let mut headers = MetadataBuilder::with_capacity(self.headers.len() + 2);
        // Its own are text, which is not taken as bytes.
        for (key, value) in self.headers.iter() {
            headers.add_str(key, &String::from_utf8_lossy(value))?;
        }
        if let Some(baggage) = mark.baggage() {
            headers.add_str("baggage", &baggage)?;
        }
        headers.add_str("traceparent", &mark.traceparent(uuid::Uuid::new_v4().as_u64_pair().1))?;
        Ok(headers.build())
    }

    fn make<Q: 'static, A: HasStatus + Unpin + 'static>(&self, call: &UnaryCall<'_, Q, A>) -> Result<A, Error> {
        let name = short_name(call.method);
        self.recognise_before(name, call.context)?;
        let attempt = || self.attempt(call);
        #[cfg(test)]
        let attempt = || self.with_faults((name, call.object), attempt);
        let outcome = attempt();
        self.note_end(name, outcome.as_ref().err());
        outcome
    }

    /// Draws the conclusions from the end of a call.
    fn note_end(&self, name: &'static str, error: Option<&Error>) {
        if error.is_some_and(|error| error.kind == ErrorKind::Transport) {
            self.lose_server();
        }
        if let Some(observer) = &self.observer {
            observer.ended(name, error);
        }
    }

    fn attempt<Q: 'static, A: HasStatus + Unpin + 'static>(&self, call: &UnaryCall<'_, Q, A>) -> Result<A, Error> {
        let UnaryCall { object, method, request, context, .. } = *call;
        let name = short_name(method);
        let options = self.options(call).map_err(|error| self.failed(method, object, error))?;
        #[cfg(test)]
        let mark = call.mark;
        let grpc = self.connection.grpc();
        let call = || grpc.unary_call_async(method, request, options).map(|call| wait(call, &context.cancel));
        #[cfg(test)]
        let call = || {
            let fake = self.fake.as_ref().inspect(|fake| fake.note_mark(name, mark));
            fake.map_or_else(call, |fake| Ok(Some(fake.answer(name, request))))
        };
        let outcome = serialized_calls::in_turn(&self.address, &context.cancel, call);
        let answer = match outcome {
            Ok(Ok(Some(Ok(answer)))) => answer,
            Ok(Ok(None)) | Err(Cancelled) => return Err(self.error(name, object, ErrorKind::Cancelled, String::new())),
            Ok(Ok(Some(Err(error))) | Err(error)) => {
                return Err(self.failed(method, object, error));
            }
        };
        self.checked(name, object, answer)
    }

    fn options<Q, A>(&self, call: &UnaryCall<'_, Q, A>) -> grpcio::Result<CallOption> {
        let options = CallOption::default().timeout(call.context.timeout).headers(self.headers(call.mark)?);
        Ok(options.wait_for_ready(call.disconnected == Disconnected::Wait))
    }

    /// An answer, unless its status is an error.
    fn checked<A: HasStatus>(&self, name: &'static str, object: &str, answer: A) -> Result<A, Error> {
        match answer.status() {
            Some(status) if status.code != 0 || status.error_code != 0 => {
                Err(self.error(name, object, kind_of(status), status.reason.clone()))
            }
            _ => Ok(answer),
        }
    }

    fn error(&self, method: &'static str, object: &str, kind: ErrorKind, detail: String) -> Error {
        Error { method, address: self.address.clone(), object: object.into(), kind, detail }
    }
}

fn classify(error: grpcio::Error) -> (ErrorKind, String) {
    let grpcio::Error::RpcFailure(status) = error else {
        return (ErrorKind::Transport, error.to_string());
    };
    let kind = match status.code() {
        // Overloaded servers answer with this status, too: a smaller message would not help there.
        RpcStatusCode::RESOURCE_EXHAUSTED if status.message().contains("larger than max") => ErrorKind::TooLarge,
        RpcStatusCode::UNIMPLEMENTED => ErrorKind::Unimplemented,
        RpcStatusCode::UNAUTHENTICATED | RpcStatusCode::PERMISSION_DENIED => ErrorKind::Denied,
        _ => ErrorKind::Transport,
    };
    let detail = if status.message().is_empty() { status.code().to_string() } else { status.message().to_owned() };
    (kind, detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{CollectionId, Timestamp};

    #[test]
    fn a_call_with_a_mark_is_logged_in_too() {
        let client = Client::open(&ConnectOptions {
            address: "127.0.0.1:1".into(),
            token: "root:secret".into(),
            tls: None,
            connect_timeout: Duration::from_millis(1),
        });
        let mark = Mark::of(CollectionId(7), Timestamp(9));
        let headers = client.unwrap().headers(Some(mark)).unwrap();
        let named = |name: &str| headers.iter().find(|(key, _)| *key == name).map(|(_, value)| value.to_vec());
        assert_eq!(named("authorization"), Some(STANDARD.encode("root:secret").into_bytes()));
        assert_eq!(named("baggage"), mark.baggage().map(String::into_bytes));
        assert!(named("traceparent").is_some());
    }
}
