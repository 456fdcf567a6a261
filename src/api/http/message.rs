/*!
Requests and answers.
*/

use std::io::{self, Write};

use super::headers::Headers;

/// A request whose head could be read.
#[derive(Debug)]
pub struct Request {
    /// `POST`, `GET` or whatever the client wrote.
    pub method: String,
    /// The path without the query.
    pub path: String,
    /// Headers, names in lower case.
    pub headers: Headers,
    /// The body; empty when there is none.
    pub body: Result<Vec<u8>, BodyError>,
}

/// Why a body could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// Longer than the limit.
    #[error("the body is larger than {0} bytes")]
    TooLarge(usize),
    /// The length or the chunks differ from the announcement.
    #[error("{0}")]
    Malformed(&'static str),
    /// The client stopped sending.
    #[error("the body did not arrive in time")]
    Stalled,
    /// The connection failed.
    #[error("the connection failed: {0}")]
    Broken(String),
}

/// Whether an answer's body is sent; `HEAD` asks for the head alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BodyPart {
    Send,
    Omit,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// HTTP status.
    pub status: u16,
    /// `Content-Type`.
    pub content_type: &'static str,
    /// Content.
    pub body: Vec<u8>,
    /// Further headers.
    headers: Vec<(&'static str, String)>,
}

impl Response {
    /// An answer of this type.
    pub fn new(status: u16, content_type: &'static str, body: Vec<u8>) -> Self {
        Response { status, content_type, body, headers: Vec::new() }
    }

    /// Adds a header of our own making: neither part may contain a line end.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// A JSON answer.
    pub fn json(status: u16, body: &serde_json::Value) -> Self {
        Response::new(status, "application/json", format!("{body}\n").into_bytes())
    }

    /// A plain text answer.
    pub fn text(status: u16, body: &str) -> Self {
        Response::new(status, "text/plain; charset=utf-8", body.as_bytes().to_vec())
    }

    /// Sends the answer, which announces the end of the connection.
    pub(super) fn write(&self, out: &mut impl Write, body: BodyPart) -> io::Result<()> {
        // HTTP requires every 401 to name the authentication scheme.
        let login = if self.status == 401 { "WWW-Authenticate: Bearer\r\n" } else { "" };
        let more: String = self.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let mut bytes = format!(
            "HTTP/1.1 {} {}\r\nContent-Type: {}\r\nContent-Length: {}\r\n{login}{more}Connection: close\r\n\r\n",
            self.status,
            reason_phrase(self.status),
            self.content_type,
            self.body.len()
        )
        .into_bytes();
        if body == BodyPart::Send {
            bytes.extend_from_slice(&self.body);
        }
        out.write_all(&bytes)?;
        out.flush()
    }
}

fn reason_phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        431 => "Request Header Fields Too Large",
        503 => "Service Unavailable",
        _ => "Internal Server Error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_on_the_wire() {
        let mut out = Vec::new();
        Response::text(404, "no").write(&mut out, BodyPart::Send).unwrap();
        let expected = "HTTP/1.1 404 Not Found\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 2\r\n\
                        Connection: close\r\n\r\nno";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
        let mut out = Vec::new();
        Response::text(404, "no").write(&mut out, BodyPart::Omit).unwrap();
        assert!(out.ends_with(b"Content-Length: 2\r\nConnection: close\r\n\r\n"));
    }
}
