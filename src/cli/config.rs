/*!
`milvus-cdc config …`: what the server would run with.
*/

use std::env;
use std::io::{self, Write};
use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::table::table;
use super::{ExitStatus, Failure};
use crate::config::{Config, ConfigError, Leftover, Setting, settings};

/// What to do with which file.
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
    /// Every setting, its value and where that came from; secrets are masked
    Show {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Read and check it like the server does, and say nothing more than whether it is right
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
                settings.into_iter().map(|setting| vec![setting.key.to_owned(), setting.value, setting.from]).collect();
            table(&["KEY", "VALUE", "FROM"], &rows)
        }
    };
    Ok(io::stdout().write_all(text.as_bytes())?)
}

/// That it is right, and which keys of a Go milvus-cdc's file are left over.
fn validate(arguments: &ConfigArguments) -> Result<String, Failure> {
    let config = Config::load(arguments.config.as_deref(), |name| env::var(name).ok())?;
    let leftover =
        |Leftover { key, line, why }: &Leftover| format!("line {line}: `{key}` has no meaning here: {why}\n");
    let leftovers: String = config.leftovers.iter().map(leftover).collect();
    Ok(format!("{leftovers}the configuration is right\n"))
}

fn as_json(setting: &Setting) -> Value {
    json!({"key": setting.key, "value": setting.value, "from": setting.from})
}
