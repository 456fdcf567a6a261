/*!
The scan engine: the rows of one collection in the order of their keys, from a server or from a file of ours, and the
differences between two such streams. It knows nothing of tasks.

- [`Pages`] reads a server page by page, whatever order the server answers in; [`ReadAhead`] does so in a thread of its own.
- [`digest`](fn@digest) makes 64 bits of a row that do not depend on how the server wrote it down.
- [`StateReader`] and [`StateWriter`] keep keys and digests in a file.
- [`Merge`] walks over two streams side by side and tells what only one of them has, and what differs.
- [`crowded`] finds keys that a server holds more than once.

Memory is bounded by the pages that are under way, whatever the number of rows.
*/

mod ahead;
mod column;
mod digest;
mod doubles;
mod key;
mod merge;
mod pages;
mod ranges;
mod server;
mod state;

pub use ahead::ReadAhead;
pub use column::{RowError, pick};
pub use digest::digest;
pub use doubles::crowded;
pub use key::{Key, above, any_of, between};
pub use merge::{Entry, Left, Merge, Nothing, Overlay, Right, Step};
pub use pages::{Page, PageError, Pages};
pub use server::Target;
pub use state::{Mark, Section, SectionReader, StateError, StateReader, StateWriter};

/// What stands for the contents of a row. Two rows with one digest are taken for equal: that two different rows have one
/// happens once in 10^19 pairs.
pub type Digest = u64;

/// A stream that could not be read on. Trying again goes on where it stopped.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// From a server.
    #[error(transparent)]
    Page(#[from] PageError),
    /// From a file of ours.
    #[error(transparent)]
    State(#[from] StateError),
}
