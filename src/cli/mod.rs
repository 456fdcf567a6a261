/*!
The command line: what may be typed ([`Arguments`]), what it does (`task`, `config`), and how it ends ([`ExitStatus`]).
*/

mod check;
mod client;
mod config;
mod table;
mod task;
mod verify;

use std::convert::Infallible;
use std::io::{self, Write};
use std::path::PathBuf;

use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use crate::config::{API_TOKEN_VARIABLE, Secret, can_be_sent, without_line_end};

/// Keeps one or more Milvus in step with another.
///
/// Without a command it serves. Tasks are made, listed, paused, resumed and deleted with `milvus-cdc task`, or with POST requests to
/// /cdc.
#[derive(Debug, Parser)]
#[command(name = "milvus-cdc", version, after_help = AFTER_HELP, args_conflicts_with_subcommands = true)]
pub struct Arguments {
    /// What to do instead of serving.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// YAML file to read; without it every setting has its default
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Everything but serving.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Ask a running server about its tasks, or change them
    Task(task::TaskArguments),
    /// Look whether a task would work, changing nothing: both servers, logins, the log, collections, room
    Check(check::CheckArguments),
    /// Ask a running server whether it is alive, for health checks of containers
    Health(HealthArguments),
    /// Compare source and target of a running task: catalog, number of rows, every row
    Verify(verify::VerifyArguments),
    /// Compare, and make the target what the source is, through the task
    Repair(verify::RepairArguments),
    /// Look at the configuration without serving
    Config(config::ConfigArguments),
    /// Print a completion script for a shell, such as `milvus-cdc completions bash`
    Completions {
        /// Which shell
        shell: Shell,
    },
}

/// Whom to ask.
#[derive(Debug, Args)]
pub struct HealthArguments {
    /// Where the server listens
    #[arg(long, value_name = "URL", env = "MILVUS_CDC_URL", default_value = "http://127.0.0.1:8444",
          value_parser = client::ServerUrl::parse)]
    server: client::ServerUrl,
}

const AFTER_HELP: &str = "\
Environment:
  MILVUS_CDC_SOURCE_TOKEN  the source's token; wins over the one in the config file
  MILVUS_CDC_API_TOKEN     the token of the API, for the server and for `task`; wins over the one in the config file
  MILVUS_CDC_URL           where `task` finds the server
  MILVUS_CDC_TARGET_TOKEN  the target's token for `task create` and `check`

Exit codes:
  0    stopped by SIGTERM or SIGINT; a command that went well; verify, repair: both sides are equal
  1    a command could not be done: the server refused it, or did not answer; check: found a problem; verify, repair: the sides differ
  2    the command line or the config file is wrong; verify, repair: could not compare
  3    could not start: dataDir is in use, unreadable or damaged, or the address is taken
  101  an internal error, which is a bug";

/// How the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitStatus {
    /// Stopped by a signal, or a command that went well.
    Done,
    /// A command could not be done.
    Failed,
    /// Wrong command line or config.
    Usage,
    /// Could not start.
    CannotStart,
    /// Source and target of a task differ.
    Different,
    /// They could not be compared.
    NotCompared,
}

impl ExitStatus {
    /// The exit code, as `--help` documents it.
    pub fn code(self) -> u8 {
        match self {
            ExitStatus::Done => 0,
            ExitStatus::Failed | ExitStatus::Different => 1,
            ExitStatus::Usage | ExitStatus::NotCompared => 2,
            ExitStatus::CannotStart => 3,
        }
    }
}

/// Does what was typed.
pub fn run(command: Command) -> ExitStatus {
    let done = match command {
        Command::Task(arguments) => task::run(&arguments).map(|()| ExitStatus::Done),
        Command::Verify(arguments) => verify::verify(&arguments),
        Command::Repair(arguments) => verify::repair(&arguments),
        Command::Check(arguments) => check::run(&arguments),
        Command::Health(arguments) => health(arguments.server).map(|()| ExitStatus::Done),
        Command::Config(arguments) => config::run(&arguments).map(|()| ExitStatus::Done),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "milvus-cdc", &mut script);
            io::stdout().write_all(&script).map(|()| ExitStatus::Done).map_err(Failure::from)
        }
    };
    match done {
        Ok(status) => status,
        Err(Failure { message: None, status }) => status,
        Err(Failure { status, message: Some(message) }) => tell(&message, status),
    }
}

fn health(url: client::ServerUrl) -> Result<(), Failure> {
    client::Client { url, token: Secret::default() }.health()?;
    Ok(writeln!(io::stdout(), "ok")?)
}

/// A secret from an argument or a variable, without the line ends that one from a file may have. Takes every text: clap would print
/// one that it is told to refuse.
fn secret(text: &str) -> Result<Secret, Infallible> {
    Ok(Secret::new(without_line_end(text)))
}

/// The API's token, if it can be sent.
fn api_token(given: &Secret) -> Result<Secret, Failure> {
    match can_be_sent(given.expose()) {
        true => Ok(given.clone()),
        false => {
            let message = format!("--token or {API_TOKEN_VARIABLE}: only visible ASCII characters can be sent");
            Err(Failure::new(ExitStatus::Usage, message))
        }
    }
}

/// One line for the person who typed the command.
pub fn tell(message: &dyn std::fmt::Display, status: ExitStatus) -> ExitStatus {
    // Without a stderr there is nobody to tell; the exit code still does.
    let _ = writeln!(io::stderr(), "milvus-cdc: {message}");
    status
}

/// Why a command ends early; without a message when nobody reads on, or when the output has said it.
#[derive(Debug)]
struct Failure {
    status: ExitStatus,
    message: Option<String>,
}

impl Failure {
    fn new(status: ExitStatus, message: impl ToString) -> Self {
        Failure { status, message: Some(message.to_string()) }
    }

    fn silent(status: ExitStatus) -> Self {
        Failure { status, message: None }
    }
}

/// Of writing to stdout.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            // `milvus-cdc task list | head` has what it wants.
            io::ErrorKind::BrokenPipe => Failure::silent(ExitStatus::Done),
            _ => Failure::new(ExitStatus::Failed, format!("cannot write the output: {error}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
        assert_eq!(Arguments::parse_from(["milvus-cdc"]).config, None);
        assert_eq!(Arguments::parse_from(["milvus-cdc", "--config", "a"]).config, Some("a".into()));
        let wrong = ["milvus-cdc", "--config", "a", "task", "list"];
        assert!(Arguments::try_parse_from(wrong).is_err());
    }

    #[test]
    fn a_token_that_cannot_be_sent_is_not_shown() {
        for wrong in ["s3 cret", "s3cret\nx", "s3cr\u{e9}t"] {
            for words in [&["task", "list"][..], &["verify", "one"], &["repair", "one"]] {
                let words = [&["milvus-cdc"], words, &["--token", wrong]].concat();
                let told = match Arguments::try_parse_from(words).map(|arguments| arguments.command.unwrap()) {
                    Ok(Command::Task(arguments)) => task::run(&arguments).unwrap_err(),
                    Ok(Command::Verify(arguments)) => verify::verify(&arguments).unwrap_err(),
                    Ok(Command::Repair(arguments)) => verify::repair(&arguments).unwrap_err(),
                    Ok(other) => panic!("{other:?}"),
                    Err(error) => panic!("clap shows it: {error}"),
                };
                assert_eq!(told.status, ExitStatus::Usage);
                assert!(told.message.unwrap().starts_with("--token or MILVUS_CDC_API_TOKEN: only visible ASCII"));
            }
        }
        assert_eq!(api_token(&secret("t0ken\r\n").unwrap()).unwrap().expose(), "t0ken");
    }

    #[test]
    fn help_tells_every_exit_code() {
        let help = Arguments::command().render_long_help().to_string();
        for status in [ExitStatus::Done, ExitStatus::Failed, ExitStatus::Usage, ExitStatus::CannotStart] {
            assert!(help.contains(&format!("\n  {}    ", status.code())), "{help}");
        }
    }
}
