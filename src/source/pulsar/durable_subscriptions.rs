/*!
Durable subscriptions that retain messages until the task no longer needs them.

Each topic has one beside the reader's subscription. Nothing is ever read by it: it only stands at a message, and the
broker retains that message and those behind it. It follows the checkpoint on disk, one step late, because an
acknowledgement includes the message that it names, and the checkpoint's own message must stay.

A file in the task's folder holds their name, their topics and where those are. It is written before the first
subscription is made, so that none stays behind at the brokers when the task is deleted, when the configuration no
longer wants subscriptions, or when it names other brokers.
*/

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::client::{Durability, EntryId, PulsarConsumer, PulsarError, StartAt, Subscription};
use super::cluster::Cluster;
use super::namespace::Namespace;
use super::position::entry_of;
use crate::config::PulsarConfig;
use crate::domain::{Channel, Position};
use crate::storage::sealed_file::{self, SealedError};

const FORMAT: &str = "milvus-cdc pulsar subscriptions";
const VERSION: u32 = 1;
const FILE: &str = "pulsar.json";

/// How often the subscriptions advance.
const STEP: Duration = Duration::from_secs(5);
/// How often they are reconciled with the checkpoint.
const RECONCILE: Duration = Duration::from_secs(1);
/// Pause after a failure.
const RETRY: Duration = Duration::from_secs(5);

/// How long a broker may take to notice that a connection has ended: until then its consumer blocks another one.
const BUSY: Duration = Duration::from_secs(5);

/// The content of the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct SubscriptionFile {
    /// The subscriptions' name, the same on every topic.
    subscription: String,
    /// The channels that may have one.
    channels: BTreeSet<String>,
    /// Where their topics are. Missing in files of earlier versions.
    #[serde(default)]
    place: Option<Namespace>,
}

/// A task's subscriptions.
pub(super) struct DurableSubscriptions {
    file: PathBuf,
    /// What the file holds.
    recorded: Option<SubscriptionFile>,
    /// What the last checkpoint needs, by channel; `None`: not known yet.
    needed: Option<BTreeMap<Channel, Option<Position>>>,
    held: BTreeMap<Channel, HeldTopic>,
    reconcile_at: Instant,
    advance_at: Instant,
    /// The failure that was logged last, so that each is logged once.
    logged: Option<String>,
}

/// A subscription to one topic.
struct HeldTopic {
    consumer: PulsarConsumer,
    /// What an earlier checkpoint needed first. May be acknowledged once a later one needs less.
    earlier: Option<EntryId>,
}

/// A subscription could not be made, moved or ended.
#[derive(Debug, thiserror::Error)]
enum SubscriptionError {
    #[error(transparent)]
    Broker(#[from] PulsarError),
    #[error(transparent)]
    File(#[from] SealedError),
}

/// Whether there may be subscriptions at the brokers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ExistingSubscriptions {
    None,
    Some,
}

impl SubscriptionFile {
    /// For a person to read: what is left, and how to end it.
    fn left(&self, why: &str) -> String {
        let topic = |channel: &String| match &self.place {
            Some(namespace) => namespace.topic(&Channel::new(channel)),
            None => channel.clone(),
        };
        let topics: Vec<String> = self.channels.iter().map(topic).collect();
        let name = &self.subscription;
        format!(
            "the subscription {name} is left at the brokers and goes on holding messages of {}: {why}. End it with \
             `pulsar-admin topics unsubscribe --force --subscription {name} TOPIC`",
            topics.join(", ")
        )
    }
}

impl DurableSubscriptions {
    /// The subscriptions of a running task: from now on they are where the configuration says. Logs what is left
    /// elsewhere.
    pub(super) fn open(folder: &Path, config: &PulsarConfig) -> Result<DurableSubscriptions, SealedError> {
        let mut subscriptions = DurableSubscriptions::load(folder)?;
        if let Some(left) = subscriptions.out_of_reach(Some(config)) {
            log::warn!("{left}");
        }
        let here = Some(Namespace::of(config));
        if let Some(recorded) = subscriptions.recorded.clone().filter(|recorded| recorded.place != here) {
            subscriptions.write(SubscriptionFile { place: here, ..recorded })?;
        }
        Ok(subscriptions)
    }

    /// The subscriptions of the task whose folder this is, if there are any.
    pub(super) fn load(folder: &Path) -> Result<DurableSubscriptions, SealedError> {
        let file = folder.join(FILE);
        let recorded = sealed_file::load(&file, FORMAT, VERSION)?;
        let now = Instant::now();
        let held = BTreeMap::new();
        Ok(DurableSubscriptions {
            file,
            recorded,
            needed: None,
            held,
            reconcile_at: now,
            advance_at: now + STEP,
            logged: None,
        })
    }

    /// A checkpoint that needs these messages is on disk.
    pub(super) fn need(&mut self, needed: BTreeMap<Channel, Option<Position>>) {
        self.needed = Some(needed);
    }

    /// No messages need to be retained any more.
    pub(super) fn need_nothing(&mut self) {
        self.needed = Some(BTreeMap::new());
    }

    /// Reconciles the subscriptions with the latest checkpoint: makes, moves and ends them. Failures are logged once
    /// and retried.
    pub(super) fn reconcile(&mut self, cluster: &Cluster) {
        let now = Instant::now();
        if now < self.reconcile_at {
            return;
        }
        self.reconcile_at = now + RECONCILE;
        match self.try_all(cluster) {
            Ok(()) => self.logged = None,
            Err(error) => {
                self.reconcile_at = now + RETRY;
                let why = error.to_string();
                if self.logged.as_ref() != Some(&why) {
                    log::warn!("cannot maintain the durable subscriptions in Pulsar, will retry: {why}");
                    self.logged = Some(why);
                }
            }
        }
    }

    fn try_all(&mut self, cluster: &Cluster) -> Result<(), SubscriptionError> {
        let Some(needed) = self.needed.clone() else { return Ok(()) };
        self.held.retain(|_, held| !held.consumer.is_closed());
        // One topic that refuses must not hold up the other topics' subscriptions.
        let mut outcome = Ok(());
        for channel in needed.keys() {
            outcome = outcome.and(self.make(cluster, channel));
        }
        outcome = outcome.and(self.release(cluster, |channel| !needed.contains_key(channel)));
        if Instant::now() >= self.advance_at {
            self.advance_at = Instant::now() + STEP;
            for (channel, held) in &mut self.held {
                let advanced = held.advance(needed.get(channel).copied().flatten());
                outcome = outcome.and(advanced.map_err(SubscriptionError::Broker));
            }
        }
        outcome
    }

    fn make(&mut self, cluster: &Cluster, channel: &Channel) -> Result<(), SubscriptionError> {
        if self.held.contains_key(channel) {
            return Ok(());
        }
        let name = self.record(channel, cluster)?;
        let wanted = Subscription { name: &name, durability: Durability::Durable, start: StartAt::Earliest };
        match cluster.subscribe(channel, wanted) {
            Ok(consumer) => {
                self.held.insert(channel.clone(), HeldTopic { consumer, earlier: None });
                Ok(())
            }
            // A topic that does not exist has no messages to retain.
            Err(error) if error.is_missing_topic() => Ok(()),
            Err(error) => Err(SubscriptionError::Broker(error)),
        }
    }

    /// Records in the file that there may be a subscription. Returns its name.
    fn record(&mut self, channel: &Channel, cluster: &Cluster) -> Result<String, SealedError> {
        let mut recorded = self.recorded.clone().unwrap_or_else(|| SubscriptionFile {
            subscription: format!("milvus-cdc-{}", uuid::Uuid::new_v4().simple()),
            channels: BTreeSet::new(),
            place: Some(cluster.namespace().clone()),
        });
        let name = recorded.subscription.clone();
        if recorded.channels.insert(channel.to_string()) {
            self.write(recorded)?;
        }
        Ok(name)
    }

    fn write(&mut self, content: SubscriptionFile) -> Result<(), SealedError> {
        sealed_file::save(&self.file, FORMAT, VERSION, &content)?;
        self.recorded = Some(content);
        Ok(())
    }

    /// Ends the subscriptions to some channels for good.
    fn release(&mut self, cluster: &Cluster, is_over: impl Fn(&Channel) -> bool) -> Result<(), SubscriptionError> {
        let Some(mut recorded) = self.recorded.clone() else { return Ok(()) };
        let channels: Vec<Channel> = recorded.channels.iter().map(|name| Channel::new(name)).collect();
        let mut outcome = Ok(());
        for channel in channels.into_iter().filter(is_over) {
            let held = self.held.remove(&channel).map(|held| held.consumer);
            if let Err(error) = unsubscribe(cluster, &channel, &recorded.subscription, held) {
                // Do not wait for silent brokers once per topic.
                let is_silent = error.is_no_answer();
                // Report the first failure, unless one is `is_busy`: that passes soon, and `end` retries it.
                if outcome.is_ok() || error.is_busy() {
                    outcome = Err(SubscriptionError::Broker(error));
                }
                if is_silent {
                    break;
                }
                continue;
            }
            log::info!("ended the subscription {} to {channel} in Pulsar", recorded.subscription);
            recorded.channels.remove(channel.as_str());
            self.write(recorded.clone())?;
        }
        outcome
    }

    /// Ends all of them for good.
    ///
    /// # Errors
    /// What is left, and why.
    pub(super) fn end(mut self, cluster: &Cluster) -> Result<(), String> {
        let deadline = Instant::now() + BUSY;
        let why = loop {
            match self.release(cluster, |_| true) {
                Ok(()) => return Ok(()),
                Err(SubscriptionError::Broker(error)) if error.is_busy() && Instant::now() < deadline => {
                    std::thread::sleep(BUSY / 50);
                }
                Err(error) => break error.to_string(),
            }
        };
        let place = Some(cluster.namespace().clone());
        Err(self.recorded.map_or(why.clone(), |recorded| SubscriptionFile { place, ..recorded }.left(&why)))
    }

    /// What is left at brokers that the configuration (`None`: there is none) does not name, and what to do about it.
    pub(super) fn out_of_reach(&self, config: Option<&PulsarConfig>) -> Option<String> {
        let recorded = self.recorded.as_ref().filter(|recorded| !recorded.channels.is_empty())?;
        let why = match (config, &recorded.place) {
            (Some(_), None) => return None,
            (Some(config), Some(place)) if place.is_named_by(config) => return None,
            (Some(config), Some(place)) => {
                format!("they are at {place}, and sourceConfig.pulsar names {} now", Namespace::of(config))
            }
            (None, Some(place)) => format!("they are at {place}, and sourceConfig.pulsar.address is not set any more"),
            (None, None) => "sourceConfig.pulsar.address is not set any more".to_owned(),
        };
        Some(recorded.left(&why))
    }

    /// Whether the file records any.
    pub(super) fn existing(&self) -> ExistingSubscriptions {
        match &self.recorded {
            Some(recorded) if !recorded.channels.is_empty() => ExistingSubscriptions::Some,
            _ => ExistingSubscriptions::None,
        }
    }
}

impl HeldTopic {
    /// Follows the checkpoint, one step late.
    fn advance(&mut self, needed: Option<Position>) -> Result<(), PulsarError> {
        let Some(needed) = needed.map(entry_of) else { return Ok(()) };
        if let Some(earlier) = self.earlier.filter(|earlier| *earlier < needed) {
            self.consumer.acknowledge(earlier)?;
        }
        self.earlier = Some(needed);
        Ok(())
    }
}

/// Ends a subscription. The protocol lets only a connected consumer do that.
fn unsubscribe(
    cluster: &Cluster,
    channel: &Channel,
    name: &str,
    held: Option<PulsarConsumer>,
) -> Result<(), PulsarError> {
    let wanted = Subscription { name, durability: Durability::Durable, start: StartAt::Latest };
    let subscribed = held.map_or_else(|| cluster.subscribe(channel, wanted), Ok);
    match subscribed.and_then(PulsarConsumer::unsubscribe) {
        Err(error) if !error.is_missing_topic() && !error.is_missing_subscription() => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::client::fake::{Fake, refusal};
    use super::super::client::kind;
    use super::super::forget::forget;
    use super::super::position::position_of;
    use super::super::testing::config;
    use super::*;

    const CHANNEL: &str = "by-dev-rootcoord-dml_0";

    /// A task's folder, with a subscription to one topic of the fake's.
    fn held(fake: &Fake) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let mut subscriptions = DurableSubscriptions::open(folder.path(), &config(fake)).unwrap();
        subscriptions.need(BTreeMap::from([(Channel::new(CHANNEL), None)]));
        subscriptions.reconcile(&Cluster::new(&config(fake), || {}));
        assert_eq!(subscriptions.existing(), ExistingSubscriptions::Some);
        assert_eq!(subscriptions.logged, None);
        folder
    }

    #[test]
    fn a_deleted_task_leaves_nothing() {
        let fake = Fake::start(|_, _| None);
        let folder = held(&fake);
        let mut config = config(&fake);
        config.service.addresses.insert(0, crate::config::Address { host: "127.0.0.1".into(), port: 1 });
        assert_eq!(forget(Some(&config), folder.path()), Ok(()), "another broker of the same cluster");
        assert_eq!(fake.seen(kind::UNSUBSCRIBE).len(), 1);
        assert_eq!(forget(None, folder.path()), Ok(()), "nothing is left");
    }

    #[test]
    fn subscriptions_out_of_the_configurations_reach_are_reported() {
        let fake = Fake::start(|_, _| None);
        let folder = held(&fake);
        let topic = format!("persistent://public/default/{CHANNEL}");
        let is_told = |left: &str| left.contains("unsubscribe --force") && left.contains(&topic);
        let left = forget(None, folder.path()).unwrap_err();
        assert!(is_told(&left) && left.contains("not set any more"), "{left}");
        let mut moved = config(&fake);
        moved.namespace = "other".into();
        let left = forget(Some(&moved), folder.path()).unwrap_err();
        assert!(is_told(&left) && left.contains("public/other now"), "{left}");
        assert!(fake.seen(kind::UNSUBSCRIBE).is_empty());
        // A task that has run there since has told it then.
        let _ = DurableSubscriptions::open(folder.path(), &moved).unwrap();
        assert_eq!(forget(Some(&moved), folder.path()), Ok(()));
    }

    #[test]
    fn a_topic_that_refuses_does_not_stop_the_others() {
        const REFUSED: &str = "persistent://public/default/by-dev-rootcoord-dml_0";
        let fake = Fake::start(|_, command| {
            let is_it = command.kind() == kind::SUBSCRIBE && command.subscribe.topic() == REFUSED;
            is_it.then(|| vec![refusal(command.subscribe.request_id(), 22, "not this one")])
        });
        let (folder, cluster) = (tempfile::tempdir().unwrap(), Cluster::new(&config(&fake), || {}));
        let mut subscriptions = DurableSubscriptions::open(folder.path(), &config(&fake)).unwrap();
        let channels = [CHANNEL, "by-dev-rootcoord-dml_1"].map(Channel::new);
        for entry in [3, 4] {
            let position = Some(position_of(EntryId { ledger: 1, entry }, 0));
            subscriptions.need(channels.iter().map(|channel| (channel.clone(), position)).collect());
            subscriptions.advance_at = Instant::now();
            assert!(matches!(
                subscriptions.try_all(&cluster),
                Err(SubscriptionError::Broker(PulsarError::Refused { .. }))
            ));
        }
        let (_, command) = fake.wait("an acknowledgement", |(_, command)| command.kind() == kind::ACK);
        assert_eq!(EntryId::of_wire(&command.ack.message_id[0]), EntryId { ledger: 1, entry: 3 });
        let ended = subscriptions.end(&cluster).unwrap_err();
        assert!(ended.contains(REFUSED) && !ended.contains("dml_1"), "{ended}");
    }

    #[test]
    fn files_without_a_namespace() {
        let folder = tempfile::tempdir().unwrap();
        let old = serde_json::json!({"subscription": "milvus-cdc-1", "channels": [CHANNEL]});
        sealed_file::save(&folder.path().join(FILE), FORMAT, VERSION, &old).unwrap();
        let left = forget(None, folder.path()).unwrap_err();
        assert!(left.contains(CHANNEL) && left.contains("--subscription milvus-cdc-1"), "{left}");
        let fake = Fake::start(|_, _| None);
        assert_eq!(forget(Some(&config(&fake)), folder.path()), Ok(()));
    }
}
