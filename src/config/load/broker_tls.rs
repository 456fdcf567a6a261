/*!
The TLS files for a source's brokers.
*/

use std::path::PathBuf;

use super::super::raw::{Leaf, RawBrokerTls};
use super::super::{BrokerIdentity, BrokerTls, ConfigError, Secret};
use super::ConfigReader;

impl ConfigReader<'_> {
    /// `section` is the full key of the section, for messages.
    pub(super) fn broker_tls(&self, section: &str, raw: &RawBrokerTls) -> Result<BrokerTls, ConfigError> {
        let path = |key: &str, leaf: &Leaf| -> Result<Option<PathBuf>, ConfigError> {
            match leaf {
                None => Ok(None),
                given => Ok(Some(PathBuf::from(self.text(&format!("{section}.{key}"), given, "")?))),
            }
        };
        let (certificate, key) =
            (path("clientPemPath", &raw.client_pem_path)?, path("clientKeyPath", &raw.client_key_path)?);
        let identity = match (certificate, key) {
            (Some(certificate), Some(key)) => Some(BrokerIdentity { certificate, key }),
            (None, None) => None,
            (certificate, _) => {
                let leaf = if certificate.is_some() { &raw.client_pem_path } else { &raw.client_key_path };
                let message = "clientPemPath and clientKeyPath go together, one of them is missing".to_owned();
                return Err(self.wrong(section, leaf, message));
            }
        };
        let (file, inline) = (&raw.client_key_password_file, &raw.client_key_password);
        let key_password = Secret::new(self.secret(&format!("{section}.clientKeyPasswordFile"), file, inline)?);
        Ok(BrokerTls { ca: path("caPemPath", &raw.ca_pem_path)?, identity, key_password })
    }
}
