/*!
Sends one HTTP request and returns the answer, for the command line and for Pulsar's admin API.

`ureq` implements HTTP. Each request opens its own connection. Redirects are not followed, since they could carry the
token to another host; proxies from the environment are ignored; time and size of an answer are bounded.
*/

#[cfg(test)]
pub(crate) mod identity;
pub(crate) mod tls;
mod transport;

use std::io;
use std::time::Duration;

use ureq::config::Config;
use ureq::http::HeaderValue;
use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::{Connector, TcpConnector};
use ureq::{Agent, Body};

use self::tls::TlsError;
use self::transport::TlsConnector;
use crate::config::{BrokerTls, Secret};

/// Bounds of one exchange.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HttpLimits {
    /// Time to connect, TLS handshake included.
    pub(crate) connect: Duration,
    /// Longest single read or write.
    pub(crate) silence: Duration,
    /// Time for the head of the answer, and again for its body. `None`: only `silence` counts.
    pub(crate) answer: Option<Duration>,
    /// Longest body of an answer.
    pub(crate) bytes: u64,
}

/// A GET, or a POST of JSON.
pub(crate) struct HttpRequest<'a> {
    /// Scheme (`http` or `https`), host, port and path.
    pub(crate) url: &'a str,
    /// Bearer token; empty for none.
    pub(crate) token: &'a Secret,
    /// Ignored for `http`.
    pub(crate) tls: &'a BrokerTls,
    /// JSON to post; `None` for a GET.
    pub(crate) post: Option<&'a str>,
    pub(crate) limits: HttpLimits,
}

/// An answer of any status.
#[derive(Debug)]
pub(crate) struct HttpAnswer {
    pub(crate) status: u16,
    /// The standard phrase of the status; empty for an unknown one.
    pub(crate) reason: &'static str,
    pub(crate) body: Vec<u8>,
}

/// Why there is no answer. The caller adds the address.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpError {
    /// The connection could not be opened, or broke.
    #[error("{0}")]
    Connection(io::Error),
    /// The TLS settings or the handshake failed.
    #[error("{0}")]
    Tls(TlsError),
    /// The host name does not resolve.
    #[error("the name has no address")]
    NoAddress,
    /// A limit of time was exceeded.
    #[error("no answer in time ({0})")]
    Silent(ureq::Timeout),
    /// The body exceeds the limit.
    #[error("the answer is longer than {0} bytes")]
    TooLong(u64),
    /// The peer does not speak HTTP, or the request is not valid HTTP.
    #[error("no HTTP: {0}")]
    NoHttp(ureq::Error),
}

impl HttpRequest<'_> {
    /// Sends the request and waits for the answer.
    ///
    /// # Errors
    /// [`HttpError`] when no complete answer arrives within the limits.
    pub(crate) fn send(&self) -> Result<HttpAnswer, HttpError> {
        let answer = self.exchange().map_err(HttpError::of)?;
        let status = answer.status();
        let mut body = answer.into_body();
        let body = body.with_config().limit(self.limits.bytes).read_to_vec().map_err(HttpError::of)?;
        Ok(HttpAnswer { status: status.as_u16(), reason: status.canonical_reason().unwrap_or_default(), body })
    }

    fn exchange(&self) -> Result<ureq::http::Response<Body>, ureq::Error> {
        let agent = self.agent()?;
        let login = match self.token.expose() {
            "" => None,
            token => {
                let mut value = HeaderValue::from_str(&format!("Bearer {token}")).map_err(ureq::http::Error::from)?;
                value.set_sensitive(true);
                Some(value)
            }
        };
        match self.post {
            None => {
                let request = agent.get(self.url).header("Accept", "application/json");
                login.into_iter().fold(request, |request, value| request.header("Authorization", value)).call()
            }
            Some(json) => {
                let request = agent.post(self.url).header("Content-Type", "application/json");
                login.into_iter().fold(request, |request, value| request.header("Authorization", value)).send(json)
            }
        }
    }

    fn agent(&self) -> Result<Agent, ureq::Error> {
        let HttpLimits { connect, silence, answer, .. } = self.limits;
        // No global limit and none for the resolver: with one, ureq resolves names in a thread that nobody joins.
        let config = Config::builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .max_idle_connections(0)
            .user_agent(concat!("milvus-cdc/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(connect))
            .timeout_per_read(Some(silence))
            .timeout_per_write(Some(silence))
            .timeout_recv_response(answer)
            .timeout_recv_body(answer)
            .build();
        let encrypting = match self.url.starts_with("https://") {
            true => TlsConnector::new(self.tls)?,
            false => TlsConnector::none(),
        };
        let connector = ().chain(TcpConnector::default()).chain(encrypting);
        Ok(Agent::with_parts(config, connector, DefaultResolver::default()))
    }
}

impl HttpError {
    fn of(error: ureq::Error) -> HttpError {
        match error {
            ureq::Error::Io(error) => HttpError::Connection(error),
            ureq::Error::HostNotFound => HttpError::NoAddress,
            ureq::Error::Timeout(which) => HttpError::Silent(which),
            ureq::Error::BodyExceedsLimit(bytes) => HttpError::TooLong(bytes),
            ureq::Error::Other(other) => match other.downcast::<TlsError>() {
                Ok(error) => HttpError::Tls(*error),
                Err(other) => HttpError::NoHttp(ureq::Error::Other(other)),
            },
            other => HttpError::NoHttp(other),
        }
    }
}

#[cfg(test)]
mod tests;
