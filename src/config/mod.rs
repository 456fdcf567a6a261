/*!
The server's configuration: what the file may say (`raw`), how it is read and checked (`load`), and what the rest of the
program gets ([`Config`]): complete, with every default filled in.
*/

mod endpoint;
mod error;
mod load;
mod raw;
mod secret;

use std::path::PathBuf;

use log::LevelFilter;

pub use self::endpoint::{
    Address, AddressError, DEFAULT_CONNECT_TIMEOUT, DialFiles, Endpoint, HalfMutualTls, ParsedUri, Tls, bearer_text,
};
pub use self::error::ConfigError;
pub use self::load::SOURCE_TOKEN_VARIABLE;
pub use self::secret::Secret;

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
    /// The Milvus that is followed.
    pub source: SourceConfig,
}

/// The Milvus that is followed, and its log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceConfig {
    /// Where its gRPC API is.
    pub endpoint: Endpoint,
    /// How its log is read.
    pub log: LogKind,
    /// The folder of its RocksMQ (`.../rdb_data`), when given.
    pub rocksmq_path: Option<PathBuf>,
    /// What its physical channels' names begin with.
    pub channel_prefix: String,
    /// Its channel of replicate messages.
    pub replicate_channel: String,
}

/// The kinds of logs that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogKind {
    /// The best that works; the log says which and why.
    Auto,
    /// The files of a standalone server's built-in queue.
    RocksMq,
}
