/*!
Compares source and target of a running task, collection by collection, and repairs differences.

A comparison changes nothing and has its own connections and thread. While the source is written, the target lags
behind. So a difference counts only if it persists after the task has passed the comparison point while the row at the
source is unchanged (`recheck`). A repair hands the differing collections to the task's own thread, which compares and
repairs them as a backfill, so that nothing races with the live stream; then they are compared again.
*/

mod collection;
mod lookup;
mod recheck;
mod report;
mod worker;

pub(crate) use self::lookup::Lookup;
pub(crate) use self::recheck::RowDigests;
pub use self::report::{
    CatalogDifference, CollectionReport, CountVerdict, Counts, Depth, RowDifference, RowKind, VerifyOutcome,
    VerifyProgress, VerifyRefused, VerifyReport, VerifyRequest, VerifyState, VerifyView,
};
pub(crate) use self::worker::{Verification, VerifySetup};
