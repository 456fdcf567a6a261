/*!
A task as it outlives the process: its id, its definition and its state.
*/

use std::sync::Arc;

use super::role::RoleState;
use super::spec::TaskSpec;
use crate::domain::TaskId;

/// The journal's entry for a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskDefinition {
    /// Id of the task.
    pub id: TaskId,
    /// What the task is to do; shared with its readers.
    pub spec: Arc<TaskSpec>,
    /// Whether the task is to run.
    pub state: TaskState,
    /// Which part it plays for its two sites.
    pub role: RoleState,
}

/// Whether a task is to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TaskState {
    /// The task runs, also after a restart of the server.
    Running,
    /// A user or a rule has paused the task; it waits for a `resume`.
    Paused {
        /// Why, for a person to read.
        reason: String,
    },
    /// An error that needs a human has ended the task; it waits for a `resume`.
    Stopped {
        /// Why, for a person to read.
        reason: String,
    },
}

impl TaskState {
    /// Paused by a user or by a rule.
    pub fn paused(reason: &str) -> Self {
        TaskState::Paused { reason: reason.to_owned() }
    }

    /// Ended by an error that needs a human.
    pub fn stopped(reason: String) -> Self {
        TaskState::Stopped { reason }
    }
}
