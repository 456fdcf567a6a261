/*!
Tasks: what they are asked to do, who owns them, and the seam to what runs them.
*/

pub mod definition;
pub mod engine;
mod follow;
pub mod manager;
pub mod mapping;
pub mod position;
pub mod runner;
mod same_server;
pub mod scope;
pub mod spec;
pub mod verify;
