//! The requests `pause`, `resume` and `resync` about one collection of a task.

use serde_json::{Map, Value, json};

use super::decode::{Object, Problems};
use super::error::{ApiError, RequestError};
use crate::domain::CollectionName;
use crate::task::collection_request::CollectionOutcome;
use crate::task::spec::DEFAULT_DATABASE;

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CollectionParams {
    pub(super) task_id: String,
    /// Database and name at the source.
    pub(super) collection: String,
}

impl CollectionParams {
    /// Decodes a request; `None` when it names no collection.
    pub(super) fn decode(data: Option<&Map<String, Value>>) -> Result<Option<Self>, RequestError> {
        let root = Object::root(data);
        let mut problems = Problems::default();
        let task_id = root.text("task_id", &mut problems);
        let collection = root.text("collection", &mut problems);
        problems.or(()).map_err(RequestError::Decode)?;
        if collection.is_empty() {
            return Ok(None);
        }
        let (db, name) = collection.split_once('.').unwrap_or((DEFAULT_DATABASE, &collection));
        let collection = CollectionName::new(db, name).to_string();
        Ok(Some(CollectionParams { task_id, collection }))
    }

    /// Decodes a request that must name a collection.
    pub(super) fn decode_named(data: Option<&Map<String, Value>>) -> Result<Self, RequestError> {
        let missing = || ApiError::client("collection is empty: name one as DATABASE.NAME").into();
        CollectionParams::decode(data)?.ok_or_else(missing)
    }
}

/// The `data` of the answer.
pub(super) fn shown(collection: &str, outcome: CollectionOutcome) -> Map<String, Value> {
    Map::from_iter([("collection".to_owned(), json!(collection)), ("outcome".to_owned(), json!(outcome.name()))])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_without_a_database_is_of_the_default_one() {
        let named = |name: &str| {
            let request = json!({"task_id": "a", "collection": name});
            CollectionParams::decode(request.as_object()).unwrap().map(|params| params.collection)
        };
        assert_eq!((named(""), named("a"), named("d.a")), (None, Some("default.a".into()), Some("d.a".into())));
        let missing = CollectionParams::decode_named(json!({"task_id": "a"}).as_object()).unwrap_err();
        assert!(missing.to_string().contains("DATABASE.NAME"));
    }
}
