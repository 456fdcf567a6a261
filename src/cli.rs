/*!
The command line.
*/

use std::path::PathBuf;

use clap::Parser;

/// Keeps one or more Milvus in step with another.
///
/// Tasks are made, listed, paused, resumed and deleted with POST requests to /cdc; see the examples that come with it.
#[derive(Debug, Parser)]
#[command(name = "milvus-cdc", version, after_help = AFTER_HELP)]
pub struct Arguments {
    /// YAML file to read; without it every setting has its default
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

const AFTER_HELP: &str = "\
Environment:
  MILVUS_CDC_SOURCE_TOKEN  the source's token; wins over the one in the config file

Exit codes:
  0    stopped by SIGTERM or SIGINT
  2    the command line or the config file is wrong
  3    could not start: dataDir is in use, unreadable or damaged, or the address is taken
  101  an internal error, which is a bug";

/// How the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitStatus {
    /// Stopped by a signal.
    Stopped,
    /// Wrong command line or config.
    Usage,
    /// Could not start.
    CannotStart,
}

impl ExitStatus {
    /// The exit code, as `--help` documents it.
    pub fn code(self) -> u8 {
        match self {
            ExitStatus::Stopped => 0,
            ExitStatus::Usage => 2,
            ExitStatus::CannotStart => 3,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
        assert_eq!(Arguments::parse_from(["milvus-cdc"]).config, None);
        assert_eq!(Arguments::parse_from(["milvus-cdc", "--config", "a"]).config, Some("a".into()));
    }

    #[test]
    fn help_tells_every_exit_code() {
        let help = Arguments::command().render_long_help().to_string();
        for status in [ExitStatus::Stopped, ExitStatus::Usage, ExitStatus::CannotStart] {
            assert!(help.contains(&format!("\n  {}    ", status.code())), "{help}");
        }
    }
}
