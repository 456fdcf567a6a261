/*!
The log of a Milvus that keeps it in Pulsar: one topic per physical channel. A message's position is its ledger, its entry and its
place in the entry's batch.

The client is our own and blocking, and has only what a reader needs: `frame` (bytes), `command` (what is said), `transport` (TCP and
TLS), `connection` (a thread that reads, and answers pings whatever happens), `session` (which broker has a topic), `consumer`.
On top of that stand `topics`, which reads, with `continuity`, which notices what is missing, and `search`.

Topics are read by non-durable subscriptions, which leave nothing behind at the brokers.
*/

mod command;
mod connection;
mod consumer;
mod continuity;
mod error;
mod frame;
mod id;
mod inbox;
mod search;
mod session;
mod topics;
mod transport;

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use self::error::PulsarError;
use self::search::Search;
use self::session::Session;
use self::topics::Topics;
use super::log::{Log, LogError, Next, ReadEnd, Start};
use super::message::Record;
use super::search as places;
use crate::config::PulsarConfig;
use crate::domain::{Channel, CollectionId, Position, Timestamp};

/// A Pulsar log opened for reading.
pub(super) struct Pulsar {
    config: PulsarConfig,
    session: Arc<Session>,
    reading: Mutex<Topics>,
    /// For questions, which have connections of their own while there are some: an answer must not wait behind messages.
    searcher: Mutex<Option<(Session, Instant)>>,
}

/// How long a searcher's connections are kept without being used.
const SEARCHER_KEPT: Duration = Duration::from_secs(20);

impl Pulsar {
    /// Connects to the brokers.
    ///
    /// # Errors
    /// None of them can be reached, or they refuse us.
    pub(super) fn open(config: &PulsarConfig) -> Result<Pulsar, LogError> {
        let session = Arc::new(Session::new(config));
        session.probe().map_err(|error| failed(config, &error))?;
        let reading = Mutex::new(Topics::new(Arc::clone(&session)));
        Ok(Pulsar { config: config.clone(), session, reading, searcher: Mutex::new(None) })
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

fn failed(config: &PulsarConfig, error: &PulsarError) -> LogError {
    LogError { place: format!("in Pulsar at {}", config.service), detail: error.to_string() }
}

impl Log for Pulsar {
    fn refresh(&self) -> Result<bool, LogError> {
        self.tidy_up();
        Ok(self.session.take_fresh())
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
}
