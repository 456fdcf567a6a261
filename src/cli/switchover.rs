//! `milvus-cdc switchover`: let the sites of a task change places while both are well.

use std::io::{self, Write};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::{Value, json};

use super::client::{ApiClient, ClientError, ServerArguments};
use super::exit::{ExitStatus, Failure};
use super::table::plain;

/// Which task, and what is wanted.
#[derive(Debug, Args)]
pub struct SwitchoverArguments {
    /// Id of the task
    id: String,
    /// How long nobody may have changed the source
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    quiet: u32,
    /// What is compared before the roles change
    #[arg(long, value_name = "WHAT", default_value = "keys", value_parser = ["none", "keys", "rows"])]
    verify: String,
    /// Say whether it would begin, and change nothing
    #[arg(long, conflicts_with_all = ["cancel", "status"])]
    dry_run: bool,
    /// Give up a switchover that has not come to its end
    #[arg(long, conflicts_with = "status")]
    cancel: bool,
    /// Show where it stands
    #[arg(long)]
    status: bool,
    /// How long to wait for its end; it goes on without this command, too
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    wait: u64,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArguments,
}

/// Interval between two requests for the state.
const POLL: Duration = Duration::from_millis(500);

fn failed(error: ClientError) -> Failure {
    Failure::new(ExitStatus::Failed, plain(&error.to_string()))
}

pub(super) fn switchover(arguments: &SwitchoverArguments) -> Result<ExitStatus, Failure> {
    let client = arguments.server.client()?;
    let action = match (arguments.cancel, arguments.status) {
        (true, _) => "cancel",
        (_, true) => "status",
        _ => "start",
    };
    let data = json!({
        "task_id": arguments.id, "action": action, "quiet_s": arguments.quiet, "verify": arguments.verify,
        "dry_run": arguments.dry_run,
    });
    let mut answer = client.request("switchover", &data).map_err(failed)?;
    if action == "start" && !arguments.dry_run {
        answer = wait_for_end(&client, arguments, answer)?;
    }
    let mut out = io::stdout().lock();
    match arguments.json {
        true => writeln!(out, "{answer}")?,
        false => writeln!(out, "{}", told(&answer, arguments.dry_run))?,
    }
    Ok(match (answer["state"].as_str(), action) {
        (Some("reversed"), _) | (Some("forward"), "cancel" | "status") => ExitStatus::Done,
        (Some("forward"), _) if arguments.dry_run && answer["possible"] == true => ExitStatus::Done,
        (Some("switching"), _) => ExitStatus::NotYet,
        _ => ExitStatus::Failed,
    })
}

/// Says what is waited for on stderr, whenever that changes: somebody has to move the clients meanwhile.
fn wait_for_end(client: &ApiClient, arguments: &SwitchoverArguments, first: Value) -> Result<Value, Failure> {
    let deadline = Instant::now() + Duration::from_secs(arguments.wait);
    let (mut answer, mut said) = (first, String::new());
    while answer["state"] == "switching" && Instant::now() < deadline {
        let now = told(&answer, false);
        if now != said && !arguments.json {
            writeln!(io::stderr(), "{now}")?;
            said = now;
        }
        thread::sleep(POLL);
        let status = json!({"task_id": arguments.id, "action": "status"});
        answer = client.request("switchover", &status).map_err(failed)?;
    }
    Ok(answer)
}

/// Where a switchover stands, in one line.
fn told(answer: &Value, dry_run: bool) -> String {
    let word = |value: &Value| plain(value.as_str().unwrap_or_default());
    match answer["state"].as_str() {
        Some("reversed") => {
            format!("switched over to the task {}: {}", word(&answer["by"]), word(&answer["report"]["sentence"]))
        }
        Some("switching") => format!("{}: {}", word(&answer["step"]), word(&answer["waiting_for"])),
        _ if dry_run && answer["possible"] == true => "a switchover would begin".to_owned(),
        _ if dry_run => format!("a switchover would be refused: {}", word(&answer["why_not"])),
        _ if answer["ended"].is_string() => format!("not switched over: {}", word(&answer["ended"])),
        _ => "forward: the target follows the source".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_it_stands() {
        let told_of = |answer: Value| told(&answer, false);
        let over = json!({"state": "reversed", "by": "a-reverse", "report": {"sentence": "everything\u{1b} is there"}});
        assert_eq!(told_of(over), "switched over to the task a-reverse: everything  is there");
        let waits = json!({"state": "switching", "step": "draining", "waiting_for": "move the clients"});
        assert_eq!(told_of(waits), "draining: move the clients");
        assert_eq!(told_of(json!({"state": "forward"})), "forward: the target follows the source");
        assert_eq!(told_of(json!({"state": "forward", "ended": "they differ"})), "not switched over: they differ");
        let refused = json!({"state": "forward", "possible": false, "why_not": "it is Copying"});
        assert_eq!(told(&refused, true), "a switchover would be refused: it is Copying");
        assert_eq!(told(&json!({"state": "forward", "possible": true}), true), "a switchover would begin");
    }
}
