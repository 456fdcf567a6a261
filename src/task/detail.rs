/*!
Details of a running task beyond its status: for the status page, `get` with `details`, and metrics.
*/

use std::time::Duration;

use super::refused_rows::RefusedRowsAmount;
use crate::milvus::ServerDescription;

/// Where the rows of a collection currently come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowsFrom {
    /// The source's log.
    Log,
    /// A backfill, running or waiting.
    Copy,
    /// Repeated comparisons of all rows: the source's log is not read.
    Scan,
}

/// One replicated collection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CollectionDetail {
    /// Id at the source.
    pub id: i64,
    /// Database and name at the source; `None` until the catalog has described the collection.
    pub source: Option<String>,
    /// Database and name on the target; `None` until the catalog has described the collection.
    pub target: Option<String>,
    /// Current origin of the rows; `None` while it is held before it has joined.
    pub rows_from: Option<RowsFrom>,
    /// Physical channels that carry the collection's rows.
    pub channels: Vec<String>,
    /// Where it is in its life.
    pub stage: CollectionStage,
    /// Why it stands still; `None` unless it is held, paused or set aside.
    pub hold: Option<HoldDetail>,
}

/// Where a collection is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CollectionStage {
    /// Its rows follow the source's.
    Following,
    /// It is about to join, cannot be read or copied yet, or is set aside and read again later.
    Waiting,
    /// Its rows are being copied.
    Copying,
    /// It stands still until something about it changes.
    Held,
    /// It stands still until a user resumes it.
    Paused,
}

impl CollectionStage {
    /// The stage's name in the API.
    pub fn name(self) -> &'static str {
        match self {
            CollectionStage::Following => "following",
            CollectionStage::Waiting => "waiting",
            CollectionStage::Copying => "copying",
            CollectionStage::Held => "held",
            CollectionStage::Paused => "paused",
        }
    }
}

/// Why a collection stands still.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HoldDetail {
    /// What is in the way, and what to do.
    pub why: String,
    /// Since when, in milliseconds since 1970.
    pub since_ms: u64,
}

/// One physical channel of the source's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelDetail {
    /// Name of the channel.
    pub name: String,
    /// Source time up to which the target has acknowledged everything, in milliseconds since 1970.
    pub acknowledged_ms: u64,
    /// The reader is at the end of the channel.
    pub at_end: bool,
    /// Number of the task's collections on the channel.
    pub collections: usize,
}

/// One backfill of a collection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyDetail {
    /// Database and name at the source.
    pub collection: String,
    /// Rows written to the target.
    pub rows: u64,
    /// Rows at the source when the backfill started; `None` where the source does not report a count.
    pub total: Option<u64>,
    /// What the backfill is waiting for.
    pub waiting: Option<String>,
}

/// Which servers a task runs between; `None` until one has told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServersDetail {
    /// The source.
    pub source: Option<ServerDescription>,
    /// The target.
    pub target: Option<ServerDescription>,
}

/// The details of one task at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TaskDetail {
    /// Sorted by name.
    pub channels: Vec<ChannelDetail>,
    /// Sorted by id.
    pub collections: Vec<CollectionDetail>,
    /// Backfills, running or waiting.
    pub copies: Vec<CopyDetail>,
    /// Rows, and deleted keys, that came from the target and were not sent back, since the task was started.
    pub echoes: u64,
    /// Bytes of rows in memory that have not been acknowledged by the target.
    pub queue_bytes: usize,
    /// Bytes at which reading pauses.
    pub queue_limit: usize,
    /// Time since the last checkpoint was written; `None` before the first one.
    pub checkpoint_age: Option<Duration>,
    /// Rows that the target refuses for good.
    pub refused_rows: RefusedRowsAmount,
    /// Milliseconds by which the source's clock is ahead of this host's, below zero when it is behind; `None` until
    /// the source has told its time.
    pub clock_skew_ms: Option<i64>,
    /// Which servers answer.
    pub servers: ServersDetail,
}
