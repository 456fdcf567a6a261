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
use super::error::Error;
use super::methods;
use super::pb::wal::{
    AllocTimestampRequest, DumpMessagesRequest, FlushAllRequest, FlushAllResponse, MessageID as WireId,
};

/// A stretch of a channel to be read.
#[derive(Debug, Clone, Copy)]
pub struct DumpRequest<'a> {
    /// The physical channel.
    pub channel: &'a str,
    /// Where the server begins to look, this message included: its id's text, and the kind of log that it is of.
    pub start: (&'a str, i32),
    /// Only messages from this time tick on.
    pub from: u64,
    /// Only messages up to this time tick, then the stream ends.
    pub until: u64,
}

/// One blocking call each, failing as [`Error`] describes.
#[allow(clippy::missing_errors_doc)]
impl Client {
    /// Reads a stretch of a channel. `ready` is set whenever the stream may have something new.
    pub fn dump_messages(&self, wanted: DumpRequest<'_>, ready: &Ready) -> Result<DumpStream, Error> {
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
        let stream = self.stream(DUMP, wanted.channel, &methods::DUMP_MESSAGES, &request)?;
        ready.set();
        Ok(DumpStream { stream, waker: ready.waker() })
    }

    /// What an interrupted [`DumpStream`] means.
    pub fn dump_failed(&self, channel: &str, error: Interrupted) -> Error {
        self.failed(DUMP, channel, error.0)
    }

    /// Seals what the server has not stored yet, which leaves a message on every channel: answers these messages.
    pub fn flush_all(&self, context: &CallContext) -> Result<FlushAllResponse, Error> {
        self.call("FlushAll", "", &methods::FLUSH_ALL, &FlushAllRequest::new(), context)
    }

    /// The server's time: a hybrid timestamp later than that of every write that was acknowledged before.
    pub fn server_time(&self, context: &CallContext) -> Result<u64, Error> {
        let request = AllocTimestampRequest::new();
        Ok(self.call("AllocTimestamp", "", &methods::ALLOC_TIMESTAMP, &request, context)?.timestamp)
    }
}

const DUMP: &str = "DumpMessages";

/// Whether one of several streams may have something new. Cloning shares it.
#[derive(Debug, Clone, Default)]
pub struct Ready(Arc<Flag>);

#[derive(Debug, Default)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Release);
    }
}

impl Ready {
    /// Whether it was set since the last question.
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
    /// grpcio leaves a call that nobody reads any more open.
    fn drop(&mut self) {
        self.stream.cancel();
    }
}

/// What a stream has at the moment.
#[derive(Debug)]
pub enum Next {
    /// An answer: a serialized `DumpMessagesResponse`.
    Answer(Bytes),
    /// Nothing yet.
    Nothing,
    /// The server has ended it in order.
    End,
    /// It broke.
    Broken(Interrupted),
}

/// What broke a stream.
#[derive(Debug)]
pub struct Interrupted(grpcio::Error);

impl DumpStream {
    /// Takes what is there without waiting. After an end there is nothing more to ask for.
    pub fn poll(&mut self) -> Next {
        match Pin::new(&mut self.stream).poll_next(&mut Context::from_waker(&self.waker)) {
            Poll::Ready(Some(Ok(answer))) => Next::Answer(answer),
            Poll::Ready(Some(Err(error))) => Next::Broken(Interrupted(error)),
            Poll::Ready(None) => Next::End,
            Poll::Pending => Next::Nothing,
        }
    }
}
