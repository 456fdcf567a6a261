/*!
milvus-cdc keeps a second Milvus in step with the first. ARCHITECTURE.md has the picture; data flows
`api → task → source → pipeline → target`, with `scan`, `milvus` and `domain` underneath.
*/

pub mod api;
pub mod catalog;
pub mod cli;
pub mod config;
pub mod domain;
pub mod journal;
pub mod milvus;
pub mod observe;
pub mod pipeline;
pub mod scan;
pub mod server;
pub mod signals;
pub mod source;
pub mod target;
pub mod task;
