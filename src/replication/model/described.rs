//! What the catalog tells of the model's collections.

use std::collections::BTreeMap;

use super::world::channel;
use crate::catalog::ReadyCollection;
use crate::domain::{CollectionId, CollectionName, KeyField, PartitionId, Timestamp};
use crate::milvus::field_data::KnownFields;
use crate::pipeline::WritableCollection;

/// The partition of all rows.
pub(super) const PARTITION: PartitionId = PartitionId(2);

pub(in crate::replication) fn ready(id: CollectionId, generation: u64) -> ReadyCollection {
    let info = WritableCollection {
        id,
        target_id: CollectionId(0),
        db: "d".into(),
        name: format!("n{id}"),
        key: KeyField { name: "id".into(), is_int: true },
        partitions: [(PARTITION, "p".to_owned())].into(),
        unnamed_partitions: false,
        mergeable: true,
        fields: KnownFields::named(&["id", "version"]),
        shape: Default::default(),
        replacement: Default::default(),
        ttl: None,
        upsert_until: Default::default(),
        generation,
    };
    ReadyCollection {
        source: CollectionName::new("d", format!("n{id}")),
        info,
        channels: vec![channel()],
        begins: BTreeMap::new(),
        created: Timestamp::ZERO,
        adopted: false,
    }
}
