//! How to reach the brokers of a source's Kafka.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::{BrokerTls, Secret, system_authorities};

/// The brokers and how to talk to them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KafkaConfig {
    /// Some of the brokers, `host:port` with commas between them; they tell of the others.
    pub address: String,
    /// Who we are, where the brokers ask.
    pub login: Option<KafkaLogin>,
    /// How the connection is encrypted; `None`: not at all.
    pub tls: Option<BrokerTls>,
    /// Any other setting of librdkafka, by its own name. Among them may be secrets.
    pub properties: BTreeMap<String, Secret>,
}

/// A login by SASL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KafkaLogin {
    /// How the password is proved.
    pub mechanism: SaslMechanism,
    /// Who.
    pub username: String,
    /// With what.
    pub password: Secret,
}

/// How a password is proved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SaslMechanism {
    /// By sending it.
    Plain,
    /// By a challenge, with SHA-256.
    ScramSha256,
    /// By a challenge, with SHA-512.
    ScramSha512,
}

impl SaslMechanism {
    /// Every mechanism there is.
    pub const ALL: [SaslMechanism; 3] = [SaslMechanism::Plain, SaslMechanism::ScramSha256, SaslMechanism::ScramSha512];

    /// Kafka's name of it.
    pub fn name(self) -> &'static str {
        match self {
            SaslMechanism::Plain => "PLAIN",
            SaslMechanism::ScramSha256 => "SCRAM-SHA-256",
            SaslMechanism::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}

/// What a connection consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecurityProtocol {
    /// Neither login nor encryption.
    Plaintext,
    /// Encryption.
    Ssl,
    /// A login.
    SaslPlaintext,
    /// Both.
    SaslSsl,
}

impl SecurityProtocol {
    /// Every protocol there is.
    pub const ALL: [SecurityProtocol; 4] = [
        SecurityProtocol::Plaintext,
        SecurityProtocol::Ssl,
        SecurityProtocol::SaslPlaintext,
        SecurityProtocol::SaslSsl,
    ];

    /// Kafka's name of it.
    pub fn name(self) -> &'static str {
        match self {
            SecurityProtocol::Plaintext => "PLAINTEXT",
            SecurityProtocol::Ssl => "SSL",
            SecurityProtocol::SaslPlaintext => "SASL_PLAINTEXT",
            SecurityProtocol::SaslSsl => "SASL_SSL",
        }
    }

    /// With or without either.
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

    /// Whether it is encrypted.
    pub fn has_tls(self) -> bool {
        matches!(self, SecurityProtocol::Ssl | SecurityProtocol::SaslSsl)
    }
}

impl KafkaConfig {
    /// What the connection consists of.
    pub fn protocol(&self) -> SecurityProtocol {
        SecurityProtocol::of(self.login.is_some(), self.tls.is_some())
    }

    /// The settings of librdkafka that follow from this, the user's own last.
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
            if let Some((certificate, key)) = &tls.identity {
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

    /// Whose certificates are trusted, where the user has not said it in librdkafka's own way.
    fn authorities(&self, tls: &BrokerTls) -> Option<PathBuf> {
        let is_told = ["ssl.ca.location", "ssl.ca.pem"].iter().any(|key| self.properties.contains_key(*key));
        tls.ca.clone().or_else(|| if is_told { None } else { system_authorities() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_certificates_are_trusted() {
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
