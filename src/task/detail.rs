/*!
What a running task shows beyond its status: for the status page, `get` with `details`, and metrics.
*/

use std::time::Duration;

/// Where the rows of a collection come from at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowsFrom {
    /// The log.
    Log,
    /// A copy, under way or waited for.
    Copy,
    /// Rounds that compare all rows: the source's log is not read.
    Scan,
}

/// One collection that a task follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CollectionDetail {
    /// Its id at the source.
    pub id: i64,
    /// Database and name at the source; `None` until the catalog has been looked at.
    pub source: Option<String>,
    /// Database and name on the target; `None` until the catalog has been looked at.
    pub target: Option<String>,
    /// Where its rows come from.
    pub rows_from: RowsFrom,
    /// The physical channels that they arrive on.
    pub channels: Vec<String>,
}

/// One physical channel of the source's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelDetail {
    /// Its name.
    pub name: String,
    /// Unix time in milliseconds of the source up to which the target has everything.
    pub acknowledged_ms: u64,
    /// The reader has no more at the moment.
    pub at_end: bool,
    /// Collections of the task on it.
    pub collections: usize,
}

/// One copy of a collection's rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyDetail {
    /// Database and name at the source.
    pub collection: String,
    /// Rows that are there.
    pub rows: u64,
    /// Rows that the source had when the copy began; `None` where it does not tell.
    pub total: Option<u64>,
    /// What it waits for.
    pub waiting: Option<String>,
}

/// Everything of one task at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TaskDetail {
    /// In the order of their names.
    pub channels: Vec<ChannelDetail>,
    /// In the order of their ids.
    pub collections: Vec<CollectionDetail>,
    /// Copies under way or waited for.
    pub copies: Vec<CopyDetail>,
    /// Bytes of rows in memory that wait for the target.
    pub queue_bytes: usize,
    /// With so many no more is read.
    pub queue_limit: usize,
    /// Time since the checkpoint was written last; `None` before the first time.
    pub checkpoint_age: Option<Duration>,
}
