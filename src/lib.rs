/*!
milvus-cdc keeps one or more Milvus in step with another: the library behind the binary of the same name.
*/

pub mod api;
pub mod cli;
pub mod config;
pub mod journal;
pub mod observe;
pub mod server;
pub mod signals;
pub mod task;
