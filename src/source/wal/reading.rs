/*!
Reads one channel, window after window.

A window is a `DumpMessages` up to a tick a little ahead of now: messages arrive while it is open, and when the server
ends it, everything up to that tick has been sent, even on a channel without messages. Within a window messages come in
the order of their ticks, so each one is a time tick by itself. Should a message come late all the same, it is not
skipped: the channel counts as having a gap, and its collections are compared.
*/

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::resume_point::ResumePoint;
use crate::domain::{Body, Position, Record, Timestamp};
use crate::source::decode::envelope::{self, DumpAnswer, Envelope};
use crate::source::decode::wal_message::{Complete, Transactions};
use crate::source::decode::wal_message_id::Queue;

/// How far a window reaches ahead of the source's clock. This is the precision of an idle channel's lag.
const WINDOW: Duration = Duration::from_secs(1);
/// A window that stays silent for this long after its end counts as hung.
const PATIENCE: Duration = Duration::from_secs(15);
/// The same for the first window from a place in Woodpecker, where silence is what comes from deleted messages.
const PATIENCE_WITH_WOODPECKER: Duration = Duration::from_secs(5);
const MAX_PATIENCE: Duration = Duration::from_secs(600);
/// Ticks remembered, to tell a repeated message from a late one.
const REMEMBERED: usize = 4096;

/// What follows from an answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ReadingStep {
    /// Read the next one.
    Next,
    /// The next message is gone, or came too late; the reason, for the log.
    Gap(String),
    /// The answer is malformed or contradicts an earlier one; how.
    Malformed(String),
}

/// The state of reading one channel, without the connection.
#[derive(Debug)]
pub(super) struct Reading {
    place: ResumePoint,
    window: Option<Window>,
    /// The last ticks passed on.
    recent: VecDeque<u64>,
    patience: Duration,
    /// Retention may have cut the log since the last message: the next window has to begin with it.
    verify: bool,
    /// How many windows from this place on have hung, one after the other.
    silences: u32,
}

#[derive(Debug)]
struct Window {
    end: u64,
    transactions: Transactions,
    /// The witness has come.
    verified: bool,
    /// A message behind the resume point has come.
    moved: bool,
    last_sign: Instant,
}

impl Reading {
    pub(super) fn at(place: ResumePoint) -> Reading {
        let patience = if place.start.queue == Queue::Woodpecker { PATIENCE_WITH_WOODPECKER } else { PATIENCE };
        Reading { place, window: None, recent: VecDeque::new(), patience, verify: true, silences: 0 }
    }

    /// How far the channel has been read.
    pub(super) fn place(&self) -> &ResumePoint {
        &self.place
    }

    /// The first tick that the next window has to bring. Right after another window nothing can have been cut, so the
    /// last message, which may be large, need not be sent again. Everything behind it is asked for again: had the
    /// server ended the last window early, the missing messages come now.
    pub(super) fn next_begin(&self) -> u64 {
        if self.verify { self.place.witness } else { self.place.witness.min(self.place.passed) + 1 }
    }

    /// The end of a window opened when the source's clock shows `now`.
    pub(super) fn next_end(&self, now: Timestamp) -> u64 {
        now.max(Timestamp(self.place.passed)).plus(WINDOW).0
    }

    /// A window has been opened.
    pub(super) fn opened(&mut self, end: u64) {
        let (transactions, last_sign) = (Transactions::default(), Instant::now());
        self.window = Some(Window { end, transactions, verified: !self.verify, moved: false, last_sign });
    }

    /// Abandons the window; the next one begins at the same place.
    pub(super) fn close(&mut self) {
        self.window = None;
        self.verify = true;
    }

    /// How long the channel has had no message, by the source's clock. Retention may cut an idle log behind its last
    /// message.
    pub(super) fn idle(&self) -> Duration {
        let ms = |tick: u64| Timestamp(tick).physical_ms();
        Duration::from_millis(ms(self.place.passed).saturating_sub(ms(self.place.witness)))
    }

    /// Whether the window ends after this time.
    pub(super) fn ends_after(&self, time: Timestamp) -> bool {
        self.window.as_ref().is_some_and(|window| Timestamp(window.end) > time)
    }

    /// Whether reading is so close to the end that it counts as the tail.
    pub(super) fn is_near(&self, now: Timestamp) -> bool {
        Timestamp(self.place.passed).plus(WINDOW * 4) >= now
    }

    /// How long the window has been silent, if that is too long. The next one gets more time: the server may be
    /// searching through many messages that were not asked for.
    pub(super) fn hung(&mut self, now: Timestamp) -> Option<Duration> {
        let window = self.window.as_ref()?;
        let silent = window.last_sign.elapsed();
        if now < Timestamp(window.end) || silent < self.patience {
            return None;
        }
        self.patience = (self.patience * 2).min(MAX_PATIENCE);
        self.silences += 1;
        Some(silent)
    }

    /// Whether the messages at this place may have been deleted: Woodpecker answers that by silence, time and again.
    pub(super) fn may_be_deleted(&self) -> bool {
        self.silences > 1 && self.place.start.queue == Queue::Woodpecker
    }

    /// Takes in one answer; `visit` gets the records that it completes.
    pub(super) fn take(&mut self, answer: &Bytes, visit: &mut dyn FnMut(Record)) -> ReadingStep {
        let Some(window) = &mut self.window else { return ReadingStep::Next };
        window.last_sign = Instant::now();
        (self.patience, self.silences) = (PATIENCE, 0);
        let message = match envelope::read(answer) {
            Ok(DumpAnswer::Message(message)) => message,
            Ok(DumpAnswer::Status(status)) if status.code == 0 && status.error_code == 0 => return ReadingStep::Next,
            Ok(DumpAnswer::Status(status)) => {
                return ReadingStep::Malformed(format!("code {}: {}", status.code, status.reason));
            }
            Err(error) => return ReadingStep::Malformed(error.to_string()),
        };
        if !window.verified {
            if message.tick > self.place.witness {
                return ReadingStep::Gap("the log no longer reaches back to where reading stopped".into());
            }
            window.verified = message.tick == self.place.witness;
        }
        if message.tick <= self.place.passed {
            let should_have_come = window.moved || message.tick > self.place.witness;
            if should_have_come && !self.recent.contains(&message.tick) {
                return ReadingStep::Gap(format!("a message of tick {} came late", message.tick));
            }
            return ReadingStep::Next;
        }
        match window.transactions.take(&message) {
            Ok(None) => ReadingStep::Next,
            Ok(Some(complete)) => {
                window.moved = true;
                self.pass(&message, complete, visit)
            }
            Err(error) => ReadingStep::Malformed(error.to_string()),
        }
    }

    /// Passes on what the message completes; with it, everything up to its tick has been passed.
    fn pass(&mut self, message: &Envelope, complete: Complete, visit: &mut dyn FnMut(Record)) -> ReadingStep {
        self.place = ResumePoint { passed: message.tick, witness: message.tick, start: message.last_confirmed.clone() };
        if self.recent.len() == REMEMBERED {
            self.recent.pop_front();
        }
        self.recent.push_back(message.tick);
        let Some(position) = self.place.position() else {
            return ReadingStep::Malformed("a message id cannot be stored".into());
        };
        let Complete { bodies, mark, .. } = complete;
        for body in bodies {
            visit(Record { mark, ..record(position, message.tick, body) });
        }
        ReadingStep::Next
    }

    /// The server has ended the window regularly.
    pub(super) fn ended(&mut self) -> ReadingStep {
        let Some(window) = self.window.take() else { return ReadingStep::Next };
        (self.patience, self.silences) = (PATIENCE, 0);
        if !window.transactions.is_idle() {
            return ReadingStep::Malformed("the server ended a window within a transaction".into());
        }
        // The witness has not come: retention has cut the log behind it, and nothing came after.
        if !window.verified && self.place.witness <= window.end {
            return ReadingStep::Gap("the log no longer has the message at which reading stopped".into());
        }
        self.place.passed = self.place.passed.max(window.end);
        self.verify = false;
        ReadingStep::Next
    }

    /// A time tick for everything that has been passed.
    pub(super) fn tick(&self) -> Option<Record> {
        Some(record(self.place.position()?, self.place.passed, Body::Tick { resume: None }))
    }
}

fn record(position: Position, tick: u64, body: Body) -> Record {
    Record { position, begin: Timestamp(tick), end: Timestamp(tick), mark: None, body }
}

#[cfg(test)]
mod tests;
