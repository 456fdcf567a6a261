/*!
The opposite of a task: from its target to its source, and from the end that the target's log has now. Everything
before that end has come from the source by way of the task; later writes of the task are known by their marks.
*/

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::Runner;
use crate::catalog;
use crate::config::SourceConfig;
use crate::domain::{Channel, CollectionId, CollectionName, SourceSite, TaskId, Timestamp};
use crate::manager::engine::NoOpposite;
use crate::milvus::{self, CallContext, Cancel, Client, ConnectOptions};
use crate::preflight::Scratch;
use crate::replication::{followed_by_log, load_checkpoint};
use crate::source::{self, log_settings};
use crate::task::noted_ends::NotedEnds;
use crate::task::reverse::Irreversible;
use crate::task::scope::Scope;
use crate::task::spec::{TargetSpec, TaskSpec};

/// Timeout of one call about the collections.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

impl Runner {
    /// The task without its start.
    pub(super) fn reversed_spec(&self, spec: &TaskSpec) -> Result<TaskSpec, NoOpposite> {
        let unknown = || Irreversible::UnknownSite(spec.target.address().to_string());
        let (becomes_source, _) = self.config.site_at(spec.target.address()).ok_or_else(unknown)?;
        let becomes_target = self.site(&spec.source).map_err(|error| NoOpposite::Files(error.to_string()))?;
        Ok(spec.reversed(becomes_source, TargetSpec::of_site(&becomes_target.endpoint))?)
    }

    /// The task with its start.
    pub(super) fn opposite(&self, id: &TaskId, spec: &TaskSpec) -> Result<TaskSpec, NoOpposite> {
        let reversed = self.reversed_spec(spec)?;
        let both_sides = both_sides(&self.folder(id))?;
        let site = self.site(&reversed.source).map_err(|error| NoOpposite::Files(error.to_string()))?;
        let ends = note_ends(&reversed.source, site, &reversed.scope, &both_sides)?;
        Ok(TaskSpec { noted_ends: Some(Arc::new(ends)), ..reversed })
    }
}

/// The collections whose rows the task with this folder brings to the target from the log, so that both sides have the
/// same: ids on the target, and at the source.
fn both_sides(folder: &Path) -> Result<BTreeMap<CollectionId, CollectionId>, NoOpposite> {
    let files = |error: &dyn std::error::Error| NoOpposite::Files(error.to_string());
    let Some(saved) = load_checkpoint(folder).map_err(|error| files(&error))? else {
        return Err(NoOpposite::Files("it has replicated nothing yet".to_owned()));
    };
    let followed = followed_by_log(&saved);
    let twins = catalog::twins(folder).map_err(|error| files(&error))?;
    Ok(twins
        .into_iter()
        .filter(|(source, _)| followed.contains(source))
        .map(|(source, target)| (target, source))
        .collect())
}

fn note_ends(
    name: &SourceSite,
    site: &SourceConfig,
    scope: &Scope,
    both_sides: &BTreeMap<CollectionId, CollectionId>,
) -> Result<NotedEnds, NoOpposite> {
    let unreachable = |error: milvus::Error| NoOpposite::Unreachable(error.into());
    let cancel = Cancel::default();
    let client = Arc::new(Client::open(&ConnectOptions::from(&site.endpoint)).map_err(unreachable)?);
    client.connect(&cancel).map_err(unreachable)?;
    let scratch = Scratch::make().map_err(|error| NoOpposite::Files(format!("no temporary folder: {error}")))?;
    let opened = source::open(&log_settings(site), &client, &cancel, scratch.path());
    let opened = opened.map_err(|error| NoOpposite::Unreachable(error.into()))?;
    if !opened.kind.has_request_channel() {
        return Err(NoOpposite::Unmarked { target: name.clone(), log: opened.kind.name() });
    }
    let context = CallContext { timeout: CALL_TIMEOUT, cancel };
    // The collections first: what is written to one of them before the ends are read has its place before them.
    let channels = channels_of(&client, scope, both_sides, &context).map_err(unreachable)?;
    let log_error = |error: source::LogError| NoOpposite::Unreachable(error.into());
    opened.log.refresh().map_err(log_error)?;
    let mut ends = BTreeMap::new();
    for channel in channels.values().flatten() {
        if !ends.contains_key(channel) {
            ends.insert(channel.clone(), opened.log.tail(channel).map_err(log_error)?);
        }
    }
    let noted = channels.keys().filter_map(|id| Some((*id, *both_sides.get(id)?)));
    Ok(NotedEnds { log: opened.kind, at: Timestamp::now(), collections: noted.collect(), ends })
}

/// The channels of those of these collections that are still there.
fn channels_of(
    client: &Client,
    scope: &Scope,
    wanted: &BTreeMap<CollectionId, CollectionId>,
    context: &CallContext,
) -> Result<BTreeMap<CollectionId, BTreeSet<Channel>>, milvus::Error> {
    let mut found = BTreeMap::new();
    for db in client.list_databases(context)?.into_iter().filter(|db| scope.touches_database(db)) {
        for listed in client.list_collections(&db, context)? {
            if !scope.matches(&db, &listed.name) || !wanted.contains_key(&CollectionId(listed.id)) {
                continue;
            }
            match client.describe_without_aliases(&CollectionName::new(&db, &listed.name), context) {
                Ok(details) => {
                    let channels = details.channels.iter().map(|name| Channel::new(name)).collect();
                    found.insert(CollectionId(details.id), channels);
                }
                // Dropped since.
                Err(error) if error.is_collection_missing() => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(found)
}
