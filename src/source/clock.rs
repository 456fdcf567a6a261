//! The source's clock, by which logs tell how far they have come: the clock of this machine may be wrong.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::domain::Timestamp;
use crate::milvus::{CallContext, Client, Error, ErrorKind};

/// A moment of the source's clock.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    /// The time that it shows.
    pub(super) time: Timestamp,
    /// Whose clock shows it.
    pub(super) origin: ClockOrigin,
}

/// Whose clock a time is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ClockOrigin {
    /// The source's.
    Source,
    /// This machine's: the source does not answer `AllocTimestamp`.
    Local,
}

/// How long an answer is extrapolated.
const FRESH: Duration = Duration::from_secs(30);

/// Asks the source now and then, and extrapolates from its answer.
#[derive(Debug, Default)]
pub(super) struct SourceClock(Mutex<Option<Answered>>);

#[derive(Debug, Clone, Copy)]
struct Answered {
    moment: Moment,
    at: Instant,
}

impl SourceClock {
    /// The source's time, roughly. Falls back to this machine's clock if the source does not tell.
    pub(super) fn now(&self, client: &Client, context: &CallContext) -> Result<Moment, Error> {
        let known = *self.0.lock();
        match known {
            Some(Answered { moment, at }) if at.elapsed() < FRESH => {
                Ok(Moment { time: moment.time.plus(at.elapsed()), ..moment })
            }
            _ => self.ask(client, context),
        }
    }

    /// The source's time, asked for now: later than every message that the source had acknowledged before.
    pub(super) fn ask(&self, client: &Client, context: &CallContext) -> Result<Moment, Error> {
        let moment = match client.server_time(context) {
            Ok(time) => Moment { time: Timestamp(time), origin: ClockOrigin::Source },
            Err(error) if error.kind == ErrorKind::Unimplemented => {
                Moment { time: Timestamp::now(), origin: ClockOrigin::Local }
            }
            Err(error) => return Err(error),
        };
        *self.0.lock() = Some(Answered { moment, at: Instant::now() });
        Ok(moment)
    }
}
