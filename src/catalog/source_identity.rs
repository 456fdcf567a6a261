/*!
Whom a task follows: the identity of its source, kept on disk, and the judgement of what answers now.

Another server may answer at the source's address: one that was reinstalled, an empty stand-in, a mistyped address. What
it lacks was never dropped, and its collections of the same names are others. So nothing that a listing says counts
before the server behind it was recognised.
*/

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::error::CatalogError;
use super::record::CatalogRecord;
use super::source::{Listing, SourceCatalog};
use crate::domain::{CollectionId, CollectionName};
use crate::milvus::{CallContext, Client};
use crate::source::Log;
use crate::storage::sealed_file::{self, SealedError};
use crate::task::failback::ReturnedPrimary;
use crate::task::scope::Scope;

const FORMAT: &str = "milvus-cdc source";
const VERSION: u32 = 1;

/// What cannot be the same at two servers by chance. An old file may lack a part, and a server may not tell it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SourceIdentity {
    /// When the server made its database `default`, by its own count.
    #[serde(default)]
    server: Option<u64>,
    /// The identity of its log: of RocksMQ the database's, of Kafka the cluster's.
    #[serde(default)]
    log: Option<String>,
}

impl fmt::Display for SourceIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let server = self.server.map(|created| format!("a server set up at {created}"));
        let log = self.log.as_ref().map(|log| format!("the log {log}"));
        let parts: Vec<String> = server.into_iter().chain(log).collect();
        f.write_str(if parts.is_empty() { "a server that does not identify itself" } else { "" })?;
        f.write_str(&parts.join(" with "))
    }
}

/// How many of the task's collections a listing has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RecordedCollections {
    /// The task has none.
    None,
    SomeListed,
    NoneListed,
}

/// Whether the source was in sight all the time since it was last recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Contact {
    Unbroken,
    Interrupted,
}

/// Who answers at the source's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SourceVerdict {
    /// The source that the task follows.
    Known,
    /// The same, with another log.
    NewLog,
    /// Nothing tells: what is missing may never have been dropped.
    Unsure,
    /// Another server.
    Other,
}

/// An id is given once in the life of a server's metadata, so one collection that is still there proves the server.
fn judge(
    known: &SourceIdentity,
    seen: &SourceIdentity,
    collections: RecordedCollections,
    contact: Contact,
) -> SourceVerdict {
    let differ = |known: &Option<String>, seen: &Option<String>| known.is_some() && seen.is_some() && known != seen;
    let same = if differ(&known.log, &seen.log) { SourceVerdict::NewLog } else { SourceVerdict::Known };
    if collections == RecordedCollections::SomeListed {
        return same;
    }
    match (known.server, seen.server) {
        (Some(known), Some(seen)) if known == seen => return same,
        (Some(_), Some(_)) => return SourceVerdict::Other,
        _ => {}
    }
    match (same, collections, contact) {
        (SourceVerdict::NewLog, ..) => SourceVerdict::Other,
        (_, RecordedCollections::NoneListed, Contact::Interrupted) => SourceVerdict::Unsure,
        _ => SourceVerdict::Known,
    }
}

/// What the log tells of the past of a source that was recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourcePast {
    /// It goes on where the task has left it, as far as is known.
    Continues,
    /// It was restored to an earlier time: what the log had when it was read last is not in it any more.
    RolledBack,
}

/// The file's content.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct StoredSource {
    #[serde(flatten)]
    identity: SourceIdentity,
    /// The source was restored to an earlier time, and what it lacks since has not been held yet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    restored: bool,
}

/// The identity of the task's source, and its file.
pub(super) struct SourceGuard {
    path: PathBuf,
    known: SourceIdentity,
    is_restored: bool,
    log: Arc<dyn Log>,
    contact: Contact,
    /// It was recognised in this run.
    was_recognised: bool,
    /// How often the connection was lost so far.
    losses: u64,
}

impl SourceGuard {
    /// Reads the identity in `folder`; a new task has none.
    ///
    /// # Errors
    /// The file exists but is damaged or unreadable.
    pub(super) fn open(folder: &Path, log: Arc<dyn Log>) -> Result<SourceGuard, SealedError> {
        let path = folder.join("source.json");
        let StoredSource { identity: known, restored: is_restored } =
            sealed_file::load(&path, FORMAT, VERSION)?.unwrap_or_default();
        Ok(SourceGuard {
            path,
            known,
            is_restored,
            log,
            contact: Contact::Interrupted,
            was_recognised: false,
            losses: 0,
        })
    }

    /// The source does not answer: another one may, the next time.
    pub(super) fn interrupted(&mut self) {
        self.contact = Contact::Interrupted;
    }

    /// The connection was lost so often, whether or not anybody noticed it by a call.
    pub(super) fn note_losses(&mut self, losses: u64) {
        if std::mem::replace(&mut self.losses, losses) != losses {
            self.interrupted();
        }
    }

    /// Whether the source was away since it was recognised in this run: nobody has asked its log since whether it goes
    /// on where it was left.
    pub(super) fn has_come_back(&self) -> bool {
        self.was_recognised && self.contact == Contact::Interrupted
    }

    /// Recognises the server behind a listing, and remembers what is new of its identity; another log only with
    /// [`recognise_source`], when the next run has taken note of it.
    pub(super) fn recognise(
        &mut self,
        listing: &Listing,
        record: &CatalogRecord,
        address: &str,
    ) -> Result<SourceVerdict, CatalogError> {
        let seen = SourceIdentity { server: listing.server_created(), log: self.log.identity() };
        let collections = recorded_in(listing, record);
        let verdict = judge(&self.known, &seen, collections, self.contact);
        match verdict {
            SourceVerdict::Known => {
                self.contact = Contact::Unbroken;
                self.was_recognised = true;
            }
            SourceVerdict::NewLog => {
                log::error!("the source {address} has another log: {seen}, it had {}", self.known);
                return Ok(verdict);
            }
            SourceVerdict::Unsure => return Ok(verdict),
            SourceVerdict::Other => {
                return Err(CatalogError::OtherSource(format!(
                    "the source {address} is another server than the one that this task follows (known: {}; found: \
                     {seen}, with none of its collections), so nothing is changed on the target and no rows are \
                     applied: bring the old source back, and the task goes on by itself; or, to follow the new one, \
                     delete the task and create it again (what is on the target stays there)",
                    self.known
                )));
            }
        }
        self.remember(seen)?;
        Ok(verdict)
    }

    fn remember(&mut self, seen: SourceIdentity) -> Result<(), SealedError> {
        let known = &self.known;
        let next = SourceIdentity { server: seen.server.or(known.server), log: seen.log.or_else(|| known.log.clone()) };
        if next != *known {
            self.save(next.clone(), self.is_restored)?;
            self.known = next;
        }
        Ok(())
    }

    fn save(&self, identity: SourceIdentity, restored: bool) -> Result<(), SealedError> {
        sealed_file::save(&self.path, FORMAT, VERSION, &StoredSource { identity, restored })
    }

    /// Whether the source was restored to an earlier time, so that what it lacks was not dropped.
    pub(super) fn is_restored(&self) -> bool {
        self.is_restored
    }

    /// Notes that the source was restored, or that everything it lacks since is held.
    pub(super) fn set_restored(&mut self, restored: bool) -> Result<(), SealedError> {
        if restored != self.is_restored {
            self.save(self.known.clone(), restored)?;
            self.is_restored = restored;
        }
        Ok(())
    }
}

/// Why a source is not followed at present.
#[derive(Debug, thiserror::Error)]
pub enum SourceRefused {
    /// It does not answer, or another server answers: it may be back later.
    #[error("{0}")]
    Later(String),
    /// The task's own files cannot be used.
    #[error(transparent)]
    Files(#[from] SealedError),
}

/// Recognises the source before anything of a task is started. `past`: as its log tells. `note_new_log`: stores that
/// no position of the old one counts; it is called again after a crash.
///
/// # Errors
/// It is not there, or is another server than the one that the task has followed.
pub fn recognise_source(
    client: &Arc<Client>,
    log: &Arc<dyn Log>,
    scope: &Scope,
    folder: &Path,
    past: SourcePast,
    context: &CallContext,
    note_new_log: impl FnOnce() -> Result<(), SealedError>,
) -> Result<(), SourceRefused> {
    let SourceLook { record, mut guard, listing } = look(client, log, scope, folder, context)?;
    let verdict = guard.recognise(&listing, &record, client.address()).map_err(later)?;
    if verdict == SourceVerdict::NewLog {
        note_new_log()?;
        guard.remember(SourceIdentity { server: listing.server_created(), log: log.identity() })?;
    }
    if past == SourcePast::RolledBack {
        guard.set_restored(true)?;
    }
    Ok(())
}

/// What is known of a source, and what it shows now.
struct SourceLook {
    record: CatalogRecord,
    guard: SourceGuard,
    listing: Listing,
}

fn look(
    client: &Arc<Client>,
    log: &Arc<dyn Log>,
    scope: &Scope,
    folder: &Path,
    context: &CallContext,
) -> Result<SourceLook, SourceRefused> {
    let record = CatalogRecord::open(folder)?;
    let guard = SourceGuard::open(folder, Arc::clone(log))?;
    let source = SourceCatalog::new(Arc::clone(client), context.clone(), scope.clone());
    let listing = source.read(&record).map_err(later)?;
    Ok(SourceLook { record, guard, listing })
}

fn later(error: CatalogError) -> SourceRefused {
    SourceRefused::Later(error.to_string())
}

fn recorded_in(listing: &Listing, record: &CatalogRecord) -> RecordedCollections {
    let recorded = record.ids();
    match recorded.iter().any(|id| listing.contains(*id)) {
        _ if recorded.is_empty() => RecordedCollections::None,
        true => RecordedCollections::SomeListed,
        false => RecordedCollections::NoneListed,
    }
}

/// A source that was given up, and answers again.
#[derive(Debug)]
pub struct ReturnedSource {
    /// Which server it is.
    pub primary: ReturnedPrimary,
    /// Its collections within the task's scope.
    pub collections: BTreeMap<CollectionId, CollectionName>,
}

/// Recognises a source that was given up. Changes nothing, on no disk either. `past`: as its log tells.
///
/// # Errors
/// It does not answer, or the task's files cannot be used.
pub fn recognise_returned(
    client: &Arc<Client>,
    log: &Arc<dyn Log>,
    scope: &Scope,
    folder: &Path,
    past: SourcePast,
    context: &CallContext,
) -> Result<ReturnedSource, SourceRefused> {
    let SourceLook { record, guard, listing } = look(client, log, scope, folder, context)?;
    let seen = SourceIdentity { server: listing.server_created(), log: log.identity() };
    let recorded = recorded_in(&listing, &record);
    let verdict = judge(&guard.known, &seen, recorded, Contact::Interrupted);
    Ok(ReturnedSource { primary: returned(verdict, past, recorded), collections: listing.collections().clone() })
}

/// What a user is told of it. A log that has gone back says more than a listing that lacks everything.
fn returned(verdict: SourceVerdict, past: SourcePast, recorded: RecordedCollections) -> ReturnedPrimary {
    match (verdict, past, recorded) {
        (SourceVerdict::Other, ..) => ReturnedPrimary::Other,
        (SourceVerdict::Unsure, ..) => ReturnedPrimary::Unsure,
        (SourceVerdict::NewLog, ..) => ReturnedPrimary::NewLog,
        (SourceVerdict::Known, SourcePast::RolledBack, _) => ReturnedPrimary::Restored,
        (SourceVerdict::Known, _, RecordedCollections::NoneListed) => ReturnedPrimary::Emptied,
        (SourceVerdict::Known, ..) => ReturnedPrimary::Same,
    }
}

/// Whether this is the log that the task has read so far, which both tell: all there is to recognise while the source
/// itself does not answer.
///
/// # Errors
/// The file of the source's identity cannot be used.
pub fn is_known_log(log: &Arc<dyn Log>, folder: &Path) -> Result<bool, SealedError> {
    let guard = SourceGuard::open(folder, Arc::clone(log))?;
    Ok(guard.known.log.is_some() && guard.known.log == log.identity())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(server: u64, log: &str) -> SourceIdentity {
        SourceIdentity {
            server: Some(server).filter(|server| *server != 0),
            log: Some(log.to_owned()).filter(|log| !log.is_empty()),
        }
    }

    #[test]
    fn who_answers() {
        use Contact::{Interrupted, Unbroken};
        use RecordedCollections::{None, NoneListed, SomeListed};
        use SourceVerdict::{Known, NewLog, Other, Unsure};
        let table = [
            // A task that begins takes what it finds.
            ((0, ""), (5, "a"), None, Interrupted, Known),
            ((5, "a"), (5, "a"), SomeListed, Interrupted, Known),
            // Everything was dropped at the source.
            ((5, "a"), (5, "a"), NoneListed, Interrupted, Known),
            // Reinstalled, empty or not, and whether or not the task has collections.
            ((5, "a"), (6, "b"), NoneListed, Interrupted, Other),
            ((5, "a"), (6, "b"), NoneListed, Unbroken, Other),
            ((5, "a"), (6, "a"), None, Unbroken, Other),
            ((0, "a"), (0, "b"), NoneListed, Interrupted, Other),
            // The queue's folder was deleted.
            ((5, "a"), (5, "b"), NoneListed, Unbroken, NewLog),
            ((5, "a"), (5, "b"), SomeListed, Unbroken, NewLog),
            // Another version counts the server's beginning otherwise.
            ((5, "a"), (6, "a"), SomeListed, Interrupted, Known),
            // A broker outlives its Milvus, and some servers tell nothing.
            ((0, "a"), (0, "a"), NoneListed, Interrupted, Unsure),
            ((0, ""), (0, ""), NoneListed, Interrupted, Unsure),
            ((0, ""), (0, ""), NoneListed, Unbroken, Known),
            ((0, ""), (0, ""), SomeListed, Interrupted, Known),
            // A file of an earlier version, or none yet.
            ((0, ""), (5, "a"), NoneListed, Interrupted, Unsure),
            ((5, "a"), (0, ""), NoneListed, Interrupted, Unsure),
            ((5, "a"), (0, ""), SomeListed, Unbroken, Known),
        ];
        for (known, seen, collections, contact, expected) in table {
            let (known, seen) = (identity(known.0, known.1), identity(seen.0, seen.1));
            assert_eq!(judge(&known, &seen, collections, contact), expected, "{known:?} {seen:?} {collections:?}");
        }
    }

    #[test]
    fn who_has_returned() {
        use RecordedCollections::{None, NoneListed, SomeListed};
        use SourcePast::{Continues, RolledBack};
        use SourceVerdict::{Known, NewLog, Other, Unsure};
        let table = [
            ((Known, Continues, SomeListed), ReturnedPrimary::Same),
            ((Known, Continues, None), ReturnedPrimary::Same),
            ((Known, Continues, NoneListed), ReturnedPrimary::Emptied),
            ((Known, RolledBack, NoneListed), ReturnedPrimary::Restored),
            ((Known, RolledBack, SomeListed), ReturnedPrimary::Restored),
            ((NewLog, Continues, SomeListed), ReturnedPrimary::NewLog),
            ((Unsure, Continues, NoneListed), ReturnedPrimary::Unsure),
            ((Other, RolledBack, NoneListed), ReturnedPrimary::Other),
        ];
        for ((verdict, past, recorded), expected) in table {
            assert_eq!(returned(verdict, past, recorded), expected, "{verdict:?} {past:?} {recorded:?}");
        }
    }

    /// As written before it was noted whether a source was restored.
    #[test]
    fn an_old_file_is_read() {
        let old: StoredSource = serde_json::from_str(r#"{"server":5,"log":"a"}"#).unwrap();
        assert_eq!(old, StoredSource { identity: identity(5, "a"), restored: false });
        assert_eq!(serde_json::to_string(&old).unwrap(), r#"{"server":5,"log":"a"}"#);
    }

    #[test]
    fn an_identity_outlives_what_is_not_told_for_a_while() {
        let folder = tempfile::tempdir().unwrap();
        let open = || SourceGuard::open(folder.path(), Arc::new(crate::source::NoLog)).unwrap();
        open().remember(identity(5, "a")).unwrap();
        let mut again = open();
        assert_eq!(again.known, identity(5, "a"));
        again.remember(identity(0, "")).unwrap();
        again.remember(identity(0, "b")).unwrap();
        assert_eq!(open().known, identity(5, "b"));
        again.set_restored(true).unwrap();
        assert!(open().is_restored() && open().known == identity(5, "b"));
        open().set_restored(false).unwrap();
        assert!(!open().is_restored());
        assert_eq!(open().known.to_string(), "a server set up at 5 with the log b");
    }
}
