/*!
Reading one channel, window after window.

A window is a `DumpMessages` up to a tick a little ahead of now: messages arrive while it is open, and when the server ends it,
everything up to that tick has been sent, on a channel without any message, too. Within a window messages come in the
order of their ticks, so what has been passed is a tick by itself. Should a message come late all the same, it is not
passed over: the channel counts as having a gap, and its collections are compared.
*/

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::decode::Transactions;
use super::envelope::{self, Answer, Envelope};
use super::place::Place;
use crate::domain::{Position, Timestamp};
use crate::source::message::{Body, Record};

/// How far a window reaches ahead of the source's clock. An idle channel's lag shows with this precision.
const WINDOW: Duration = Duration::from_secs(1);
/// Without a sign for so long after a window should have ended, it is taken for hung.
const PATIENCE: Duration = Duration::from_secs(15);
const MAX_PATIENCE: Duration = Duration::from_secs(600);
/// Ticks remembered, to tell a repetition from a message that comes late.
const REMEMBERED: usize = 4096;

/// What came of an answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// On to the next.
    Next,
    /// What was to come next is gone, or came too late: why, for the log.
    Gap(String),
    /// It makes no sense: why.
    Nonsense(String),
}

/// One channel, as far as it is not a connection.
#[derive(Debug)]
pub(super) struct Reading {
    place: Place,
    window: Option<Window>,
    /// Ticks that were passed on lately.
    recent: VecDeque<u64>,
    patience: Duration,
    /// The log may have been cut since the last message: the next window has to begin with it.
    verify: bool,
}

#[derive(Debug)]
struct Window {
    end: u64,
    transactions: Transactions,
    /// The witness has come.
    verified: bool,
    /// A message behind the place has come.
    moved: bool,
    last_sign: Instant,
}

impl Reading {
    pub(super) fn at(place: Place) -> Reading {
        Reading { place, window: None, recent: VecDeque::new(), patience: PATIENCE, verify: true }
    }

    /// Where it stands.
    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// The first tick that the next window has to bring. Right behind another window nothing can have been cut, and the message
    /// before, which may be large, need not be sent again; what should come behind it, from where that window has ended, is: had
    /// it ended before its time, what was missing comes now.
    pub(super) fn next_begin(&self) -> u64 {
        if self.verify { self.place.witness } else { self.place.witness.min(self.place.passed) + 1 }
    }

    /// Where the next window ends, when the source's clock shows `now`.
    pub(super) fn next_end(&self, now: Timestamp) -> u64 {
        now.max(Timestamp(self.place.passed)).plus(WINDOW).0
    }

    /// A window has been opened.
    pub(super) fn opened(&mut self, end: u64) {
        let (transactions, last_sign) = (Transactions::default(), Instant::now());
        self.window = Some(Window { end, transactions, verified: !self.verify, moved: false, last_sign });
    }

    /// Gives the window up; the next one begins at the same place.
    pub(super) fn close(&mut self) {
        self.window = None;
        self.verify = true;
    }

    /// How long no message has come, by the source's clock. After that long a silence the log may be cut before it ends.
    pub(super) fn idle(&self) -> Duration {
        let ms = |tick: u64| Timestamp(tick).physical_ms();
        Duration::from_millis(ms(self.place.passed).saturating_sub(ms(self.place.witness)))
    }

    /// Whether the window reaches further than this.
    pub(super) fn ends_after(&self, time: Timestamp) -> bool {
        self.window.as_ref().is_some_and(|window| Timestamp(window.end) > time)
    }

    /// Whether so little is left to come that nobody would notice.
    pub(super) fn is_near(&self, now: Timestamp) -> bool {
        Timestamp(self.place.passed).plus(WINDOW * 4) >= now
    }

    /// How long the window has been silent, when that is too long. The next one gets more time: the server may be looking
    /// through a lot of messages that are not asked for.
    pub(super) fn hung(&mut self, now: Timestamp) -> Option<Duration> {
        let window = self.window.as_ref()?;
        let silent = window.last_sign.elapsed();
        if now < Timestamp(window.end) || silent < self.patience {
            return None;
        }
        self.patience = (self.patience * 2).min(MAX_PATIENCE);
        Some(silent)
    }

    /// Takes in one answer; `visit` gets what is complete with it.
    pub(super) fn take(&mut self, answer: &Bytes, visit: &mut dyn FnMut(Record)) -> Step {
        let Some(window) = &mut self.window else { return Step::Next };
        window.last_sign = Instant::now();
        self.patience = PATIENCE;
        let message = match envelope::read(answer) {
            Ok(Answer::Message(message)) => message,
            Ok(Answer::Status(status)) if status.code == 0 && status.error_code == 0 => return Step::Next,
            Ok(Answer::Status(status)) => return Step::Nonsense(format!("code {}: {}", status.code, status.reason)),
            Err(error) => return Step::Nonsense(error.to_string()),
        };
        if !window.verified {
            if message.tick > self.place.witness {
                return Step::Gap("the log no longer reaches back to where reading stopped".into());
            }
            window.verified = message.tick == self.place.witness;
        }
        if message.tick <= self.place.passed {
            let should_have_come = window.moved || message.tick > self.place.witness;
            if should_have_come && !self.recent.contains(&message.tick) {
                return Step::Gap(format!("a message of tick {} came late", message.tick));
            }
            return Step::Next;
        }
        match window.transactions.take(&message) {
            Ok(None) => Step::Next,
            Ok(Some(complete)) => {
                window.moved = true;
                self.pass(&message, complete.bodies, visit)
            }
            Err(error) => Step::Nonsense(error.to_string()),
        }
    }

    /// Everything up to the message has been passed with it.
    fn pass(&mut self, message: &Envelope, bodies: Vec<Body>, visit: &mut dyn FnMut(Record)) -> Step {
        self.place = Place { passed: message.tick, witness: message.tick, start: message.last_confirmed.clone() };
        if self.recent.len() == REMEMBERED {
            self.recent.pop_front();
        }
        self.recent.push_back(message.tick);
        let Some(position) = self.place.position() else {
            return Step::Nonsense("a message id cannot be kept".into());
        };
        for body in bodies {
            visit(record(position, message.tick, body));
        }
        Step::Next
    }

    /// The server has ended the window in order.
    pub(super) fn ended(&mut self) -> Step {
        let Some(window) = self.window.take() else { return Step::Next };
        self.patience = PATIENCE;
        if !window.transactions.is_idle() {
            return Step::Nonsense("a window ended within a transaction".into());
        }
        // A message that has to come and has not: the log was cut behind it, and nothing came after.
        if !window.verified && self.place.witness <= window.end {
            return Step::Gap("the log no longer has the message at which reading stopped".into());
        }
        self.place.passed = self.place.passed.max(window.end);
        self.verify = false;
        Step::Next
    }

    /// Everything that has been passed, as a tick.
    pub(super) fn tick(&self) -> Option<Record> {
        Some(record(self.place.position()?, self.place.passed, Body::Tick))
    }
}

fn record(position: Position, tick: u64, body: Body) -> Record {
    Record { position, begin: Timestamp(tick), end: Timestamp(tick), body }
}

#[cfg(test)]
mod tests;
