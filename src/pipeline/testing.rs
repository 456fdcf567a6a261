//! What the tests of this module have in common: one collection, whose calls may all be made.

use std::sync::Arc;

use super::columns::KnownFields;
use super::{CollectionInfo, KeyField, Rules};
use crate::domain::{Channel, CollectionId, Timestamp};

pub(super) const COLLECTION: CollectionId = CollectionId(7);

/// Nothing that is queued for the collection has to wait.
pub(super) struct Anything(Arc<CollectionInfo>);

impl Rules for Anything {
    fn collection(&self, id: CollectionId) -> Option<Arc<CollectionInfo>> {
        (id == self.0.id).then(|| Arc::clone(&self.0))
    }
    fn question(&self) -> u64 {
        1
    }
    fn open(&self, _: &Channel) -> bool {
        true
    }
    fn bound(&self, _: &Channel) -> Timestamp {
        Timestamp::MAX
    }
    fn replayed(&self, _: &Channel) -> Timestamp {
        Timestamp::ZERO
    }
}

pub(super) fn rules() -> Anything {
    Anything(Arc::new(CollectionInfo {
        id: COLLECTION,
        db: "d".into(),
        name: "c".into(),
        key: KeyField { name: "id".into(), is_int: true },
        partitions: Default::default(),
        unnamed_partitions: true,
        mergeable: true,
        fields: KnownFields::named(&["id", "text"]),
        shape: Default::default(),
        upsert_until: Default::default(),
        generation: 1,
    }))
}
