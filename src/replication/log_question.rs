/*!
Questions of the task to the log. They may take seconds (a broker that does not answer), so nothing in the loop waits
for their answers.
*/

use std::collections::BTreeMap;

use crossbeam_channel::Sender;

use super::collection_state::JoinPoints;
use crate::domain::{Channel, CollectionId, Position, Timestamp};
use crate::source::{Log, LogError, Start, StartQuery};

/// By channel, where a backfill's replay starts.
pub(super) type BackfillStarts = BTreeMap<Channel, Start>;

/// A question.
#[derive(Debug)]
pub(super) enum LogQuestion {
    /// Where the channel of users' requests ends.
    RequestsEnd(Channel),
    /// Where a collection begins that joins.
    Join(Box<JoinQuestion>),
    /// Where the replay over a backfill must start that begins now. `reply` waits for it.
    BackfillStarts { id: CollectionId, channels: Vec<Channel>, reply: Sender<BackfillStarts> },
    /// Where a channel goes on whose next message is gone. `epoch`: of the reading that has met the gap.
    AfterGap { channel: Channel, epoch: u64 },
}

/// What must be known of a collection that joins.
#[derive(Debug)]
pub(super) struct JoinQuestion {
    pub(super) id: CollectionId,
    /// The question's number: an answer to an older one does not count.
    pub(super) number: u64,
    pub(super) channels: Vec<Channel>,
    pub(super) beginning: Beginning,
    pub(super) tails: Tails,
}

/// How a collection's beginning is found.
#[derive(Debug)]
pub(super) enum Beginning {
    /// It need not be: a user has given it, or only a comparison will do.
    NotAsked,
    /// By the log, with what the source itself says of it on each channel.
    Asked { created: Timestamp, begins: BTreeMap<Channel, Vec<u8>> },
}

/// Whether the ends of the channels are asked for: rows up to there may be on the target already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tails {
    Asked,
    NotAsked,
}

/// An answer.
#[derive(Debug)]
pub(super) enum LogAnswer {
    /// Where the channel of users' requests ends.
    RequestsEnd(Result<Option<Position>, LogError>),
    /// Where a collection begins.
    Join { id: CollectionId, number: u64, points: Result<JoinPoints, LogError> },
    /// Where a backfill's replay starts.
    BackfillStarts { id: CollectionId, starts: Result<BackfillStarts, LogError>, reply: Sender<BackfillStarts> },
    /// Where a channel goes on.
    AfterGap { channel: Channel, epoch: u64, start: Result<Start, LogError> },
}

impl LogQuestion {
    /// Asks. May block.
    pub(super) fn ask(self, log: &dyn Log) -> LogAnswer {
        match self {
            LogQuestion::RequestsEnd(channel) => LogAnswer::RequestsEnd(log.tail(&channel)),
            LogQuestion::Join(question) => {
                LogAnswer::Join { id: question.id, number: question.number, points: question.ask(log) }
            }
            LogQuestion::BackfillStarts { id, channels, reply } => {
                // Of every channel, or of none: rows of one that was left out would be lost.
                let start = |channel: Channel| log.shortly_before_tail(&channel).map(|start| (channel, start));
                LogAnswer::BackfillStarts { id, starts: channels.into_iter().map(start).collect(), reply }
            }
            LogQuestion::AfterGap { channel, epoch } => {
                LogAnswer::AfterGap { start: log.shortly_before_tail(&channel), channel, epoch }
            }
        }
    }
}

impl JoinQuestion {
    fn ask(&self, log: &dyn Log) -> Result<JoinPoints, LogError> {
        let starts = match &self.beginning {
            Beginning::NotAsked => None,
            Beginning::Asked { created, begins } => self.starts(log, *created, begins)?,
        };
        let mut tails = BTreeMap::new();
        if self.tails == Tails::Asked {
            for channel in &self.channels {
                tails.insert(channel.clone(), log.tail(channel)?);
            }
        }
        Ok(JoinPoints { starts, tails })
    }

    /// Where the collection begins on each of its channels; `None` when the log does not hold all of it any more.
    fn starts(
        &self,
        log: &dyn Log,
        created: Timestamp,
        begins: &BTreeMap<Channel, Vec<u8>>,
    ) -> Result<Option<BTreeMap<Channel, Start>>, LogError> {
        let mut starts = BTreeMap::new();
        for channel in &self.channels {
            let reported = begins.get(channel).map(Vec::as_slice);
            let query = StartQuery { collection: self.id, created, reported };
            let Some(start) = log.collection_start(channel, &query)? else { return Ok(None) };
            starts.insert(channel.clone(), Start { position: Some(start), after: Timestamp::ZERO });
        }
        Ok((!starts.is_empty()).then_some(starts))
    }
}
