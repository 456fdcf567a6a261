/*!
Sends one request to a running server, or to a proxy in front of it.
*/

use std::fmt;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::exit::Failure;
use super::secret::{api_token, secret};
use crate::config::{API_TOKEN_VARIABLE, BrokerTls, Secret};
use crate::http_client::tls::TlsError;
use crate::http_client::{HttpAnswer, HttpError, HttpLimits, HttpRequest};

const LIMITS: HttpLimits = HttpLimits {
    connect: Duration::from_secs(10),
    // Longer than any request takes: a pause waits for calls in flight, a create for its target.
    silence: Duration::from_secs(120),
    answer: None,
    // Larger than the answer for 10 000 tasks.
    bytes: 256 * 1024 * 1024,
};
const DEFAULT_PORT: u16 = 8444;
/// The server itself has no TLS; a TLS proxy listens on the standard port.
const DEFAULT_TLS_PORT: u16 = 443;

/// Address of a server: `http://host:port`, `https://host:port` or `host:port`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ServerUrl {
    scheme: &'static str,
    /// `host:port`, as in the `Host` header.
    authority: String,
}

/// Which server, and who asks.
#[derive(Debug, Args)]
pub(super) struct ServerArguments {
    /// Address of the server
    #[arg(long, value_name = "URL", env = "MILVUS_CDC_URL", default_value = "http://127.0.0.1:8444",
          value_parser = ServerUrl::parse)]
    server: ServerUrl,
    /// The server's api.token; better in the environment on a shared machine, where other users cannot list it
    #[arg(long, value_name = "TOKEN", env = API_TOKEN_VARIABLE, hide_env_values = true, default_value = "",
          hide_default_value = true, value_parser = secret)]
    token: Secret,
}

impl ServerArguments {
    /// # Errors
    /// A usage failure: the token cannot be sent.
    pub(super) fn client(&self) -> Result<ApiClient, Failure> {
        Ok(ApiClient { url: self.server.clone(), token: api_token(&self.token)? })
    }
}

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClientError {
    #[error("cannot reach the server at {at}: {source}{}", remedy(.at, .source))]
    Connection { at: String, source: HttpError },
    #[error("{at} does not answer like a milvus-cdc: {what}")]
    Answer { at: String, what: String },
    #[error("{0}")]
    Refused(String),
}

/// A client of a running server.
#[derive(Debug)]
pub(super) struct ApiClient {
    pub(super) url: ServerUrl,
    pub(super) token: Secret,
}

impl ServerUrl {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (scheme, rest, default_port) = match text.strip_prefix("https://") {
            Some(rest) => ("https", rest, DEFAULT_TLS_PORT),
            None => ("http", text.strip_prefix("http://").unwrap_or(text), DEFAULT_PORT),
        };
        let authority = rest.trim_end_matches('/');
        let host_end = authority.rfind(']').map_or(0, |end| end + 1);
        let (host, port) = match authority[host_end..].rsplit_once(':') {
            Some((rest, port)) => (&authority[..host_end + rest.len()], Some(port)),
            None => (authority, None),
        };
        let is_host = !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._[]:".contains(&b));
        let port = port.map_or(Ok(default_port), str::parse);
        match (is_host, port) {
            (true, Ok(port)) => Ok(ServerUrl { scheme, authority: format!("{host}:{port}") }),
            _ => Err("it must look like http://host:port or https://host".to_owned()),
        }
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.authority)
    }
}

impl ApiClient {
    /// Sends a request of this type and returns the `data` of its answer.
    pub(super) fn request(&self, request_type: &str, data: &Value) -> Result<Value, ClientError> {
        let body = json!({"request_type": request_type, "request_data": data}).to_string();
        let answer = self.send("/cdc", &self.token, Some(&body))?;
        let not_ours = |what: &str| ClientError::Answer { at: self.url.to_string(), what: what.to_owned() };
        let mut answer: Value = serde_json::from_slice(&answer.body).map_err(|_| not_ours("no JSON"))?;
        match (answer["code"].as_u64(), answer["message"].as_str()) {
            (Some(200), _) => Ok(answer["data"].take()),
            (Some(_), Some(message)) => Err(ClientError::Refused(message.to_owned())),
            _ => Err(not_ours("an answer without code and message")),
        }
    }

    /// Checks that the server is alive. Needs no token.
    pub(super) fn health(&self) -> Result<(), ClientError> {
        match self.send("/healthz", &Secret::default(), None)?.status {
            200 => Ok(()),
            _ => Err(ClientError::Answer { at: self.url.to_string(), what: "no 200 to /healthz".to_owned() }),
        }
    }

    fn send(&self, path: &str, token: &Secret, post: Option<&str>) -> Result<HttpAnswer, ClientError> {
        let tls = BrokerTls::default();
        let request = HttpRequest { url: &format!("{}{path}", self.url), token, tls: &tls, post, limits: LIMITS };
        request.send().map_err(|error| match error {
            HttpError::NoHttp(_) => ClientError::Answer { at: self.url.to_string(), what: "no HTTP".to_owned() },
            source => ClientError::Connection { at: self.url.to_string(), source },
        })
    }
}

/// What the user can do about the error, if anything.
fn remedy(at: &str, error: &HttpError) -> String {
    match error {
        HttpError::Tls(error) if error.is_unknown_authority() => {
            "; if an authority of your own has signed it, name that one's PEM file in SSL_CERT_FILE".to_owned()
        }
        HttpError::Tls(TlsError::Refused(_)) => String::new(),
        HttpError::Tls(TlsError::Handshake(_)) => {
            format!("; a server without TLS is reached at {}", at.replacen("https", "http", 1))
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        for (text, shown) in [
            ("http://127.0.0.1:8444", Some("http://127.0.0.1:8444")),
            ("http://cdc.example/", Some("http://cdc.example:8444")),
            ("localhost:1", Some("http://localhost:1")),
            ("http://[::1]:9", Some("http://[::1]:9")),
            ("[::1]", Some("http://[::1]:8444")),
            ("", None),
            ("http://", None),
            ("http://a:b", None),
            ("http://a/b", None),
            ("http://user:secret@a:1", None),
            ("https://a", Some("https://a:443")),
            ("https://[::1]:9/", Some("https://[::1]:9")),
            ("https://", None),
            ("https://a/b", None),
            ("ftp://a", None),
        ] {
            assert_eq!(ServerUrl::parse(text).ok().map(|url| url.to_string()).as_deref(), shown, "{text}");
        }
    }
}
