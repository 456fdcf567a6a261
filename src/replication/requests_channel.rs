/*!
The channel of users' requests about the catalog (`replicate_channel`): read for hints alone, from its end on.
*/

use super::effect::{Effect, Effects};
use super::log_question::LogQuestion;
use crate::catalog::Hint;
use crate::domain::{Body, Channel, LogKind, Position, Record};
use crate::source::{LogError, Seek};

/// The channel.
#[derive(Debug)]
pub(super) struct RequestsChannel {
    channel: Channel,
    reading: RequestsReading,
}

/// Whether it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RequestsReading {
    /// It is to be, as soon as the log tells where it ends.
    Wanted,
    /// The log is being asked where it ends.
    Asked,
    /// It is, or this kind of log has none.
    Settled,
}

impl RequestsChannel {
    pub(super) fn new(channel: Channel, kind: LogKind) -> RequestsChannel {
        let reading = if kind.has_request_channel() { RequestsReading::Wanted } else { RequestsReading::Settled };
        RequestsChannel { channel, reading }
    }

    pub(super) fn is(&self, channel: &Channel) -> bool {
        *channel == self.channel
    }

    /// Sees to it that it is read.
    pub(super) fn read(&mut self, effects: &mut Effects) {
        if self.reading == RequestsReading::Wanted {
            self.reading = RequestsReading::Asked;
            effects.push(Effect::AskLog(LogQuestion::RequestsEnd(self.channel.clone())));
        }
    }

    /// The log has answered where it ends. Where it cannot, the next heartbeat asks again: until then changes of the
    /// catalog show a little later.
    pub(super) fn on_end(&mut self, end: Result<Option<Position>, LogError>, effects: &mut Effects) {
        self.reading = match end {
            Ok(from) => {
                effects.push(Effect::Seek(Seek { channel: self.channel.clone(), from, epoch: 0 }));
                RequestsReading::Settled
            }
            Err(_) => RequestsReading::Wanted,
        };
    }

    /// What was to be read next of it is gone.
    pub(super) fn on_gap(&mut self) {
        self.reading = RequestsReading::Wanted;
    }

    /// A user's request: a hint only.
    pub(super) fn on_record(record: Record, effects: &mut Effects) {
        match record.body {
            Body::CatalogHint(Some((db, collection))) => effects.push(Effect::Hint(Hint::Named { db, collection })),
            Body::Release(collection) => {
                effects.push(Effect::Hint(Hint::Release { collection, mark: record.mark }));
            }
            Body::CreateDatabase(db) => {
                effects.push(Effect::Hint(Hint::DatabaseCreated { db, mark: record.mark }));
            }
            Body::CatalogHint(None) | Body::Unknown(_) => effects.push(Effect::Hint(Hint::Anything)),
            _ => {}
        }
    }
}
