/*!
Sends one request to a running server.

Written on `std`: our server answers one request per connection, so a client is a request written and an answer read to its end. A
crate would bring a connection pool, redirects and proxies, none of which is wanted here. The request is HTTP/1.0, so that a
proxy in between does not answer in chunks.
*/

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use serde_json::{Value, json};

use crate::config::Secret;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longer than any request takes: a pause waits for calls that are under way, a create for its target.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);
/// More than 10 000 tasks need.
const MAX_ANSWER: u64 = 256 * 1024 * 1024;
const DEFAULT_PORT: u16 = 8444;

/// Where a server answers, from `http://host:port` or `host:port`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ServerUrl {
    /// `host:port`, as `Host` has it.
    authority: String,
}

/// Why a request was not done.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClientError {
    #[error("cannot reach the server at {at}: {source}")]
    Connection { at: String, source: io::Error },
    #[error("{at} does not answer like a milvus-cdc: {what}")]
    Answer { at: String, what: String },
    #[error("{0}")]
    Refused(String),
}

/// A running server, and the token that it wants.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) url: ServerUrl,
    pub(super) token: Secret,
}

impl ServerUrl {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text.starts_with("https://") {
            return Err("TLS is not spoken here; ask the server itself, or use curl".to_owned());
        }
        let authority = text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/');
        let host_end = authority.rfind(']').map_or(0, |end| end + 1);
        let (host, port) = match authority[host_end..].rsplit_once(':') {
            Some((rest, port)) => (&authority[..host_end + rest.len()], Some(port)),
            None => (authority, None),
        };
        let is_host = !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._[]:".contains(&b));
        let port = port.map_or(Ok(DEFAULT_PORT), str::parse);
        match (is_host, port) {
            (true, Ok(port)) => Ok(ServerUrl { authority: format!("{host}:{port}") }),
            _ => Err("it must look like http://host:port".to_owned()),
        }
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.authority)
    }
}

impl Client {
    /// Does a request of this type and returns its `data`.
    pub(super) fn request(&self, request_type: &str, data: &Value) -> Result<Value, ClientError> {
        let body = json!({"request_type": request_type, "request_data": data}).to_string();
        let connection = |source| ClientError::Connection { at: self.url.to_string(), source };
        let answer = self.exchange(&body).map_err(connection)?;
        let not_ours = |what: &str| ClientError::Answer { at: self.url.to_string(), what: what.to_owned() };
        let (_, body) = split_head(&answer).ok_or_else(|| not_ours("no HTTP"))?;
        let mut answer: Value = serde_json::from_slice(body).map_err(|_| not_ours("no JSON"))?;
        match (answer["code"].as_u64(), answer["message"].as_str()) {
            (Some(200), _) => Ok(answer["data"].take()),
            (Some(_), Some(message)) => Err(ClientError::Refused(message.to_owned())),
            _ => Err(not_ours("an answer without code and message")),
        }
    }

    /// Whether the server is alive. Needs no token.
    pub(super) fn health(&self) -> Result<(), ClientError> {
        let head = format!("GET /healthz HTTP/1.0\r\nHost: {}\r\n\r\n", self.url.authority);
        let connection = |source| ClientError::Connection { at: self.url.to_string(), source };
        let answer = self.send(&head, "").map_err(connection)?;
        if answer.starts_with(b"HTTP/1.1 200 ") {
            return Ok(());
        }
        Err(ClientError::Answer { at: self.url.to_string(), what: "no 200 to /healthz".to_owned() })
    }

    fn exchange(&self, body: &str) -> io::Result<Vec<u8>> {
        let login = match self.token.expose() {
            "" => String::new(),
            token => format!("Authorization: Bearer {token}\r\n"),
        };
        let head = format!(
            "POST /cdc HTTP/1.0\r\nHost: {}\r\n{login}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            self.url.authority,
            body.len()
        );
        self.send(&head, body)
    }

    fn send(&self, head: &str, body: &str) -> io::Result<Vec<u8>> {
        let mut stream = connect(&self.url.authority)?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
        stream.write_all(head.as_bytes())?;
        stream.write_all(body.as_bytes())?;
        let mut answer = Vec::new();
        stream.take(MAX_ANSWER).read_to_end(&mut answer)?;
        Ok(answer)
    }
}

/// The first address that answers.
fn connect(authority: &str) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in authority.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn split_head(answer: &[u8]) -> Option<(&[u8], &[u8])> {
    const END: &[u8] = b"\r\n\r\n";
    let end = answer.windows(END.len()).position(|window| window == END)?;
    answer.starts_with(b"HTTP/1.").then(|| (&answer[..end], &answer[end + END.len()..]))
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
            ("https://a", None),
        ] {
            assert_eq!(ServerUrl::parse(text).ok().map(|url| url.to_string()).as_deref(), shown, "{text}");
        }
    }

    #[test]
    fn answers() {
        assert_eq!(
            split_head(b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n{}"),
            Some((&b"HTTP/1.1 200 OK\r\nA: b"[..], &b"{}"[..]))
        );
        assert_eq!(split_head(b"SSH-2.0\r\n\r\n"), None);
        assert_eq!(split_head(b"HTTP/1.1 200 OK\r\n"), None);
    }
}
