//! Indexes of a collection on the target.

use std::collections::BTreeMap;

use super::context::{StepOutcome, TargetContext};
use crate::catalog::describe::{Load, SourceCollection};
use crate::catalog::error::CatalogError;
use crate::catalog::record::{RecordEntry, ReplicatedCollection, ReplicatedIndex};
use crate::domain::CollectionName;
use crate::milvus::capabilities::PropertyRemoval;
use crate::milvus::catalog::Index;
use crate::milvus::{DataType, ErrorKind};
use crate::task::spec::LoadPolicy;

/// Drops indexes that the source has dropped or changed, and creates those that are missing.
pub(super) fn replicate(
    context: &TargetContext,
    entry: RecordEntry<'_>,
    source: &SourceCollection,
    load: LoadPolicy,
) -> Result<(), CatalogError> {
    let Some(mut replicated) = entry.get() else { return Ok(()) };
    let name = &replicated.name;
    let is_outdated = |(index, was): &(&String, &ReplicatedIndex)| {
        source.indexes.get(*index).map(ReplicatedIndex::from).as_ref() != Some(*was)
    };
    let outdated: Vec<Index> =
        replicated.indexes.iter().filter(is_outdated).map(|(index, was)| was.named(index)).collect();
    for index in &outdated {
        if alter(context, entry, source, index, load)? == Alteration::Settled {
            replicated.indexes = entry.get().map(|replicated| replicated.indexes).unwrap_or_default();
            continue;
        }
        drop_index(context, entry, name, index, load)?;
        entry.change(|replicated| replicated.indexes.remove(&index.name));
        entry.save()?;
        replicated.indexes.remove(&index.name);
    }
    let missing: Vec<&Index> =
        source.indexes.values().filter(|index| !replicated.indexes.contains_key(&index.name)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let found = context.client.list_indexes(name, &context.call)?;
    for index in missing {
        if found.iter().any(|found| found.name == index.name && found.field == index.field) {
            // Created just before a crash. That of an adopted collection is not ours to drop.
            if !replicated.adopted {
                record(entry, index)?;
            }
            continue;
        }
        create(context, source, name, index)?;
        record(entry, index)?;
    }
    Ok(())
}

/// Parameters that a server changes without building the index anew.
const ALTERABLE: [&str; 2] = ["mmap.enabled", "indexoffsetcache.enabled"];

/// Whether a changed index has been dealt with where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Alteration {
    Settled,
    /// It must be dropped and created again.
    Impossible,
}

/// What of an index is to be altered; `None` if it is another index now. `was` is what the target has.
fn differing<'a>(was: &Index, now: Option<&'a Index>) -> Option<(&'a Index, BTreeMap<String, String>, Vec<String>)> {
    let now = now.filter(|now| now.field == was.field)?;
    let set = now.params.iter().filter(|(key, value)| was.params.get(*key) != Some(*value));
    let set: BTreeMap<String, String> = set.map(|(key, value)| (key.clone(), value.clone())).collect();
    let removed: Vec<String> = was.params.keys().filter(|key| !now.params.contains_key(*key)).cloned().collect();
    let is_alterable = set.keys().chain(&removed).all(|key| ALTERABLE.contains(&key.as_str()));
    is_alterable.then_some((now, set, removed))
}

/// Alters an index, if nothing else of it has changed and the target can.
fn alter(
    context: &TargetContext,
    entry: RecordEntry<'_>,
    source: &SourceCollection,
    was: &Index,
    load: LoadPolicy,
) -> Result<Alteration, CatalogError> {
    let Some((now, set, removed)) = differing(was, source.indexes.get(&was.name)) else {
        return Ok(Alteration::Impossible);
    };
    // An older server answers as if it had removed something.
    if !removed.is_empty() && context.capabilities()?.property_removal == PropertyRemoval::Ignored {
        return Ok(Alteration::Impossible);
    }
    let Some(ReplicatedCollection { name, .. }) = entry.get() else { return Ok(Alteration::Impossible) };
    let send = || context.marked(entry.id()).alter_index(&name, &now.name, &set, removed.clone(), &context.call);
    match send() {
        Ok(()) => {}
        Err(error) if error.kind == ErrorKind::Unimplemented => return Ok(Alteration::Impossible),
        Err(error) if error.is_refused_while_loaded() && load == LoadPolicy::Ignore => {
            let object = format!("the index {} of {name}", now.name);
            context.reporter.skipped("index", &object, &error)?;
            record(entry, now)?;
            return Ok(Alteration::Settled);
        }
        // The load step loads it again if it is loaded at the source.
        Err(error) if error.is_refused_while_loaded() => {
            context.marked(entry.id()).release_collection(&name, &context.call)?;
            entry.change(|replicated| replicated.load = Load::None);
            send()?;
        }
        Err(error) => return Err(error.into()),
    }
    context.reporter.done(&format!("altered the index {} of {name}", now.name));
    record(entry, now)?;
    Ok(Alteration::Settled)
}

fn record(entry: RecordEntry<'_>, index: &Index) -> Result<(), CatalogError> {
    entry.change(|replicated| replicated.indexes.insert(index.name.clone(), index.into()));
    Ok(entry.save()?)
}

/// Creates an index; on a target without its type, one of the target's own choice.
fn create(
    context: &TargetContext,
    source: &SourceCollection,
    name: &CollectionName,
    index: &Index,
) -> Result<(), CatalogError> {
    let mut outcome = context.marked(source.id).create_index(name, index, &context.call);
    if let Err(error) = &outcome
        && error.is_index_type_unknown()
    {
        context.reporter.skipped("index type", &format!("the index {} of {name}", index.name), error)?;
        outcome = context.marked(source.id).create_index(name, &substitute(source, index), &context.call);
    }
    if context.skip_refused("index", name, outcome.map_err(CatalogError::from))? == StepOutcome::Done {
        context.reporter.done(&format!("created the index {} of {name}", index.name));
    }
    Ok(())
}

/// An index of a type that every server has: searches work with any type.
fn substitute(source: &SourceCollection, index: &Index) -> Index {
    const METRIC: &str = "metric_type";
    let field = source.details.schema.fields.iter().find(|field| field.name == index.field);
    let is_vector = field.is_some_and(|field| DataType::of(field.data_type).is_vector());
    let kind = if is_vector { "AUTOINDEX" } else { "INVERTED" };
    let mut params = BTreeMap::from([("index_type".to_owned(), kind.to_owned())]);
    params.extend(index.params.get_key_value(METRIC).map(|(key, value)| (key.clone(), value.clone())));
    Index { params, ..index.clone() }
}

fn drop_index(
    context: &TargetContext,
    entry: RecordEntry<'_>,
    name: &CollectionName,
    index: &Index,
    load: LoadPolicy,
) -> Result<(), CatalogError> {
    match context.marked(entry.id()).drop_index(name, index, &context.call) {
        Ok(()) => {}
        Err(error) if error.is_index_missing() => {}
        // Its users load and release it themselves: it is not released for an index.
        Err(error) if error.is_refused_while_loaded() && load == LoadPolicy::Ignore => {
            let object = format!("the index {} of {name}", index.name);
            return context.reporter.skipped("index", &object, &error);
        }
        // The index of a loaded collection cannot be dropped; the load step loads it again if it is loaded at the
        // source.
        Err(error) if error.is_refused_while_loaded() => {
            context.marked(entry.id()).release_collection(name, &context.call)?;
            entry.change(|replicated| replicated.load = Load::None);
            context.marked(entry.id()).drop_index(name, index, &context.call)?;
        }
        Err(error) => return Err(error.into()),
    }
    context.reporter.done(&format!("dropped the index {} of {name}", index.name));
    Ok(())
}

#[cfg(test)]
mod tests;
