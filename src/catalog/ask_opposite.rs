//! The question before a task is created: does one replicate in the opposite direction?

use std::thread;
use std::time::{Duration, Instant};

use super::error::CatalogError;
use super::opposite::{LogMarks, LoggedAnnouncement, Opposite, OppositeAdmission, OppositeServers};
use crate::milvus::Error;

/// How often an answer is looked for.
const POLL: Duration = Duration::from_millis(100);

/// What is found when a task that does not run asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum OppositeFinding {
    /// Nobody answers.
    Nobody,
    /// Nobody can be asked, and logs keep no marks.
    Unasked(String),
    /// Its marks come through.
    Protected,
    /// They do not: why, and what to do.
    Unprotected(String),
}

/// Asks whether a task in the opposite direction runs. `shown`: what the source's log has shown since the last call.
///
/// # Errors
/// A server does not answer.
pub(crate) fn ask_opposite(
    servers: OppositeServers,
    log: LogMarks,
    mut shown: impl FnMut() -> Vec<LoggedAnnouncement>,
) -> Result<OppositeFinding, Error> {
    let mut opposite = Opposite::new(servers, log);
    let finding = loop {
        match opposite.round(None, &shown(), Instant::now()) {
            Ok(OppositeAdmission::Pending) => thread::sleep(POLL),
            Ok(OppositeAdmission::Granted) if opposite.is_proven() => break Ok(OppositeFinding::Protected),
            Ok(OppositeAdmission::Granted) => {
                let unasked = opposite.why_unasked().map(str::to_owned);
                break Ok(unasked.map_or(OppositeFinding::Nobody, OppositeFinding::Unasked));
            }
            Err(CatalogError::Unprotected(why)) => break Ok(OppositeFinding::Unprotected(why)),
            Err(CatalogError::Source(error) | CatalogError::Target(error)) => break Err(error),
            Err(error) => {
                log::debug!("{error}");
                break Ok(OppositeFinding::Nobody);
            }
        }
    };
    opposite.leave();
    finding
}
