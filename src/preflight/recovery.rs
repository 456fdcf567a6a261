/*!
What a switchover, a failover and a failback of a task would need: the way back, from its target to its source. Whatever
a task in that direction needs is checked as for any task, with the sites exchanged.
*/

use std::time::{Duration, Instant};

use super::collections::CollectionChecks;
use super::log;
use super::question::{PreflightRequest, RecoveryQuestion};
use super::report::{Level, PreflightReport};
use super::servers::{self, ConnectedServer};
use crate::catalog::{LogMarks, drop_marks};
use crate::config::{Config, SourceConfig};
use crate::domain::Timestamp;
use crate::milvus::Error;
use crate::task::reverse::Irreversible;
use crate::task::spec::{TargetSpec, TaskSpec};

const ABOUT: &str = "way back";
const CLOCKS: &str = "clocks";
/// Clocks further apart than this are worth a warning: reports of a failover are read beside logs of both servers.
const APART_MS: u64 = 500;

/// Checks it, and adds what was found.
pub(super) fn look(
    config: &Config,
    question: RecoveryQuestion<'_>,
    pause: Duration,
    servers: Option<[&ConnectedServer; 2]>,
    deadline: Instant,
    report: &mut PreflightReport,
) {
    if let Some(servers) = servers {
        compare_clocks(servers, report);
    }
    let spec = question.spec;
    let Some((name, site)) = question.sites.site_at(spec.target.address()) else {
        let unknown = Irreversible::UnknownSite(spec.target.address().to_string());
        return report.warning(
            ABOUT,
            format!("a failover would work, a switchover would not, and a failback would not reverse: {unknown}"),
            "add the target and its log to `peers` of the configuration, and start anew",
        );
    };
    match spec.reversed(name, TargetSpec::of_site(&config.source.endpoint)) {
        Ok(back) => check_way_back(config, site, &back, pause, deadline, report),
        Err(error) => report.problem(
            ABOUT,
            format!("the task cannot be reversed: {error}"),
            "create it with a name_mapping that maps whole databases, or collections one by one",
        ),
    }
}

fn check_way_back(
    config: &Config,
    site: &SourceConfig,
    back: &TaskSpec,
    pause: Duration,
    deadline: Instant,
    report: &mut PreflightReport,
) {
    let (as_of_target, mut found) = (config.as_of(site), PreflightReport::default());
    let source = servers::source(&as_of_target, &mut found);
    let target = servers::target(&as_of_target, &back.target, source.as_ref(), &mut found);
    let opened = log::open(&as_of_target, &mut found);
    if let (Some(source), Some(target), Some(opened)) = (&source, &target, &opened) {
        let is_dropped = drop_marks([&source.client, &target.client], &source.context);
        judge_marks(LogMarks::of(opened.kind()), is_dropped, &mut found);
    }
    if let (Some(source), Some(opened)) = (&source, &opened) {
        let question =
            PreflightRequest { target: None, scope: &back.scope, mapping: &back.mapping, pause, recovery: None };
        // What stands in the way of a new task there does not stand in the way of this one, which takes what it finds.
        let collections = CollectionChecks { source, target: None, question, deadline };
        opened.judge(&collections.run(&mut PreflightReport::default()), pause, &mut found);
    }
    for finding in found.findings() {
        let text = format!("{}: {}", finding.about, finding.text);
        let remedy = finding.remedy.clone().unwrap_or_default();
        match finding.level {
            Level::Good => report.good(ABOUT, text),
            Level::Warning => report.warning(ABOUT, text, remedy),
            // The task itself works without.
            Level::Problem => report.warning(ABOUT, text, format!("{remedy}; until then nothing can go back")),
        }
    }
}

fn judge_marks(marks: LogMarks, is_dropped: Result<bool, Error>, report: &mut PreflightReport) {
    const MARKS: &str = "marks";
    match (marks, is_dropped) {
        (LogMarks::Kept, Ok(false)) => report.good(MARKS, "both logs keep the marks of our calls"),
        (LogMarks::Kept, Err(error)) => {
            report.warning(MARKS, format!("cannot determine whether they are kept: {error}"), "run the check again");
        }
        (LogMarks::Dropped, _) | (_, Ok(true)) => report.warning(
            MARKS,
            "one of the logs does not keep the marks of our calls (Milvus 2.3 to 2.5 do, read by rocksmq, kafka or \
             pulsar): two opposite tasks are refused, and with them a switchover",
            "plan with a failover; for the way back, delete the task and create one in the other direction",
        ),
    }
}

fn compare_clocks([source, target]: [&ConnectedServer; 2], report: &mut PreflightReport) {
    let asked = Instant::now();
    let (at_source, at_target) =
        (source.client.server_time(&source.context), target.client.server_time(&target.context));
    let (Ok(at_source), Ok(at_target)) = (at_source, at_target) else {
        return report.warning(CLOCKS, "a server does not tell its time", "run the check again");
    };
    let skew = Timestamp(at_target).physical_ms().abs_diff(Timestamp(at_source).physical_ms());
    // The target was asked after the source: what that took is no skew.
    let skew = skew.saturating_sub(asked.elapsed().as_millis() as u64);
    if skew <= APART_MS {
        return report.good(CLOCKS, "the clocks of both servers agree");
    }
    report.warning(
        CLOCKS,
        format!("the clocks of both servers are {skew} ms apart: times in the report of a failover are the source's"),
        "set both by NTP",
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marks(marks: LogMarks, is_dropped: Result<bool, Error>) -> (Level, String) {
        let mut report = PreflightReport::default();
        judge_marks(marks, is_dropped, &mut report);
        (report.level(), report.findings()[0].text.clone())
    }

    #[test]
    fn marks_have_to_be_kept_by_both() {
        assert_eq!(marks(LogMarks::Kept, Ok(false)).0, Level::Good);
        for (kept, is_dropped) in [(LogMarks::Kept, true), (LogMarks::Dropped, false)] {
            let (level, text) = marks(kept, Ok(is_dropped));
            assert!(level == Level::Warning && text.contains("a switchover"), "{text}");
        }
    }
}
