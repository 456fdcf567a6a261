/*!
Decodes request data as the Go server's decoder does, because clients were written against it.

Keys match in any case, unknown keys are ignored, `null` counts as absent, and a fraction given for an integer is
truncated. Everything else must have the right type; all problems of a request are collected and reported together.
*/

use serde_json::{Map, Value};

/// Keys whose values never appear in a message, not even in one about their type.
const SECRET_KEYS: [&str; 2] = ["password", "token"];

/// The problems found in a request so far.
#[derive(Debug, Default)]
pub(super) struct Problems(Vec<String>);

/// A JSON object, or nothing, and its path in the request.
pub(super) struct Object<'a> {
    path: String,
    fields: Option<&'a Map<String, Value>>,
}

impl Problems {
    /// The result, or all problems as one text.
    pub(super) fn or<T>(self, result: T) -> Result<T, String> {
        if self.0.is_empty() {
            return Ok(result);
        }
        let mut lines = self.0;
        lines.sort();
        let lines: Vec<String> = lines.iter().map(|line| format!("* {line}")).collect();
        Err(format!("{} error(s) decoding:\n\n{}", lines.len(), lines.join("\n")))
    }
}

impl<'a> Object<'a> {
    /// The outermost object.
    pub(super) fn root(fields: Option<&'a Map<String, Value>>) -> Self {
        Object { path: String::new(), fields }
    }

    /// The value of a key: an exact match first, then the first that differs only in case. `null` counts as absent.
    pub(super) fn get(&self, key: &str) -> Option<&'a Value> {
        let fields = self.fields?;
        let found = fields.get(key).or_else(|| {
            fields.iter().find(|(candidate, _)| candidate.eq_ignore_ascii_case(key)).map(|(_, value)| value)
        });
        found.filter(|value| !value.is_null())
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    pub(super) fn text(&self, key: &str, problems: &mut Problems) -> String {
        self.get(key).map(|value| text(&self.path_of(key), value, problems)).unwrap_or_default()
    }

    pub(super) fn integer(&self, key: &str, problems: &mut Problems) -> i64 {
        match self.get(key) {
            None => 0,
            // Saturates outside the range of an i64.
            Some(Value::Number(number)) => {
                number.as_i64().unwrap_or_else(|| number.as_f64().unwrap_or_default() as i64)
            }
            Some(other) => {
                problems.wrong_type(&self.path_of(key), "int", other);
                0
            }
        }
    }

    pub(super) fn flag(&self, key: &str, problems: &mut Problems) -> bool {
        match self.get(key) {
            None => false,
            Some(Value::Bool(flag)) => *flag,
            Some(other) => {
                problems.wrong_type(&self.path_of(key), "bool", other);
                false
            }
        }
    }

    pub(super) fn object(&self, key: &str, problems: &mut Problems) -> Object<'a> {
        object(self.path_of(key), self.get(key), problems)
    }

    /// The objects of a list; `None` when the list is absent.
    pub(super) fn objects(&self, key: &str, problems: &mut Problems) -> Option<Vec<Object<'a>>> {
        self.get(key).map(|value| objects(&self.path_of(key), value, problems))
    }

    /// A map whose keys are the client's own; `None` when it is absent.
    pub(super) fn map<T>(
        &self,
        key: &str,
        problems: &mut Problems,
        mut read: impl FnMut(&str, &'a Value, &mut Problems) -> T,
    ) -> Option<std::collections::BTreeMap<String, T>> {
        let path = self.path_of(key);
        match self.get(key)? {
            Value::Object(fields) => {
                let entry = |(name, value): (&String, &'a Value)| {
                    (name.clone(), read(&format!("{path}[{name}]"), value, problems))
                };
                Some(fields.iter().map(entry).collect())
            }
            other => {
                problems.not_a_map(&path, other);
                None
            }
        }
    }
}

/// One string.
pub(super) fn text(path: &str, value: &Value, problems: &mut Problems) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => {
            problems.wrong_type(path, "string", other);
            String::new()
        }
    }
}

/// The objects of a list.
pub(super) fn objects<'a>(path: &str, value: &'a Value, problems: &mut Problems) -> Vec<Object<'a>> {
    match value {
        Value::Null => Vec::new(),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .map(|(index, item)| object(format!("{path}[{index}]"), Some(item), problems))
            .collect(),
        other => {
            problems.0.push(format!("'{path}': source data must be an array or slice, got {}", kind(other)));
            Vec::new()
        }
    }
}

fn object<'a>(path: String, value: Option<&'a Value>, problems: &mut Problems) -> Object<'a> {
    let fields = match value {
        None | Some(Value::Null) => None,
        Some(Value::Object(fields)) => Some(fields),
        Some(other) => {
            problems.not_a_map(&path, other);
            None
        }
    };
    Object { path, fields }
}

impl Problems {
    fn wrong_type(&mut self, path: &str, expected: &str, value: &Value) {
        let type_name = match value {
            Value::Array(_) => "[]interface {}",
            Value::Object(_) => "map[string]interface {}",
            scalar => kind(scalar),
        };
        let secret = path.rsplit('.').next().is_some_and(|key| SECRET_KEYS.contains(&key));
        let shown = if secret { "(hidden)".to_owned() } else { show(value) };
        self.0.push(format!(
            "'{path}' expected type '{expected}', got unconvertible type '{type_name}', value: '{shown}'"
        ));
    }

    fn not_a_map(&mut self, path: &str, value: &Value) {
        self.0.push(format!("'{path}' expected a map, got '{}'", kind(value)));
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "invalid",
        Value::Bool(_) => "bool",
        Value::Number(_) => "float64",
        Value::String(_) => "string",
        Value::Array(_) => "slice",
        Value::Object(_) => "map",
    }
}

/// A scalar in Go's notation. The contents of lists and objects may be secret and are left out.
fn show(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.as_f64().map(go_float).unwrap_or_default(),
        Value::Array(_) => "[...]".to_owned(),
        Value::Object(_) => "map[...]".to_owned(),
        other => other.to_string(),
    }
}

/// A number as Go's `%v` prints it: from a million on with an exponent of at least two digits.
pub(super) fn go_float(number: f64) -> String {
    let scientific = format!("{number:e}");
    let Some((mantissa, exponent)) = scientific.split_once('e') else {
        return scientific;
    };
    match exponent.parse::<i32>() {
        Ok(exponent) if number != 0.0 && !(-4..6).contains(&exponent) => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{mantissa}e{sign}{:02}", exponent.abs())
        }
        _ => number.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_in_any_case_and_nulls() {
        let value = json!({"Task_ID": "a", "PORT": 19530.7, "flag": null, "unknown": [1]});
        let object = Object::root(value.as_object());
        let mut problems = Problems::default();
        assert_eq!(object.text("task_id", &mut problems), "a");
        assert_eq!(object.integer("port", &mut problems), 19530);
        assert!(!object.flag("flag", &mut problems));
        assert_eq!(object.text("missing", &mut problems), "");
        assert!(object.objects("none", &mut problems).is_none());
        assert_eq!(problems.or(()), Ok(()));
        let both = json!({"HOST": "1", "host": "2"});
        assert_eq!(Object::root(both.as_object()).text("host", &mut Problems::default()), "2");
    }

    #[test]
    fn all_problems_in_order() {
        let value = json!({"s": 5, "i": "x", "b": "true", "o": [], "l": {}, "m": 1.5, "n": {"password": 12345}});
        let object = Object::root(value.as_object());
        let mut problems = Problems::default();
        object.text("s", &mut problems);
        object.integer("i", &mut problems);
        object.flag("b", &mut problems);
        object.object("o", &mut problems);
        object.objects("l", &mut problems);
        object.map("m", &mut problems, |_, _, _| ());
        object.object("n", &mut problems).text("password", &mut problems);
        let text = "7 error(s) decoding:\n\n\
                    * 'b' expected type 'bool', got unconvertible type 'string', value: 'true'\n\
                    * 'i' expected type 'int', got unconvertible type 'string', value: 'x'\n\
                    * 'l': source data must be an array or slice, got map\n\
                    * 'm' expected a map, got 'float64'\n\
                    * 'n.password' expected type 'string', got unconvertible type 'float64', value: '(hidden)'\n\
                    * 'o' expected a map, got 'slice'\n\
                    * 's' expected type 'string', got unconvertible type 'float64', value: '5'";
        assert_eq!(problems.or(()), Err(text.to_owned()));
    }

    #[test]
    fn paths_of_nested_things() {
        let value = json!({"db": {"d": [{"name": 1}], "e": 7}});
        let mut problems = Problems::default();
        Object::root(value.as_object()).map("db", &mut problems, |path, value, problems| {
            for object in objects(path, value, problems) {
                object.text("name", problems);
            }
        });
        let text = problems.or(()).unwrap_err();
        assert!(text.contains("* 'db[d][0].name' expected type 'string'"), "{text}");
        assert!(text.contains("* 'db[e]': source data must be an array or slice, got float64"), "{text}");
    }

    #[test]
    fn numbers_as_go_prints_them() {
        let numbers = [
            (5.0, "5"),
            (0.0, "0"),
            (1.5, "1.5"),
            (123_456.5, "123456.5"),
            (1e6, "1e+06"),
            (-1_234_567.0, "-1.234567e+06"),
        ];
        for (number, text) in numbers {
            assert_eq!(go_float(number), text);
        }
        assert_eq!((go_float(1e-5), go_float(0.0001)), ("1e-05".into(), "0.0001".into()));
    }

    proptest! {
        #[test]
        fn integers_are_truncated(number in -1e15f64..1e15) {
            let value = json!({ "N": number });
            let read = Object::root(value.as_object()).integer("n", &mut Problems::default());
            prop_assert_eq!(read, number.trunc() as i64);
        }
    }
}
