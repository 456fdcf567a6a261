//! What the single steps of a copy fail with.

use super::pages::PageError;
use crate::milvus::Error;
use crate::source::LogError;
use crate::target::WriteError;

/// What one step of a copy failed with.
#[derive(Debug, thiserror::Error)]
pub(super) enum StepError {
    #[error(transparent)]
    Page(#[from] PageError),
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error(transparent)]
    Log(#[from] LogError),
}

impl From<Error> for StepError {
    fn from(error: Error) -> Self {
        StepError::Page(PageError::Call(error))
    }
}

impl StepError {
    /// The call that failed, when it was one.
    pub(super) fn call(&self) -> Option<&Error> {
        match self {
            StepError::Page(PageError::Call(error)) | StepError::Write(WriteError::Call(error)) => Some(error),
            StepError::Page(_) | StepError::Write(_) | StepError::Log(_) => None,
        }
    }
}
