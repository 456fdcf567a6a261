//! What the single steps of a copy fail with.

use crate::milvus::Error;
use crate::milvus::field_data::ColumnError;
use crate::scan::{DigestFileError, PageError, RowError, ScanError};
use crate::sink::WriteError;
use crate::source::LogError;
use crate::storage::sealed_file::SealedError;

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
    #[error("{0}")]
    Another(String),
    #[error("cannot start a thread: {0}")]
    Thread(#[from] std::io::Error),
}

impl From<DigestFileError> for StepError {
    fn from(error: DigestFileError) -> Self {
        StepError::Scan(ScanError::DigestFile(error))
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
    /// Rows that can be read once they are loaded.
    NotLoaded,
    /// Rows that cannot be read, whoever tries.
    Rows,
    /// The name at the source stands for another collection.
    Another,
}

impl StepError {
    /// The failed call, if the step failed with one.
    pub(super) fn call(&self) -> Option<&Error> {
        match self.subject() {
            Subject::Call(call) => Some(call),
            Subject::Passing | Subject::State | Subject::NotLoaded | Subject::Rows | Subject::Another => None,
        }
    }

    pub(super) fn subject(&self) -> Subject<'_> {
        match self {
            StepError::Call(error)
            | StepError::Write(WriteError::Call(error) | WriteError::Partly(error))
            | StepError::Scan(ScanError::Page(PageError::Call(error))) => Subject::Call(error),
            StepError::Another(_) => Subject::Another,
            StepError::Scan(ScanError::Page(PageError::Unreadable { .. })) => Subject::NotLoaded,
            StepError::Log(_) | StepError::Thread(_) => Subject::Passing,
            StepError::Progress(SealedError::Io { .. }) => Subject::Passing,
            StepError::Scan(ScanError::DigestFile(DigestFileError::Io { action: "written", .. })) => Subject::Passing,
            StepError::Scan(ScanError::DigestFile(_)) | StepError::Progress(SealedError::Damaged { .. }) => {
                Subject::State
            }
            StepError::Scan(ScanError::Page(_))
            | StepError::Rows { .. }
            | StepError::Form { .. }
            | StepError::Write(_) => Subject::Rows,
        }
    }
}
