//! Calls about databases, collections and what belongs to them.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use protobuf::Message as _;

use super::{FakeCollection, FakeMilvus, request, status};
use crate::milvus::pb::api::*;
use crate::milvus::pb::common::{KeyValuePair, Status};
use crate::milvus::pb::schema::CollectionSchema;
use crate::milvus::version::Version;

const COLLECTION_MISSING: i32 = 100;
const PARTITION_MISSING: i32 = 200;
const INDEX_MISSING: i32 = 700;
const DATABASE_MISSING: i32 = 800;
const IMPORT_COMPLETED: i32 = 6;
pub(super) const INVALID: i32 = 1100;
/// What Milvus answers with where it has no code.
const UNEXPECTED: i32 = 65535;

fn no_collection() -> Status {
    status(COLLECTION_MISSING, "collection not found")
}

pub(super) fn map(pairs: &[KeyValuePair]) -> BTreeMap<String, String> {
    pairs.iter().map(|pair| (pair.key.clone(), pair.value.clone())).collect()
}

pub(super) fn pairs(map: &BTreeMap<String, String>) -> Vec<KeyValuePair> {
    let pair = |(key, value): (&String, &String)| KeyValuePair {
        key: key.clone(),
        value: value.clone(),
        ..KeyValuePair::default()
    };
    map.iter().map(pair).collect()
}

fn db_of(name: &str) -> &str {
    if name.is_empty() { "default" } else { name }
}

impl FakeMilvus {
    pub(super) fn answer_about_catalog(&self, method: &'static str, asked: &dyn Any) -> Option<Box<dyn Any>> {
        let status: Status = match method {
            "GetVersion" => {
                let version = (*self.version.lock()).into();
                return Some(Box::new(GetVersionResponse { version, ..Default::default() }));
            }
            "Connect" => return Some(Box::new(ConnectResponse::new())),
            "ListDatabases" => return Some(Box::new(self.list_databases())),
            "ShowCollections" => return Some(Box::new(self.show_collections(request(asked)))),
            "DescribeCollection" => return Some(Box::new(self.describe_collection(request(asked)))),
            "ListAliases" => return Some(Box::new(self.list_aliases(request(asked)))),
            "ShowPartitions" => return Some(Box::new(self.show_partitions(request(asked)))),
            "ListImportTasks" => return Some(Box::new(self.list_import_tasks(request(asked)))),
            "DescribeIndex" => return Some(Box::new(self.describe_index(request(asked)))),
            "GetLoadState" => return Some(Box::new(self.load_state(request(asked)))),
            "CreateDatabase" => self.create_database(request(asked)),
            "DropDatabase" => self.drop_database(request(asked)),
            "CreateCollection" => self.create_collection(request(asked)),
            "DropCollection" => self.drop_collection(request(asked)),
            "RenameCollection" => self.rename_collection(request(asked)),
            "AlterCollection" => self.alter_collection(request(asked)),
            "DescribeDatabase" if self.is_from(Version::new(2, 4, 0)) => {
                let DatabaseRequest { db_name, .. } = request(asked);
                let properties = pairs(&self.database(db_of(db_name)));
                return Some(Box::new(DescribeDatabaseResponse { properties, ..Default::default() }));
            }
            "AlterDatabase" if self.is_from(Version::new(2, 4, 0)) => self.alter_database(request(asked)),
            "AlterIndex" if self.is_from(Version::new(2, 4, 0)) => self.alter_index(request(asked)),
            "CreatePartition" => self.create_partition(request(asked)),
            "DropPartition" => self.drop_partition(request(asked)),
            "CreateAlias" | "AlterAlias" => self.set_alias(method, request(asked)),
            "DropAlias" => self.drop_alias(request(asked)),
            "CreateIndex" => self.create_index(request(asked)),
            "DropIndex" => self.drop_index(request(asked)),
            "LoadCollection" => {
                let LoadCollectionRequest { db_name, collection_name, .. } = request(asked);
                self.set_loaded(db_name, collection_name, true)
            }
            "ReleaseCollection" => {
                let CollectionRequest { db_name, collection_name, .. } = request(asked);
                self.set_loaded(db_name, collection_name, false)
            }
            _ => return self.answer_about_schema(method, asked),
        };
        Some(Box::new(status))
    }

    /// A collection by its name or an alias.
    pub(super) fn with<T>(&self, db: &str, name: &str, use_it: impl FnOnce(&mut FakeCollection) -> T) -> Option<T> {
        let mut all = self.collections.lock();
        let collections = all.get_mut(db_of(db))?;
        let by_alias = |(_, collection): &(&String, &mut FakeCollection)| collection.aliases.contains(name);
        match collections.contains_key(name) {
            true => collections.get_mut(name).map(use_it),
            false => collections.iter_mut().find(by_alias).map(|(_, collection)| use_it(collection)),
        }
    }

    /// Changes one collection; what is done, in words.
    pub(super) fn change(
        &self,
        (db, name): (&str, &str),
        change: impl FnOnce(&mut FakeCollection) -> Result<String, Status>,
    ) -> Status {
        let outcome = self.with(db, name, change).unwrap_or_else(|| Err(no_collection()));
        self.changed(outcome)
    }

    fn list_databases(&self) -> ListDatabasesResponse {
        let db_names: Vec<String> = self.collections.lock().keys().cloned().collect();
        let created_timestamp = vec![self.set_up.load(Ordering::Relaxed); db_names.len()];
        ListDatabasesResponse { db_names, created_timestamp, ..Default::default() }
    }

    fn create_database(&self, asked: &DatabaseRequest) -> Status {
        let mut all = self.collections.lock();
        let outcome = match all.contains_key(&asked.db_name) {
            true => self.repeated(status(UNEXPECTED, "database already exist")),
            false => Ok(format!("create database {}", asked.db_name)),
        };
        all.entry(asked.db_name.clone()).or_default();
        self.changed(outcome)
    }

    fn drop_database(&self, asked: &DatabaseRequest) -> Status {
        let mut all = self.collections.lock();
        let outcome = match all.get(&asked.db_name) {
            None => self.repeated(status(DATABASE_MISSING, "database not found")),
            Some(collections) if !collections.is_empty() => Err(status(UNEXPECTED, "database is not empty")),
            Some(_) => {
                all.remove(&asked.db_name);
                Ok(format!("drop database {}", asked.db_name))
            }
        };
        self.changed(outcome)
    }

    fn show_collections(&self, asked: &ShowCollectionsRequest) -> ShowCollectionsResponse {
        let all = self.collections.lock();
        let Some(collections) = all.get(db_of(&asked.db_name)) else {
            let missing = protobuf::MessageField::some(status(DATABASE_MISSING, "database not found"));
            return ShowCollectionsResponse { status: missing, ..Default::default() };
        };
        let shown: Vec<_> =
            collections.iter().filter(|(_, collection)| asked.type_ == 0 || collection.is_loaded).collect();
        ShowCollectionsResponse {
            collection_names: shown.iter().map(|(name, _)| (*name).clone()).collect(),
            collection_ids: shown.iter().map(|(_, collection)| collection.id).collect(),
            ..Default::default()
        }
    }

    fn describe_collection(&self, asked: &CollectionRequest) -> DescribeCollectionResponse {
        let found = self.with(&asked.db_name, &asked.collection_name, |collection| DescribeCollectionResponse {
            schema: protobuf::MessageField::some(collection.schema.clone()),
            collectionID: collection.id,
            shards_num: collection.shards,
            // As a 2.6 does whose cache was made before there were any.
            aliases: Vec::new(),
            update_timestamp: 1,
            properties: pairs(&collection.properties),
            collection_name: asked.collection_name.clone(),
            physical_channel_names: vec!["by-dev-rootcoord-dml_0".into()],
            created_timestamp: 1 << 18,
            num_partitions: collection.partitions.len() as i64,
            ..Default::default()
        });
        found.unwrap_or_else(|| DescribeCollectionResponse {
            status: protobuf::MessageField::some(no_collection()),
            ..Default::default()
        })
    }

    fn list_aliases(&self, asked: &CollectionRequest) -> ListAliasesResponse {
        let found = self.with(&asked.db_name, &asked.collection_name, |collection| ListAliasesResponse {
            aliases: collection.aliases.iter().cloned().collect(),
            ..Default::default()
        });
        found.unwrap_or_else(|| ListAliasesResponse {
            status: protobuf::MessageField::some(no_collection()),
            ..Default::default()
        })
    }

    fn create_collection(&self, asked: &CreateCollectionRequest) -> Status {
        let mut all = self.collections.lock();
        let id = 1000 + all.values().map(BTreeMap::len).sum::<usize>() as i64;
        let outcome = match all.get_mut(db_of(&asked.db_name)) {
            None => Err(status(DATABASE_MISSING, "database not found")),
            Some(collections) if collections.contains_key(&asked.collection_name) => {
                self.repeated(status(UNEXPECTED, "collection already exist"))
            }
            Some(collections) => {
                let collection = FakeCollection {
                    id,
                    schema: CollectionSchema::parse_from_bytes(&asked.schema).unwrap(),
                    shards: asked.shards_num,
                    properties: map(&asked.properties),
                    partitions: ["_default".to_owned()].into(),
                    ..Default::default()
                };
                collections.insert(asked.collection_name.clone(), collection);
                Ok(format!("create collection {}", asked.collection_name))
            }
        };
        self.changed(outcome)
    }

    fn drop_collection(&self, asked: &CollectionRequest) -> Status {
        let mut all = self.collections.lock();
        let removed = all.get_mut(db_of(&asked.db_name)).and_then(|names| names.remove(&asked.collection_name));
        self.changed(match removed {
            Some(_) => Ok(format!("drop collection {}", asked.collection_name)),
            None => self.repeated(no_collection()),
        })
    }

    fn rename_collection(&self, asked: &RenameCollectionRequest) -> Status {
        let mut all = self.collections.lock();
        let (from, to) = (db_of(&asked.db_name), db_of(&asked.newDBName));
        if all.get(to).is_none_or(|names| names.contains_key(&asked.newName)) {
            return status(UNEXPECTED, "duplicated new collection name");
        }
        let Some(mut collection) = all.get_mut(from).and_then(|names| names.remove(&asked.oldName)) else {
            return no_collection();
        };
        collection.schema.name.clone_from(&asked.newName);
        all.entry(to.to_owned()).or_default().insert(asked.newName.clone(), collection);
        self.changed(Ok(format!("rename {} to {}", asked.oldName, asked.newName)))
    }

    fn alter_collection(&self, asked: &AlterCollectionRequest) -> Status {
        self.change((&asked.db_name, &asked.collection_name), |collection| {
            let mut set = map(&asked.properties);
            if self.is_from(Version::new(2, 6, 0)) && set.remove("dynamicfield.enabled").is_some() {
                collection.schema.enable_dynamic_field = true;
            }
            collection.properties.extend(set);
            collection.properties.retain(|key, _| !asked.delete_keys.contains(key));
            Ok(format!("alter {}", asked.collection_name))
        })
    }

    /// Whether it tells a version from this one on.
    pub(super) fn is_from(&self, first: Version) -> bool {
        Version::parse(&self.version.lock()).is_some_and(|version| version >= first)
    }

    fn alter_database(&self, asked: &AlterDatabaseRequest) -> Status {
        let mut properties = self.database(db_of(&asked.db_name));
        properties.extend(map(&asked.properties));
        properties.retain(|key, _| !asked.delete_keys.contains(key));
        self.set_database(db_of(&asked.db_name), properties);
        self.changed(Ok(format!("alter database {}", asked.db_name)))
    }

    /// Refused while the collection is loaded.
    fn alter_index(&self, asked: &AlterIndexRequest) -> Status {
        self.change((&asked.db_name, &asked.collection_name), |collection| {
            if collection.is_loaded {
                return Err(status(104, "can't alter index on loaded collection"));
            }
            let index = collection.indexes.get_mut(&asked.index_name);
            let Some((_, params)) = index else { return Err(status(INDEX_MISSING, "index not found")) };
            params.extend(map(&asked.extra_params));
            params.retain(|key, _| !asked.delete_keys.contains(key));
            Ok(format!("alter index {}", asked.index_name))
        })
    }

    fn show_partitions(&self, asked: &ShowPartitionsRequest) -> ShowPartitionsResponse {
        let found = self.with(&asked.db_name, &asked.collection_name, |collection| ShowPartitionsResponse {
            partition_names: collection.partitions.iter().cloned().collect(),
            partitionIDs: (1..=collection.partitions.len() as i64).map(|number| collection.id * 100 + number).collect(),
            ..Default::default()
        });
        found.unwrap_or_else(|| ShowPartitionsResponse {
            status: protobuf::MessageField::some(no_collection()),
            ..Default::default()
        })
    }

    fn list_import_tasks(&self, asked: &ListImportTasksRequest) -> ListImportTasksResponse {
        let is_asked = |name: &String| asked.collection_name.is_empty() || *name == asked.collection_name;
        let imports = self.imports.lock();
        let task =
            |id: &i64| ImportTask { id: *id, state: IMPORT_COMPLETED, segment_ids: vec![*id], ..ImportTask::new() };
        let tasks = imports.iter().filter(|(_, name)| is_asked(name)).map(|(id, _)| task(id)).collect();
        ListImportTasksResponse { tasks, ..Default::default() }
    }

    fn create_partition(&self, asked: &PartitionRequest) -> Status {
        self.change((&asked.db_name, &asked.collection_name), |collection| {
            match collection.partitions.insert(asked.partition_name.clone()) {
                true => Ok(format!("create partition {}", asked.partition_name)),
                false => self.repeated(status(UNEXPECTED, "partition already exist")),
            }
        })
    }

    fn drop_partition(&self, asked: &PartitionRequest) -> Status {
        self.change((&asked.db_name, &asked.collection_name), |collection| {
            match collection.partitions.remove(&asked.partition_name) {
                true => Ok(format!("drop partition {}", asked.partition_name)),
                false => self.repeated(status(PARTITION_MISSING, "partition not found")),
            }
        })
    }

    /// `AlterAlias` moves an alias that is there, `CreateAlias` refuses it unless it is the same.
    fn set_alias(&self, method: &str, asked: &AliasRequest) -> Status {
        let mut all = self.collections.lock();
        let Some(collections) = all.get_mut(db_of(&asked.db_name)) else { return no_collection() };
        let holder = collections.iter().find(|(_, collection)| collection.aliases.contains(&asked.alias));
        let holder = holder.map(|(name, _)| name.clone());
        if method == "CreateAlias" && holder.is_some() {
            let is_same = holder.is_some_and(|holder| holder == asked.collection_name);
            let refusal = status(UNEXPECTED, "alias already exist");
            return self.changed(if is_same { self.repeated(refusal) } else { Err(refusal) });
        }
        if !collections.contains_key(&asked.collection_name) {
            return no_collection();
        }
        for (name, collection) in collections {
            if *name == asked.collection_name {
                collection.aliases.insert(asked.alias.clone());
            } else {
                collection.aliases.remove(&asked.alias);
            }
        }
        self.changed(Ok(format!("alias {}", asked.alias)))
    }

    fn drop_alias(&self, asked: &DropAliasRequest) -> Status {
        let mut all = self.collections.lock();
        let mut names = all.get_mut(db_of(&asked.db_name)).into_iter().flat_map(BTreeMap::values_mut);
        let was_there = names.any(|collection| collection.aliases.remove(&asked.alias));
        self.changed(match was_there {
            true => Ok(format!("drop alias {}", asked.alias)),
            false => self.repeated(status(UNEXPECTED, "alias does not exist")),
        })
    }

    fn describe_index(&self, asked: &DescribeIndexRequest) -> DescribeIndexResponse {
        let found = self.with(&asked.db_name, &asked.collection_name, |collection| {
            let described = collection.indexes.iter().map(|(name, (field, params))| IndexDescription {
                index_name: name.clone(),
                params: pairs(params),
                field_name: field.clone(),
                ..Default::default()
            });
            described.collect::<Vec<_>>()
        });
        let missing = match &found {
            None => Some(no_collection()),
            Some(indexes) => indexes.is_empty().then(|| status(INDEX_MISSING, "index not found")),
        };
        let status = missing.map_or_else(protobuf::MessageField::none, protobuf::MessageField::some);
        DescribeIndexResponse { status, index_descriptions: found.unwrap_or_default(), ..Default::default() }
    }

    fn create_index(&self, asked: &CreateIndexRequest) -> Status {
        let index = (asked.field_name.clone(), map(&asked.extra_params));
        self.change((&asked.db_name, &asked.collection_name), |collection| {
            match collection.indexes.get(&asked.index_name) {
                None => {
                    collection.indexes.insert(asked.index_name.clone(), index);
                    Ok(format!("create index {}", asked.index_name))
                }
                Some(same) if *same == index => self.repeated(status(UNEXPECTED, "index already exist")),
                Some(_) => Err(status(UNEXPECTED, "at most one distinct index is allowed per field")),
            }
        })
    }

    fn drop_index(&self, asked: &DropIndexRequest) -> Status {
        self.change((&asked.db_name, &asked.collection_name), |collection| {
            match collection.indexes.remove(&asked.index_name) {
                Some(_) => Ok(format!("drop index {}", asked.index_name)),
                None => self.repeated(status(INDEX_MISSING, "index not found")),
            }
        })
    }

    fn set_loaded(&self, db: &str, name: &str, is_loaded: bool) -> Status {
        self.change((db, name), |collection| {
            collection.is_loaded = is_loaded;
            Ok(format!("{} {name}", if is_loaded { "load" } else { "release" }))
        })
    }

    fn load_state(&self, asked: &GetLoadStateRequest) -> GetLoadStateResponse {
        let state =
            self.with(&asked.db_name, &asked.collection_name, |collection| 1 + 2 * i32::from(collection.is_loaded));
        GetLoadStateResponse { state: state.unwrap_or(0), ..Default::default() }
    }
}
