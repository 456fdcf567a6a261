//! One connection to a Milvus and the way every call goes.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use grpcio::{CallOption, Metadata, MetadataBuilder, Method, RpcStatusCode};

use super::connect::{Endpoint, open};
use super::error::{Error, ErrorKind};
use super::methods;
use super::pb::api::{ClientInfo, ConnectRequest, ReplicateMessageRequest, ServerInfo};
use super::status::HasStatus;
use super::turns::{self, Cancelled};
use super::version::Version;
use super::wait::{Cancel, wait};

/// How long one call may take, and what may end it sooner.
#[derive(Debug, Clone)]
pub struct CallContext {
    /// After this the answer is not waited for any more.
    pub timeout: Duration,
    /// Ends the call from another thread.
    pub cancel: Cancel,
}

/// Is told how every call of a connection ends.
pub trait Observer: Send + Sync {
    /// A call of this method (its short name, such as `Insert`) was answered, or failed.
    fn ended(&self, method: &'static str, error: Option<&Error>);
}

/// A connection to one Milvus. Calls block the calling thread; any number may be under way from several threads, but to a Milvus Lite, which
/// gets one after the other.
pub struct Client {
    grpc: grpcio::Client,
    address: String,
    headers: Metadata,
    connect_timeout: Duration,
    observer: Option<Arc<dyn Observer>>,
}

impl Client {
    /// Opens a connection. Nothing is sent before the first call.
    ///
    /// # Errors
    /// A PEM file that cannot be read, or a token that cannot be sent.
    pub fn open(endpoint: &Endpoint) -> Result<Client, Error> {
        let fail = |detail: String| Error {
            method: "Connect",
            address: endpoint.address.clone(),
            object: String::new(),
            kind: ErrorKind::Denied,
            detail,
        };
        let channel = open(endpoint).map_err(fail)?;
        let mut headers = MetadataBuilder::new();
        if !endpoint.token.is_empty() {
            let token = STANDARD.encode(&endpoint.token);
            headers.add_str("authorization", &token).map_err(|_| fail("the token cannot be sent".into()))?;
        }
        Ok(Client {
            grpc: grpcio::Client::new(channel),
            address: endpoint.address.clone(),
            headers: headers.build(),
            connect_timeout: endpoint.connect_timeout,
            observer: None,
        })
    }

    /// The same connection with somebody who is told about its calls.
    #[must_use]
    pub fn observed(self, observer: Arc<dyn Observer>) -> Client {
        Client { observer: Some(observer), ..self }
    }

    /// `host:port` of the server.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Introduces us and asks who the server is: proves that it answers and lets us in.
    ///
    /// # Errors
    /// Any failed call.
    pub fn connect(&self, cancel: &Cancel) -> Result<ServerInfo, Error> {
        let request = ConnectRequest {
            client_info: protobuf::MessageField::some(ClientInfo {
                sdk_type: "milvus-cdc".into(),
                sdk_version: env!("CARGO_PKG_VERSION").into(),
                ..Default::default()
            }),
            ..Default::default()
        };
        let context = CallContext { timeout: self.connect_timeout, cancel: cancel.clone() };
        // Waits for the connection instead of failing at once while there is none.
        let answer = self.call_with("Connect", "", &methods::CONNECT, &request, &context, true)?;
        let server = answer.server_info.unwrap_or_default();
        turns::introduce(&self.address, &server);
        Ok(server)
    }

    /// Whether rows written with ordinary calls never become visible: an instance with `common.ttMsgEnabled: false`, which
    /// makes no time ticks of its own. Such a one refuses an empty `ReplicateMessage` for its missing channel name, a
    /// normal one refuses it as such (1900). Seen on 2.3.5; from 2.5 on the answers mean something else, so only servers
    /// before that are asked.
    ///
    /// # Errors
    /// Any call without an answer.
    pub fn lacks_time_ticks(&self, context: &CallContext) -> Result<bool, Error> {
        const NO_CHANNEL_NAME: i32 = 1100;
        const OLD: std::ops::Range<Version> = Version::new(2, 3, 0)..Version::new(2, 5, 0);
        if !self.version(context)?.milvus().is_some_and(|version| OLD.contains(&version)) {
            return Ok(false);
        }
        let request = ReplicateMessageRequest::new();
        match self.call("ReplicateMessage", "", &methods::REPLICATE_MESSAGE, &request, context) {
            Err(Error { kind: ErrorKind::Server { code, .. }, .. }) => Ok(code == NO_CHANNEL_NAME),
            Err(error) if error.kind == ErrorKind::Transport => Err(error),
            _ => Ok(false),
        }
    }

    /// Opens a stream of answers, each passed on as it comes.
    pub(super) fn stream<Q, A>(
        &self,
        name: &'static str,
        object: &str,
        method: &Method<Q, A>,
        request: &Q,
    ) -> Result<grpcio::ClientSStreamReceiver<A>, Error> {
        let options = CallOption::default().headers(self.headers.clone());
        self.grpc.server_streaming(method, request, options).map_err(|error| self.failed(name, object, error))
    }

    /// What a failed call means.
    pub(super) fn failed(&self, name: &'static str, object: &str, error: grpcio::Error) -> Error {
        let (kind, detail) = classify(error);
        self.error(name, object, kind, detail)
    }

    /// Makes one call and checks the status in its answer.
    pub(super) fn call<Q, A: HasStatus + Unpin>(
        &self,
        name: &'static str,
        object: &str,
        method: &Method<Q, A>,
        request: &Q,
        context: &CallContext,
    ) -> Result<A, Error> {
        self.call_with(name, object, method, request, context, false)
    }

    fn call_with<Q, A: HasStatus + Unpin>(
        &self,
        name: &'static str,
        object: &str,
        method: &Method<Q, A>,
        request: &Q,
        context: &CallContext,
        wait_for_ready: bool,
    ) -> Result<A, Error> {
        let outcome = self.attempt(name, object, method, request, context, wait_for_ready);
        if let Some(observer) = &self.observer {
            observer.ended(name, outcome.as_ref().err());
        }
        outcome
    }

    fn attempt<Q, A: HasStatus + Unpin>(
        &self,
        name: &'static str,
        object: &str,
        method: &Method<Q, A>,
        request: &Q,
        context: &CallContext,
        wait_for_ready: bool,
    ) -> Result<A, Error> {
        let options =
            CallOption::default().timeout(context.timeout).headers(self.headers.clone()).wait_for_ready(wait_for_ready);
        let call = || self.grpc.unary_call_async(method, request, options).map(|call| wait(call, &context.cancel));
        let outcome = turns::in_turn(&self.address, &context.cancel, call);
        let answer = match outcome {
            Ok(Ok(Some(Ok(answer)))) => answer,
            Ok(Ok(None)) | Err(Cancelled) => return Err(self.error(name, object, ErrorKind::Cancelled, String::new())),
            Ok(Ok(Some(Err(error))) | Err(error)) => {
                let (kind, detail) = classify(error);
                return Err(self.error(name, object, kind, detail));
            }
        };
        match answer.status() {
            Some(status) if status.code != 0 || status.error_code != 0 => {
                let kind = match (status.code, status.error_code) {
                    // 1400: no privilege for this call. 3: the same before 2.3.
                    (1400, _) | (0, 3) => ErrorKind::Denied,
                    (code, legacy) => ErrorKind::Server { code, legacy },
                };
                Err(self.error(name, object, kind, status.reason.clone()))
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
        // Also the answer of an overloaded server, which a smaller message would not help.
        RpcStatusCode::RESOURCE_EXHAUSTED if status.message().contains("larger than max") => ErrorKind::TooLarge,
        RpcStatusCode::UNIMPLEMENTED => ErrorKind::Unimplemented,
        RpcStatusCode::UNAUTHENTICATED | RpcStatusCode::PERMISSION_DENIED => ErrorKind::Denied,
        _ => ErrorKind::Transport,
    };
    let detail = if status.message().is_empty() { status.code().to_string() } else { status.message().to_owned() };
    (kind, detail)
}
