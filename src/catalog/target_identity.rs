/*!
Whom a task writes to: the identity of its target, kept on disk, and the judgement of what answers now.

Another server may answer at the target's address. One that is empty was wiped: the task fills it again. One that holds
somebody's collections is not written to, whatever their names are. Between two looks the connection itself refuses to
speak to another server after a loss ([`Client::expect_server`]).
*/

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::error::CatalogError;
use super::record::CatalogRecord;
use super::target_past::TargetPast;
use crate::milvus::catalog::DatabaseListing;
use crate::milvus::same_server_probe::is_probe;
use crate::milvus::{CallContext, Client, Error};
use crate::storage::sealed_file::{self, SealedError};
use crate::task::history::{EventKind, History};

const FORMAT: &str = "milvus-cdc target";
const VERSION: u32 = 1;
/// Time between two looks at a target that answers.
const INTERVAL: Duration = Duration::from_secs(20);
/// Time between two looks at one that does not.
const RETRY: Duration = Duration::from_secs(2);
/// Timeout of one call: whatever else the catalog does waits for it.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The file's content.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct StoredTarget {
    /// When the server made its database `default`, by its own count; `None` where it does not tell.
    #[serde(default)]
    server: Option<u64>,
}

/// What a server has that is set up at another time than the known one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TargetContents {
    /// Collections of the task's, by their ids there.
    Ours,
    /// Only others.
    Foreign,
    Nothing,
}

/// Who answers at the target's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TargetVerdict {
    Known,
    /// The task's server without anything, or another one that holds nothing.
    Wiped,
    /// Another server.
    Other,
}

/// What a look at a target has shown.
struct SeenTarget {
    verdict: TargetVerdict,
    /// When its server was set up, by its own count.
    server: Option<u64>,
}

/// An id is given once in the life of a server's metadata. `contents` is asked only where it counts.
fn judge(
    known: Option<u64>,
    seen: Option<u64>,
    contents: impl FnOnce() -> Result<TargetContents, Error>,
) -> Result<TargetVerdict, Error> {
    let (Some(known), Some(seen)) = (known, seen) else { return Ok(TargetVerdict::Known) };
    if known == seen {
        return Ok(TargetVerdict::Known);
    }
    Ok(match contents()? {
        TargetContents::Ours => TargetVerdict::Known,
        TargetContents::Nothing => TargetVerdict::Wiped,
        TargetContents::Foreign => TargetVerdict::Other,
    })
}

/// What a server has.
fn look_into(
    client: &Client,
    record: &CatalogRecord,
    databases: &[String],
    context: &CallContext,
) -> Result<TargetContents, Error> {
    let ours: Vec<i64> = record.ids().into_iter().filter_map(|id| Some(record.get(id)?.target_id)).collect();
    let mut contents = TargetContents::Nothing;
    for db in databases.iter().filter(|db| !is_probe(db)) {
        let found = match client.list_collections(db, context) {
            Err(error) if error.is_database_missing() => continue,
            outcome => outcome?,
        };
        if found.iter().any(|found| found.id != 0 && ours.contains(&found.id)) {
            return Ok(TargetContents::Ours);
        }
        if found.iter().any(|found| !is_probe(&found.name)) {
            contents = TargetContents::Foreign;
        }
    }
    Ok(contents)
}

/// The identity of the task's target, and its file.
pub(super) struct TargetGuard {
    path: PathBuf,
    state: Mutex<GuardState>,
    past: TargetPast,
}

struct GuardState {
    known: Option<u64>,
    looked: Option<Instant>,
    failed: Option<Instant>,
}

impl TargetGuard {
    /// Reads the identity in `folder`; a new task has none.
    ///
    /// # Errors
    /// The file exists but is damaged or unreadable.
    pub(super) fn open(folder: &Path) -> Result<TargetGuard, SealedError> {
        let path = folder.join("target.json");
        let StoredTarget { server: known } = sealed_file::load(&path, FORMAT, VERSION)?.unwrap_or_default();
        let past = TargetPast::open(folder)?;
        Ok(TargetGuard { path, state: Mutex::new(GuardState { known, looked: None, failed: None }), past })
    }

    /// Whether it is time to look: now and then, and after each loss of the connection.
    pub(super) fn is_due(&self, client: &Client) -> bool {
        // Whoever looks now waits for the target, which nobody else has to.
        let Some(state) = self.state.try_lock() else { return false };
        let GuardState { looked, failed, .. } = &*state;
        let is_over = |at: &Option<Instant>, time| at.is_none_or(|at| at.elapsed() >= time);
        (client.has_lost_server() || is_over(looked, INTERVAL)) && is_over(failed, RETRY)
    }

    /// Whether the server lacks what it had.
    pub(super) fn past(&self) -> &TargetPast {
        &self.past
    }

    /// Recognises the server that answers now.
    ///
    /// # Errors
    /// It is another one ([`CatalogError::OtherSource`]): this run of the task must end. Or it does not answer.
    pub(super) fn recognise(
        &self,
        client: &Client,
        record: &CatalogRecord,
        context: &CallContext,
    ) -> Result<(), CatalogError> {
        match self.look(client, record, context)?.verdict {
            TargetVerdict::Known => Ok(()),
            TargetVerdict::Wiped => Err(CatalogError::OtherSource(wiped(client))),
            TargetVerdict::Other => Err(CatalogError::OtherSource(other(client))),
        }
    }

    fn look(&self, client: &Client, record: &CatalogRecord, context: &CallContext) -> Result<SeenTarget, CatalogError> {
        let context = &CallContext { timeout: TIMEOUT, ..context.clone() };
        let mut state = self.state.lock();
        state.failed = Some(Instant::now());
        let DatabaseListing { names, server_created: seen } = client.describe_databases(context)?;
        let verdict = judge(state.known, seen, || look_into(client, record, &names, context))?;
        state.failed = None;
        if verdict == TargetVerdict::Known {
            let next = self.remember(state.known, seen)?;
            // After each loss the connection itself recognises the server, too, before it changes anything.
            if state.looked.is_none() || next != state.known {
                client.expect_server(next);
            } else {
                client.saw_server(seen);
            }
            (state.known, state.looked) = (next, Some(Instant::now()));
        }
        Ok(SeenTarget { verdict, server: seen })
    }

    fn remember(&self, known: Option<u64>, seen: Option<u64>) -> Result<Option<u64>, SealedError> {
        let next = seen.or(known);
        if next != known {
            sealed_file::save(&self.path, FORMAT, VERSION, &StoredTarget { server: next })?;
        }
        Ok(next)
    }

    /// Everything of the task's is lost, and it is this empty server that is written to from now on.
    fn accept_wiped(&self, client: &Client, record: &CatalogRecord, seen: Option<u64>) -> Result<(), CatalogError> {
        for id in record.ids() {
            record.entry(id).lose();
        }
        // In this order: a crash in between finds it wiped once more.
        record.save()?;
        let mut state = self.state.lock();
        state.known = self.remember(state.known, seen)?;
        client.expect_server(state.known);
        Ok(())
    }
}

fn wiped(client: &Client) -> String {
    format!(
        "the target {} is empty and was set up anew since the task wrote to it last: its collections are created \
         there again and filled from the source",
        client.address()
    )
}

fn other(client: &Client) -> String {
    format!(
        "the target {} is another server than the one that this task writes to, with none of its collections but with \
         others, so nothing is changed there: bring the old target back, and the task goes on by itself; or, to write \
         to this one, delete the task and create it again",
        client.address()
    )
}

/// Why a target is not written to at present.
#[derive(Debug, thiserror::Error)]
pub enum TargetRefused {
    /// It does not answer, or another server answers: it may be back later.
    #[error("{0}")]
    Later(String),
    /// The task's own files cannot be used.
    #[error(transparent)]
    Files(#[from] SealedError),
}

/// Recognises the target before anything of a task is started. What a wiped one has lost is recorded as lost.
///
/// # Errors
/// It is not there, or is another server than the one that the task has written to.
pub fn recognise_target(
    client: &Arc<Client>,
    folder: &Path,
    history: &History,
    context: &CallContext,
) -> Result<(), TargetRefused> {
    let record = CatalogRecord::open(folder)?;
    let guard = TargetGuard::open(folder)?;
    let later = |error: &dyn Display| TargetRefused::Later(error.to_string());
    let SeenTarget { verdict, server } = guard.look(client, &record, context).map_err(|error| later(&error))?;
    match verdict {
        TargetVerdict::Known => Ok(()),
        TargetVerdict::Other => Err(TargetRefused::Later(other(client))),
        TargetVerdict::Wiped => {
            let text = wiped(client);
            log::error!("{text}");
            history.add(EventKind::Catalog, text);
            guard.accept_wiped(client, &record, server).map_err(|error| later(&error))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_answers() {
        use TargetContents::{Foreign, Nothing, Ours};
        use TargetVerdict::{Known, Other, Wiped};
        let table = [
            // A task that begins takes what it finds, and some servers tell nothing.
            (None, Some(5), Foreign, Known),
            (Some(5), None, Foreign, Known),
            (Some(5), Some(5), Nothing, Known),
            // Another version counts the server's beginning otherwise.
            (Some(5), Some(6), Ours, Known),
            (Some(5), Some(6), Nothing, Wiped),
            (Some(5), Some(6), Foreign, Other),
        ];
        for (known, seen, contents, expected) in table {
            assert_eq!(judge(known, seen, || Ok(contents)).unwrap(), expected, "{known:?} {seen:?} {contents:?}");
        }
    }
}

#[cfg(test)]
mod fault_tests;
