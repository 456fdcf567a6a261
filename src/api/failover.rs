/*!
The requests `failover` and `pair`: the role of a task's two sites, and its change once the source is gone. The log may
take a while to be read to its end, so a start is answered at once, and a later request gets the report.
*/

use serde_json::{Map, Value, json};

use super::decode::{Object, Problems};
use super::error::{ApiError, RequestError};
use super::role::role;
use crate::manager::engine::SourceSighting;
use crate::manager::{FailoverOrder, TaskView};
use crate::task::role::{Insistence, Role};

/// The fields of the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FailoverParams {
    pub(super) task_id: String,
    pub(super) action: FailoverAction,
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FailoverAction {
    /// To look.
    Status,
    /// To say what would come of it.
    DryRun(Insistence),
    /// To do it.
    Order(FailoverOrder),
}

impl FailoverParams {
    /// Decodes and validates a request.
    ///
    /// # Errors
    /// [`RequestError`] when a field has the wrong type or an invalid value.
    pub(super) fn decode(data: Option<&Map<String, Value>>) -> Result<Self, RequestError> {
        let root = Object::root(data);
        let mut problems = Problems::default();
        let task_id = root.text("task_id", &mut problems);
        let action = root.text("action", &mut problems);
        let force = root.flag("force", &mut problems);
        let dry_run = root.flag("dry_run", &mut problems);
        problems.or(()).map_err(RequestError::Decode)?;
        let insistence = if force { Insistence::Forced } else { Insistence::Patient };
        let action = match action.as_str() {
            "" | "start" if dry_run => FailoverAction::DryRun(insistence),
            "" | "start" => FailoverAction::Order(FailoverOrder::Begin(insistence)),
            "status" => FailoverAction::Status,
            "cancel" => FailoverAction::Order(FailoverOrder::Cancel),
            other => return Err(ApiError::client(format!("invalid action: {other} (start, status, cancel)")).into()),
        };
        Ok(FailoverParams { task_id, action })
    }
}

/// The `data` of an answer to `failover`. `objection`: why a failover would not begin now.
pub(super) fn shown(view: &TaskView, objection: Option<&str>) -> Map<String, Value> {
    let mut data = role(&view.role);
    if let Role::FailingOver(failover) = &view.role.role {
        data.insert("step".into(), "draining".into());
        data.insert("since_ms".into(), failover.since_ms.into());
        data.insert("forced".into(), (failover.insistence == Insistence::Forced).into());
        data.insert("waiting_for".into(), json!(view.status.reason));
    }
    let over = view.role.report().map(|_| "the task has failed over");
    let why_not = objection.or(over);
    data.insert("possible".into(), why_not.is_none().into());
    data.insert("why_not".into(), json!(why_not));
    data
}

/// The `data` of an answer to `pair`.
/// `objections`: why a switchover would not begin now.
pub(super) fn pair(view: &TaskView, source: &SourceSighting, objections: &[String]) -> Map<String, Value> {
    let (source_role, target_role, direction) = match view.role.role {
        Role::Forward => ("primary", "standby", "forward"),
        Role::Switching(_) => ("primary", "standby", "both"),
        Role::FailingOver(_) => ("given up", "taking over", "draining"),
        Role::FailedOver(_) | Role::FailingBack(..) => ("former primary", "primary", "none"),
        Role::Reversed(_) => ("standby", "primary", "reverse"),
    };
    let status = &view.status;
    let log = status.source_log.as_ref().map(|log| log.kind);
    let mut data = role(&view.role);
    data.insert("direction".into(), direction.into());
    data.insert("phase".into(), status.phase.name().into());
    data.insert("reason".into(), json!(status.reason));
    data.insert(
        "sites".into(),
        json!([
            {"name": "source", "site": view.spec.source.name(), "uri": source.address, "role": source_role,
             "answers": source.answers, "log": log, "lag_ms": null},
            {"name": "target", "uri": view.spec.target.address().to_string(), "role": target_role, "answers": null,
             "log": null, "lag_ms": status.lag_ms},
        ]),
    );
    data.insert("switchover".into(), json!({"possible": objections.is_empty(), "why_not": objections}));
    data
}

#[cfg(test)]
mod tests {
    use super::*;

    fn action(data: Value) -> Result<FailoverAction, String> {
        FailoverParams::decode(data.as_object()).map(|params| params.action).map_err(|error| error.to_string())
    }

    #[test]
    fn requests() {
        let begin = |insistence| Ok(FailoverAction::Order(FailoverOrder::Begin(insistence)));
        assert_eq!(action(json!({"task_id": "a"})), begin(Insistence::Patient));
        assert_eq!(action(json!({"force": true, "action": "start"})), begin(Insistence::Forced));
        assert_eq!(
            action(json!({"force": true, "dry_run": true})),
            Ok(FailoverAction::DryRun(Insistence::Forced)),
            "nothing is done"
        );
        assert_eq!(action(json!({"action": "status", "dry_run": true})), Ok(FailoverAction::Status));
        assert_eq!(action(json!({"action": "cancel"})), Ok(FailoverAction::Order(FailoverOrder::Cancel)));
        assert!(action(json!({"action": "stop"})).unwrap_err().contains("start, status, cancel"));
        assert!(action(json!({"force": "x"})).is_err());
    }
}
