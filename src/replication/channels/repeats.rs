//! Calls that have failed and are made again.

use std::time::Instant;

use super::{Channels, is_open};
use crate::sink::{CallAttempt, PostponedCall, WORKERS};

impl Channels {
    /// The next call to make again.
    pub(in crate::replication) fn next_repeat(&mut self, now: Instant) -> Option<CallAttempt> {
        if self.lanes.calls() >= WORKERS {
            return None;
        }
        // One that waits to be read again waits for the calls that are being made.
        let attempt = self.troubled.take_due(is_open(&self.states), now)?;
        self.lanes.repeat(attempt.call().id);
        Some(attempt)
    }

    /// When a call may be made again.
    pub(in crate::replication) fn next_due(&self) -> Option<Instant> {
        self.troubled.next_due(is_open(&self.states)).filter(|_| self.lanes.calls() < WORKERS)
    }

    /// A call has failed and is to be made again.
    pub(in crate::replication) fn postpone(&mut self, postponed: PostponedCall) {
        self.lanes.postpone(postponed.attempt.call().id);
        self.troubled.postpone(postponed);
    }

    /// Why calls have failed that are made again.
    pub(in crate::replication) fn call_errors(&self) -> impl Iterator<Item = &String> {
        self.troubled.errors().chain(self.aside.reasons())
    }
}
