//! The load state of a collection on the target.

use std::collections::{BTreeMap, BTreeSet};

use super::context::{StepOutcome, TargetContext};
use crate::catalog::describe::{Load, SourceCollection};
use crate::catalog::error::CatalogError;
use crate::catalog::load_plan::{self, ReleaseProof, replicas};
use crate::catalog::record::{CatalogRecord, RecordEntry, ReplicatedCollection};
use crate::domain::{CollectionId, CollectionName};
use crate::milvus::capabilities::LoadRetention;
use crate::milvus::{Error, ErrorKind};
use crate::task::spec::LoadPolicy;

/// Loads what the source has loaded, and releases what it has released if a user is known to have wanted that.
pub(super) fn replicate(
    context: &TargetContext,
    entry: RecordEntry<'_>,
    source: &SourceCollection,
    policy: LoadPolicy,
    proof: ReleaseProof,
) -> Result<(), CatalogError> {
    let Some(ReplicatedCollection { name, load: mut before, .. }) = entry.get() else { return Ok(()) };
    let wanted = load_plan::wanted(&before, source, policy, proof);
    if before == wanted {
        return Ok(());
    }
    if replicas(&before) != replicas(&wanted) && before != Load::None {
        context.marked(entry.id()).release_collection(&name, &context.call)?;
        entry.change(|replicated| replicated.load = Load::None);
        before = Load::None;
    }
    let before = loaded_partitions(&before, source);
    if let Load::Partitions { names, .. } = &wanted {
        release_partitions(context, entry, &name, before.difference(names).cloned().collect())?;
    }
    let outcome = match load(context, entry, &name, &wanted, &before) {
        // Milvus Lite loads whole collections only: more than is asked for, so nothing is missing.
        Err(CatalogError::Target(error)) if error.kind == ErrorKind::Unimplemented => {
            context.reporter.skipped("partial load", &name, &error)?;
            context.marked(entry.id()).load_collection(&name, 1, &context.call).map_err(CatalogError::from)
        }
        outcome => outcome,
    };
    if context.skip_refused("load state", &name, outcome)? == StepOutcome::Done {
        context.reporter.done(&format!("{name} is {wanted} on the target now"));
    }
    entry.change(|replicated| replicated.load = wanted);
    Ok(entry.save()?)
}

/// Loads what `wanted` has beyond the partitions in `loaded`.
fn load(
    context: &TargetContext,
    entry: RecordEntry<'_>,
    name: &CollectionName,
    wanted: &Load,
    loaded: &BTreeSet<String>,
) -> Result<(), CatalogError> {
    let (client, call) = (context.marked(entry.id()), &context.call);
    match wanted {
        Load::None => Ok(()),
        Load::Whole { replicas } => {
            load_replicas(context, name, *replicas, |count| client.load_collection(name, count, call))
        }
        Load::Partitions { names, replicas } => {
            let added: Vec<String> = names.difference(loaded).cloned().collect();
            if added.is_empty() {
                return Ok(());
            }
            let load = |count| client.load_partitions(name, added.clone(), count, call);
            load_replicas(context, name, *replicas, load)
        }
    }
}

fn release_partitions(
    context: &TargetContext,
    entry: RecordEntry<'_>,
    name: &CollectionName,
    partitions: Vec<String>,
) -> Result<(), CatalogError> {
    if partitions.is_empty() {
        return Ok(());
    }
    match context.marked(entry.id()).release_partitions(name, partitions, &context.call) {
        // A server without the call did not load them one by one either.
        Err(error) if error.kind == ErrorKind::Unimplemented => Ok(()),
        outcome => Ok(outcome?),
    }
}

/// Loads with as many of the wanted replicas as the target has query nodes for.
fn load_replicas(
    context: &TargetContext,
    name: &CollectionName,
    wanted: i32,
    load: impl Fn(i32) -> Result<(), Error>,
) -> Result<(), CatalogError> {
    match load(wanted) {
        Err(error) if wanted > 1 && error.lacks_query_nodes() => context.reporter.skipped("replicas", name, &error)?,
        outcome => return Ok(outcome?),
    }
    for fewer in (2..wanted).rev() {
        match load(fewer) {
            Err(error) if error.lacks_query_nodes() => {}
            outcome => return Ok(outcome?),
        }
    }
    Ok(load(1)?)
}

/// Listed collections that were loaded on the target and are not any more, because it was restarted and loses its
/// loads. (A release by hand does not last on such a target.)
pub(super) fn find_lost(
    context: &TargetContext,
    record: &CatalogRecord,
    is_listed: impl Fn(CollectionId) -> bool,
) -> Result<BTreeSet<CollectionId>, Error> {
    let mut lost = BTreeSet::new();
    if context.capabilities()?.load_retention == LoadRetention::Durable {
        return Ok(lost);
    }
    let mut loaded: BTreeMap<String, BTreeMap<String, i64>> = BTreeMap::new();
    for id in record.ids() {
        let recorded = record.get(id).filter(|replicated| replicated.load != Load::None);
        let Some(CollectionName { db, name }) = recorded.map(|replicated| replicated.name) else { continue };
        if !loaded.contains_key(&db) {
            let found = context.client.loaded_collections(&db, &context.call)?;
            loaded.insert(db.clone(), found);
        }
        let is_loaded = loaded.get(&db).is_some_and(|found| found.contains_key(&name));
        if !is_loaded && is_listed(id) {
            lost.insert(id);
        }
    }
    Ok(lost)
}

/// The partitions that a load state stands for.
fn loaded_partitions(load: &Load, source: &SourceCollection) -> BTreeSet<String> {
    match load {
        Load::Partitions { names, .. } => names.clone(),
        Load::Whole { .. } => source.partitions.keys().cloned().collect(),
        Load::None => BTreeSet::new(),
    }
}
