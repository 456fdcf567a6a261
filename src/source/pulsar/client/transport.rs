//! The bytes of a connection: TCP, and TLS over it.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use openssl::ssl::SslStream;

use super::error::PulsarError;
use crate::config::{Address, BrokerTls};
use crate::http_client::tls;

/// How long connecting may take, and sending a command.
const CONNECT: Duration = Duration::from_secs(5);
/// How long a read waits. A longer wait consists of several, so that the waiting thread can do other things in between.
pub(super) const TURN: Duration = Duration::from_millis(100);

/// A connection to a broker.
pub(super) enum Stream {
    /// In plain text.
    Plain(TcpStream),
    /// Encrypted.
    Tls(Box<SslStream<TcpStream>>),
}

impl Stream {
    /// Connects.
    ///
    /// # Errors
    /// Nobody answers there, or the TLS handshake fails (`tls: None`: plain text).
    pub(super) fn connect(address: &Address, tls: Option<&BrokerTls>) -> Result<Stream, PulsarError> {
        let unreachable =
            |error: io::Error| PulsarError::Unreachable { address: address.to_string(), source: error.into() };
        let socket = open(address).map_err(unreachable)?;
        let Some(files) = tls else {
            socket.set_read_timeout(Some(TURN)).map_err(unreachable)?;
            return Ok(Stream::Plain(socket));
        };
        let fail = |detail: String| PulsarError::Tls { address: address.to_string(), detail };
        let connector = tls::connector(files).map_err(fail)?.build();
        let stream =
            connector.connect(&address.host, socket).map_err(|error| fail(tls::explain(&error).to_string()))?;
        stream.get_ref().set_read_timeout(Some(TURN)).map_err(unreachable)?;
        Ok(Stream::Tls(Box::new(stream)))
    }

    /// Whether bytes can be read that have left the socket already: decrypted, but not read.
    pub(super) fn is_ahead(&self) -> bool {
        match self {
            Stream::Plain(_) => false,
            Stream::Tls(stream) => stream.ssl().pending() > 0,
        }
    }

    /// Another handle of the socket, to wait on and to shut it down.
    pub(super) fn socket(&self) -> io::Result<TcpStream> {
        match self {
            Stream::Plain(socket) => socket.try_clone(),
            Stream::Tls(stream) => stream.get_ref().try_clone(),
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(socket) => socket.read(buffer),
            Stream::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(socket) => socket.write(bytes),
            Stream::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Stream::Plain(socket) => socket.flush(),
            Stream::Tls(stream) => stream.flush(),
        }
    }
}

/// Whether nothing has come within a turn.
pub(super) fn is_nothing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}

fn open(address: &Address) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host name has no address");
    for ip in (address.host.as_str(), address.port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&ip, CONNECT) {
            Ok(socket) => {
                socket.set_nodelay(true)?;
                // For the handshake only; later reads wait one turn.
                socket.set_read_timeout(Some(CONNECT))?;
                socket.set_write_timeout(Some(CONNECT))?;
                return Ok(socket);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use super::super::fake::Fake;
    use super::*;
    use crate::config::system_authorities;
    use crate::http_client::identity::Identity;

    #[test]
    fn only_the_authority_that_is_named_is_trusted() {
        let (trusted, other, folder) = (Identity::new(), Identity::new(), tempfile::tempdir().unwrap());
        let files = BrokerTls { ca: Some(trusted.save(folder.path())), ..BrokerTls::default() };
        let connector = tls::connector(&files).unwrap().build();
        let all = connector.context().cert_store().all_certificates();
        let all: Vec<Vec<u8>> = all.iter().map(|certificate| certificate.to_der().unwrap()).collect();
        assert!(all == [trusted.certificate.to_der().unwrap()], "{} are trusted", all.len());
        let [ours, theirs] = [&trusted, &other].map(|identity| Fake::start_tls(identity, |_, _| None));
        assert!(Stream::connect(&ours.address, Some(&files)).is_ok());
        let error = Stream::connect(&theirs.address, Some(&files)).err().unwrap().to_string();
        assert!(error.contains("certificate is refused"), "{error}");
    }

    #[test]
    fn without_one_those_of_the_system_are() {
        let Some(bundle) = system_authorities() else { return };
        let is_any = |pem: &[u8]| openssl::x509::X509::stack_from_pem(pem).unwrap().len();
        let known = is_any(&std::fs::read(bundle).unwrap());
        let connector = tls::connector(&BrokerTls::default()).unwrap().build();
        assert!(known > 0 && connector.context().cert_store().all_certificates().len() >= known);
    }
}
