/*!
The request `switchover`: the sites of a task change places while both are well. Users may take a while to move, so a
beginning is answered at once, and a later request tells what it waits for.
*/

use serde_json::{Map, Value, json};

use super::decode::{Object, Problems};
use super::error::{ApiError, RequestError};
use super::role::role;
use crate::manager::{SwitchoverOrder, TaskView};
use crate::task::role::Role;
use crate::task::switchover::FinalComparison;

/// How long nobody may have changed the source, unless the request says otherwise, in seconds.
const QUIET_S: i64 = 10;
/// The longest that may be asked for, in seconds: an hour.
const LONGEST_QUIET_S: i64 = 3_600;

/// The fields of the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SwitchoverParams {
    pub(super) task_id: String,
    pub(super) action: SwitchoverAction,
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SwitchoverAction {
    /// To look; also to say what would come of it.
    Status,
    /// To do it.
    Order(SwitchoverOrder),
}

impl SwitchoverParams {
    /// Decodes and validates a request.
    ///
    /// # Errors
    /// [`RequestError`] when a field has the wrong type or an invalid value.
    pub(super) fn decode(data: Option<&Map<String, Value>>) -> Result<Self, RequestError> {
        let root = Object::root(data);
        let mut problems = Problems::default();
        let task_id = root.text("task_id", &mut problems);
        let action = root.text("action", &mut problems);
        let quiet_s = root.get("quiet_s").map_or(QUIET_S, |_| root.integer("quiet_s", &mut problems));
        let verify = root.text("verify", &mut problems);
        let dry_run = root.flag("dry_run", &mut problems);
        problems.or(()).map_err(RequestError::Decode)?;
        let quiet_ms = u64::try_from(quiet_s).ok().filter(|_| (1..=LONGEST_QUIET_S).contains(&quiet_s));
        let quiet_ms = quiet_ms.map(|seconds| seconds * 1000).ok_or_else(|| {
            ApiError::client(format!("invalid quiet_s: {quiet_s} (1 to {LONGEST_QUIET_S}; {QUIET_S} if left out)"))
        })?;
        let comparison = match verify.as_str() {
            "" => FinalComparison::default(),
            name => FinalComparison::named(name)
                .ok_or_else(|| ApiError::client(format!("invalid verify: {name} (none, keys, rows)")))?,
        };
        let action = match action.as_str() {
            "" | "start" if dry_run => SwitchoverAction::Status,
            "" | "start" => SwitchoverAction::Order(SwitchoverOrder::Begin { quiet_ms, comparison }),
            "status" => SwitchoverAction::Status,
            "cancel" => SwitchoverAction::Order(SwitchoverOrder::Cancel),
            other => return Err(ApiError::client(format!("invalid action: {other} (start, status, cancel)")).into()),
        };
        Ok(SwitchoverParams { task_id, action })
    }
}

/// The `data` of an answer. `objections`: why a switchover would not begin now.
pub(super) fn shown(view: &TaskView, objections: &[String]) -> Map<String, Value> {
    let mut data = role(&view.role);
    if let Role::Switching(switchover) = &view.role.role {
        data.insert("step".into(), switchover.step.name().into());
        data.insert("since_ms".into(), switchover.since_ms.into());
        data.insert("quiet_ms".into(), switchover.quiet_ms.into());
        data.insert("verify".into(), switchover.comparison.name().into());
        data.insert("waiting_for".into(), json!(view.switchover.waiting_for));
    }
    data.insert("ended".into(), json!(view.switchover.outcome));
    data.insert("possible".into(), objections.is_empty().into());
    data.insert("why_not".into(), (!objections.is_empty()).then(|| objections.join("; ")).into());
    data
}

#[cfg(test)]
mod tests {
    use super::*;

    fn action(data: Value) -> Result<SwitchoverAction, String> {
        SwitchoverParams::decode(data.as_object()).map(|params| params.action).map_err(|error| error.to_string())
    }

    #[test]
    fn requests() {
        let begin = |quiet_ms, comparison| Ok(SwitchoverAction::Order(SwitchoverOrder::Begin { quiet_ms, comparison }));
        assert_eq!(action(json!({"task_id": "a"})), begin(10_000, FinalComparison::Keys));
        assert_eq!(action(json!({"quiet_s": 1, "verify": "rows"})), begin(1_000, FinalComparison::Rows));
        assert_eq!(action(json!({"action": "start", "verify": "none"})), begin(10_000, FinalComparison::Nothing));
        assert_eq!(action(json!({"dry_run": true})), Ok(SwitchoverAction::Status), "nothing is done");
        assert_eq!(action(json!({"action": "cancel"})), Ok(SwitchoverAction::Order(SwitchoverOrder::Cancel)));
        for quiet_s in [0, -1, 3_601] {
            assert!(action(json!({"quiet_s": quiet_s})).unwrap_err().contains("(1 to 3600; 10 if left out)"));
        }
        assert!(action(json!({"quiet_s": "x"})).is_err());
        assert!(action(json!({"verify": "all"})).unwrap_err().contains("none, keys, rows"));
        assert!(action(json!({"action": "stop"})).unwrap_err().contains("start, status, cancel"));
    }
}
