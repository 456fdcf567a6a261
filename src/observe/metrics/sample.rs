//! Samples of the tasks for a scrape: plain values, so that metrics do not depend on the types of tasks.

use std::time::Duration;

/// A task at the moment of a scrape.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskSample {
    /// Id of the task.
    pub id: String,
    /// Whether the task runs; else it is paused.
    pub running: bool,
    /// Name of its phase.
    pub phase: &'static str,
    /// Name of the part that it plays for its two sites.
    pub role: &'static str,
    /// How often that has changed.
    pub epoch: u64,
    /// Lag behind the source.
    pub lag: Option<Duration>,
    /// Counts of what was not replicated, per reason.
    pub skipped: Vec<(String, u64)>,
    /// Channels, and the source time in milliseconds up to which the target has acknowledged everything on them.
    pub channels: Vec<(String, u64)>,
    /// Figures of a running task.
    pub detail: DetailSample,
}

/// Figures of running tasks only.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DetailSample {
    /// Bytes of rows in memory that have not been acknowledged by the target.
    pub queue_bytes: usize,
    /// Bytes in memory at which reading pauses.
    pub queue_limit: usize,
    /// Time since the last checkpoint was written; `None` before the first one.
    pub checkpoint_age: Option<Duration>,
    /// Rows that the target refuses for good and that are set aside.
    pub refused_rows: usize,
    /// Milliseconds by which the source's clock is ahead of this host's; `None` if unknown.
    pub clock_skew_ms: Option<i64>,
    /// How many collections are in which state.
    pub collections: Vec<(&'static str, usize)>,
    /// Backfills, running or waiting.
    pub copies: Vec<CopySample>,
    /// The servers on both sides, as far as they have told which they are.
    pub servers: Vec<ServerSample>,
}

/// Which server is on one side of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerSample {
    /// `source` or `target`.
    pub side: &'static str,
    /// As the server reports it; empty if it does not.
    pub version: String,
    /// Its commit and the time of its build; empty if it does not tell.
    pub build: String,
}

/// The backfill of one collection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopySample {
    /// Database and name at the source.
    pub collection: String,
    /// Rows written to the target.
    pub rows: u64,
    /// Rows at the source when the backfill started; `None` where the source does not report a count.
    pub total: Option<u64>,
}
