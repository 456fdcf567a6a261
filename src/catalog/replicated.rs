//! What is recorded of one collection on the target, and its form on disk.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::describe::{DEFAULT_PARTITION, Load};
use crate::domain::CollectionName;
use crate::milvus::catalog::{CollectionDetails, Index};

/// One collection on the target.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "StoredCollection", into = "StoredCollection")]
pub(super) struct ReplicatedCollection {
    /// Its name on the target.
    pub(super) name: CollectionName,
    /// The name that it was being given there: it has this one or that one.
    pub(super) renaming: Option<CollectionName>,
    /// Its name at the source, by the last listing that had it.
    pub(super) source: Option<CollectionName>,
    /// It was on the target before the task, which therefore never drops it, unless it is a `twin`.
    pub(super) adopted: bool,
    /// It goes when the source's goes all the same: it is the source's own (the target is a copy of its volume), or a
    /// task that was deleted had made it.
    pub(super) twin: bool,
    /// The collection itself was created (not only recorded).
    pub(super) created: bool,
    /// The fields that the source's rows have and the target's collection has for them; empty when that was never
    /// compared.
    pub(super) fields: BTreeSet<String>,
    /// What else of the schema the target's was compared with; empty when that was never compared.
    pub(super) schema_parts: BTreeSet<String>,
    /// Partitions of ours: name to id at the source.
    pub(super) partitions: BTreeMap<String, i64>,
    /// All that the source had when last compared, ours or not: name to id. Empty when that was never noted.
    pub(super) source_partitions: BTreeMap<String, i64>,
    /// Indexes of ours by name.
    pub(super) indexes: BTreeMap<String, ReplicatedIndex>,
    /// Aliases of ours.
    pub(super) aliases: BTreeSet<String>,
    /// Aliases that it was being given, or that were being dropped: it has each of them, or not.
    pub(super) intended_aliases: BTreeSet<String>,
    /// Properties as last set.
    pub(super) properties: BTreeMap<String, String>,
    /// Load state as last set.
    pub(super) load: Load,
    /// Its id on the target; 0 when it is not known, or the target has none.
    pub(super) target_id: i64,
    /// Somebody has dropped it on the target, or put another one in its place.
    pub(super) lost: bool,
    /// It is lost, and not created again before a user wants that.
    pub(super) withheld: bool,
    /// It has autoID on the target, and takes given keys.
    pub(super) generated_keys: bool,
}

impl ReplicatedCollection {
    /// Whether it goes from the target when the source drops it.
    pub(super) fn is_ours(&self) -> bool {
        !self.adopted || self.twin
    }

    /// The id that the source's default partition had when last compared.
    pub(super) fn default_partition_at_source(&self) -> Option<i64> {
        self.source_partitions.get(DEFAULT_PARTITION).or_else(|| self.partitions.get(DEFAULT_PARTITION)).copied()
    }

    /// Its aliases, and those that it may have.
    pub(super) fn possible_aliases(&self) -> BTreeSet<String> {
        self.aliases.union(&self.intended_aliases).cloned().collect()
    }

    /// It has this alias on the target.
    pub(super) fn has_got_alias(&mut self, alias: &str) {
        self.intended_aliases.remove(alias);
        self.aliases.insert(alias.to_owned());
    }

    /// It has this alias on the target, or not.
    pub(super) fn may_have_lost_alias(&mut self, alias: &str) {
        if self.aliases.remove(alias) {
            self.intended_aliases.insert(alias.to_owned());
        }
    }

    /// It does not have this alias on the target.
    pub(super) fn has_lost_alias(&mut self, alias: &str) {
        self.intended_aliases.remove(alias);
        self.aliases.remove(alias);
    }

    /// Whether this is what stands for it on the target, and not an alias of its name or another collection. Some
    /// targets give no ids.
    pub(super) fn is_found(&self, found: &CollectionDetails) -> bool {
        found.name == self.name.name && [0, found.id].contains(&self.target_id)
    }
}

/// One index on the target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ReplicatedIndex {
    /// The indexed field.
    pub(super) field: String,
    /// Type, metric, parameters.
    pub(super) params: BTreeMap<String, String>,
}

impl From<&Index> for ReplicatedIndex {
    fn from(index: &Index) -> Self {
        ReplicatedIndex { field: index.field.clone(), params: index.params.clone() }
    }
}

impl ReplicatedIndex {
    /// The index with its name.
    pub(super) fn named(&self, name: &str) -> Index {
        Index { name: name.into(), field: self.field.clone(), params: self.params.clone() }
    }
}

/// The persisted form of a [`ReplicatedCollection`].
#[derive(Serialize, Deserialize)]
struct StoredCollection {
    db: String,
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    renaming: Option<(String, String)>,
    #[serde(default)]
    source: Option<(String, String)>,
    adopted: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    twin: bool,
    made: bool,
    #[serde(default)]
    fields: BTreeSet<String>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    schema_parts: BTreeSet<String>,
    partitions: BTreeMap<String, i64>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    source_partitions: BTreeMap<String, i64>,
    indexes: BTreeMap<String, ReplicatedIndex>,
    aliases: BTreeSet<String>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    intended_aliases: BTreeSet<String>,
    properties: BTreeMap<String, String>,
    load: Load,
    #[serde(default, skip_serializing_if = "is_unknown")]
    target_id: i64,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    lost: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    withheld: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    generated_keys: bool,
}

fn is_unknown(id: &i64) -> bool {
    *id == 0
}

impl From<StoredCollection> for ReplicatedCollection {
    fn from(stored: StoredCollection) -> Self {
        ReplicatedCollection {
            name: CollectionName::new(stored.db, stored.name),
            renaming: stored.renaming.map(|(db, name)| CollectionName::new(db, name)),
            source: stored.source.map(|(db, name)| CollectionName::new(db, name)),
            adopted: stored.adopted,
            twin: stored.twin,
            created: stored.made,
            fields: stored.fields,
            schema_parts: stored.schema_parts,
            partitions: stored.partitions,
            source_partitions: stored.source_partitions,
            indexes: stored.indexes,
            aliases: stored.aliases,
            intended_aliases: stored.intended_aliases,
            properties: stored.properties,
            load: stored.load,
            target_id: stored.target_id,
            lost: stored.lost,
            withheld: stored.withheld,
            generated_keys: stored.generated_keys,
        }
    }
}

impl From<ReplicatedCollection> for StoredCollection {
    fn from(replicated: ReplicatedCollection) -> Self {
        StoredCollection {
            db: replicated.name.db,
            name: replicated.name.name,
            renaming: replicated.renaming.map(|name| (name.db, name.name)),
            source: replicated.source.map(|source| (source.db, source.name)),
            adopted: replicated.adopted,
            twin: replicated.twin,
            made: replicated.created,
            fields: replicated.fields,
            schema_parts: replicated.schema_parts,
            partitions: replicated.partitions,
            source_partitions: replicated.source_partitions,
            indexes: replicated.indexes,
            aliases: replicated.aliases,
            intended_aliases: replicated.intended_aliases,
            properties: replicated.properties,
            load: replicated.load,
            target_id: replicated.target_id,
            lost: replicated.lost,
            withheld: replicated.withheld,
            generated_keys: replicated.generated_keys,
        }
    }
}
