/*!
Between the log and the target: putting records into order, deciding which calls may be under way at once, and knowing
how far everything has been acknowledged. Pure logic: no threads, no IO, so that property tests can crash it anywhere.
*/

mod collection;
pub mod columns;
mod keyset;
mod lane;
mod order;
mod progress;
mod scheduler;
#[cfg(test)]
pub(crate) mod testing;
mod truncation;

pub use collection::{CollectionInfo, KeyField};
pub use keyset::KeySet;
pub use lane::{Call, CallId, Done, Rules, Step, Work};
pub use order::{Op, OpBody, Pending};
pub use progress::{Acknowledged, BatchSeq, Mark, Progress};
pub use scheduler::Scheduler;
