/*!
The seam between managing tasks and running them.

The manager (`task::manager`) owns the definitions, the journal and the API's view of a task; an *engine* knows how to run
one. Tests of the manager and of the HTTP API use an engine of their own, so they need no Milvus.
*/

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;

use super::detail::TaskDetail;
use super::history::History;
use super::spec::{TargetSpec, TaskId, TaskSpec};
use super::verify::{VerifyRefused, VerifyRequest, VerifyView};
use crate::check::Report;

/// What a task is doing right now, as `phase` of the API shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Opening connections and the source's log.
    Connecting,
    /// Copying rows that the log no longer holds.
    Copying,
    /// Applying a backlog: the log is read, but not at its head yet.
    CatchingUp,
    /// At the head of the log.
    Following,
    /// A call failed and is tried again; the reason says which.
    Retrying,
    /// Paused by a user or by `disable_auto_start`.
    Paused,
    /// Stopped by an error that needs a human; the reason says what to do.
    Stopped,
}

impl Phase {
    /// Every phase there is.
    pub const ALL: [Phase; 7] = [
        Phase::Connecting,
        Phase::Copying,
        Phase::CatchingUp,
        Phase::Following,
        Phase::Retrying,
        Phase::Paused,
        Phase::Stopped,
    ];

    /// The name that the API answers.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Connecting => "Connecting",
            Phase::Copying => "Copying",
            Phase::CatchingUp => "CatchingUp",
            Phase::Following => "Following",
            Phase::Retrying => "Retrying",
            Phase::Paused => "Paused",
            Phase::Stopped => "Stopped",
        }
    }
}

/// The log that a task reads its source by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceLog {
    /// The kind's name, as in `sourceConfig.log`.
    pub kind: &'static str,
    /// Why it is this one and not another, for a person to read.
    pub why: String,
}

/// A running task's condition at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskStatus {
    /// What it is doing.
    pub phase: Phase,
    /// How far the target is behind the source, in milliseconds; `None` until it is known.
    pub lag_ms: Option<u64>,
    /// What could not be carried over, counted per reason.
    pub skipped: BTreeMap<String, u64>,
    /// Why it retries, waits or stopped, for a person to read.
    pub reason: Option<String>,
    /// The log that it reads; `None` until that is open, and while it does not run.
    pub source_log: Option<SourceLog>,
}

/// How far a task has come on one physical channel of the source's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelPosition {
    /// Physical channel (topic) name.
    pub channel: String,
    /// The log's own message id, in the bytes that Milvus uses for it (8 bytes little-endian for RocksMQ and Kafka, protobuf for Pulsar).
    pub message_id: Vec<u8>,
    /// Everything of the channel up to this hybrid timestamp has been acknowledged by the target.
    pub time_tick: u64,
}

/// A task's own message to the manager.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TaskEvent {
    /// The task met an error that retrying cannot mend and has ended itself.
    Stopped {
        /// Which task.
        id: TaskId,
        /// What happened and what to do about it.
        reason: String,
    },
}

/// Why an engine refused.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The target did not answer within the connect timeout, or refused us.
    #[error("{0}")]
    Connect(String),
    /// The request is wrong: the target is the source itself, for example.
    #[error("{0}")]
    Invalid(String),
    /// State files could not be read, written or removed.
    #[error("{0}")]
    State(String),
}

/// Runs tasks.
pub trait Engine: Send + Sync {
    /// Connects to the target once, within its connect timeout, and refuses a target that is the source itself.
    ///
    /// # Errors
    /// [`EngineError::Connect`] when it cannot be reached, [`EngineError::Invalid`] when it must not be used.
    fn check_target(&self, target: &TargetSpec) -> Result<(), EngineError>;

    /// Two targets of different addresses are one server as far as can be told. Asks the name service, and the servers if need be.
    fn is_same_target(&self, targets: [&TargetSpec; 2]) -> bool;

    /// Looks at everything that such a task would need, changing nothing; `pause` is how long one may last. May take a minute.
    fn check(&self, spec: &TaskSpec, pause: Duration) -> Report;

    /// Starts the threads of one task and returns at once; connecting and catching up happen in those threads, which tell
    /// `history` what happens.
    ///
    /// # Errors
    /// [`EngineError::State`] when the task's state files cannot be read.
    fn start(
        &self,
        id: &TaskId,
        spec: &TaskSpec,
        events: Sender<TaskEvent>,
        history: Arc<History>,
    ) -> Result<Box<dyn TaskHandle>, EngineError>;

    /// Removes what the engine keeps in files about a task that was deleted, or of an earlier one before a task of its
    /// id is made. Not running when this is called.
    ///
    /// # Errors
    /// [`EngineError::State`] naming the file that could not be removed.
    fn forget(&self, id: &TaskId) -> Result<(), EngineError>;

    /// Gives a task's history a place that outlives the server, with what an earlier one has left there.
    fn keep(&self, id: &TaskId, history: &History);

    /// The positions of a task that is not running, read from its files.
    fn stored_positions(&self, id: &TaskId) -> Vec<ChannelPosition>;
}

/// A running task.
pub trait TaskHandle: Send + Sync {
    /// Its condition now. Never blocks on the source or the target.
    fn status(&self) -> TaskStatus;

    /// Everything else that can be seen of it, at most a second old. Never blocks on the source or the target.
    fn detail(&self) -> TaskDetail;

    /// How far it has come. Never blocks on the source or the target.
    fn positions(&self) -> Vec<ChannelPosition>;

    /// Starts comparing source and target, and with `repair` mends what differs. Returns at once.
    ///
    /// # Errors
    /// [`VerifyRefused`]
    fn verify(&self, request: VerifyRequest) -> Result<(), VerifyRefused>;

    /// The comparison that runs or was the last to do so.
    fn verification(&self) -> Option<VerifyView>;

    /// Ends a comparison that runs.
    fn cancel_verification(&self);

    /// Ends the task: returns when nothing of it is in flight and its threads are joined, at the latest at `deadline`.
    fn stop(&self, deadline: Instant);
}
