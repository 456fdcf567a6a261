/*!
The server's configuration: what the file may say (`raw`), how it is read and checked (`load`), and what the rest of the
program gets ([`Config`]): complete, with every default filled in.
*/

mod authorities;
mod broker_tls;
mod endpoint;
mod error;
mod kafka;
mod legacy;
mod load;
mod pulsar;
mod raw;
mod secret;
mod show;

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use log::LevelFilter;

use crate::domain::LogKind;
use crate::observe::logging::LogFormat;

pub use self::authorities::system_authorities;
pub use self::broker_tls::BrokerTls;
pub use self::endpoint::{
    Address, AddressError, DEFAULT_CONNECT_TIMEOUT, DialFiles, Endpoint, HalfMutualTls, ParsedUri, Tls, bearer_text,
};
pub use self::error::ConfigError;
pub use self::kafka::{KafkaConfig, KafkaLogin, SaslMechanism, SecurityProtocol};
pub use self::legacy::Leftover;
pub use self::load::{API_TOKEN_VARIABLE, KAFKA_PASSWORD_VARIABLE, PULSAR_TOKEN_VARIABLE, SOURCE_TOKEN_VARIABLE};
pub use self::pulsar::{PulsarConfig, PulsarService, SubscriptionMode, WebAddress};
pub use self::secret::{Secret, can_be_sent, without_line_end};
pub use self::show::{Setting, settings};

/// Everything that the server needs to know before it starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where the HTTP API listens, `host:port`.
    pub address: String,
    /// The folder of everything that must outlive the process.
    pub data_dir: PathBuf,
    /// The most tasks there may be, paused ones included.
    pub max_task_num: usize,
    /// The longest database or collection name that `create` accepts, in bytes.
    pub max_name_length: usize,
    /// What is logged until `maintenance` changes it.
    pub log_level: LevelFilter,
    /// How a line of the log looks.
    pub log_format: LogFormat,
    /// Who may use the API.
    pub api: ApiConfig,
    /// The Milvus that is followed.
    pub source: SourceConfig,
    /// Keys of a Go milvus-cdc's file that have no meaning here.
    pub leftovers: Vec<Leftover>,
}

/// Who may use the API.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ApiConfig {
    /// What a request must bring; empty when everybody may who reaches the address.
    pub token: Secret,
    /// It may listen beyond the local host without a token.
    pub allow_unauthenticated: bool,
    /// Names of this server that a request's `Host` may hold, besides addresses, `localhost` and the name in `address`.
    pub allowed_hosts: Vec<String>,
}

impl Config {
    /// The API is open to everybody on the network.
    pub fn is_open_to_all(&self) -> bool {
        self.api.token.is_empty() && !is_local(&self.address)
    }
}

/// Whether an address `host:port` is reached from this host only. Names are not looked up: what they mean can change.
fn is_local(address: &str) -> bool {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let ip: Result<IpAddr, _> = host.trim_start_matches('[').trim_end_matches(']').parse();
    ip.map_or(host.eq_ignore_ascii_case("localhost"), |ip| ip.is_loopback())
}

/// The name of the choice that leaves the kind of log to the server.
const AUTO: &str = "auto";

/// The Milvus that is followed, and its log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceConfig {
    /// Where its gRPC API is.
    pub endpoint: Endpoint,
    /// How its log is read; `None` for `auto`: the best that works.
    pub log: Option<LogKind>,
    /// The folder of its RocksMQ (`.../rdb_data`), when given.
    pub rocksmq_path: Option<PathBuf>,
    /// The brokers of its Kafka, when given.
    pub kafka: Option<KafkaConfig>,
    /// The brokers of its Pulsar, when given.
    pub pulsar: Option<PulsarConfig>,
    /// How often its rows are compared where it has no log.
    pub scan_interval: Duration,
    /// What its physical channels' names begin with.
    pub channel_prefix: String,
    /// Its channel of replicate messages.
    pub replicate_channel: String,
}
