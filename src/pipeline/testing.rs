//! A collection for tests, and rules under which all its calls may be made.

use std::sync::Arc;

use super::{DispatchRules, WritableCollection};
use crate::domain::{Channel, CollectionId, KeyField, Timestamp};
use crate::milvus::field_data::KnownFields;

pub(super) const COLLECTION: CollectionId = CollectionId(7);
/// The source's time.
pub(super) const NOW: Timestamp = Timestamp::at_ms(1_700_000_000_000);

/// Nothing that is queued for the collection has to wait.
pub(super) struct Anything(Arc<WritableCollection>);

impl DispatchRules for Anything {
    fn collection(&self, id: CollectionId) -> Option<Arc<WritableCollection>> {
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
    fn now(&self) -> Timestamp {
        NOW
    }
}

/// The same for a collection that is different in something.
pub(super) fn rules_for(change: impl FnOnce(&mut WritableCollection)) -> Anything {
    let mut collection = collection();
    change(&mut collection);
    Anything(Arc::new(collection))
}

pub(super) fn rules() -> Anything {
    rules_for(|_| {})
}

/// Tests change what matters to them: `WritableCollection { name: "n".into(), ..collection() }`.
pub(crate) fn collection() -> WritableCollection {
    WritableCollection {
        id: COLLECTION,
        target_id: CollectionId(0),
        db: "d".into(),
        name: "c".into(),
        key: KeyField { name: "id".into(), is_int: true },
        partitions: Default::default(),
        unnamed_partitions: false,
        mergeable: true,
        fields: KnownFields::named(&["id", "text"]),
        shape: Default::default(),
        replacement: Default::default(),
        ttl: None,
        upsert_until: Default::default(),
        generation: 1,
    }
}
