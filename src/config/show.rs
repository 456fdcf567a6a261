/*!
The list of all settings: the values in effect, and their origins.
*/

use std::path::Path;

use super::load::{
    API_TOKEN_VARIABLE, KAFKA_PASSWORD_VARIABLE, PULSAR_TOKEN_VARIABLE, SOURCE_TOKEN_VARIABLE, parse, read_text,
    variable,
};
use super::peers::in_section;
use super::raw::{Leaf, RawBrokerTls, RawConfig, RawKafka, RawMilvus, RawPulsar, RawSource};
use super::{AUTO, Config, ConfigError, SourceConfig};
use crate::domain::LogKind;
use crate::observe::logging::LogFormat;

/// One setting as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Full key, with dots.
    pub key: String,
    /// Value in effect; secrets are masked.
    pub value: String,
    /// Origin of the value: `default`, a file and line, or a variable of the environment.
    pub from: String,
}

const NONE: &str = "-";
const HIDDEN: &str = "(hidden)";

/// Loads the configuration and lists its settings in the order of the documentation.
///
/// # Errors
/// As [`Config::load`].
pub fn settings(
    path: Option<&Path>,
    environment: impl Fn(&str) -> Option<String>,
) -> Result<Vec<Setting>, ConfigError> {
    let config = Config::load(path, &environment)?;
    let raw = match path {
        None => RawConfig::default(),
        Some(path) => parse(path, &read_text(path)?)?,
    };
    let set = |name: &'static str| variable(&environment, name).map(|_| name);
    let mut list = SettingList { path, section: config.source.section.clone(), settings: Vec::new() };
    list.server(&raw, &config);
    list.api(&raw, &config, set(API_TOKEN_VARIABLE));
    let secrets = SourceSecrets {
        token: set(SOURCE_TOKEN_VARIABLE),
        kafka: set(KAFKA_PASSWORD_VARIABLE),
        pulsar: set(PULSAR_TOKEN_VARIABLE),
    };
    list.site(&raw.source_config.unwrap_or_default(), &config.source, secrets);
    let raw_peers = raw.peers.unwrap_or_default();
    for (name, peer) in &config.peers {
        if let Some(raw) = raw_peers.get(name.as_str()) {
            list.section.clone_from(&peer.section);
            list.site(raw, peer, SourceSecrets::default());
        }
    }
    Ok(list.settings)
}

/// The variables of the environment that override secrets of a source, those that are set.
#[derive(Default)]
struct SourceSecrets {
    token: Option<&'static str>,
    kafka: Option<&'static str>,
    pulsar: Option<&'static str>,
}

struct SettingList<'a> {
    path: Option<&'a Path>,
    /// Of the source that is being listed.
    section: String,
    settings: Vec<Setting>,
}

impl SettingList<'_> {
    fn add(&mut self, key: &'static str, leaf: &Leaf, value: impl ToString) {
        let from = leaf.as_ref().map_or_else(|| "default".to_owned(), |leaf| self.place(leaf.referenced.line()));
        let key = in_section(key, &self.section).into_owned();
        self.settings.push(Setting { key, value: value.to_string(), from });
    }

    fn place(&self, line: u64) -> String {
        format!("{}:{line}", self.path.unwrap_or(Path::new("defaults")).display())
    }

    /// A setting without a default.
    fn optional(&mut self, key: &'static str, leaf: &Leaf) {
        let value = leaf.as_ref().map_or(NONE, |leaf| leaf.value.as_str()).to_owned();
        self.add(key, leaf, value);
    }

    /// `variable`: the variable of the environment that overrides the file, if it is set.
    fn secret(&mut self, key: &'static str, leaf: &Leaf, variable: Option<&str>) {
        self.add(key, leaf, if leaf.is_some() || variable.is_some() { HIDDEN } else { NONE });
        if let (Some(variable), Some(setting)) = (variable, self.settings.last_mut()) {
            setting.from = format!("environment {variable}");
        }
    }

    fn server(&mut self, raw: &RawConfig, config: &Config) {
        self.add("address", &raw.address, &config.address);
        self.add("dataDir", &raw.data_dir, config.data_dir.display());
        self.add("maxTaskNum", &raw.max_task_num, config.max_task_num);
        self.add("maxNameLength", &raw.max_name_length, config.max_name_length);
        self.add("logLevel", &raw.log_level, config.log_level.as_str().to_ascii_lowercase());
        let format = match config.log_format {
            LogFormat::Text => "text",
            LogFormat::Json => "json",
        };
        self.add("logFormat", &raw.log_format, format);
    }

    fn api(&mut self, raw: &RawConfig, config: &Config, variable: Option<&str>) {
        let none = super::raw::RawApi::default();
        let api = raw.api.as_ref().unwrap_or(&none);
        self.secret("api.token", &api.token, variable);
        self.optional("api.tokenFile", &api.token_file);
        self.add("api.allowUnauthenticated", &api.allow_unauthenticated, config.api.allow_unauthenticated);
        let hosts = config.api.allowed_hosts.join(", ");
        let first = api.allowed_hosts.as_ref().and_then(|hosts| hosts.first().cloned());
        self.add("api.allowedHosts", &first, if hosts.is_empty() { NONE } else { &hosts });
    }

    /// Everything about a source, or a peer.
    fn site(&mut self, raw: &RawSource, config: &SourceConfig, secrets: SourceSecrets) {
        self.source(raw, config);
        let none = RawMilvus::default();
        let milvus = raw.milvus.as_ref().unwrap_or(&none);
        self.login(milvus, secrets.token);
        self.dial(milvus);
        self.kafka(raw.kafka.as_ref().unwrap_or(&RawKafka::default()), config, secrets.kafka);
        self.pulsar(raw.pulsar.as_ref().unwrap_or(&RawPulsar::default()), config, secrets.pulsar);
    }

    fn source(&mut self, source: &RawSource, config: &SourceConfig) {
        let milvus = source.milvus.as_ref();
        let (uri, timeout) = milvus.map_or((None, None), |m| (m.uri.clone(), m.connect_timeout.clone()));
        let endpoint = &config.endpoint;
        let shown = uri.as_ref().map_or_else(|| format!("http://{}", endpoint.address), |uri| uri.value.clone());
        self.add("sourceConfig.milvus.uri", &uri, shown);
        self.add("sourceConfig.milvus.connectTimeout", &timeout, endpoint.connect_timeout.as_secs());
        let log = config.log.map_or(AUTO, LogKind::name);
        self.add("sourceConfig.log", &source.log, log);
        let folder = source.rocksmq.as_ref().and_then(|rocksmq| rocksmq.path.clone());
        self.optional("sourceConfig.rocksmq.path", &folder);
        let interval = source.scan.as_ref().and_then(|scan| scan.interval.clone());
        self.add("sourceConfig.scan.interval", &interval, config.scan_interval.as_secs());
        let release_after = config.release_after.as_secs();
        self.add("sourceConfig.releaseAfter", &source.release_after, release_after);
        self.add("sourceConfig.channelPrefix", &source.channel_prefix, &config.channel_prefix);
        self.add("sourceConfig.replicateChan", &source.replicate_chan, &config.replicate_channel);
    }

    fn login(&mut self, milvus: &RawMilvus, variable: Option<&str>) {
        self.secret("sourceConfig.milvus.token", &milvus.token, variable);
        self.optional("sourceConfig.milvus.tokenFile", &milvus.token_file);
        self.optional("sourceConfig.milvus.username", &milvus.username);
        self.secret("sourceConfig.milvus.password", &milvus.password, None);
        self.optional("sourceConfig.milvus.passwordFile", &milvus.password_file);
    }

    fn dial(&mut self, milvus: &RawMilvus) {
        let none = super::raw::RawDial::default();
        let dial = milvus.dial_config.as_ref().unwrap_or(&none);
        self.optional("sourceConfig.milvus.dialConfig.serverName", &dial.server_name);
        self.optional("sourceConfig.milvus.dialConfig.serverPemPath", &dial.server_pem_path);
        self.optional("sourceConfig.milvus.dialConfig.caPemPath", &dial.ca_pem_path);
        self.optional("sourceConfig.milvus.dialConfig.clientPemPath", &dial.client_pem_path);
        self.optional("sourceConfig.milvus.dialConfig.clientKeyPath", &dial.client_key_path);
    }

    fn kafka(&mut self, raw: &RawKafka, config: &SourceConfig, variable: Option<&str>) {
        self.optional("sourceConfig.kafka.address", &raw.address);
        let kafka = config.kafka.as_ref();
        let protocol = kafka.map_or(NONE, |kafka| kafka.protocol().name());
        self.add("sourceConfig.kafka.securityProtocol", &raw.security_protocol, protocol);
        let login = kafka.and_then(|kafka| kafka.login.as_ref());
        let mechanism = login.map_or(NONE, |login| login.mechanism.name());
        self.add("sourceConfig.kafka.saslMechanisms", &raw.sasl_mechanisms, mechanism);
        self.optional("sourceConfig.kafka.saslUsername", &raw.sasl_username);
        self.secret("sourceConfig.kafka.saslPassword", &raw.sasl_password, variable);
        self.optional("sourceConfig.kafka.saslPasswordFile", &raw.sasl_password_file);
        let none = RawBrokerTls::default();
        let tls = raw.tls.as_ref().unwrap_or(&none);
        self.optional("sourceConfig.kafka.tls.caPemPath", &tls.ca_pem_path);
        self.optional("sourceConfig.kafka.tls.clientPemPath", &tls.client_pem_path);
        self.optional("sourceConfig.kafka.tls.clientKeyPath", &tls.client_key_path);
        self.secret("sourceConfig.kafka.tls.clientKeyPassword", &tls.client_key_password, None);
        self.optional("sourceConfig.kafka.tls.clientKeyPasswordFile", &tls.client_key_password_file);
        // Values may be secrets.
        let keys: Vec<&str> = raw.properties.iter().flatten().map(|(key, _)| key.as_str()).collect();
        let first = raw.properties.as_ref().and_then(|properties| properties.values().next().cloned());
        let shown = if keys.is_empty() { NONE.to_owned() } else { format!("{} {HIDDEN}", keys.join(", ")) };
        self.add("sourceConfig.kafka.properties", &first, shown);
    }

    fn pulsar(&mut self, raw: &RawPulsar, config: &SourceConfig, variable: Option<&str>) {
        let pulsar = config.pulsar.as_ref();
        self.optional("sourceConfig.pulsar.address", &raw.address);
        self.optional("sourceConfig.pulsar.webAddress", &raw.web_address);
        let size = pulsar.map_or(NONE.to_owned(), |pulsar| pulsar.max_message_size.to_string());
        self.add("sourceConfig.pulsar.maxMessageSize", &raw.max_message_size, size);
        self.add("sourceConfig.pulsar.tenant", &raw.tenant, pulsar.map_or(NONE, |pulsar| &pulsar.tenant));
        self.add("sourceConfig.pulsar.namespace", &raw.namespace, pulsar.map_or(NONE, |pulsar| &pulsar.namespace));
        self.optional("sourceConfig.pulsar.authPlugin", &raw.auth_plugin);
        self.secret("sourceConfig.pulsar.authParams", &raw.auth_params, variable);
        self.optional("sourceConfig.pulsar.authParamsFile", &raw.auth_params_file);
        let none = RawBrokerTls::default();
        let tls = raw.tls.as_ref().unwrap_or(&none);
        self.optional("sourceConfig.pulsar.tls.caPemPath", &tls.ca_pem_path);
        self.optional("sourceConfig.pulsar.tls.clientPemPath", &tls.client_pem_path);
        self.optional("sourceConfig.pulsar.tls.clientKeyPath", &tls.client_key_path);
        self.secret("sourceConfig.pulsar.tls.clientKeyPassword", &tls.client_key_password, None);
        self.optional("sourceConfig.pulsar.tls.clientKeyPasswordFile", &tls.client_key_password_file);
        let subscription = pulsar.map_or(NONE, |pulsar| pulsar.subscription.name());
        self.add("sourceConfig.pulsar.subscription", &raw.subscription, subscription);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn show(text: &str, environment: &[(&str, &str)]) -> Vec<Setting> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cdc.yaml");
        fs::write(&path, text).unwrap();
        let get = |name: &str| environment.iter().find(|(known, _)| *known == name).map(|(_, v)| (*v).to_owned());
        settings(Some(&path), get).unwrap()
    }

    fn one(settings: &[Setting], key: &str) -> (String, String) {
        let setting = settings.iter().find(|setting| setting.key == key).unwrap();
        let from = setting.from.rsplit('/').next().unwrap();
        (setting.value.clone(), from.to_owned())
    }

    #[test]
    fn values_and_their_origins() {
        let text = "maxTaskNum: 7\napi:\n  token: s3cret\n  allowedHosts: [a, b]\n\
                    sourceConfig:\n  milvus: {password: s3cret, username: u}\n";
        let settings = show(text, &[(SOURCE_TOKEN_VARIABLE, "s3cret")]);
        assert_eq!(one(&settings, "maxTaskNum"), ("7".into(), "cdc.yaml:1".into()));
        assert_eq!(one(&settings, "address"), ("127.0.0.1:8444".into(), "default".into()));
        assert_eq!(one(&settings, "api.token"), (HIDDEN.into(), "cdc.yaml:3".into()));
        assert_eq!(one(&settings, "api.allowedHosts"), ("a, b".into(), "cdc.yaml:4".into()));
        let environment = format!("environment {SOURCE_TOKEN_VARIABLE}");
        assert_eq!(one(&settings, "sourceConfig.milvus.token"), (HIDDEN.into(), environment));
        assert_eq!(one(&settings, "sourceConfig.milvus.password").0, HIDDEN);
        assert!(!format!("{settings:?}").contains("s3cret"));
    }

    #[test]
    fn peers_are_shown_with_their_names() {
        let text = "peers:\n  east:\n    milvus: {uri: 'http://b:2', token: s3cret}\n    log: scan\n";
        let settings = show(text, &[(SOURCE_TOKEN_VARIABLE, "s3cret")]);
        assert_eq!(one(&settings, "peers.east.log"), ("scan".into(), "cdc.yaml:4".into()));
        assert_eq!(one(&settings, "peers.east.milvus.token"), (HIDDEN.into(), "cdc.yaml:3".into()));
        assert!(!format!("{settings:?}").contains("s3cret"));
    }

    /// The message about an unknown key lists the keys of its section: all of them must be shown.
    #[test]
    fn every_key_there_is() {
        let shown = settings(None, |_| None).unwrap();
        let sections = [
            "",
            "api",
            "sourceConfig",
            "sourceConfig.milvus",
            "sourceConfig.rocksmq",
            "sourceConfig.scan",
            "sourceConfig.milvus.dialConfig",
            "sourceConfig.kafka",
            "sourceConfig.kafka.tls",
            "sourceConfig.pulsar",
            "sourceConfig.pulsar.tls",
        ];
        for section in sections {
            let parts: Vec<&str> = section.split('.').filter(|part| !part.is_empty()).collect();
            let text = parts.iter().rev().fold("zzzzzzzz: 1".to_owned(), |inner, part| format!("{part}: {{{inner}}}"));
            let text = if parts.is_empty() { text } else { format!("{text}\n") };
            let error = parse(Path::new("x"), &text).unwrap_err().to_string();
            let allowed = error.split("allowed here: ").nth(1).unwrap().trim_end_matches(')');
            for key in allowed.split(", ") {
                let key = [section, key].iter().filter(|part| !part.is_empty()).copied().collect::<Vec<_>>().join(".");
                // Peers have names for keys, and the keys of the source below them.
                let is_section = sections.contains(&key.as_str()) || key == "peers";
                assert!(is_section || shown.iter().any(|setting| setting.key == key), "{key} is not shown");
            }
        }
    }
}
