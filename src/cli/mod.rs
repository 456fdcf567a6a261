/*!
The command line: its arguments ([`Arguments`]), its commands (a module each), and its exit codes ([`ExitStatus`]).
*/

mod check;
mod client;
mod config;
mod exit;
mod failback;
mod failover;
mod request;
mod secret;
mod switchover;
mod table;
mod task;
mod verify;

use std::io::{self, Write};
use std::path::PathBuf;

use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use self::exit::Failure;
pub use self::exit::{ExitStatus, report};
use crate::config::Secret;

/// Replicates a Milvus to one or more others.
///
/// Without a command it runs the server. Tasks are created, listed, paused, resumed and deleted with `milvus-cdc task`,
/// or with POST requests to /cdc.
#[derive(Debug, Parser)]
#[command(name = "milvus-cdc", version, after_help = AFTER_HELP, args_conflicts_with_subcommands = true)]
pub struct Arguments {
    /// The command; the server without one.
    #[command(subcommand)]
    pub command: Option<CliCommand>,
    /// YAML file to read; without it every setting has its default
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Every command.
#[derive(Debug, Subcommand)]
pub enum CliCommand {
    /// Show or change the tasks of a running server
    Task(task::TaskArguments),
    /// Check whether a task would work, changing nothing: both servers, logins, the log, collections, disk space
    Check(check::CheckArguments),
    /// Check that a running server is alive, for health checks of containers
    Health(HealthArguments),
    /// Compare source and target of a running task: catalog, row counts, every row
    Verify(verify::VerifyArguments),
    /// Compare, and make the target equal to the source through the task
    Repair(verify::RepairArguments),
    /// Let a task's target take the place of a source that is gone, for good
    Failover(failover::FailoverArguments),
    /// List what a returned old primary has written that never got across, and decide about it
    Failback(failback::FailbackArguments),
    /// Show which part a task's source and target play
    Pair(failover::PairArguments),
    /// Let the sites of a task change places while both are well
    Switchover(switchover::SwitchoverArguments),
    /// Show or check the configuration
    Config(config::ConfigArguments),
    /// Print a completion script for a shell, such as `milvus-cdc completions bash`
    Completions {
        /// Which shell
        shell: Shell,
    },
}

/// The server to check.
#[derive(Debug, Args)]
pub struct HealthArguments {
    /// Address of the server
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
  SSL_CERT_FILE            PEM file of the authority that signed the certificate of an https:// server;
                           without it, those that the system trusts

Exit codes:
  0    stopped by SIGTERM or SIGINT; a command succeeded; verify, repair: both sides are equal
  1    a command failed: the server refused it or did not answer; check: found a problem;
       verify, repair: the sides differ
  2    the command line or the config file is wrong; verify, repair: could not compare;
       failover, failback, switchover: not yet done
  3    could not start: dataDir is in use, unreadable or damaged, or the address is taken
  101  an internal error, which is a bug";

/// Executes a command.
pub fn run(command: CliCommand) -> ExitStatus {
    let done = match command {
        CliCommand::Task(arguments) => task::run(&arguments).map(|()| ExitStatus::Done),
        CliCommand::Verify(arguments) => verify::verify(&arguments),
        CliCommand::Repair(arguments) => verify::repair(&arguments),
        CliCommand::Failover(arguments) => failover::failover(&arguments),
        CliCommand::Failback(arguments) => failback::failback(&arguments),
        CliCommand::Switchover(arguments) => switchover::switchover(&arguments),
        CliCommand::Pair(arguments) => failover::pair(&arguments).map(|()| ExitStatus::Done),
        CliCommand::Check(arguments) => check::run(&arguments),
        CliCommand::Health(arguments) => health(arguments.server).map(|()| ExitStatus::Done),
        CliCommand::Config(arguments) => config::run(&arguments).map(|()| ExitStatus::Done),
        CliCommand::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "milvus-cdc", &mut script);
            io::stdout().write_all(&script).map(|()| ExitStatus::Done).map_err(Failure::from)
        }
    };
    match done {
        Ok(status) => status,
        Err(Failure { message: None, status }) => status,
        Err(Failure { status, message: Some(message) }) => report(&message, status),
    }
}

fn health(url: client::ServerUrl) -> Result<(), Failure> {
    client::ApiClient { url, token: Secret::default() }.health()?;
    Ok(writeln!(io::stdout(), "ok")?)
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
                let failure = match Arguments::try_parse_from(words).map(|arguments| arguments.command.unwrap()) {
                    Ok(CliCommand::Task(arguments)) => task::run(&arguments).unwrap_err(),
                    Ok(CliCommand::Verify(arguments)) => verify::verify(&arguments).unwrap_err(),
                    Ok(CliCommand::Repair(arguments)) => verify::repair(&arguments).unwrap_err(),
                    Ok(other) => panic!("{other:?}"),
                    Err(error) => panic!("clap shows it: {error}"),
                };
                assert_eq!(failure.status, ExitStatus::Usage);
                assert!(failure.message.unwrap().starts_with("--token or MILVUS_CDC_API_TOKEN: only visible ASCII"));
            }
        }
        let token = secret::secret("t0ken\r\n").unwrap();
        assert_eq!(secret::api_token(&token).unwrap().expose(), "t0ken");
    }

    #[test]
    fn help_tells_every_exit_code() {
        let help = Arguments::command().render_long_help().to_string();
        for status in [ExitStatus::Done, ExitStatus::Failed, ExitStatus::Usage, ExitStatus::CannotStart] {
            assert!(help.contains(&format!("\n  {}    ", status.code())), "{help}");
        }
    }
}
