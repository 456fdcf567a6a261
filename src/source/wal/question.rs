//! Questions to `DumpMessages` beside the reading: a range of a channel, answered within a time or not.

use std::time::{Duration, Instant};

use super::error::WalStartError;
use crate::domain::Channel;
use crate::milvus::wal::{DumpRequest, Next, StreamReady};
use crate::milvus::{CallContext, Client};
use crate::source::decode::envelope::{self, DumpAnswer, Envelope};

/// How a question ended.
#[derive(Debug)]
pub(super) enum DumpReply {
    /// The message that was looked for.
    Found(Box<Envelope>),
    /// The whole range came without it.
    NotThere,
    /// Nothing came for as long as the question may take.
    Silence,
}

/// Asks one server about one channel.
#[derive(Clone, Copy)]
pub(super) struct Questioner<'a> {
    pub(super) client: &'a Client,
    pub(super) context: &'a CallContext,
    pub(super) channel: &'a Channel,
}

/// A range of ticks, and how long to wait for each part of the answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct TickRange {
    pub(super) from: u64,
    pub(super) until: u64,
    pub(super) patience: Duration,
}

/// How often a stream is polled.
const POLL: Duration = Duration::from_millis(5);

impl Questioner<'_> {
    /// The first message of the range that is wanted. `start`: the id to read from and the number of its queue.
    pub(super) fn find(
        self,
        start: (&str, i32),
        range: TickRange,
        is_wanted: impl Fn(&Envelope) -> bool,
    ) -> Result<DumpReply, WalStartError> {
        let channel = self.channel.as_str();
        let wanted = DumpRequest { channel, start, from: range.from, until: range.until };
        let mut stream = self.client.dump_messages(wanted, &StreamReady::default())?;
        let mut last_sign = Instant::now();
        loop {
            match stream.poll() {
                Next::Answer(answer) => {
                    last_sign = Instant::now();
                    if let DumpAnswer::Message(message) = envelope::read(&answer)?
                        && is_wanted(&message)
                    {
                        return Ok(DumpReply::Found(message));
                    }
                }
                Next::End => return Ok(DumpReply::NotThere),
                Next::Broken(why) => return Err(self.client.dump_failed(channel, why).into()),
                Next::Nothing if last_sign.elapsed() > range.patience => return Ok(DumpReply::Silence),
                Next::Nothing => {
                    if self.context.cancel.sleep(POLL) {
                        return Err(WalStartError::Stopping);
                    }
                }
            }
        }
    }

    /// Whether the channel is served at all: an empty range ends with the first message, whatever it is.
    pub(super) fn is_served(self, start: (&str, i32)) -> Result<bool, WalStartError> {
        const PATIENCE: Duration = Duration::from_secs(3);
        let reply = self.find(start, TickRange { from: 0, until: 1, patience: PATIENCE }, |_| false)?;
        Ok(!matches!(reply, DumpReply::Silence))
    }
}
