/*!
The gRPC client of Milvus and the protocol's own types. Nothing here knows what replication is.

`grpcio` lives in this folder only.
*/

mod client;
mod connect;
mod error;
mod methods;
mod server_version;
mod status;
mod turns;
mod wait;
pub(crate) mod wire;

pub mod catalog;
pub mod rows;
pub mod version;
pub mod wal;

pub use client::{CallContext, Client, Observer};
pub use connect::{Endpoint, Tls};
pub use error::{Error, ErrorKind};
pub use server_version::ServerVersion;
pub use wait::Cancel;

/// Generated from `proto/`.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::unwrap_used)]
pub mod pb {
    include!(concat!(env!("OUT_DIR"), "/pb/mod.rs"));
}
