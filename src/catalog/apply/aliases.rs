/*!
Aliases of a collection on the target.

An alias is moved in one call: whoever asks for it finds one of the two collections at any time. So an alias that a
collection has lost at the source is not dropped before it is known who has it there now.
*/

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use parking_lot::Mutex;

use super::context::{StepOutcome, TargetContext};
use crate::catalog::describe::SourceCollection;
use crate::catalog::error::CatalogError;
use crate::catalog::record::{CatalogRecord, RecordEntry, ReplicatedCollection};
use crate::domain::{CollectionId, CollectionName};
use crate::milvus::{RetryPolicy, retry_policy};

/// Aliases that were refused in this run: they are tried with every comparison and reported once.
#[derive(Default)]
pub(super) struct Aliases {
    refused: Mutex<BTreeSet<RefusedAlias>>,
}

/// Aliases that a collection of ours has lost at the source, and the collection of the task's scope that has each now.
pub(in crate::catalog) type AliasHolders = BTreeMap<String, CollectionId>;

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct RefusedAlias {
    collection: CollectionId,
    alias: String,
}

impl Aliases {
    /// Drops aliases that the source has dropped, and creates or moves those that it has got or handed over.
    pub(super) fn replicate(
        &self,
        context: &TargetContext,
        entry: RecordEntry<'_>,
        source: &SourceCollection,
        holders: &AliasHolders,
    ) -> Result<(), CatalogError> {
        let Some(replicated) = entry.get() else { return Ok(()) };
        let wanted = &source.details.aliases;
        for alias in replicated.possible_aliases().difference(wanted) {
            if !settle_intention(context, entry, alias)? {
                continue;
            }
            match holders.get(alias) {
                Some(holder) => hand_over(context, entry, alias, *holder)?,
                None => drop_alias(context, entry, &replicated.name.db, alias)?,
            }
        }
        for alias in wanted.difference(&replicated.aliases) {
            // Before the call: one that the file lacks is nobody's when the source drops it before the next comparison.
            intend(entry, alias)?;
            if self.set(context, entry, &replicated.name, alias)? == StepOutcome::Done {
                entry.change(|replicated| replicated.has_got_alias(alias));
                entry.save()?;
                let accepted = RefusedAlias { collection: entry.id(), alias: alias.clone() };
                self.refused.lock().remove(&accepted);
            } else {
                entry.change(|replicated| replicated.has_lost_alias(alias));
            }
        }
        let is_wanted = |refused: &RefusedAlias| refused.collection != entry.id() || wanted.contains(&refused.alias);
        self.refused.lock().retain(is_wanted);
        Ok(entry.save()?)
    }

    /// Points an alias at a collection of ours; skipped when it belongs to a collection that is not ours.
    fn set(
        &self,
        context: &TargetContext,
        entry: RecordEntry<'_>,
        name: &CollectionName,
        alias: &str,
    ) -> Result<StepOutcome, CatalogError> {
        let record = entry.record();
        if let Some(other) = record.alias_holder(&name.db, alias).filter(|other| *other != entry.id()) {
            match context.marked(entry.id()).alter_alias(name, alias, &context.call) {
                Ok(()) => {
                    // In this order: another step may write the record between the two, and one must have it.
                    entry.change(|replicated| replicated.has_got_alias(alias));
                    record.entry(other).change(|replicated| replicated.has_lost_alias(alias));
                    return Ok(done(context, name, alias));
                }
                // Dropped on the target by hand.
                Err(error) if error.is_alias_missing() => {
                    record.entry(other).change(|replicated| replicated.has_lost_alias(alias));
                }
                Err(error) => return Err(error.into()),
            }
        }
        if let Err(error) = context.marked(entry.id()).create_alias(name, alias, &context.call) {
            let alias_name = CollectionName::new(&name.db, alias);
            match context.client.describe_without_aliases(&alias_name, &context.call) {
                Ok(found) if found.name == name.name => {}
                // A collection of ours whose name the source uses as an alias now: it goes, or gets another name.
                Ok(found) if found.name == alias && record.holder(&alias_name).is_some() => {
                    return Err(error.into());
                }
                Ok(found) => {
                    let why = format!("the target has it for {:?}, which is not of this task", found.name);
                    return self.refuse(context, entry.id(), &alias_name, &why);
                }
                Err(_) if retry_policy(&error) == RetryPolicy::Stop => {
                    return self.refuse(context, entry.id(), &alias_name, &error);
                }
                Err(_) => return Err(error.into()),
            }
        }
        Ok(done(context, name, alias))
    }

    fn refuse(
        &self,
        context: &TargetContext,
        id: CollectionId,
        alias: &CollectionName,
        why: &dyn Display,
    ) -> Result<StepOutcome, CatalogError> {
        let refused = RefusedAlias { collection: id, alias: alias.name.clone() };
        if self.refused.lock().insert(refused) {
            context.reporter.skipped("alias", alias, why)?;
        }
        Ok(StepOutcome::Skipped)
    }
}

fn done(context: &TargetContext, name: &CollectionName, alias: &str) -> StepOutcome {
    context.reporter.done(&format!("the alias {}.{alias} stands for {} now", name.db, name.name));
    StepOutcome::Done
}

/// Moves an alias of ours to the collection that has it at the source. Until that one is on the target, the alias
/// stays where it is.
fn hand_over(
    context: &TargetContext,
    entry: RecordEntry<'_>,
    alias: &str,
    holder: CollectionId,
) -> Result<(), CatalogError> {
    let Some(ReplicatedCollection { name: from, .. }) = entry.get() else { return Ok(()) };
    let holder = entry.record().entry(holder);
    let Some(to) = holder.get().filter(|to| to.created && holder.id() != entry.id()) else { return Ok(()) };
    if to.name.db != from.db {
        return drop_alias(context, entry, &from.db, alias);
    }
    intend(holder, alias)?;
    match context.marked(holder.id()).alter_alias(&to.name, alias, &context.call) {
        Ok(()) => {
            done(context, &to.name, alias);
            holder.change(|replicated| replicated.has_got_alias(alias));
        }
        // Dropped on the target by hand: its holder's turn creates it.
        Err(error) if error.is_alias_missing() => {}
        Err(error) => return Err(error.into()),
    }
    entry.change(|replicated| replicated.has_lost_alias(alias));
    Ok(())
}

/// Notes on disk that a collection of ours is being given an alias.
fn intend(entry: RecordEntry<'_>, alias: &str) -> Result<(), CatalogError> {
    if entry.get().is_some_and(|replicated| !replicated.possible_aliases().contains(alias)) {
        entry.change(|replicated| replicated.intended_aliases.insert(alias.to_owned()));
        entry.save()?;
    }
    Ok(())
}

/// Whether an alias that is recorded of a collection stands for it on the target: one that it was being given may not,
/// and may be somebody else's.
fn settle_intention(context: &TargetContext, entry: RecordEntry<'_>, alias: &str) -> Result<bool, CatalogError> {
    let Some(replicated) = entry.get() else { return Ok(false) };
    if !replicated.intended_aliases.contains(alias) {
        return Ok(true);
    }
    let found = context.find(&CollectionName::new(&replicated.name.db, alias))?;
    let is_there = found.is_some_and(|found| found.name == replicated.name.name);
    entry
        .change(|replicated| if is_there { replicated.has_got_alias(alias) } else { replicated.has_lost_alias(alias) });
    Ok(is_there)
}

/// Moves all aliases of ours whose holder is known.
pub(super) fn hand_over_all(
    context: &TargetContext,
    entry: RecordEntry<'_>,
    holders: &AliasHolders,
) -> Result<(), CatalogError> {
    for (alias, holder) in holders {
        if settle_intention(context, entry, alias)? {
            hand_over(context, entry, alias, *holder)?;
        }
    }
    Ok(entry.save()?)
}

/// Frees a name on the target that an alias of ours has and a collection of ours is to get.
pub(super) fn make_way(
    context: &TargetContext,
    record: &CatalogRecord,
    name: &CollectionName,
) -> Result<bool, CatalogError> {
    let (db, alias) = (&name.db, &name.name);
    let holder = record.alias_holder(db, alias).or_else(|| record.possible_alias_holder(db, alias));
    let Some(holder) = holder else { return Ok(false) };
    if !settle_intention(context, record.entry(holder), alias)? {
        return Ok(false);
    }
    drop_alias(context, record.entry(holder), db, alias)?;
    record.save()?;
    Ok(true)
}

/// Drops all aliases of ours.
pub(super) fn drop_all(context: &TargetContext, entry: RecordEntry<'_>) -> Result<(), CatalogError> {
    let Some(replicated) = entry.get() else { return Ok(()) };
    for alias in &replicated.possible_aliases() {
        if settle_intention(context, entry, alias)? {
            drop_alias(context, entry, &replicated.name.db, alias)?;
        }
    }
    Ok(entry.save()?)
}

/// Drops an alias of ours, which is noted before: the source may have it again when a process has died in between.
fn drop_alias(context: &TargetContext, entry: RecordEntry<'_>, db: &str, alias: &str) -> Result<(), CatalogError> {
    entry.change(|replicated| replicated.may_have_lost_alias(alias));
    entry.save()?;
    match context.marked(entry.id()).drop_alias(db, alias, &context.call) {
        Ok(()) => context.reporter.done(&format!("dropped the alias {db}.{alias}")),
        Err(error) if error.is_alias_missing() => {}
        Err(error) => return Err(error.into()),
    }
    entry.change(|replicated| replicated.has_lost_alias(alias));
    Ok(())
}
