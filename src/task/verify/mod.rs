/*!
Comparing source and target of a running task, collection by collection, and repairing what differs.

A comparison changes nothing and has connections and a thread of its own. While writes go on, the target is always a little behind: a
difference counts only if it is still there once the task has passed the moment of the look, and the row at the source is the same as then
(`recheck`). A repair hands the collections that differ to the task's own thread, which compares and mends them as it copies, so
that nothing can race with the live stream; then it is compared again.
*/

mod collection;
mod lookup;
mod recheck;
mod report;
mod worker;

pub use self::report::{
    CatalogDifference, CollectionReport, CountVerdict, Counts, Depth, Outcome, Report, RowDifference, RowKind,
    VerifyProgress, VerifyRequest, VerifyState, VerifyView,
};
pub(crate) use self::worker::{Verification, VerifySetup};

/// A comparison that was not begun.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyRefused {
    /// One is under way.
    #[error("a comparison of this task is running: wait for its end, or cancel it")]
    Running,
    /// The task does not run.
    #[error("the task is not running, and what it has not carried over yet would count as different: resume it first")]
    NotRunning,
    /// A connection cannot be made: a file of certificates is missing, for example.
    #[error("{0}")]
    Connection(String),
    /// The system gives no thread.
    #[error("cannot start a thread: {0}")]
    Thread(String),
}
