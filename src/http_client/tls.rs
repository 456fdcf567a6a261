/*!
TLS settings of all our own client connections, on the OpenSSL that gRPC and librdkafka are linked with.
*/

use std::path::Path;

use openssl::pkey::PKey;
use openssl::ssl::{HandshakeError, SslConnector, SslConnectorBuilder, SslMethod};
use openssl::x509::X509VerifyResult;
use openssl::x509::store::X509StoreBuilder;

use crate::config::{BrokerIdentity, BrokerTls, system_authorities};

/// Why a TLS connection was not established.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    /// A certificate or key file cannot be used.
    #[error("{0}")]
    Setup(String),
    /// The server's certificate was not accepted.
    #[error("the server's certificate is refused: {}", .0.error_string())]
    Refused(X509VerifyResult),
    /// The handshake failed for another reason.
    #[error("TLS: {0}")]
    Handshake(String),
}

impl TlsError {
    /// Whether the certificate was signed by no trusted authority.
    pub(crate) fn is_unknown_authority(&self) -> bool {
        // OpenSSL's codes: a self-signed certificate, alone (18) or in a chain (19), or a missing issuer (2, 20, 21).
        matches!(self, TlsError::Refused(result) if matches!(result.as_raw(), 2 | 18..=21))
    }
}

/// Connects with these files: trusted authorities, our certificate and its key.
///
/// # Errors
/// A file cannot be read or parsed; the text names it.
pub(crate) fn connector(files: &BrokerTls) -> Result<SslConnectorBuilder, String> {
    let told = |path: &Path, error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let mut builder = SslConnector::builder(SslMethod::tls_client()).map_err(|error| error.to_string())?;
    if files.ca.is_some() {
        // The builder has those of the system already, and only these are to be trusted.
        builder.set_cert_store(X509StoreBuilder::new().map_err(|error| error.to_string())?.build());
    }
    if let Some(ca) = files.ca.clone().or_else(system_authorities) {
        builder.set_ca_file(&ca).map_err(|error| told(&ca, &error))?;
    }
    if let Some(BrokerIdentity { certificate, key }) = &files.identity {
        builder.set_certificate_chain_file(certificate).map_err(|error| told(certificate, &error))?;
        let pem = std::fs::read(key).map_err(|error| told(key, &error))?;
        let parsed = match files.key_password.expose() {
            "" => PKey::private_key_from_pem(&pem),
            password => PKey::private_key_from_pem_passphrase(&pem, password.as_bytes()),
        };
        let parsed = parsed.map_err(|error| told(key, &error))?;
        builder.set_private_key(&parsed).map_err(|error| told(key, &error))?;
    }
    Ok(builder)
}

/// The reason of a failed handshake.
pub(crate) fn explain<S>(error: &HandshakeError<S>) -> TlsError {
    match error {
        HandshakeError::Failure(stream) => match stream.ssl().verify_result() {
            X509VerifyResult::OK => TlsError::Handshake(stream.error().to_string()),
            refused => TlsError::Refused(refused),
        },
        HandshakeError::WouldBlock(_) => TlsError::Handshake("no answer to the handshake".to_owned()),
        HandshakeError::SetupFailure(errors) => TlsError::Handshake(errors.to_string()),
    }
}
