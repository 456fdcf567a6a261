/*!
Durable subscriptions that hold messages until we do not need them any more.

Each topic has one beside the reader, and nothing is ever read by it: it only stands at a message, and the broker keeps that message and
those behind it. It follows the checkpoint on disk, one step late, because an acknowledgement includes the message that it
names, and the checkpoint's own message must stay.

Their name, their topics and where those are stand in a file of the task's, written before the first subscription is made, so that none
is forgotten at the brokers when the task is deleted or told to do without, or when another place is configured.
*/

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::command::{From, Subscription};
use super::consumer::Consumer;
use super::error::PulsarError;
use super::id::Entry;
use super::place::Place;
use super::session::Session;
use crate::config::PulsarConfig;
use crate::domain::{Channel, Position};
use crate::journal::sealed::{self, SealedError};

const FORMAT: &str = "milvus-cdc pulsar subscriptions";
const VERSION: u32 = 1;
const FILE: &str = "pulsar.json";

/// How often subscriptions are moved.
const STEP: Duration = Duration::from_secs(5);
/// How often they are looked after.
const LOOK: Duration = Duration::from_secs(1);
/// How long to leave a broker alone that refuses.
const RETRY: Duration = Duration::from_secs(5);

/// What a broker may need to notice that a connection of ours has ended: until then its consumer is in the way of another one.
const BUSY: Duration = Duration::from_secs(5);

/// The file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Made {
    /// The subscriptions' name, the same on every topic.
    subscription: String,
    /// The channels that may have one.
    channels: BTreeSet<String>,
    /// Where their topics are; files of earlier versions do not say.
    #[serde(default)]
    place: Option<Place>,
}

/// A task's subscriptions.
pub(super) struct Holds {
    file: PathBuf,
    made: Option<Made>,
    /// What the last checkpoint needs, by channel; `None`: nothing is known yet.
    needed: Option<BTreeMap<Channel, Option<Position>>>,
    held: BTreeMap<Channel, Hold>,
    look_at: Instant,
    step_at: Instant,
    complaint: Option<String>,
}

/// A subscription to one topic.
struct Hold {
    consumer: Consumer,
    /// What an earlier checkpoint needed first: the entry that may be acknowledged when a later one needs less.
    mark: Option<Entry>,
}

/// What could not be looked after.
enum Trouble {
    Broker(PulsarError),
    File(SealedError),
}

impl Made {
    /// Tells a person what is left, and how to end it.
    fn left(&self, why: &str) -> String {
        let topic = |channel: &String| self.place.as_ref().map_or(channel.clone(), |place| place.topic(channel));
        let topics: Vec<String> = self.channels.iter().map(topic).collect();
        let name = &self.subscription;
        format!(
            "the subscription {name} is left at the brokers and goes on holding messages of {}: {why}. End it with \
             `pulsar-admin topics unsubscribe --force --subscription {name} TOPIC`",
            topics.join(", ")
        )
    }
}

impl Holds {
    /// Those of a task that runs: from now on they are where the configuration says. What is left elsewhere is told.
    pub(super) fn open(folder: &Path, config: &PulsarConfig) -> Result<Holds, SealedError> {
        let mut holds = Holds::load(folder)?;
        if let Some(left) = holds.out_of_reach(Some(config)) {
            log::warn!("{left}");
        }
        let here = Some(Place::of(config));
        if let Some(made) = holds.made.clone().filter(|made| made.place != here) {
            holds.write(Made { place: here, ..made })?;
        }
        Ok(holds)
    }

    /// Those of the task whose folder this is. None has to be there.
    pub(super) fn load(folder: &Path) -> Result<Holds, SealedError> {
        let file = folder.join(FILE);
        let made = sealed::load(&file, FORMAT, VERSION)?;
        let now = Instant::now();
        let held = BTreeMap::new();
        Ok(Holds { file, made, needed: None, held, look_at: now, step_at: now + STEP, complaint: None })
    }

    /// A checkpoint that needs these is on disk.
    pub(super) fn need(&mut self, needed: BTreeMap<Channel, Option<Position>>) {
        self.needed = Some(needed);
    }

    /// Nothing is to be held any more.
    pub(super) fn need_nothing(&mut self) {
        self.needed = Some(BTreeMap::new());
    }

    /// Makes, moves and ends subscriptions as the checkpoint wants it. Trouble is told once; it is tried again.
    pub(super) fn look_after(&mut self, session: &Session) {
        let now = Instant::now();
        if now < self.look_at {
            return;
        }
        self.look_at = now + LOOK;
        match self.try_all(session) {
            Ok(()) => self.complaint = None,
            Err(trouble) => {
                self.look_at = now + RETRY;
                let why = match trouble {
                    Trouble::Broker(error) => error.to_string(),
                    Trouble::File(error) => error.to_string(),
                };
                if self.complaint.as_ref() != Some(&why) {
                    log::warn!("the subscriptions that hold messages in Pulsar cannot be looked after: {why}");
                    self.complaint = Some(why);
                }
            }
        }
    }

    fn try_all(&mut self, session: &Session) -> Result<(), Trouble> {
        let Some(needed) = self.needed.clone() else { return Ok(()) };
        self.held.retain(|_, hold| !hold.consumer.is_closed());
        // A topic that refuses must not keep the other topics' subscriptions where they are.
        let mut outcome = Ok(());
        for channel in needed.keys() {
            outcome = outcome.and(self.make(session, channel));
        }
        outcome = outcome.and(self.release(session, |channel| !needed.contains_key(channel)));
        if Instant::now() >= self.step_at {
            self.step_at = Instant::now() + STEP;
            for (channel, hold) in &mut self.held {
                outcome = outcome.and(hold.step(needed.get(channel).copied().flatten()).map_err(Trouble::Broker));
            }
        }
        outcome
    }

    fn make(&mut self, session: &Session, channel: &Channel) -> Result<(), Trouble> {
        if self.held.contains_key(channel) {
            return Ok(());
        }
        let name = self.note(channel, session).map_err(Trouble::File)?;
        let wanted = Subscription { name: &name, durable: true, from: From::Earliest };
        match session.subscribe(channel, wanted) {
            Ok(consumer) => {
                self.held.insert(channel.clone(), Hold { consumer, mark: None });
                Ok(())
            }
            // There is nothing to hold in a topic that does not exist.
            Err(error) if error.is_absence() => Ok(()),
            Err(error) => Err(Trouble::Broker(error)),
        }
    }

    /// Writes down that there may be a subscription. Answers its name.
    fn note(&mut self, channel: &Channel, session: &Session) -> Result<String, SealedError> {
        let mut made = self.made.clone().unwrap_or_else(|| Made {
            subscription: format!("milvus-cdc-{}", uuid::Uuid::new_v4().simple()),
            channels: BTreeSet::new(),
            place: Some(Place::of(session.config())),
        });
        let name = made.subscription.clone();
        if made.channels.insert(channel.to_string()) {
            self.write(made)?;
        }
        Ok(name)
    }

    fn write(&mut self, made: Made) -> Result<(), SealedError> {
        sealed::save(&self.file, FORMAT, VERSION, &made)?;
        self.made = Some(made);
        Ok(())
    }

    /// Ends those of some channels for good.
    fn release(&mut self, session: &Session, is_over: impl Fn(&Channel) -> bool) -> Result<(), Trouble> {
        let Some(mut made) = self.made.clone() else { return Ok(()) };
        let channels: Vec<Channel> = made.channels.iter().map(|name| Channel::new(name)).collect();
        let mut outcome = Ok(());
        for channel in channels.into_iter().filter(is_over) {
            let held = self.held.remove(&channel).map(|hold| hold.consumer);
            if let Err(error) = unsubscribe(session, &channel, &made.subscription, held) {
                // Brokers that do not answer are not waited for once for every topic.
                let is_silent = error.is_no_answer();
                // The first one counts, but for one that passes soon: whoever ends all of them tries that again.
                if outcome.is_ok() || error.is_busy() {
                    outcome = Err(Trouble::Broker(error));
                }
                if is_silent {
                    break;
                }
                continue;
            }
            log::info!("the subscription {} to {channel} in Pulsar has been ended", made.subscription);
            made.channels.remove(channel.as_str());
            self.write(made.clone()).map_err(Trouble::File)?;
        }
        outcome
    }

    /// Ends all of them for good.
    ///
    /// # Errors
    /// What is left, and why.
    pub(super) fn end(mut self, session: &Session) -> Result<(), String> {
        let deadline = Instant::now() + BUSY;
        let why = loop {
            match self.release(session, |_| true) {
                Ok(()) => return Ok(()),
                Err(Trouble::Broker(error)) if error.is_busy() && Instant::now() < deadline => {
                    std::thread::sleep(BUSY / 50);
                }
                Err(Trouble::Broker(error)) => break error.to_string(),
                Err(Trouble::File(error)) => break error.to_string(),
            }
        };
        let here = Some(Place::of(session.config()));
        Err(self.made.map_or(why.clone(), |made| Made { place: here, ..made }.left(&why)))
    }

    /// What is left where the configuration (`None`: there is none) does not lead, and what to do about it.
    pub(super) fn out_of_reach(&self, config: Option<&PulsarConfig>) -> Option<String> {
        let made = self.made.as_ref().filter(|made| !made.channels.is_empty())?;
        let why = match (config, &made.place) {
            (Some(_), None) => return None,
            (Some(config), Some(place)) if place.is_named_by(config) => return None,
            (Some(config), Some(place)) => {
                format!("they are at {place}, and sourceConfig.pulsar names {} now", Place::of(config))
            }
            (None, Some(place)) => format!("they are at {place}, and sourceConfig.pulsar.address is not set any more"),
            (None, None) => "sourceConfig.pulsar.address is not set any more".to_owned(),
        };
        Some(made.left(&why))
    }

    /// Whether there may be any.
    pub(super) fn are_any(&self) -> bool {
        self.made.as_ref().is_some_and(|made| !made.channels.is_empty())
    }
}

impl Hold {
    /// Follows the checkpoint, one step late.
    fn step(&mut self, needed: Option<Position>) -> Result<(), PulsarError> {
        let Some(needed) = needed.map(Entry::of) else { return Ok(()) };
        if let Some(mark) = self.mark.filter(|mark| *mark < needed) {
            self.consumer.acknowledge(mark)?;
        }
        self.mark = Some(needed);
        Ok(())
    }
}

/// Only who is subscribed can unsubscribe.
fn unsubscribe(session: &Session, channel: &Channel, name: &str, held: Option<Consumer>) -> Result<(), PulsarError> {
    let wanted = Subscription { name, durable: true, from: From::Latest };
    let subscribed = held.map_or_else(|| session.subscribe(channel, wanted), Ok);
    match subscribed.and_then(Consumer::unsubscribe) {
        Err(error) if !error.is_absence() && !error.is_unsubscribed() => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::fake::{Fake, refusal};
    use super::super::{command::kind, forget};
    use super::*;

    const CHANNEL: &str = "by-dev-rootcoord-dml_0";

    /// A task's folder, with a subscription to one topic of the fake's.
    fn held(fake: &Fake) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let mut holds = Holds::open(folder.path(), &fake.config()).unwrap();
        holds.need(BTreeMap::from([(Channel::new(CHANNEL), None)]));
        holds.look_after(&Session::new(&fake.config()));
        assert!(holds.are_any() && holds.complaint.is_none());
        folder
    }

    #[test]
    fn a_deleted_task_leaves_nothing() {
        let fake = Fake::start(|_, _| None);
        let folder = held(&fake);
        let mut config = fake.config();
        config.service.addresses.insert(0, crate::config::Address { host: "127.0.0.1".into(), port: 1 });
        assert_eq!(forget(Some(&config), folder.path()), Ok(()), "another broker of the same cluster");
        assert_eq!(fake.seen(kind::UNSUBSCRIBE).len(), 1);
        assert_eq!(forget(None, folder.path()), Ok(()), "nothing is left");
    }

    #[test]
    fn what_is_left_where_the_configuration_does_not_lead_is_told() {
        let fake = Fake::start(|_, _| None);
        let folder = held(&fake);
        let topic = format!("persistent://public/default/{CHANNEL}");
        let is_told = |left: &str| left.contains("unsubscribe --force") && left.contains(&topic);
        let left = forget(None, folder.path()).unwrap_err();
        assert!(is_told(&left) && left.contains("not set any more"), "{left}");
        let mut moved = fake.config();
        moved.namespace = "other".into();
        let left = forget(Some(&moved), folder.path()).unwrap_err();
        assert!(is_told(&left) && left.contains("public/other now"), "{left}");
        assert!(fake.seen(kind::UNSUBSCRIBE).is_empty());
        // A task that has run there since has told it then.
        let _ = Holds::open(folder.path(), &moved).unwrap();
        assert_eq!(forget(Some(&moved), folder.path()), Ok(()));
    }

    #[test]
    fn a_topic_that_refuses_does_not_stop_the_others() {
        const REFUSED: &str = "persistent://public/default/by-dev-rootcoord-dml_0";
        let fake = Fake::start(|_, command| {
            let is_it = command.kind() == kind::SUBSCRIBE && command.subscribe.topic() == REFUSED;
            is_it.then(|| vec![refusal(command.subscribe.request_id(), 22, "not this one")])
        });
        let (folder, session) = (tempfile::tempdir().unwrap(), Session::new(&fake.config()));
        let mut holds = Holds::open(folder.path(), &fake.config()).unwrap();
        let channels = [CHANNEL, "by-dev-rootcoord-dml_1"].map(Channel::new);
        for entry in [3, 4] {
            let position = Some(Entry { ledger: 1, entry }.position(0));
            holds.need(channels.iter().map(|channel| (channel.clone(), position)).collect());
            holds.step_at = Instant::now();
            assert!(matches!(holds.try_all(&session), Err(Trouble::Broker(PulsarError::Refused { .. }))));
        }
        let (_, command) = fake.wait("an acknowledgement", |(_, command)| command.kind() == kind::ACK);
        assert_eq!(Entry::of_wire(&command.ack.message_id[0]), Entry { ledger: 1, entry: 3 });
        let ended = holds.end(&session).unwrap_err();
        assert!(ended.contains(REFUSED) && !ended.contains("dml_1"), "{ended}");
    }

    #[test]
    fn files_that_do_not_say_where() {
        let folder = tempfile::tempdir().unwrap();
        let old = serde_json::json!({"subscription": "milvus-cdc-1", "channels": [CHANNEL]});
        sealed::save(&folder.path().join(FILE), FORMAT, VERSION, &old).unwrap();
        let left = forget(None, folder.path()).unwrap_err();
        assert!(left.contains(CHANNEL) && left.contains("--subscription milvus-cdc-1"), "{left}");
        let fake = Fake::start(|_, _| None);
        assert_eq!(forget(Some(&fake.config()), folder.path()), Ok(()));
    }
}
