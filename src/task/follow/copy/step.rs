//! What the single steps of a copy fail with.

use crate::journal::sealed::SealedError;
use crate::milvus::Error;
use crate::pipeline::columns::ColumnError;
use crate::scan::{PageError, RowError, ScanError, StateError};
use crate::source::LogError;
use crate::target::WriteError;

/// What one step of a copy failed with.
#[derive(Debug, thiserror::Error)]
pub(super) enum StepError {
    #[error(transparent)]
    Scan(#[from] ScanError),
    #[error(transparent)]
    Call(#[from] Error),
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Progress(#[from] SealedError),
    #[error("{object}: {source}")]
    Rows { object: String, source: RowError },
    #[error("{object}: {source}")]
    Form { object: String, source: ColumnError },
    #[error("cannot start a thread: {0}")]
    Thread(#[from] std::io::Error),
}

impl From<StateError> for StepError {
    fn from(error: StateError) -> Self {
        StepError::Scan(ScanError::State(error))
    }
}

/// What a failed step is about.
pub(super) enum Subject<'a> {
    /// A call.
    Call(&'a Error),
    /// The log, a full disk or a lack of threads: it passes.
    Passing,
    /// The file of what is on the target: it can be made again.
    State,
    /// Rows that cannot be read, whoever tries.
    Rows,
}

impl StepError {
    pub(super) fn subject(&self) -> Subject<'_> {
        match self {
            StepError::Call(error)
            | StepError::Write(WriteError::Call(error))
            | StepError::Scan(ScanError::Page(PageError::Call(error))) => Subject::Call(error),
            StepError::Log(_) | StepError::Thread(_) => Subject::Passing,
            StepError::Progress(SealedError::Io { .. }) => Subject::Passing,
            StepError::Scan(ScanError::State(StateError::Io { action: "written", .. })) => Subject::Passing,
            StepError::Scan(ScanError::State(_)) | StepError::Progress(SealedError::Damaged { .. }) => Subject::State,
            StepError::Scan(ScanError::Page(_))
            | StepError::Rows { .. }
            | StepError::Form { .. }
            | StepError::Write(_) => Subject::Rows,
        }
    }
}
