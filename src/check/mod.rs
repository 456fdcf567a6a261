/*!
Looking before a task is created, without changing anything: whether source and target answer and let us in, which log is read and how
far back it reaches, which collections cannot be carried over and what stands in their way on the target, room for our own files.

Every finding that is not good says what to do about it.
*/

mod collections;
mod disk;
mod log;
mod report;
mod servers;

use std::time::{Duration, Instant};

use crate::config::Config;
use crate::milvus::version::Version;
use crate::milvus::{CallContext, Cancel, Client};
use crate::task::mapping::NameMapping;
use crate::task::scope::Scope;
use crate::task::spec::TargetSpec;

pub use self::report::{Finding, Level, Report};

/// How long all questions together may take; what is not answered by then is said.
const TIME: Duration = Duration::from_secs(60);
/// How long one answer may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// A pause that one may want to survive when nobody says how long.
pub const DEFAULT_PAUSE: Duration = Duration::from_secs(24 * 3600);

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The target; without one only the source and our own host are looked at.
    pub target: Option<&'a TargetSpec>,
    /// Which collections.
    pub scope: &'a Scope,
    /// Their names on the target.
    pub mapping: &'a NameMapping,
    /// How long a task may be paused, or its target away.
    pub pause: Duration,
}

/// Looks at everything.
pub fn check(config: &Config, question: Question<'_>) -> Report {
    let mut report = Report::default();
    let deadline = Instant::now() + TIME;
    let source = servers::source(config, &mut report);
    let target = question.target.and_then(|target| servers::target(config, target, source.as_ref(), &mut report));
    let log = log::open(config, &mut report);
    if let Some(source) = &source {
        let look = collections::Look { source, target: target.as_ref(), question, deadline };
        let found = look.at_all(&mut report);
        if let Some(log) = &log {
            log.judge(&found, question.pause, &mut report);
        }
    }
    disk::room(&config.data_dir, &mut report);
    report
}

/// A server that answers.
pub(crate) struct Server {
    pub(crate) client: Client,
    pub(crate) version: Option<Version>,
    pub(crate) context: CallContext,
}

impl Server {
    fn new(client: Client) -> Server {
        let context = CallContext { timeout: CALL_TIMEOUT, cancel: Cancel::default() };
        Server { client, version: None, context }
    }
}
