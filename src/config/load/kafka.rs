/*!
The settings of a source's Kafka.
*/

use std::collections::BTreeMap;

use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaConfRes;
use serde_saphyr::Spanned;

use super::super::raw::{Leaf, RawBrokerTls, RawKafka};
use super::super::{BrokerTls, ConfigError, KafkaConfig, KafkaLogin, SaslMechanism, Secret, SecurityProtocol};
use super::{ConfigReader, plain};

const ADDRESS: &str = "sourceConfig.kafka.address";
const PROTOCOL: &str = "sourceConfig.kafka.securityProtocol";

/// Settings of librdkafka that have a key of our own, with that key.
const OWN_KEYS: [(&str, &str); 11] = [
    ("bootstrap.servers", "address"),
    ("metadata.broker.list", "address"),
    ("security.protocol", "securityProtocol"),
    ("sasl.mechanisms", "saslMechanisms"),
    ("sasl.mechanism", "saslMechanisms"),
    ("sasl.username", "saslUsername"),
    ("sasl.password", "saslPassword"),
    ("ssl.ca.location", "tls.caPemPath"),
    ("ssl.certificate.location", "tls.clientPemPath"),
    ("ssl.key.location", "tls.clientKeyPath"),
    ("ssl.key.password", "tls.clientKeyPassword"),
];

/// Settings of librdkafka that a lossless read depends on.
const FIXED: [&str; 8] = [
    "allow.auto.create.topics",
    "auto.commit.enable",
    "auto.offset.reset",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.partition.eof",
    "isolation.level",
    "log.queue",
];

impl ConfigReader<'_> {
    /// `None` without an address; then any other key is an error, as it would have no effect.
    pub(super) fn kafka(&self, raw: &RawKafka) -> Result<Option<KafkaConfig>, ConfigError> {
        if raw.address.is_none() {
            return match given_without_address(raw) {
                Some((key, leaf)) => Err(self.wrong(key, &leaf, format!("it has no effect without {ADDRESS}"))),
                None => Ok(None),
            };
        }
        let login = self.kafka_login(raw)?;
        let protocol = self.security_protocol(raw, login.as_ref())?;
        let tls = self.kafka_tls(raw.tls.as_ref(), protocol)?;
        Ok(Some(KafkaConfig {
            address: self.brokers(&raw.address)?,
            login,
            tls,
            properties: self.properties(raw.properties.as_ref())?,
        }))
    }

    fn brokers(&self, leaf: &Leaf) -> Result<String, ConfigError> {
        let text = self.text(ADDRESS, leaf, "")?;
        let brokers: Vec<&str> = text.split(',').map(str::trim).collect();
        let is_broker = |broker: &&str| {
            let port = broker.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port);
            !broker.contains(['/', '@']) && port.is_some_and(|port| port.parse::<u16>().is_ok_and(|port| port > 0))
        };
        match brokers.iter().all(is_broker) {
            true => Ok(brokers.join(",")),
            // Without the text, which may contain a password.
            false => Err(self.wrong(ADDRESS, leaf, "brokers look like host:9092, with commas between them".to_owned())),
        }
    }

    fn kafka_login(&self, raw: &RawKafka) -> Result<Option<KafkaLogin>, ConfigError> {
        let username = plain(&raw.sasl_username);
        let password = match &self.kafka_password {
            Some(password) => password.clone(),
            None => self.secret("sourceConfig.kafka.saslPasswordFile", &raw.sasl_password_file, &raw.sasl_password)?,
        };
        let mechanism = self.mechanism(&raw.sasl_mechanisms)?;
        match (username.is_empty(), password.is_empty()) {
            (true, true) => match &raw.sasl_mechanisms {
                None => Ok(None),
                leaf => {
                    let message = "it has no effect without saslUsername and saslPassword".to_owned();
                    Err(self.wrong("sourceConfig.kafka.saslMechanisms", leaf, message))
                }
            },
            (false, false) => Ok(Some(KafkaLogin { mechanism, username, password: Secret::new(password) })),
            (no_username, _) => {
                let (key, leaf) = match no_username {
                    true => ("sourceConfig.kafka.saslPassword", &raw.sasl_password),
                    false => ("sourceConfig.kafka.saslUsername", &raw.sasl_username),
                };
                let message = "saslUsername and saslPassword go together, one of them is missing".to_owned();
                Err(self.wrong(key, leaf, message))
            }
        }
    }

    fn mechanism(&self, leaf: &Leaf) -> Result<SaslMechanism, ConfigError> {
        const KEY: &str = "sourceConfig.kafka.saslMechanisms";
        let text = self.text(KEY, leaf, SaslMechanism::Plain.name())?;
        SaslMechanism::ALL
            .into_iter()
            .find(|one| one.name() == text)
            .ok_or_else(|| self.not_one_of(KEY, leaf, &text, &SaslMechanism::ALL.map(SaslMechanism::name)))
    }

    /// As in Milvus, a login implies `SASL_SSL` by default.
    fn security_protocol(&self, raw: &RawKafka, login: Option<&KafkaLogin>) -> Result<SecurityProtocol, ConfigError> {
        let login = login.is_some();
        let default = SecurityProtocol::of(login, login || raw.tls.is_some());
        let leaf = &raw.security_protocol;
        let text = self.text(PROTOCOL, leaf, default.name())?;
        let protocol = SecurityProtocol::ALL.into_iter().find(|one| one.name() == text).ok_or_else(|| {
            self.not_one_of(PROTOCOL, leaf, &text, &SecurityProtocol::ALL.map(SecurityProtocol::name))
        })?;
        if protocol.has_login() != login {
            let message = match login {
                true => format!("{text} has no login, but saslUsername is given"),
                false => format!("{text} needs saslUsername and saslPassword"),
            };
            return Err(self.wrong(PROTOCOL, leaf, message));
        }
        if raw.tls.is_some() && !protocol.has_tls() {
            return Err(self.wrong(PROTOCOL, leaf, format!("{text} is not encrypted, but tls is given")));
        }
        Ok(protocol)
    }

    fn kafka_tls(
        &self,
        raw: Option<&RawBrokerTls>,
        protocol: SecurityProtocol,
    ) -> Result<Option<BrokerTls>, ConfigError> {
        if !protocol.has_tls() {
            return Ok(None);
        }
        let Some(raw) = raw else { return Ok(Some(BrokerTls::default())) };
        self.broker_tls("sourceConfig.kafka.tls", raw).map(Some)
    }

    /// librdkafka itself validates names and values.
    fn properties(
        &self,
        raw: Option<&BTreeMap<String, Spanned<String>>>,
    ) -> Result<BTreeMap<String, Secret>, ConfigError> {
        let mut properties = BTreeMap::new();
        for (key, value) in raw.into_iter().flatten() {
            if let Some(message) = refusal(key, &value.value) {
                let full = format!("sourceConfig.kafka.properties.{key}");
                return Err(self.wrong(&full, &Some(value.clone()), message));
            }
            properties.insert(key.clone(), Secret::new(value.value.as_str()));
        }
        Ok(properties)
    }
}

fn given_without_address(raw: &RawKafka) -> Option<(&'static str, Leaf)> {
    let leaves = [
        (PROTOCOL, &raw.security_protocol),
        ("sourceConfig.kafka.saslMechanisms", &raw.sasl_mechanisms),
        ("sourceConfig.kafka.saslUsername", &raw.sasl_username),
        ("sourceConfig.kafka.saslPassword", &raw.sasl_password),
        ("sourceConfig.kafka.saslPasswordFile", &raw.sasl_password_file),
    ];
    let tls = || Some(("sourceConfig.kafka.tls", raw.tls.as_ref()?.given()));
    let first = leaves.into_iter().find(|(_, leaf)| leaf.is_some()).or_else(tls);
    let property = || Some(("sourceConfig.kafka.properties", Some(raw.properties.as_ref()?.values().next()?.clone())));
    first.map(|(key, leaf)| (key, leaf.clone())).or_else(property)
}

/// Why a setting of librdkafka is not accepted. Without its value, which may be a secret.
fn refusal(key: &str, value: &str) -> Option<String> {
    if let Some((_, own)) = OWN_KEYS.iter().find(|(name, _)| *name == key) {
        return Some(format!("set sourceConfig.kafka.{own} instead"));
    }
    if FIXED.contains(&key) {
        return Some("milvus-cdc sets it itself, because reading without loss depends on it".to_owned());
    }
    match ClientConfig::new().set(key, value).create_native_config() {
        Err(KafkaError::ClientConfig(RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN, ..)) => {
            Some("librdkafka has no such setting".to_owned())
        }
        Err(_) => Some("librdkafka does not take this value".to_owned()),
        Ok(_) => None,
    }
}
