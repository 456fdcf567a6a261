/*!
`milvus-cdc failover` and `milvus-cdc pair`: let a task's target take the place of a source that is gone, and show which
part each site plays.
*/

use std::io::{self, Write};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::{Value, json};

use super::client::{ClientError, ServerArguments};
use super::exit::{ExitStatus, Failure};
use super::table::{duration, plain, table};

/// Which task, and how it is asked.
#[derive(Debug, Args)]
pub struct PairArguments {
    /// Id of the task
    id: String,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArguments,
}

/// The same, and what is wanted.
#[derive(Debug, Args)]
pub struct FailoverArguments {
    #[command(flatten)]
    pair: PairArguments,
    /// Fail over although the source answers, and go on without a log that cannot be read
    #[arg(long)]
    force: bool,
    /// Say whether it would begin, and change nothing
    #[arg(long, conflicts_with_all = ["cancel", "status"])]
    dry_run: bool,
    /// Give up a failover that has not come to its end
    #[arg(long, conflicts_with_all = ["force", "status"])]
    cancel: bool,
    /// Show where it stands
    #[arg(long, conflicts_with = "force")]
    status: bool,
    /// How long to wait for its end
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    wait: u64,
}

/// Interval between two requests for the state.
const POLL: Duration = Duration::from_millis(300);

fn failed(error: ClientError) -> Failure {
    Failure::new(ExitStatus::Failed, plain(&error.to_string()))
}

pub(super) fn failover(arguments: &FailoverArguments) -> Result<ExitStatus, Failure> {
    let client = arguments.pair.server.client()?;
    let action = match (arguments.cancel, arguments.status) {
        (true, _) => "cancel",
        (_, true) => "status",
        _ => "start",
    };
    let id = &arguments.pair.id;
    let data = json!({"task_id": id, "action": action, "force": arguments.force, "dry_run": arguments.dry_run});
    let mut answer = client.request("failover", &data).map_err(failed)?;
    let deadline = Instant::now() + Duration::from_secs(arguments.wait);
    while action == "start" && answer["state"] == "failing_over" && Instant::now() < deadline {
        thread::sleep(POLL);
        answer = client.request("failover", &json!({"task_id": id, "action": "status"})).map_err(failed)?;
    }
    let mut out = io::stdout().lock();
    match arguments.pair.json {
        true => writeln!(out, "{answer}")?,
        false => writeln!(out, "{}", told(&answer, arguments.dry_run))?,
    }
    Ok(match (answer["state"].as_str(), action) {
        (Some("failed_over"), _) | (Some("forward"), "cancel" | "status") => ExitStatus::Done,
        (Some("forward"), _) if arguments.dry_run && answer["possible"] == true => ExitStatus::Done,
        (Some("failing_over"), _) => ExitStatus::NotYet,
        _ => ExitStatus::Failed,
    })
}

/// Where a failover stands, in one line.
fn told(answer: &Value, dry_run: bool) -> String {
    let word = |value: &Value| plain(value.as_str().unwrap_or_default());
    match answer["state"].as_str() {
        Some("failed_over") => format!("failed over: {}", word(&answer["report"]["sentence"])),
        Some("failing_over") => format!("failing over, and waiting: {}", word(&answer["waiting_for"])),
        _ if dry_run && answer["possible"] == true => "a failover would begin".to_owned(),
        _ if dry_run => format!("a failover would be refused: {}", word(&answer["why_not"])),
        _ => "forward: the target follows the source".to_owned(),
    }
}

pub(super) fn pair(arguments: &PairArguments) -> Result<(), Failure> {
    let answer = arguments.server.client()?.request("pair", &json!({"task_id": arguments.id})).map_err(failed)?;
    let mut out = io::stdout().lock();
    match arguments.json {
        true => writeln!(out, "{answer}")?,
        false => out.write_all(sites(&answer).as_bytes())?,
    }
    Ok(out.flush()?)
}

/// The sites as a table, and what is to be said of them.
fn sites(answer: &Value) -> String {
    let row = |site: &Value| {
        let word = |key: &str| site[key].as_str().unwrap_or("-").to_owned();
        let answers = match site["answers"].as_bool() {
            Some(true) => "yes",
            Some(false) => "no",
            None => "-",
        };
        let lag = site["lag_ms"].as_u64().map_or_else(|| "-".to_owned(), duration);
        vec![word("name"), word("uri"), word("role"), answers.to_owned(), word("log"), lag]
    };
    let rows: Vec<Vec<String>> = answer["sites"].as_array().into_iter().flatten().map(row).collect();
    let table = table(&["SITE", "URI", "ROLE", "ANSWERS", "LOG", "LAG"], &rows);
    let mut text = format!("{table}{} (epoch {})\n", plain(answer["state"].as_str().unwrap_or("-")), answer["epoch"]);
    let said = answer["report"]["sentence"].as_str().or(answer["reason"].as_str());
    if let Some(said) = said {
        text.push_str(&format!("{}\n", plain(said)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_it_stands() {
        let told_of = |answer: Value| told(&answer, false);
        let over = json!({"state": "failed_over", "report": {"sentence": "everything\u{1b} is there"}});
        assert_eq!(told_of(over), "failed over: everything  is there");
        let waits = json!({"state": "failing_over", "waiting_for": "the log"});
        assert_eq!(told_of(waits), "failing over, and waiting: the log");
        assert_eq!(told_of(json!({"state": "forward"})), "forward: the target follows the source");
        let refused = json!({"state": "forward", "possible": false, "why_not": "it answers"});
        assert_eq!(told(&refused, true), "a failover would be refused: it answers");
        assert_eq!(told(&json!({"state": "forward", "possible": true}), true), "a failover would begin");
    }
}
