//! Where a Milvus is and how a channel to it is opened.

use std::fmt;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
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

/// The longest PEM file; the system's list of authorities has a quarter of it.
const MAX_PEM_BYTES: u64 = 1 << 20;

/// A request may name the file: a device or a pipe would hold up whoever reads it, or never end.
fn read_pem(path: &Path) -> Result<Vec<u8>, String> {
    let cannot = |error: io::Error| format!("cannot read the PEM file {}: {error}", path.display());
    // Asked before it is opened, which waits for a pipe's other end.
    if !fs::metadata(path).map_err(cannot)?.is_file() {
        return Err(format!("{} is no PEM file (it is no regular file)", path.display()));
    }
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(cannot)?;
    // Limited while it is read: a file of /proc has no length.
    file.take(MAX_PEM_BYTES + 1).read_to_end(&mut bytes).map_err(cannot)?;
    match bytes.len() as u64 > MAX_PEM_BYTES {
        true => Err(format!("{} is no PEM file (it is larger than {MAX_PEM_BYTES} bytes)", path.display())),
        false => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_be_a_pem_file_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let (pipe, large, fits) = (folder.path().join("pipe"), folder.path().join("large"), folder.path().join("fits"));
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        fs::write(&large, vec![b'x'; 2 << 20]).unwrap();
        fs::write(&fits, vec![b'x'; 1 << 20]).unwrap();
        for path in [Path::new("/dev/zero"), &pipe, &large, folder.path()] {
            let told = read_pem(path).unwrap_err();
            assert!(told.starts_with(&format!("{} is no PEM file (", path.display())), "{told}");
        }
        assert_eq!(read_pem(&fits).unwrap().len(), 1 << 20);
    }
}
