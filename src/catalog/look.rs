//! Looking at one collection at the source.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::domain::{CollectionId, ObjectKey};
use crate::milvus::catalog::{CollectionDetails, Index, LoadState};
use crate::milvus::{CallContext, Client, Error};

/// Everything about a collection that is carried over.
#[derive(Debug, Clone, PartialEq)]
pub struct SourceCollection {
    /// Its id.
    pub id: CollectionId,
    /// Its database.
    pub db: String,
    /// What `DescribeCollection` tells.
    pub details: CollectionDetails,
    /// Partition names with their ids; 0 where the source gives none.
    pub partitions: BTreeMap<String, i64>,
    /// Its indexes by name.
    pub indexes: BTreeMap<String, Index>,
    /// Whether it is loaded.
    pub load: Load,
}

/// How a collection is loaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum Load {
    /// Not at all.
    #[default]
    None,
    /// All of it.
    Whole {
        /// In so many replicas.
        replicas: i32,
    },
    /// Only these partitions.
    Partitions {
        /// Which.
        names: BTreeSet<String>,
        /// In so many replicas.
        replicas: i32,
    },
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

/// Looks; `None` when the name now stands for another collection, as far as ids show that.
pub(super) fn look(
    client: &Client,
    (db, name): (&str, &str),
    id: CollectionId,
    context: &CallContext,
) -> Result<Option<SourceCollection>, Error> {
    let details = client.describe_collection(db, name, context)?;
    let is_same = match ObjectKey::of(details.id, db, &details.name) {
        ObjectKey::Id(found) => found == id,
        ObjectKey::Name { .. } => details.name == name && !id.is_given(),
    };
    if !is_same {
        return Ok(None);
    }
    // The server's own id may be none at all.
    look_further(client, db, details, context).map(|found| Some(SourceCollection { id, ..found }))
}

/// Looks at whatever has the name, on whichever side.
pub(crate) fn look_by_name(
    client: &Client,
    (db, name): (&str, &str),
    context: &CallContext,
) -> Result<SourceCollection, Error> {
    let details = client.describe_collection(db, name, context)?;
    look_further(client, db, details, context)
}

fn look_further(
    client: &Client,
    db: &str,
    details: CollectionDetails,
    context: &CallContext,
) -> Result<SourceCollection, Error> {
    let name = &details.name;
    let partitions = client.list_partitions(db, name, context)?.unwrap_or_default();
    let indexes = client.list_indexes(db, name, context)?;
    let load = look_at_load(client, db, &details, &partitions, context)?;
    let indexes = indexes.into_iter().map(|index| (index.name.clone(), index)).collect();
    let id = CollectionId(details.id);
    Ok(SourceCollection { id, db: db.into(), details, partitions, indexes, load })
}

fn look_at_load(
    client: &Client,
    db: &str,
    details: &CollectionDetails,
    partitions: &BTreeMap<String, i64>,
    context: &CallContext,
) -> Result<Load, Error> {
    if client.load_state(db, &details.name, context)? == LoadState::NotLoaded {
        return Ok(Load::None);
    }
    let replicas = match client.replica_number(db, details, context) {
        Ok(replicas) => replicas,
        // Released between the two questions.
        Err(error) if error.is_not_loaded() => return Ok(Load::None),
        Err(error) => return Err(error),
    };
    let loaded = client.loaded_partitions(db, &details.name, context)?;
    // Servers that do not tell (an empty list) have loaded all of it.
    if loaded.is_empty() || partitions.keys().all(|name| loaded.contains(name)) {
        Ok(Load::Whole { replicas })
    } else {
        Ok(Load::Partitions { names: loaded, replicas })
    }
}
