//! Chooses the log that a source is read from, and opens it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::idle_ticks::IdleTicks;
use super::kafka::Kafka;
use super::log::{Log, LogAccess, LogError};
use super::pulsar::{self, OpenPulsar, Pulsar};
use super::rocksmq::RocksMq;
use super::scan::NoLog;
use super::wal::{Unusable, Wal, probe};
use crate::config::{KafkaConfig, PulsarConfig};
use crate::domain::LogKind;
use crate::milvus::{CallContext, Cancel, Client};

/// The configuration of a source's log.
#[derive(Debug, Clone)]
pub struct LogSettings {
    /// The configured kind; `None`: the best that works.
    pub wanted: Option<LogKind>,
    /// The folder of the source's RocksMQ.
    pub rocksmq: Option<PathBuf>,
    /// The source's Kafka.
    pub kafka: Option<KafkaConfig>,
    /// The source's Pulsar.
    pub pulsar: Option<PulsarConfig>,
}

impl LogSettings {
    /// The kinds that are configured, the best first. Checks what can be checked without the source, so that `create`
    /// can refuse at once.
    ///
    /// # Errors
    /// The wanted kind lacks its settings, or several queues are configured: the text says what to set.
    pub fn candidates<'a>(&'a self) -> Result<Vec<LogChoice<'a>>, Unconfigured> {
        let rocksmq = self.rocksmq.as_deref().map(LogChoice::RocksMq);
        let kafka = self.kafka.as_ref().map(LogChoice::Kafka);
        let pulsar = self.pulsar.as_ref().map(LogChoice::Pulsar);
        let needs = |choice: Option<LogChoice<'a>>, what: &str| {
            choice.map(|choice| vec![choice]).ok_or_else(|| Unconfigured(what.to_owned()))
        };
        match self.wanted {
            Some(LogKind::RocksMq) => needs(rocksmq, NO_ROCKSMQ),
            Some(LogKind::Kafka) => needs(kafka, NO_KAFKA),
            Some(LogKind::Pulsar) => needs(pulsar, NO_PULSAR),
            Some(LogKind::Wal) => Ok(vec![LogChoice::Wal]),
            Some(LogKind::Scan) => Ok(vec![LogChoice::Scan]),
            None => {
                let queues: Vec<LogChoice<'a>> = [rocksmq, kafka, pulsar].into_iter().flatten().collect();
                match queues.len() {
                    0 | 1 => Ok(queues.into_iter().chain([LogChoice::Wal, LogChoice::Scan]).collect()),
                    _ => Err(Unconfigured(SEVERAL_QUEUES.to_owned())),
                }
            }
        }
    }
}

const NO_ROCKSMQ: &str = "sourceConfig.log is `rocksmq` and sourceConfig.rocksmq.path is not set: it names the folder \
     of the source's log (rocksmq.path of its milvus.yaml)";
const NO_KAFKA: &str = "sourceConfig.log is `kafka` and sourceConfig.kafka.address is not set: it names the source's \
     brokers (kafka.brokerList of its milvus.yaml)";
const NO_PULSAR: &str = "sourceConfig.log is `pulsar` and sourceConfig.pulsar.address is not set: it names the \
     source's brokers (pulsar.address and pulsar.port of its milvus.yaml)";
const SEVERAL_QUEUES: &str = "sourceConfig.log is `auto`, and more than one of sourceConfig.rocksmq.path, \
     sourceConfig.kafka.address and sourceConfig.pulsar.address are set: a source has one log, so name its kind in \
     sourceConfig.log";

/// A kind of log with its settings.
#[derive(Debug, Clone, Copy)]
pub enum LogChoice<'a> {
    /// The files of the built-in queue, in this folder.
    RocksMq(&'a Path),
    /// The topics of Kafka brokers.
    Kafka(&'a KafkaConfig),
    /// The topics of Pulsar brokers.
    Pulsar(&'a PulsarConfig),
    /// The source's own write-ahead log.
    Wal,
    /// No log: the rows themselves are compared.
    Scan,
}

impl LogChoice<'_> {
    /// Which kind it is.
    pub fn kind(self) -> LogKind {
        match self {
            LogChoice::RocksMq(_) => LogKind::RocksMq,
            LogChoice::Kafka(_) => LogKind::Kafka,
            LogChoice::Pulsar(_) => LogKind::Pulsar,
            LogChoice::Wal => LogKind::Wal,
            LogChoice::Scan => LogKind::Scan,
        }
    }
}

/// The configuration names no log; the text says what to set.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unconfigured(String);

/// A log, ready to be read.
pub struct OpenLog {
    /// Shared with the reader thread.
    pub log: Arc<dyn Log>,
    /// Its kind.
    pub kind: LogKind,
    /// Why this kind was chosen, for a person to read.
    pub why: String,
}

/// No log to read from.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The configuration names none: only a change of it helps.
    #[error(transparent)]
    Unconfigured(#[from] Unconfigured),
    /// No configured log of this source can be read: only a change of the configuration or of the source helps.
    #[error("{0}")]
    Unusable(String),
    /// Out of reach now: worth another attempt.
    #[error(transparent)]
    Unreachable(#[from] LogError),
}

/// Chooses and opens the log of the source behind `client`. `own` is the task's folder, where a
/// log may keep files of its own.
///
/// # Errors
/// [`OpenError`]: no log is configured, or none of the configured ones can be read.
pub fn open(settings: &LogSettings, client: &Arc<Client>, cancel: &Cancel, own: &Path) -> Result<OpenLog, OpenError> {
    let candidates = settings.candidates()?;
    if settings.wanted.is_some() {
        let [choice] = candidates.as_slice() else { return Err(OpenError::Unusable("no log is configured".into())) };
        let (log, what) = open_one(*choice, client, cancel, own)?;
        let why = format!("sourceConfig.log is `{}`, {what}", choice.kind().name());
        return Ok(OpenLog { log, kind: choice.kind(), why });
    }
    let mut others: Vec<String> = Vec::new();
    if settings.rocksmq.is_none() && settings.kafka.is_none() && settings.pulsar.is_none() {
        others.push("not `rocksmq`: sourceConfig.rocksmq.path is not set".into());
        others.push("not `kafka`: sourceConfig.kafka.address is not set".into());
        others.push("not `pulsar`: sourceConfig.pulsar.address is not set".into());
    }
    for choice in candidates {
        match open_one(choice, client, cancel, own) {
            Ok((log, what)) => {
                let why = std::iter::once(format!("sourceConfig.log is `auto`, {what}")).chain(others);
                return Ok(OpenLog { log, kind: choice.kind(), why: why.collect::<Vec<_>>().join("; ") });
            }
            // An unreachable server tells nothing about which log it has.
            Err(error @ OpenError::Unreachable(_)) if choice.kind() != LogKind::RocksMq => return Err(error),
            Err(error) => others.push(format!("not `{}`: {error}", choice.kind().name())),
        }
    }
    Err(OpenError::Unusable(format!("sourceConfig.log is `auto`, and no log can be read: {}", others.join("; "))))
}

/// Why a task that reads this source's log would be denied it later on: only a log over gRPC needs a privilege that
/// nothing else shows. `None` also when the source does not answer.
pub fn denied(settings: &LogSettings, client: &Arc<Client>, cancel: &Cancel) -> Option<String> {
    if !client.has_credentials() {
        return None;
    }
    let candidates = settings.candidates().ok()?;
    if candidates.first()?.kind() != LogKind::Wal || probe(client, &wal_context(cancel)).is_err() {
        return None;
    }
    match Wal::new(client, cancel).access() {
        Ok(LogAccess::Denied(why)) => Some(why),
        Ok(LogAccess::Granted) | Err(_) => None,
    }
}

fn wal_context(cancel: &Cancel) -> CallContext {
    const TIMEOUT: Duration = Duration::from_secs(5);
    CallContext { timeout: TIMEOUT, cancel: cancel.clone() }
}

/// Removes what a deleted task has left at the source, such as subscriptions. `own` is its folder.
///
/// # Errors
/// What is left, and what to do about it.
pub fn forget(settings: &LogSettings, own: &Path) -> Result<(), String> {
    pulsar::forget(settings.pulsar.as_ref(), own)
}

/// Opens a log and describes it.
fn open_one(
    choice: LogChoice<'_>,
    client: &Arc<Client>,
    cancel: &Cancel,
    own: &Path,
) -> Result<(Arc<dyn Log>, String), OpenError> {
    let idle = || IdleTicks::of_source(client, cancel);
    match choice {
        LogChoice::RocksMq(path) => {
            let log = Arc::new(RocksMq::open(path, &own.join("rocksmq"), idle())?);
            Ok((log, format!("{} is configured and can be read", path.display())))
        }
        LogChoice::Kafka(config) => {
            Ok((Arc::new(Kafka::open(config, idle())?), format!("sourceConfig.kafka.address is {}", config.address)))
        }
        LogChoice::Pulsar(config) => {
            let OpenPulsar { log, held_by } = Pulsar::open(config, own, idle())?;
            Ok((Arc::new(log), format!("sourceConfig.pulsar.address is {}; {held_by}", config.service)))
        }
        LogChoice::Scan => Ok((Arc::new(NoLog), "no log is read: the rows are read and compared".to_owned())),
        LogChoice::Wal => match probe(client, &wal_context(cancel)) {
            Ok(told) => {
                let log = Arc::new(Wal::new(client, cancel));
                Ok((log, format!("the source is Milvus {told}, whose log is read by DumpMessages")))
            }
            Err(Unusable::Never(why)) => Err(OpenError::Unusable(why)),
            Err(Unusable::Now(error)) => Err(LogError::new(format!("of {}", client.address()), error).into()),
        },
    }
}
