//! What the manager's thread knows of a switchover beside the task's role: gone with the process.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::command::ManagerError;
use super::engine::{NoOpposite, Refusal};
use crate::config::Address;
use crate::domain::TaskId;
use crate::task::role::Epoch;
use crate::task::spec::TaskSpec;
use crate::task::switchover::QuietWatch;

/// How often what a switchover waits for is looked at.
pub(super) const TENDED_EVERY: Duration = Duration::from_millis(200);

/// What this process has seen of a switchover.
#[derive(Debug, Default)]
pub(super) struct SwitchoverWatch {
    /// The epoch that the rest is about.
    pub(super) epoch: Epoch,
    pub(super) quiet: QuietWatch,
    pub(super) comparing: Comparing,
    /// What the last comparison has found to differ.
    pub(super) suspects: BTreeSet<String>,
    pub(super) waiting_for: Option<String>,
    /// When the servers may be asked again.
    pub(super) open_at: Option<Instant>,
}

/// Where the comparison is.
#[derive(Debug, Clone, Copy, Default)]
pub(super) enum Comparing {
    #[default]
    NotBegun,
    Begun,
    /// Both are compared again then: something differed that may be under way, or could not be compared.
    Again(Instant),
    /// So many keys or rows were equal.
    Equal(u64),
}

/// What the servers have said to a task in the opposite direction.
pub(super) struct OpenedOpposite {
    pub(super) id: TaskId,
    pub(super) epoch: Epoch,
    /// The definition that it was asked for.
    pub(super) of: Arc<TaskSpec>,
    pub(super) outcome: Result<AdmittedOpposite, NotOpened>,
}

/// The task in the opposite direction as it would be created.
pub(super) struct AdmittedOpposite {
    pub(super) spec: Arc<TaskSpec>,
    pub(super) aliases: Vec<Address>,
    /// The tasks whose targets were compared with its target.
    pub(super) compared: Vec<Arc<TaskSpec>>,
}

/// Why there is no task in the opposite direction.
pub(super) enum NotOpened {
    /// Asking again may help.
    Yet(String),
    /// It will not.
    Ever(String),
}

impl From<NoOpposite> for NotOpened {
    fn from(error: NoOpposite) -> Self {
        let text = error.to_string();
        match error {
            NoOpposite::Unreachable(_) | NoOpposite::Files(_) => NotOpened::Yet(text),
            NoOpposite::Irreversible(_) | NoOpposite::Unmarked { .. } => NotOpened::Ever(text),
        }
    }
}

impl From<Refusal> for NotOpened {
    fn from(refusal: Refusal) -> Self {
        let text = refusal.to_string();
        match refusal {
            Refusal::Unreachable(_) => NotOpened::Yet(text),
            _ => NotOpened::Ever(text),
        }
    }
}

impl From<ManagerError> for NotOpened {
    fn from(error: ManagerError) -> Self {
        let text = error.to_string();
        match error {
            ManagerError::Stopping(_) => NotOpened::Yet(text),
            _ => NotOpened::Ever(text),
        }
    }
}
