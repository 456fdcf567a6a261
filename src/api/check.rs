/*!
The `check` request: what a `create` with the same data would meet.
*/

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::create::{CreateParams, Rules, check};
use super::decode::{Object, Problems};
use super::error::ApiError;
use crate::check::{DEFAULT_PAUSE, Level, Report};
use crate::config::Config;
use crate::task::spec::{TaskId, TaskSpec};

/// The longest pause that can be asked for: a year.
const MAX_PAUSE_HOURS: i64 = 24 * 366;

/// How long a pause may last: `pause_hours`, or a day.
///
/// # Errors
/// The outer one when it is no number, the inner one when it is none that makes sense.
pub(super) fn pause_of(data: Option<&Map<String, Value>>) -> Result<Result<Duration, ApiError>, String> {
    let mut problems = Problems::default();
    let hours = Object::root(data).integer("pause_hours", &mut problems);
    problems.or(match hours {
        0 => Ok(DEFAULT_PAUSE),
        1..=MAX_PAUSE_HOURS => Ok(Duration::from_secs(3600 * hours as u64)),
        _ => Err(ApiError::client(format!("pause_hours must be from 1 to {MAX_PAUSE_HOURS}"))),
    })
}

/// The answer's `data`.
pub(super) fn answer(report: &Report) -> Map<String, Value> {
    let fields = [("ok", json!(report.level() < Level::Problem)), ("findings", json!(report.findings()))];
    fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// The same for the command line.
pub fn as_json(report: &Report) -> Value {
    Value::Object(answer(report))
}

/// What a `create` with this `request_data` asks for, for those who look at it without a server.
///
/// # Errors
/// What the server would answer.
pub fn task_of(data: Option<&Map<String, Value>>, config: &Config) -> Result<(Option<TaskId>, TaskSpec), String> {
    let params = CreateParams::decode(data)?;
    check(params, &Rules::of(config), config.max_name_length).map_err(|error| error.message)
}
