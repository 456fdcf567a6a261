/*!
The `create` request: what a client sends (`params`) and the task that it asks for, if it is allowed (`check`).
*/

mod check;
mod params;

pub(super) use self::check::{Rules, check};
pub(super) use self::params::CreateParams;
