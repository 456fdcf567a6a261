//! The source's clock. Its ticks are what a window is cut by; ours may go wrong.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::domain::Timestamp;
use crate::milvus::{CallContext, Client, Error, ErrorKind};

/// A moment of the source's clock.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    /// What it shows.
    pub(super) time: Timestamp,
    /// The source has told; else it is our own clock's guess.
    pub(super) told: bool,
}

/// How long an answer is gone by.
const FRESH: Duration = Duration::from_secs(30);

/// Asks now and then, and counts on from the answer.
#[derive(Debug, Default)]
pub(super) struct Clock(Mutex<Option<(Moment, Instant)>>);

impl Clock {
    /// What it shows now, about. A source that does not tell is taken to have our time.
    pub(super) fn now(&self, client: &Client, context: &CallContext) -> Result<Moment, Error> {
        let known = *self.0.lock();
        match known {
            Some((moment, at)) if at.elapsed() < FRESH => {
                Ok(Moment { time: moment.time.plus(at.elapsed()), told: moment.told })
            }
            _ => self.ask(client, context),
        }
    }

    /// What it shows: later than every message that the source had acknowledged before.
    pub(super) fn ask(&self, client: &Client, context: &CallContext) -> Result<Moment, Error> {
        let moment = match client.server_time(context) {
            Ok(time) => Moment { time: Timestamp(time), told: true },
            Err(error) if error.kind == ErrorKind::Unimplemented => Moment { time: Timestamp::now(), told: false },
            Err(error) => return Err(error),
        };
        *self.0.lock() = Some((moment, Instant::now()));
        Ok(moment)
    }
}
