/*!
How a command ends: its exit code, and its last words on stderr.
*/

use std::fmt::Display;
use std::io::{self, Write};

/// How the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitStatus {
    /// Stopped by a signal, or a command that went well.
    Done,
    /// A command failed.
    Failed,
    /// The command line or the config file is wrong.
    Usage,
    /// The server could not start.
    CannotStart,
    /// Source and target of a task differ.
    Different,
    /// Source and target could not be compared.
    NotCompared,
    /// What was asked for has begun and has not come to its end.
    NotYet,
}

impl ExitStatus {
    /// The exit code, as `--help` documents it.
    pub fn code(self) -> u8 {
        match self {
            ExitStatus::Done => 0,
            ExitStatus::Failed | ExitStatus::Different => 1,
            ExitStatus::Usage | ExitStatus::NotCompared | ExitStatus::NotYet => 2,
            ExitStatus::CannotStart => 3,
        }
    }
}

/// Prints one line to stderr and returns the status.
pub fn report(message: &dyn Display, status: ExitStatus) -> ExitStatus {
    // Without a stderr only the exit code remains.
    let _ = writeln!(io::stderr(), "milvus-cdc: {message}");
    status
}

/// Why a command ends early; without a message when the reader of the output is gone.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) status: ExitStatus,
    pub(super) message: Option<String>,
}

impl Failure {
    pub(super) fn new(status: ExitStatus, message: impl ToString) -> Self {
        Failure { status, message: Some(message.to_string()) }
    }

    pub(super) fn silent(status: ExitStatus) -> Self {
        Failure { status, message: None }
    }
}

/// An error of writing to stdout.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            // As in `milvus-cdc task list | head`: the reader has all it needs.
            io::ErrorKind::BrokenPipe => Failure::silent(ExitStatus::Done),
            _ => Failure::new(ExitStatus::Failed, format!("cannot write the output: {error}")),
        }
    }
}
