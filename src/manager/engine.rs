/*!
The seam between managing tasks and running them.

The manager owns the definitions, the journal and the API's view of a task; an *engine* knows how to run one. Tests of
the manager and of the HTTP API bring an engine of their own, so they need no Milvus.
*/

use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;

use crate::config::Address;
use crate::domain::{SourceSite, TaskId, Timestamp};
use crate::preflight::{CheckExtent, PreflightReport};
use crate::task::collection_request::{CollectionOutcome, CollectionRefused, CollectionWish};
use crate::task::detail::TaskDetail;
use crate::task::drops::{DropDecision, HeldDrop, SetAside};
use crate::task::failback::{LostLines, LostWrites, LostWritesError};
use crate::task::history::History;
use crate::task::refused_rows::{RefusedRow, RefusedRowsDecision, RefusedRowsError, StoredRefusedRows};
use crate::task::reverse::Irreversible;
use crate::task::role::Mandate;
use crate::task::spec::{TargetSpec, TaskSpec};
use crate::task::status::{ChannelPosition, TaskEvent, TaskStatus};
use crate::task::switchover::Stillness;
use crate::verify::{VerifyRefused, VerifyRequest, VerifyView};

/// The error of whatever an engine is built on; the manager only passes it on.
pub type EngineCause = Box<dyn Error + Send + Sync>;

/// Why an engine could not start, stop or forget a task.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The task's state could not be read, or its threads could not be started.
    #[error("{0}")]
    State(#[source] EngineCause),
    /// The task's folder could not be removed.
    #[error("{}: {source}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The error of the file system.
        source: io::Error,
    },
    /// A bug: starting the task panicked.
    #[error("starting it panicked, see the log")]
    StartPanicked,
    /// A bug: stopping the task panicked.
    #[error("stopping the task panicked, see the log")]
    StopPanicked,
}

/// Why a target cannot have a task.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The target did not answer within the connect timeout, or rejected the login.
    #[error("{0}")]
    Unreachable(#[source] EngineCause),
    /// Rows written with ordinary calls would never become visible on the target.
    #[error(
        "the target {target} runs with common.ttMsgEnabled false, as the Go milvus-cdc requires: rows written to it \
         with ordinary calls never become visible; set it to true (the default)"
    )]
    NoTimeTicks {
        /// Address of the target.
        target: String,
    },
    /// A task replicates in the opposite direction, and nothing would tell its rows from users'.
    #[error("{0}")]
    Unprotected(String),
    /// The task's source is a peer that the configuration does not have.
    #[error("{0}")]
    UnknownPeer(String),
    /// The source's user may not follow its log.
    #[error("{0}")]
    LogDenied(String),
    /// One of the servers is older than what is supported.
    #[error("the {side} {address} is {version}: milvus-cdc needs Milvus {needed} or later")]
    TooOld {
        /// `source` or `target`.
        side: &'static str,
        /// Its address.
        address: String,
        /// The version that it reports.
        version: String,
        /// The oldest supported version.
        needed: String,
    },
    /// Both addresses lead to one server.
    #[error("the target {target} is the source {origin} itself")]
    IsSource {
        /// Address of the target.
        target: String,
        /// Address of the source.
        origin: String,
    },
}

/// Why a task has no opposite now.
#[derive(Debug, thiserror::Error)]
pub enum NoOpposite {
    /// Its definition has none.
    #[error(transparent)]
    Irreversible(#[from] Irreversible),
    /// The log of its target does not tell whose writes it shows.
    #[error(
        "the log of {target} is read by `{log}`, which does not show the marks of calls: nothing there tells the rows \
         that the task has brought from those of users"
    )]
    Unmarked {
        /// The site that would be the source.
        target: SourceSite,
        /// The kind of its log.
        log: &'static str,
    },
    /// The task has not begun, or its files cannot be read.
    #[error("{0}")]
    Files(String),
    /// A server does not answer, or its log cannot be read.
    #[error("{0}")]
    Unreachable(#[source] EngineCause),
}

/// What the visit to the target of a new task has found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AdmissionReport {
    /// Addresses of other tasks' targets that lead to the same server.
    pub aliases: Vec<Address>,
    /// What a user should know before relying on the task.
    pub warnings: Vec<String>,
}

/// What a look at the source has shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceSighting {
    /// Its address.
    pub address: String,
    /// Whether it has answered.
    pub answers: bool,
}

/// A task in the opposite direction of another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReverseTask {
    /// Its id.
    pub id: TaskId,
    /// Its definition.
    pub spec: TaskSpec,
}

/// Runs tasks.
pub trait Engine: Send + Sync {
    /// Visits the target of a new task once, within its connect timeout: whether it may be a target, which targets of
    /// `existing` tasks are the same server, and what a user should know.
    ///
    /// # Errors
    /// [`Refusal`] when the target cannot be reached or must not be used.
    fn admit(&self, spec: &TaskSpec, existing: &[Arc<TaskSpec>]) -> Result<AdmissionReport, Refusal>;

    /// The addresses of those targets of `existing` tasks that lead to the same server as this one, as far as can be
    /// determined. Servers are contacted only where the name service does not rule it out.
    fn aliases(&self, target: &TargetSpec, existing: &[Arc<TaskSpec>]) -> Vec<Address>;

    /// Checks everything that such a task would need and changes nothing; `pause` is the longest pause that the log
    /// must bridge. May take a minute.
    fn check(&self, spec: &TaskSpec, pause: Duration, extent: CheckExtent) -> PreflightReport;

    /// Looks whether the source of a task answers, within its connect timeout.
    fn look_at_source(&self, spec: &TaskSpec) -> SourceSighting;

    /// The task in the opposite direction of one that has run. It starts at the end that its source's log has now, and
    /// copies nothing of what both sides have.
    ///
    /// # Errors
    /// [`NoOpposite`] when there is none, or a server does not answer.
    fn opposite_of(&self, id: &TaskId, spec: &TaskSpec) -> Result<TaskSpec, NoOpposite>;

    /// The task in the opposite direction, which compares everything first. Asks no server.
    ///
    /// # Errors
    /// [`NoOpposite`] when there is none.
    fn reversed(&self, id: &TaskId, spec: &TaskSpec) -> Result<ReverseTask, NoOpposite>;

    /// Starts the threads of one task and returns at once; connecting and catching up happen in those threads, which
    /// record events in `history`.
    ///
    /// # Errors
    /// [`EngineError::State`] when the task's state files cannot be read.
    fn start(
        &self,
        id: &TaskId,
        spec: &TaskSpec,
        mandate: Mandate,
        events: Sender<TaskEvent>,
        history: Arc<History>,
    ) -> Result<Box<dyn TaskHandle>, EngineError>;

    /// Removes the engine's files of a deleted task with this source, or those of an earlier task before one with its
    /// id is created. The task must not be running.
    ///
    /// # Errors
    /// [`EngineError::Folder`] when a file cannot be removed.
    fn forget(&self, id: &TaskId, source: &SourceSite) -> Result<(), EngineError>;

    /// Attaches persistent storage to the history and loads the events of earlier processes.
    fn keep(&self, id: &TaskId, history: &History);

    /// The positions of a task that is not running, read from its files.
    fn stored_positions(&self, id: &TaskId) -> Vec<ChannelPosition>;

    /// What a task that is not running has set aside, read from its file.
    ///
    /// # Errors
    /// [`RefusedRowsError::Files`] when the file cannot be read.
    fn stored_refused_rows(&self, id: &TaskId) -> Result<StoredRefusedRows, RefusedRowsError>;

    /// The writes of a task's old primary that never got across, as they were listed last.
    ///
    /// # Errors
    /// [`LostWritesError`] when the file cannot be read.
    fn lost_writes(&self, id: &TaskId) -> Result<Option<LostWrites>, LostWritesError>;

    /// Some lines of that list, from this place on.
    ///
    /// # Errors
    /// [`LostWritesError`] when there is no list, or it cannot be read.
    fn lost_lines(&self, id: &TaskId, from: u64) -> Result<LostLines, LostWritesError>;
}

/// A running task.
pub trait TaskHandle: Send + Sync {
    /// The current status. Never blocks on the source or the target.
    fn status(&self) -> TaskStatus;

    /// The details beyond the status, at most a second old. Never blocks on the source or the target.
    fn detail(&self) -> TaskDetail;

    /// The newest moment of which the source has told, in its own time.
    fn last_sign_of_life(&self) -> Option<Timestamp>;

    /// How far the target is, and when users changed the source last.
    fn stillness(&self) -> Stillness;

    /// The acknowledged positions. Never blocks on the source or the target.
    fn positions(&self) -> Vec<ChannelPosition>;

    /// Drops that wait for a decision. Never blocks on the source or the target.
    fn held_drops(&self) -> Vec<HeldDrop>;

    /// Decides about all drops that are held now, and answers which those are. They follow the decision in a moment.
    fn decide_drops(&self, decision: DropDecision) -> Vec<HeldDrop>;

    /// Rows that the target refuses for good and that are set aside. Never blocks on the source or the target.
    fn refused_rows(&self) -> Vec<RefusedRow>;

    /// Decides about all rows that are set aside now, and answers which those are.
    ///
    /// # Errors
    /// [`RefusedRowsError`] when their collections cannot be compared now, or the file cannot be written.
    fn decide_refused_rows(&self, decision: RefusedRowsDecision) -> Result<Vec<RefusedRow>, RefusedRowsError>;

    /// Pauses, resumes or compares the collection with this name (database and name at the source). Returns when that
    /// is on disk, and when nothing of one that is paused is in flight.
    ///
    /// # Errors
    /// [`CollectionRefused`] when there is no such collection, or it is not in a state for that.
    fn change_collection(&self, collection: &str, wish: CollectionWish)
    -> Result<CollectionOutcome, CollectionRefused>;
    /// Collections that were renamed on the target instead of dropped. Never blocks on the source or the target.
    fn set_aside(&self) -> Vec<SetAside>;

    /// Starts comparing source and target, and with `repair` mends what differs. Returns at once.
    ///
    /// # Errors
    /// [`VerifyRefused`] when a comparison is running already, or the task cannot have one now.
    fn verify(&self, request: VerifyRequest) -> Result<(), VerifyRefused>;

    /// The running comparison, or the last one.
    fn verification(&self) -> Option<VerifyView>;

    /// Cancels a running comparison.
    fn cancel_verification(&self);

    /// Stops the task. Returns once nothing is in flight and its threads are joined, at the latest at `deadline`.
    fn stop(&self, deadline: Instant);
}
