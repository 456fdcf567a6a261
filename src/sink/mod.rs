/*!
Writes to the target with ordinary calls. Any Milvus can be a target, and it stays readable and writable for others.
*/

mod pacing;
mod pool;
mod refused_rows;
mod writer;

pub use pool::{CallAttempt, CallFailure, CallOutcome, Pool, PoolEvent, PostponedCall, TargetReach, WORKERS};
pub use refused_rows::RefusedRowsFile;
pub use writer::{RefusalOutlet, WriteError, Writer};
