//! What every kind of log can do.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crossbeam_channel::Receiver;

use super::message::Record;
use crate::domain::{Channel, CollectionId, Position, Timestamp};

/// How far back from the end a copy's replay starts. A tick names a moment up to 0.3 s past; a busy server a little more.
pub(super) const COPY_MARGIN: Duration = Duration::from_secs(5);
/// How far around a collection's creation it is looked for: the first ticks after a create may be older than the create itself.
pub(super) const BIRTH_MARGIN: Duration = Duration::from_secs(10);

/// A failure to read a log. All of them are worth trying again: the files or the broker may come back.
#[derive(Debug, Clone, thiserror::Error)]
#[error("cannot read the log {place}: {detail}")]
pub struct LogError {
    /// The path or address.
    pub place: String,
    /// The library's own words.
    pub detail: String,
}

/// A place to start reading from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Start {
    /// The first message to read; `None`: the channel's first, whatever it is.
    pub position: Option<Position>,
    /// Every message with a timestamp above this lies at or after `position`.
    pub after: Timestamp,
}

/// Where reading a channel goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// The channel's first message, whatever it is.
    First,
    /// This message, which must still be there.
    At(Position),
    /// What comes behind this message, which has been read: nothing behind it may be gone.
    After(Position),
}

impl Next {
    /// The message that it names.
    pub fn position(self) -> Option<Position> {
        match self {
            Next::First => None,
            Next::At(position) | Next::After(position) => Some(position),
        }
    }
}

/// A source's log. Shared by the reader thread and by whoever asks for positions.
pub trait Log: Send + Sync {
    /// Looks for new messages. False when there is certainly nothing new since the last call.
    ///
    /// # Errors
    /// The log cannot be reached.
    fn refresh(&self) -> Result<bool, LogError>;

    /// Becomes ready, without being taken from, when there may be something new. `None`: a log that has to be looked at.
    fn news(&self) -> Option<Receiver<()>> {
        None
    }

    /// Passes messages to `visit`, in order, beginning with `next`, until about `max_bytes` have been passed or nothing more
    /// is there at the moment. A log may keep what it needs to go on cheaply where it left off; a channel is read by one
    /// reader.
    ///
    /// # Errors
    /// The channel cannot be read. What was visited before stays valid.
    fn read(
        &self,
        channel: &Channel,
        next: Next,
        max_bytes: usize,
        visit: &mut dyn FnMut(Record),
    ) -> Result<ReadEnd, LogError>;

    /// Where a collection made at `created` begins on this channel: its `CreateCollection` message. `None` when the log does
    /// not hold that any more. `begins` is what the source itself says about it, in the log's own bytes.
    ///
    /// # Errors
    /// The log cannot be read.
    fn birth(
        &self,
        channel: &Channel,
        collection: CollectionId,
        created: Timestamp,
        begins: Option<&[u8]>,
    ) -> Result<Option<Position>, LogError>;

    /// The last message's position; `None` when the channel has none.
    ///
    /// # Errors
    /// The log cannot be read.
    fn tail(&self, channel: &Channel) -> Result<Option<Position>, LogError>;

    /// A place a few seconds before the end, for a copy that starts now: replayed from there, the log has everything that
    /// the copy may have missed.
    ///
    /// # Errors
    /// The log cannot be read.
    fn shortly_before_tail(&self, channel: &Channel) -> Result<Start, LogError>;

    /// A checkpoint is on disk: after a restart these channels are read from there (`None`: from their first message), and
    /// nothing before that is needed any more. For logs that can be told what to keep; must not block.
    fn saved(&self, _needed: &BTreeMap<Channel, Option<Position>>) {}

    /// How long it keeps the messages of these channels for a task that does not read them. May ask, and wait for the answer.
    fn keeps(&self, _channels: &BTreeSet<Channel>) -> Keeps {
        Keeps::Unknown
    }
}

/// How long a log keeps messages that have not been read for us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeps {
    /// It does not tell.
    Unknown,
    /// It does not tell, and without another setting it is this long.
    ByDefault(Duration),
    /// Only until the source itself has read them.
    Nothing,
    /// So long.
    For(Duration),
    /// Until we have read them, as far as there is room.
    ForEver,
}

/// How a [`Log::read`] ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadEnd {
    /// The byte limit was reached; there may be more.
    More,
    /// Every message that the log had at the last refresh has been visited.
    AtTail,
    /// More is on its way.
    Awaited,
    /// What was to be read next is gone: retention has removed it.
    Gap,
}
