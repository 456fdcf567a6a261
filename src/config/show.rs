/*!
The settings one by one: what the server runs with, and where that came from.
*/

use std::path::Path;

use super::load::{
    API_TOKEN_VARIABLE, KAFKA_PASSWORD_VARIABLE, PULSAR_TOKEN_VARIABLE, SOURCE_TOKEN_VARIABLE, parse, read_text,
    variable,
};
use super::raw::{Leaf, RawBrokerTls, RawConfig, RawKafka, RawMilvus, RawPulsar};
use super::{AUTO, Config, ConfigError};
use crate::domain::LogKind;
use crate::observe::logging::LogFormat;

/// One setting for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Its key, with dots.
    pub key: &'static str,
    /// The value in effect; secrets are masked.
    pub value: String,
    /// `default`, a file and line, or a variable of the environment.
    pub from: String,
}

const NONE: &str = "-";
const HIDDEN: &str = "(hidden)";

/// Loads the configuration and lists its settings in the order of the documentation.
///
/// # Errors
/// Those of [`Config::load`].
pub fn settings(
    path: Option<&Path>,
    environment: impl Fn(&str) -> Option<String>,
) -> Result<Vec<Setting>, ConfigError> {
    let config = Config::load(path, &environment)?;
    let raw = match path {
        None => RawConfig::default(),
        Some(path) => parse(path, &read_text(path)?)?,
    };
    let is_set = |name: &str| variable(&environment, name).is_some();
    let mut list = List { path, settings: Vec::new() };
    list.server(&raw, &config);
    list.api(&raw, &config, is_set(API_TOKEN_VARIABLE));
    list.source(&raw, &config);
    let none = RawMilvus::default();
    let milvus = raw.source_config.as_ref().and_then(|source| source.milvus.as_ref()).unwrap_or(&none);
    list.login(milvus, is_set(SOURCE_TOKEN_VARIABLE));
    list.dial(milvus);
    let none = RawKafka::default();
    let kafka = raw.source_config.as_ref().and_then(|source| source.kafka.as_ref()).unwrap_or(&none);
    list.kafka(kafka, &config, is_set(KAFKA_PASSWORD_VARIABLE));
    let none = RawPulsar::default();
    let pulsar = raw.source_config.as_ref().and_then(|source| source.pulsar.as_ref()).unwrap_or(&none);
    list.pulsar(pulsar, &config, is_set(PULSAR_TOKEN_VARIABLE));
    Ok(list.settings)
}

struct List<'a> {
    path: Option<&'a Path>,
    settings: Vec<Setting>,
}

impl List<'_> {
    fn add(&mut self, key: &'static str, leaf: &Leaf, value: impl ToString) {
        let from = leaf.as_ref().map_or_else(|| "default".to_owned(), |leaf| self.place(leaf.referenced.line()));
        self.settings.push(Setting { key, value: value.to_string(), from });
    }

    fn place(&self, line: u64) -> String {
        format!("{}:{line}", self.path.unwrap_or(Path::new("defaults")).display())
    }

    /// A setting that has no default.
    fn optional(&mut self, key: &'static str, leaf: &Leaf) {
        let value = leaf.as_ref().map_or(NONE, |leaf| leaf.value.as_str()).to_owned();
        self.add(key, leaf, value);
    }

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

    fn api(&mut self, raw: &RawConfig, config: &Config, in_environment: bool) {
        let none = super::raw::RawApi::default();
        let api = raw.api.as_ref().unwrap_or(&none);
        self.secret("api.token", &api.token, in_environment.then_some(API_TOKEN_VARIABLE));
        self.optional("api.tokenFile", &api.token_file);
        self.add("api.allowUnauthenticated", &api.allow_unauthenticated, config.api.allow_unauthenticated);
        let hosts = config.api.allowed_hosts.join(", ");
        let first = api.allowed_hosts.as_ref().and_then(|hosts| hosts.first().cloned());
        self.add("api.allowedHosts", &first, if hosts.is_empty() { NONE } else { &hosts });
    }

    fn source(&mut self, raw: &RawConfig, config: &Config) {
        let none = super::raw::RawSource::default();
        let source = raw.source_config.as_ref().unwrap_or(&none);
        let milvus = source.milvus.as_ref();
        let (uri, timeout) = milvus.map_or((None, None), |m| (m.uri.clone(), m.connect_timeout.clone()));
        let endpoint = &config.source.endpoint;
        let shown = uri.as_ref().map_or_else(|| format!("http://{}", endpoint.address), |uri| uri.value.clone());
        self.add("sourceConfig.milvus.uri", &uri, shown);
        self.add("sourceConfig.milvus.connectTimeout", &timeout, endpoint.connect_timeout.as_secs());
        let log = config.source.log.map_or(AUTO, LogKind::name);
        self.add("sourceConfig.log", &source.log, log);
        let folder = source.rocksmq.as_ref().and_then(|rocksmq| rocksmq.path.clone());
        self.optional("sourceConfig.rocksmq.path", &folder);
        let interval = source.scan.as_ref().and_then(|scan| scan.interval.clone());
        self.add("sourceConfig.scan.interval", &interval, config.source.scan_interval.as_secs());
        self.add("sourceConfig.channelPrefix", &source.channel_prefix, &config.source.channel_prefix);
        self.add("sourceConfig.replicateChan", &source.replicate_chan, &config.source.replicate_channel);
    }

    fn login(&mut self, milvus: &RawMilvus, in_environment: bool) {
        let variable = in_environment.then_some(SOURCE_TOKEN_VARIABLE);
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

    fn kafka(&mut self, raw: &RawKafka, config: &Config, in_environment: bool) {
        self.optional("sourceConfig.kafka.address", &raw.address);
        let kafka = config.source.kafka.as_ref();
        let protocol = kafka.map_or(NONE, |kafka| kafka.protocol().name());
        self.add("sourceConfig.kafka.securityProtocol", &raw.security_protocol, protocol);
        let login = kafka.and_then(|kafka| kafka.login.as_ref());
        let mechanism = login.map_or(NONE, |login| login.mechanism.name());
        self.add("sourceConfig.kafka.saslMechanisms", &raw.sasl_mechanisms, mechanism);
        self.optional("sourceConfig.kafka.saslUsername", &raw.sasl_username);
        let variable = in_environment.then_some(KAFKA_PASSWORD_VARIABLE);
        self.secret("sourceConfig.kafka.saslPassword", &raw.sasl_password, variable);
        self.optional("sourceConfig.kafka.saslPasswordFile", &raw.sasl_password_file);
        let none = RawBrokerTls::default();
        let tls = raw.tls.as_ref().unwrap_or(&none);
        self.optional("sourceConfig.kafka.tls.caPemPath", &tls.ca_pem_path);
        self.optional("sourceConfig.kafka.tls.clientPemPath", &tls.client_pem_path);
        self.optional("sourceConfig.kafka.tls.clientKeyPath", &tls.client_key_path);
        self.secret("sourceConfig.kafka.tls.clientKeyPassword", &tls.client_key_password, None);
        self.optional("sourceConfig.kafka.tls.clientKeyPasswordFile", &tls.client_key_password_file);
        // Their values may be secrets.
        let keys: Vec<&str> = raw.properties.iter().flatten().map(|(key, _)| key.as_str()).collect();
        let first = raw.properties.as_ref().and_then(|properties| properties.values().next().cloned());
        let shown = if keys.is_empty() { NONE.to_owned() } else { format!("{} {HIDDEN}", keys.join(", ")) };
        self.add("sourceConfig.kafka.properties", &first, shown);
    }

    fn pulsar(&mut self, raw: &RawPulsar, config: &Config, in_environment: bool) {
        let pulsar = config.source.pulsar.as_ref();
        self.optional("sourceConfig.pulsar.address", &raw.address);
        self.optional("sourceConfig.pulsar.webAddress", &raw.web_address);
        let size = pulsar.map_or(NONE.to_owned(), |pulsar| pulsar.max_message_size.to_string());
        self.add("sourceConfig.pulsar.maxMessageSize", &raw.max_message_size, size);
        self.add("sourceConfig.pulsar.tenant", &raw.tenant, pulsar.map_or(NONE, |pulsar| &pulsar.tenant));
        self.add("sourceConfig.pulsar.namespace", &raw.namespace, pulsar.map_or(NONE, |pulsar| &pulsar.namespace));
        self.optional("sourceConfig.pulsar.authPlugin", &raw.auth_plugin);
        let variable = in_environment.then_some(PULSAR_TOKEN_VARIABLE);
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
    fn values_and_where_they_came_from() {
        let text = "maxTaskNum: 7\napi:\n  token: s3cret\n  allowedHosts: [a, b]\nsourceConfig:\n  milvus: {password: s3cret, username: u}\n";
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

    /// An unknown key's message lists what is allowed in its section: all of it must be shown.
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
                let is_section = sections.contains(&key.as_str());
                assert!(is_section || shown.iter().any(|setting| setting.key == key), "{key} is not shown");
            }
        }
    }
}
