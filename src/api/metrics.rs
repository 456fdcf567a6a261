/*!
The samples of all tasks for a Prometheus scrape.
*/

use std::collections::BTreeMap;
use std::time::Duration;

use super::http::Response;
use crate::domain::Timestamp;
use crate::manager::{ManagerError, TaskManager, TaskView};
use crate::milvus::ServerDescription;
use crate::observe::metrics::{self, CopySample, DetailSample, ServerSample, TaskSample};
use crate::task::definition::TaskState;
use crate::task::detail::{ServersDetail, TaskDetail};
use crate::task::status::{CollectionCounts, Phase};

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
        role: view.role.name(),
        epoch: view.role.epoch.0,
        lag: view.status.lag_ms.map(Duration::from_millis),
        detail: detail_sample(view.detail(), view.status.collections),
        skipped: view.status.skipped.into_iter().collect(),
        channels: channels.remove(&view.id).unwrap_or_default(),
        id: view.id.to_string(),
    };
    Ok(manager.list()?.into_iter().map(sample).collect())
}

fn servers_sample(servers: &ServersDetail) -> Vec<ServerSample> {
    let both = [("source", &servers.source), ("target", &servers.target)];
    let sample = |(side, told): (&'static str, &Option<ServerDescription>)| {
        let told = told.as_ref()?;
        Some(ServerSample { side, version: told.version.text().to_owned(), build: told.build.clone() })
    };
    both.into_iter().filter_map(sample).collect()
}

fn detail_sample(detail: TaskDetail, collections: Option<CollectionCounts>) -> DetailSample {
    let copy = |copy: crate::task::detail::CopyDetail| CopySample {
        collection: copy.collection,
        rows: copy.rows,
        total: copy.total,
    };
    DetailSample {
        queue_bytes: detail.queue_bytes,
        queue_limit: detail.queue_limit,
        checkpoint_age: detail.checkpoint_age,
        refused_rows: detail.refused_rows.rows,
        clock_skew_ms: detail.clock_skew_ms,
        servers: servers_sample(&detail.servers),
        collections: collections.map(|counts| counts.named().to_vec()).unwrap_or_default(),
        copies: detail.copies.into_iter().map(copy).collect(),
    }
}
