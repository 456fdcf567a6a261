/*!
The HTTP API: `POST /cdc` with every request of a user, and `GET` for health, metrics and the status page.

`http` reads requests and writes answers, `service` turns one into the other, `decode` and `create` validate a request,
`answer` and `details` choose what is shown.
*/

mod answer;
mod check;
mod collection;
mod create;
mod decision;
mod decode;
mod details;
mod drops;
mod error;
mod failback;
mod failover;
mod guard;
pub mod http;
mod maintenance;
mod metrics;
mod ready;
mod refused_rows;
mod role;
mod service;
mod switchover;
mod update;
mod verify;
mod webui;

pub(crate) use self::check::{as_json, task_of};
pub use self::service::Api;
