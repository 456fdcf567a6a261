//! The announcements of a task that stand on its target. Each is taken back in its time; a target that stalls is asked
//! again later, so that nothing is left there.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::milvus::announcement::Announcement;
use crate::milvus::same_server_probe::is_abandoned_probe;
use crate::milvus::{CallContext, Cancel, Client, Error};
use crate::task::spec::DEFAULT_DATABASE;

/// How long one answer is waited for: every look at the source waits as well.
const PATIENCE: Duration = Duration::from_secs(5);
/// For how long a target that was silent is left alone.
const PAUSE: Duration = Duration::from_secs(20);
/// How long the end of a task may wait for the target.
const LAST_CALL: Duration = Duration::from_secs(1);

/// What a task has announced, and the target where that stands.
pub(super) struct StandingAnnouncements {
    target: Arc<Client>,
    call: CallContext,
    all: Vec<StandingAnnouncement>,
    /// The target was silent.
    silent_until: Option<Instant>,
}

struct StandingAnnouncement {
    announcement: Announcement,
    until: Instant,
}

impl StandingAnnouncements {
    pub(super) fn new(target: Arc<Client>, call: &CallContext) -> StandingAnnouncements {
        let call = CallContext { timeout: call.timeout.min(PATIENCE), ..call.clone() };
        StandingAnnouncements { target, call, all: Vec::new(), silent_until: None }
    }

    /// The limits of a call to the target.
    pub(super) fn call(&self) -> &CallContext {
        &self.call
    }

    /// Whether the target is left alone for now.
    pub(super) fn is_silent(&self, now: Instant) -> bool {
        self.silent_until.is_some_and(|until| now < until)
    }

    /// Makes an announcement that stands until then. One of which nobody knows whether it was made is taken back as
    /// well.
    pub(super) fn announce(&mut self, announcement: &Announcement, now: Instant, until: Instant) -> Result<(), Error> {
        let outcome = self.target.announce(announcement, &self.call);
        let is_silence = self.note(&outcome, now);
        if outcome.is_ok() || is_silence {
            self.all.push(StandingAnnouncement { announcement: announcement.clone(), until });
        }
        outcome
    }

    /// Takes back what has stood for long enough; later, where the target is silent.
    pub(super) fn withdraw(&mut self, now: Instant) {
        let (due, kept): (Vec<_>, Vec<_>) = self.all.drain(..).partition(|standing| now >= standing.until);
        self.all = kept;
        for standing in due {
            if self.is_silent(now) {
                self.all.push(standing);
                continue;
            }
            let outcome = self.target.withdraw(&standing.announcement, &self.call);
            if self.note(&outcome, now) {
                self.all.push(standing);
            } else if let Err(error) = outcome {
                left(&standing.announcement.name(), &error);
            }
        }
    }

    /// Takes one back before its time.
    pub(super) fn retract(&mut self, announcement: &Announcement, now: Instant) {
        for standing in self.all.iter_mut().filter(|standing| standing.announcement == *announcement) {
            standing.until = now;
        }
        self.withdraw(now);
    }

    /// Takes all back, also when the task's own calls have been cancelled. What a silent target keeps goes with the
    /// next start of the task.
    pub(super) fn leave(&mut self) {
        let call = CallContext { timeout: LAST_CALL, cancel: Cancel::default() };
        for StandingAnnouncement { announcement, .. } in self.all.drain(..) {
            if let Err(error) = self.target.withdraw(&announcement, &call) {
                left(&announcement.name(), &error);
            }
        }
    }

    /// Removes what processes have left that died, or whose calls were lost: announcements that are stale, and all old
    /// enough that was made for a proof, by whomever.
    pub(super) fn remove_abandoned(&mut self, is_stale: impl Fn(&Announcement) -> bool) -> Result<(), Error> {
        for name in self.target.list_databases(&self.call)? {
            let outcome = match Announcement::parse(&name) {
                Some(announcement) if is_stale(&announcement) => self.target.withdraw(&announcement, &self.call),
                None if is_abandoned_probe(&name) => self.target.remove_probe_database(&name, &self.call),
                _ => Ok(()),
            };
            unless_silent(&name, outcome)?;
        }
        let collections = match self.target.list_collections(DEFAULT_DATABASE, &self.call) {
            // This login has nothing to do with that database.
            Err(error) if !error.is_silence() => return Ok(()),
            listed => listed?,
        };
        for probe in collections {
            if is_abandoned_probe(&probe.name) {
                unless_silent(&probe.name, self.target.remove_probe_collection(&probe.name, &self.call))?;
            }
        }
        Ok(())
    }

    /// Whether the target was silent.
    fn note<T>(&mut self, outcome: &Result<T, Error>, now: Instant) -> bool {
        let is_silence = outcome.as_ref().is_err_and(Error::is_silence);
        self.silent_until = is_silence.then(|| now + PAUSE);
        is_silence
    }
}

/// A refusal is for people, and hinders nobody.
fn unless_silent(name: &str, outcome: Result<(), Error>) -> Result<(), Error> {
    match outcome {
        Err(error) if !error.is_silence() => {
            left(name, &error);
            Ok(())
        }
        outcome => outcome,
    }
}

fn left(name: &str, error: &Error) {
    log::warn!("{name} is left on {}, and of no use: {error}", error.address);
}
