//! Calls about the catalog: databases, collections, partitions, indexes, aliases, load state.

mod aliases;
mod collections;
mod databases;
mod imports;
mod indexes;
mod load;
mod partitions;
mod schema_changes;

pub use imports::CompleteImport;
pub use partitions::{QueryCoverage, UnreadablePart};

use std::collections::{BTreeMap, BTreeSet};

pub use databases::DatabaseListing;

use super::pb::api::CollectionRequest;
use super::pb::common::KeyValuePair;
use super::pb::schema::CollectionSchema;
use crate::domain::CollectionName;

/// An entry of a listing of collections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedCollection {
    /// The server's id.
    pub id: i64,
    /// Its present name.
    pub name: String,
}

/// The answer to `DescribeCollection`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CollectionDetails {
    /// The server's id.
    pub id: i64,
    /// Its present name.
    pub name: String,
    /// User fields only; a dynamic field shows as `enable_dynamic_field`.
    pub schema: CollectionSchema,
    /// Number of shards.
    pub shards: i32,
    /// Default consistency level, by Milvus's code.
    pub consistency: i32,
    /// Collection properties, for example `collection.ttl.seconds`.
    pub properties: BTreeMap<String, String>,
    /// Its aliases.
    pub aliases: BTreeSet<String>,
    /// Number of partitions, the default one included.
    pub num_partitions: i64,
    /// When it was created, by the server's hybrid clock; 0 where the server does not tell.
    pub created: u64,
    /// Its physical channels, one per shard.
    pub channels: Vec<String>,
    /// Its start position in the log by physical channel, in the log's own bytes.
    pub begins: BTreeMap<String, Vec<u8>>,
}

impl CollectionDetails {
    /// A collection without a field, which no server creates: it probes whether the user may create one.
    pub fn nothing(name: &str) -> CollectionDetails {
        CollectionDetails {
            id: 0,
            name: name.to_owned(),
            schema: CollectionSchema::new(),
            shards: 1,
            consistency: 0,
            properties: BTreeMap::new(),
            aliases: BTreeSet::new(),
            num_partitions: 0,
            created: 0,
            channels: Vec::new(),
            begins: BTreeMap::new(),
        }
    }
}

/// An index as the user created it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    /// Its name.
    pub name: String,
    /// The field that it indexes.
    pub field: String,
    /// Type, metric and parameters.
    pub params: BTreeMap<String, String>,
}

/// Whether a collection can be queried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoadState {
    /// Not loaded, or not existing.
    NotLoaded,
    /// Being loaded.
    Loading,
    /// Loaded, as a whole or some partitions.
    Loaded,
}

/// `type` of a listing: everything, or what is loaded.
const SHOW_ALL: i32 = 0;
const SHOW_LOADED: i32 = 1;

fn pairs(map: &BTreeMap<String, String>) -> Vec<KeyValuePair> {
    let pair = |(key, value): (&String, &String)| KeyValuePair {
        key: key.clone(),
        value: value.clone(),
        ..KeyValuePair::default()
    };
    map.iter().map(pair).collect()
}

fn map(pairs: Vec<KeyValuePair>) -> BTreeMap<String, String> {
    pairs.into_iter().map(|pair| (pair.key, pair.value)).collect()
}

fn request_for(collection: &CollectionName) -> CollectionRequest {
    CollectionRequest { db_name: collection.db.clone(), collection_name: collection.name.clone(), ..Default::default() }
}
