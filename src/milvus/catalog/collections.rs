//! Collections of a server.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use protobuf::Message as _;

use super::{CollectionDetails, ListedCollection, SHOW_ALL, SHOW_LOADED, map, pairs, request_for};
use crate::domain::CollectionName;
use crate::milvus::client::together::{BatchedAnswer, RequestAbout};
use crate::milvus::client::{CallContext, Client};
use crate::milvus::error::{Error, ErrorKind};
use crate::milvus::marked::MarkedClient;
use crate::milvus::methods;
use crate::milvus::pb::api::{
    AlterCollectionRequest, CreateCollectionRequest, DescribeCollectionResponse, RenameCollectionRequest,
    ShowCollectionsRequest, ShowCollectionsResponse, TruncateCollectionRequest,
};

/// The aliases in a server's description of a collection.
enum AnsweredAliases {
    Current(Vec<String>),
    /// Servers without ids tell none here, and those from 2.6 on out of a cache that a change of an alias does not
    /// renew.
    Outdated(Vec<String>),
}

/// Every method is one blocking call, which fails as [`Error`] describes.
#[allow(clippy::missing_errors_doc)]
impl Client {
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
        self.call(db, &methods::SHOW_COLLECTIONS, &request, context)
    }

    /// Everything about one collection but its partitions, indexes and load state. `collection` may be an alias.
    pub fn describe_collection(
        &self,
        collection: &CollectionName,
        context: &CallContext,
    ) -> Result<CollectionDetails, Error> {
        let (mut details, answered) = self.ask_for_description(collection, context)?;
        details.aliases = match answered {
            AnsweredAliases::Current(aliases) => aliases.into_iter().collect(),
            AnsweredAliases::Outdated(aliases) => {
                let name = CollectionName::new(&collection.db, &details.name);
                self.list_aliases(&name, context)?.unwrap_or(aliases).into_iter().collect()
            }
        };
        Ok(details)
    }

    /// [`Self::describe_collection`] of many, in as few turns as possible. What is not answered within `patience` is
    /// given up.
    pub fn describe_collections(
        &self,
        collections: &[CollectionName],
        patience: Duration,
        context: &CallContext,
    ) -> Vec<BatchedAnswer<CollectionDetails>> {
        let about = |name: &CollectionName| RequestAbout { object: name.to_string(), request: request_for(name) };
        let requests: Vec<_> = collections.iter().map(about).collect();
        let answers = self.call_together(&methods::DESCRIBE_COLLECTION, &requests, patience, context);
        let answers: Vec<_> = answers.into_iter().map(|answer| answer.map(description)).collect();
        let outdated = answers.iter().zip(collections).filter_map(|(answer, name)| match answer {
            BatchedAnswer::Answered((details, AnsweredAliases::Outdated(_))) => {
                Some(about(&CollectionName::new(&name.db, &details.name)))
            }
            _ => None,
        });
        let requests: Vec<_> = outdated.collect();
        let listed = self.call_together(&methods::LIST_ALIASES, &requests, patience, context);
        let mut listed = listed.into_iter();
        let mut with_aliases = |(details, answered)| {
            let aliases = match answered {
                AnsweredAliases::Current(aliases) => BatchedAnswer::Answered(aliases),
                AnsweredAliases::Outdated(aliases) => match listed.next() {
                    Some(BatchedAnswer::Failed(error)) if error.kind == ErrorKind::Unimplemented => {
                        BatchedAnswer::Answered(aliases)
                    }
                    Some(listed) => listed.map(|answer| answer.aliases),
                    None => BatchedAnswer::GivenUp,
                },
            };
            aliases.map(|aliases| CollectionDetails { aliases: aliases.into_iter().collect(), ..details })
        };
        let complete = answers.into_iter().map(|answer| match answer {
            BatchedAnswer::Answered(described) => with_aliases(described),
            BatchedAnswer::Failed(error) => BatchedAnswer::Failed(error),
            BatchedAnswer::GivenUp => BatchedAnswer::GivenUp,
        });
        complete.collect()
    }

    /// The same without its aliases, for which many servers have to be asked once more.
    pub fn describe_without_aliases(
        &self,
        collection: &CollectionName,
        context: &CallContext,
    ) -> Result<CollectionDetails, Error> {
        self.ask_for_description(collection, context).map(|(details, _)| details)
    }

    fn ask_for_description(
        &self,
        collection: &CollectionName,
        context: &CallContext,
    ) -> Result<(CollectionDetails, AnsweredAliases), Error> {
        let request = request_for(collection);
        let answer = self.call(&collection.to_string(), &methods::DESCRIBE_COLLECTION, &request, context)?;
        Ok(description(answer))
    }
}

fn description(answer: DescribeCollectionResponse) -> (CollectionDetails, AnsweredAliases) {
    let schema = answer.schema.unwrap_or_default();
    // Asked by an alias, 2.3.5 answers with the alias as the collection's name; the schema has the real one.
    let name = if schema.name.is_empty() { answer.collection_name } else { schema.name.clone() };
    let are_current = answer.collectionID != 0 && answer.update_timestamp == 0;
    let aliases = match are_current {
        true => AnsweredAliases::Current(answer.aliases),
        false => AnsweredAliases::Outdated(answer.aliases),
    };
    let details = CollectionDetails {
        id: answer.collectionID,
        name,
        schema,
        shards: answer.shards_num,
        consistency: answer.consistency_level,
        properties: map(answer.properties),
        aliases: BTreeSet::new(),
        num_partitions: answer.num_partitions,
        created: answer.created_timestamp,
        channels: answer.physical_channel_names,
        begins: answer.start_positions.into_iter().map(|place| (place.key, place.data)).collect(),
    };
    (details, aliases)
}

/// Every method is one blocking call, which fails as [`Error`] describes.
#[allow(clippy::missing_errors_doc)]
impl MarkedClient<'_> {
    /// Creates a collection. `num_partitions` is used only with a partition key.
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
        // It has none of the rows that another one of its name had.
        self.client().witnesses().forget(&CollectionName::new(db, name));
        self.change(&format!("{db}.{name}"), &methods::CREATE_COLLECTION, &request, context).map(drop)
    }

    /// Sets properties; those not named stay.
    pub fn alter_collection(
        &self,
        collection: &CollectionName,
        properties: &BTreeMap<String, String>,
        context: &CallContext,
    ) -> Result<(), Error> {
        // Its rows may expire from now on.
        self.client().witnesses().forget(collection);
        let request = AlterCollectionRequest {
            db_name: collection.db.clone(),
            collection_name: collection.name.clone(),
            properties: pairs(properties),
            ..Default::default()
        };
        self.change(&collection.to_string(), &methods::ALTER_COLLECTION, &request, context).map(drop)
    }

    /// Removes a property. Servers before 2.5 answer as if they had.
    pub fn remove_property(&self, collection: &CollectionName, key: &str, context: &CallContext) -> Result<(), Error> {
        let request = AlterCollectionRequest {
            db_name: collection.db.clone(),
            collection_name: collection.name.clone(),
            delete_keys: vec![key.to_owned()],
            ..Default::default()
        };
        self.change(&collection.to_string(), &methods::ALTER_COLLECTION, &request, context).map(drop)
    }

    /// Renames a collection, also into another database.
    pub fn rename_collection(
        &self,
        from: &CollectionName,
        to: &CollectionName,
        context: &CallContext,
    ) -> Result<(), Error> {
        self.client().witnesses().forget(from);
        let request = RenameCollectionRequest {
            db_name: from.db.clone(),
            oldName: from.name.clone(),
            newName: to.name.clone(),
            newDBName: to.db.clone(),
            ..Default::default()
        };
        self.change(&from.to_string(), &methods::RENAME_COLLECTION, &request, context).map(drop)
    }

    /// Drops a collection with its rows.
    pub fn drop_collection(&self, collection: &CollectionName, context: &CallContext) -> Result<(), Error> {
        self.client().witnesses().forget(collection);
        let request = request_for(collection);
        self.change(&collection.to_string(), &methods::DROP_COLLECTION, &request, context).map(drop)
    }

    /// Removes all rows of a collection. Servers before 2.6 do not have the call.
    pub fn truncate_collection(&self, collection: &CollectionName, context: &CallContext) -> Result<(), Error> {
        self.client().witnesses().forget(collection);
        let request = TruncateCollectionRequest {
            db_name: collection.db.clone(),
            collection_name: collection.name.clone(),
            ..Default::default()
        };
        self.change(&collection.to_string(), &methods::TRUNCATE_COLLECTION, &request, context).map(drop)
    }
}
