/*!
The HTTP API: `POST /cdc` with everything a user can ask, and `GET /healthz`.

`http` brings requests in and answers out, `service` turns one into the other, `decode` and `create` judge what a client
sent, `answer` decides what is shown.
*/

mod answer;
mod create;
mod decode;
mod error;
mod guard;
pub mod http;
mod maintenance;
mod metrics;
mod ready;
mod service;
mod verify;

pub use self::service::Api;
