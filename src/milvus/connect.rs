//! Where a Milvus is and how a channel to it is opened.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use grpcio::{ChannelBuilder, ChannelCredentialsBuilder, Environment};

/// Transport security of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tls {
    /// PEM file with the certificates that may have signed the server's; `None`: those of the system.
    pub roots: Option<PathBuf>,
    /// PEM files of our own certificate and its key, for mutual TLS.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// The name that the server's certificate must carry, when it is not the host's.
    pub server_name: Option<String>,
}

/// A server to talk to.
#[derive(Clone)]
pub struct Endpoint {
    /// `host:port`.
    pub address: String,
    /// `user:password` or an API key; empty for none.
    pub token: String,
    /// `None` for plain text.
    pub tls: Option<Tls>,
    /// How long connecting may take.
    pub connect_timeout: Duration,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").field("address", &self.address).field("tls", &self.tls).finish_non_exhaustive()
    }
}

/// Receiving limit: Milvus sends at most 512 MB (`grpc.clientMaxSendSize`).
const MAX_MESSAGE_BYTES: i32 = 512 << 20;

/// Opens a channel; it connects with the first call.
///
/// # Errors
/// A PEM file that cannot be read, named.
pub(super) fn open(endpoint: &Endpoint) -> Result<grpcio::Channel, String> {
    // One completion thread per connection: a task shares nothing with another.
    let environment = Arc::new(Environment::new(1));
    let mut builder = ChannelBuilder::new(environment)
        .max_receive_message_len(MAX_MESSAGE_BYTES)
        .max_send_message_len(MAX_MESSAGE_BYTES)
        .initial_reconnect_backoff(Duration::from_millis(200))
        .max_reconnect_backoff(Duration::from_secs(2))
        .use_local_subchannel_pool(true)
        // A server that vanished without closing (power, network) is noticed; Milvus allows pings every 5 s.
        .keepalive_time(Duration::from_secs(20))
        .keepalive_timeout(Duration::from_secs(10))
        .enable_http_proxy(false);
    if let Some(tls) = &endpoint.tls {
        let mut credentials = ChannelCredentialsBuilder::new();
        if let Some(path) = &tls.roots {
            credentials = credentials.root_cert(read_pem(path)?);
        }
        if let Some((certificate, key)) = &tls.identity {
            credentials = credentials.cert(read_pem(certificate)?, read_pem(key)?);
        }
        if let Some(name) = &tls.server_name {
            builder = builder.override_ssl_target(name.as_str());
        }
        builder = builder.set_credentials(credentials.build());
    }
    Ok(builder.connect(&endpoint.address))
}

fn read_pem(path: &PathBuf) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("cannot read the PEM file {}: {error}", path.display()))
}
