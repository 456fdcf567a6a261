/*!
The log of a Milvus that keeps it in Pulsar: one topic per physical channel. A message's position is its ledger, its
entry and its place in the entry's batch.

`client` is a blocking client of Pulsar, which knows nothing of logs. On top of it stand `topics`, which reads, with
`continuity`, which notices missing messages, and `search`.

Topics are read by non-durable subscriptions, which begin where the client says and leave nothing behind at the brokers.
They retain nothing either: where the brokers do not retain messages by themselves (`holding` decides), there are
durable subscriptions beside them (`durable_subscriptions`).
*/

mod client;
mod cluster;
mod continuity;
mod durable_subscriptions;
mod forget;
mod holding;
mod namespace;
mod position;
mod search;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod topics;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use crossbeam_channel::Receiver;
use parking_lot::Mutex;

use self::client::{Durability, PulsarError};
use self::cluster::Cluster;
use self::durable_subscriptions::DurableSubscriptions;
pub(super) use self::forget::forget;
use self::holding::{Holding, choose};
use self::search::PulsarSearch;
use self::topics::PulsarTopics;
use super::broker::search as places;
use super::broker::searcher::SearcherSlot;
use super::decode::wal_message_id::Queue;
use super::idle_ticks::IdleTicks;
use super::log::{Log, LogError, LogRetention, ReadEnd, ReadFrom, ReadTick, Refreshed, Start, StartQuery};
use super::queue_channels::{QueueChannels, TakeMessage};
use super::wakeup::Wakeup;
use crate::config::PulsarConfig;
use crate::domain::{Channel, Position, Record};

/// A Pulsar log opened for reading.
pub(super) struct Pulsar {
    config: PulsarConfig,
    cluster: Arc<Cluster>,
    /// Signalled when messages have come or a connection has ended.
    arrivals: Wakeup,
    reading: Mutex<PulsarTopics>,
    channels: QueueChannels,
    /// Whether durable subscriptions retain messages.
    durability: Durability,
    subscriptions: Mutex<DurableSubscriptions>,
    /// What the last checkpoint needs, on its way to the subscriptions.
    needed: Mutex<Option<BTreeMap<Channel, Option<Position>>>>,
    searcher: SearcherSlot<Cluster>,
}

/// A Pulsar log, and what retains its messages until they are read.
pub(super) struct OpenPulsar {
    pub(super) log: Pulsar,
    /// For a person to read.
    pub(super) held_by: String,
}

impl Pulsar {
    /// Connects to the brokers. `own` is the task's folder; `idle`: the source's time.
    ///
    /// # Errors
    /// None of them can be reached, they refuse us, or the file of the subscriptions cannot be read or written.
    pub(super) fn open(config: &PulsarConfig, own: &Path, idle: IdleTicks) -> Result<OpenPulsar, LogError> {
        let arrivals = Wakeup::default();
        let cluster = Arc::new(Cluster::new(config, arrivals.signaller()));
        cluster.client().probe().map_err(|error| log_error(config, error))?;
        let reading = Mutex::new(PulsarTopics::new(Arc::clone(&cluster)));
        let mut subscriptions = DurableSubscriptions::open(own, config).map_err(|error| log_error(config, error))?;
        let Holding { durability, why } = choose(config, subscriptions.existing());
        if durability == Durability::NonDurable {
            subscriptions.need_nothing();
        }
        let log = Pulsar {
            config: config.clone(),
            cluster,
            arrivals,
            reading,
            channels: QueueChannels::new(Queue::Pulsar, idle),
            durability,
            subscriptions: Mutex::new(subscriptions),
            needed: Mutex::new(None),
            searcher: SearcherSlot::default(),
        };
        Ok(OpenPulsar { log, held_by: why })
    }

    fn search<T>(
        &self,
        channel: &Channel,
        search: impl FnOnce(&mut PulsarSearch<'_>) -> Result<T, PulsarError>,
    ) -> Result<T, LogError> {
        // The searcher polls: nobody waits for its wakeups.
        let make = || Ok(Cluster::new(&self.config, || {}));
        let outcome = self.searcher.search(make, |cluster| search(&mut PulsarSearch { cluster, channel }));
        outcome.map_err(|error| log_error(&self.config, error))
    }
}

fn log_error(config: &PulsarConfig, cause: impl std::error::Error + Send + Sync + 'static) -> LogError {
    LogError::new(format!("in Pulsar at {}", config.service), cause)
}

impl Log for Pulsar {
    fn retention(&self, _: &BTreeSet<Channel>) -> LogRetention {
        holding::retention(&self.config, self.durability)
    }

    fn refresh(&self) -> Result<Refreshed, LogError> {
        // Before the messages are taken, which then are all up to that time.
        let is_due = self.channels.look();
        self.searcher.close_idle();
        let mut subscriptions = self.subscriptions.lock();
        if let Some(needed) = self.needed.lock().take() {
            subscriptions.need(needed);
        }
        subscriptions.reconcile(&self.cluster);
        Ok(Refreshed::changed_if(self.arrivals.take() || is_due))
    }

    fn wakeups(&self) -> Option<Receiver<()>> {
        Some(self.arrivals.receiver())
    }

    fn read(
        &self,
        channel: &Channel,
        next: ReadFrom,
        max_bytes: usize,
        visit: &mut dyn FnMut(Record),
    ) -> Result<ReadEnd, LogError> {
        let read = |take: &mut TakeMessage<'_>| self.reading.lock().read(channel, next, max_bytes, take);
        let is_all = || self.reading.lock().is_at_end(channel);
        let outcome = self.channels.read(channel, next, visit, read, is_all);
        outcome.map_err(|error| log_error(&self.config, error))
    }

    fn collection_start(&self, channel: &Channel, query: &StartQuery<'_>) -> Result<Option<Position>, LogError> {
        self.search(channel, |topic| places::collection_start(topic, query))
    }

    fn tail(&self, channel: &Channel) -> Result<Option<Position>, LogError> {
        self.search(channel, |topic| topic.tail())
    }

    fn shortly_before_tail(&self, channel: &Channel) -> Result<Start, LogError> {
        self.search(channel, |topic| places::shortly_before_tail(topic))
    }

    /// A topic that was restored may go on with ledgers of the same numbers.
    fn is_rolled_back(&self, channel: &Channel, read: ReadTick) -> Result<bool, LogError> {
        self.search(channel, |topic| places::is_rolled_back(topic, read))
    }

    fn saved(&self, needed: &BTreeMap<Channel, Option<Position>>) {
        if self.durability == Durability::Durable {
            *self.needed.lock() = Some(needed.clone());
        }
    }
}
