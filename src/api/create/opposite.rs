//! A `create` request for the opposite of another task, which defines all of it.

use super::params::CreateParams;
use crate::api::error::ApiError;
use crate::domain::TaskId;

/// The opposite of a task.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::api) struct OppositeTask {
    /// The id that the request names, if any.
    pub(in crate::api) id: Option<TaskId>,
    /// The other task.
    pub(in crate::api) of: TaskId,
}

impl CreateParams {
    /// The opposite task that the request wants; `None` for any other.
    ///
    /// # Errors
    /// An id is none, or the request defines what follows from the other task.
    pub(in crate::api) fn reverse_of(&self) -> Result<Option<OppositeTask>, ApiError> {
        if self.reverse_of.is_empty() {
            return Ok(None);
        }
        let parsed = |id: &str| TaskId::parse(id).map_err(|error| ApiError::client(error.to_string()));
        let is_defined = self.milvus.address().is_some()
            || !self.peer.is_empty()
            || self.selection.collection_infos.is_some()
            || self.selection.db_collections.is_some()
            || !self.mapping.is_empty();
        if is_defined {
            let text = "with `reverse_of` the target, the collections and their names follow from the other task: \
                        leave them out";
            return Err(ApiError::client(text));
        }
        let id = if self.task_id.is_empty() { None } else { Some(parsed(&self.task_id)?) };
        Ok(Some(OppositeTask { id, of: parsed(&self.reverse_of)? }))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn asked(data: Value) -> Result<Option<OppositeTask>, String> {
        CreateParams::decode(data.as_object()).unwrap().reverse_of().map_err(|error| error.message)
    }

    #[test]
    fn everything_follows_from_the_other_task() {
        let id = |id: &str| TaskId::parse(id).unwrap();
        assert_eq!(asked(json!({"task_id": "a"})), Ok(None));
        assert_eq!(asked(json!({"reverse_of": "a"})), Ok(Some(OppositeTask { id: None, of: id("a") })));
        let named = json!({"reverse_of": "a", "task_id": "b"});
        assert_eq!(asked(named), Ok(Some(OppositeTask { id: Some(id("b")), of: id("a") })));
        for more in [
            json!({"reverse_of": "a", "peer": "east"}),
            json!({"reverse_of": "a", "collection_infos": [{"name": "*"}]}),
            json!({"reverse_of": "a", "milvus_connect_param": {"uri": "http://b"}}),
        ] {
            assert!(asked(more).unwrap_err().contains("leave them out"));
        }
        assert!(asked(json!({"reverse_of": "a/b"})).is_err());
    }
}
