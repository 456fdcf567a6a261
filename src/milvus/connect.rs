/*!
How to connect to a Milvus: address, credentials, TLS, and the gRPC channel.

A channel connects again by itself, but with the certificates that it was opened with. So when a call finds no
connection, the PEM files are read again, and a new channel takes the place of one that was opened with others: a
certificate that is replaced in its file needs nobody's attention.
*/

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{fmt, fs};

use grpcio::{ChannelBuilder, ChannelCredentialsBuilder, Environment};
use parking_lot::Mutex;

/// Transport security of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TlsOptions {
    /// PEM file of the accepted certificate authorities; `None`: those that the system trusts.
    pub roots: Option<PathBuf>,
    /// The client's own certificate, for mutual TLS.
    pub identity: Option<ClientIdentity>,
    /// The name that the server's certificate must carry, if it is not the host's.
    pub server_name: Option<String>,
}

/// The PEM files of a client certificate and of its private key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientIdentity {
    /// The certificate.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// A server and how to connect to it.
#[derive(Clone)]
pub struct ConnectOptions {
    /// `host:port`.
    pub address: String,
    /// `user:password` or an API key; empty for none.
    pub token: String,
    /// `None`: plain text.
    pub tls: Option<TlsOptions>,
    /// Time limit for connecting.
    pub connect_timeout: Duration,
}

impl fmt::Debug for ConnectOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectOptions").field("address", &self.address).field("tls", &self.tls).finish_non_exhaustive()
    }
}

/// Receiving limit: Milvus sends at most 512 MB (`grpc.clientMaxSendSize`).
const MAX_MESSAGE_BYTES: i32 = 512 << 20;

/// The contents of the PEM files of a connection. No `Debug`: one is a private key.
#[derive(Clone, PartialEq, Eq, Default)]
struct PemContents {
    roots: Option<Vec<u8>>,
    certificate: Option<Vec<u8>>,
    key: Option<Vec<u8>>,
}

impl PemContents {
    fn read(tls: Option<&TlsOptions>) -> Result<PemContents, String> {
        let Some(TlsOptions { roots, identity, .. }) = tls else { return Ok(PemContents::default()) };
        let read = |path: Option<&PathBuf>| path.map(|path| read_pem(path)).transpose();
        Ok(PemContents {
            roots: read(roots.as_ref())?,
            certificate: read(identity.as_ref().map(|identity| &identity.certificate))?,
            key: read(identity.as_ref().map(|identity| &identity.key))?,
        })
    }
}

/// The PEM files are read again not more often than this.
const RENEWAL: Duration = Duration::from_secs(1);

/// A channel that is opened anew when the files of its certificates have changed.
pub(super) struct Connection {
    /// `None`: the channel is never opened anew.
    endpoint: Option<ConnectOptions>,
    opened: Mutex<ChannelWithPems>,
}

struct ChannelWithPems {
    grpc: grpcio::Client,
    channel: grpcio::Channel,
    pems: PemContents,
    looked: Instant,
}

impl ChannelWithPems {
    fn new(channel: grpcio::Channel, pems: PemContents) -> ChannelWithPems {
        ChannelWithPems { grpc: grpcio::Client::new(channel.clone()), channel, pems, looked: Instant::now() }
    }
}

impl Connection {
    /// Opens a channel, which connects with the first call.
    ///
    /// # Errors
    /// A PEM file cannot be read; the message names it.
    pub(super) fn open(endpoint: &ConnectOptions) -> Result<Connection, String> {
        let pems = PemContents::read(endpoint.tls.as_ref())?;
        let opened = Mutex::new(ChannelWithPems::new(channel(endpoint, &pems), pems));
        Ok(Connection { endpoint: endpoint.tls.is_some().then(|| endpoint.clone()), opened })
    }

    /// This channel and no other.
    #[cfg(test)]
    pub(super) fn fixed(channel: grpcio::Channel) -> Connection {
        let opened = Mutex::new(ChannelWithPems::new(channel, PemContents::default()));
        Connection { endpoint: None, opened }
    }

    pub(super) fn grpc(&self) -> grpcio::Client {
        self.opened.lock().grpc.clone()
    }

    /// Whether a connection stands.
    pub(super) fn is_ready(&self) -> bool {
        self.opened.lock().channel.check_connectivity_state(false) == grpcio::ConnectivityState::GRPC_CHANNEL_READY
    }

    /// A call found no connection: opens the channel anew if the PEM files have changed since it was opened.
    pub(super) fn renew(&self) {
        let Some(endpoint) = &self.endpoint else { return };
        let mut opened = self.opened.lock();
        if opened.looked.elapsed() < RENEWAL {
            return;
        }
        opened.looked = Instant::now();
        match PemContents::read(endpoint.tls.as_ref()) {
            Ok(pems) if pems != opened.pems => {
                log::info!("the TLS files for {} have changed: connecting with the new ones", endpoint.address);
                *opened = ChannelWithPems::new(channel(endpoint, &pems), pems);
            }
            Ok(_) => {}
            // They may be being replaced.
            Err(error) => log::warn!("{}: {error}", endpoint.address),
        }
    }
}

/// A channel for fakes, which is never connected.
#[cfg(test)]
pub(super) fn plain_channel(endpoint: &ConnectOptions) -> grpcio::Channel {
    channel(endpoint, &PemContents::default())
}

fn channel(endpoint: &ConnectOptions, pems: &PemContents) -> grpcio::Channel {
    // One completion thread per connection: tasks share nothing.
    let environment = Arc::new(Environment::new(1));
    let mut builder = ChannelBuilder::new(environment)
        .max_receive_message_len(MAX_MESSAGE_BYTES)
        .max_send_message_len(MAX_MESSAGE_BYTES)
        .initial_reconnect_backoff(Duration::from_millis(200))
        .max_reconnect_backoff(Duration::from_secs(2))
        .use_local_subchannel_pool(true)
        // Detects a server that vanished without closing the connection; Milvus allows pings every 5 s.
        .keepalive_time(Duration::from_secs(20))
        .keepalive_timeout(Duration::from_secs(10))
        .enable_http_proxy(false);
    if let Some(tls) = &endpoint.tls {
        let mut credentials = ChannelCredentialsBuilder::new();
        if let Some(roots) = &pems.roots {
            credentials = credentials.root_cert(roots.clone());
        }
        if let (Some(certificate), Some(key)) = (&pems.certificate, &pems.key) {
            credentials = credentials.cert(certificate.clone(), key.clone());
        }
        if let Some(name) = &tls.server_name {
            builder = builder.override_ssl_target(name.as_str());
        }
        builder = builder.set_credentials(credentials.build());
    }
    builder.connect(&endpoint.address)
}

/// Size limit of a PEM file; the system's list of authorities has a quarter of it.
const MAX_PEM_BYTES: u64 = 1 << 20;

/// Reads a PEM file. API requests may name any path: reading a device or a pipe would block, or never end.
fn read_pem(path: &Path) -> Result<Vec<u8>, String> {
    let cannot = |error: io::Error| format!("cannot read the PEM file {}: {error}", path.display());
    // Checked before opening, because opening a pipe waits for its other end.
    if !fs::metadata(path).map_err(cannot)?.is_file() {
        return Err(format!("{} is no PEM file (it is no regular file)", path.display()));
    }
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(cannot)?;
    // The size is limited while reading: files of /proc report no length.
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
    fn only_files_that_have_changed_open_another_channel() {
        let folder = tempfile::tempdir().unwrap();
        let roots = folder.path().join("ca.pem");
        let write = |text: &str| fs::write(&roots, text).unwrap();
        write("one");
        let tls = TlsOptions { roots: Some(roots.clone()), ..TlsOptions::default() };
        let endpoint = ConnectOptions {
            address: "localhost:1".into(),
            token: String::new(),
            tls: Some(tls),
            connect_timeout: Duration::ZERO,
        };
        let connection = Connection::open(&endpoint).unwrap();
        let renewed = |looked_ago: Duration| {
            connection.opened.lock().looked = Instant::now().checked_sub(looked_ago).unwrap();
            let before = connection.opened.lock().looked;
            connection.renew();
            let opened = connection.opened.lock();
            (opened.looked != before, opened.pems.roots.clone().map(|roots| String::from_utf8(roots).unwrap()))
        };
        let one = Some("one".to_owned());
        assert_eq!(renewed(RENEWAL), (true, one.clone()));
        write("two");
        assert_eq!(renewed(Duration::ZERO), (false, one.clone()), "not for every call");
        fs::remove_file(&roots).unwrap();
        assert_eq!(renewed(RENEWAL), (true, one), "it is being replaced");
        write("two");
        assert_eq!(renewed(RENEWAL), (true, Some("two".to_owned())));
    }

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
