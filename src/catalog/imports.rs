/*!
Bulk imports at the source: their rows come past the log, so the collection is compared once they can be seen.

The source remembers its imports for a while, and a file of the task's (`imports.json`) which of them have been dealt
with. One that is not in it is compared once more, which changes nothing.
*/

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::bounded;
use serde::{Deserialize, Serialize};

use super::error::CatalogError;
use super::event::CatalogEvent;
use super::source_identity::SourceVerdict;
use super::watch::CatalogWatch;
use crate::domain::{CollectionId, CollectionName};
use crate::milvus::catalog::CompleteImport;
use crate::milvus::{CallContext, Client, Error, RetryPolicy, retry_policy};
use crate::storage::sealed_file::{self, SealedError};

const FORMAT: &str = "milvus-cdc imports";
const VERSION: u32 = 1;

/// Between two questions.
const INTERVAL: Duration = Duration::from_secs(5);
/// Between two questions to a server that refuses to answer.
const REFUSED_INTERVAL: Duration = Duration::from_secs(600);
/// How long after its end an import's rows are taken to be visible where the server does not name its segments.
const SETTLED: Duration = Duration::from_secs(15);
/// How long its segments are waited for: a compaction may have replaced them.
const PATIENCE: Duration = Duration::from_secs(120);

/// Finds imports that are complete.
pub(super) struct ImportWatch {
    client: Arc<Client>,
    call: CallContext,
    path: PathBuf,
    known: KnownImports,
    /// Complete, and not visible when last looked at; with the first look.
    awaited: BTreeMap<i64, Instant>,
    /// Whose imports are told only by collection.
    unnamed: UnnamedImports,
    due: Instant,
}

#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct KnownImports {
    /// Compared, or of no concern to the task.
    done: BTreeSet<i64>,
}

impl KnownImports {
    /// The imports among these that have to be dealt with. What the server has forgotten is forgotten here, too.
    fn open(&mut self, listed: Vec<CompleteImport>) -> Vec<CompleteImport> {
        let ids: BTreeSet<i64> = listed.iter().map(|import| import.id).collect();
        self.done.retain(|id| ids.contains(id));
        listed.into_iter().filter(|import| !self.done.contains(&import.id)).collect()
    }
}

impl ImportWatch {
    /// # Errors
    /// The file exists but is damaged or unreadable.
    pub(super) fn open(folder: &Path, client: Arc<Client>, call: &CallContext) -> Result<ImportWatch, SealedError> {
        let path = folder.join("imports.json");
        let known = sealed_file::load(&path, FORMAT, VERSION)?.unwrap_or_default();
        Ok(ImportWatch {
            client,
            call: call.clone(),
            path,
            known,
            awaited: BTreeMap::new(),
            unnamed: UnnamedImports::default(),
            due: Instant::now(),
        })
    }

    /// Asks, when it is time to, and has collections compared.
    pub(super) fn look(&mut self, watch: &CatalogWatch) -> Result<(), CatalogError> {
        let now = Instant::now();
        if now < self.due || watch.verdict != SourceVerdict::Known {
            return Ok(());
        }
        self.due = now + INTERVAL;
        let outcome = self.client.complete_imports(None, &self.call).map_err(CatalogError::Source);
        match outcome.and_then(|listed| self.compare_open(watch, listed, now)) {
            Err(CatalogError::Source(error)) => {
                self.failed(&error, now);
                Ok(())
            }
            outcome => outcome,
        }
    }

    fn failed(&mut self, error: &Error, now: Instant) {
        if retry_policy(error) == RetryPolicy::Stop {
            log::info!("bulk imports at the source cannot be noticed: {error}");
            self.due = now + REFUSED_INTERVAL;
        } else {
            log::debug!("{error}");
        }
    }

    fn compare_open(
        &mut self,
        watch: &CatalogWatch,
        listed: Vec<CompleteImport>,
        now: Instant,
    ) -> Result<(), CatalogError> {
        let open = self.known.open(listed);
        self.awaited.retain(|id, _| open.iter().any(|import| import.id == *id));
        self.find_unnamed(watch, &open)?;
        for import in open {
            let id = import.collection.or_else(|| self.unnamed.collection_of(import.id));
            let Some(id) = id.filter(|id| watch.steps.target.record().contains(*id)) else { continue };
            let Some(name) = watch.steps.source.name_of(id) else { continue };
            if self.is_visible(&import, &name, now)? && report(watch, id, &import)? {
                self.known.done.insert(import.id);
                sealed_file::save(&self.path, FORMAT, VERSION, &self.known)?;
            }
        }
        Ok(())
    }

    /// Finds the collections of the task for imports whose collection the server does not tell: it is asked for each
    /// collection once per import.
    fn find_unnamed(&mut self, watch: &CatalogWatch, open: &[CompleteImport]) -> Result<(), CatalogError> {
        let unnamed = open.iter().filter(|import| import.collection.is_none()).map(|import| import.id);
        let unnamed: BTreeSet<i64> = unnamed.collect();
        self.unnamed.retain(&unnamed);
        for id in watch.steps.target.record().ids() {
            let Some(name) = watch.steps.source.name_of(id).filter(|_| self.unnamed.is_asked(id, &unnamed)) else {
                continue;
            };
            let imports = match self.client.complete_imports(Some(&name), &self.call) {
                Ok(imports) => imports,
                // One that our user may not ask for hides nothing of the others.
                Err(error) if retry_policy(&error) == RetryPolicy::Stop && !error.is_login_refused() => {
                    log::debug!("{error}: its imports are not seen");
                    continue;
                }
                Err(error) => return Err(CatalogError::Source(error)),
            };
            self.unnamed.answered(id, &unnamed, imports.into_iter().map(|import| import.id).collect());
        }
        Ok(())
    }

    /// Whether a query shows the import's rows: an import is complete some time before its segments are loaded (2.3.5:
    /// once they are indexed).
    fn is_visible(
        &mut self,
        import: &CompleteImport,
        name: &CollectionName,
        now: Instant,
    ) -> Result<bool, CatalogError> {
        let waited = now.saturating_duration_since(*self.awaited.entry(import.id).or_insert(now));
        if import.segments.is_empty() {
            return Ok(waited >= SETTLED);
        }
        if waited >= PATIENCE {
            return Ok(true);
        }
        match self.client.served_segments(name, &self.call) {
            Ok(served) => Ok(import.segments.iter().all(|segment| served.contains(segment))),
            // The comparison waits until the collection is loaded, with everything in it.
            Err(error) if error.is_not_loaded() => Ok(true),
            Err(error) => Err(CatalogError::Source(error)),
        }
    }
}

/// Complete imports whose collection the server tells only when it is asked for the imports of each collection. Whose
/// such an import is not, it never becomes.
#[derive(Debug, Default)]
struct UnnamedImports {
    /// By import the collection, where it was found.
    found: BTreeMap<i64, CollectionId>,
    /// By import the collections that it does not belong to.
    excluded: BTreeMap<i64, BTreeSet<CollectionId>>,
}

impl UnnamedImports {
    fn collection_of(&self, import: i64) -> Option<CollectionId> {
        self.found.get(&import).copied()
    }

    /// Forgets all imports but these.
    fn retain(&mut self, open: &BTreeSet<i64>) {
        self.found.retain(|import, _| open.contains(import));
        self.excluded.retain(|import, _| open.contains(import));
    }

    /// Whether any of these imports may belong to the collection, as far as is known.
    fn is_asked(&self, id: CollectionId, open: &BTreeSet<i64>) -> bool {
        let is_excluded = |import| self.excluded.get(import).is_some_and(|excluded| excluded.contains(&id));
        open.iter().any(|import| !self.found.contains_key(import) && !is_excluded(import))
    }

    /// The server has told the imports of a collection.
    fn answered(&mut self, id: CollectionId, open: &BTreeSet<i64>, told: BTreeSet<i64>) {
        for import in open {
            if told.contains(import) {
                self.found.insert(*import, id);
            } else {
                self.excluded.entry(*import).or_default().insert(id);
            }
        }
    }
}

/// Has the collection compared. False when that has to be asked for again.
fn report(watch: &CatalogWatch, id: CollectionId, import: &CompleteImport) -> Result<bool, CatalogError> {
    let (answer, answered) = bounded(1);
    watch.steps.reporter.send(CatalogEvent::Imported { id, rows: import.rows, answer })?;
    Ok(answered.recv().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn import(id: i64) -> CompleteImport {
        CompleteImport { id, collection: None, rows: 0, segments: Vec::new() }
    }

    #[test]
    fn an_import_is_dealt_with_once_and_forgotten_with_the_server() {
        let mut known = KnownImports::default();
        let ids = |imports: Vec<CompleteImport>| imports.iter().map(|import| import.id).collect::<Vec<_>>();
        assert_eq!(ids(known.open(vec![import(1), import(2)])), [1, 2]);
        known.done.insert(1);
        assert_eq!(ids(known.open(vec![import(1), import(2)])), [2]);
        assert_eq!(ids(known.open(vec![import(2)])), [2]);
        assert_eq!(known, KnownImports::default());
    }

    #[test]
    fn a_collection_is_asked_once_about_an_import_that_is_not_its_own() {
        let (mut unnamed, open) = (UnnamedImports::default(), BTreeSet::from([1, 2]));
        let [a, b] = [CollectionId(7), CollectionId(8)];
        assert!(unnamed.is_asked(a, &open) && !unnamed.is_asked(a, &BTreeSet::new()));
        unnamed.answered(a, &open, [1, 99].into());
        assert!(!unnamed.is_asked(a, &open) && unnamed.is_asked(b, &open), "the second may be the other's");
        unnamed.answered(b, &open, BTreeSet::new());
        assert!(!unnamed.is_asked(b, &open), "it is of no concern to the task");
        assert_eq!((unnamed.collection_of(1), unnamed.collection_of(2)), (Some(a), None));
        assert!(unnamed.is_asked(b, &[2, 3].into()), "another import");
        unnamed.retain(&[2].into());
        assert_eq!(unnamed.collection_of(1), None);
        assert!(unnamed.is_asked(CollectionId(9), &open), "a collection that came into the scope");
    }
}
