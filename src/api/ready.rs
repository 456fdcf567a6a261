/*!
`GET /readyz`: whether the server serves requests, and the phases of its tasks.

A failing task does not make the server unready: keeping requests away from the server would not help the task.
*/

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::http::Response;
use crate::manager::{TaskManager, TaskView};
use crate::task::status::TaskStatus;

/// How much `/readyz` answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReadyDetail {
    /// Ids and reasons too: the client may use the API.
    Tasks,
    /// Counts only.
    Counts,
}

/// The answer to `/readyz`.
pub(super) fn ready(manager: &TaskManager, detail: ReadyDetail) -> Response {
    // The address is bound only after configuration and journal have been read; only the manager can end later.
    let views = match manager.list() {
        Ok(views) => views,
        Err(error) => return Response::json(503, &json!({"status": "stopping", "reason": error.to_string()})),
    };
    let mut phases: BTreeMap<&str, usize> = BTreeMap::new();
    for view in &views {
        *phases.entry(view.status.phase.name()).or_default() += 1;
    }
    let mut answer = json!({"status": "ready", "task_num": views.len(), "phases": phases});
    if detail == ReadyDetail::Tasks {
        let one = |view: &TaskView| {
            let TaskStatus { phase, lag_ms, reason, .. } = &view.status;
            json!({"task_id": view.id.as_str(), "phase": phase.name(), "lag_ms": lag_ms, "reason": reason})
        };
        answer["tasks"] = views.iter().map(one).collect::<Value>();
    }
    Response::json(200, &answer)
}
