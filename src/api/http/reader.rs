/*!
Reads one request from a connection.

Reading never outlasts the source's deadline: the source is a socket whose reads fail with `TimedOut` once it has
passed.
*/

use std::io::{self, Read, Write};

use super::headers::Headers;
use super::message::{BodyError, Request};

/// The longest request line and headers together.
const MAX_HEAD: usize = 16 * 1024;
/// The most headers.
const MAX_HEADERS: usize = 100;
/// The longest line between chunks.
const MAX_CHUNK_LINE: usize = 256;
const READ_SIZE: usize = 8 * 1024;
const HEAD_END: &[u8] = b"\r\n\r\n";

/// Why there is no request at all.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum HeadError {
    /// The client closed the connection without sending anything.
    Closed,
    /// The head did not arrive in time.
    Stalled,
    /// The head is too long, or has too many headers.
    TooLarge,
    /// Not HTTP/1.
    Malformed(&'static str),
}

/// A request, and whether everything that the client sends has been read.
#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) request: Request,
    pub(super) complete: bool,
}

/// Reads head and body.
pub(super) fn read_request(stream: &mut (impl Read + Write), max_body: usize) -> Result<Incoming, HeadError> {
    let mut source = Source { stream, buffer: Vec::new() };
    let head = source.head()?;
    let head = Head::parse(&head)?;
    if head.expects_continue && !matches!(head.body, Framing::Length(length) if length > max_body) {
        // A client that does not receive it sends its body anyway after a moment.
        let _ = source.stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n");
    }
    let body = match head.body {
        Framing::Length(length) => source.sized_body(length, max_body),
        Framing::Chunked => source.chunked_body(max_body),
        Framing::Unclear(what) => Err(BodyError::Malformed(what)),
    };
    let complete = body.is_ok();
    Ok(Incoming { request: Request { method: head.method, path: head.path, headers: head.headers, body }, complete })
}

struct Source<'a, S> {
    stream: &'a mut S,
    /// Bytes read from the stream but not consumed yet.
    buffer: Vec<u8>,
}

impl<S: Read> Source<'_, S> {
    fn fill(&mut self) -> io::Result<usize> {
        let begin = self.buffer.len();
        self.buffer.resize(begin + READ_SIZE, 0);
        let read = loop {
            match self.stream.read(&mut self.buffer[begin..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        self.buffer.truncate(begin + read.as_ref().copied().unwrap_or(0));
        read
    }

    fn head(&mut self) -> Result<Vec<u8>, HeadError> {
        let mut searched = 0;
        loop {
            // The end may have been cut by the last read.
            let from = usize::saturating_sub(searched, HEAD_END.len() - 1);
            if let Some(at) = self.buffer[from..].windows(HEAD_END.len()).position(|window| window == HEAD_END) {
                return Ok(self.take(from + at + HEAD_END.len()));
            }
            if self.buffer.len() > MAX_HEAD {
                return Err(HeadError::TooLarge);
            }
            searched = self.buffer.len();
            match self.fill() {
                Ok(0) if self.buffer.is_empty() => return Err(HeadError::Closed),
                Ok(0) => return Err(HeadError::Malformed("the request ends in its head")),
                Ok(_) => {}
                Err(error) if is_timeout(&error) => return Err(HeadError::Stalled),
                Err(_) => return Err(HeadError::Closed),
            }
        }
    }

    fn take(&mut self, count: usize) -> Vec<u8> {
        let rest = self.buffer.split_off(count);
        std::mem::replace(&mut self.buffer, rest)
    }

    fn sized_body(&mut self, length: usize, max: usize) -> Result<Vec<u8>, BodyError> {
        if length > max {
            return Err(BodyError::TooLarge(max));
        }
        self.need(length)?;
        Ok(self.take(length))
    }

    fn need(&mut self, count: usize) -> Result<(), BodyError> {
        while self.buffer.len() < count {
            self.fill_body()?;
        }
        Ok(())
    }

    fn fill_body(&mut self) -> Result<(), BodyError> {
        match self.fill() {
            Ok(0) => Err(BodyError::Malformed("the body is shorter than announced")),
            Ok(_) => Ok(()),
            Err(error) if is_timeout(&error) => Err(BodyError::Stalled),
            Err(error) => Err(BodyError::Broken(error.to_string())),
        }
    }

    fn chunked_body(&mut self, max: usize) -> Result<Vec<u8>, BodyError> {
        let mut body = Vec::new();
        loop {
            let line = self.chunk_line()?;
            let digits = line.split(';').next().unwrap_or_default().trim();
            let valid = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
            let size = usize::from_str_radix(digits, 16).ok().filter(|_| valid);
            let size = size.ok_or(BodyError::Malformed("a chunk has no size"))?;
            if size == 0 {
                while !self.chunk_line()?.is_empty() {}
                return Ok(body);
            }
            if size > max - body.len() {
                return Err(BodyError::TooLarge(max));
            }
            self.need(size + 2)?;
            body.extend_from_slice(&self.take(size));
            if self.take(2) != b"\r\n" {
                return Err(BodyError::Malformed("a chunk is longer than announced"));
            }
        }
    }

    fn chunk_line(&mut self) -> Result<String, BodyError> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line = self.take(end + 1);
                return Ok(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
            if self.buffer.len() > MAX_CHUNK_LINE {
                return Err(BodyError::Malformed("a line between chunks is too long"));
            }
            self.fill_body()?;
        }
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock)
}

struct Head {
    method: String,
    path: String,
    headers: Headers,
    body: Framing,
    expects_continue: bool,
}

enum Framing {
    Length(usize),
    Chunked,
    /// Two readers could disagree about where the body ends.
    Unclear(&'static str),
}

impl Head {
    fn parse(bytes: &[u8]) -> Result<Self, HeadError> {
        if has_bare_line_feed(bytes) {
            return Err(HeadError::Malformed("a line of the head ends without a carriage return"));
        }
        let mut fields = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut request = httparse::Request::new(&mut fields);
        match request.parse(bytes) {
            Ok(httparse::Status::Complete(length)) if length == bytes.len() => {}
            Ok(_) => return Err(HeadError::Malformed("the head does not end with its first empty line")),
            Err(error) => return Err(head_error(error)),
        }
        let (Some(method), Some(target)) = (request.method, request.path) else {
            return Err(HeadError::Malformed(NO_REQUEST));
        };
        let text = |value: &[u8]| String::from_utf8_lossy(value).trim().to_owned();
        let headers: Vec<(String, String)> =
            request.headers.iter().map(|field| (field.name.to_ascii_lowercase(), text(field.value))).collect();
        let expects_continue =
            headers.iter().any(|(name, value)| name == "expect" && value.eq_ignore_ascii_case("100-continue"));
        let path = target.split('?').next().unwrap_or_default();
        let headers = Headers::new(headers);
        let body = Framing::of(&headers);
        Ok(Head { method: method.to_owned(), path: path.to_owned(), headers, body, expects_continue })
    }
}

const NO_REQUEST: &str = "the first line is no HTTP request";

/// `httparse` takes a line feed alone for a line's end; other readers of the same bytes do not, and would see other
/// headers.
fn has_bare_line_feed(bytes: &[u8]) -> bool {
    bytes.iter().enumerate().any(|(at, &byte)| byte == b'\n' && (at == 0 || bytes[at - 1] != b'\r'))
}

fn head_error(error: httparse::Error) -> HeadError {
    HeadError::Malformed(match error {
        httparse::Error::TooManyHeaders => return HeadError::TooLarge,
        httparse::Error::Version => "only HTTP/1.0 and HTTP/1.1 are spoken here",
        httparse::Error::HeaderName => "a header has no valid name before its colon",
        httparse::Error::HeaderValue => "a header has a value that is not allowed",
        httparse::Error::NewLine => "a carriage return stands within a line of the head",
        httparse::Error::Token | httparse::Error::Status => NO_REQUEST,
    })
}

impl Framing {
    fn of(headers: &Headers) -> Self {
        let lengths: Vec<&str> = headers.all("content-length").collect();
        let encodings: Vec<&str> = headers.all("transfer-encoding").collect();
        match (lengths.as_slice(), encodings.as_slice()) {
            ([], []) => Framing::Length(0),
            ([], [encoding]) if encoding.eq_ignore_ascii_case("chunked") => Framing::Chunked,
            ([length], []) if !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit()) => {
                // A number that does not fit is larger than any limit.
                Framing::Length(length.parse().unwrap_or(usize::MAX))
            }
            ([_], []) => Framing::Unclear("Content-Length is no number"),
            ([], _) => Framing::Unclear("the only Transfer-Encoding known here is chunked"),
            _ => Framing::Unclear("the length of the body is given more than once"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a client does after its text.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Afterwards {
        Stalls,
        Closes,
    }

    /// Gives out its text in pieces and keeps what is written to it.
    struct Pieces {
        rest: Vec<u8>,
        size: usize,
        afterwards: Afterwards,
        written: Vec<u8>,
    }

    impl Read for Pieces {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.rest.is_empty() && self.afterwards == Afterwards::Stalls {
                return Err(io::ErrorKind::TimedOut.into());
            }
            let count = self.size.min(self.rest.len()).min(buffer.len());
            buffer[..count].copy_from_slice(&self.rest[..count]);
            self.rest.drain(..count);
            Ok(count)
        }
    }

    impl Write for Pieces {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.written.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn read_in_pieces(text: &str, size: usize, afterwards: Afterwards) -> (Result<Incoming, HeadError>, Vec<u8>) {
        let mut pieces = Pieces { rest: text.into(), size, afterwards, written: Vec::new() };
        let result = read_request(&mut pieces, 100);
        (result, pieces.written)
    }

    fn body(text: &str) -> Result<Vec<u8>, BodyError> {
        read_in_pieces(text, 1000, Afterwards::Stalls).0.unwrap().request.body
    }

    #[test]
    fn whatever_the_pieces() {
        let text = "POST /cdc?x=1 HTTP/1.1\r\nHost: h\r\ncontent-LENGTH: 5\r\n\r\nhello";
        for size in 1..=text.len() {
            let incoming = read_in_pieces(text, size, Afterwards::Stalls).0.unwrap();
            assert_eq!((incoming.request.method.as_str(), incoming.request.path.as_str()), ("POST", "/cdc"));
            assert_eq!(incoming.request.body, Ok(b"hello".to_vec()));
            assert!(incoming.complete);
        }
    }

    #[test]
    fn chunks() {
        let chunked = |chunks: &str| body(&format!("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}"));
        assert_eq!(chunked("5\r\nhello\r\n1;x=y\r\n!\r\n0\r\nTrailer: x\r\n\r\n"), Ok(b"hello!".to_vec()));
        assert_eq!(chunked("65\r\n"), Err(BodyError::TooLarge(100)));
        assert_eq!(chunked("ffffffffffffffffff\r\n"), Err(BodyError::Malformed("a chunk has no size")));
        assert_eq!(chunked("+5\r\nhello\r\n"), Err(BodyError::Malformed("a chunk has no size")));
        assert_eq!(chunked("1\r\nhello\r\n"), Err(BodyError::Malformed("a chunk is longer than announced")));
        assert_eq!(chunked("5\r\nhel"), Err(BodyError::Stalled));
    }

    #[test]
    fn bodies_that_cannot_be_read() {
        let sized = |length: &str| body(&format!("POST / HTTP/1.1\r\nContent-Length: {length}\r\n\r\nabc"));
        assert_eq!(sized("101"), Err(BodyError::TooLarge(100)));
        assert_eq!(sized("99999999999999999999999"), Err(BodyError::TooLarge(100)));
        assert_eq!(sized("4"), Err(BodyError::Stalled));
        assert_eq!(sized("-4"), Err(BodyError::Malformed("Content-Length is no number")));
        let both = body("POST / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc");
        assert_eq!(both, Err(BodyError::Malformed("the length of the body is given more than once")));
        let ended = read_in_pieces("POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\nabc", 9, Afterwards::Closes).0.unwrap();
        assert_eq!(ended.request.body, Err(BodyError::Malformed("the body is shorter than announced")));
        assert!(!ended.complete);
    }

    #[test]
    fn heads_that_cannot_be_read() {
        let error = |text: &str, afterwards| read_in_pieces(text, 9, afterwards).0.unwrap_err();
        assert_eq!(error("", Afterwards::Closes), HeadError::Closed);
        assert_eq!(error("POST /cdc HT", Afterwards::Stalls), HeadError::Stalled);
        assert!(matches!(error("POST /cdc HT", Afterwards::Closes), HeadError::Malformed(_)));
        assert!(matches!(error("\r\n\r\n", Afterwards::Closes), HeadError::Malformed(_)));
        assert!(matches!(error("GET / HTTP/2\r\n\r\n", Afterwards::Closes), HeadError::Malformed(_)));
        assert!(matches!(error("GET / HTTP/1.1\r\nnonsense\r\n\r\n", Afterwards::Closes), HeadError::Malformed(_)));
        assert_eq!(error(&format!("GET /{} HTTP/1.1", "x".repeat(MAX_HEAD)), Afterwards::Closes), HeadError::TooLarge);
        let with_headers = |count| format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(count));
        assert!(read_in_pieces(&with_headers(MAX_HEADERS), 999, Afterwards::Closes).0.is_ok());
        assert_eq!(error(&with_headers(MAX_HEADERS + 1), Afterwards::Closes), HeadError::TooLarge);
    }

    #[test]
    fn heads_that_two_readers_could_understand_differently() {
        for (lines, why) in [
            ("Content-Length : 5", "a header has no valid name before its colon"),
            ("Transfer-Encoding : chunked", "a header has no valid name before its colon"),
            ("Host : evil", "a header has no valid name before its colon"),
            (": empty", "a header has no valid name before its colon"),
            ("A: b\r\n folded: c", "a header has no valid name before its colon"),
            ("A: b\0c", "a header has a value that is not allowed"),
            ("A: b\rContent-Length: 5", "a header has a value that is not allowed"),
            ("A: b\nContent-Length: 5", "a line of the head ends without a carriage return"),
            ("A: b\n", "a line of the head ends without a carriage return"),
        ] {
            let read = read_in_pieces(&format!("POST / HTTP/1.1\r\n{lines}\r\n\r\nhello"), 999, Afterwards::Closes).0;
            assert_eq!(read.unwrap_err(), HeadError::Malformed(why), "{lines:?}");
        }
        let version = HeadError::Malformed("only HTTP/1.0 and HTTP/1.1 are spoken here");
        let preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
        assert_eq!(read_in_pieces(preface, 999, Afterwards::Closes).0.unwrap_err(), version);
    }

    #[test]
    fn an_empty_line_before_the_request() {
        let incoming =
            read_in_pieces("\r\nPOST /cdc HTTP/1.1\r\nContent-Length: 2\r\n\r\nok", 999, Afterwards::Stalls).0.unwrap();
        assert_eq!((incoming.request.path.as_str(), incoming.request.body), ("/cdc", Ok(b"ok".to_vec())));
    }

    #[test]
    fn a_client_that_asks_before_it_sends() {
        let head = "POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: ";
        let (result, written) = read_in_pieces(&format!("{head}2\r\n\r\nok"), 500, Afterwards::Stalls);
        assert_eq!(result.unwrap().request.body, Ok(b"ok".to_vec()));
        assert_eq!(written, b"HTTP/1.1 100 Continue\r\n\r\n");
        let (result, written) = read_in_pieces(&format!("{head}200\r\n\r\n"), 500, Afterwards::Stalls);
        assert_eq!(result.unwrap().request.body, Err(BodyError::TooLarge(100)));
        assert!(written.is_empty());
    }

    const ANY_REQUEST: &str = "(POST / HTTP/1.1\r\n)?\
        (Content-Length: [0-9]{1,3}\r\n|Transfer-Encoding: chunked\r\n)?(\r\n)?.{0,60}";

    proptest! {
        #[test]
        fn any_bytes_are_handled(text in ANY_REQUEST, size in 1usize..20) {
            let _ = read_in_pieces(&text, size, Afterwards::Closes);
        }
    }
}
