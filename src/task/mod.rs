/*!
Tasks: what they are asked to do, who owns them, and the seam to what runs them.
*/

pub mod definition;
pub mod detail;
pub mod engine;
pub(crate) mod folder;
mod follow;
pub mod history;
pub mod manager;
pub mod mapping;
pub mod position;
pub mod runner;
pub(crate) mod same_server;
pub mod scope;
pub mod spec;
pub mod verify;
