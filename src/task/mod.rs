/*!
What a task is: its definition, its status and details, and its history. Data only; nothing here runs.
*/

pub mod collection_request;
pub mod definition;
pub mod detail;
pub mod drops;
pub mod failback;
pub mod failover;
pub mod history;
pub mod mapping;
pub mod noted_ends;
pub mod paused;
pub mod position;
pub mod refused_rows;
pub mod reverse;
pub mod role;
pub mod scope;
pub mod selection;
pub mod spec;
pub mod status;
pub mod switchover;
