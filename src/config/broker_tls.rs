//! TLS of the connections to a source's brokers, of Kafka and of Pulsar.

use std::path::PathBuf;

use super::Secret;

/// The files for TLS connections.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BrokerTls {
    /// PEM file of the authority that signed the brokers' certificates; `None` for those that the system trusts.
    pub ca: Option<PathBuf>,
    /// Our certificate, for brokers that require one.
    pub identity: Option<BrokerIdentity>,
    /// Password of the key, if it is encrypted.
    pub key_password: Secret,
}

/// A client certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerIdentity {
    /// PEM file of the certificate.
    pub certificate: PathBuf,
    /// PEM file of its private key.
    pub key: PathBuf,
}
