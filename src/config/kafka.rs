//! The connection to a source's Kafka brokers.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::{BrokerIdentity, BrokerTls, Secret, system_authorities};

/// The Kafka brokers and their connection settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KafkaConfig {
    /// Some of the brokers, `host:port` separated by commas; they name the others.
    pub address: String,
    /// Login, if the brokers require one.
    pub login: Option<KafkaLogin>,
    /// TLS; `None` for plain connections.
    pub tls: Option<BrokerTls>,
    /// Other settings of librdkafka by their own names. Values may be secrets.
    pub properties: BTreeMap<String, Secret>,
}

/// A SASL login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KafkaLogin {
    /// SASL mechanism.
    pub mechanism: SaslMechanism,
    /// User name.
    pub username: String,
    /// Password.
    pub password: Secret,
}

/// A SASL mechanism.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SaslMechanism {
    /// PLAIN: sends the password.
    Plain,
    /// SCRAM with SHA-256.
    ScramSha256,
    /// SCRAM with SHA-512.
    ScramSha512,
}

impl SaslMechanism {
    /// All mechanisms.
    pub const ALL: [SaslMechanism; 3] = [SaslMechanism::Plain, SaslMechanism::ScramSha256, SaslMechanism::ScramSha512];

    /// Kafka's name.
    pub fn name(self) -> &'static str {
        match self {
            SaslMechanism::Plain => "PLAIN",
            SaslMechanism::ScramSha256 => "SCRAM-SHA-256",
            SaslMechanism::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}

/// Kafka's combination of login and encryption.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecurityProtocol {
    /// No login, no TLS.
    Plaintext,
    /// TLS without a login.
    Ssl,
    /// A login without TLS.
    SaslPlaintext,
    /// A login over TLS.
    SaslSsl,
}

impl SecurityProtocol {
    /// All protocols.
    pub const ALL: [SecurityProtocol; 4] = [
        SecurityProtocol::Plaintext,
        SecurityProtocol::Ssl,
        SecurityProtocol::SaslPlaintext,
        SecurityProtocol::SaslSsl,
    ];

    /// Kafka's name.
    pub fn name(self) -> &'static str {
        match self {
            SecurityProtocol::Plaintext => "PLAINTEXT",
            SecurityProtocol::Ssl => "SSL",
            SecurityProtocol::SaslPlaintext => "SASL_PLAINTEXT",
            SecurityProtocol::SaslSsl => "SASL_SSL",
        }
    }

    /// The protocol with or without a login and TLS.
    pub fn of(login: bool, tls: bool) -> SecurityProtocol {
        match (login, tls) {
            (false, false) => SecurityProtocol::Plaintext,
            (false, true) => SecurityProtocol::Ssl,
            (true, false) => SecurityProtocol::SaslPlaintext,
            (true, true) => SecurityProtocol::SaslSsl,
        }
    }

    /// Whether there is a login.
    pub fn has_login(self) -> bool {
        matches!(self, SecurityProtocol::SaslPlaintext | SecurityProtocol::SaslSsl)
    }

    /// Whether there is TLS.
    pub fn has_tls(self) -> bool {
        matches!(self, SecurityProtocol::Ssl | SecurityProtocol::SaslSsl)
    }
}

impl KafkaConfig {
    /// The protocol that login and TLS amount to.
    pub fn protocol(&self) -> SecurityProtocol {
        SecurityProtocol::of(self.login.is_some(), self.tls.is_some())
    }

    /// The resulting settings of librdkafka, the user's own last.
    pub fn client_settings(&self) -> Vec<(String, Secret)> {
        let mut settings = vec![("security.protocol", Secret::new(self.protocol().name()))];
        if let Some(login) = &self.login {
            settings.push(("sasl.mechanisms", Secret::new(login.mechanism.name())));
            settings.push(("sasl.username", Secret::new(login.username.as_str())));
            settings.push(("sasl.password", login.password.clone()));
        }
        let path = |path: &PathBuf| Secret::new(path.to_string_lossy());
        if let Some(tls) = &self.tls {
            if let Some(ca) = self.authorities(tls) {
                settings.push(("ssl.ca.location", path(&ca)));
            }
            if let Some(BrokerIdentity { certificate, key }) = &tls.identity {
                settings.push(("ssl.certificate.location", path(certificate)));
                settings.push(("ssl.key.location", path(key)));
            }
            if !tls.key_password.is_empty() {
                settings.push(("ssl.key.password", tls.key_password.clone()));
            }
        }
        let own = settings.into_iter().map(|(key, value)| (key.to_owned(), value));
        own.chain(self.properties.iter().map(|(key, value)| (key.clone(), value.clone()))).collect()
    }

    /// The trusted authorities, unless a property of librdkafka names them.
    fn authorities(&self, tls: &BrokerTls) -> Option<PathBuf> {
        let is_set = ["ssl.ca.location", "ssl.ca.pem"].iter().any(|key| self.properties.contains_key(*key));
        tls.ca.clone().or_else(|| if is_set { None } else { system_authorities() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trusted_authorities() {
        let trusted = |ca: Option<&str>, property: Option<&str>| {
            let config = KafkaConfig {
                address: "b:9093".into(),
                login: None,
                tls: Some(BrokerTls { ca: ca.map(PathBuf::from), ..BrokerTls::default() }),
                properties: property.map(|key| (key.to_owned(), Secret::new("theirs"))).into_iter().collect(),
            };
            let settings = config.client_settings();
            let last = settings.iter().rfind(|(key, _)| key == "ssl.ca.location");
            last.map(|(_, value)| PathBuf::from(value.expose()))
        };
        assert_eq!(trusted(Some("/mine.pem"), None), Some("/mine.pem".into()));
        assert_eq!(trusted(None, None), system_authorities());
        assert_eq!(trusted(None, Some("ssl.ca.pem")), None, "only theirs");
        assert_eq!(trusted(None, Some("ssl.ca.location")), Some("theirs".into()));
    }
}
