/*!
Encoded messages of Milvus's logs, and what the decoders must find in them.

`small_msgstream` and `small_wal` are a message of each kind, written here byte by byte (`wire`), `small_queue` messages
that a server has written: every clone tests the decoders with them. `msgstream` and `wal` are the reference vectors,
which Milvus's own libraries made, with every type and every form of column. They are no part of the repository but lie
beside the checkout, in `../shared/vectors` or where MILVUS_CDC_VECTORS says. So the tests that need them are ignored
until they are asked for: `scripts/test` runs them where the vectors are, and fails in CI where they are not. (What
whole logs of servers end in: `recordings`.)
*/

mod columns;
mod msgstream;
mod small_msgstream;
mod small_queue;
mod small_wal;
mod wal;
mod wire;

use std::path::{Path, PathBuf};

/// A folder of the reference vectors.
fn reference(kind: &str) -> PathBuf {
    let named = std::env::var_os("MILVUS_CDC_VECTORS").map(PathBuf::from);
    let all = named.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/vectors"));
    let folder = all.join(kind);
    assert!(folder.is_dir(), "{}: the vectors are not there; MILVUS_CDC_VECTORS names their folder", folder.display());
    folder
}
