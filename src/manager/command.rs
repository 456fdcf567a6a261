/*!
The commands of the manager's thread, and its answers.
*/

use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::Sender;

use super::switchover_view::SwitchoverView;
use crate::config::Address;
use crate::domain::TaskId;
use crate::manager::engine::{Engine, EngineCause, EngineError, NoOpposite, Refusal, TaskHandle};
use crate::manager::store::JournalError;
use crate::task::collection_request::CollectionRefused;
use crate::task::definition::TaskState;
use crate::task::detail::TaskDetail;
use crate::task::failback::{FailbackIntent, LostWritesError, LostWritesPlan, Rebuild};
use crate::task::history::History;
use crate::task::refused_rows::{RefusedRowsAmount, RefusedRowsError};
use crate::task::role::{Insistence, RoleRefused, RoleState};
use crate::task::spec::{TargetSpec, TaskSpec};
use crate::task::status::{ChannelPosition, TaskStatus};
use crate::task::switchover::FinalComparison;
use crate::verify::VerifyRefused;

/// Takes the answer to one command; holds one message, so answering never blocks.
pub(super) type Reply<T> = Sender<T>;

/// The commands of the manager's thread.
pub(super) enum ManagerCommand {
    /// All tasks, in the order of their ids.
    List(Reply<Vec<TaskView>>),
    /// One task.
    Get(TaskId, Reply<Option<TaskView>>),
    /// Position providers of one task, or of all.
    Positions(Option<TaskId>, Reply<Vec<PositionSource>>),
    /// Whether a task could be created now.
    Admit(Option<TaskId>, TaskRequest, Reply<Result<Admission, ManagerError>>),
    /// Changes a task; executed in order per task.
    Change(TaskId, Operation),
    /// Sets the largest number of tasks.
    Limit(usize),
    /// Stops all tasks and ends the thread.
    Shutdown(Instant, Reply<()>),
}

/// A task to be created.
pub(super) struct TaskRequest {
    pub(super) spec: Arc<TaskSpec>,
    /// Addresses of other tasks' targets that lead to the same server as this one's.
    pub(super) aliases: Vec<Address>,
}

/// The outcome that a `create` would have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    /// A new task.
    New,
    /// A task with this id exists; `create` would answer its id and change nothing.
    Known,
}

/// A change of one task.
pub(super) enum Operation {
    Create(TaskRequest, Reply<Result<(), ManagerError>>),
    Pause(Reply<Result<(), ManagerError>>),
    Resume(Reply<Result<(), ManagerError>>),
    /// Another connection to the same target.
    Reconnect(Box<TargetSpec>, Reply<Result<(), ManagerError>>),
    /// Lets the target take the source's place, or not.
    Failover(FailoverOrder, Reply<Result<(), ManagerError>>),
    /// What becomes of a source that has been given up and is back.
    Failback(FailbackOrder, Reply<Result<(), ManagerError>>),
    /// The sites change places while both are well.
    Switchover(SwitchoverOrder, Reply<Result<(), ManagerError>>),
    Delete(Reply<Result<(), ManagerError>>),
}

/// What a user wants of a failover.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailoverOrder {
    /// That it begins, or goes on.
    Begin(Insistence),
    /// That it is given up.
    Cancel,
}

/// What a user wants of a failback.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailbackOrder {
    /// That it begins, or goes on so.
    Begin {
        /// How far.
        intent: FailbackIntent,
        /// What becomes of lost writes.
        plan: LostWritesPlan,
        /// What becomes of an old primary that lacks what it had.
        rebuild: Rebuild,
    },
    /// That it is given up.
    Cancel,
}

/// What a user wants of a switchover.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SwitchoverOrder {
    /// That it begins, or goes on so.
    Begin {
        /// How long nobody may have changed the source, in milliseconds.
        quiet_ms: u64,
        /// What is compared before the roles change.
        comparison: FinalComparison,
    },
    /// That it is given up.
    Cancel,
}

/// A task as the API shows it.
#[derive(Clone)]
pub struct TaskView {
    /// Id of the task.
    pub id: TaskId,
    /// Definition of the task.
    pub spec: Arc<TaskSpec>,
    /// State that outlives the process.
    pub state: TaskState,
    /// Which part it plays for its two sites.
    pub role: RoleState,
    /// Status at the moment of the request.
    pub status: TaskStatus,
    pub(super) refused_rows: RefusedRowsAmount,
    /// What a switchover waits for, or has come to.
    pub switchover: SwitchoverView,
    /// Events, lag and rate over all runs.
    pub history: Arc<History>,
    pub(super) running: Option<Arc<dyn TaskHandle>>,
}

impl TaskView {
    /// Details beyond the status; while the task is not running, the defaults and what it has set aside.
    pub fn detail(&self) -> TaskDetail {
        let resting = || TaskDetail { refused_rows: self.refused_rows, ..TaskDetail::default() };
        self.running.as_ref().map_or_else(resting, |running| running.detail())
    }
}

/// Provides a task's positions outside the manager's thread, because files may have to be read.
pub struct PositionSource {
    pub(super) id: TaskId,
    pub(super) running: Option<Arc<dyn TaskHandle>>,
    pub(super) engine: Arc<dyn Engine>,
}

impl PositionSource {
    /// Id of the task.
    pub fn id(&self) -> &TaskId {
        &self.id
    }

    /// The acknowledged positions of the task.
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
    /// No task has this id.
    #[error("not found the task, task_id: {0}")]
    NotFound(String),
    /// Pause of a paused task.
    #[error("the task has paused, task_id: {0}")]
    AlreadyPaused(TaskId),
    /// Resume of a running task.
    #[error("the task has running, task_id: {0}")]
    AlreadyRunning(TaskId),
    /// A create with the id of a task that has another connection to its target.
    #[error(
        "the task {0} exists and connects to its target in another way (milvus_connect_param differs): change that \
         with an `update` request, which keeps its place; or choose another task_id"
    )]
    OtherConnection(TaskId),
    /// A create with the id of a task that was created by another request.
    #[error(
        "the task {id} exists, and these fields of the request differ from what it was created with: {differences}. \
         Only its connection can be changed (by an `update` request, which keeps its place): delete the task and \
         create it again, or choose another task_id"
    )]
    OtherDefinition {
        /// Id of the task.
        id: TaskId,
        /// The fields of the request.
        differences: String,
    },
    /// An update names another target.
    #[error(
        "the task {id} writes to {target}, and an update changes how it connects, not where to: delete the task and \
         create it again for another target"
    )]
    OtherTarget {
        /// Id of the task.
        id: TaskId,
        /// Its target.
        target: Address,
    },
    /// Drops are held by a running task.
    #[error("the task is not running, and drops are held and decided by a running one: resume it first, task_id: {0}")]
    NotRunning(TaskId),
    /// Rows that are set aside are applied and discarded by a running task.
    #[error(
        "the task is not running: the rows that it has set aside can be listed, but only a running task applies or \
         discards them: resume it first, task_id: {0}"
    )]
    RefusedRowsRest(TaskId),
    /// Collections are paused, resumed and compared by a running task.
    #[error(
        "the task is not running, and none of its collections can be changed alone: resume the task first, task_id: {0}"
    )]
    CollectionsRest(TaskId),
    /// The task's role does not allow it.
    #[error("{source}, task_id: {id}")]
    Role {
        /// Id of the task.
        id: TaskId,
        /// Why.
        source: RoleRefused,
    },
    /// A failover, while the source answers.
    #[error(
        "the source {0} answers: a failover is for a primary that is gone, and what clients write there from now on \
         would be missing on the target; stop it, or its clients, first, or insist with `force`"
    )]
    SourceAnswers(String),
    /// A task that was stopped has not ended yet.
    #[error("the task {0} is being stopped: try again in a moment")]
    Stopping(TaskId),
    /// The sites cannot change places now.
    #[error("the sites cannot change places now: {}", .0.join("; "))]
    NoSwitchover(Vec<String>),
    /// The wish about one collection is refused.
    #[error(transparent)]
    Collection(#[from] CollectionRefused),
    /// The decision about rows that are set aside is refused.
    #[error(transparent)]
    RefusedRows(#[from] RefusedRowsError),
    /// The request needs a running task, or one without a running comparison.
    #[error(transparent)]
    Verify(#[from] VerifyRefused),
    /// The files of lost writes cannot be used.
    #[error(transparent)]
    LostWrites(#[from] LostWritesError),
    /// Another task replicates users and roles to the target already.
    #[error("the enable user role param is duplicate")]
    DuplicateUserRole,
    /// Another task replicates these collections to the target already.
    #[error("the collection name is duplicate with existing task, [{0}]")]
    DuplicateCollection(String),
    /// The mapping names something outside the task's scope.
    #[error("the collection name in the name mapping is not in the collection info, checkout it")]
    MappingOutside,
    /// The limit on the number of tasks is reached.
    #[error("the task num has reach the limit, {0}")]
    TooManyTasks(usize),
    /// The target cannot be reached.
    #[error("fail to connect the milvus: {0}")]
    Unreachable(#[source] EngineCause),
    /// A task cannot be reversed.
    #[error("the task {id} cannot be reversed: {source}")]
    NoOpposite {
        /// Id of the task.
        id: TaskId,
        /// Why.
        source: NoOpposite,
    },
    /// The target must not be used.
    #[error(transparent)]
    InvalidTarget(Refusal),
    /// A new task could not be stored.
    #[error("fail to put the task info: {0}")]
    PutTask(#[source] JournalError),
    /// A task's new state could not be stored.
    #[error("fail to update the task state, task_id: {id}: {source}")]
    UpdateState {
        /// Id of the task.
        id: TaskId,
        /// The cause.
        source: JournalError,
    },
    /// A task could not be removed from the journal.
    #[error("fail to delete the task meta, task_id: {id}: {source}")]
    DeleteTask {
        /// Id of the task.
        id: TaskId,
        /// The cause.
        source: JournalError,
    },
    /// A task's files could not be removed, and the task stays, paused; or the files of an earlier task with its id
    /// could not be removed, and the new task is not created.
    #[error("fail to delete the task files, task_id: {id}: {source}")]
    Forget {
        /// Id of the task.
        id: TaskId,
        /// The cause.
        source: EngineError,
    },
    /// The engine refused to start the task.
    #[error("fail to start the task, task_id: {id}: {source}")]
    Start {
        /// Id of the task.
        id: TaskId,
        /// The cause.
        source: EngineError,
    },
    /// The server is shutting down.
    #[error("the server is shutting down")]
    ShuttingDown,
}

impl ManagerError {
    /// The request is wrong, not the server.
    pub fn is_clients(&self) -> bool {
        matches!(
            self,
            ManagerError::NotFound(_)
                | ManagerError::AlreadyPaused(_)
                | ManagerError::AlreadyRunning(_)
                | ManagerError::NotRunning(_)
                | ManagerError::CollectionsRest(_)
                | ManagerError::RefusedRowsRest(_)
                | ManagerError::Collection(_)
                | ManagerError::Role { .. }
                | ManagerError::SourceAnswers(_)
                | ManagerError::NoSwitchover(_)
                | ManagerError::Stopping(_)
                | ManagerError::RefusedRows(RefusedRowsError::Collection(_))
                | ManagerError::OtherConnection(_)
                | ManagerError::OtherDefinition { .. }
                | ManagerError::OtherTarget { .. }
                | ManagerError::Verify(_)
                | ManagerError::DuplicateUserRole
                | ManagerError::DuplicateCollection(_)
                | ManagerError::MappingOutside
                | ManagerError::InvalidTarget(_)
                | ManagerError::NoOpposite { .. }
        )
    }
}

impl From<Refusal> for ManagerError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Unreachable(cause) => ManagerError::Unreachable(cause),
            refusal => ManagerError::InvalidTarget(refusal),
        }
    }
}

/// Whether the task's role allows a user to change it.
///
/// # Errors
/// [`ManagerError::Role`] when it does not.
pub(super) fn permitted(id: &TaskId, role: &RoleState) -> Result<(), ManagerError> {
    role.permits_change().map_err(|source| ManagerError::Role { id: id.clone(), source })
}
