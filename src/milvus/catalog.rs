/*!
Calls about the catalog: databases, collections, partitions, indexes, aliases, load state.
*/

use std::collections::{BTreeMap, BTreeSet};

use protobuf::Message;

use super::client::{CallContext, Client};
use super::error::{Error, ErrorKind};
use super::methods;
use super::pb::api::*;
use super::pb::common::KeyValuePair;
use super::pb::schema::{CollectionSchema, FieldSchema};

/// One line of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedCollection {
    /// The server's id.
    pub id: i64,
    /// Its name now.
    pub name: String,
}

/// What `DescribeCollection` tells.
#[derive(Debug, Clone, PartialEq)]
pub struct CollectionDetails {
    /// The server's id.
    pub id: i64,
    /// Its name now.
    pub name: String,
    /// User fields only; a dynamic field shows as `enable_dynamic_field`.
    pub schema: CollectionSchema,
    /// Number of shards.
    pub shards: i32,
    /// Default consistency level, Milvus's number for it.
    pub consistency: i32,
    /// Collection properties, for example `collection.ttl.seconds`.
    pub properties: BTreeMap<String, String>,
    /// Its aliases.
    pub aliases: BTreeSet<String>,
    /// Number of partitions, the default one included.
    pub num_partitions: i64,
    /// When it was made, by the server's hybrid clock; 0 where the server does not tell.
    pub created: u64,
    /// Its physical channels, one per shard.
    pub channels: Vec<String>,
    /// By physical channel, where it begins in the log, in the log's own bytes.
    pub begins: BTreeMap<String, Vec<u8>>,
}

impl CollectionDetails {
    /// A collection without a field, which no server makes: for asking whether one may be made at all.
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

/// An index as the user made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    /// Its name.
    pub name: String,
    /// The field that it indexes.
    pub field: String,
    /// Type, metric and parameters.
    pub params: BTreeMap<String, String>,
}

/// Whether a collection can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoadState {
    /// Not loaded, or not existing.
    NotLoaded,
    /// On the way.
    Loading,
    /// Loaded, all of it or some partitions.
    Loaded,
}

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

fn object(db: &str, name: &str) -> String {
    format!("{db}.{name}")
}

fn collection(db: &str, name: &str) -> CollectionRequest {
    CollectionRequest { db_name: db.into(), collection_name: name.into(), ..Default::default() }
}

/// What every method of this block has in common: one blocking call, failing as [`Error`] describes.
#[allow(clippy::missing_errors_doc)]
impl Client {
    /// The names of all databases; only `default` on a server that has no databases.
    pub fn list_databases(&self, context: &CallContext) -> Result<Vec<String>, Error> {
        match self.call("ListDatabases", "", &methods::LIST_DATABASES, &ListDatabasesRequest::new(), context) {
            Ok(answer) => Ok(answer.db_names),
            Err(error) if error.kind == ErrorKind::Unimplemented => Ok(vec!["default".into()]),
            Err(error) => Err(error),
        }
    }

    /// Makes a database.
    pub fn create_database(&self, db: &str, context: &CallContext) -> Result<(), Error> {
        let request = DatabaseRequest { db_name: db.into(), ..Default::default() };
        self.call("CreateDatabase", db, &methods::CREATE_DATABASE, &request, context).map(drop)
    }

    /// Removes an empty database.
    pub fn drop_database(&self, db: &str, context: &CallContext) -> Result<(), Error> {
        let request = DatabaseRequest { db_name: db.into(), ..Default::default() };
        self.call("DropDatabase", db, &methods::DROP_DATABASE, &request, context).map(drop)
    }

    /// The collections of one database.
    pub fn list_collections(&self, db: &str, context: &CallContext) -> Result<Vec<ListedCollection>, Error> {
        let answer = self.show_collections(db, SHOW_ALL, context)?;
        let ids = answer.collection_ids.into_iter().chain(std::iter::repeat(0));
        Ok(answer.collection_names.into_iter().zip(ids).map(|(name, id)| ListedCollection { id, name }).collect())
    }

    /// The collections of one database that are loaded, wholly or partly, with how much of each in percent.
    pub fn loaded_collections(&self, db: &str, context: &CallContext) -> Result<BTreeMap<String, i64>, Error> {
        match self.show_collections(db, SHOW_LOADED, context) {
            Ok(answer) => {
                let percent = answer.inMemory_percentages.into_iter().chain(std::iter::repeat(100));
                let readable = answer.query_service_available.into_iter().chain(std::iter::repeat(true));
                // Milvus Lite 3 lists all of them, those that are not loaded with nothing of both.
                let listed = answer.collection_names.into_iter().zip(percent.zip(readable));
                let loaded = listed.filter(|(_, (percent, readable))| *percent > 0 || *readable);
                Ok(loaded.map(|(name, (percent, _))| (name, percent)).collect())
            }
            // 2.3.5 answers so when nothing of the database is loaded.
            Err(error) if error.is_not_loaded() => Ok(BTreeMap::new()),
            Err(error) => Err(error),
        }
    }

    fn show_collections(&self, db: &str, kind: i32, context: &CallContext) -> Result<ShowCollectionsResponse, Error> {
        let request = ShowCollectionsRequest { db_name: db.into(), type_: kind, ..Default::default() };
        self.call("ShowCollections", db, &methods::SHOW_COLLECTIONS, &request, context)
    }

    /// Everything about one collection but its partitions, indexes and load state. An alias works as a name.
    pub fn describe_collection(&self, db: &str, name: &str, context: &CallContext) -> Result<CollectionDetails, Error> {
        let request = collection(db, name);
        let answer =
            self.call("DescribeCollection", &object(db, name), &methods::DESCRIBE_COLLECTION, &request, context)?;
        let schema = answer.schema.unwrap_or_default();
        // Asked by an alias, 2.3.5 answers with that as the collection's name; the schema has its own.
        let told = if schema.name.is_empty() { answer.collection_name } else { schema.name.clone() };
        // Servers without ids do not tell aliases here.
        let aliases = if answer.collectionID == 0 { self.list_aliases(db, &told, context)? } else { answer.aliases };
        Ok(CollectionDetails {
            id: answer.collectionID,
            name: told,
            schema,
            shards: answer.shards_num,
            consistency: answer.consistency_level,
            properties: map(answer.properties),
            aliases: aliases.into_iter().collect(),
            num_partitions: answer.num_partitions,
            created: answer.created_timestamp,
            channels: answer.physical_channel_names,
            begins: answer.start_positions.into_iter().map(|place| (place.key, place.data)).collect(),
        })
    }

    fn list_aliases(&self, db: &str, name: &str, context: &CallContext) -> Result<Vec<String>, Error> {
        let request = collection(db, name);
        match self.call("ListAliases", &object(db, name), &methods::LIST_ALIASES, &request, context) {
            Ok(answer) => Ok(answer.aliases),
            Err(error) if error.kind == ErrorKind::Unimplemented => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Makes a collection. `num_partitions` counts only for one with a partition key.
    pub fn create_collection(
        &self,
        db: &str,
        details: &CollectionDetails,
        num_partitions: i64,
        context: &CallContext,
    ) -> Result<(), Error> {
        let name = &details.name;
        let mut schema = details.schema.clone();
        schema.name = name.clone();
        let request = CreateCollectionRequest {
            db_name: db.into(),
            collection_name: name.clone(),
            schema: schema.write_to_bytes().unwrap_or_default(),
            shards_num: details.shards,
            consistency_level: details.consistency,
            properties: pairs(&details.properties),
            num_partitions,
            ..Default::default()
        };
        self.call("CreateCollection", &object(db, name), &methods::CREATE_COLLECTION, &request, context).map(drop)
    }

    /// Sets properties; those not named stay.
    pub fn alter_collection(
        &self,
        db: &str,
        name: &str,
        properties: &BTreeMap<String, String>,
        context: &CallContext,
    ) -> Result<(), Error> {
        let request = AlterCollectionRequest {
            db_name: db.into(),
            collection_name: name.into(),
            properties: pairs(properties),
            ..Default::default()
        };
        self.call("AlterCollection", &object(db, name), &methods::ALTER_COLLECTION, &request, context).map(drop)
    }

    /// Adds a field to a collection. Servers before 2.6 do not have the call.
    pub fn add_field(&self, db: &str, name: &str, field: &FieldSchema, context: &CallContext) -> Result<(), Error> {
        let request = AddCollectionFieldRequest {
            db_name: db.into(),
            collection_name: name.into(),
            schema: field.write_to_bytes().unwrap_or_default(),
            ..Default::default()
        };
        self.call("AddCollectionField", &object(db, name), &methods::ADD_COLLECTION_FIELD, &request, context).map(drop)
    }

    /// Renames a collection, also into another database.
    pub fn rename_collection(&self, from: (&str, &str), to: (&str, &str), context: &CallContext) -> Result<(), Error> {
        let request = RenameCollectionRequest {
            db_name: from.0.into(),
            oldName: from.1.into(),
            newName: to.1.into(),
            newDBName: to.0.into(),
            ..Default::default()
        };
        self.call("RenameCollection", &object(from.0, from.1), &methods::RENAME_COLLECTION, &request, context).map(drop)
    }

    /// Removes a collection and its rows.
    pub fn drop_collection(&self, db: &str, name: &str, context: &CallContext) -> Result<(), Error> {
        let request = collection(db, name);
        self.call("DropCollection", &object(db, name), &methods::DROP_COLLECTION, &request, context).map(drop)
    }

    /// Partition names with their ids, 0 where the server gives none; `None` from a server that has no partitions.
    pub fn list_partitions(
        &self,
        db: &str,
        name: &str,
        context: &CallContext,
    ) -> Result<Option<BTreeMap<String, i64>>, Error> {
        match self.show_partitions(db, name, SHOW_ALL, context) {
            Ok(answer) => {
                let ids = answer.partitionIDs.into_iter().chain(std::iter::repeat(0));
                Ok(Some(answer.partition_names.into_iter().zip(ids).collect()))
            }
            Err(error) if error.kind == ErrorKind::Unimplemented => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The names of the partitions that are loaded; none from a server that has no partitions.
    pub fn loaded_partitions(&self, db: &str, name: &str, context: &CallContext) -> Result<BTreeSet<String>, Error> {
        match self.show_partitions(db, name, SHOW_LOADED, context) {
            Ok(answer) => Ok(answer.partition_names.into_iter().collect()),
            Err(error) if error.is_not_loaded() || error.is_partition_missing() => Ok(BTreeSet::new()),
            Err(error) if error.kind == ErrorKind::Unimplemented => Ok(BTreeSet::new()),
            Err(error) => Err(error),
        }
    }

    fn show_partitions(
        &self,
        db: &str,
        name: &str,
        kind: i32,
        context: &CallContext,
    ) -> Result<ShowPartitionsResponse, Error> {
        let request = ShowPartitionsRequest {
            db_name: db.into(),
            collection_name: name.into(),
            type_: kind,
            ..Default::default()
        };
        self.call("ShowPartitions", &object(db, name), &methods::SHOW_PARTITIONS, &request, context)
    }

    /// Removes all rows of a collection. Servers before 2.6 do not have the call.
    pub fn truncate_collection(&self, db: &str, name: &str, context: &CallContext) -> Result<(), Error> {
        let request =
            TruncateCollectionRequest { db_name: db.into(), collection_name: name.into(), ..Default::default() };
        self.call("TruncateCollection", &object(db, name), &methods::TRUNCATE_COLLECTION, &request, context).map(drop)
    }

    /// Makes a partition.
    pub fn create_partition(&self, db: &str, name: &str, partition: &str, context: &CallContext) -> Result<(), Error> {
        let request = partition_request(db, name, partition);
        self.call("CreatePartition", &object(db, name), &methods::CREATE_PARTITION, &request, context).map(drop)
    }

    /// Removes a partition and its rows.
    pub fn drop_partition(&self, db: &str, name: &str, partition: &str, context: &CallContext) -> Result<(), Error> {
        let request = partition_request(db, name, partition);
        self.call("DropPartition", &object(db, name), &methods::DROP_PARTITION, &request, context).map(drop)
    }

    /// Gives a collection a further name.
    pub fn create_alias(&self, db: &str, name: &str, alias: &str, context: &CallContext) -> Result<(), Error> {
        let request = alias_request(db, name, alias);
        self.call("CreateAlias", &object(db, alias), &methods::CREATE_ALIAS, &request, context).map(drop)
    }

    /// Lets an existing alias name another collection.
    pub fn alter_alias(&self, db: &str, name: &str, alias: &str, context: &CallContext) -> Result<(), Error> {
        let request = alias_request(db, name, alias);
        self.call("AlterAlias", &object(db, alias), &methods::ALTER_ALIAS, &request, context).map(drop)
    }

    /// Removes an alias.
    pub fn drop_alias(&self, db: &str, alias: &str, context: &CallContext) -> Result<(), Error> {
        let request = DropAliasRequest { db_name: db.into(), alias: alias.into(), ..Default::default() };
        self.call("DropAlias", &object(db, alias), &methods::DROP_ALIAS, &request, context).map(drop)
    }

    /// All indexes of a collection.
    pub fn list_indexes(&self, db: &str, name: &str, context: &CallContext) -> Result<Vec<Index>, Error> {
        let request = DescribeIndexRequest { db_name: db.into(), collection_name: name.into(), ..Default::default() };
        match self.call("DescribeIndex", &object(db, name), &methods::DESCRIBE_INDEX, &request, context) {
            Ok(answer) => Ok(answer
                .index_descriptions
                .into_iter()
                .map(|index| Index { name: index.index_name, field: index.field_name, params: map(index.params) })
                .collect()),
            Err(error) if error.is_index_missing() => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Makes an index.
    pub fn create_index(&self, db: &str, name: &str, index: &Index, context: &CallContext) -> Result<(), Error> {
        let request = CreateIndexRequest {
            db_name: db.into(),
            collection_name: name.into(),
            field_name: index.field.clone(),
            index_name: index.name.clone(),
            extra_params: pairs(&index.params),
            ..Default::default()
        };
        self.call("CreateIndex", &object(db, name), &methods::CREATE_INDEX, &request, context).map(drop)
    }

    /// Removes an index.
    pub fn drop_index(&self, db: &str, name: &str, index: &Index, context: &CallContext) -> Result<(), Error> {
        let request = DropIndexRequest {
            db_name: db.into(),
            collection_name: name.into(),
            field_name: index.field.clone(),
            index_name: index.name.clone(),
            ..Default::default()
        };
        self.call("DropIndex", &object(db, name), &methods::DROP_INDEX, &request, context).map(drop)
    }

    /// Starts loading a collection.
    pub fn load_collection(&self, db: &str, name: &str, replicas: i32, context: &CallContext) -> Result<(), Error> {
        let request = LoadCollectionRequest {
            db_name: db.into(),
            collection_name: name.into(),
            replica_number: replicas,
            ..Default::default()
        };
        self.call("LoadCollection", &object(db, name), &methods::LOAD_COLLECTION, &request, context).map(drop)
    }

    /// Starts loading some partitions.
    pub fn load_partitions(
        &self,
        db: &str,
        name: &str,
        partitions: Vec<String>,
        replicas: i32,
        context: &CallContext,
    ) -> Result<(), Error> {
        let request = partitions_request(db, name, partitions, replicas);
        self.call("LoadPartitions", &object(db, name), &methods::LOAD_PARTITIONS, &request, context).map(drop)
    }

    /// Releases some partitions.
    pub fn release_partitions(
        &self,
        db: &str,
        name: &str,
        partitions: Vec<String>,
        context: &CallContext,
    ) -> Result<(), Error> {
        let request = partitions_request(db, name, partitions, 0);
        self.call("ReleasePartitions", &object(db, name), &methods::RELEASE_PARTITIONS, &request, context).map(drop)
    }

    /// Releases a collection.
    pub fn release_collection(&self, db: &str, name: &str, context: &CallContext) -> Result<(), Error> {
        let request = collection(db, name);
        self.call("ReleaseCollection", &object(db, name), &methods::RELEASE_COLLECTION, &request, context).map(drop)
    }

    /// Whether a collection is loaded.
    pub fn load_state(&self, db: &str, name: &str, context: &CallContext) -> Result<LoadState, Error> {
        let request = GetLoadStateRequest { db_name: db.into(), collection_name: name.into(), ..Default::default() };
        let answer = self.call("GetLoadState", &object(db, name), &methods::GET_LOAD_STATE, &request, context)?;
        Ok(match answer.state {
            2 => LoadState::Loading,
            3 => LoadState::Loaded,
            _ => LoadState::NotLoaded,
        })
    }

    /// How many replicas a loaded collection has; 1 where the server cannot tell.
    pub fn replica_number(&self, db: &str, details: &CollectionDetails, context: &CallContext) -> Result<i32, Error> {
        let request = GetReplicasRequest {
            db_name: db.into(),
            collection_name: details.name.clone(),
            collectionID: details.id,
            ..Default::default()
        };
        match self.call("GetReplicas", &object(db, &details.name), &methods::GET_REPLICAS, &request, context) {
            Ok(answer) => Ok((answer.replicas.len() as i32).max(1)),
            Err(error) if error.kind == ErrorKind::Unimplemented => Ok(1),
            Err(error) => Err(error),
        }
    }
}

fn partition_request(db: &str, name: &str, partition: &str) -> PartitionRequest {
    PartitionRequest {
        db_name: db.into(),
        collection_name: name.into(),
        partition_name: partition.into(),
        ..Default::default()
    }
}

fn partitions_request(db: &str, name: &str, partitions: Vec<String>, replicas: i32) -> PartitionsRequest {
    PartitionsRequest {
        db_name: db.into(),
        collection_name: name.into(),
        partition_names: partitions,
        replica_number: replicas,
        ..Default::default()
    }
}

fn alias_request(db: &str, name: &str, alias: &str) -> AliasRequest {
    AliasRequest { db_name: db.into(), collection_name: name.into(), alias: alias.into(), ..Default::default() }
}
