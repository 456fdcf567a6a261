/*!
The path of a row between the log and the target: restores the order of records, decides which calls may be in flight at
once, and tracks how far everything has been acknowledged. Pure logic without threads or IO, so that property tests can
crash it at any point.
*/

mod ack_tracker;
mod collection;
mod decision;
mod early;
mod early_inserts;
mod echoes;
mod expiry;
mod keyset;
mod lane;
mod merged_rows;
mod op;
mod reorder_buffer;
mod scheduler;
#[cfg(test)]
pub(crate) mod testing;
mod truncation;

pub use ack_tracker::{AckTracker, AckedFrontier, AppliedMark, BatchSeq};
pub use collection::{Replacement, WritableCollection};
pub use decision::{Call, CallId, CompletedOp, Decision, DispatchRules, Work};
pub use op::{Op, OpBody};
pub use reorder_buffer::{RecordOrigin, ReorderBuffer, TickPlace};
pub use scheduler::Scheduler;
