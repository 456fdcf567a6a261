//! Indexes of a collection.

use std::collections::BTreeMap;

use super::{Index, map, pairs};
use crate::domain::CollectionName;
use crate::milvus::client::{CallContext, Client};
use crate::milvus::error::Error;
use crate::milvus::marked::MarkedClient;
use crate::milvus::methods;
use crate::milvus::pb::api::{AlterIndexRequest, CreateIndexRequest, DescribeIndexRequest, DropIndexRequest};

/// Every method is one blocking call, which fails as [`Error`] describes.
#[allow(clippy::missing_errors_doc)]
impl Client {
    /// All indexes of a collection.
    pub fn list_indexes(&self, collection: &CollectionName, context: &CallContext) -> Result<Vec<Index>, Error> {
        let request = DescribeIndexRequest {
            db_name: collection.db.clone(),
            collection_name: collection.name.clone(),
            ..Default::default()
        };
        match self.call(&collection.to_string(), &methods::DESCRIBE_INDEX, &request, context) {
            Ok(answer) => Ok(answer
                .index_descriptions
                .into_iter()
                .map(|index| Index { name: index.index_name, field: index.field_name, params: map(index.params) })
                .collect()),
            Err(error) if error.is_index_missing() => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }
}

/// Every method is one blocking call, which fails as [`Error`] describes.
#[allow(clippy::missing_errors_doc)]
impl MarkedClient<'_> {
    /// Creates an index.
    pub fn create_index(&self, collection: &CollectionName, index: &Index, context: &CallContext) -> Result<(), Error> {
        let request = CreateIndexRequest {
            db_name: collection.db.clone(),
            collection_name: collection.name.clone(),
            field_name: index.field.clone(),
            index_name: index.name.clone(),
            extra_params: pairs(&index.params),
            ..Default::default()
        };
        self.change(&collection.to_string(), &methods::CREATE_INDEX, &request, context).map(drop)
    }

    /// Sets parameters of an index that need no other index, and removes others (2.5 and later). Servers before 2.4 do
    /// not have the call.
    pub fn alter_index(
        &self,
        collection: &CollectionName,
        index: &str,
        set: &BTreeMap<String, String>,
        removed: Vec<String>,
        context: &CallContext,
    ) -> Result<(), Error> {
        let (set, removed) = (pairs(set), removed);
        // A request may do one of the two.
        let one = |extra_params, delete_keys| AlterIndexRequest {
            db_name: collection.db.clone(),
            collection_name: collection.name.clone(),
            index_name: index.to_owned(),
            extra_params,
            delete_keys,
            ..Default::default()
        };
        let send = |request| self.change(&collection.to_string(), &methods::ALTER_INDEX, &request, context).map(drop);
        if !set.is_empty() {
            send(one(set, Vec::new()))?;
        }
        if removed.is_empty() { Ok(()) } else { send(one(Vec::new(), removed)) }
    }

    /// Drops an index.
    pub fn drop_index(&self, collection: &CollectionName, index: &Index, context: &CallContext) -> Result<(), Error> {
        let request = DropIndexRequest {
            db_name: collection.db.clone(),
            collection_name: collection.name.clone(),
            field_name: index.field.clone(),
            index_name: index.name.clone(),
            ..Default::default()
        };
        self.change(&collection.to_string(), &methods::DROP_INDEX, &request, context).map(drop)
    }
}
