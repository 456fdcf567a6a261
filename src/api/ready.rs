/*!
`GET /readyz`: the server serves, and how its tasks are.

A task in trouble does not make the server unready: nothing would be gained by keeping requests away from it.
*/

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::http::Response;
use crate::task::manager::TaskManager;

/// The answer; ids and reasons only for those who may use the API.
pub(super) fn ready(manager: &TaskManager, with_tasks: bool) -> Response {
    // The address is bound only when configuration and journal are good; what can end later is the manager.
    let views = match manager.list() {
        Ok(views) => views,
        Err(error) => return Response::json(503, &json!({"status": "stopping", "reason": error.to_string()})),
    };
    let mut phases: BTreeMap<&str, usize> = BTreeMap::new();
    for view in &views {
        *phases.entry(view.status.phase.name()).or_default() += 1;
    }
    let mut answer = json!({"status": "ready", "task_num": views.len(), "phases": phases});
    if with_tasks {
        let one = |view: &crate::task::manager::TaskView| {
            let status = &view.status;
            json!({"task_id": view.id.as_str(), "phase": status.phase.name(), "lag_ms": status.lag_ms, "reason": status.reason})
        };
        answer["tasks"] = views.iter().map(one).collect::<Value>();
    }
    Response::json(200, &answer)
}
