/*!
`milvus-cdc config …`: the configuration that the server would use.
*/

use std::env;
use std::io::{self, Write};
use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::exit::{ExitStatus, Failure};
use super::table::table;
use crate::config::{Config, ConfigError, Leftover, Setting, settings};

/// Which file, and what to do with it.
#[derive(Debug, Args)]
pub struct ConfigArguments {
    /// YAML file to read; without it every setting has its default
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Show every setting, its value and the origin of the value; secrets are masked
    Show {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Check the file as the server does and print the result only
    Validate,
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Failure::new(ExitStatus::Usage, error)
    }
}

pub(super) fn run(arguments: &ConfigArguments) -> Result<(), Failure> {
    let settings = settings(arguments.config.as_deref(), |name| env::var(name).ok())?;
    let text = match arguments.command {
        ConfigCommand::Validate => validate(arguments)?,
        ConfigCommand::Show { json: true } => {
            let shown: Vec<Value> = settings.iter().map(as_json).collect();
            format!("{}\n", Value::from(shown))
        }
        ConfigCommand::Show { json: false } => {
            let rows: Vec<_> =
                settings.into_iter().map(|setting| vec![setting.key, setting.value, setting.from]).collect();
            table(&["KEY", "VALUE", "FROM"], &rows)
        }
    };
    Ok(io::stdout().write_all(text.as_bytes())?)
}

/// The result of the check, and the keys of a Go milvus-cdc's file that are ignored.
fn validate(arguments: &ConfigArguments) -> Result<String, Failure> {
    let config = Config::load(arguments.config.as_deref(), |name| env::var(name).ok())?;
    let leftover = |Leftover { key, line, why }: &Leftover| format!("line {line}: `{key}` has no effect: {why}\n");
    let leftovers: String = config.leftovers.iter().map(leftover).collect();
    Ok(format!("{leftovers}the configuration is valid\n"))
}

fn as_json(setting: &Setting) -> Value {
    json!({"key": setting.key, "value": setting.value, "from": setting.from})
}
