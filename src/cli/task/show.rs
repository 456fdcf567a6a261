/*!
Tasks as tables.
*/

use serde_json::Value;

use crate::cli::table::{bar, clock, duration, plain, table};

/// One line per task.
pub(super) fn tasks(tasks: &[Value]) -> String {
    if tasks.is_empty() {
        return "no tasks\n".to_owned();
    }
    let rows: Vec<Vec<String>> = tasks
        .iter()
        .map(|task| vec![text(&task["task_id"]), text(&task["phase"]), lag(task), target(task), text(&task["reason"])])
        .collect();
    let copies: String = tasks
        .iter()
        .flat_map(|task| copies(task).into_iter().map(|line| format!("{}: {line}\n", plain(&text(&task["task_id"])))))
        .collect();
    format!("{}{copies}", table(&["TASK", "PHASE", "LAG", "TARGET", "REASON"], &rows))
}

/// A progress bar for each collection that is being copied.
fn copies(task: &Value) -> Vec<String> {
    let one = |copy: &Value| {
        let (name, rows) = (text(&copy["collection"]), copy["rows"].as_u64().unwrap_or(0));
        match copy["total"].as_u64() {
            Some(total) => format!("{} {rows} of {total} rows of {}", bar(rows, total), plain(&name)),
            None => format!("{rows} rows of {}", plain(&name)),
        }
    };
    task["details"]["copies"].as_array().into_iter().flatten().map(one).collect()
}

/// One task, a line per fact.
pub(super) fn task(task: &Value) -> String {
    let skipped = task["skipped"].as_object().into_iter().flatten();
    let skipped: Vec<String> = skipped.map(|(reason, count)| format!("{count} {reason}")).collect();
    let facts = [
        ("task", text(&task["task_id"])),
        ("state", text(&task["state"])),
        ("phase", text(&task["phase"])),
        ("lag", lag(task)),
        ("rows/s", task["details"]["rows_per_second"].as_u64().map(|rate| rate.to_string()).unwrap_or_default()),
        ("target", target(task)),
        ("follows", follows(task)),
        ("skipped", if skipped.is_empty() { "nothing".to_owned() } else { skipped.join(", ") }),
        ("reason", text(&task["reason"])),
    ];
    let copying = copies(task).into_iter().map(|line| ("copying", line));
    let shown = facts.into_iter().chain(copying).filter(|(_, value)| !value.is_empty());
    let facts: String = shown.map(|(name, value)| format!("{name:9}{}\n", plain(&value))).collect();
    format!("{facts}{}", events(task))
}

/// What has happened, the newest first, where it was asked for.
fn events(task: &Value) -> String {
    let Some(events) = task["events"].as_array() else { return String::new() };
    let row = |event: &Value| {
        let count = event["count"].as_u64().unwrap_or(1);
        let times = if count > 1 { format!(" ({count} times)") } else { String::new() };
        let at = clock(event["time"].as_u64().unwrap_or(0));
        vec![at, text(&event["kind"]), format!("{}{times}", text(&event["text"]))]
    };
    format!("\n{}", table(&["TIME (UTC)", "KIND", "EVENT"], &events.iter().map(row).collect::<Vec<_>>()))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn lag(task: &Value) -> String {
    task["lag_ms"].as_u64().map_or_else(|| "-".to_owned(), duration)
}

fn target(task: &Value) -> String {
    let target = &task["milvus_connect_param"];
    match target["uri"].as_str().unwrap_or_default() {
        "" => format!("{}:{}", text(&target["host"]), target["port"]),
        uri => uri.to_owned(),
    }
}

/// `default.a, db.*`
fn follows(task: &Value) -> String {
    let in_default = task["collection_infos"].as_array().map(|infos| ("default", infos));
    if let Some((_, [only])) = in_default.map(|(database, infos)| (database, infos.as_slice()))
        && only["name"] == "*"
    {
        return "everything".to_owned();
    }
    let databases = task["db_collections"].as_object().into_iter().flatten();
    let databases = databases.filter_map(|(database, infos)| Some((database.as_str(), infos.as_array()?)));
    let names = in_default
        .into_iter()
        .chain(databases)
        .flat_map(|(database, infos)| infos.iter().map(move |info| format!("{database}.{}", text(&info["name"]))));
    names.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_list() {
        let one = json!({"task_id": "a", "phase": "Following", "lag_ms": 240,
                         "milvus_connect_param": {"uri": "http://t:1", "host": "", "port": 0}});
        let other = json!({"task_id": "long-name", "phase": "Stopped", "lag_ms": null, "reason": "full\u{7}",
                           "milvus_connect_param": {"uri": "", "host": "h", "port": 9}});
        let expected = "TASK       PHASE      LAG    TARGET      REASON\n\
                        a          Following  240ms  http://t:1\n\
                        long-name  Stopped    -      h:9         full\n";
        assert_eq!(tasks(&[one, other]), expected);
        assert_eq!(tasks(&[]), "no tasks\n");
    }

    #[test]
    fn what_a_task_follows() {
        assert_eq!(follows(&json!({"collection_infos": [{"name": "*"}]})), "everything");
        assert_eq!(follows(&json!({"collection_infos": [{"name": "a"}, {"name": "b"}]})), "default.a, default.b");
        let two = json!({"collection_infos": null, "db_collections": {"x": [{"name": "*"}], "y": [{"name": "c"}]}});
        assert_eq!(follows(&two), "x.*, y.c");
    }

    #[test]
    fn one_task() {
        let shown =
            task(&json!({"task_id": "a", "phase": "Copying", "state": "Running", "skipped": {"bulk import": 2},
                                 "collection_infos": [{"name": "*"}], "milvus_connect_param": {"uri": "u"}}));
        assert!(shown.contains("skipped  2 bulk import\n") && !shown.contains("reason"), "{shown}");
    }

    #[test]
    fn copies_and_events() {
        let copying = json!({"collection": "d.a", "rows": 25, "total": 100, "waiting": null});
        let event = json!({"time": 1000, "first_time": 1, "count": 3, "kind": "retry", "text": "no answer"});
        let one = json!({"task_id": "a", "phase": "Copying", "state": "Running", "skipped": {},
                         "milvus_connect_param": {"uri": "u"}, "events": [event],
                         "details": {"copies": [copying, {"collection": "d.b", "rows": 7, "total": null}]}});
        let shown = task(&one);
        assert!(
            shown.contains("copying  [#####---------------] 25 of 100 rows of d.a\ncopying  7 rows of d.b\n"),
            "{shown}"
        );
        assert!(shown.contains("1970-01-01 00:00:01  retry  no answer (3 times)\n"), "{shown}");
        assert!(tasks(&[one]).ends_with("a: [#####---------------] 25 of 100 rows of d.a\na: 7 rows of d.b\n"));
    }
}
