//! The connection to a source's Pulsar.

use super::endpoint::split_port;
use super::{Address, BrokerTls, Secret};

/// The Pulsar cluster and its connection settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PulsarConfig {
    /// Address of the brokers, or of a proxy in front of them.
    pub service: PulsarService,
    /// Address of the admin API, if known.
    pub web: Option<WebAddress>,
    /// Largest message that is accepted from a broker, in bytes.
    pub max_message_size: usize,
    /// Tenant of the topics.
    pub tenant: String,
    /// Namespace of the topics.
    pub namespace: String,
    /// Authentication token; empty for none.
    pub token: Secret,
    /// TLS files.
    pub tls: BrokerTls,
    /// How messages are retained until they have been read.
    pub subscription: SubscriptionMode,
}

/// The brokers of one cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PulsarService {
    /// Whether connections use TLS.
    pub tls: bool,
    /// One address is enough: brokers know each other.
    pub addresses: Vec<Address>,
}

/// Address of the admin API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebAddress {
    /// Whether it uses HTTPS.
    pub tls: bool,
    /// Host and port.
    pub address: Address,
}

/// How messages are retained until they have been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubscriptionMode {
    /// Chosen by the broker's settings.
    Auto,
    /// A durable subscription retains them.
    Durable,
    /// The namespace's retention policy retains them.
    Reader,
}

impl SubscriptionMode {
    /// All modes.
    pub const ALL: [SubscriptionMode; 3] =
        [SubscriptionMode::Auto, SubscriptionMode::Durable, SubscriptionMode::Reader];

    /// The mode's name in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            SubscriptionMode::Auto => "auto",
            SubscriptionMode::Durable => "durable",
            SubscriptionMode::Reader => "reader",
        }
    }
}

const PORT: u16 = 6650;
const PORT_TLS: u16 = 6651;
const WEB_PORT: u16 = 8080;
const WEB_PORT_TLS: u16 = 8443;

impl PulsarService {
    /// Parses `pulsar://host:6650` or `pulsar+ssl://…`; scheme and port may be omitted, several hosts are separated by
    /// commas.
    pub fn parse(text: &str) -> Option<PulsarService> {
        let (tls, rest) = match text.trim().split_once("://") {
            None => (false, text.trim()),
            Some(("pulsar", rest)) => (false, rest),
            Some(("pulsar+ssl", rest)) => (true, rest),
            Some(_) => return None,
        };
        let port = if tls { PORT_TLS } else { PORT };
        let addresses: Option<Vec<Address>> =
            rest.trim_end_matches('/').split(',').map(|one| address(one.trim(), port)).collect();
        Some(PulsarService { tls, addresses: addresses? })
    }
}

impl std::fmt::Display for PulsarService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = if self.tls { "pulsar+ssl" } else { "pulsar" };
        let addresses: Vec<String> = self.addresses.iter().map(Address::to_string).collect();
        write!(f, "{scheme}://{}", addresses.join(","))
    }
}

impl WebAddress {
    /// Parses `http://host:8080` or `https://…`; scheme and port may be omitted.
    pub fn parse(text: &str) -> Option<WebAddress> {
        let (tls, rest) = match text.trim().split_once("://") {
            None => (false, text.trim()),
            Some(("http", rest)) => (false, rest),
            Some(("https", rest)) => (true, rest),
            Some(_) => return None,
        };
        let port = if tls { WEB_PORT_TLS } else { WEB_PORT };
        Some(WebAddress { tls, address: address(rest.trim_end_matches('/'), port)? })
    }
}

impl std::fmt::Display for WebAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}://{}", if self.tls { "https" } else { "http" }, self.address)
    }
}

fn address(text: &str, default_port: u16) -> Option<Address> {
    let (host, port) = split_port(text).ok()?;
    let is_host = !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_:".contains(&byte));
    let port = port.map_or(Some(default_port), |port| port.parse().ok().filter(|port| *port > 0))?;
    is_host.then(|| Address { host: host.to_owned(), port })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_in_all_their_forms() {
        let shown = |text| PulsarService::parse(text).map(|service| service.to_string());
        assert_eq!(shown("pulsar://a:1/").as_deref(), Some("pulsar://a:1"));
        assert_eq!(shown("pulsar+ssl://a,b:2").as_deref(), Some("pulsar+ssl://a:6651,b:2"));
        assert_eq!(shown("10.0.0.1").as_deref(), Some("pulsar://10.0.0.1:6650"));
        assert_eq!(shown("[::1]:7").as_deref(), Some("pulsar://[::1]:7"));
        for wrong in ["http://a:1", "pulsar://", "a:0", "a:b", "user:pass@a", "a b"] {
            assert_eq!(shown(wrong), None, "{wrong}");
        }
        let web = |text| WebAddress::parse(text).map(|web| web.to_string());
        assert_eq!(web("a").as_deref(), Some("http://a:8080"));
        assert_eq!(web("https://a:1/").as_deref(), Some("https://a:1"));
        assert_eq!(web("pulsar://a"), None);
    }
}
