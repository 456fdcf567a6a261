/*!
Collections that the source's listing lacks, and dropping those that are gone.

A listing alone proves nothing. It goes from database to database, and what is renamed into another one meanwhile may be in neither;
and newer servers list only what the user has grants for. So a collection is gone when two listings in a row lack it and the name that it
had last stands for it no more.
*/

use std::collections::{BTreeMap, BTreeSet};

use super::carry::CarryError;
use super::watcher::Watch;
use crate::domain::{CollectionId, ObjectKey};
use crate::milvus::Error;

/// Carried collections that the last listing lacks, and how many listings in a row have.
#[derive(Default)]
pub(super) struct Absent(BTreeMap<CollectionId, u32>);

impl Absent {
    /// A listing is through.
    pub(super) fn count(&mut self, carried: &[CollectionId], is_listed: impl Fn(CollectionId) -> bool) {
        let before = std::mem::take(&mut self.0);
        let absent = carried.iter().filter(|id| !is_listed(**id));
        self.0 = absent.map(|id| (*id, before.get(id).map_or(1, |listings| listings.saturating_add(1)))).collect();
    }

    /// The last listing was the first one to lack something.
    fn is_news(&self) -> bool {
        self.0.values().any(|listings| *listings == 1)
    }

    /// Two listings in a row lack it.
    pub(super) fn is_certain(&self, id: CollectionId) -> bool {
        self.0.get(&id).is_some_and(|listings| *listings > 1)
    }

    fn certain(&self) -> Vec<CollectionId> {
        self.0.keys().copied().filter(|id| self.is_certain(*id)).collect()
    }
}

/// Whether a collection that listings lack is gone. `named` is what the name that it had last stands for now: a collection, or something
/// that is not the task's.
fn is_gone(id: CollectionId, named: Result<Option<CollectionId>, Error>) -> Result<bool, Error> {
    match named {
        Ok(found) => Ok(found != Some(id)),
        Err(error) if error.is_collection_missing() || error.is_database_missing() => Ok(true),
        Err(error) => Err(error),
    }
}

impl Watch {
    /// Lists, and once more at once when something is missing: a drop is not to wait for the next round. Answers the collections
    /// whose load state has changed.
    pub(super) fn list_surely(&mut self) -> Result<BTreeSet<CollectionId>, CarryError> {
        let mut changed = self.list()?;
        if self.absent.is_news() {
            changed.extend(self.list()?);
        }
        Ok(changed)
    }

    pub(super) fn drop_gone(&mut self) -> Result<(), CarryError> {
        for id in self.absent.certain() {
            if self.is_time(Some(id)) {
                let outcome = self.drop_if_gone(id);
                let object = self.carrier.record.get(id).and_then(|carried| carried.source.clone());
                let object = object.map_or_else(|| id.to_string(), |(db, name)| format!("{db}.{name}"));
                self.settle(Some(id), &object, outcome)?;
            }
        }
        self.seen.retain(|id, _| self.listed.contains_key(id));
        self.retries
            .retain(|id, _| id.is_none_or(|id| self.listed.contains_key(&id) || self.carrier.record.get(id).is_some()));
        Ok(())
    }

    /// Drops a collection on the target that listings lack, if the name that it had last stands for it no more.
    pub(super) fn drop_if_gone(&mut self, id: CollectionId) -> Result<(), CarryError> {
        // A record that was written before names were kept has none: then the listings count alone.
        if let Some((db, name)) = self.carrier.record.get(id).and_then(|carried| carried.source.clone()) {
            let details = self.source.describe_collection(&db, &name, &self.context);
            let named = details.map(|details| {
                // An alias may have taken the name of a collection that was renamed out of the scope.
                let key = ObjectKey::of(details.id, &db, &details.name);
                self.scope.matches(&db, &details.name).then(|| self.carrier.record.id_of(&key))
            });
            if !is_gone(id, named).map_err(CarryError::Source)? {
                return Err(CarryError::Unlisted(format!("{db}.{name}"), self.source.address().to_owned()));
            }
        }
        self.seen.remove(&id);
        self.carrier.drop_collection(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::milvus::ErrorKind;

    const ID: CollectionId = CollectionId(7);

    fn error(kind: ErrorKind) -> Error {
        let object = "default.a".into();
        Error { method: "DescribeCollection", address: "a:1".into(), object, kind, detail: "x".into() }
    }

    #[test]
    fn gone_is_what_its_name_says_is_gone() {
        for code in [100, 800] {
            assert_eq!(is_gone(ID, Err(error(ErrorKind::Server { code, legacy: 0 }))), Ok(true));
        }
        assert_eq!(is_gone(ID, Ok(Some(CollectionId(8)))), Ok(true), "created anew, or another was renamed");
        assert_eq!(is_gone(ID, Ok(None)), Ok(true), "renamed out of the scope, with an alias left behind");
        assert_eq!(is_gone(ID, Ok(Some(ID))), Ok(false), "not listed for lack of a grant");
        for kind in [ErrorKind::Denied, ErrorKind::Transport, ErrorKind::Server { code: 1, legacy: 0 }] {
            assert!(is_gone(ID, Err(error(kind))).is_err(), "nobody knows");
        }
    }

    #[test]
    fn two_listings_in_a_row_must_lack_it() {
        let (carried, mut absent) = ([CollectionId(-2), ID], Absent::default());
        let others = |id| id != ID;
        absent.count(&carried, others);
        assert!(absent.is_news() && !absent.is_certain(ID));
        absent.count(&carried, |_| true);
        assert!(!absent.is_news(), "it was being renamed");
        absent.count(&carried, others);
        assert!(absent.is_news() && absent.certain().is_empty());
        absent.count(&carried, others);
        assert!(!absent.is_news() && absent.certain() == [ID]);
        absent.count(&carried[..1], others);
        assert!(absent.certain().is_empty(), "dropped");
    }
}
