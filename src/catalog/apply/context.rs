//! What every step on the target shares: the connection, the line to the task, and what kind of server the target is.

use std::sync::Arc;

use crate::catalog::error::CatalogError;
use crate::catalog::made_before::MadeBefore;
use crate::catalog::reporter::Reporter;
use crate::domain::{CollectionId, CollectionName, Mark};
use crate::milvus::catalog::CollectionDetails;
use crate::milvus::{CallContext, Capabilities, Client, Error, MarkedClient, RetryPolicy, retry_policy};
use crate::task::noted_ends::NotedEnds;

/// Shared by all steps; nothing of it changes.
pub(super) struct TargetContext {
    pub(super) client: Arc<Client>,
    pub(super) call: CallContext,
    pub(super) reporter: Reporter,
    /// What deleted tasks had made on their targets.
    pub(super) made_before: MadeBefore,
    /// What both sides had before a task that is the opposite of another one.
    pub(super) noted_ends: Option<Arc<NotedEnds>>,
}

/// How a step that may be refused has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StepOutcome {
    /// It is done on the target.
    Done,
    /// The target refuses it for good: reported as skipped.
    Skipped,
}

impl TargetContext {
    pub(super) fn new(client: Arc<Client>, call: CallContext, reporter: Reporter) -> TargetContext {
        TargetContext { client, call, reporter, made_before: MadeBefore::default(), noted_ends: None }
    }

    /// The connection for calls that change what belongs to this collection of the source.
    pub(super) fn marked(&self, collection: CollectionId) -> MarkedClient<'_> {
        self.client.marked(Mark::of_catalog(collection))
    }

    /// What the target can do.
    pub(super) fn capabilities(&self) -> Result<Capabilities, Error> {
        self.client.capabilities(&self.call)
    }

    /// The target's address and version, for an error's text.
    pub(super) fn target(&self) -> Result<String, Error> {
        Ok(format!("the target {} ({})", self.client.address(), self.client.describe_server(&self.call)?.version))
    }

    /// Waits until no call for the collection is in flight, since a part of it is to be dropped. Calls that do not end
    /// give up: they may write what is dropped, which the target may refuse for as long as it is there.
    pub(super) fn block_for_drop_of_part(&self, id: CollectionId) -> Result<(), CatalogError> {
        match self.reporter.block(id) {
            Err(CatalogError::Busy(_)) => self.reporter.block_for_drop(id),
            outcome => outcome,
        }
    }

    /// Passes over a step that the target refuses for good, and reports it as skipped.
    pub(super) fn skip_refused(
        &self,
        what: &str,
        object: &dyn std::fmt::Display,
        outcome: Result<(), CatalogError>,
    ) -> Result<StepOutcome, CatalogError> {
        match outcome {
            Ok(()) => Ok(StepOutcome::Done),
            Err(CatalogError::Target(error)) if retry_policy(&error) == RetryPolicy::Stop => {
                self.reporter.skipped(what, object, &error)?;
                Ok(StepOutcome::Skipped)
            }
            Err(error) => Err(error),
        }
    }

    /// The collection or alias of this name on the target; `None` when there is none.
    pub(super) fn find(&self, name: &CollectionName) -> Result<Option<CollectionDetails>, CatalogError> {
        match self.client.describe_without_aliases(name, &self.call) {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.is_collection_missing() || error.is_database_missing() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}
