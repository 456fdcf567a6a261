/*!
One line per event, as text or as JSON.
*/

use std::time::SystemTime;

use log::Record;
use log::kv::{self, Key, Value, VisitSource};
use serde_json::Map;

use super::LogFormat;
use super::time::{Rfc3339, Timestamp};

/// An event, taken out of its record so that it can be told again later.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Event {
    pub(super) level: log::Level,
    module: String,
    message: String,
    /// In the order in which they were given; the task comes first.
    fields: Vec<(String, String)>,
}

impl Event {
    /// The record, said by a thread of this name.
    pub(super) fn new(record: &Record<'_>, thread: Option<&str>) -> Self {
        let module = record.target();
        let mut fields = Fields(Vec::new());
        // Our visitor does not fail.
        let _ = record.key_values().visit(&mut fields);
        let Fields(mut fields) = fields;
        if let Some(task) = thread.and_then(task_of)
            && !fields.iter().any(|(key, _)| key == "task")
        {
            fields.insert(0, ("task".to_owned(), task.to_owned()));
        }
        Event {
            level: record.level(),
            module: module.strip_prefix("milvus_cdc::").unwrap_or(module).to_owned(),
            message: record.args().to_string(),
            fields,
        }
    }

    /// The same with one more field.
    pub(super) fn with(mut self, key: &str, value: impl ToString) -> Self {
        self.fields.push((key.to_owned(), value.to_string()));
        self
    }

    /// The line, without its end.
    pub(super) fn line(&self, time: SystemTime, format: LogFormat) -> String {
        match format {
            LogFormat::Text => self.text(time),
            LogFormat::Json => self.json(time),
        }
    }

    fn text(&self, time: SystemTime) -> String {
        let message = quoted(&self.message);
        let mut line = format!("[{}] [{}] [{}] [{message}]", Timestamp(time), self.level, self.module);
        for (key, value) in &self.fields {
            let is_plain =
                !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"\\[]=".contains(&byte));
            let value = if is_plain { value.clone() } else { quoted(value) };
            line.push_str(&format!(" [{key}={value}]"));
        }
        line
    }

    fn json(&self, time: SystemTime) -> String {
        let fixed = [
            ("time", Rfc3339(time).to_string()),
            ("level", self.level.to_string()),
            ("module", self.module.clone()),
            ("message", self.message.clone()),
        ];
        let fixed = fixed.into_iter().map(|(key, value)| (key.to_owned(), value));
        // What is fixed goes last, so that no field can take its place.
        let all = self.fields.iter().cloned().chain(fixed);
        serde_json::Value::from(all.map(|(key, value)| (key, value.into())).collect::<Map<_, _>>()).to_string()
    }
}

struct Fields(Vec<(String, String)>);

impl<'kvs> VisitSource<'kvs> for Fields {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), kv::Error> {
        self.0.push((key.to_string(), value.to_string()));
        Ok(())
    }
}

/// In quotes, on one line: what others wrote must not be able to look like a line of its own.
fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted.extend(c.escape_default()),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// The task that a thread works for, by its name: `task-<id>`, `log-<id>`, `catalog-<id>`, `copy-<id>`, `stop-<id>` and
/// `apply-<id>-<n>`. So every line of a task carries its id, whoever writes it.
fn task_of(thread: &str) -> Option<&str> {
    if thread == "task-manager" {
        return None;
    }
    let (role, rest) = thread.split_once('-')?;
    match role {
        "task" | "log" | "catalog" | "copy" | "stop" => Some(rest),
        "apply" => rest.rsplit_once('-').map(|(id, _)| id),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use log::Level;

    use super::*;

    fn event(message: &str, thread: Option<&str>) -> Event {
        let fields: &[(&str, &str)] = &[("rows", "5"), ("collection", "a b")];
        let args = format_args!("{message}");
        let record = Record::builder()
            .args(args)
            .level(Level::Warn)
            .target("milvus_cdc::task::manager")
            .key_values(&fields)
            .build();
        Event::new(&record, thread)
    }

    #[test]
    fn a_line_is_one_line() {
        let line = event("a \"b\"\n[x] \\", None).line(UNIX_EPOCH, LogFormat::Text);
        let expected = r#"[1970/01/01 00:00:00.000 +00:00] [WARN] [task::manager] ["a \"b\"\n[x] \\"] [rows=5] [collection="a b"]"#;
        assert_eq!(line, expected);
    }

    #[test]
    fn as_json() {
        let line = event("a\nb", Some("log-one")).with("message", "other").line(UNIX_EPOCH, LogFormat::Json);
        assert_eq!(line.lines().count(), 1);
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        let expected = serde_json::json!({
            "time": "1970-01-01T00:00:00.000Z", "level": "WARN", "module": "task::manager", "message": "a\nb",
            "task": "one", "rows": "5", "collection": "a b",
        });
        assert_eq!(line, expected);
    }

    #[test]
    fn the_task_is_known_by_the_thread() {
        for (thread, task) in [
            ("task-one", Some("one")),
            ("log-one-two", Some("one-two")),
            ("catalog-x", Some("x")),
            ("apply-one-two-3", Some("one-two")),
            ("stop-x", Some("x")),
            ("task-manager", None),
            ("http-5", None),
            ("main", None),
        ] {
            assert_eq!(task_of(thread), task, "{thread}");
        }
        assert!(event("x", Some("apply-one-0")).line(UNIX_EPOCH, LogFormat::Text).contains(" [task=one] [rows=5]"));
    }
}
