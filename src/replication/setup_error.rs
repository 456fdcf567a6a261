//! Why a task cannot run.

use std::fmt::Display;

/// Why a task cannot run.
pub(super) enum SetupError {
    /// Not now: it is tried again.
    Passing(String),
    /// The same, because the log cannot be read: a failover may go on without.
    Log(String),
    /// A human has to do something.
    Hopeless(String),
}

pub(super) fn passing(error: &dyn Display) -> SetupError {
    SetupError::Passing(error.to_string())
}

pub(super) fn hopeless(error: &dyn Display) -> SetupError {
    SetupError::Hopeless(error.to_string())
}
