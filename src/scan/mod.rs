/*!
The scan engine: reads the rows of a collection in the order of their keys, from a server or from a digest file, and
finds the differences between two such streams. It knows nothing about tasks.

- [`pages::Pages`] reads a server page by page, whatever order the server answers in; [`ReadAhead`] does so in its own
  thread.
- [`digest`](fn@digest) computes 64 bits from a row, independent of how the server serialized it.
- [`DigestFileReader`] and [`DigestFileWriter`] keep keys and digests in a file.
- [`Merge`] walks over two streams side by side and reports added, changed and removed rows.
- [`ranges_with_duplicates`] finds keys that a server holds more than once.

Memory is bounded by the pages in flight, whatever the number of rows.
*/

mod column;
mod digest;
mod digest_file;
mod duplicates;
mod error;
mod key;
mod merge;
mod pages;
mod ranges;
mod read_ahead;
mod row_reader;
mod server;
mod value_kind;

pub use column::{RowError, pick};
pub use digest::{Digest, digest};
pub use digest_file::{DigestFileMark, DigestFileReader, DigestFileWriter};
pub use duplicates::ranges_with_duplicates;
pub use error::{DigestFileError, PageError, ScanError};
pub use key::{Key, KeyRange, any_of};
pub use merge::{EmptyStream, Merge, MergeStep, Overlay, RowStream};
pub use read_ahead::ReadAhead;
pub use server::{Projection, ReadSpec, RowDetail, WholeRead};
