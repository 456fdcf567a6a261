//! Encryption of the connections to a source's brokers, whatever they are.

use std::path::PathBuf;

use super::Secret;

/// The files of encrypted connections.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BrokerTls {
    /// PEM file of the authority that signed the brokers' certificates; `None`: those that the system trusts.
    pub ca: Option<PathBuf>,
    /// PEM files of our certificate and its key, where brokers ask for one.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// Opens the key, where it is encrypted.
    pub key_password: Secret,
}
