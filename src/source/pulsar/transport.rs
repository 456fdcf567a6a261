//! The bytes of a connection: TCP, and TLS over it.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use openssl::pkey::PKey;
use openssl::ssl::{HandshakeError, SslConnector, SslMethod, SslStream};
use openssl::x509::store::X509StoreBuilder;

use super::error::PulsarError;
use crate::config::{Address, BrokerTls, system_authorities};

/// How long connecting may take, and sending a command.
const CONNECT: Duration = Duration::from_secs(5);
/// How long a read waits at a time. Longer ones are made of several, so that whoever waits can look after other things.
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
    /// Nobody answers there, or not as `tls` wants it (`None`: in plain text).
    pub(super) fn connect(address: &Address, tls: Option<&BrokerTls>) -> Result<Stream, PulsarError> {
        let unreachable =
            |error: io::Error| PulsarError::Unreachable { address: address.to_string(), detail: error.to_string() };
        let socket = open(address).map_err(unreachable)?;
        let Some(files) = tls else {
            socket.set_read_timeout(Some(TURN)).map_err(unreachable)?;
            return Ok(Stream::Plain(socket));
        };
        let fail = |detail: String| PulsarError::Tls { address: address.to_string(), detail };
        let connector = connector(files).map_err(fail)?;
        let stream = connector.connect(&address.host, socket).map_err(|error| fail(explain(&error)))?;
        stream.get_ref().set_read_timeout(Some(TURN)).map_err(unreachable)?;
        Ok(Stream::Tls(Box::new(stream)))
    }

    /// Whether bytes can be read that are not at the socket any more: the rest of what has been decrypted.
    pub(super) fn is_ahead(&self) -> bool {
        match self {
            Stream::Plain(_) => false,
            Stream::Tls(stream) => stream.ssl().pending() > 0,
        }
    }

    /// Another handle of the socket below, to wait on and to shut it down.
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

/// Nothing has come within a turn.
pub(super) fn is_nothing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}

fn open(address: &Address) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for ip in (address.host.as_str(), address.port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&ip, CONNECT) {
            Ok(socket) => {
                socket.set_nodelay(true)?;
                // For the handshake; afterwards reads wait a turn at a time.
                socket.set_read_timeout(Some(CONNECT))?;
                socket.set_write_timeout(Some(CONNECT))?;
                return Ok(socket);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn connector(files: &BrokerTls) -> Result<SslConnector, String> {
    let told = |path: &std::path::Path, error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let mut builder = SslConnector::builder(SslMethod::tls_client()).map_err(|error| error.to_string())?;
    if files.ca.is_some() {
        // The builder has those of the system already, and only these are to be trusted.
        builder.set_cert_store(X509StoreBuilder::new().map_err(|error| error.to_string())?.build());
    }
    if let Some(ca) = files.ca.clone().or_else(system_authorities) {
        builder.set_ca_file(&ca).map_err(|error| told(&ca, &error))?;
    }
    if let Some((certificate, key)) = &files.identity {
        builder.set_certificate_chain_file(certificate).map_err(|error| told(certificate, &error))?;
        let pem = std::fs::read(key).map_err(|error| told(key, &error))?;
        let parsed = match files.key_password.expose() {
            "" => PKey::private_key_from_pem(&pem),
            password => PKey::private_key_from_pem_passphrase(&pem, password.as_bytes()),
        };
        let parsed = parsed.map_err(|error| told(key, &error))?;
        builder.set_private_key(&parsed).map_err(|error| told(key, &error))?;
    }
    Ok(builder.build())
}

fn explain(error: &HandshakeError<TcpStream>) -> String {
    match error {
        HandshakeError::Failure(stream) => {
            let verified = stream.ssl().verify_result();
            match verified == openssl::x509::X509VerifyResult::OK {
                true => stream.error().to_string(),
                false => format!("the broker's certificate is refused: {}", verified.error_string()),
            }
        }
        HandshakeError::WouldBlock(_) => "no answer to the handshake".to_owned(),
        HandshakeError::SetupFailure(errors) => errors.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::fake::{Fake, Identity};
    use super::*;

    #[test]
    fn only_the_authority_that_is_named_is_trusted() {
        let (trusted, other, folder) = (Identity::new(), Identity::new(), tempfile::tempdir().unwrap());
        let files = BrokerTls { ca: Some(trusted.save(folder.path())), ..BrokerTls::default() };
        let connector = connector(&files).unwrap();
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
        let connector = connector(&BrokerTls::default()).unwrap();
        assert!(known > 0 && connector.context().cert_store().all_certificates().len() >= known);
    }
}
