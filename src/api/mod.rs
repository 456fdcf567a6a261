/*!
The HTTP API: `POST /cdc` with everything a user can ask, and `GET /healthz`.
*/

pub mod http;
