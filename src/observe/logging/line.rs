/*!
One line per event, as text or as JSON.
*/

use std::time::SystemTime;

use log::Record;
use log::kv::{self, Key, Value, VisitSource};
use serde_json::Map;

use super::format::LogFormat;
use super::time::{MilvusTime, Rfc3339};

/// An event, taken out of its record so that it can be told again later.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LogLine {
    pub(super) level: log::Level,
    module: String,
    message: String,
    /// In the order in which they were given; the task comes first.
    fields: Vec<(String, String)>,
}

impl LogLine {
    /// The record, logged by a thread that works for this task.
    pub(super) fn new(record: &Record<'_>, task: Option<&str>) -> Self {
        let module = record.target();
        let mut fields = LogFields(Vec::new());
        // Our visitor does not fail.
        let _ = record.key_values().visit(&mut fields);
        let LogFields(mut fields) = fields;
        if let Some(task) = task
            && !fields.iter().any(|(key, _)| key == "task")
        {
            fields.insert(0, ("task".to_owned(), task.to_owned()));
        }
        LogLine {
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
        let mut line = format!("[{}] [{}] [{}] [{message}]", MilvusTime(time), self.level, self.module);
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

struct LogFields(Vec<(String, String)>);

impl<'kvs> VisitSource<'kvs> for LogFields {
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

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use log::Level;

    use super::*;

    fn event(message: &str, task: Option<&str>) -> LogLine {
        let fields: &[(&str, &str)] = &[("rows", "5"), ("collection", "a b")];
        let args = format_args!("{message}");
        let record = Record::builder()
            .args(args)
            .level(Level::Warn)
            .target("milvus_cdc::task::manager")
            .key_values(&fields)
            .build();
        LogLine::new(&record, task)
    }

    #[test]
    fn a_line_is_one_line() {
        let line = event("a \"b\"\n[x] \\", None).line(UNIX_EPOCH, LogFormat::Text);
        let expected = concat!(
            r#"[1970/01/01 00:00:00.000 +00:00] [WARN] [task::manager] "#,
            r#"["a \"b\"\n[x] \\"] [rows=5] [collection="a b"]"#
        );
        assert_eq!(line, expected);
    }

    #[test]
    fn as_json() {
        let line = event("a\nb", Some("one")).with("message", "other").line(UNIX_EPOCH, LogFormat::Json);
        assert_eq!(line.lines().count(), 1);
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        let expected = serde_json::json!({
            "time": "1970-01-01T00:00:00.000Z", "level": "WARN", "module": "task::manager", "message": "a\nb",
            "task": "one", "rows": "5", "collection": "a b",
        });
        assert_eq!(line, expected);
    }

    #[test]
    fn the_task_of_a_thread_comes_first() {
        let line = event("x", Some("one-2")).line(UNIX_EPOCH, LogFormat::Text);
        assert!(line.ends_with(r#"["x"] [task=one-2] [rows=5] [collection="a b"]"#), "{line}");
    }

    #[test]
    fn a_task_that_the_record_names_is_not_replaced() {
        let fields: &[(&str, &str)] = &[("task", "named")];
        let record = Record::builder().args(format_args!("x")).key_values(&fields).build();
        let line = LogLine::new(&record, Some("one")).line(UNIX_EPOCH, LogFormat::Text);
        assert!(line.ends_with(r#"["x"] [task=named]"#), "{line}");
    }
}
