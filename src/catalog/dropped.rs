/*!
Collections that the source's listing lacks, and the proof that they were dropped.

A listing alone proves nothing. It goes from database to database, and a collection that is renamed into another one
meanwhile may be in neither; and newer servers list only what the user has grants for. So a collection counts as
dropped when two listings in a row lack it and its last known name does not stand for it any more.
*/

use std::collections::BTreeMap;

use super::error::CatalogError;
use super::record::CatalogRecord;
use super::source::SourceCatalog;
use crate::domain::CollectionId;
use crate::milvus::Error;

/// Replicated collections that the last listing lacks, and how many listings in a row have.
#[derive(Default)]
pub(super) struct Dropped {
    missing: BTreeMap<CollectionId, u32>,
}

impl Dropped {
    /// Counts one listing.
    pub(super) fn count(&mut self, replicated: &[CollectionId], is_listed: impl Fn(CollectionId) -> bool) {
        let before = std::mem::take(&mut self.missing);
        let missing = replicated.iter().filter(|id| !is_listed(**id));
        self.missing = missing.map(|id| (*id, before.get(id).map_or(1, |count| count.saturating_add(1)))).collect();
    }

    /// Whether the last listing was the first one to lack some collection.
    pub(super) fn has_new(&self) -> bool {
        self.missing.values().any(|listings| *listings == 1)
    }

    /// Whether two listings in a row lack it.
    pub(super) fn is_certain(&self, id: CollectionId) -> bool {
        self.missing.get(&id).is_some_and(|listings| *listings > 1)
    }

    /// The replicated collections that two listings in a row lack. One of them may have been given up since the last
    /// listing.
    pub(super) fn certain(&self, is_replicated: impl Fn(CollectionId) -> bool) -> Vec<CollectionId> {
        self.missing.keys().copied().filter(|id| self.is_certain(*id) && is_replicated(*id)).collect()
    }
}

/// Fails unless the last known name of a collection that listings lack stands for it no more. Nothing is dropped
/// without this.
pub(super) fn confirm_dropped(
    source: &SourceCatalog,
    record: &CatalogRecord,
    id: CollectionId,
) -> Result<(), CatalogError> {
    // Records written by early versions have no name: then the listings count alone.
    let Some(name) = record.source_of(id) else { return Ok(()) };
    if was_dropped(id, source.holder(&name, record)).map_err(CatalogError::Source)? {
        return Ok(());
    }
    Err(CatalogError::Unlisted { name, server: source.address().to_owned() })
}

/// Whether an unlisted collection was dropped. `holder` is what its last known name stands for now: a collection, or
/// something outside the task's scope.
fn was_dropped(id: CollectionId, holder: Result<Option<CollectionId>, Error>) -> Result<bool, Error> {
    match holder {
        Ok(found) => Ok(found != Some(id)),
        Err(error) if error.is_collection_missing() || error.is_database_missing() => Ok(true),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::milvus::{ErrorKind, RetryAdvice};

    const ID: CollectionId = CollectionId(7);

    fn error(kind: ErrorKind) -> Error {
        let object = "default.a".into();
        Error { method: "DescribeCollection", address: "a:1".into(), object, kind, detail: "x".into() }
    }

    #[test]
    fn the_last_known_name_tells_whether_it_was_dropped() {
        for code in [100, 800] {
            assert_eq!(
                was_dropped(ID, Err(error(ErrorKind::Server { code, legacy: 0, advice: RetryAdvice::None }))),
                Ok(true)
            );
        }
        assert_eq!(was_dropped(ID, Ok(Some(CollectionId(8)))), Ok(true), "created anew, or another was renamed");
        assert_eq!(was_dropped(ID, Ok(None)), Ok(true), "renamed out of the scope, with an alias left behind");
        assert_eq!(was_dropped(ID, Ok(Some(ID))), Ok(false), "not listed for lack of a grant");
        for kind in [
            ErrorKind::Denied,
            ErrorKind::Transport,
            ErrorKind::Server { code: 1, legacy: 0, advice: RetryAdvice::None },
        ] {
            assert!(was_dropped(ID, Err(error(kind))).is_err(), "nobody knows");
        }
    }

    #[test]
    fn two_listings_in_a_row_must_lack_it() {
        let (replicated, mut dropped) = ([CollectionId(-2), ID], Dropped::default());
        let others = |id| id != ID;
        dropped.count(&replicated, others);
        assert!(dropped.has_new() && !dropped.is_certain(ID));
        dropped.count(&replicated, |_| true);
        assert!(!dropped.has_new(), "it was being renamed");
        dropped.count(&replicated, others);
        assert!(dropped.has_new() && dropped.certain(|_| true).is_empty());
        dropped.count(&replicated, others);
        assert!(!dropped.has_new() && dropped.certain(|_| true) == [ID]);
        assert!(dropped.certain(others).is_empty(), "it was given up after the listing");
        dropped.count(&replicated[..1], others);
        assert!(dropped.certain(|_| true).is_empty(), "its record is removed");
    }
}
