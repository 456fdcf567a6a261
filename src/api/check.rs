/*!
The `check` request: whether a `create` with the same data would succeed, and the task would work.
*/

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::create::{CreateParams, NewTask, RequestRules, check};
use super::decode::{Object, Problems};
use super::error::{ApiError, RequestError};
use crate::config::Config;
use crate::preflight::{CheckExtent, DEFAULT_PAUSE, Level, PreflightReport};

/// The longest pause that a request may name: a year.
const MAX_PAUSE_HOURS: i64 = 24 * 366;

/// The longest pause that the log must bridge: `pause_hours`, or a day.
///
/// # Errors
/// [`RequestError`] when it is no number, or outside the range.
pub(super) fn pause_of(data: Option<&Map<String, Value>>) -> Result<Duration, RequestError> {
    let mut problems = Problems::default();
    let hours = Object::root(data).integer("pause_hours", &mut problems);
    match problems.or(hours).map_err(RequestError::Decode)? {
        0 => Ok(DEFAULT_PAUSE),
        hours @ 1..=MAX_PAUSE_HOURS => Ok(Duration::from_secs(3600 * hours as u64)),
        _ => Err(ApiError::client(format!("pause_hours must be from 1 to {MAX_PAUSE_HOURS}")).into()),
    }
}

/// How far the check goes: with `dr`, to what a switchover, a failover and a failback need.
///
/// # Errors
/// [`RequestError`] when it is neither true nor false.
pub(super) fn extent_of(data: Option<&Map<String, Value>>) -> Result<CheckExtent, RequestError> {
    let mut problems = Problems::default();
    let is_wanted = Object::root(data).flag("dr", &mut problems);
    problems.or(if is_wanted { CheckExtent::Recovery } else { CheckExtent::Task }).map_err(RequestError::Decode)
}

/// The answer's `data`.
pub(super) fn answer(report: &PreflightReport) -> Map<String, Value> {
    let fields = [("ok", json!(report.level() < Level::Problem)), ("findings", json!(report.findings()))];
    fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// The same for the command line.
pub(crate) fn as_json(report: &PreflightReport) -> Value {
    Value::Object(answer(report))
}

/// The task that a `create` with this `request_data` defines; for a check without a server.
///
/// # Errors
/// The error that the server would answer.
pub(crate) fn task_of(data: Option<&Map<String, Value>>, config: &Config) -> Result<NewTask, RequestError> {
    let params = CreateParams::decode(data).map_err(RequestError::Decode)?;
    Ok(check(params, &RequestRules::of(config), config.max_name_length)?)
}
