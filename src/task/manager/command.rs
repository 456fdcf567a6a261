/*!
What the manager's thread is asked, and what it answers.
*/

use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::Sender;

use crate::config::Address;
use crate::journal::JournalError;
use crate::task::definition::TaskState;
use crate::task::detail::TaskDetail;
use crate::task::engine::{ChannelPosition, Engine, EngineError, TaskHandle, TaskStatus};
use crate::task::history::History;
use crate::task::spec::{TaskId, TaskSpec};
use crate::task::verify::VerifyRefused;

/// Where the answer to one command goes; holds one message, so answering never blocks.
pub(super) type Reply<T> = Sender<T>;

/// Everything that the manager's thread can be asked.
pub(super) enum Command {
    /// All tasks, in the order of their ids.
    List(Reply<Vec<TaskView>>),
    /// One task.
    Get(TaskId, Reply<Option<TaskView>>),
    /// Where to ask for the positions of one task, or of all.
    Positions(Option<TaskId>, Reply<Vec<PositionSource>>),
    /// Whether a task could be created now.
    Admit(Option<TaskId>, Wanted, Reply<Result<Admission, ManagerError>>),
    /// Something that changes a task; in order per task.
    Change(TaskId, Operation),
    /// How many tasks there may be from now on.
    Limit(usize),
    /// Stop all tasks and end.
    Shutdown(Instant, Reply<()>),
}

/// A task that is asked for.
pub(super) struct Wanted {
    pub(super) spec: Arc<TaskSpec>,
    /// Addresses of other tasks' targets that lead to this one's.
    pub(super) aliases: Vec<Address>,
}

/// What would become of a `create`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    /// A new task.
    New,
    /// A task of this id is there; it would be answered as it is.
    Known,
}

/// A change of one task.
pub(super) enum Operation {
    Create(Wanted, Reply<Result<(), ManagerError>>),
    Pause(Reply<Result<(), ManagerError>>),
    Resume(Reply<Result<(), ManagerError>>),
    Delete(Reply<Result<(), ManagerError>>),
}

/// A task as the API shows it.
#[derive(Clone)]
pub struct TaskView {
    /// Its id.
    pub id: TaskId,
    /// What it is asked to do.
    pub spec: Arc<TaskSpec>,
    /// Whether it runs.
    pub state: TaskState,
    /// What it is doing.
    pub status: TaskStatus,
    /// What has happened to it.
    pub history: Arc<History>,
    pub(super) running: Option<Arc<dyn TaskHandle>>,
}

impl TaskView {
    /// Everything else; nothing but defaults while it does not run.
    pub fn detail(&self) -> TaskDetail {
        self.running.as_ref().map(|running| running.detail()).unwrap_or_default()
    }
}

/// Knows a task's positions. Asked outside the manager's thread, because files may have to be read.
pub struct PositionSource {
    pub(super) id: TaskId,
    pub(super) running: Option<Arc<dyn TaskHandle>>,
    pub(super) engine: Arc<dyn Engine>,
}

impl PositionSource {
    /// Whose positions.
    pub fn id(&self) -> &TaskId {
        &self.id
    }

    /// How far the task has come.
    pub fn positions(&self) -> Vec<ChannelPosition> {
        match &self.running {
            Some(handle) => handle.positions(),
            None => self.engine.stored_positions(&self.id),
        }
    }
}

/// Why a change was refused; the texts are the Go server's where it has one.
#[derive(Debug, thiserror::Error)]
pub enum ManagerError {
    /// There is no such task.
    #[error("not found the task, task_id: {0}")]
    NotFound(String),
    /// Pause of a paused task.
    #[error("the task has paused, task_id: {0}")]
    AlreadyPaused(TaskId),
    /// Resume of a running task.
    #[error("the task has running, task_id: {0}")]
    AlreadyRunning(TaskId),
    /// What was asked can be asked of a running task only.
    #[error(transparent)]
    Verify(#[from] VerifyRefused),
    /// Another task on the target carries users and roles already.
    #[error("the enable user role param is duplicate")]
    DuplicateUserRole,
    /// Another task on the target carries these collections already.
    #[error("the collection name is duplicate with existing task, [{0}]")]
    DuplicateCollection(String),
    /// A mapping for something that the task does not carry.
    #[error("the collection name in the name mapping is not in the collection info, checkout it")]
    MappingOutside,
    /// As many tasks as are allowed.
    #[error("the task num has reach the limit, {0}")]
    TooManyTasks(usize),
    /// The target cannot be reached.
    #[error("fail to connect the milvus: {0}")]
    Unreachable(String),
    /// The target must not be used.
    #[error("{0}")]
    InvalidTarget(String),
    /// A new task could not be stored.
    #[error("fail to put the task info: {0}")]
    PutTask(JournalError),
    /// A task's new state could not be stored.
    #[error("fail to update the task state, task_id: {id}: {source}")]
    UpdateState {
        /// Which task.
        id: TaskId,
        /// What happened.
        source: JournalError,
    },
    /// A task could not be taken out of the store.
    #[error("fail to delete the task meta, task_id: {id}: {source}")]
    DeleteTask {
        /// Which task.
        id: TaskId,
        /// What happened.
        source: JournalError,
    },
    /// A task's files could not be removed; it stays, paused. Or those of an earlier one of its id; then it is not made.
    #[error("fail to delete the task files, task_id: {id}: {source}")]
    Forget {
        /// Which task.
        id: TaskId,
        /// What happened.
        source: EngineError,
    },
    /// The engine refused to start the task.
    #[error("fail to start the task, task_id: {id}: {source}")]
    Start {
        /// Which task.
        id: TaskId,
        /// What happened.
        source: EngineError,
    },
    /// The server is about to end.
    #[error("the server is shutting down")]
    ShuttingDown,
}

impl ManagerError {
    /// The request is at fault, not the server.
    pub fn is_clients(&self) -> bool {
        matches!(
            self,
            ManagerError::NotFound(_)
                | ManagerError::AlreadyPaused(_)
                | ManagerError::AlreadyRunning(_)
                | ManagerError::Verify(_)
                | ManagerError::DuplicateUserRole
                | ManagerError::DuplicateCollection(_)
                | ManagerError::MappingOutside
                | ManagerError::InvalidTarget(_)
        )
    }
}

impl From<EngineError> for ManagerError {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Connect(text) => ManagerError::Unreachable(text),
            EngineError::Invalid(text) | EngineError::State(text) => ManagerError::InvalidTarget(text),
        }
    }
}
