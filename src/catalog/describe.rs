//! The description of one collection: everything that is replicated, in one value.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::domain::{CollectionId, CollectionName, ObjectKey};
use crate::milvus::catalog::{CollectionDetails, Index, LoadState};
use crate::milvus::{CallContext, Client, Error};

/// Everything about a collection that is replicated.
#[derive(Debug, Clone, PartialEq)]
pub struct SourceCollection {
    /// Its id.
    pub id: CollectionId,
    /// Its database and its own name, also when it was described by an alias.
    pub name: CollectionName,
    /// The answer to `DescribeCollection`.
    pub details: CollectionDetails,
    /// Partition names with their ids; 0 where the server gives none.
    pub partitions: BTreeMap<String, i64>,
    /// Its indexes by name.
    pub indexes: BTreeMap<String, Index>,
    /// What of it is loaded.
    pub load: Load,
    /// Whether that is all there will be.
    pub load_progress: LoadProgress,
}

/// Whether a load state is final.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoadProgress {
    /// Nothing is being loaded.
    Settled,
    /// The server is loading, and may show less than it will have.
    Underway,
}

/// What of a collection is loaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum Load {
    /// Not loaded.
    #[default]
    None,
    /// The whole collection.
    Whole {
        /// Number of replicas.
        replicas: i32,
    },
    /// Some of its partitions.
    Partitions {
        /// Their names.
        names: BTreeSet<String>,
        /// Number of replicas.
        replicas: i32,
    },
}

impl Load {
    /// What it comes to on a target that has one partition for all rows: it is loaded as soon as any of them is.
    pub(super) fn without_partitions(self) -> Load {
        match self {
            Load::Partitions { replicas, .. } => Load::Whole { replicas },
            whole => whole,
        }
    }
}

impl std::fmt::Display for Load {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Load::None => f.write_str("released"),
            Load::Whole { replicas } => write!(f, "loaded (replicas: {replicas})"),
            Load::Partitions { names, replicas } => {
                write!(f, "loaded in {} of its partitions (replicas: {replicas})", names.len())
            }
        }
    }
}

/// The partition that every collection has (`common.defaultPartitionName`).
pub(super) const DEFAULT_PARTITION: &str = "_default";

/// Describes the collection `id` by its name; `None` when the name now stands for another collection, as far as ids
/// show that.
///
/// What is listed by name has no id of the collection: another one may have taken the name in between. Its default
/// partition shows that, which is never dropped; `default_partition`: its id when it was described before.
pub(super) fn describe(
    client: &Client,
    name: &CollectionName,
    id: CollectionId,
    default_partition: Option<i64>,
    context: &CallContext,
) -> Result<Option<SourceCollection>, Error> {
    let is_same = |details: &CollectionDetails| match ObjectKey::of(details.id, &name.db, &details.name) {
        ObjectKey::Id(found) => found == id,
        ObjectKey::Name { .. } => details.name == name.name && !id.is_given(),
    };
    let details = client.describe_collection(name, context)?;
    if !is_same(&details) {
        return Ok(None);
    }
    let found = describe_further(client, &name.db, details, context)?;
    let listed = found.partitions.get(DEFAULT_PARTITION).copied();
    let is_doubtful = default_partition.is_some() && listed.is_some() && listed != default_partition;
    if is_doubtful && !is_same(&client.describe_collection(name, context)?) {
        return Ok(None);
    }
    // The id in the server's answer may be 0.
    Ok(Some(SourceCollection { id, ..found }))
}

/// Describes the collection that has this name or alias, at either server.
pub(crate) fn describe_by_name(
    client: &Client,
    name: &CollectionName,
    context: &CallContext,
) -> Result<SourceCollection, Error> {
    let details = client.describe_collection(name, context)?;
    describe_further(client, &name.db, details, context)
}

fn describe_further(
    client: &Client,
    db: &str,
    details: CollectionDetails,
    context: &CallContext,
) -> Result<SourceCollection, Error> {
    let name = CollectionName::new(db, &details.name);
    let partitions = client.list_partitions(&name, context)?.unwrap_or_default();
    let indexes = client.list_indexes(&name, context)?;
    let (load, load_progress) = describe_load(client, &name, details.id, &partitions, context)?;
    let indexes = indexes.into_iter().map(|index| (index.name.clone(), index)).collect();
    let id = CollectionId(details.id);
    Ok(SourceCollection { id, name, details, partitions, indexes, load, load_progress })
}

fn describe_load(
    client: &Client,
    name: &CollectionName,
    server_id: i64,
    partitions: &BTreeMap<String, i64>,
    context: &CallContext,
) -> Result<(Load, LoadProgress), Error> {
    let progress = match client.load_state(name, context)? {
        LoadState::NotLoaded => return Ok((Load::None, LoadProgress::Settled)),
        LoadState::Loading => LoadProgress::Underway,
        LoadState::Loaded => LoadProgress::Settled,
    };
    let replicas = match client.replica_number(name, server_id, context) {
        Ok(replicas) => replicas,
        // Released between the two calls, or a server that starts and has no replica up yet.
        Err(error) if error.is_not_loaded() => return Ok((Load::None, LoadProgress::Underway)),
        Err(error) => return Err(error),
    };
    let loaded = client.loaded_partitions(name, context)?;
    // An empty list means that the server does not tell: then the whole collection is loaded, or nothing yet.
    let load = match (loaded.is_empty(), progress) {
        (true, LoadProgress::Underway) => Load::None,
        (true, LoadProgress::Settled) => Load::Whole { replicas },
        (false, _) if partitions.keys().all(|name| loaded.contains(name)) => Load::Whole { replicas },
        (false, _) => Load::Partitions { names: loaded, replicas },
    };
    Ok((load, progress))
}
