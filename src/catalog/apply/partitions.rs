//! Partitions of a collection on the target.

use super::context::TargetContext;
use crate::catalog::describe::{DEFAULT_PARTITION, SourceCollection};
use crate::catalog::error::CatalogError;
use crate::catalog::record::{RecordEntry, ReplicatedCollection};
use crate::catalog::schema;
use crate::domain::CollectionName;

/// Drops partitions that the source has dropped or created anew, and creates those that are missing.
pub(super) fn replicate(
    context: &TargetContext,
    entry: RecordEntry<'_>,
    source: &SourceCollection,
) -> Result<(), CatalogError> {
    let Some(replicated) = entry.get() else { return Ok(()) };
    if schema::has_partition_key(&source.details.schema) || replicated.partitions == source.partitions {
        return Ok(());
    }
    let name = &replicated.name;
    let is_outdated = |partition: &&String| source.partitions.get(*partition) != replicated.partitions.get(*partition);
    let may_be_dropped = replicated.partitions.keys().filter(|name| *name != DEFAULT_PARTITION);
    let outdated: Vec<&String> = may_be_dropped.filter(is_outdated).collect();
    if !outdated.is_empty() {
        context.block_for_drop_of_part(entry.id())?;
    }
    for partition in outdated {
        drop_partition(context, entry, name, partition)?;
        entry.change(|replicated| forget(replicated, partition));
    }
    entry.save()?;
    let Some(found) = context.client.list_partitions(name, &context.call)? else {
        return accept_none(context, source);
    };
    for (partition, &id) in source.partitions.iter().filter(|(partition, _)| !found.contains_key(*partition)) {
        entry.change(|replicated| replicated.partitions.insert(partition.clone(), id));
        entry.save()?;
        match context.marked(entry.id()).create_partition(name, partition, &context.call) {
            Ok(()) => context.reporter.done(&format!("created the partition {partition} of {name}")),
            Err(error) if error.is_already_there() => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// A partition of ours is dropped on the target, as the source has dropped it. Both are noted with one write: after a
/// crash in between it would look like one that was [`dropped_elsewhere`].
fn forget(replicated: &mut ReplicatedCollection, partition: &str) {
    let id = replicated.partitions.remove(partition);
    if id.is_some() && replicated.source_partitions.get(partition) == id.as_ref() {
        replicated.source_partitions.remove(partition);
    }
}

/// Partitions that the source has dropped or made anew since it was last compared, and for which none of ours is
/// dropped on the target. The default one cannot be dropped. Asked before [`replicate`], which forgets ours.
pub(super) fn dropped_elsewhere(entry: RecordEntry<'_>, source: &SourceCollection) -> Vec<String> {
    let Some(replicated) = entry.get() else { return Vec::new() };
    let is_ours = |name: &String| replicated.partitions.contains_key(name);
    let is_there = |name: &String, id: &i64| source.partitions.get(name) == Some(id);
    let known = replicated.source_partitions.iter().filter(|(name, _)| *name != DEFAULT_PARTITION);
    known.filter(|(name, id)| !is_ours(name) && !is_there(name, id)).map(|(name, _)| name.clone()).collect()
}

/// Makes the rows of partitions that were [`dropped_elsewhere`] go: by a comparison where all rows of a collection of
/// ours are in one partition. Elsewhere they stay and are counted. Notes the partitions that the source has now.
pub(super) fn settle_dropped(
    context: &TargetContext,
    entry: RecordEntry<'_>,
    source: &SourceCollection,
    dropped: &[String],
    rows: PartitionedRows,
) -> Result<(), CatalogError> {
    let Some(replicated) = entry.get() else { return Ok(()) };
    if schema::has_partition_key(&source.details.schema) || replicated.source_partitions == source.partitions {
        return Ok(());
    }
    let name = &replicated.name;
    if !dropped.is_empty() && rows == PartitionedRows::Together && !replicated.adopted {
        context.reporter.done(&format!("partitions of {} were dropped at the source: comparing its rows", source.name));
        if !context.reporter.compare(entry.id())? {
            return Ok(());
        }
    } else {
        for partition in dropped {
            let object = format!("the partition {partition} of {name}");
            let why = "dropped at the source; its rows stay, since it was on the target before the task";
            context.reporter.skipped("dropped partition of an adopted collection", &object, &why)?;
        }
    }
    entry.change(|replicated| replicated.source_partitions = source.partitions.clone());
    Ok(entry.save()?)
}

/// Partitions that the source does not have, or has made anew, stay on the target and are ours no more: the source was
/// restored to an earlier time, and has not dropped them.
pub(super) fn keep_missing(
    context: &TargetContext,
    entry: RecordEntry<'_>,
    source: &SourceCollection,
) -> Result<(), CatalogError> {
    let Some(replicated) = entry.get() else { return Ok(()) };
    let is_missing = |(partition, id): &(&String, &i64)| source.partitions.get(*partition) != Some(*id);
    let missing: Vec<&String> = replicated.partitions.iter().filter(is_missing).map(|(name, _)| name).collect();
    for partition in &missing {
        context.reporter.held(&format!(
            "the partition {partition} of {} stays on the target, and is the task's no longer: the source does not \
             have it since it was restored to an earlier time",
            replicated.name
        ));
    }
    let is_noted = !replicated.source_partitions.is_empty();
    entry.change(|replicated| {
        replicated.partitions.retain(|name, id| source.partitions.get(name) == Some(id));
        if is_noted {
            replicated.source_partitions = source.partitions.clone();
        }
    });
    Ok(entry.save()?)
}

/// Where the rows of a collection's partitions are on the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PartitionedRows {
    /// In partitions of the same names.
    Apart,
    /// In one partition.
    Together,
}

/// The target has no partitions: acceptable if the source's collection has the default one only.
fn accept_none(context: &TargetContext, source: &SourceCollection) -> Result<(), CatalogError> {
    let Some(partition) = source.partitions.keys().find(|name| *name != DEFAULT_PARTITION) else { return Ok(()) };
    Err(CatalogError::Conflict(format!(
        "{} has no partitions, and {} has the partition {partition} at the source: let all rows go into the collection \
         itself (milvus_connect_param.ignore_partition), or leave the collection out of the task",
        context.target()?,
        source.name
    )))
}

fn drop_partition(
    context: &TargetContext,
    entry: RecordEntry<'_>,
    name: &CollectionName,
    partition: &str,
) -> Result<(), CatalogError> {
    match context.marked(entry.id()).drop_partition(name, partition, &context.call) {
        Ok(()) => {}
        Err(error) if error.is_partition_missing() => return Ok(()),
        // A loaded partition cannot be dropped; at the source it was released first.
        Err(error) if error.is_refused_while_loaded() => {
            context.marked(entry.id()).release_partitions(name, vec![partition.into()], &context.call)?;
            context.marked(entry.id()).drop_partition(name, partition, &context.call)?;
        }
        Err(error) => return Err(error.into()),
    }
    context.reporter.done(&format!("dropped the partition {partition} of {name}"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::describe::LoadProgress;
    use crate::catalog::record::CatalogRecord;
    use crate::domain::CollectionId;

    fn ids(partitions: &[(&str, i64)]) -> std::collections::BTreeMap<String, i64> {
        partitions.iter().map(|&(name, id)| (name.to_owned(), id)).collect()
    }

    fn dropped(ours: &[(&str, i64)], before: &[(&str, i64)], now: &[(&str, i64)]) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let record = CatalogRecord::open(folder.path()).unwrap();
        let entry = record.entry(CollectionId(7));
        let recorded = ReplicatedCollection::default();
        entry.put(ReplicatedCollection { partitions: ids(ours), source_partitions: ids(before), ..recorded });
        let source = SourceCollection {
            id: CollectionId(7),
            name: CollectionName::new("default", "a"),
            details: Default::default(),
            partitions: ids(now),
            indexes: Default::default(),
            load: Default::default(),
            load_progress: LoadProgress::Settled,
        };
        dropped_elsewhere(entry, &source)
    }

    #[test]
    fn a_partition_is_known_by_its_id_and_ours_are_dropped_by_themselves() {
        assert!(dropped(&[], &[], &[("p", 1)]).is_empty(), "nothing was noted yet");
        assert!(dropped(&[], &[("p", 1)], &[("p", 1), ("q", 2)]).is_empty());
        assert_eq!(dropped(&[], &[("p", 1), ("q", 2)], &[("q", 2)]), ["p"]);
        assert_eq!(dropped(&[], &[("p", 1)], &[("p", 3)]), ["p"], "made anew");
        assert!(dropped(&[("p", 1)], &[("p", 1)], &[]).is_empty());
        assert!(dropped(&[], &[("_default", 1)], &[("_default", 3)]).is_empty(), "it cannot be dropped");
    }

    #[test]
    fn a_crash_after_a_drop_leaves_no_partition_that_was_dropped_elsewhere() {
        let all = ids(&[("_default", 1), ("p", 2)]);
        let mut recorded =
            ReplicatedCollection { partitions: all.clone(), source_partitions: all, ..ReplicatedCollection::default() };
        forget(&mut recorded, "p");
        assert_eq!(recorded.partitions, ids(&[("_default", 1)]));
        assert_eq!(recorded.source_partitions, recorded.partitions);
        // Made anew, and noted as such already.
        recorded.partitions = ids(&[("_default", 1), ("p", 2)]);
        recorded.source_partitions = ids(&[("_default", 1), ("p", 3)]);
        forget(&mut recorded, "p");
        assert_eq!(recorded.source_partitions, ids(&[("_default", 1), ("p", 3)]));
    }
}
