//! `milvus-cdc failback`: what becomes of a primary that was given up and is back.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::client::{ApiClient, ClientError, ServerArguments};
use super::exit::{ExitStatus, Failure};
use super::table::{plain, table};
use crate::storage::atomic_file;

/// Which task, and what is wanted.
#[derive(Debug, Args)]
pub struct FailbackArguments {
    /// Id of the task
    id: String,
    /// What becomes of the old primary's writes that never got across
    #[arg(long, value_enum, default_value_t = LostWritesChoice::Ask)]
    lost_writes: LostWritesChoice,
    /// Write them to this file, one JSON object per line
    #[arg(long, value_name = "FILE", conflicts_with = "cancel")]
    export: Option<PathBuf>,
    /// List them, and change nothing
    #[arg(long, conflicts_with_all = ["cancel", "status"])]
    dry_run: bool,
    /// Make an old primary that was restored or emptied equal to the target
    #[arg(long, conflicts_with_all = ["cancel", "status"])]
    rebuild: bool,
    /// Give up a failback that has not changed anything yet
    #[arg(long, conflicts_with = "status")]
    cancel: bool,
    /// Show where it stands
    #[arg(long)]
    status: bool,
    /// How long to wait for its end
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    wait: u64,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArguments,
}

/// What becomes of lost writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LostWritesChoice {
    /// Refuse, and say what the other two would do
    Ask,
    /// Write those to the target that it has nothing against
    Merge,
    /// Let the target's rows count
    Discard,
}

impl LostWritesChoice {
    fn name(self) -> &'static str {
        match self {
            LostWritesChoice::Ask => "ask",
            LostWritesChoice::Merge => "merge",
            LostWritesChoice::Discard => "discard",
        }
    }
}

/// Interval between two requests for the state.
const POLL: Duration = Duration::from_millis(300);

fn failed(error: ClientError) -> Failure {
    Failure::new(ExitStatus::Failed, plain(&error.to_string()))
}

pub(super) fn failback(arguments: &FailbackArguments) -> Result<ExitStatus, Failure> {
    let client = arguments.server.client()?;
    let id = &arguments.id;
    let action = match (arguments.cancel, arguments.status) {
        (true, _) => "cancel",
        (_, true) => "status",
        _ => "begin",
    };
    let plan = arguments.lost_writes.name();
    let data = json!({"task_id": id, "action": action, "lost_writes": plan, "dry_run": arguments.dry_run,
        "rebuild": arguments.rebuild});
    let mut answer = client.request("failback", &data).map_err(failed)?;
    let deadline = Instant::now() + Duration::from_secs(arguments.wait);
    while action == "begin" && answer["state"] == "failing_back" && Instant::now() < deadline {
        thread::sleep(POLL);
        answer = client.request("failback", &json!({"task_id": id, "action": "status"})).map_err(failed)?;
    }
    let is_listed = answer["state"] != "failing_back" && answer["lost_writes"].is_object();
    if let Some(path) = arguments.export.as_ref().filter(|_| is_listed) {
        export(&client, id, path)?;
    }
    let mut out = io::stdout().lock();
    match arguments.json {
        true => writeln!(out, "{answer}")?,
        false => out.write_all(told(&answer, arguments.dry_run).as_bytes())?,
    }
    out.flush()?;
    Ok(status(&answer, action, arguments.dry_run.then_some(plan)))
}

/// `tried`: the plan of a dry run.
fn status(answer: &Value, action: &str, tried: Option<&str>) -> ExitStatus {
    let writes = &answer["lost_writes"];
    match (answer["state"].as_str(), action, tried) {
        (Some("failing_back"), ..) => ExitStatus::NotYet,
        (_, "cancel" | "status", _) => ExitStatus::Done,
        // Nothing was asked but the list.
        (_, _, Some("ask")) if writes["unlisted"].is_null() => ExitStatus::Done,
        (_, _, Some(plan)) if writes["would"][plan]["possible"] == true => ExitStatus::Done,
        (_, _, Some(_)) => ExitStatus::Failed,
        (Some("reversed"), ..) => ExitStatus::Done,
        _ if matches!(writes["outcome"]["is"].as_str(), Some("settled" | "merged")) => ExitStatus::Done,
        _ => ExitStatus::Failed,
    }
}

/// Writes the list to a file of the caller's, as a whole or not at all.
fn export(client: &ApiClient, id: &str, path: &Path) -> Result<(), Failure> {
    let written = atomic_file::replace_with(path, |file| {
        let mut from = json!(0);
        while !from.is_null() {
            let data = json!({"task_id": id, "action": "export", "from": from});
            let page = client.request("failback", &data).map_err(io::Error::other)?;
            let lines = page["lines"].as_array().into_iter().flatten().filter_map(Value::as_str);
            let text: String = lines.flat_map(|line| [line, "\n"]).collect();
            file.write_all(text.as_bytes())?;
            from = page["next"].clone();
        }
        Ok(())
    });
    written.map_err(|error| Failure::new(ExitStatus::Failed, plain(&format!("{}: {error}", path.display()))))
}

/// Where a failback stands.
fn told(answer: &Value, dry_run: bool) -> String {
    let word = |value: &Value| plain(value.as_str().unwrap_or_default());
    let writes = &answer["lost_writes"];
    if answer["state"] == "failing_back" {
        return format!("failing back, and waiting: {}\n", word(&answer["waiting_for"]));
    }
    if answer["state"] == "reversed" {
        return format!("reversed: the old primary is the standby, by the task {}\n", word(&answer["by"]));
    }
    if !writes.is_object() {
        return format!("{}: no failback has begun\n", word(&answer["state"]));
    }
    let number = |row: &Value, key: &str| row[key].as_u64().unwrap_or(0).to_string();
    let counts = |row: &Value| {
        let keys = ["puts", "deletes", "mergeable", "undecided", "same"].map(|key| number(row, key));
        [vec![word(&row["collection"])], keys.to_vec()].concat()
    };
    let rows: Vec<Vec<String>> = writes["collections"].as_array().into_iter().flatten().map(counts).collect();
    let mut text = match rows.is_empty() {
        true => String::new(),
        false => table(&["COLLECTION", "ROWS", "DELETES", "MERGEABLE", "UNDECIDED", "SAME"], &rows),
    };
    text.push_str(&format!("{}\n", word(&writes["sentence"])));
    if !dry_run && let Some(outcome) = writes["outcome"]["sentence"].as_str() {
        text.push_str(&format!("failback: {}\n", plain(outcome)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(outcome: &str) -> Value {
        let row =
            json!({"collection": "d.a\u{1b}", "puts": 5, "deletes": 1, "mergeable": 4, "undecided": 2, "same": 0});
        json!({"state": "failed_over", "lost_writes": {
            "sentence": "it is back", "unlisted": null, "collections": [row],
            "would": {"ask": {"possible": false}, "merge": {"possible": true}, "discard": {"possible": true}},
            "outcome": {"is": outcome, "sentence": "4 were merged"}}})
    }

    #[test]
    fn where_it_stands() {
        assert_eq!(
            told(&answer("merged"), false),
            "COLLECTION  ROWS  DELETES  MERGEABLE  UNDECIDED  SAME\n\
             d.a         5     1        4          2          0\n\
             it is back\nfailback: 4 were merged\n"
        );
        assert!(!told(&answer("merged"), true).contains("were merged"), "of an earlier one");
        let waits = json!({"state": "failing_back", "waiting_for": "it does not answer", "lost_writes": null});
        assert_eq!(told(&waits, false), "failing back, and waiting: it does not answer\n");
        let reversed = json!({"state": "reversed", "by": "back"});
        assert_eq!(told(&reversed, false), "reversed: the old primary is the standby, by the task back\n");
        assert_eq!(status(&reversed, "begin", None), ExitStatus::Done);
        assert_eq!(told(&json!({"state": "failed_over"}), false), "failed_over: no failback has begun\n");
    }

    #[test]
    fn exit_codes() {
        let waits = json!({"state": "failing_back"});
        assert_eq!(status(&waits, "begin", None), ExitStatus::NotYet);
        assert_eq!(status(&answer("merged"), "begin", None), ExitStatus::Done);
        assert_eq!(status(&answer("refused"), "begin", None), ExitStatus::Failed);
        assert_eq!(status(&answer("refused"), "status", None), ExitStatus::Done);
        assert_eq!(status(&answer("refused"), "begin", Some("ask")), ExitStatus::Done, "it was only listed");
        assert_eq!(status(&answer("refused"), "begin", Some("merge")), ExitStatus::Done);
        let mut gone = answer("refused");
        gone["lost_writes"]["unlisted"] = "retention".into();
        gone["lost_writes"]["would"]["merge"]["possible"] = false.into();
        assert_eq!(status(&gone, "begin", Some("ask")), ExitStatus::Failed);
        assert_eq!(status(&gone, "begin", Some("merge")), ExitStatus::Failed);
    }
}
