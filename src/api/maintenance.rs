/*!
The `maintenance` request. Its problems are reported in `State` with code 200, as in the Go server.
*/

use serde_json::{Map, Value};

use super::decode::{Object, Problems, go_float};
use crate::observe::logging;

/// The Go server can log samples of the rows that it reads; this server never logs rows, so there is nothing to force
/// or reset. The text is the answer of a Go server without that logger.
const NO_ROW_LOGGER: &str = "logger is nil";

/// The fields of the request.
pub(super) struct MaintenanceParams {
    operation: String,
    params: Map<String, Value>,
}

impl MaintenanceParams {
    pub(super) fn decode(data: Option<&Map<String, Value>>) -> Result<Self, String> {
        let root = Object::root(data);
        let mut problems = Problems::default();
        let operation = root.text("operation", &mut problems);
        let params = root.map("params", &mut problems, |_, value, _| value.clone()).unwrap_or_default();
        problems.or(MaintenanceParams { operation, params: params.into_iter().collect() })
    }

    /// Performs the operation and returns the text of `State`.
    pub(super) fn perform(&self) -> String {
        match self.operation.as_str() {
            "set_log_level" => self.set_log_level(),
            "set_force_log_msg" => self.set_force_log_msg(),
            "reset_log_msg" => self.reset_log_msg(),
            other => format!("unsupported operation: {other}"),
        }
    }

    fn set_log_level(&self) -> String {
        let Some(name) = self.param("log_level") else {
            return "log_level is required".to_owned();
        };
        match logging::parse_level(&name) {
            None => format!("parse log level failed: unrecognized level: {name:?}"),
            Some(level) => {
                logging::set_level(level);
                log::info!("log level set to {name:?}");
                format!("set log level to {name}")
            }
        }
    }

    fn set_force_log_msg(&self) -> String {
        const BOOLS: [&str; 12] = ["1", "t", "T", "TRUE", "true", "True", "0", "f", "F", "FALSE", "false", "False"];
        match self.param("force") {
            None => "force is required".to_owned(),
            Some(text) if BOOLS.contains(&text.as_str()) => NO_ROW_LOGGER.to_owned(),
            Some(text) => format!("parse force failed: {text:?} is neither true nor false"),
        }
    }

    fn reset_log_msg(&self) -> String {
        for name in ["count", "duration"] {
            match self.param(name) {
                None => return format!("{name} is required"),
                Some(text) if text.parse::<i64>().is_err() => {
                    return format!("parse {name} failed: {text:?} is no whole number");
                }
                Some(_) => {}
            }
        }
        NO_ROW_LOGGER.to_owned()
    }

    /// A parameter as text; a number in Go's notation.
    fn param(&self, name: &str) -> Option<String> {
        match self.params.get(name)? {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => number.as_f64().map(go_float),
            other => Some(other.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn state(request: &Value) -> String {
        MaintenanceParams::decode(request.as_object()).unwrap().perform()
    }

    #[test]
    fn operations() {
        let level = |params: Value| state(&json!({"Operation": "set_log_level", "params": params}));
        assert_eq!(level(json!({"log_level": "INFO"})), "set log level to INFO");
        assert_eq!(level(json!({})), "log_level is required");
        assert_eq!(level(json!({"log_level": "loud"})), "parse log level failed: unrecognized level: \"loud\"");
        assert_eq!(state(&json!({"operation": "x"})), "unsupported operation: x");
        assert_eq!(state(&json!({"operation": "set_force_log_msg"})), "force is required");
        assert_eq!(state(&json!({"operation": "set_force_log_msg", "params": {"force": true}})), "logger is nil");
        let reset = |count: Value| state(&json!({"operation": "reset_log_msg", "params": {"count": count}}));
        assert_eq!(reset(json!(5)), "duration is required");
        assert!(reset(json!(1.5)).starts_with("parse count failed"));
    }
}
