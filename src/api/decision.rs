//! Requests that list what waits for a user, or say what becomes of it: `drops`, `refused_rows`.

use serde_json::{Map, Value};

use super::decode::{Object, Problems};
use super::error::{ApiError, RequestError};

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DecisionParams<D> {
    pub(super) task_id: String,
    /// `None`: only a list.
    pub(super) decision: Option<D>,
}

impl<D: Copy> DecisionParams<D> {
    /// Decodes and judges. The action is `list`, which is what an empty one means, or one of these.
    pub(super) fn decode(data: Option<&Map<String, Value>>, decisions: &[(&str, D)]) -> Result<Self, RequestError> {
        let root = Object::root(data);
        let mut problems = Problems::default();
        let task_id = root.text("task_id", &mut problems);
        let action = root.text("action", &mut problems);
        problems.or(()).map_err(RequestError::Decode)?;
        if action.is_empty() || action == "list" {
            return Ok(DecisionParams { task_id, decision: None });
        }
        let Some((_, decision)) = decisions.iter().find(|(name, _)| *name == action) else {
            let names: Vec<&str> = decisions.iter().map(|(name, _)| *name).collect();
            return Err(ApiError::client(format!("invalid action: {action} (list, {})", names.join(", "))).into());
        };
        Ok(DecisionParams { task_id, decision: Some(*decision) })
    }
}
