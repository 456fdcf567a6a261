//! Creating, adopting, renaming and dropping collections on the target.

use std::collections::BTreeMap;

use super::context::TargetContext;
use super::databases::Databases;
use super::{aliases, created_schema, renames};
use crate::catalog::describe::{SourceCollection, describe_by_name};
use crate::catalog::error::CatalogError;
use crate::catalog::event::{CatalogEvent, TargetLoss};
use crate::catalog::property;
use crate::catalog::record::{CatalogRecord, RecordEntry, ReplicatedCollection, ReplicatedIndex};
use crate::catalog::schema;
use crate::domain::{CollectionId, CollectionName};
use crate::milvus::catalog::CollectionDetails;
use crate::milvus::field_data::field_names;
use crate::milvus::{Error, RetryPolicy, retry_policy};

/// Whether a collection that is recorded but not known to be created was found on the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Presence {
    Missing,
    Found,
}

/// Makes sure that the collection exists on the target under this name, which no other collection of ours has.
pub(super) fn ensure(
    context: &TargetContext,
    databases: &Databases,
    entry: RecordEntry<'_>,
    source: &SourceCollection,
    name: &CollectionName,
) -> Result<(), CatalogError> {
    if schema::uses_namespaces(&source.details) {
        return Err(CatalogError::Conflict(format!(
            "the rows of {} belong to namespaces, which cannot be replicated: leave the collection out of the task",
            source.name
        )));
    }
    let before = entry.get();
    if let Some(lost) = before.as_ref().filter(|replicated| replicated.lost) {
        // Before anything stands there again: the task has noted by then that all rows must be compared.
        let loss = match context.find(name)? {
            _ if lost.withheld => TargetLoss::Withheld,
            Some(_) => TargetLoss::Replaced,
            None => TargetLoss::Gone,
        };
        context.reporter.lost(entry.id(), loss)?;
        context.reporter.block_for_drop(entry.id())?;
        if lost.withheld {
            return Err(withheld(context, &source.name, name));
        }
    }
    let Some(replicated) = before.filter(|replicated| !replicated.lost) else {
        databases.ensure(context, entry.record(), &name.db)?;
        return adopt_or_create(context, entry, source, name);
    };
    if !replicated.created {
        databases.ensure(context, entry.record(), &replicated.name.db)?;
        // Recorded before it was created, so what is found is what was being created.
        let presence = if context.find(&replicated.name)?.is_some() { Presence::Found } else { Presence::Missing };
        create(context, entry, source, &replicated.name, presence)?;
    }
    if replicated.name != *name {
        databases.ensure(context, entry.record(), &name.db)?;
        renames::rename(context, entry, name)?;
    }
    Ok(())
}

/// Why a collection is not created again.
fn withheld(context: &TargetContext, source: &CollectionName, name: &CollectionName) -> CatalogError {
    let there = context.client.address();
    CatalogError::Conflict(format!(
        "{name} was dropped or replaced on the target {there}, where users write, too: a task replicates in the \
         opposite direction. To drop it on both, drop {source} at the source; to bring it back on the target, use \
         the request `resync`"
    ))
}

fn adopt_or_create(
    context: &TargetContext,
    entry: RecordEntry<'_>,
    source: &SourceCollection,
    name: &CollectionName,
) -> Result<(), CatalogError> {
    let source_name = Some(source.name.clone());
    let recorded = ReplicatedCollection { name: name.clone(), source: source_name, ..Default::default() };
    let Some(found) = context.find(name)? else {
        entry.record().change_held(|held| {
            held.forget_kept(name);
            held.forget_outlived(name);
        });
        entry.put(recorded);
        entry.save()?;
        return create(context, entry, source, name, Presence::Missing);
    };
    let theirs = format!("{name} on the target {}", context.client.address());
    if entry.record().held_drops().is_kept(name) {
        return Err(CatalogError::Held(format!(
            "{theirs} was kept when the source dropped it, and is in the way of {}: drop or rename it there, and the \
             new one follows",
            source.name
        )));
    }
    if found.name != name.name && aliases::make_way(context, entry.record(), name)? {
        return adopt_or_create(context, entry, source, name);
    }
    let ours = format!("{} at the source", source.name);
    if found.name != name.name {
        return Err(CatalogError::Conflict(format!(
            "{theirs} is an alias of the collection {:?}, in the way of {ours}: drop the alias, or map the collection \
             to another name (name_mapping)",
            found.name
        )));
    }
    if let Some(difference) = schema::difference(&source.details, &found) {
        return Err(CatalogError::Conflict(format!(
            "the collection {theirs} was there before the task and has another schema than {ours} \
             ({difference}; the target's is named first): \
             drop or rename one of them, or map the collection to another name (name_mapping of another task)"
        )));
    }
    let made = made_before(context, source, name, &found)?;
    tell_outlived(context, entry.record(), name, [&theirs, &ours])?;
    let whose = match (&made, is_shared(context, source, &found)) {
        (_, true) => "what another task replicates in the opposite direction",
        (Some(_), false) => "made by an earlier task",
        (None, false) => "there before the task",
    };
    context.reporter.done(&format!("adopted the collection {theirs} for {ours}: it was {whose}, with the same schema"));
    let ReplicatedCollection { partitions, source_partitions, indexes, aliases, .. } = made.clone().unwrap_or_default();
    entry.put(ReplicatedCollection {
        adopted: true,
        twin: made.is_some() || found.id == source.id.0 && source.id.is_given(),
        partitions,
        source_partitions,
        indexes,
        aliases,
        created: true,
        target_id: found.id,
        fields: field_names(&schema::for_target(&source.details.schema)),
        properties: property::common(&source.details.properties, &found.properties),
        generated_keys: schema::has_auto_id(&found.schema),
        ..recorded
    });
    entry.record().change_held(|held| held.forget_outlived(name));
    Ok(entry.save()?)
}

/// What was there before the task outlives what the source drops, with its rows; another one comes beside them.
fn tell_outlived(
    context: &TargetContext,
    record: &CatalogRecord,
    name: &CollectionName,
    [theirs, ours]: [&String; 2],
) -> Result<(), CatalogError> {
    if !record.held_drops().has_outlived(name) {
        return Ok(());
    }
    let why = format!(
        "{theirs} was there before the task and keeps the rows of the collection that the source has dropped (unless \
         the task was created with `prune`): `verify` names them, `repair` removes them"
    );
    context.reporter.skipped("removal of an earlier collection's rows", ours, &why)
}

/// Whether both sides had the collection before this task, which is the opposite of the one that has replicated it.
fn is_shared(context: &TargetContext, source: &SourceCollection, found: &CollectionDetails) -> bool {
    let noted = context.noted_ends.as_ref();
    noted.is_some_and(|noted| noted.hold_for(source.id, CollectionId(found.id)))
}

/// What a deleted task had made of the collection that was found, as far as it is still there; or, of one that both
/// sides had, what both have.
fn made_before(
    context: &TargetContext,
    source: &SourceCollection,
    name: &CollectionName,
    found: &CollectionDetails,
) -> Result<Option<ReplicatedCollection>, CatalogError> {
    let mut made = match context.made_before.find(source.id, found.id) {
        _ if is_shared(context, source, found) => ReplicatedCollection {
            partitions: source.partitions.clone(),
            source_partitions: source.partitions.clone(),
            indexes: source.indexes.iter().map(|(name, index)| (name.clone(), ReplicatedIndex::from(index))).collect(),
            aliases: source.details.aliases.clone(),
            ..ReplicatedCollection::default()
        },
        Some(made) => made.clone(),
        None => return Ok(None),
    };
    let there = describe_by_name(&context.client, name, &context.call)?;
    made.partitions.retain(|partition, _| there.partitions.contains_key(partition));
    made.indexes.retain(|index, _| there.indexes.contains_key(index));
    made.aliases.retain(|alias| there.details.aliases.contains(alias));
    Ok(Some(made))
}

fn create(
    context: &TargetContext,
    entry: RecordEntry<'_>,
    source: &SourceCollection,
    name: &CollectionName,
    presence: Presence,
) -> Result<(), CatalogError> {
    let created = match create_suitable(context, source, name, presence) {
        Ok(created) => created,
        Err(error) => {
            // What was not carried out for certain is not waiting there: whatever is found next is a user's.
            let is_nothing = presence == Presence::Missing
                && matches!(&error, CatalogError::Target(error)
                    if error.method == "CreateCollection" && error.is_refused_before_execution());
            if error.is_final() || is_nothing {
                entry.remove();
                entry.save()?;
            }
            return Err(error);
        }
    };
    entry.change(|replicated| {
        replicated.created = true;
        replicated.target_id = created.id;
        replicated.fields = field_names(&schema::for_target(&source.details.schema));
        replicated.properties = property::common(&source.details.properties, &created.properties);
        replicated.generated_keys = schema::has_auto_id(&created.schema);
    });
    Ok(entry.save()?)
}

/// Creates a collection that can hold the source's rows, or none. One that was [`Presence::Found`] is only checked.
/// Answers what the target has.
fn create_suitable(
    context: &TargetContext,
    source: &SourceCollection,
    name: &CollectionName,
    presence: Presence,
) -> Result<CollectionDetails, CatalogError> {
    let target = context.target()?;
    let cannot_hold = |why: &dyn std::fmt::Display| {
        CatalogError::Conflict(format!(
            "{target} cannot hold the collection {} of the source: {why}; leave the collection out of the task, or \
             choose a target that can hold it",
            source.name
        ))
    };
    let by_key = schema::has_partition_key(&source.details.schema);
    let partitions = if by_key { source.details.num_partitions } else { 0 };
    let can = context.capabilities()?;
    let mut details = CollectionDetails {
        name: name.name.clone(),
        schema: schema::to_create(&source.details.schema, can.generated_keys),
        properties: property::replicated(&source.details.properties),
        ..source.details.clone()
    };
    if schema::has_auto_id(&details.schema) {
        let (property, value) = schema::TAKES_KEYS;
        details.properties.insert(property.into(), value.into());
    }
    if let Some(what) = can.unsupported(&details.schema) {
        return Err(cannot_hold(&format!("its field {what}")));
    }
    if presence == Presence::Missing {
        match call_create(context, source.id, &name.db, &details, partitions) {
            Ok(()) => {}
            Err(error) if is_refused(&error) => {
                let unusual = created_schema::unusual(&details.schema);
                let fields = if unusual.is_empty() { unusual } else { format!(" (its fields {unusual})") };
                return Err(cannot_hold(&format!("{error}{fields}")));
            }
            Err(error) => return Err(error.into()),
        }
    }
    let created = context.client.describe_without_aliases(name, &context.call)?;
    if let Some(loss) = created_schema::loss(&details.schema, &created.schema) {
        remove_unfit(context, source.id, name, presence)?;
        return Err(cannot_hold(&format!("it does not keep {loss}")));
    }
    let keys = if schema::has_auto_id(&created.schema) {
        take_keys(context, source.id, name, &created, presence)?
    } else {
        ""
    };
    let without = if schema::has_auto_id(&source.details.schema) && keys.is_empty() { WITHOUT_AUTO_ID } else { "" };
    let address = context.client.address();
    context.reporter.done(&format!("created the collection {name} on the target {address}{keys}{without}"));
    Ok(created)
}

/// What is said of a collection that generates its keys at the source alone.
const WITHOUT_AUTO_ID: &str = ", without autoID: after a promotion it refuses inserts without keys";

/// Makes sure that a collection with autoID takes given keys, and answers what is said of that.
fn take_keys(
    context: &TargetContext,
    id: CollectionId,
    name: &CollectionName,
    created: &CollectionDetails,
    presence: Presence,
) -> Result<&'static str, CatalogError> {
    if !schema::takes_keys(created) {
        let (property, value) = schema::TAKES_KEYS;
        let property = BTreeMap::from([(property.to_owned(), value.to_owned())]);
        let outcome = context.marked(id).alter_collection(name, &property, &context.call);
        if outcome.as_ref().is_err_and(is_refused) {
            // It would be in the way of the next try.
            remove_unfit(context, id, name, presence)?;
        }
        outcome?;
    }
    Ok(", with autoID: rows bring their keys")
}

/// Removes a collection that was just created and cannot be used. One that was found may be a user's: he is asked.
fn remove_unfit(
    context: &TargetContext,
    id: CollectionId,
    name: &CollectionName,
    presence: Presence,
) -> Result<(), CatalogError> {
    match presence {
        Presence::Missing => Ok(context.marked(id).drop_collection(name, &context.call)?),
        Presence::Found => Err(CatalogError::Conflict(format!(
            "{name} on the target {} does not fit the collection of the source: drop it or rename it there",
            context.client.address()
        ))),
    }
}

/// Creates a collection, without its properties if it is refused with them: they follow one by one.
fn call_create(
    context: &TargetContext,
    id: CollectionId,
    db: &str,
    details: &CollectionDetails,
    partitions: i64,
) -> Result<(), Error> {
    match context.marked(id).create_collection(db, details, partitions, &context.call) {
        Err(error) if is_refused(&error) && !details.properties.is_empty() => {
            let plain = CollectionDetails { properties: BTreeMap::new(), ..details.clone() };
            context.marked(id).create_collection(db, &plain, partitions, &context.call)
        }
        outcome => outcome,
    }
}

/// The server has understood the request and cannot do it.
fn is_refused(error: &Error) -> bool {
    retry_policy(error) == RetryPolicy::Stop || error.is_refused_by_engine()
}

/// Drops a collection that the source has dropped, if the task created it, and removes it from the record.
pub(super) fn drop_replicated(context: &TargetContext, entry: RecordEntry<'_>) -> Result<(), CatalogError> {
    let Some(replicated) = entry.get() else { return Ok(()) };
    let name = &replicated.name;
    context.reporter.block_for_drop(entry.id())?;
    aliases::drop_all(context, entry)?;
    if replicated.lost {
        log::debug!("{name} was dropped on the target before");
    } else if !replicated.is_ours() {
        entry.record().change_held(|held| held.outlive(name));
        context.reporter.done(&format!("{name} stays on the target: it was there before the task"));
    } else {
        drop_ours(context, entry.id(), &replicated)?;
    }
    entry.remove();
    entry.save()?;
    context.reporter.send(CatalogEvent::Dropped(entry.id()))
}

/// Drops what the task has made, and nothing else that has its name since.
fn drop_ours(context: &TargetContext, id: CollectionId, ours: &ReplicatedCollection) -> Result<(), CatalogError> {
    let (name, address) = (&ours.name, context.client.address());
    match context.find(name)? {
        None => return Ok(()),
        Some(found) if ours.is_found(&found) => {}
        Some(_) => {
            context.reporter.done(&format!("{name} stays on the target {address}: it is another collection now"));
            return Ok(());
        }
    }
    match context.marked(id).drop_collection(name, &context.call) {
        Ok(()) => context.reporter.done(&format!("dropped {name} on the target {address}")),
        Err(error) if error.is_collection_missing() || error.is_database_missing() => {}
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

/// Leaves a collection that the source has dropped to the target's user, and removes it from the record.
pub(super) fn keep(context: &TargetContext, entry: RecordEntry<'_>) -> Result<(), CatalogError> {
    let Some(ReplicatedCollection { name, .. }) = entry.get() else { return Ok(()) };
    context.reporter.block(entry.id())?;
    entry.remove_and_note(|held| {
        held.release(entry.id());
        held.keep(&name);
    });
    entry.save()?;
    context.reporter.done(&format!("{name} stays on the target, and is the task's no longer"));
    context.reporter.send(CatalogEvent::Dropped(entry.id()))
}

#[cfg(test)]
mod tests;
