//! How to reach a source's Pulsar.

use super::endpoint::split_port;
use super::{Address, BrokerTls, Secret};

/// The brokers, and what is where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PulsarConfig {
    /// Where brokers, or a proxy before them, answer.
    pub service: PulsarService,
    /// Where the administration answers, if that is known.
    pub web: Option<WebAddress>,
    /// The largest message that is taken from a broker that allows larger ones, in bytes.
    pub max_message_size: usize,
    /// The tenant of the topics.
    pub tenant: String,
    /// Their namespace.
    pub namespace: String,
    /// What shows who we are; empty: nothing does.
    pub token: Secret,
    /// The files of encrypted connections.
    pub tls: BrokerTls,
    /// How messages are kept until they have been read.
    pub subscription: SubscriptionMode,
}

/// Brokers of one cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PulsarService {
    /// Whether connections are encrypted.
    pub tls: bool,
    /// One of them is enough: they know of each other.
    pub addresses: Vec<Address>,
}

/// Where the administration answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebAddress {
    /// Whether it speaks HTTPS.
    pub tls: bool,
    /// Host and port.
    pub address: Address,
}

/// How messages are kept until they have been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubscriptionMode {
    /// As the broker's own settings suggest.
    Auto,
    /// A subscription holds them.
    Durable,
    /// The namespace's retention does.
    Reader,
}

impl SubscriptionMode {
    /// Every mode there is.
    pub const ALL: [SubscriptionMode; 3] =
        [SubscriptionMode::Auto, SubscriptionMode::Durable, SubscriptionMode::Reader];

    /// Its name in the configuration.
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
    /// Reads `pulsar://host:6650`, `pulsar+ssl://…` or either without scheme or port; several hosts with commas between them.
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
    /// Reads `http://host:8080`, `https://…` or either without scheme or port.
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
