/*!
The tasks as a scrape sees them.
*/

use std::collections::BTreeMap;
use std::time::Duration;

use crate::domain::Timestamp;
use crate::observe::metrics::{self, TaskSample};
use crate::task::definition::TaskState;
use crate::task::engine::Phase;
use crate::task::manager::{ManagerError, TaskManager, TaskView};

use super::http::Response;

/// The answer to a scrape.
pub(super) fn scrape(manager: &TaskManager) -> Response {
    let samples = match samples(manager) {
        Ok(samples) => samples,
        Err(error) => return Response::text(503, &format!("{error}\n")),
    };
    match metrics::render(&samples, &Phase::ALL.map(Phase::name)) {
        Ok(text) => Response::new(200, metrics::CONTENT_TYPE, text.into_bytes()),
        Err(error) => Response::text(500, &format!("{error}\n")),
    }
}

fn samples(manager: &TaskManager) -> Result<Vec<TaskSample>, ManagerError> {
    let mut channels = BTreeMap::new();
    for source in manager.positions(None)? {
        let of_task = source
            .positions()
            .into_iter()
            .map(|position| (position.channel, Timestamp(position.time_tick).physical_ms()));
        channels.insert(source.id().clone(), of_task.collect());
    }
    let sample = |view: TaskView| TaskSample {
        running: view.state == TaskState::Running,
        phase: view.status.phase.name(),
        lag: view.status.lag_ms.map(Duration::from_millis),
        detail: view.detail(),
        skipped: view.status.skipped.into_iter().collect(),
        channels: channels.remove(&view.id).unwrap_or_default(),
        id: view.id.to_string(),
    };
    Ok(manager.list()?.into_iter().map(sample).collect())
}
