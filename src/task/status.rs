//! The status of a task: its phase, lag and positions, and its last event.

use std::collections::BTreeMap;

use super::detail::CollectionStage;
use super::failback::LostWrites;
use super::failover::FailoverReport;
use super::role::Epoch;
use crate::domain::TaskId;

/// What a task is doing, as `phase` of the API shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Opening connections and the source's log.
    Connecting,
    /// Copying rows that the log no longer holds.
    Copying,
    /// Applying a backlog: the log is being read, but not at its end yet.
    CatchingUp,
    /// At the end of the log.
    Following,
    /// A call failed and is being retried; the reason says which.
    Retrying,
    /// Paused by a user or by `disable_auto_start`.
    Paused,
    /// Stopped by an error that needs a human; the reason says what to do.
    Stopped,
}

impl Phase {
    /// All phases.
    pub const ALL: [Phase; 7] = [
        Phase::Connecting,
        Phase::Copying,
        Phase::CatchingUp,
        Phase::Following,
        Phase::Retrying,
        Phase::Paused,
        Phase::Stopped,
    ];

    /// The phase's name in the API.
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

/// The log that a task reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceLog {
    /// Name of the kind, as in `sourceConfig.log`.
    pub kind: &'static str,
    /// Why this kind was chosen, for a person to read.
    pub why: String,
}

/// How many of a task's collections are in which stage.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CollectionCounts {
    /// Their rows follow the source's.
    pub following: usize,
    /// They are about to join, or cannot be read or copied yet.
    pub waiting: usize,
    /// Their rows are being copied.
    pub copying: usize,
    /// They stand still until something about them changes.
    pub held: usize,
    /// They stand still until a user resumes them.
    pub paused: usize,
}

impl CollectionCounts {
    /// The counts with the names that the API has for the stages.
    pub fn named(self) -> [(&'static str, usize); 5] {
        [
            (CollectionStage::Following.name(), self.following),
            (CollectionStage::Waiting.name(), self.waiting),
            (CollectionStage::Copying.name(), self.copying),
            (CollectionStage::Held.name(), self.held),
            (CollectionStage::Paused.name(), self.paused),
        ]
    }
}

/// A task's status at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskStatus {
    /// What the task is doing.
    pub phase: Phase,
    /// Lag of the target behind the source in milliseconds; `None` until it is known. What is held counts since it is.
    pub lag_ms: Option<u64>,
    /// What the task would be doing without what is held.
    pub followed: Phase,
    /// `None` while the task is not running.
    pub collections: Option<CollectionCounts>,
    /// What was not replicated, counted per reason.
    pub skipped: BTreeMap<String, u64>,
    /// Why the task retries, waits or has stopped, for a person to read.
    pub reason: Option<String>,
    /// The log that the task reads; `None` until it is open, and while the task is not running.
    pub source_log: Option<SourceLog>,
}

/// The acknowledged position on one physical channel of the source's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelPosition {
    /// Name of the physical channel (topic).
    pub channel: String,
    /// Message id in the bytes that Milvus uses for this log: 8 bytes little-endian for RocksMQ and Kafka, protobuf for
    /// Pulsar.
    pub message_id: Vec<u8>,
    /// The target has acknowledged everything on the channel up to this hybrid timestamp.
    pub time_tick: u64,
}

/// An event that a task reports to the manager.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TaskEvent {
    /// The task has met an error that retrying cannot resolve, and has ended.
    Stopped {
        /// Id of the task.
        id: TaskId,
        /// What happened and what to do about it.
        reason: String,
    },
    /// The log of a source that is given up was read for the last time.
    Drained {
        /// Id of the task.
        id: TaskId,
        /// Of the role that has ordered it.
        epoch: Epoch,
        /// What it came to.
        report: Box<FailoverReport>,
    },
    /// A step of a failback has ended.
    FailbackStep {
        /// Id of the task.
        id: TaskId,
        /// Of the role that has ordered it.
        epoch: Epoch,
        /// What it came to; it is on disk.
        writes: Box<LostWrites>,
    },
}
