//! Bulk imports, which write a collection's rows past its log.

use std::collections::BTreeSet;

use crate::domain::{CollectionId, CollectionName};
use crate::milvus::client::{CallContext, Client};
use crate::milvus::error::Error;
use crate::milvus::methods;
use crate::milvus::pb::api::{self, GetQuerySegmentInfoRequest, ListImportTasksRequest};

/// A bulk import that is complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompleteImport {
    /// Its id.
    pub id: i64,
    /// The collection that it wrote to; `None` where the server does not say.
    pub collection: Option<CollectionId>,
    /// Number of its rows; 0 where the server does not say.
    pub rows: u64,
    /// The segments that it wrote; empty where the server does not say.
    pub segments: Vec<i64>,
}

/// `ImportCompleted` of Milvus.
const COMPLETED: i32 = 6;

/// Every method is one blocking call, which fails as [`Error`] describes.
#[allow(clippy::missing_errors_doc)]
impl Client {
    /// The complete imports that the server remembers (2.3.5: for a day), into one collection or into any.
    pub fn complete_imports(
        &self,
        collection: Option<&CollectionName>,
        context: &CallContext,
    ) -> Result<Vec<CompleteImport>, Error> {
        let CollectionName { db, name } = collection.cloned().unwrap_or_default();
        let object = collection.map(ToString::to_string).unwrap_or_default();
        let request = ListImportTasksRequest { collection_name: name, db_name: db, ..Default::default() };
        let answer = self.call(&object, &methods::LIST_IMPORT_TASKS, &request, context)?;
        Ok(answer.tasks.into_iter().filter(|task| task.state == COMPLETED).map(CompleteImport::from).collect())
    }

    /// The segments of a collection that queries see.
    pub fn served_segments(&self, name: &CollectionName, context: &CallContext) -> Result<BTreeSet<i64>, Error> {
        let request = GetQuerySegmentInfoRequest {
            dbName: name.db.clone(),
            collectionName: name.name.clone(),
            ..Default::default()
        };
        let answer = self.call(&name.to_string(), &methods::GET_QUERY_SEGMENT_INFO, &request, context)?;
        Ok(answer.infos.into_iter().map(|segment| segment.segmentID).collect())
    }
}

impl From<api::ImportTask> for CompleteImport {
    fn from(task: api::ImportTask) -> Self {
        CompleteImport {
            id: task.id,
            collection: (task.collection_id != 0).then_some(CollectionId(task.collection_id)),
            rows: u64::try_from(task.row_count).unwrap_or(0),
            segments: task.segment_ids,
        }
    }
}
