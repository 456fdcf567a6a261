/*!
The databases and collections that a request names, as it names them.
*/

use std::collections::BTreeMap;

/// The database that every Milvus has; an empty name means the same.
pub const DEFAULT_DATABASE: &str = "default";

/// The name of a database; Milvus and requests leave the default database's name empty in places.
pub(crate) fn database_name(database: &str) -> &str {
    if database.is_empty() { DEFAULT_DATABASE } else { database }
}

/// Collections as a request names them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// `collection_infos`; `None` when the request had none.
    pub collection_infos: Option<Vec<SelectedCollection>>,
    /// `db_collections`; `None` when the request had none.
    pub db_collections: Option<BTreeMap<String, Vec<SelectedCollection>>>,
}

/// One collection of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SelectedCollection {
    /// Collection name, or `*`.
    pub name: String,
    /// Start positions per virtual channel, base64 as given; `None` when the request had none.
    pub positions: Option<BTreeMap<String, String>>,
    /// Read from the collection's start in the log instead of from now.
    pub use_start_position: bool,
}

impl Selection {
    /// Every collection named, with its database.
    pub fn collections(&self) -> impl Iterator<Item = (&str, &SelectedCollection)> {
        let of_default = self.collection_infos.iter().flatten().map(|info| (DEFAULT_DATABASE, info));
        let of_databases =
            self.db_collections.iter().flatten().flat_map(|(db, infos)| infos.iter().map(|info| (db.as_str(), info)));
        of_default.chain(of_databases)
    }
}
