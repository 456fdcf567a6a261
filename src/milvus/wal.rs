/*!
Calls that read the write-ahead log of Milvus 2.6 and later.
*/

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;
use futures_core::Stream as _;

use super::client::{CallContext, Client};
use super::error::{Error, ErrorKind};
use super::methods;
use super::pb::wal::{
    AllocTimestampRequest, DumpMessagesRequest, FlushAllRequest, FlushAllResponse, MessageID as WireId,
};

/// A range of a channel to be read.
#[derive(Debug, Clone, Copy)]
pub struct DumpRequest<'a> {
    /// The physical channel.
    pub channel: &'a str,
    /// The message that the server starts at, inclusive: the text of its id, and the number of its kind of log.
    pub start: (&'a str, i32),
    /// Only messages from this time tick on.
    pub from: u64,
    /// Only messages up to this time tick; then the stream ends.
    pub until: u64,
}

/// One blocking call each; [`Error`] describes the failures.
#[allow(clippy::missing_errors_doc)]
impl Client {
    /// Reads a range of a channel. `ready` is set whenever the stream may have something new.
    pub fn dump_messages(&self, wanted: DumpRequest<'_>, ready: &StreamReady) -> Result<DumpStream, Error> {
        let (id, kind) = wanted.start;
        let start = WireId { id: id.into(), WAL_name: kind, ..WireId::default() };
        let request = DumpMessagesRequest {
            pchannel: wanted.channel.into(),
            start_message_id: protobuf::MessageField::some(start),
            start_timetick: wanted.from,
            end_timetick: wanted.until,
            include_start_message: true,
            ..DumpMessagesRequest::default()
        };
        let stream = self.stream(wanted.channel, &methods::DUMP_MESSAGES, &request)?;
        ready.set();
        Ok(DumpStream { stream, waker: ready.waker() })
    }

    /// The error of an interrupted [`DumpStream`].
    pub fn dump_failed(&self, channel: &str, error: Interrupted) -> Error {
        let error = self.failed(&methods::DUMP_MESSAGES, channel, error.0);
        if error.kind == ErrorKind::Transport {
            self.lose_server();
        }
        error
    }

    /// Seals the growing segments, which writes a message to every channel. Returns these messages.
    pub fn flush_all(&self, context: &CallContext) -> Result<FlushAllResponse, Error> {
        self.call("", &methods::FLUSH_ALL, &FlushAllRequest::new(), context)
    }

    /// A new hybrid timestamp of the server: later than that of every write acknowledged before.
    pub fn server_time(&self, context: &CallContext) -> Result<u64, Error> {
        let request = AllocTimestampRequest::new();
        Ok(self.call("", &methods::ALLOC_TIMESTAMP, &request, context)?.timestamp)
    }
}

/// Whether one of several streams may have something new. Cloning shares it.
#[derive(Debug, Clone, Default)]
pub struct StreamReady(Arc<Flag>);

#[derive(Debug, Default)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Release);
    }
}

impl StreamReady {
    /// Whether it was set since the last call.
    pub fn take(&self) -> bool {
        self.0.0.swap(false, Ordering::AcqRel)
    }

    /// Sets it.
    pub fn set(&self) {
        self.0.0.store(true, Ordering::Release);
    }

    fn waker(&self) -> Waker {
        Waker::from(Arc::clone(&self.0))
    }
}

/// A running `DumpMessages`. Dropping it cancels the call.
pub struct DumpStream {
    stream: grpcio::ClientSStreamReceiver<Bytes>,
    waker: Waker,
}

impl Drop for DumpStream {
    /// grpcio keeps a call open even when its stream is no longer read.
    fn drop(&mut self) {
        self.stream.cancel();
    }
}

/// The state of a stream when it is polled.
#[derive(Debug)]
pub enum Next {
    /// A response: a serialized `DumpMessagesResponse`.
    Answer(Bytes),
    /// Nothing yet.
    Nothing,
    /// The server ended the stream regularly.
    End,
    /// The stream broke.
    Broken(Interrupted),
}

/// Why a stream broke.
#[derive(Debug)]
pub struct Interrupted(grpcio::Error);

impl DumpStream {
    /// Takes the next item without waiting. Must not be called after an end.
    pub fn poll(&mut self) -> Next {
        match Pin::new(&mut self.stream).poll_next(&mut Context::from_waker(&self.waker)) {
            Poll::Ready(Some(Ok(answer))) => Next::Answer(answer),
            Poll::Ready(Some(Err(error))) => Next::Broken(Interrupted(error)),
            Poll::Ready(None) => Next::End,
            Poll::Pending => Next::Nothing,
        }
    }
}
