//! Partitions of a collection.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Instant;

use super::{LoadState, SHOW_ALL, SHOW_LOADED};
use crate::domain::CollectionName;
use crate::milvus::client::{CallContext, Client};
use crate::milvus::error::{Error, ErrorKind};
use crate::milvus::marked::MarkedClient;
use crate::milvus::methods;
use crate::milvus::pb::api::{PartitionRequest, ShowPartitionsRequest, ShowPartitionsResponse};
use crate::milvus::settling::RowVisibility;

/// Every method is one blocking call, which fails as [`Error`] describes.
#[allow(clippy::missing_errors_doc)]
impl Client {
    /// Partition names with their ids, 0 where the server gives none; `None` from a server that has no partitions.
    pub fn list_partitions(
        &self,
        collection: &CollectionName,
        context: &CallContext,
    ) -> Result<Option<BTreeMap<String, i64>>, Error> {
        match self.show_partitions(collection, SHOW_ALL, context) {
            Ok(answer) => {
                let ids = answer.partitionIDs.into_iter().chain(std::iter::repeat(0));
                Ok(Some(answer.partition_names.into_iter().zip(ids).collect()))
            }
            Err(error) if error.kind == ErrorKind::Unimplemented => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The names of the partitions that are loaded; none from a server that has no partitions.
    pub fn loaded_partitions(
        &self,
        collection: &CollectionName,
        context: &CallContext,
    ) -> Result<BTreeSet<String>, Error> {
        match self.show_partitions(collection, SHOW_LOADED, context) {
            Ok(answer) => Ok(answer.partition_names.into_iter().collect()),
            Err(error) if error.is_not_loaded() || error.is_partition_missing() => Ok(BTreeSet::new()),
            Err(error) if error.kind == ErrorKind::Unimplemented => Ok(BTreeSet::new()),
            Err(error) => Err(error),
        }
    }

    /// What keeps a query of a collection from seeing all of its rows; `None`: nothing does.
    pub fn unreadable_part(
        &self,
        collection: &CollectionName,
        context: &CallContext,
    ) -> Result<Option<UnreadablePart>, Error> {
        Ok(match self.query_coverage(collection, context)? {
            QueryCoverage::Partial(part) => Some(part),
            QueryCoverage::Whole { .. } => None,
        })
    }

    /// Whether a query of a collection sees all of its rows.
    ///
    /// The collection's own load state says too little: Milvus 2.3.5 calls a collection loaded of which a partition was
    /// released, and leaves that partition's rows out of a query of the whole without an error.
    pub fn query_coverage(&self, collection: &CollectionName, context: &CallContext) -> Result<QueryCoverage, Error> {
        let mut found = self.loaded_part(collection, context)?;
        match &mut found {
            QueryCoverage::Whole { rows, .. } => {
                let now = Instant::now();
                if let Some(name) = self.settling.settles(collection, now) {
                    return Ok(QueryCoverage::Partial(UnreadablePart::Settling(name)));
                }
                if *rows == RowVisibility::Unproven {
                    *rows = self.settling.visibility(collection, now);
                }
            }
            QueryCoverage::Partial(UnreadablePart::Partition(name)) => {
                self.settling.saw_unloaded(collection, name, Instant::now());
            }
            QueryCoverage::Partial(UnreadablePart::Loading) => self.settling.saw_loading(collection, Instant::now()),
            QueryCoverage::Partial(_) => self.settling.begin_anew(collection),
        }
        Ok(found)
    }

    fn loaded_part(&self, collection: &CollectionName, context: &CallContext) -> Result<QueryCoverage, Error> {
        match self.load_state(collection, context)? {
            LoadState::NotLoaded => return Ok(QueryCoverage::Partial(UnreadablePart::Everything)),
            LoadState::Loading => return Ok(QueryCoverage::Partial(UnreadablePart::Loading)),
            LoadState::Loaded => {}
        }
        let Some(partitions) = self.list_partitions(collection, context)? else {
            return Ok(QueryCoverage::certain(BTreeSet::new()));
        };
        let partitions: BTreeSet<String> = partitions.into_keys().collect();
        let loaded = match self.show_partitions(collection, SHOW_LOADED, context) {
            Ok(answer) => answer,
            Err(error) if error.is_not_loaded() => return Ok(QueryCoverage::Partial(UnreadablePart::Everything)),
            Err(error) if error.kind == ErrorKind::Unimplemented => return Ok(QueryCoverage::certain(partitions)),
            Err(error) => return Err(error),
        };
        Ok(match unreadable(partitions.iter().cloned(), &loaded) {
            Some(part) => QueryCoverage::Partial(part),
            // Only a partition beside others that are loaded is called loaded too early; and a server that does not
            // tell which ones are loaded loads no single one.
            None if partitions.len() < 2 || loaded.partition_names.is_empty() => QueryCoverage::certain(partitions),
            None => QueryCoverage::Whole { partitions, rows: RowVisibility::Unproven },
        })
    }

    fn show_partitions(
        &self,
        collection: &CollectionName,
        kind: i32,
        context: &CallContext,
    ) -> Result<ShowPartitionsResponse, Error> {
        let request = ShowPartitionsRequest {
            db_name: collection.db.clone(),
            collection_name: collection.name.clone(),
            type_: kind,
            ..Default::default()
        };
        self.call(&collection.to_string(), &methods::SHOW_PARTITIONS, &request, context)
    }
}

/// Every method is one blocking call, which fails as [`Error`] describes.
#[allow(clippy::missing_errors_doc)]
impl MarkedClient<'_> {
    /// Creates a partition.
    pub fn create_partition(
        &self,
        collection: &CollectionName,
        partition: &str,
        context: &CallContext,
    ) -> Result<(), Error> {
        let request = partition_request(collection, partition);
        self.change(&collection.to_string(), &methods::CREATE_PARTITION, &request, context).map(drop)
    }

    /// Drops a partition with its rows.
    pub fn drop_partition(
        &self,
        collection: &CollectionName,
        partition: &str,
        context: &CallContext,
    ) -> Result<(), Error> {
        self.client().witnesses().forget(collection);
        let request = partition_request(collection, partition);
        self.change(&collection.to_string(), &methods::DROP_PARTITION, &request, context).map(drop)
    }
}

/// How much of a collection a query sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QueryCoverage {
    /// All of it, and these are its partitions; none at a server that has none.
    Whole {
        /// Their names.
        partitions: BTreeSet<String>,
        /// Whether that is certain.
        rows: RowVisibility,
    },
    /// Not this part of it.
    Partial(UnreadablePart),
}

impl QueryCoverage {
    fn certain(partitions: BTreeSet<String>) -> QueryCoverage {
        QueryCoverage::Whole { partitions, rows: RowVisibility::Certain }
    }
}

/// What of a collection a query does not see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UnreadablePart {
    /// Nothing of it is loaded.
    Everything,
    /// It is being loaded.
    Loading,
    /// This partition is not loaded, or not yet.
    Partition(String),
    /// This partition has been loaded so recently that a query may still leave out its rows.
    Settling(String),
}

impl fmt::Display for UnreadablePart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UnreadablePart::Everything => f.write_str("it is not loaded"),
            UnreadablePart::Loading => f.write_str("it is being loaded"),
            UnreadablePart::Partition(name) => write!(f, "its partition {name} is not loaded"),
            UnreadablePart::Settling(name) => write!(f, "its partition {name} was loaded a moment ago"),
        }
    }
}

/// The first partition that the answer does not show as loaded. One that shows none at all comes from a server that
/// does not tell.
fn unreadable(partitions: impl Iterator<Item = String>, loaded: &ShowPartitionsResponse) -> Option<UnreadablePart> {
    if loaded.partition_names.is_empty() {
        return None;
    }
    let percent = loaded.inMemory_percentages.iter().copied().chain(std::iter::repeat(100));
    let whole: BTreeSet<&String> = loaded
        .partition_names
        .iter()
        .zip(percent)
        .filter(|(_, percent)| *percent >= 100)
        .map(|(name, _)| name)
        .collect();
    partitions.into_iter().find(|name| !whole.contains(name)).map(UnreadablePart::Partition)
}

fn partition_request(collection: &CollectionName, partition: &str) -> PartitionRequest {
    PartitionRequest {
        db_name: collection.db.clone(),
        collection_name: collection.name.clone(),
        partition_name: partition.into(),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(loaded: &[(&str, i64)]) -> ShowPartitionsResponse {
        ShowPartitionsResponse {
            partition_names: loaded.iter().map(|(name, _)| (*name).to_owned()).collect(),
            inMemory_percentages: loaded.iter().map(|(_, percent)| *percent).collect(),
            ..Default::default()
        }
    }

    #[test]
    fn a_query_sees_all_only_when_every_partition_is_loaded() {
        let partitions = || ["_default", "p"].into_iter().map(str::to_owned);
        let lacks = |name: &str| Some(UnreadablePart::Partition(name.to_owned()));
        assert_eq!(unreadable(partitions(), &shown(&[("p", 100), ("_default", 100)])), None);
        assert_eq!(unreadable(partitions(), &shown(&[("_default", 100)])), lacks("p"));
        assert_eq!(unreadable(partitions(), &shown(&[("_default", 100), ("p", 99)])), lacks("p"));
        assert_eq!(unreadable(partitions(), &shown(&[("p", 100)])), lacks("_default"));
        assert_eq!(unreadable(partitions(), &shown(&[])), None, "the server does not tell");
        let untold = ShowPartitionsResponse { inMemory_percentages: Vec::new(), ..shown(&[("_default", 0), ("p", 0)]) };
        assert_eq!(unreadable(partitions(), &untold), None);
    }
}
