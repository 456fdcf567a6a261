//! Aliases of collections.

use super::request_for;
use crate::domain::CollectionName;
use crate::milvus::client::{CallContext, Client};
use crate::milvus::error::{Error, ErrorKind};
use crate::milvus::marked::MarkedClient;
use crate::milvus::methods;
use crate::milvus::pb::api::{AliasRequest, DropAliasRequest};

/// Every method is one blocking call, which fails as [`Error`] describes.
#[allow(clippy::missing_errors_doc)]
impl Client {
    /// The aliases of a collection; `None` from a server that does not know the call.
    pub(super) fn list_aliases(
        &self,
        collection: &CollectionName,
        context: &CallContext,
    ) -> Result<Option<Vec<String>>, Error> {
        let request = request_for(collection);
        match self.call(&collection.to_string(), &methods::LIST_ALIASES, &request, context) {
            Ok(answer) => Ok(Some(answer.aliases)),
            Err(error) if error.kind == ErrorKind::Unimplemented => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Every method is one blocking call, which fails as [`Error`] describes.
#[allow(clippy::missing_errors_doc)]
impl MarkedClient<'_> {
    /// Creates an alias of a collection.
    pub fn create_alias(&self, collection: &CollectionName, alias: &str, context: &CallContext) -> Result<(), Error> {
        let request = alias_request(collection, alias);
        self.change(&format!("{}.{alias}", collection.db), &methods::CREATE_ALIAS, &request, context).map(drop)
    }

    /// Moves an existing alias to another collection.
    pub fn alter_alias(&self, collection: &CollectionName, alias: &str, context: &CallContext) -> Result<(), Error> {
        let request = alias_request(collection, alias);
        self.change(&format!("{}.{alias}", collection.db), &methods::ALTER_ALIAS, &request, context).map(drop)
    }

    /// Drops an alias.
    pub fn drop_alias(&self, db: &str, alias: &str, context: &CallContext) -> Result<(), Error> {
        let request = DropAliasRequest { db_name: db.into(), alias: alias.into(), ..Default::default() };
        self.change(&format!("{db}.{alias}"), &methods::DROP_ALIAS, &request, context).map(drop)
    }
}

fn alias_request(collection: &CollectionName, alias: &str) -> AliasRequest {
    AliasRequest {
        db_name: collection.db.clone(),
        collection_name: collection.name.clone(),
        alias: alias.into(),
        ..Default::default()
    }
}
