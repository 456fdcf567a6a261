//! What follows when a target does not take a change of a collection's schema.

use super::context::TargetContext;
use crate::catalog::error::CatalogError;
use crate::domain::CollectionName;
use crate::milvus::{Error, ErrorKind, RetryPolicy, retry_policy};

/// Whether the target refuses it for good, or does not know the call.
pub(super) fn is_refusal(error: &Error) -> bool {
    error.kind == ErrorKind::Unimplemented || retry_policy(error) == RetryPolicy::Stop
}

/// A refusal for good holds the collection; other failures pass.
pub(super) fn carried_out(
    context: &TargetContext,
    name: &CollectionName,
    what: &str,
    outcome: Result<(), Error>,
) -> Result<(), CatalogError> {
    match outcome {
        Ok(()) => Ok(()),
        Err(error) if is_refusal(&error) => Err(cannot(context, name, what, Some(&error))),
        Err(error) => Err(error.into()),
    }
}

pub(super) fn cannot(
    context: &TargetContext,
    name: &CollectionName,
    what: &str,
    error: Option<&Error>,
) -> CatalogError {
    hold(context, name, error, |target| {
        format!(
            "the source has {what} since {name} was made, and {target} does not take it into a collection that is there"
        )
    })
}

/// Holds the collection for this reason, with what to do about it.
pub(super) fn hold(
    context: &TargetContext,
    name: &CollectionName,
    error: Option<&Error>,
    reason: impl FnOnce(&str) -> String,
) -> CatalogError {
    let why = error.map(|error| format!(" ({error})")).unwrap_or_default();
    match context.target() {
        Ok(target) => CatalogError::Conflict(format!(
            "{}{why}: drop {name} on the target, and it is made and filled again as the source has it now, or leave \
             the collection out of the task",
            reason(&target)
        )),
        Err(error) => error.into(),
    }
}
