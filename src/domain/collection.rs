//! The name of a collection, and its primary key.

use std::fmt;

use super::CollectionId;

/// The name of a collection with its database, at one server. Displayed as `database.collection`.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CollectionName {
    /// Database name, never empty.
    pub db: String,
    /// Collection name.
    pub name: String,
}

impl CollectionName {
    /// Names the collection `name` of the database `db`.
    pub fn new(db: impl Into<String>, name: impl Into<String>) -> CollectionName {
        CollectionName { db: db.into(), name: name.into() }
    }
}

impl fmt::Display for CollectionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.db, self.name)
    }
}

/// A collection as a record of the log names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CollectionRef {
    /// By its id.
    Id(CollectionId),
    /// By its name or alias.
    Name {
        /// Database at the source; empty for the default one.
        db: String,
        /// Collection at the source.
        collection: String,
    },
}

/// The primary key of a collection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyField {
    /// Field name.
    pub name: String,
    /// True: Int64. False: VarChar.
    pub is_int: bool,
}
