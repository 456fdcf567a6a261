/*!
Finds the broker that owns a topic, and keeps one connection to each broker, shared by all topics there.
*/

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::command::{self, Subscription};
use super::connection::{BrokerConnection, PeerSettings};
use super::consumer::PulsarConsumer;
use super::error::PulsarError;
use super::inbox::Notify;
use super::proto::LookupResponse;
use crate::config::{Address, BrokerTls, PulsarService, Secret};

/// More redirections than any cluster needs.
const MAX_HOPS: u32 = 20;
/// How long brokers that do not answer are left alone at least; otherwise twice as long as the failure took.
const MIN_PAUSE: Duration = Duration::from_millis(500);

/// How to reach the brokers of one cluster.
#[derive(Debug, Clone)]
pub(crate) struct PulsarSettings {
    pub(crate) service: PulsarService,
    /// Empty: none.
    pub(crate) token: Secret,
    /// Used if the service has TLS.
    pub(crate) tls: BrokerTls,
    /// Limit of a message, whatever a broker allows, in bytes.
    pub(crate) max_message_size: usize,
}

/// Connections to the brokers of one cluster.
pub(crate) struct PulsarClient {
    settings: PulsarSettings,
    connections: Mutex<BTreeMap<Route, Arc<BrokerConnection>>>,
    notify: Notify,
    outage: Mutex<Option<Outage>>,
}

/// Brokers that do not answer are left alone for a while: there may be many topics, and somebody waits for each.
struct Outage {
    until: Instant,
    error: PulsarError,
}

/// How a broker is reached.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Route {
    /// Host and port.
    to: (String, u16),
    /// The broker behind the proxy at that address.
    behind: Option<String>,
}

impl Route {
    fn to(address: &Address) -> Route {
        Route { to: (address.host.clone(), address.port), behind: None }
    }

    fn address(&self) -> Address {
        Address { host: self.to.0.clone(), port: self.to.1 }
    }
}

/// A broker's answer to a lookup.
enum TopicOwner {
    Asked,
    Elsewhere { route: Route, authoritative: bool },
}

impl PulsarClient {
    /// Connects when there is something to do. Threads of the client call `notify` when messages have come, or when a
    /// connection has ended.
    pub(crate) fn new(settings: PulsarSettings, notify: impl Fn() + Send + Sync + 'static) -> PulsarClient {
        PulsarClient { settings, connections: Mutex::default(), notify: Arc::new(notify), outage: Mutex::new(None) }
    }

    /// Limit of a message, in bytes.
    pub(crate) fn max_message_size(&self) -> usize {
        self.settings.max_message_size
    }

    /// Checks that any broker answers.
    pub(crate) fn probe(&self) -> Result<(), PulsarError> {
        self.attempt(|| self.service().map(drop))
    }

    /// Subscribes to a topic, given by its full name. No message comes before the consumer permits it.
    ///
    /// # Errors
    /// Any; [`PulsarError::is_missing_topic`] if there is no such topic.
    pub(crate) fn subscribe(&self, topic: String, wanted: Subscription<'_>) -> Result<PulsarConsumer, PulsarError> {
        self.attempt(|| {
            let topic = self.whole_topic(topic)?;
            let connection = self.locate(&topic)?;
            PulsarConsumer::subscribe(&connection, topic, wanted)
        })
    }

    /// Tries something, unless the brokers failed to answer a moment ago.
    fn attempt<T>(&self, what: impl FnOnce() -> Result<T, PulsarError>) -> Result<T, PulsarError> {
        let began = Instant::now();
        if let Some(outage) = &*self.outage.lock()
            && began < outage.until
        {
            return Err(outage.error.clone());
        }
        let outcome = what();
        let now = Instant::now();
        *self.outage.lock() = match &outcome {
            Err(error) if error.is_no_answer() => {
                Some(Outage { until: now + MIN_PAUSE.max((now - began) * 2), error: error.clone() })
            }
            _ => None,
        };
        outcome
    }

    /// The topic to read: where brokers give new topics one partition, that partition. Topics with more are refused.
    fn whole_topic(&self, topic: String) -> Result<String, PulsarError> {
        let (_, connection) = self.service()?;
        let question = "how many partitions a topic has";
        let answer = connection.ask(question, |request| command::partitions(&topic, request))?;
        let answer = answer.partitions_response.into_option().ok_or_else(|| connection.malformed())?;
        if answer.response() != 0 {
            return Err(connection.refused(question, answer.error(), answer.message()));
        }
        match answer.partitions() {
            0 => Ok(topic),
            1 => Ok(format!("{topic}-partition-0")),
            partitions => Err(PulsarError::Partitioned { topic, partitions }),
        }
    }

    /// A connection to the broker that owns the topic.
    fn locate(&self, topic: &str) -> Result<Arc<BrokerConnection>, PulsarError> {
        let (mut route, mut connection) = self.service()?;
        let mut authoritative = false;
        for _ in 0..MAX_HOPS {
            const QUESTION: &str = "which broker owns a topic";
            let answer = connection.ask(QUESTION, |request| command::lookup(topic, authoritative, request))?;
            let answer = answer.lookup_response.into_option().ok_or_else(|| connection.malformed())?;
            match self.read_lookup(&answer, &route) {
                Some(TopicOwner::Asked) => return Ok(connection),
                Some(TopicOwner::Elsewhere { route: next, authoritative: next_authoritative }) => {
                    let is_owner = answer.response() == 1;
                    connection = self.connection(&next)?;
                    if is_owner {
                        return Ok(connection);
                    }
                    (route, authoritative) = (next, next_authoritative);
                }
                None if answer.response() == 2 => {
                    return Err(connection.refused(QUESTION, answer.error(), answer.message()));
                }
                None => return Err(connection.malformed()),
            }
        }
        Err(PulsarError::Redirects { topic: topic.to_owned(), hops: MAX_HOPS })
    }

    fn read_lookup(&self, answer: &LookupResponse, asked: &Route) -> Option<TopicOwner> {
        let url = match self.settings.service.tls {
            true => answer.broker_url_tls(),
            false => answer.broker_url(),
        };
        if !matches!(answer.response(), 0 | 1) {
            return None;
        }
        let [broker] = PulsarService::parse(url)?.addresses.try_into().ok()?;
        let direct = Route::to(&broker);
        let is_final = answer.response() == 1;
        let route = match (answer.proxy_through_service_url(), is_final) {
            (true, true) if direct.to != asked.to => Route { to: asked.to.clone(), behind: Some(broker.to_string()) },
            _ => direct,
        };
        if is_final && route == *asked {
            return Some(TopicOwner::Asked);
        }
        Some(TopicOwner::Elsewhere { route, authoritative: answer.authoritative() })
    }

    /// A connection to any of the configured addresses.
    fn service(&self) -> Result<(Route, Arc<BrokerConnection>), PulsarError> {
        let routes = || self.settings.service.addresses.iter().map(Route::to);
        // An open connection is better than an address that may not answer.
        if let Some(route) = routes().find(|route| self.is_open(route)) {
            return self.connection(&route).map(|connection| (route, connection));
        }
        let mut last = None;
        for route in routes() {
            match self.connection(&route) {
                Ok(connection) => return Ok((route, connection)),
                Err(error) => last = Some(error),
            }
        }
        let address = self.settings.service.to_string();
        let none = std::io::Error::new(std::io::ErrorKind::NotFound, "no address is configured");
        Err(last.unwrap_or_else(|| PulsarError::Unreachable { address, source: none.into() }))
    }

    fn is_open(&self, route: &Route) -> bool {
        self.connections.lock().get(route).is_some_and(|connection| connection.is_open())
    }

    fn connection(&self, route: &Route) -> Result<Arc<BrokerConnection>, PulsarError> {
        let mut connections = self.connections.lock();
        connections.retain(|_, connection| connection.is_open());
        if let Some(connection) = connections.get(route) {
            return Ok(Arc::clone(connection));
        }
        let peer = PeerSettings {
            address: &route.address(),
            tls: self.tls(),
            token: &self.settings.token,
            broker: route.behind.as_deref(),
            largest: self.settings.max_message_size,
        };
        let connection = Arc::new(BrokerConnection::open(peer, &self.notify)?);
        connections.insert(route.clone(), Arc::clone(&connection));
        Ok(connection)
    }

    fn tls(&self) -> Option<&BrokerTls> {
        self.settings.service.tls.then_some(&self.settings.tls)
    }
}
