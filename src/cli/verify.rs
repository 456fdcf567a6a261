/*!
`milvus-cdc verify` and `milvus-cdc repair`: compare a task's source and target, and print the differences as text or
JSON.
*/

use std::io::{self, IsTerminal, Write};
use std::thread;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::client::{ClientError, ServerArguments};
use super::exit::{ExitStatus, Failure};
use super::table::plain;

/// Which task, and how thoroughly.
#[derive(Debug, Args)]
pub struct VerifyArguments {
    /// Id of the task
    id: String,
    /// Compare keys only: faster
    #[arg(long)]
    keys_only: bool,
    /// Compare all keys, and the contents of about this many rows of each collection
    #[arg(long, value_name = "ROWS", conflicts_with = "keys_only", value_parser = clap::value_parser!(u64).range(1..))]
    sample: Option<u64>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArguments,
}

/// The same, and whether to repair.
#[derive(Debug, Args)]
pub struct RepairArguments {
    #[command(flatten)]
    verify: VerifyArguments,
    /// Report the differences only
    #[arg(long)]
    dry_run: bool,
}

/// Interval between two requests for the progress.
const POLL: Duration = Duration::from_millis(300);
const BAR: usize = 24;

pub(super) fn verify(arguments: &VerifyArguments) -> Result<ExitStatus, Failure> {
    run(arguments, Mode::Verify)
}

pub(super) fn repair(arguments: &RepairArguments) -> Result<ExitStatus, Failure> {
    run(&arguments.verify, Mode::Repair { dry_run: arguments.dry_run })
}

#[derive(Clone, Copy)]
enum Mode {
    Verify,
    Repair { dry_run: bool },
}

fn run(arguments: &VerifyArguments, mode: Mode) -> Result<ExitStatus, Failure> {
    let (request, dry_run) = match mode {
        Mode::Verify => ("verify", false),
        Mode::Repair { dry_run } => ("repair", dry_run),
    };
    let client = arguments.server.client()?;
    let failed = |error: ClientError| Failure::new(ExitStatus::NotCompared, plain(&error.to_string()));
    let mut data = json!({
        "task_id": arguments.id,
        "keys_only": arguments.keys_only,
        "sample": arguments.sample.unwrap_or(0),
        "dry_run": dry_run,
    });
    let mut answer = client.request(request, &data).map_err(failed)?;
    data["action"] = "status".into();
    let mut bar = Bar { shown: false, enabled: !arguments.json && io::stderr().is_terminal() };
    while answer["state"] == "running" {
        bar.show(&answer["progress"]);
        thread::sleep(POLL);
        answer = client.request(request, &data).map_err(failed)?;
    }
    bar.clear();
    let result = &answer["result"];
    let status = match (answer["state"].as_str(), result["verdict"].as_str()) {
        (Some("done"), Some("equal")) => ExitStatus::Done,
        (Some("done"), Some("different")) => ExitStatus::Different,
        _ => ExitStatus::NotCompared,
    };
    let mut out = io::stdout().lock();
    match arguments.json {
        true => writeln!(out, "{result}")?,
        false => out.write_all(text(&answer).as_bytes())?,
    }
    out.flush()?;
    Ok(status)
}

/// A progress bar on the terminal, if stderr is one.
struct Bar {
    shown: bool,
    enabled: bool,
}

impl Bar {
    fn show(&mut self, progress: &Value) {
        if !self.enabled {
            return;
        }
        self.shown = true;
        // A failed write means that the terminal is gone.
        let _ = write!(io::stderr(), "\r\x1b[K{}", bar(progress));
    }

    fn clear(&mut self) {
        if std::mem::take(&mut self.shown) {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

/// `[######..................]  25 %  2 of 7 collections, 250000 of 1000000 rows, default.books`
fn bar(progress: &Value) -> String {
    let number = |key: &str| progress[key].as_u64().unwrap_or(0);
    let (rows, of_rows) = (number("rows"), number("of_rows"));
    let percent = (rows * 100).checked_div(of_rows).unwrap_or(0).min(100);
    let done = percent as usize * BAR / 100;
    format!(
        "[{}{}] {percent:3} %  {} of {} collections, {rows} of {of_rows} rows, {}",
        "#".repeat(done),
        ".".repeat(BAR - done),
        number("collections"),
        number("of_collections"),
        plain(progress["doing"].as_str().unwrap_or_default())
    )
}

/// The result as text.
fn text(answer: &Value) -> String {
    let result = &answer["result"];
    if answer["state"] != "done" {
        return "the comparison was cancelled, or the task has ended\n".to_owned();
    }
    let mut text = String::new();
    if result["before"].is_object() {
        text.push_str("Before the repair:\n");
        text.push_str(&report(&result["before"]));
        text.push_str("\nAfter the repair, of those collections:\n");
    }
    text.push_str(&report(result));
    text
}

fn report(result: &Value) -> String {
    if let Some(why) = result["reason"].as_str() {
        return format!("not compared: {}\n", plain(why));
    }
    let collections = result["collections"].as_array().map_or(&[][..], Vec::as_slice);
    let equal = collections.iter().filter(|collection| collection["equal"] == true).count();
    let mut text: String = collections.iter().filter(|collection| is_reported(collection)).map(collection).collect();
    let rows: u64 = collections.iter().filter_map(|collection| collection["compared"].as_u64()).sum();
    text.push_str(&format!(
        "{}: {equal} of {} collections, {rows} keys compared\n",
        result["verdict"].as_str().unwrap_or("not compared"),
        collections.len()
    ));
    text
}

/// Sides that differ, or whose equality is unknown, are reported.
fn is_reported(collection: &Value) -> bool {
    collection["equal"] != true
        || collection["counts_unsettled"] == true
        || collection["unsettled"].as_u64().is_some_and(|rows| rows > 0)
}

fn collection(collection: &Value) -> String {
    let word = |key: &str| plain(collection[key].as_str().unwrap_or_default());
    let number = |key: &str| collection[key].as_u64().unwrap_or(0);
    let mut text = format!("{} -> {}\n", word("source"), word("target"));
    if collection["reason"].is_string() {
        text.push_str(&format!("  not compared: {}\n", word("reason")));
    }
    for found in collection["catalog"].as_array().into_iter().flatten() {
        let part = |key: &str| plain(found[key].as_str().unwrap_or_default());
        text.push_str(&format!("  {}: {}\n", part("what"), part("difference")));
    }
    let kinds = [
        ("missing", "missing on the target"),
        ("extra", "only on the target"),
        ("different", "with other contents"),
        ("misplaced", "in another partition"),
        ("unsettled", "unsettled: they changed during every comparison"),
    ];
    for (kind, words) in kinds {
        if number(kind) == 0 {
            continue;
        }
        text.push_str(&format!("  {} rows {words}\n", number(kind)));
        let first = collection["first"].as_array().into_iter().flatten().filter(|row| row["kind"] == kind);
        for row in first {
            let (key, partition) = (row["key"].as_str().unwrap_or_default(), row["partition"].as_str());
            let partition = partition.filter(|name| !name.is_empty()).map(|name| format!(" in {name}"));
            text.push_str(&format!("    {}{}\n", plain(key), plain(&partition.unwrap_or_default())));
        }
    }
    if collection["counts_differ"] == true {
        text.push_str(&format!(
            "  {} rows at the source and {} on the target, duplicate keys included\n",
            number("source_count"),
            number("target_count")
        ));
    }
    if collection["counts_unsettled"] == true {
        text.push_str("  the row counts are unsettled: they changed during every comparison\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar() {
        let progress =
            json!({"rows": 250, "of_rows": 1000, "collections": 2, "of_collections": 7, "doing": "d.c\u{1b}"});
        assert_eq!(bar(&progress), "[######..................]  25 %  2 of 7 collections, 250 of 1000 rows, d.c ");
        assert!(bar(&json!({})).starts_with("[........................]   0 %"));
    }

    #[test]
    fn what_differs() {
        let good = json!({"source": "d.a", "target": "d.a", "equal": true, "compared": 5});
        let bad = json!({"source": "d.b", "target": "e.b", "equal": false, "reason": null, "compared": 7, "missing": 1,
            "misplaced": 1, "counts_differ": true, "source_count": 7, "target_count": 6,
            "catalog": [{"what": "index", "difference": "\"i\" is missing"}],
            "first": [{"key": "\"x\"", "partition": "p", "kind": "missing"},
                {"key": "5", "partition": "q", "kind": "misplaced"}]});
        let answer =
            json!({"state": "done", "result": {"verdict": "different", "reason": null, "collections": [good, bad]}});
        assert_eq!(
            text(&answer),
            "d.b -> e.b\n  index: \"i\" is missing\n  1 rows missing on the target\n    \"x\" in p\n  \
             1 rows in another partition\n    5 in q\n  \
             7 rows at the source and 6 on the target, duplicate keys included\n\
             different: 1 of 2 collections, 12 keys compared\n"
        );
    }

    #[test]
    fn what_is_not_settled() {
        let busy = json!({"source": "d.a", "target": "d.a", "equal": true, "compared": 5, "counts_differ": false,
            "counts_unsettled": true, "unsettled": 2});
        let answer = json!({"state": "done", "result": {"verdict": "equal", "reason": null, "collections": [busy]}});
        assert_eq!(
            text(&answer),
            "d.a -> d.a\n  2 rows unsettled: they changed during every comparison\n  the row counts are unsettled: \
             they changed during every comparison\nequal: 1 of 1 collections, 5 keys compared\n"
        );
    }
}
