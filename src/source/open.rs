//! Which log a source is read from, and opening it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::log::{Log, LogError};
use super::rocksmq::RocksMq;
use super::wal::{Unusable, Wal, probe};
use crate::domain::LogKind;
use crate::milvus::{CallContext, Cancel, Client};

/// What the configuration says about a source's log.
#[derive(Debug, Clone)]
pub struct LogSettings {
    /// The kind that is asked for; `None`: the best that works.
    pub wanted: Option<LogKind>,
    /// The folder of the source's RocksMQ.
    pub rocksmq: Option<PathBuf>,
}

impl LogSettings {
    /// The kinds that come into question, the best first. What needs no look at the source is found out here, so that
    /// `create` can refuse at once.
    ///
    /// # Errors
    /// The kind that is asked for is not configured: what to set.
    pub fn candidates(&self) -> Result<Vec<Choice<'_>>, Unconfigured> {
        let rocksmq = self.rocksmq.as_deref().map(Choice::RocksMq);
        match self.wanted {
            Some(LogKind::RocksMq) => Ok(vec![
                rocksmq.ok_or_else(|| Unconfigured(format!("sourceConfig.log is `rocksmq` and {NO_ROCKSMQ}")))?,
            ]),
            Some(LogKind::Wal) => Ok(vec![Choice::Wal]),
            None => Ok(rocksmq.into_iter().chain([Choice::Wal]).collect()),
        }
    }
}

const NO_ROCKSMQ: &str =
    "sourceConfig.rocksmq.path is not set: it names the folder of the source's log (rocksmq.path of its milvus.yaml)";

/// A kind of log with what it needs.
#[derive(Debug, Clone, Copy)]
pub enum Choice<'a> {
    /// The files of the built-in queue, in this folder.
    RocksMq(&'a Path),
    /// The source's own write-ahead log.
    Wal,
}

impl Choice<'_> {
    /// Which kind it is.
    pub fn kind(self) -> LogKind {
        match self {
            Choice::RocksMq(_) => LogKind::RocksMq,
            Choice::Wal => LogKind::Wal,
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
    if settings.rocksmq.is_none() {
        others.push("not `rocksmq`: sourceConfig.rocksmq.path is not set".into());
    }
    for choice in candidates {
        match open_one(choice, client, cancel, own) {
            Ok((log, what)) => {
                let why = std::iter::once(format!("sourceConfig.log is `auto`, {what}")).chain(others);
                return Ok(OpenLog { log, kind: choice.kind(), why: why.collect::<Vec<_>>().join("; ") });
            }
            // A source that does not answer says nothing about what it has.
            Err(error @ OpenError::Unreachable(_)) if choice.kind() == LogKind::Wal => return Err(error),
            Err(error) => others.push(format!("not `{}`: {error}", choice.kind().name())),
        }
    }
    Err(OpenError::Unusable(format!("sourceConfig.log is `auto`, and no log can be read: {}", others.join("; "))))
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
