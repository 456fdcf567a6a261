//! The source's clock. Its ticks are what a window is cut by; ours may go wrong.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::domain::Timestamp;
use crate::milvus::{CallContext, Client, Error, ErrorKind};

/// How long an answer is gone by.
const FRESH: Duration = Duration::from_secs(30);

/// Asks now and then, and counts on from the answer.
#[derive(Debug, Default)]
pub(super) struct Clock(Mutex<Option<(Timestamp, Instant)>>);

impl Clock {
    /// What it shows now, about. A source that does not tell is taken to have our time.
    pub(super) fn now(&self, client: &Client, context: &CallContext) -> Result<Timestamp, Error> {
        let known = *self.0.lock();
        match known {
            Some((told, at)) if at.elapsed() < FRESH => Ok(told.plus(at.elapsed())),
            _ => self.ask(client, context),
        }
    }

    /// What it shows: later than every message that the source had acknowledged before.
    pub(super) fn ask(&self, client: &Client, context: &CallContext) -> Result<Timestamp, Error> {
        let told = match client.server_time(context) {
            Ok(told) => Timestamp(told),
            Err(error) if error.kind == ErrorKind::Unimplemented => Timestamp::now(),
            Err(error) => return Err(error),
        };
        *self.0.lock() = Some((told, Instant::now()));
        Ok(told)
    }
}
