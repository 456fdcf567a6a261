/*!
The `create` request: its fields (`params`), and the task that they define if the request is valid
(`check`, `opposite`).
*/

mod check;
mod opposite;
mod params;

pub(crate) use self::check::NewTask;
pub(super) use self::check::{RequestRules, check};
pub(super) use self::opposite::OppositeTask;
pub(super) use self::params::{CreateParams, MilvusParams};
