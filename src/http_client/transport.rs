/*!
A TLS transport for `ureq` on OpenSSL.

ureq's own feature `native-tls` would use the same OpenSSL, but adds seven crates, searches the system's authorities
by rules of its own, and cannot open a key with a password. With this adapter all TLS connections share one setup
([`super::tls`]).
*/

use std::fmt;
use std::io::Write as _;

use openssl::ssl::{HandshakeError, SslConnector, SslOptions, SslStream};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout, Transport, TransportAdapter,
};

use super::tls::{self, TlsError};
use crate::config::BrokerTls;

/// Wraps connections to `https` URLs in TLS.
#[derive(Debug)]
pub(super) struct TlsConnector(Option<SslConnector>);

impl TlsConnector {
    /// Encrypts with these files.
    pub(super) fn new(files: &BrokerTls) -> Result<TlsConnector, ureq::Error> {
        let mut builder = tls::connector(files).map_err(|why| other(TlsError::Setup(why)))?;
        // Many servers close without a close_notify. A truncated body is still detected: by its announced length, or
        // because it is no valid JSON.
        builder.set_options(SslOptions::IGNORE_UNEXPECTED_EOF);
        Ok(TlsConnector(Some(builder.build())))
    }

    /// Passes plain-text connections through.
    pub(super) fn none() -> TlsConnector {
        TlsConnector(None)
    }
}

fn other(error: TlsError) -> ureq::Error {
    ureq::Error::Other(Box::new(error))
}

impl<In: Transport> Connector<In> for TlsConnector {
    type Out = Either<In, TlsTransport<In>>;

    fn connect(&self, details: &ConnectionDetails<'_>, below: Option<In>) -> Result<Option<Self::Out>, ureq::Error> {
        let Some(below) = below else { return Ok(None) };
        let connector = match &self.0 {
            Some(connector) => connector,
            None if details.needs_tls() => return Err(ureq::Error::TlsRequired),
            None => return Ok(Some(Either::A(below))),
        };
        let host = details.uri.host().unwrap_or_default().trim_matches(['[', ']']);
        let mut adapter = TransportAdapter::new(below, details.current_time.clone());
        adapter.set_timeout(details.timeout);
        let stream = connector.connect(host, adapter).map_err(handshake_failed)?;
        let buffers = LazyBuffers::new(details.config.input_buffer_size(), details.config.output_buffer_size());
        Ok(Some(Either::B(TlsTransport { stream, buffers })))
    }
}

/// Unwraps a failure of the transport below TLS, such as a timeout.
fn handshake_failed<S>(error: HandshakeError<S>) -> ureq::Error {
    let explained = tls::explain(&error);
    match (error, explained) {
        (HandshakeError::Failure(stream), TlsError::Handshake(why)) => match stream.into_error().into_io_error() {
            Ok(below) => below.into(),
            Err(_) => other(TlsError::Handshake(why)),
        },
        (_, explained) => other(explained),
    }
}

/// An encrypted connection.
pub(super) struct TlsTransport<In: Transport> {
    stream: SslStream<TransportAdapter<In>>,
    buffers: LazyBuffers,
}

impl<In: Transport> fmt::Debug for TlsTransport<In> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsTransport").finish_non_exhaustive()
    }
}

impl<In: Transport> Transport for TlsTransport<In> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        self.stream.get_mut().set_timeout(timeout);
        Ok(self.stream.write_all(&self.buffers.output()[..amount])?)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        use std::io::Read as _;
        self.stream.get_mut().set_timeout(timeout);
        let read = self.stream.read(self.buffers.input_append_buf())?;
        self.buffers.input_appended(read);
        Ok(read > 0)
    }

    fn is_open(&mut self) -> bool {
        self.stream.get_mut().get_mut().is_open()
    }

    fn is_tls(&self) -> bool {
        true
    }
}
