//! Collections that the source has dropped and that keep another name on the target for a time (`on_drop: rename`).
//!
//! The other name follows from the collection's id, so a step that was cut short is repeated with the same name. What
//! is dropped at the end is recognised by its id on the target: whoever has renamed it, or put something else under its
//! name, keeps it.

use super::context::TargetContext;
use super::{aliases, collections, renames};
use crate::catalog::error::CatalogError;
use crate::catalog::event::CatalogEvent;
use crate::catalog::held_drops::SetAsideCollection;
use crate::catalog::record::{CatalogRecord, RecordEntry, ReplicatedCollection};
use crate::domain::{CollectionId, CollectionName, Mark, Timestamp};

/// The longest name that Milvus takes, in bytes (`proxy.maxNameLength`).
const LONGEST_NAME: usize = 255;
const HOUR_MS: u64 = 3_600_000;

fn suffix(id: CollectionId) -> String {
    format!("_dropped_{}", id.0.unsigned_abs())
}

/// The name under which a dropped collection is kept.
fn other_name(name: &CollectionName, id: CollectionId) -> CollectionName {
    let suffix = suffix(id);
    let length = name.name.len().min(LONGEST_NAME - suffix.len());
    // Names are ASCII; of any other a part that ends between two characters.
    let kept = (0..=length).rev().find_map(|length| name.name.get(..length)).unwrap_or_default();
    CollectionName::new(&name.db, format!("{kept}{suffix}"))
}

/// Renames a collection that the source has dropped, if the task created it, and removes it from the record.
pub(super) fn set_aside(context: &TargetContext, entry: RecordEntry<'_>, hours: u32) -> Result<(), CatalogError> {
    let Some(replicated) = entry.get() else { return Ok(()) };
    let stands = replicated.is_ours() && context.find(&replicated.name)?.is_some_and(|it| replicated.is_found(&it));
    let ReplicatedCollection { name, source, .. } = replicated;
    let has_other_name = name.name.ends_with(&suffix(entry.id()));
    let aside = if has_other_name { name.clone() } else { other_name(&name, entry.id()) };
    if !stands {
        return collections::drop_replicated(context, entry);
    }
    context.reporter.block_for_drop(entry.id())?;
    aliases::drop_all(context, entry)?;
    match renames::rename(context, entry, &aside) {
        Err(CatalogError::Conflict(why)) => {
            return Err(CatalogError::Held(format!(
                "{name} stays on the target, since it cannot be renamed there: {why}"
            )));
        }
        outcome => outcome?,
    }
    let target_id = context.find(&aside)?.map_or(0, |found| found.id);
    let until_ms = Timestamp::now().physical_ms() + u64::from(hours) * HOUR_MS;
    entry.remove_and_note(|held| {
        held.release(entry.id());
        held.set_aside(SetAsideCollection {
            db: aside.db.clone(),
            name: aside.name.clone(),
            target_id,
            source: source.map(|source| source.to_string()).unwrap_or_default(),
            until_ms,
        });
    });
    entry.save()?;
    context.reporter.done(&format!("{name} was dropped at the source: kept on the target as {aside} for {hours} h"));
    context.reporter.send(CatalogEvent::Dropped(entry.id()))
}

/// Drops what was set aside for long enough. One that cannot be dropped keeps none of the others.
///
/// # Errors
/// The first one, when all have been tried.
pub(super) fn drop_expired(context: &TargetContext, record: &CatalogRecord, now_ms: u64) -> Result<(), CatalogError> {
    let (held, mut outcome) = (record.held_drops(), Ok(()));
    for collection in held.all_set_aside().iter().filter(|collection| collection.until_ms <= now_ms) {
        let name = collection.target();
        match drop_one(context, collection) {
            Ok(()) => {
                record.change_held(|held| held.forget_set_aside(&name));
                record.save()?;
            }
            Err(error) if error.is_final() && !error.is_about_task() => {
                let why = format!("{name} stays on the target, though its time is over: {error}");
                outcome = outcome.and(Err(CatalogError::Held(why)));
            }
            Err(error) => outcome = outcome.and(Err(error)),
        }
    }
    outcome
}

fn drop_one(context: &TargetContext, collection: &SetAsideCollection) -> Result<(), CatalogError> {
    let name = collection.target();
    let found = context.find(&name)?.filter(|found| found.name == name.name && found.id == collection.target_id);
    if found.is_none() {
        context.reporter.done(&format!("{name} is not on the target any more, or is another one: it is left alone"));
        return Ok(());
    }
    match context.client.marked(Mark::OF_NO_COLLECTION).drop_collection(&name, &context.call) {
        Ok(()) => context.reporter.done(&format!("dropped {name} on the target: its time is over")),
        Err(error) if error.is_collection_missing() || error.is_database_missing() => {}
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_other_name_fits_whatever_the_name_is() {
        let other = |name: &str| other_name(&CollectionName::new("d", name), CollectionId(-12)).name;
        assert_eq!(other("books"), "books_dropped_12");
        let longest = other(&"a".repeat(255));
        assert!(longest.len() == 255 && longest.ends_with("a_dropped_12"), "{longest}");
        assert!(other(&"ä".repeat(127)).ends_with("ä_dropped_12"));
    }
}
