/*!
A task's way to its topics: which broker has one, and a connection to each broker that is needed, shared by all topics there.
*/

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::command::{self, Subscription};
use super::connection::{Connection, Peer};
use super::consumer::Consumer;
use super::error::PulsarError;
use super::place;
use crate::config::{Address, BrokerTls, PulsarConfig, PulsarService};
use crate::domain::Channel;
use crate::milvus::pb::pulsar::LookupResponse;
use crate::source::news::News;

/// More redirections than any cluster needs.
const MOST_HOPS: u32 = 20;
/// How long brokers that do not answer are left alone at least; otherwise twice as long as it took to see that.
const LEFT_ALONE: Duration = Duration::from_millis(500);

/// Connections to the brokers of one cluster.
pub(super) struct Session {
    config: PulsarConfig,
    connections: Mutex<BTreeMap<Way, Arc<Connection>>>,
    news: News,
    trouble: Mutex<Option<Trouble>>,
}

/// Brokers that do not answer are left alone for a while: there may be many topics, and somebody waits for each.
struct Trouble {
    until: Instant,
    error: PulsarError,
}

/// How a broker is reached.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Way {
    /// Host and port.
    to: (String, u16),
    /// The broker behind the proxy that answers there.
    behind: Option<String>,
}

impl Way {
    fn to(address: &Address) -> Way {
        Way { to: (address.host.clone(), address.port), behind: None }
    }

    fn address(&self) -> Address {
        Address { host: self.to.0.clone(), port: self.to.1 }
    }
}

/// A broker's answer to a lookup.
enum Located {
    There,
    Elsewhere { way: Way, authoritative: bool },
}

impl Session {
    pub(super) fn new(config: &PulsarConfig) -> Session {
        Session {
            config: config.clone(),
            connections: Mutex::default(),
            news: News::default(),
            trouble: Mutex::new(None),
        }
    }

    pub(super) fn config(&self) -> &PulsarConfig {
        &self.config
    }

    /// Messages have come, or something has ended.
    pub(super) fn news(&self) -> &News {
        &self.news
    }

    /// Sees whether any broker answers.
    pub(super) fn probe(&self) -> Result<(), PulsarError> {
        self.attempt(|| self.service().map(drop))
    }

    /// The full name of a channel's topic.
    pub(super) fn topic(&self, channel: &Channel) -> String {
        place::topic(&self.config.tenant, &self.config.namespace, channel.as_str())
    }

    /// Subscribes to a channel's topic. Nothing comes before the consumer asks for messages.
    ///
    /// # Errors
    /// Whatever may happen; [`PulsarError::is_absence`] where there is no such topic.
    pub(super) fn subscribe(&self, channel: &Channel, wanted: Subscription<'_>) -> Result<Consumer, PulsarError> {
        self.attempt(|| {
            let topic = self.whole_topic(self.topic(channel))?;
            let connection = self.locate(&topic)?;
            Consumer::subscribe(&connection, topic, wanted)
        })
    }

    /// Tries something, unless brokers have just not answered.
    fn attempt<T>(&self, what: impl FnOnce() -> Result<T, PulsarError>) -> Result<T, PulsarError> {
        let began = Instant::now();
        if let Some(trouble) = &*self.trouble.lock()
            && began < trouble.until
        {
            return Err(trouble.error.clone());
        }
        let outcome = what();
        let now = Instant::now();
        *self.trouble.lock() = match &outcome {
            Err(error) if error.is_no_answer() => {
                Some(Trouble { until: now + LEFT_ALONE.max((now - began) * 2), error: error.clone() })
            }
            _ => None,
        };
        outcome
    }

    /// Milvus's topics have no partitions; where topics that are made by writing to them get some, one can be read.
    fn whole_topic(&self, topic: String) -> Result<String, PulsarError> {
        let (_, connection) = self.service()?;
        let question = "how many partitions a topic has";
        let answer = connection.ask(question, |request| command::partitions(&topic, request))?;
        let answer = answer.partitions_response.into_option().ok_or_else(|| connection.nonsense())?;
        if answer.response() != 0 {
            return Err(connection.refused(question, answer.error(), answer.message()));
        }
        match answer.partitions() {
            0 => Ok(topic),
            1 => Ok(format!("{topic}-partition-0")),
            partitions => Err(PulsarError::Partitioned { topic, partitions }),
        }
    }

    /// A connection to the broker that has the topic.
    fn locate(&self, topic: &str) -> Result<Arc<Connection>, PulsarError> {
        let (mut way, mut connection) = self.service()?;
        let mut authoritative = false;
        for _ in 0..MOST_HOPS {
            const QUESTION: &str = "which broker has a topic";
            let answer = connection.ask(QUESTION, |request| command::lookup(topic, authoritative, request))?;
            let answer = answer.lookup_response.into_option().ok_or_else(|| connection.nonsense())?;
            match self.read_lookup(&answer, &way) {
                Some(Located::There) => return Ok(connection),
                Some(Located::Elsewhere { way: next, authoritative: told }) => {
                    let is_there = answer.response() == 1;
                    connection = self.connection(&next)?;
                    if is_there {
                        return Ok(connection);
                    }
                    (way, authoritative) = (next, told);
                }
                None if answer.response() == 2 => {
                    return Err(connection.refused(QUESTION, answer.error(), answer.message()));
                }
                None => return Err(connection.nonsense()),
            }
        }
        Err(PulsarError::Redirects { topic: topic.to_owned(), hops: MOST_HOPS })
    }

    fn read_lookup(&self, answer: &LookupResponse, asked: &Way) -> Option<Located> {
        let url = match self.config.service.tls {
            true => answer.broker_url_tls(),
            false => answer.broker_url(),
        };
        if !matches!(answer.response(), 0 | 1) {
            return None;
        }
        let [broker] = PulsarService::parse(url)?.addresses.try_into().ok()?;
        let direct = Way::to(&broker);
        let is_final = answer.response() == 1;
        let way = match (answer.proxy_through_service_url(), is_final) {
            (true, true) if direct.to != asked.to => Way { to: asked.to.clone(), behind: Some(broker.to_string()) },
            _ => direct,
        };
        if is_final && way == *asked {
            return Some(Located::There);
        }
        Some(Located::Elsewhere { way, authoritative: answer.authoritative() })
    }

    /// A connection to whichever of the configured addresses answers.
    fn service(&self) -> Result<(Way, Arc<Connection>), PulsarError> {
        let ways = || self.config.service.addresses.iter().map(Way::to);
        // One that answers is better than one that may not.
        if let Some(way) = ways().find(|way| self.is_open(way)) {
            return self.connection(&way).map(|connection| (way, connection));
        }
        let mut last = None;
        for way in ways() {
            match self.connection(&way) {
                Ok(connection) => return Ok((way, connection)),
                Err(error) => last = Some(error),
            }
        }
        let address = self.config.service.to_string();
        Err(last.unwrap_or(PulsarError::Unreachable { address, detail: "no address is configured".into() }))
    }

    fn is_open(&self, way: &Way) -> bool {
        self.connections.lock().get(way).is_some_and(|connection| connection.is_open())
    }

    fn connection(&self, way: &Way) -> Result<Arc<Connection>, PulsarError> {
        let mut connections = self.connections.lock();
        connections.retain(|_, connection| connection.is_open());
        if let Some(connection) = connections.get(way) {
            return Ok(Arc::clone(connection));
        }
        let peer = Peer {
            address: &way.address(),
            tls: self.tls(),
            token: &self.config.token,
            broker: way.behind.as_deref(),
            largest: self.config.max_message_size,
        };
        let connection = Arc::new(Connection::open(peer, &self.news)?);
        connections.insert(way.clone(), Arc::clone(&connection));
        Ok(connection)
    }

    fn tls(&self) -> Option<&BrokerTls> {
        self.config.service.tls.then_some(&self.config.tls)
    }
}
