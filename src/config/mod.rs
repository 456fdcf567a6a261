/*!
The server's configuration: the keys of the file (`raw`), reading and validation (`load`), and the result for the rest
of the program ([`Config`]): complete, with every default filled in.
*/

mod authorities;
mod broker_tls;
mod endpoint;
mod error;
mod kafka;
mod legacy;
mod load;
mod peers;
mod pulsar;
mod raw;
mod secret;
mod show;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use log::LevelFilter;

pub use self::authorities::system_authorities;
pub use self::broker_tls::{BrokerIdentity, BrokerTls};
pub use self::endpoint::{
    Address, AddressError, DEFAULT_CONNECT_TIMEOUT, DialFiles, Endpoint, HalfMutualTls, ParsedUri, Tls, bearer_text,
};
pub use self::error::ConfigError;
pub use self::kafka::{KafkaConfig, KafkaLogin, SaslMechanism, SecurityProtocol};
pub use self::legacy::Leftover;
pub use self::load::API_TOKEN_VARIABLE;
pub use self::pulsar::{PulsarConfig, PulsarService, SubscriptionMode, WebAddress};
pub use self::secret::{Secret, can_be_sent, without_line_end};
pub use self::show::{Setting, settings};
use crate::domain::{LogKind, PeerName};
use crate::observe::logging::LogFormat;

/// Everything that the server needs to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Address that the HTTP API listens on, `host:port`.
    pub address: String,
    /// Folder of everything that outlives the process.
    pub data_dir: PathBuf,
    /// Largest number of tasks, paused ones included.
    pub max_task_num: usize,
    /// Longest name of a database or collection that `create` accepts, in bytes.
    pub max_name_length: usize,
    /// Log level until `maintenance` changes it.
    pub log_level: LevelFilter,
    /// Format of log lines.
    pub log_format: LogFormat,
    /// Access to the API.
    pub api: ApiConfig,
    /// The Milvus to replicate from.
    pub source: SourceConfig,
    /// Further Milvus whose logs are in reach.
    pub peers: BTreeMap<PeerName, SourceConfig>,
    /// Keys of a Go milvus-cdc's file that have no effect here.
    pub leftovers: Vec<Leftover>,
}

/// Access to the API.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ApiConfig {
    /// Bearer token of requests; empty to accept requests without one.
    pub token: Secret,
    /// The API may listen beyond the local host without a token.
    pub allow_unauthenticated: bool,
    /// Names of this server that a request's `Host` may contain, besides IP addresses, `localhost` and the name in
    /// `address`.
    pub allowed_hosts: Vec<String>,
}

impl Config {
    /// Whether the API is open to everyone on the network.
    pub fn is_open_to_all(&self) -> bool {
        self.api.token.is_empty() && !is_local(&self.address)
    }
}

/// Whether an address `host:port` is reachable from this host only. Names are not resolved: their meaning can change.
fn is_local(address: &str) -> bool {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let ip: Result<IpAddr, _> = host.trim_start_matches('[').trim_end_matches(']').parse();
    ip.map_or(host.eq_ignore_ascii_case("localhost"), |ip| ip.is_loopback())
}

/// The value that leaves the choice of the log kind to the server.
const AUTO: &str = "auto";

/// A Milvus to replicate from, and its log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceConfig {
    /// Where the configuration describes it, for messages: `sourceConfig`, or `peers.` and its name.
    pub section: String,
    /// Endpoint of its gRPC API.
    pub endpoint: Endpoint,
    /// Kind of its log; `None` for `auto`, the best kind that works.
    pub log: Option<LogKind>,
    /// Folder of its RocksMQ (`.../rdb_data`), if given.
    pub rocksmq_path: Option<PathBuf>,
    /// Its Kafka, if given.
    pub kafka: Option<KafkaConfig>,
    /// Its Pulsar, if given.
    pub pulsar: Option<PulsarConfig>,
    /// Interval between comparisons of its rows, for a source without a log.
    pub scan_interval: Duration,
    /// How long something must be released at the source until that follows, where the log shows no request.
    pub release_after: Duration,
    /// Prefix of the names of its physical channels.
    pub channel_prefix: String,
    /// Name of its replicate channel.
    pub replicate_channel: String,
}
