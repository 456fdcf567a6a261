/*!
The gRPC client of Milvus, its protocol types, and the one place that decides what an error of Milvus means. Nothing
here knows what replication is, and `grpcio` is used in this folder only.
*/

pub(crate) mod announcement;
mod backoff;
pub mod capabilities;
mod change_method;
mod client;
mod connect;
mod consequences;
mod data_type;
mod describe_server;
mod endpoint;
mod error;
mod error_codes;
mod error_policy;
mod expected_server;
#[cfg(test)]
pub(crate) mod fake;
mod function_type;
mod known_server;
mod marked;
mod methods;
mod retry;
mod retry_budget;
mod row_witness;
mod serialized_calls;
mod server_version;
mod settling;
mod source_time;
mod status;
#[cfg(test)]
pub(crate) mod testing;
mod wait;
pub(crate) mod wire;

pub mod catalog;
pub mod expression;
pub mod field_data;
pub mod rows;
pub(crate) mod same_server;
pub(crate) mod same_server_probe;
mod version;
pub mod wal;

pub use backoff::Backoff;
pub use capabilities::Capabilities;
pub use client::together::BatchedAnswer;
pub use client::{CallContext, Client, Observer};
pub use connect::{ConnectOptions, TlsOptions};
pub use consequences::ServerSide;
pub use data_type::DataType;
#[cfg(test)]
pub use error::RetryAdvice;
pub use error::{Error, ErrorKind};
pub use error_policy::{RetryPolicy, remedy, retry_policy};
pub use function_type::FunctionType;
pub use known_server::{KnownServer, ServerDescription};
pub use marked::MarkedClient;
pub use retry::{RetryEnd, retry};
pub use retry_budget::RetryBudget;
pub use row_witness::WitnessRow;
pub use server_version::ServerVersion;
pub use settling::RowVisibility;
pub use source_time::{ClockSkew, SourceTime};
pub use wait::Cancel;

/// Generated from `proto/`.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::unwrap_used)]
pub mod pb {
    include!(concat!(env!("OUT_DIR"), "/pb/mod.rs"));
}
