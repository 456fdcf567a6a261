//! Renaming collections on the target, and finding out what a rename that was cut short has done.
//!
//! The new name is recorded before the call and the old one is forgotten after it. So whatever a crash leaves behind,
//! one of the two recorded names stands for the collection, also when the source has dropped it meanwhile.

use super::aliases;
use super::context::TargetContext;
use crate::catalog::error::CatalogError;
use crate::catalog::event::CatalogEvent;
use crate::catalog::record::{RecordEntry, ReplicatedCollection};
use crate::domain::CollectionName;
use crate::milvus::{ErrorKind, RetryPolicy, retry_policy};

/// Gives a collection of ours another name on the target.
pub(super) fn rename(
    context: &TargetContext,
    entry: RecordEntry<'_>,
    name: &CollectionName,
) -> Result<(), CatalogError> {
    settle(context, entry)?;
    let Some(ReplicatedCollection { name: from, .. }) = entry.get().filter(|replicated| replicated.name != *name)
    else {
        return Ok(());
    };
    let address = context.client.address();
    if context.find(&from)?.is_some() && is_taken(context, name)? {
        return Err(CatalogError::RenameRefused(format!(
            "{name} is taken on the target {address}: {from} keeps its name there until {name} is free"
        )));
    }
    context.reporter.block(entry.id())?;
    entry.change(|replicated| replicated.renaming = Some(name.clone()));
    entry.save()?;
    match call_rename(context, entry, &from, name) {
        // The old name shows whether it was done in spite of the error. Rows must not wait for what may be refused
        // for long.
        Err(CatalogError::Target(error)) if !error.is_silence() && context.find(&from)?.is_some() => {
            entry.change(|replicated| replicated.renaming = None);
            entry.save()?;
            context.reporter.send(CatalogEvent::Unblock(entry.id()))?;
            return Err(CatalogError::RenameRefused(error.to_string()));
        }
        outcome => outcome?,
    }
    note_renamed(context, entry, &from, name)
}

/// Finds out whether a rename that was begun was carried out: just before a crash, or by a call whose answer was lost.
pub(super) fn settle(context: &TargetContext, entry: RecordEntry<'_>) -> Result<(), CatalogError> {
    let Some(ReplicatedCollection { name: from, renaming: Some(to), .. }) = entry.get() else { return Ok(()) };
    if is_renamed(context, &from, &to)? {
        return note_renamed(context, entry, &from, &to);
    }
    entry.change(|replicated| replicated.renaming = None);
    Ok(entry.save()?)
}

fn note_renamed(
    context: &TargetContext,
    entry: RecordEntry<'_>,
    from: &CollectionName,
    to: &CollectionName,
) -> Result<(), CatalogError> {
    context.reporter.done(&format!("renamed {from} to {to} on the target {}", context.client.address()));
    entry.change(|replicated| {
        replicated.name = to.clone();
        replicated.renaming = None;
    });
    Ok(entry.save()?)
}

/// Whether a name is known to be taken. Where the user may not look, the rename decides.
fn is_taken(context: &TargetContext, name: &CollectionName) -> Result<bool, CatalogError> {
    match context.find(name) {
        Err(CatalogError::Target(error)) if retry_policy(&error) == RetryPolicy::Stop => Ok(false),
        outcome => Ok(outcome?.is_some()),
    }
}

fn call_rename(
    context: &TargetContext,
    entry: RecordEntry<'_>,
    from: &CollectionName,
    to: &CollectionName,
) -> Result<(), CatalogError> {
    if from.db != to.db {
        // A collection with aliases cannot change its database (seen on 2.3.5): they are created again afterwards.
        aliases::drop_all(context, entry)?;
    }
    match context.marked(entry.id()).rename_collection(from, to, &context.call) {
        Err(error) if error.kind == ErrorKind::Unimplemented => Err(CatalogError::Conflict(format!(
            "{} cannot rename {from} to {to}, as the source has: drop {from} there, then delete the task and create \
             it again",
            context.target()?
        ))),
        Err(error) if !error.is_silence() && is_renamed(context, from, to)? => Ok(()),
        outcome => Ok(outcome?),
    }
}

/// Whether it was renamed already. The error does not tell: Milvus finds the new name taken before it misses the old
/// one.
fn is_renamed(context: &TargetContext, from: &CollectionName, to: &CollectionName) -> Result<bool, CatalogError> {
    let is_there = |name: &CollectionName| {
        let found = context.find(name)?;
        Ok::<_, CatalogError>(found.is_some_and(|found| found.name == name.name))
    };
    Ok(!is_there(from)? && is_there(to)?)
}
