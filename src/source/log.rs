//! What every kind of log can do.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Receiver;

use crate::domain::{Channel, CollectionId, Position, Record, Timestamp};

/// How far before the end of the log the replay of a backfill begins. A time tick lags by up to 0.3 s, a little more
/// on a busy server.
pub(super) const COPY_MARGIN: Duration = Duration::from_secs(5);
/// How far around a collection's creation time its `CreateCollection` message is searched for: the first ticks after
/// the message may be older than the creation itself.
pub(super) const COLLECTION_START_MARGIN: Duration = Duration::from_secs(10);

/// A failure to read a log. Each of them is worth another attempt: the files or the broker may come back.
#[derive(Debug, Clone, thiserror::Error)]
#[error("cannot read the log {place}: {cause}")]
pub struct LogError {
    /// The path or the address, with a preposition where one is needed.
    pub place: String,
    /// The failure itself, in the words of the library or of the server.
    #[source]
    pub cause: Arc<dyn Error + Send + Sync>,
}

impl LogError {
    /// A failure at `place`. Never pass a cause whose text may hold a secret.
    pub(super) fn new(place: impl Into<String>, cause: impl Into<Box<dyn Error + Send + Sync>>) -> LogError {
        LogError { place: place.into(), cause: cause.into().into() }
    }
}

/// A place to start reading from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Start {
    /// The first message to read; `None`: the first that the channel still has.
    pub position: Option<Position>,
    /// Every message with a timestamp above this lies at or after `position`.
    pub after: Timestamp,
}

/// Where reading a channel continues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadFrom {
    /// At the first message that the channel still has.
    First,
    /// At this message, which must still exist.
    At(Position),
    /// Behind this message, which has been read: nothing after it may be missing.
    After(Position),
}

impl ReadFrom {
    /// The message that it names.
    pub fn position(self) -> Option<Position> {
        match self {
            ReadFrom::First => None,
            ReadFrom::At(position) | ReadFrom::After(position) => Some(position),
        }
    }
}

/// Asks where a collection begins.
#[derive(Debug, Clone, Copy)]
pub struct StartQuery<'a> {
    /// The collection's id at the source.
    pub collection: CollectionId,
    /// Its creation time.
    pub created: Timestamp,
    /// The start position that `DescribeCollection` reports for the channel, in the log's own bytes. Of use to `wal`
    /// only; Milvus from 2.6 on reports none.
    pub reported: Option<&'a [u8]>,
}

/// A tick that was read, or one that a log without ticks of its own was said to have at its last message; or what
/// stands there now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadTick {
    /// Where it stands, or the last message before it.
    pub position: Position,
    /// Its time.
    pub time: Timestamp,
}

impl ReadTick {
    pub(in crate::source) fn of(record: &Record) -> ReadTick {
        ReadTick { position: record.position, time: record.end }
    }
}

/// Whether a log may have changed since the last look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refreshed {
    /// There may be new messages.
    Changed,
    /// There are certainly none.
    Unchanged,
    /// It was deleted, another one has taken its place, or it brings nothing of what it has: it must be opened again.
    Replaced,
}

impl Refreshed {
    pub(super) fn changed_if(changed: bool) -> Refreshed {
        if changed { Refreshed::Changed } else { Refreshed::Unchanged }
    }
}

/// A source's log. Shared by the reader thread and by whoever asks for positions.
pub trait Log: Send + Sync {
    /// Looks for new messages.
    ///
    /// # Errors
    /// The log is out of reach.
    fn refresh(&self) -> Result<Refreshed, LogError>;

    /// A channel that becomes ready when there may be new messages; wait on it, but leave the message for `refresh` to
    /// take. `None`: this log has to be polled.
    fn wakeups(&self) -> Option<Receiver<()>> {
        None
    }

    /// Passes messages to `visit`, in order, beginning with `next`, until about `max_bytes` have been passed or no more
    /// are available. A log may keep state that makes continuing cheap; only one reader reads a channel.
    ///
    /// # Errors
    /// The channel cannot be read. Messages that were visited before stay valid.
    fn read(
        &self,
        channel: &Channel,
        next: ReadFrom,
        max_bytes: usize,
        visit: &mut dyn FnMut(Record),
    ) -> Result<ReadEnd, LogError>;

    /// The position of a collection's `CreateCollection` message on this channel. `None`: the log no longer holds it.
    ///
    /// # Errors
    /// The log cannot be read.
    fn collection_start(&self, channel: &Channel, query: &StartQuery<'_>) -> Result<Option<Position>, LogError>;

    /// The last message's position; `None` when the channel is empty.
    ///
    /// # Errors
    /// The log cannot be read.
    fn tail(&self, channel: &Channel) -> Result<Option<Position>, LogError>;

    /// A place a few seconds before the end, for a backfill that starts now: a replay from there holds every change
    /// that the backfill may have missed. It names a message, unless there is none, so that a replay which comes after
    /// retention has removed it finds a gap.
    ///
    /// # Errors
    /// The log cannot be read.
    fn shortly_before_tail(&self, channel: &Channel) -> Result<Start, LogError>;

    /// A checkpoint is on disk: a restart reads each of these channels from the given position (`None`: from its first
    /// message), and needs nothing before it. For logs that can be told what to retain; must not block.
    fn saved(&self, _needed: &BTreeMap<Channel, Option<Position>>) {}

    /// Whether the source's user has every privilege that following this log needs. May ask the source.
    ///
    /// # Errors
    /// The source did not answer.
    fn access(&self) -> Result<LogAccess, LogError> {
        Ok(LogAccess::Granted)
    }

    /// What tells this log from another one behind the same path or address; `None` if that cannot be known.
    fn identity(&self) -> Option<String> {
        None
    }

    /// Whether the log lacks this tick, which has been read before, though it has what came before it: an earlier state
    /// of it was restored. Where that cannot be known, it has not.
    ///
    /// # Errors
    /// The log cannot be read.
    fn is_rolled_back(&self, _channel: &Channel, _read: ReadTick) -> Result<bool, LogError> {
        Ok(false)
    }

    /// Retention of these channels for an inactive reader. May ask a server and wait for the answer.
    fn retention(&self, _channels: &BTreeSet<Channel>) -> LogRetention {
        LogRetention::Unknown
    }
}

/// Whether a log may be followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogAccess {
    /// It may.
    Granted,
    /// The source denies a call; which, and what is needed.
    Denied(String),
}

/// How long a log retains messages that the task has not read yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogRetention {
    /// The log does not tell.
    Unknown,
    /// The log does not tell; this is the default of its setting.
    ByDefault(Duration),
    /// Only until the source itself has read them.
    Nothing,
    /// For this time.
    For(Duration),
    /// Until the task has read them, as far as there is room.
    ForEver,
}

/// How a [`Log::read`] ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadEnd {
    /// The byte limit was reached; there may be more.
    More,
    /// Every message that the log had at the last refresh has been visited.
    AtTail,
    /// More messages are on their way.
    Awaited,
    /// Retention has removed the message that has to be read next.
    Gap,
}
