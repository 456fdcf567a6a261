/*!
The log of a Milvus that keeps it in Pulsar: one topic per physical channel. A message's position is its ledger, its entry and its
place in the entry's batch.

The client is our own and blocking, and has only what a reader needs: `frame` (bytes), `command` (what is said), `transport` (TCP and
TLS), `connection` (a thread that reads, and answers pings whatever happens), `session` (which broker has a topic), `consumer`.
On top of that stand `topics`, which reads, with `continuity`, which notices what is missing, and `search`.

Topics are read by non-durable subscriptions, which begin where we say and leave nothing behind at the brokers. They hold nothing
either: where the brokers do not keep messages by themselves (`admin` asks, `choice` decides), `holds` has durable subscriptions
beside them.
*/

mod admin;
mod choice;
mod command;
mod connection;
mod consumer;
mod continuity;
mod error;
#[cfg(test)]
mod fake;
mod frame;
mod holds;
mod id;
mod inbox;
mod place;
mod search;
mod session;
#[cfg(test)]
mod tests;
mod topics;
mod transport;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;
use parking_lot::Mutex;

use self::choice::{Choice, choose};
use self::error::PulsarError;
use self::holds::Holds;
use self::search::Search;
use self::session::Session;
use self::topics::Topics;
use super::log::{Keeps, Log, LogError, Next, ReadEnd, Start};
use super::message::Record;
use super::search as places;
use crate::config::PulsarConfig;
use crate::domain::{Channel, CollectionId, Position, Timestamp};

/// A Pulsar log opened for reading.
pub(super) struct Pulsar {
    config: PulsarConfig,
    session: Arc<Session>,
    reading: Mutex<Topics>,
    /// Whether subscriptions of ours hold messages.
    durable: bool,
    holds: Mutex<Holds>,
    /// What the last checkpoint needs, on its way to them.
    needed: Mutex<Option<BTreeMap<Channel, Option<Position>>>>,
    /// For questions, which have connections of their own while there are some: an answer must not wait behind messages.
    searcher: Mutex<Option<(Session, Instant)>>,
}

/// How long a searcher's connections are kept without being used.
const SEARCHER_KEPT: Duration = Duration::from_secs(20);

impl Pulsar {
    /// Connects to the brokers. `own` is the task's folder. Answers what keeps messages until they have been read, and why, too.
    ///
    /// # Errors
    /// None of them can be reached, or they refuse us.
    pub(super) fn open(config: &PulsarConfig, own: &Path) -> Result<(Pulsar, String), LogError> {
        let session = Arc::new(Session::new(config));
        session.probe().map_err(|error| failed(config, &error))?;
        let reading = Mutex::new(Topics::new(Arc::clone(&session)));
        let mut holds = Holds::open(own, config).map_err(|error| failed(config, &error))?;
        let Choice { durable, why } = choose(config, holds.are_any());
        if !durable && holds.are_any() {
            holds.need_nothing();
        }
        let (config, holds, searcher) = (config.clone(), Mutex::new(holds), Mutex::new(None));
        Ok((Pulsar { config, session, reading, durable, holds, needed: Mutex::new(None), searcher }, why))
    }

    fn search<T>(
        &self,
        channel: &Channel,
        what: impl FnOnce(&mut Search<'_>) -> Result<T, PulsarError>,
    ) -> Result<T, LogError> {
        let mut searcher = self.searcher.lock();
        let (session, used) = searcher.get_or_insert_with(|| (Session::new(&self.config), Instant::now()));
        let outcome = what(&mut Search { session, channel });
        *used = Instant::now();
        outcome.map_err(|error| failed(&self.config, &error))
    }

    /// A searcher that is not needed any more should not keep its connections.
    fn tidy_up(&self) {
        if let Some(mut searcher) = self.searcher.try_lock()
            && searcher.as_ref().is_some_and(|(_, used)| used.elapsed() > SEARCHER_KEPT)
        {
            *searcher = None;
        }
    }
}

/// Ends what a task that is deleted has left at the brokers, which may not be configured any more. `own` is its folder.
///
/// # Errors
/// What is left, and what to do about it.
pub(super) fn forget(config: Option<&PulsarConfig>, own: &Path) -> Result<(), String> {
    let holds = Holds::load(own).map_err(|error| error.to_string())?;
    match (holds.out_of_reach(config), config) {
        (Some(left), _) => Err(left),
        (None, Some(config)) if holds.are_any() => holds.end(&Session::new(config)),
        _ => Ok(()),
    }
}

fn failed(config: &PulsarConfig, error: &dyn std::fmt::Display) -> LogError {
    LogError { place: format!("in Pulsar at {}", config.service), detail: error.to_string() }
}

impl Log for Pulsar {
    fn keeps(&self, _: &BTreeSet<Channel>) -> Keeps {
        choice::keeps(&self.config, self.durable)
    }

    fn refresh(&self) -> Result<bool, LogError> {
        self.tidy_up();
        let mut holds = self.holds.lock();
        if let Some(needed) = self.needed.lock().take() {
            holds.need(needed);
        }
        holds.look_after(&self.session);
        Ok(self.session.news().take())
    }

    fn news(&self) -> Option<Receiver<()>> {
        Some(self.session.news().word())
    }

    fn read(
        &self,
        channel: &Channel,
        next: Next,
        max_bytes: usize,
        visit: &mut dyn FnMut(Record),
    ) -> Result<ReadEnd, LogError> {
        let outcome = self.reading.lock().read(channel, next, max_bytes, visit);
        outcome.map_err(|error| failed(&self.config, &error))
    }

    fn birth(
        &self,
        channel: &Channel,
        collection: CollectionId,
        created: Timestamp,
        _begins: Option<&[u8]>,
    ) -> Result<Option<Position>, LogError> {
        self.search(channel, |topic| places::birth(topic, collection, created))
    }

    fn tail(&self, channel: &Channel) -> Result<Option<Position>, LogError> {
        self.search(channel, |topic| topic.tail())
    }

    fn shortly_before_tail(&self, channel: &Channel) -> Result<Start, LogError> {
        self.search(channel, |topic| places::shortly_before_tail(topic))
    }

    fn saved(&self, needed: &BTreeMap<Channel, Option<Position>>) {
        if self.durable {
            *self.needed.lock() = Some(needed.clone());
        }
    }
}
