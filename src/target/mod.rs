/*!
Writing to the target with ordinary calls (`api`): any Milvus can be one, and it stays readable and writable.
*/

mod backoff;
pub mod expression;
mod patience;
mod pool;
mod verdict;
mod writer;

pub use backoff::Backoff;
pub use patience::Patience;
pub use pool::{Outcome, Pool, PoolEvent, WORKERS};
pub use verdict::{Verdict, verdict};
pub use writer::{WriteError, Writer};
