//! Which log a source is read from, and opening it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::kafka::Kafka;
use super::log::{Log, LogError};
use super::rocksmq::RocksMq;
use super::scan::NoLog;
use crate::config::KafkaConfig;
use crate::domain::LogKind;

/// What the configuration says about a source's log.
#[derive(Debug, Clone)]
pub struct LogSettings {
    /// The kind that is asked for; `None`: the best that works.
    pub wanted: Option<LogKind>,
    /// The folder of the source's RocksMQ.
    pub rocksmq: Option<PathBuf>,
    /// The source's Kafka.
    pub kafka: Option<KafkaConfig>,
}

impl LogSettings {
    /// Which kind that is. What needs no look at the source is found out here, so that `create` can refuse at once.
    ///
    /// # Errors
    /// None is configured: what to set.
    pub fn choose(&self) -> Result<Choice<'_>, Unconfigured> {
        let asked = match self.wanted {
            Some(kind) => format!("sourceConfig.log is `{}`", kind.name()),
            None => "sourceConfig.log is `auto`".to_owned(),
        };
        let rocksmq = self
            .rocksmq
            .as_ref()
            .map(|path| Choice::RocksMq { path, why: format!("{asked} and {} is configured", path.display()) });
        let kafka = self.kafka.as_ref().map(|config| Choice::Kafka {
            config,
            why: format!("{asked} and sourceConfig.kafka.address is {}", config.address),
        });
        match (self.wanted, rocksmq, kafka) {
            (Some(LogKind::Scan), ..) => Ok(Choice::Scan { why: asked }),
            (None, Some(_), Some(_)) => Err(Unconfigured(format!(
                "{asked}, and both sourceConfig.rocksmq.path and sourceConfig.kafka.address are set: a source has one log, \
                 so name its kind in sourceConfig.log"
            ))),
            (None | Some(LogKind::RocksMq), Some(choice), _) | (None | Some(LogKind::Kafka), _, Some(choice)) => {
                Ok(choice)
            }
            (Some(LogKind::Kafka), _, None) => Err(Unconfigured(format!(
                "{asked} and sourceConfig.kafka.address is not set: it names the source's brokers (kafka.brokerList of its \
                 milvus.yaml)"
            ))),
            (Some(LogKind::RocksMq), None, _) => Err(Unconfigured(format!("{asked} and {NO_ROCKSMQ}"))),
            (None, None, None) => Err(Unconfigured(format!(
                "{asked} and {NO_ROCKSMQ}, or sourceConfig.kafka.address for one that keeps its log in Kafka"
            ))),
        }
    }
}

const NO_ROCKSMQ: &str =
    "sourceConfig.rocksmq.path is not set: it names the folder of the source's log (rocksmq.path of its milvus.yaml)";

/// A kind of log with what it needs, and why it is this one.
#[derive(Debug)]
pub enum Choice<'a> {
    /// The files of the built-in queue.
    RocksMq {
        /// Their folder.
        path: &'a Path,
        /// For a person to read.
        why: String,
    },
    /// Brokers.
    Kafka {
        /// How to reach them.
        config: &'a KafkaConfig,
        /// For a person to read.
        why: String,
    },
    /// None: the rows themselves.
    Scan {
        /// For a person to read.
        why: String,
    },
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
    /// Why it is this one, for a person to read.
    pub why: String,
}

/// No log to read from.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The configuration names none: only a human can mend it.
    #[error(transparent)]
    Unconfigured(#[from] Unconfigured),
    /// It may be there later.
    #[error(transparent)]
    Unreachable(#[from] LogError),
}

/// Chooses and opens the log. `own` is a folder of the task's for what the log keeps.
///
/// # Errors
/// [`OpenError`]: none is configured, or the one that is cannot be read.
pub fn open(settings: &LogSettings, own: &Path) -> Result<OpenLog, OpenError> {
    match settings.choose()? {
        Choice::RocksMq { path, why } => {
            let log = Arc::new(RocksMq::open(path, &own.join("rocksmq"))?);
            Ok(OpenLog { log, kind: LogKind::RocksMq, why })
        }
        Choice::Kafka { config, why } => Ok(OpenLog { log: Arc::new(Kafka::open(config)?), kind: LogKind::Kafka, why }),
        Choice::Scan { why } => Ok(OpenLog { log: Arc::new(NoLog), kind: LogKind::Scan, why }),
    }
}
