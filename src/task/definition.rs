/*!
A task as it outlives the process: its id, what it is asked to do, and whether it runs.
*/

use std::sync::Arc;

use super::spec::{TaskId, TaskSpec};

/// What the journal keeps of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskDefinition {
    /// Its name.
    pub id: TaskId,
    /// What it is asked to do; shared with whoever looks at it.
    pub spec: Arc<TaskSpec>,
    /// Whether it runs.
    pub state: TaskState,
}

/// Whether a task runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TaskState {
    /// It runs, also after a restart of the server.
    Running,
    /// It waits for a `resume`.
    Paused {
        /// Why, for a person to read.
        reason: String,
        /// An error ended it, not a user.
        stopped: bool,
    },
}

impl TaskState {
    /// Paused by a user or by a rule, not by an error.
    pub fn paused(reason: &str) -> Self {
        TaskState::Paused { reason: reason.to_owned(), stopped: false }
    }

    /// Ended by an error that needs a human.
    pub fn stopped(reason: String) -> Self {
        TaskState::Paused { reason, stopped: true }
    }
}
