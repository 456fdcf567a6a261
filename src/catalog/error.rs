//! Why a step of the catalog failed, and what follows from it.

use std::io;

use super::object_locks::ObjectsInUse;
use crate::domain::{CollectionId, CollectionName};
use crate::milvus::{Error, RetryPolicy, retry_policy};
use crate::storage::sealed_file::SealedError;

/// A failed step.
#[derive(Debug, thiserror::Error)]
pub(super) enum CatalogError {
    /// A call to the target failed.
    #[error(transparent)]
    Target(#[from] Error),
    /// A call to the source failed.
    #[error(transparent)]
    Source(Error),
    /// The source describes a collection that its listing lacks.
    #[error("{name} exists on {server} but ShowCollections does not list it; check the grants of the source's user")]
    Unlisted {
        /// The collection at the source.
        name: CollectionName,
        /// Address of the source.
        server: String,
    },
    /// A name at the source changed hands between the listing and the description; the next listing tells.
    #[error("two collections of {server} have the name {name}: one of them is being dropped or renamed")]
    Ambiguous {
        /// The name on the target.
        name: CollectionName,
        /// Address of the source.
        server: String,
    },
    /// Another server, or another log, than the task has followed so far.
    #[error("{0}")]
    OtherSource(String),
    /// A task in the opposite direction runs, and nothing tells its rows from users'.
    #[error("{0}")]
    Unprotected(String),
    /// A drop that is held, or a collection that was kept, is in the way.
    #[error("{0}")]
    Held(String),
    /// The target refuses a collection's new name; the collection is replicated under the old one.
    #[error("{0}")]
    RenameRefused(String),
    /// The task cannot let the collection be changed yet: calls for its rows do not end, or the checkpoint cannot be
    /// written.
    #[error("collection {0} is changed on the target once the calls for its rows have ended")]
    Busy(CollectionId),
    /// The record could not be written: nothing may be created or dropped without it.
    #[error(transparent)]
    Record(#[from] SealedError),
    /// Another step is busy with what this one has to do with: it begins again after that.
    #[error(transparent)]
    InUse(#[from] ObjectsInUse),
    /// Something on the target is in the way, and only a human can decide.
    #[error("{0}")]
    Conflict(String),
    /// The task is stopping.
    #[error("the task is stopping")]
    Stopping,
}

impl CatalogError {
    /// The collection that has a name which another one is to have on the target may not be changed.
    pub(super) fn paused_in_the_way(name: &impl std::fmt::Display) -> CatalogError {
        CatalogError::Held(format!("the target's {name} is in the way, and its collection is paused: resume that one"))
    }

    /// Whether a retry is of no use before something changes: the collection is held, or the task stops.
    pub(super) fn is_final(&self) -> bool {
        match self {
            CatalogError::Target(error) => retry_policy(error) == RetryPolicy::Stop,
            CatalogError::Conflict(_) => true,
            // Grants at the source come and go, collection by collection.
            CatalogError::Source(_) | CatalogError::Unlisted { .. } => false,
            CatalogError::Ambiguous { .. } | CatalogError::RenameRefused(_) | CatalogError::Busy(_) => false,
            CatalogError::OtherSource(_) | CatalogError::Unprotected(_) | CatalogError::Held(_) => false,
            CatalogError::Record(_) | CatalogError::InUse(_) | CatalogError::Stopping => false,
        }
    }

    /// Whether it concerns the task as a whole, so that it must stop: the target refuses the login.
    pub(super) fn is_about_task(&self) -> bool {
        matches!(self, CatalogError::Target(error) if error.is_login_refused())
    }

    /// The failed call; `None` if there was none.
    pub(super) fn call(&self) -> Option<&Error> {
        match self {
            CatalogError::Source(error) | CatalogError::Target(error) => Some(error),
            _ => None,
        }
    }

    /// Whether the source did not answer: it may be another one, or on its way up, when it answers next.
    pub(super) fn is_silence_of_source(&self) -> bool {
        matches!(self, CatalogError::Source(error) if error.is_silence())
    }
}

/// Why a watcher could not be started.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// The task's record of the target cannot be read.
    #[error(transparent)]
    Record(#[from] SealedError),
    /// The system refuses another thread.
    #[error("the catalog's thread cannot be started: {0}")]
    Thread(#[source] io::Error),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::milvus::{ErrorKind, RetryAdvice};

    #[test]
    fn an_error_of_the_source_about_one_collection_does_not_stop_the_task() {
        let error = |kind| {
            let (object, detail) = ("default.a".into(), "x".into());
            Error { method: "GetLoadState", address: "a:1".into(), object, kind, detail }
        };
        for kind in [
            ErrorKind::Denied,
            ErrorKind::Unimplemented,
            ErrorKind::Server { code: 1100, legacy: 0, advice: RetryAdvice::None },
        ] {
            let at_source = CatalogError::Source(error(kind));
            assert!(!at_source.is_final() && !at_source.is_silence_of_source());
            assert!(CatalogError::Target(error(kind)).is_final(), "the target's");
        }
        for kind in [ErrorKind::Transport, ErrorKind::Cancelled] {
            assert!(CatalogError::Source(error(kind)).is_silence_of_source());
            assert!(!CatalogError::Target(error(kind)).is_silence_of_source(), "the source may answer");
        }
    }
}
