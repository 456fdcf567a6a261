/*!
`milvus-cdc check`: checks everything that a task would need before one is created. Needs no running server.
*/

use std::collections::BTreeMap;
use std::env;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::exit::{ExitStatus, Failure};
use super::request::{databases, read_json, request_data};
use super::secret::secret;
use super::table::table;
use crate::api::{as_json, task_of};
use crate::config::{Config, Secret};
use crate::preflight;
use crate::preflight::{Level, PreflightReport, PreflightRequest, RecoveryQuestion};
use crate::task::mapping::NameMapping;
use crate::task::scope::Scope;
use crate::task::spec::{SelectedCollection, Selection, TaskSpec};

/// What to check.
#[derive(Debug, Args)]
pub struct CheckArguments {
    /// YAML file that the server would read; without it every setting has its default
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The Milvus to write to, such as http://standby:19530; without it only the source and this host are checked
    #[arg(long, value_name = "URI")]
    target: Option<String>,
    /// Login of the target, `user:password` or an API key; better in the environment on a shared machine, where other
    /// users cannot list it
    #[arg(long, value_name = "TOKEN", env = "MILVUS_CDC_TARGET_TOKEN", hide_env_values = true, default_value = "",
          hide_default_value = true, value_parser = secret)]
    target_token: Secret,
    /// Collections to replicate, may be repeated: NAME, DATABASE.NAME or DATABASE.*; everything if omitted
    #[arg(long = "collection", value_name = "[DATABASE.]NAME", conflicts_with = "file")]
    collections: Vec<String>,
    /// Timeout for connecting to the target, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 10, conflicts_with = "file")]
    connect_timeout: u32,
    /// File with the complete `request_data` of a create as JSON, for fields that have no option; `-` reads standard
    /// input
    #[arg(long, value_name = "FILE", conflicts_with = "target")]
    file: Option<PathBuf>,
    /// Longest pause of a task, or outage of its target, that must not cause a full copy afterwards
    #[arg(long, value_name = "HOURS", default_value_t = 24, value_parser = clap::value_parser!(u64).range(1..=8784))]
    pause_hours: u64,
    /// Check what a switchover, a failover and a failback would need as well
    #[arg(long)]
    dr: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs the checks and prints the findings.
pub(super) fn run(arguments: &CheckArguments) -> Result<ExitStatus, Failure> {
    let config = Config::load(arguments.config.as_deref(), |name| env::var(name).ok())?;
    let pause = Duration::from_secs(3600 * arguments.pause_hours);
    let report = match (&arguments.target, &arguments.file) {
        (None, None) => {
            let (scope, mapping) = (scope(&arguments.collections), NameMapping::default());
            let (target, recovery) = (None, None);
            preflight::check(&config, PreflightRequest { target, scope: &scope, mapping: &mapping, pause, recovery })
        }
        _ => {
            let data = arguments.data()?;
            let task = task_of(data.as_object(), &config).map_err(|why| Failure::new(ExitStatus::Usage, why))?;
            let spec = &task.spec;
            let TaskSpec { target, scope, mapping, .. } = spec;
            let recovery = arguments.dr.then_some(RecoveryQuestion { spec, sites: &config });
            preflight::check(&config, PreflightRequest { target: Some(target), scope, mapping, pause, recovery })
        }
    };
    let text = if arguments.json { format!("{}\n", as_json(&report)) } else { as_table(&report) };
    io::stdout().write_all(text.as_bytes())?;
    Ok(match report.level() {
        Level::Problem => ExitStatus::Failed,
        Level::Good | Level::Warning => ExitStatus::Done,
    })
}

impl CheckArguments {
    fn data(&self) -> Result<serde_json::Value, Failure> {
        match &self.file {
            Some(path) => read_json(path),
            None => {
                let target = self.target.as_deref().unwrap_or_default();
                Ok(request_data(target, &self.target_token, self.connect_timeout, &self.collections))
            }
        }
    }
}

/// The scope of these names at the source.
fn scope(names: &[String]) -> Scope {
    let info = |name: &str| SelectedCollection { name: name.to_owned(), ..SelectedCollection::default() };
    let selection = if names.is_empty() {
        Selection { collection_infos: Some(vec![info("*")]), db_collections: None }
    } else {
        let infos = |(database, names): (&str, Vec<&str>)| {
            (database.to_owned(), names.into_iter().map(info).collect::<Vec<_>>())
        };
        let databases: BTreeMap<_, _> = databases(names).into_iter().map(infos).collect();
        Selection { collection_infos: None, db_collections: Some(databases) }
    };
    Scope::of(&selection)
}

fn as_table(report: &PreflightReport) -> String {
    let row = |finding: &preflight::Finding| {
        let remedy = finding.remedy.clone().unwrap_or_default();
        vec![finding.level.mark().to_string(), finding.about.to_owned(), finding.text.clone(), remedy]
    };
    let rows: Vec<_> = report.findings().iter().map(row).collect();
    let verdict = match report.level() {
        Level::Good => "no problems found",
        Level::Warning => "a task would work; review the findings marked !",
        Level::Problem => "a task will not work until the findings marked ✗ are fixed",
    };
    format!("{}\n{verdict}\n", table(&["", "ABOUT", "FOUND", "WHAT TO DO"], &rows))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_for_each_finding_and_a_verdict() {
        let mut report = PreflightReport::default();
        report.good("source", "answers");
        report.problem("target", "no answer", "start it");
        let expected = "   ABOUT   FOUND      WHAT TO DO\n\
                        ✓  source  answers\n\
                        ✗  target  no answer  start it\n\n\
                        a task will not work until the findings marked ✗ are fixed\n";
        assert_eq!(as_table(&report), expected);
    }

    #[test]
    fn names_and_their_databases() {
        let all = scope(&[]);
        assert!(all.matches("any", "thing"));
        let some = scope(&["a".to_owned(), "db.*".to_owned()]);
        assert!(some.matches("default", "a") && some.matches("db", "x") && !some.matches("default", "b"));
    }
}
