/*!
The integration tests: one program, because each one links RocksDB and gRPC. A file per subject.

They share a process and run side by side: what is one for the whole process (the level of the log, the registry of
metrics) no test may rely on; a test that needs a process of its own, with its signals and its environment, starts the
binary (`binary`, `cli`).
*/

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that meets an error should end there, and may show what it counts"
)]

mod api_access;
mod api_contract;
mod api_details;
mod binary;
mod cli;
mod failover;
mod http_robustness;
mod openapi;
mod recordings;
mod support;
mod switchover;
mod task_manager;
mod tidy;
mod transcripts;
mod vectors;
