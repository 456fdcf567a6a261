//! Whether a task replicates in the opposite direction, and whether its rows can be told from those of users.

use std::sync::Arc;

use super::log::Opened;
use super::report::PreflightReport;
use super::servers::ConnectedServer;
use crate::catalog::{LogMarks, OppositeFinding, OppositeServers, ask_opposite};
use crate::config::Config;
use crate::domain::Channel;

const ABOUT: &str = "opposite direction";

/// Asks, and reports an answer.
pub(super) fn look(
    config: &Config,
    [source, target]: [&ConnectedServer; 2],
    log: Option<&Opened>,
    report: &mut PreflightReport,
) {
    let marks = log.map_or(LogMarks::Kept, |log| LogMarks::of(log.kind()));
    let mut requests = log.map(|log| log.requests(Channel::new(&config.source.replicate_channel)));
    let servers = OppositeServers {
        source: Arc::clone(&source.client),
        target: Arc::clone(&target.client),
        call: source.context.clone(),
    };
    let shown = || requests.as_mut().map(|requests| requests.created_databases()).unwrap_or_default();
    let (at_source, at_target) = (source.client.address(), target.client.address());
    match ask_opposite(servers, marks, shown) {
        Ok(OppositeFinding::Nobody) => {}
        Ok(OppositeFinding::Unasked(why)) => report.warning(
            ABOUT,
            why,
            "grant the target's user CreateDatabase and DropDatabase, or make sure yourself that no task replicates \
             from the target to the source: nothing would tell its rows from users' rows",
        ),
        Ok(OppositeFinding::Protected) => report.good(
            ABOUT,
            format!(
                "a task replicates in the opposite direction, from {at_target} to {at_source}, and its marks come \
                 through"
            ),
        ),
        Ok(OppositeFinding::Unprotected(why)) => report.problem(
            ABOUT,
            why,
            "let the headers pass, or delete one of the two tasks; a task that is created all the same replicates \
             nothing until then",
        ),
        Err(error) => report.warning(
            ABOUT,
            format!("cannot determine whether a task replicates in the opposite direction: {error}"),
            "run the check again",
        ),
    }
}
