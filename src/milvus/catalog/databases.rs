//! Databases of a server.

use std::collections::BTreeMap;

use super::{map, pairs};
use crate::milvus::client::{CallContext, Client};
use crate::milvus::error::{Error, ErrorKind};
use crate::milvus::marked::MarkedClient;
use crate::milvus::methods;
use crate::milvus::pb::api::{AlterDatabaseRequest, DatabaseRequest, ListDatabasesRequest};

/// The database that a Milvus creates when it starts for the first time, and keeps.
const DEFAULT_DATABASE: &str = "default";

/// The databases of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseListing {
    /// Their names.
    pub names: Vec<String>,
    /// When the server made its database `default`, by the server's own count: it stays the same over restarts and is
    /// another one after a reinstallation (observed with 2.3.5). `None` where the server does not tell.
    pub server_created: Option<u64>,
}

/// Every method is one blocking call, which fails as [`Error`] describes.
#[allow(clippy::missing_errors_doc)]
impl Client {
    /// The names of all databases; only `default` on a server that has no databases.
    pub fn list_databases(&self, context: &CallContext) -> Result<Vec<String>, Error> {
        self.describe_databases(context).map(|found| found.names)
    }

    /// The same, with what the listing tells about the server itself.
    pub fn describe_databases(&self, context: &CallContext) -> Result<DatabaseListing, Error> {
        match self.call("", &methods::LIST_DATABASES, &ListDatabasesRequest::new(), context) {
            Ok(answer) => {
                let created = answer.db_names.iter().zip(answer.created_timestamp);
                let mut default = created.filter(|(name, _)| *name == DEFAULT_DATABASE).map(|(_, created)| created);
                let server_created = default.next_back().filter(|created| *created != 0);
                Ok(DatabaseListing { names: answer.db_names, server_created })
            }
            Err(error) if error.kind == ErrorKind::Unimplemented => {
                Ok(DatabaseListing { names: vec![DEFAULT_DATABASE.into()], server_created: None })
            }
            Err(error) => Err(error),
        }
    }

    /// The properties of a database; `None` from a server without the call (before 2.4).
    pub fn database_properties(
        &self,
        db: &str,
        context: &CallContext,
    ) -> Result<Option<BTreeMap<String, String>>, Error> {
        let request = DatabaseRequest { db_name: db.into(), ..Default::default() };
        match self.call(db, &methods::DESCRIBE_DATABASE, &request, context) {
            Ok(answer) => Ok(Some(map(answer.properties))),
            Err(error) if error.kind == ErrorKind::Unimplemented => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Every method is one blocking call, which fails as [`Error`] describes.
#[allow(clippy::missing_errors_doc)]
impl MarkedClient<'_> {
    /// Creates a database.
    pub fn create_database(&self, db: &str, context: &CallContext) -> Result<(), Error> {
        let request = DatabaseRequest { db_name: db.into(), ..Default::default() };
        self.change(db, &methods::CREATE_DATABASE, &request, context).map(drop)
    }

    /// Sets properties of a database, or removes others.
    pub fn alter_database(
        &self,
        db: &str,
        set: &BTreeMap<String, String>,
        removed: Vec<String>,
        context: &CallContext,
    ) -> Result<(), Error> {
        let request = AlterDatabaseRequest {
            db_name: db.into(),
            properties: pairs(set),
            delete_keys: removed,
            ..Default::default()
        };
        self.change(db, &methods::ALTER_DATABASE, &request, context).map(drop)
    }

    /// Drops an empty database.
    pub fn drop_database(&self, db: &str, context: &CallContext) -> Result<(), Error> {
        let request = DatabaseRequest { db_name: db.into(), ..Default::default() };
        self.change(db, &methods::DROP_DATABASE, &request, context).map(drop)
    }
}
