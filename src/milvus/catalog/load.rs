//! Load state of a collection and its partitions.

use super::{LoadState, request_for};
use crate::domain::CollectionName;
use crate::milvus::client::{CallContext, Client};
use crate::milvus::error::{Error, ErrorKind};
use crate::milvus::marked::MarkedClient;
use crate::milvus::methods;
use crate::milvus::pb::api::{GetLoadStateRequest, GetReplicasRequest, LoadCollectionRequest, PartitionsRequest};

/// Every method is one blocking call, which fails as [`Error`] describes.
#[allow(clippy::missing_errors_doc)]
impl Client {
    /// Whether a collection is loaded.
    pub fn load_state(&self, collection: &CollectionName, context: &CallContext) -> Result<LoadState, Error> {
        let request = GetLoadStateRequest {
            db_name: collection.db.clone(),
            collection_name: collection.name.clone(),
            ..Default::default()
        };
        let answer = self.call(&collection.to_string(), &methods::GET_LOAD_STATE, &request, context)?;
        Ok(match answer.state {
            2 => LoadState::Loading,
            3 => LoadState::Loaded,
            _ => LoadState::NotLoaded,
        })
    }

    /// How many replicas a loaded collection has; 1 where the server cannot tell. `id` is the server's own.
    pub fn replica_number(&self, collection: &CollectionName, id: i64, context: &CallContext) -> Result<i32, Error> {
        let request = GetReplicasRequest {
            db_name: collection.db.clone(),
            collection_name: collection.name.clone(),
            collectionID: id,
            ..Default::default()
        };
        match self.call(&collection.to_string(), &methods::GET_REPLICAS, &request, context) {
            Ok(answer) => Ok((answer.replicas.len() as i32).max(1)),
            Err(error) if error.kind == ErrorKind::Unimplemented => Ok(1),
            Err(error) => Err(error),
        }
    }
}

/// Every method is one blocking call, which fails as [`Error`] describes.
#[allow(clippy::missing_errors_doc)]
impl MarkedClient<'_> {
    /// Starts loading a collection.
    pub fn load_collection(
        &self,
        collection: &CollectionName,
        replicas: i32,
        context: &CallContext,
    ) -> Result<(), Error> {
        let request = LoadCollectionRequest {
            db_name: collection.db.clone(),
            collection_name: collection.name.clone(),
            replica_number: replicas,
            ..Default::default()
        };
        self.change(&collection.to_string(), &methods::LOAD_COLLECTION, &request, context).map(drop)
    }

    /// Starts loading some of a collection's partitions.
    pub fn load_partitions(
        &self,
        collection: &CollectionName,
        partitions: Vec<String>,
        replicas: i32,
        context: &CallContext,
    ) -> Result<(), Error> {
        let request = partitions_request(collection, partitions, replicas);
        self.change(&collection.to_string(), &methods::LOAD_PARTITIONS, &request, context).map(drop)
    }

    /// Releases some partitions.
    pub fn release_partitions(
        &self,
        collection: &CollectionName,
        partitions: Vec<String>,
        context: &CallContext,
    ) -> Result<(), Error> {
        let request = partitions_request(collection, partitions, 0);
        self.change(&collection.to_string(), &methods::RELEASE_PARTITIONS, &request, context).map(drop)
    }

    /// Releases a collection.
    pub fn release_collection(&self, collection: &CollectionName, context: &CallContext) -> Result<(), Error> {
        let request = request_for(collection);
        self.change(&collection.to_string(), &methods::RELEASE_COLLECTION, &request, context).map(drop)
    }
}

fn partitions_request(collection: &CollectionName, partitions: Vec<String>, replicas: i32) -> PartitionsRequest {
    PartitionsRequest {
        db_name: collection.db.clone(),
        collection_name: collection.name.clone(),
        partition_names: partitions,
        replica_number: replicas,
        ..Default::default()
    }
}
