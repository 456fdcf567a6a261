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

/// One line per held drop, and one per collection that was renamed instead of dropped.
pub(super) fn drops(answer: &Value) -> String {
    let list = |name: &str| answer[name].as_array().map_or(&[][..], Vec::as_slice);
    let mut shown = held(list("drops"));
    if !list("set_aside").is_empty() {
        let row = |one: &Value| {
            let until = one["until"].as_u64().map(clock).unwrap_or_default();
            vec![text(&one["source"]), text(&one["target"]), until]
        };
        let rows: Vec<_> = list("set_aside").iter().map(row).collect();
        shown += &table(&["DROPPED", "KEPT AS", "UNTIL"], &rows);
    }
    shown
}

fn held(drops: &[Value]) -> String {
    if drops.is_empty() {
        return "no drops are held\n".to_owned();
    }
    let row = |drop: &Value| {
        let since = drop["since"].as_u64().map(clock).unwrap_or_default();
        vec![text(&drop["kind"]), text(&drop["source"]), text(&drop["target"]), since]
    };
    table(&["HELD", "SOURCE", "TARGET", "SINCE"], &drops.iter().map(row).collect::<Vec<_>>())
}

/// One line per row that is set aside.
pub(super) fn refused_rows(rows: &[Value]) -> String {
    if rows.is_empty() {
        return "no rows are set aside\n".to_owned();
    }
    let row = |row: &Value| {
        let since = row["since"].as_u64().map(clock).unwrap_or_default();
        vec![text(&row["target"]), text(&row["key"]), since, text(&row["reason"])]
    };
    table(&["SET ASIDE", "KEY", "SINCE", "REASON"], &rows.iter().map(row).collect::<Vec<_>>())
}

/// A progress bar for each running backfill.
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
        ("stages", stages(task)),
        ("still", still(task)),
        ("skipped", if skipped.is_empty() { "nothing".to_owned() } else { skipped.join(", ") }),
        ("reason", text(&task["reason"])),
    ];
    let copying = copies(task).into_iter().map(|line| ("copying", line));
    let shown = facts.into_iter().chain(copying).filter(|(_, value)| !value.is_empty());
    let facts: String = shown.map(|(name, value)| format!("{name:9}{}\n", plain(&value))).collect();
    format!("{facts}{}", events(task))
}

/// How many collections are in which stage, if the answer says so.
fn stages(task: &Value) -> String {
    let counts =
        ["following", "waiting", "copying", "held", "paused"].map(|stage| (stage, task["collections"][stage].as_u64()));
    let shown = counts.iter().filter_map(|(stage, count)| Some(format!("{} {stage}", count.filter(|it| *it > 0)?)));
    shown.collect::<Vec<_>>().join(", ")
}

/// The collections that stand still, if the answer has them.
fn still(task: &Value) -> String {
    let collections = task["details"]["collections"].as_array().into_iter().flatten();
    let is_still = |one: &&Value| matches!(one["state"].as_str(), Some("held" | "paused")) || one["held"].is_object();
    let still = collections.filter(is_still);
    still.map(|one| format!("{} {}", text(&one["source"]), text(&one["state"]))).collect::<Vec<_>>().join(", ")
}

/// The events, newest first, if the answer has them.
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
    fn rows_that_are_set_aside() {
        assert_eq!(refused_rows(&[]), "no rows are set aside\n");
        let row = json!({"target": "d.a", "key": "17", "since": 1000, "reason": "too long"});
        let expected = "SET ASIDE  KEY  SINCE                REASON\n\
                        d.a        17   1970-01-01 00:00:01  too long\n";
        assert_eq!(refused_rows(&[row]), expected);
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
            "collections": {"following": 19, "waiting": 0, "copying": 0, "held": 1, "paused": 1},
            "details": {"copies": [], "collections": [{"source": "d.a", "state": "held"},
                                                      {"source": "d.b", "state": "paused"}, {"state": "following"}]},
                                 "collection_infos": [{"name": "*"}], "milvus_connect_param": {"uri": "u"}}));
        assert!(shown.contains("stages   19 following, 1 held, 1 paused\nstill    d.a held, d.b paused\n"), "{shown}");
        assert!(shown.contains("skipped  2 bulk import\n") && !shown.contains("reason"), "{shown}");
    }

    #[test]
    fn what_was_dropped() {
        assert_eq!(drops(&json!({"drops": []})), "no drops are held\n");
        let aside = json!({"source": "d.b", "target": "d.b_dropped_8", "until": 1000});
        let shown = drops(&json!({"drops": [], "set_aside": [aside]}));
        assert!(shown.contains("d.b_dropped_8  1970-01-01 00:00:01"), "{shown}");
        let held = json!({"kind": "collection", "source": "d.a", "target": "d.a", "since": 1000});
        assert!(drops(&json!({"drops": [held]})).contains("collection  d.a"), "{shown}");
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
