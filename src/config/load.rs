/*!
Reads and validates the configuration file.
*/

use std::borrow::Cow;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use log::LevelFilter;

use super::error::nearest;
use super::legacy::{self, Leftover};
use super::peers::{SOURCE_SECTION, in_section};
use super::raw::{Leaf, RawConfig, RawDial, RawMilvus, RawScan, RawSource};
use super::{
    AUTO, Config, ConfigError, DialFiles, Endpoint, ParsedUri, Secret, SourceConfig, Tls, bearer_text, without_line_end,
};
use crate::domain::LogKind;
use crate::observe::logging::{self, LogFormat};

mod access;
mod broker_tls;
mod kafka;
mod peers;
mod pulsar;

/// Overrides `sourceConfig.milvus.token` and `tokenFile`.
pub const SOURCE_TOKEN_VARIABLE: &str = "MILVUS_CDC_SOURCE_TOKEN";
/// Overrides `api.token` and `api.tokenFile`. The command line reads it too.
pub const API_TOKEN_VARIABLE: &str = "MILVUS_CDC_API_TOKEN";

/// Overrides `sourceConfig.kafka.saslPassword` and `saslPasswordFile`.
pub const KAFKA_PASSWORD_VARIABLE: &str = "MILVUS_CDC_KAFKA_PASSWORD";

/// Overrides `sourceConfig.pulsar.authParams` and `authParamsFile`.
pub const PULSAR_TOKEN_VARIABLE: &str = "MILVUS_CDC_PULSAR_TOKEN";

const DEFAULT_ADDRESS: &str = "127.0.0.1:8444";
const DEFAULT_DATA_DIR: &str = "./milvus-cdc-data";
const DEFAULT_MAX_TASKS: usize = 100;
const DEFAULT_MAX_NAME_LENGTH: usize = 256;
const DEFAULT_SOURCE_URI: &str = "http://127.0.0.1:19530";
const DEFAULT_CHANNEL_PREFIX: &str = "by-dev";

/// Upper bounds of the numbers that may be configured.
const MAX_TASKS: usize = 10_000;
const MAX_NAME_LENGTH: usize = 65_535;
const MAX_CONNECT_TIMEOUT_S: usize = 3_600;
const MAX_SCAN_INTERVAL_S: usize = 86_400;
const DEFAULT_SCAN_INTERVAL_S: usize = 10;
/// Longer than a server needs to start and to load what it had loaded.
const DEFAULT_RELEASE_AFTER_S: usize = 180;
const MAX_RELEASE_AFTER_S: usize = 86_400;

impl Config {
    /// Reads the file, or uses the defaults without one, and applies the environment's secrets.
    ///
    /// # Errors
    /// [`ConfigError`] when the file cannot be read or a value is invalid.
    pub fn load(path: Option<&Path>, environment: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let (path, text) = match path {
            None => (Path::new("defaults"), String::new()),
            Some(path) => (path, read_text(path)?),
        };
        let variable = |name| variable(&environment, name);
        let (source_token, api_token) = (variable(SOURCE_TOKEN_VARIABLE), variable(API_TOKEN_VARIABLE));
        let kafka_password = variable(KAFKA_PASSWORD_VARIABLE);
        let pulsar_token = variable(PULSAR_TOKEN_VARIABLE);
        let section = SOURCE_SECTION.to_owned();
        ConfigReader { path, section, source_token, api_token, kafka_password, pulsar_token }
            .config(parse(path, &text)?)
    }
}

/// A secret in the environment without trailing line ends; `None` if it is empty.
pub(super) fn variable(environment: impl Fn(&str) -> Option<String>, name: &str) -> Option<String> {
    let secret = without_line_end(&environment(name)?).to_owned();
    (!secret.is_empty()).then_some(secret)
}

pub(super) fn parse(path: &Path, text: &str) -> Result<RawConfig, ConfigError> {
    let mut leftovers = Vec::new();
    let mut rest = Cow::Borrowed(text);
    loop {
        // A file of comments only is a YAML null.
        let raw: Result<Option<RawConfig>, _> = serde_saphyr::from_str(&rest);
        let error = match raw {
            Ok(raw) => return Ok(RawConfig { leftovers, ..raw.unwrap_or_default() }),
            Err(error) => error,
        };
        // Each iteration blanks lines, so the loop ends.
        let shorter = leftover(&error).and_then(|leftover| Some((legacy::blanked(&rest, &leftover)?, leftover)));
        let Some((shorter, leftover)) = shorter else {
            return Err(ConfigError::from_yaml(path, text, &error));
        };
        leftovers.push(leftover);
        rest = Cow::Owned(shorter);
    }
}

/// The key of the Go server that the parser has rejected, if that is the error.
fn leftover(error: &serde_saphyr::Error) -> Option<Leftover> {
    let error = error.without_snippet();
    match error {
        serde_saphyr::Error::SerdeUnknownField { field, .. } => legacy::known(field, error.location()?.line()),
        _ => None,
    }
}

pub(super) fn read_text(path: &Path) -> Result<String, ConfigError> {
    fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })
}

/// Turns texts into values; knows the file's path for error messages.
struct ConfigReader<'a> {
    path: &'a Path,
    /// The section of the source that is being read: keys are named as those of `sourceConfig`.
    section: String,
    source_token: Option<String>,
    api_token: Option<String>,
    kafka_password: Option<String>,
    pulsar_token: Option<String>,
}

impl ConfigReader<'_> {
    /// A reader to which the environment gives no secrets.
    fn without_secrets() -> Self {
        ConfigReader {
            path: Path::new(""),
            section: String::new(),
            source_token: None,
            api_token: None,
            kafka_password: None,
            pulsar_token: None,
        }
    }

    fn config(&self, raw: RawConfig) -> Result<Config, ConfigError> {
        let api = self.api(&raw.api.unwrap_or_default())?;
        let source = self.source(raw.source_config.unwrap_or_default())?;
        let peers = self.peers(raw.peers.unwrap_or_default(), &source)?;
        let config = Config {
            leftovers: raw.leftovers,
            address: self.listen_address(&raw.address)?,
            data_dir: PathBuf::from(self.text("dataDir", &raw.data_dir, DEFAULT_DATA_DIR)?),
            max_task_num: self.number("maxTaskNum", &raw.max_task_num, DEFAULT_MAX_TASKS, MAX_TASKS)?,
            max_name_length: self.number(
                "maxNameLength",
                &raw.max_name_length,
                DEFAULT_MAX_NAME_LENGTH,
                MAX_NAME_LENGTH,
            )?,
            log_level: self.log_level(&raw.log_level)?,
            log_format: self.log_format(&raw.log_format)?,
            api,
            source,
            peers,
        };
        self.check_exposure(&config, &raw.address)?;
        Ok(config)
    }

    fn source(&self, raw: RawSource) -> Result<SourceConfig, ConfigError> {
        let rocksmq = raw.rocksmq.unwrap_or_default();
        let rocksmq_path = match &rocksmq.path {
            None => None,
            given => Some(PathBuf::from(self.text("sourceConfig.rocksmq.path", given, "")?)),
        };
        let channel_prefix = self.text("sourceConfig.channelPrefix", &raw.channel_prefix, DEFAULT_CHANNEL_PREFIX)?;
        // As Milvus derives it from `msgChannel.chanNamePrefix`.
        let replicate_channel = format!("{channel_prefix}-replicate-msg");
        Ok(SourceConfig {
            section: self.section.clone(),
            endpoint: self.endpoint(&raw.milvus.unwrap_or_default())?,
            log: self.log_kind(&raw.log)?,
            rocksmq_path,
            kafka: self.kafka(&raw.kafka.unwrap_or_default())?,
            pulsar: self.pulsar(&raw.pulsar.unwrap_or_default())?,
            scan_interval: self.scan_interval(&raw.scan.unwrap_or_default())?,
            release_after: self.release_after(&raw.release_after)?,
            replicate_channel: self.text("sourceConfig.replicateChan", &raw.replicate_chan, &replicate_channel)?,
            channel_prefix,
        })
    }

    fn endpoint(&self, raw: &RawMilvus) -> Result<Endpoint, ConfigError> {
        const KEY: &str = "sourceConfig.milvus.uri";
        let uri = self.text(KEY, &raw.uri, DEFAULT_SOURCE_URI)?;
        let uri = ParsedUri::parse(&uri).map_err(|error| {
            self.wrong(KEY, &raw.uri, format!("{error}; an address looks like http://host:19530 or https://host"))
        })?;
        let dial = raw.dial_config.as_ref();
        let tls = Tls::from_files(&dial.map(dial_files).unwrap_or_default(), uri.scheme).map_err(|error| {
            let given = dial.and_then(|dial| {
                [&dial.ca_pem_path, &dial.client_pem_path, &dial.client_key_path]
                    .into_iter()
                    .find(|leaf| leaf.is_some())
            });
            self.wrong("sourceConfig.milvus.dialConfig", given.unwrap_or(&None), error.to_string())
        })?;
        let timeout_s =
            self.number("sourceConfig.milvus.connectTimeout", &raw.connect_timeout, 5, MAX_CONNECT_TIMEOUT_S)?;
        let connect_timeout = Duration::from_secs(timeout_s as u64);
        Ok(Endpoint { address: uri.address, tls, token: self.token(raw)?, connect_timeout })
    }

    /// The first of: the environment, a file, the token in the config, username and password.
    fn token(&self, raw: &RawMilvus) -> Result<Secret, ConfigError> {
        if let Some(token) = &self.source_token {
            return Ok(Secret::new(token.clone()));
        }
        let token = self.secret("sourceConfig.milvus.tokenFile", &raw.token_file, &raw.token)?;
        let username = plain(&raw.username);
        let password = self.secret("sourceConfig.milvus.passwordFile", &raw.password_file, &raw.password)?;
        if token.is_empty() && username.is_empty() != password.is_empty() {
            let (key, leaf) =
                if username.is_empty() { ("password", &raw.password) } else { ("username", &raw.username) };
            let key = format!("sourceConfig.milvus.{key}");
            return Err(self.wrong(&key, leaf, "username and password go together, one of them is missing".to_owned()));
        }
        Ok(bearer_text(&token, &username, &password))
    }

    fn secret(&self, key: &str, file: &Leaf, inline: &Leaf) -> Result<String, ConfigError> {
        if file.is_none() {
            return Ok(plain(inline));
        }
        let path = PathBuf::from(self.text(key, file, "")?);
        let secret = read_text(&path)?.trim().to_owned();
        if secret.is_empty() {
            return Err(self.wrong(key, file, format!("the file {} is empty", path.display())));
        }
        Ok(secret)
    }

    fn listen_address(&self, leaf: &Leaf) -> Result<String, ConfigError> {
        let address = self.text("address", leaf, DEFAULT_ADDRESS)?;
        let port = address.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port.parse::<u16>());
        match port {
            Some(Ok(_)) => Ok(address),
            _ => Err(self.wrong("address", leaf, format!("`{address}` is no `host:port`, such as {DEFAULT_ADDRESS}"))),
        }
    }

    fn log_level(&self, leaf: &Leaf) -> Result<LevelFilter, ConfigError> {
        let text = self.text("logLevel", leaf, "info")?;
        logging::parse_level(&text).ok_or_else(|| self.not_one_of("logLevel", leaf, &text, &logging::LEVELS))
    }

    fn log_format(&self, leaf: &Leaf) -> Result<LogFormat, ConfigError> {
        match self.text("logFormat", leaf, "text")?.as_str() {
            "text" => Ok(LogFormat::Text),
            "json" => Ok(LogFormat::Json),
            other => Err(self.not_one_of("logFormat", leaf, other, &["text", "json"])),
        }
    }

    fn log_kind(&self, leaf: &Leaf) -> Result<Option<LogKind>, ConfigError> {
        const KEY: &str = "sourceConfig.log";
        let given = self.text(KEY, leaf, AUTO)?;
        match LogKind::named(&given) {
            None if given == AUTO => Ok(None),
            None => {
                let allowed: Vec<&str> = std::iter::once(AUTO).chain(LogKind::ALL.map(LogKind::name)).collect();
                Err(self.not_one_of(KEY, leaf, &given, &allowed))
            }
            kind => Ok(kind),
        }
    }

    /// In whole seconds.
    fn scan_interval(&self, raw: &RawScan) -> Result<Duration, ConfigError> {
        const KEY: &str = "sourceConfig.scan.interval";
        let seconds = self.number(KEY, &raw.interval, DEFAULT_SCAN_INTERVAL_S, MAX_SCAN_INTERVAL_S)?;
        Ok(Duration::from_secs(seconds as u64))
    }

    /// Whole seconds.
    fn release_after(&self, leaf: &Leaf) -> Result<Duration, ConfigError> {
        const KEY: &str = "sourceConfig.releaseAfter";
        let seconds = self.number(KEY, leaf, DEFAULT_RELEASE_AFTER_S, MAX_RELEASE_AFTER_S)?;
        Ok(Duration::from_secs(seconds as u64))
    }

    fn text(&self, key: &str, leaf: &Leaf, default: &str) -> Result<String, ConfigError> {
        match leaf {
            None => Ok(default.to_owned()),
            Some(value) if value.value.trim().is_empty() => {
                Err(self.wrong(key, leaf, "the value is empty; leave the key out for the default".to_owned()))
            }
            Some(value) => Ok(value.value.clone()),
        }
    }

    fn number(&self, key: &str, leaf: &Leaf, default: usize, max: usize) -> Result<usize, ConfigError> {
        let Some(value) = leaf else {
            return Ok(default);
        };
        value.value.parse().ok().filter(|number| (1..=max).contains(number)).ok_or_else(|| {
            self.wrong(key, leaf, format!("`{}` is not allowed, only a whole number from 1 to {max}", value.value))
        })
    }

    fn not_one_of(&self, key: &str, leaf: &Leaf, text: &str, allowed: &[&str]) -> ConfigError {
        let hint = nearest(text, allowed).map(|near| format!(", did you mean `{near}`?")).unwrap_or_default();
        self.wrong(key, leaf, format!("`{text}` is not allowed{hint} (allowed: {})", allowed.join(", ")))
    }

    fn wrong(&self, key: &str, leaf: &Leaf, message: String) -> ConfigError {
        let line = leaf.as_ref().map_or(0, |value| value.referenced.line());
        ConfigError::at(self.path, line, in_section(&format!("`{key}`: {message}"), &self.section).into_owned())
    }
}

fn plain(leaf: &Leaf) -> String {
    leaf.as_ref().map(|value| value.value.clone()).unwrap_or_default()
}

fn dial_files(raw: &RawDial) -> DialFiles {
    DialFiles {
        server_name: plain(&raw.server_name),
        server_pem_path: plain(&raw.server_pem_path),
        ca_pem_path: plain(&raw.ca_pem_path),
        client_pem_path: plain(&raw.client_pem_path),
        client_key_path: plain(&raw.client_key_path),
    }
}

#[cfg(test)]
mod tests;
