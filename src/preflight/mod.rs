/*!
Checks before a task is created, which change nothing that lasts: whether source and target are reachable and accept the
credentials, which log is read and how far back it reaches, which collections cannot be replicated or are in conflict
with objects on the target, whether a task replicates in the opposite direction, whether the disk has room for the
task's files, and for those who ask what a switchover, a failover and a failback would need.

Every finding that is not good names a remedy.
*/

mod collections;
mod disk;
mod generated_keys;
mod log;
mod opposite;
mod question;
mod recovery;
mod report;
mod servers;

use std::time::{Duration, Instant};

pub use self::generated_keys::promotion_warning;
pub(crate) use self::log::Scratch;
pub use self::question::{CheckExtent, PreflightRequest, RecoveryQuestion};
pub use self::report::{Finding, Level, PreflightReport};
use crate::config::Config;

/// Time limit of the whole check; the report says what was not checked by then.
const TIME: Duration = Duration::from_secs(60);
/// The pause that a task should survive, unless the request says otherwise.
pub const DEFAULT_PAUSE: Duration = Duration::from_secs(24 * 3600);

/// Makes all checks.
pub fn check(config: &Config, question: PreflightRequest<'_>) -> PreflightReport {
    let mut report = PreflightReport::default();
    let deadline = Instant::now() + TIME;
    let source = servers::source(config, &mut report);
    let target = question.target.and_then(|target| servers::target(config, target, source.as_ref(), &mut report));
    let log = log::open(config, &mut report);
    if let Some(source) = &source {
        let checks = collections::CollectionChecks { source, target: target.as_ref(), question, deadline };
        let found = checks.run(&mut report);
        if let Some(log) = &log {
            log.judge(&found, question.pause, &mut report);
        }
    }
    if let (Some(source), Some(target)) = (&source, &target) {
        opposite::look(config, [source, target], log.as_ref(), &mut report);
    }
    if let Some(recovery) = question.recovery {
        let servers = source.as_ref().zip(target.as_ref()).map(|(source, target)| [source, target]);
        recovery::look(config, recovery, question.pause, servers, deadline, &mut report);
    }
    disk::room(&config.data_dir, &mut report);
    report
}
