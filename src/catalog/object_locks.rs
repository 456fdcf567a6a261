/*!
What the steps under way change, or rely on that nobody else changes it: collections by id, names and databases on the
target.

Steps run side by side as long as they have nothing in common. One that meets something of another on its way (a name
that changes hands, an alias that moves) does not wait for it, which could be for ever: it gives up before it has
touched that, and begins again once all of it is free.
*/

use std::collections::BTreeSet;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::domain::{CollectionId, CollectionName};

/// Something that one step at a time changes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum CatalogObject {
    /// What there is and what is recorded of a collection of the source.
    Collection(CollectionId),
    /// A name on the target: a collection's or an alias'.
    Name(CollectionName),
    /// A database on the target, with all names in it.
    Database(String),
}

impl CatalogObject {
    /// Whether a step about this one and another about that one have something in common.
    pub(super) fn overlaps(&self, other: &CatalogObject) -> bool {
        match (self, other) {
            (CatalogObject::Name(name), CatalogObject::Database(db))
            | (CatalogObject::Database(db), CatalogObject::Name(name)) => name.db == *db,
            (one, other) => one == other,
        }
    }
}

/// Another step is busy with some of these, which are needed together.
#[derive(Debug, thiserror::Error)]
#[error("another step of the catalog is under way there")]
pub(super) struct ObjectsInUse(pub(super) BTreeSet<CatalogObject>);

/// The objects of all steps under way. Cloning shares them.
#[derive(Debug, Clone, Default)]
pub(super) struct ObjectLocks(Arc<Mutex<BTreeSet<CatalogObject>>>);

impl ObjectLocks {
    /// All of these objects, if no other step has any of them.
    pub(super) fn try_lock(&self, objects: BTreeSet<CatalogObject>) -> Result<LockedObjects, ObjectsInUse> {
        let mut locked = LockedObjects { all: self.clone(), own: BTreeSet::new() };
        locked.extend(objects)?;
        Ok(locked)
    }
}

/// What one step has to itself until this is dropped.
#[derive(Debug)]
pub(super) struct LockedObjects {
    all: ObjectLocks,
    own: BTreeSet<CatalogObject>,
}

impl LockedObjects {
    pub(super) fn covers(&self, objects: &BTreeSet<CatalogObject>) -> bool {
        objects.is_subset(&self.own)
    }

    /// These, too, or none of them.
    ///
    /// # Errors
    /// Another step has some of them: nothing of theirs may be changed.
    pub(super) fn extend(&mut self, objects: BTreeSet<CatalogObject>) -> Result<(), ObjectsInUse> {
        let mut all = self.all.0.lock();
        let others = || all.iter().filter(|taken| !self.own.contains(taken));
        if objects.iter().any(|object| others().any(|taken| taken.overlaps(object))) {
            return Err(ObjectsInUse(objects));
        }
        all.extend(objects.iter().cloned());
        self.own.extend(objects);
        Ok(())
    }
}

impl Drop for LockedObjects {
    fn drop(&mut self) {
        self.all.0.lock().retain(|object| !self.own.contains(object));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> CatalogObject {
        CatalogObject::Name(CollectionName::new("d", name))
    }

    fn id(id: i64) -> CatalogObject {
        CatalogObject::Collection(CollectionId(id))
    }

    #[test]
    fn one_step_at_a_time_has_an_object_and_a_refusal_locks_nothing() {
        let locks = ObjectLocks::default();
        let mut first = locks.try_lock([id(1), name("a")].into()).unwrap();
        locks.try_lock([id(2), name("a")].into()).unwrap_err();
        let mut second = locks.try_lock([id(2), name("b")].into()).unwrap();
        let refused = first.extend([id(3), name("b")].into()).unwrap_err();
        assert_eq!(refused.0, [id(3), name("b")].into());
        second.extend([id(3), id(2)].into()).unwrap();
        assert!(second.covers(&[id(2), id(3), name("b")].into()) && !second.covers(&[id(1)].into()));
        drop(second);
        first.extend([id(3), name("b")].into()).unwrap();
        drop(first);
        assert!(locks.0.lock().is_empty());
    }

    #[test]
    fn a_database_is_locked_with_its_names() {
        let (locks, db) = (ObjectLocks::default(), |db: &str| CatalogObject::Database(db.into()));
        let in_use = locks.try_lock([name("a")].into()).unwrap();
        locks.try_lock([db("d")].into()).unwrap_err();
        let other = locks.try_lock([db("e")].into()).unwrap();
        drop(in_use);
        let mut whole = locks.try_lock([db("d")].into()).unwrap();
        locks.try_lock([name("b")].into()).unwrap_err();
        whole.extend([name("b")].into()).unwrap();
        drop((whole, other));
        locks.try_lock([name("b"), db("e")].into()).unwrap();
    }
}
