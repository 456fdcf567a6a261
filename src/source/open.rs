//! Which log a source is read from, and opening it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::kafka::Kafka;
use super::log::{Log, LogError};
use super::pulsar::{self, Pulsar};
use super::rocksmq::RocksMq;
use super::scan::NoLog;
use super::wal::{Unusable, Wal, probe};
use crate::config::{KafkaConfig, PulsarConfig};
use crate::domain::LogKind;
use crate::milvus::{CallContext, Cancel, Client};

/// What the configuration says about a source's log.
#[derive(Debug, Clone)]
pub struct LogSettings {
    /// The kind that is asked for; `None`: the best that works.
    pub wanted: Option<LogKind>,
    /// The folder of the source's RocksMQ.
    pub rocksmq: Option<PathBuf>,
    /// The source's Kafka.
    pub kafka: Option<KafkaConfig>,
    /// The source's Pulsar.
    pub pulsar: Option<PulsarConfig>,
}

impl LogSettings {
    /// The kinds that come into question, the best first. What needs no look at the source is found out here, so that
    /// `create` can refuse at once.
    ///
    /// # Errors
    /// The kind that is asked for is not configured: what to set.
    pub fn candidates<'a>(&'a self) -> Result<Vec<Choice<'a>>, Unconfigured> {
        let rocksmq = self.rocksmq.as_deref().map(Choice::RocksMq);
        let kafka = self.kafka.as_ref().map(Choice::Kafka);
        let pulsar = self.pulsar.as_ref().map(Choice::Pulsar);
        let needs = |choice: Option<Choice<'a>>, what: &str| {
            choice.map(|choice| vec![choice]).ok_or_else(|| Unconfigured(what.to_owned()))
        };
        match self.wanted {
            Some(LogKind::RocksMq) => needs(rocksmq, NO_ROCKSMQ),
            Some(LogKind::Kafka) => needs(kafka, NO_KAFKA),
            Some(LogKind::Pulsar) => needs(pulsar, NO_PULSAR),
            Some(LogKind::Wal) => Ok(vec![Choice::Wal]),
            Some(LogKind::Scan) => Ok(vec![Choice::Scan]),
            None => {
                let queues: Vec<Choice<'a>> = [rocksmq, kafka, pulsar].into_iter().flatten().collect();
                match queues.len() {
                    0 | 1 => Ok(queues.into_iter().chain([Choice::Wal, Choice::Scan]).collect()),
                    _ => Err(Unconfigured(SEVERAL_QUEUES.to_owned())),
                }
            }
        }
    }
}

const NO_ROCKSMQ: &str = "sourceConfig.log is `rocksmq` and sourceConfig.rocksmq.path is not set: it names the folder of the \
     source's log (rocksmq.path of its milvus.yaml)";
const NO_KAFKA: &str = "sourceConfig.log is `kafka` and sourceConfig.kafka.address is not set: it names the source's brokers \
     (kafka.brokerList of its milvus.yaml)";
const NO_PULSAR: &str = "sourceConfig.log is `pulsar` and sourceConfig.pulsar.address is not set: it names the source's brokers \
     (pulsar.address and pulsar.port of its milvus.yaml)";
const SEVERAL_QUEUES: &str = "sourceConfig.log is `auto`, and more than one of sourceConfig.rocksmq.path, sourceConfig.kafka.address \
     and sourceConfig.pulsar.address are set: a source has one log, so name its kind in sourceConfig.log";

/// A kind of log with what it needs.
#[derive(Debug, Clone, Copy)]
pub enum Choice<'a> {
    /// The files of the built-in queue, in this folder.
    RocksMq(&'a Path),
    /// The topics of its brokers.
    Kafka(&'a KafkaConfig),
    /// The topics of its brokers.
    Pulsar(&'a PulsarConfig),
    /// The source's own write-ahead log.
    Wal,
    /// None: the rows themselves.
    Scan,
}

impl Choice<'_> {
    /// Which kind it is.
    pub fn kind(self) -> LogKind {
        match self {
            Choice::RocksMq(_) => LogKind::RocksMq,
            Choice::Kafka(_) => LogKind::Kafka,
            Choice::Pulsar(_) => LogKind::Pulsar,
            Choice::Wal => LogKind::Wal,
            Choice::Scan => LogKind::Scan,
        }
    }
}

/// The configuration names no log: what to set.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unconfigured(String);

/// A log, ready to be read.
pub struct OpenLog {
    /// The log.
    pub log: Arc<dyn Log>,
    /// What it is.
    pub kind: LogKind,
    /// Why it is this one and not another, for a person to read.
    pub why: String,
}

/// No log to read from.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The configuration names none: only a human can mend it.
    #[error(transparent)]
    Unconfigured(#[from] Unconfigured),
    /// This source has none that can be read: only a human can mend it.
    #[error("{0}")]
    Unusable(String),
    /// It may be there later.
    #[error(transparent)]
    Unreachable(#[from] LogError),
}

/// Chooses and opens the log of the source behind `client`. `own` is a folder of the task's for what the log keeps.
///
/// # Errors
/// [`OpenError`]: none is configured, or none of those that are can be read.
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
            // Servers that do not answer now say nothing about what they have.
            Err(error @ OpenError::Unreachable(_)) if choice.kind() != LogKind::RocksMq => return Err(error),
            Err(error) => others.push(format!("not `{}`: {error}", choice.kind().name())),
        }
    }
    Err(OpenError::Unusable(format!("sourceConfig.log is `auto`, and no log can be read: {}", others.join("; "))))
}

/// Ends what a task that is deleted has left at the source. `own` is its folder.
///
/// # Errors
/// What is left, and what to do about it.
pub fn forget(settings: &LogSettings, own: &Path) -> Result<(), String> {
    pulsar::forget(settings.pulsar.as_ref(), own)
}

/// Opens it and says what it is.
fn open_one(
    choice: Choice<'_>,
    client: &Arc<Client>,
    cancel: &Cancel,
    own: &Path,
) -> Result<(Arc<dyn Log>, String), OpenError> {
    match choice {
        Choice::RocksMq(path) => {
            let log = Arc::new(RocksMq::open(path, &own.join("rocksmq"))?);
            Ok((log, format!("{} is configured and can be read", path.display())))
        }
        Choice::Kafka(config) => {
            Ok((Arc::new(Kafka::open(config)?), format!("sourceConfig.kafka.address is {}", config.address)))
        }
        Choice::Pulsar(config) => {
            let (log, held) = Pulsar::open(config, own)?;
            Ok((Arc::new(log), format!("sourceConfig.pulsar.address is {}; {held}", config.service)))
        }
        Choice::Scan => Ok((Arc::new(NoLog), "no log is read: the rows are read and compared".to_owned())),
        Choice::Wal => {
            const TIMEOUT: Duration = Duration::from_secs(5);
            let context = CallContext { timeout: TIMEOUT, cancel: cancel.clone() };
            match probe(client, &context) {
                Ok(version) => {
                    let log = Arc::new(Wal::new(client, cancel));
                    Ok((log, format!("the source is Milvus {version}, whose log is read by DumpMessages")))
                }
                Err(Unusable::Never(why)) => Err(OpenError::Unusable(why)),
                Err(Unusable::Now(error)) => {
                    let (place, detail) = (format!("of {}", client.address()), error.to_string());
                    Err(LogError { place, detail }.into())
                }
            }
        }
    }
}
