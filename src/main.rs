/*!
The binary: command line, configuration, log, server, exit code.
*/

use std::env;
use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use milvus_cdc::cli::{Arguments, ExitStatus};
use milvus_cdc::config::Config;
use milvus_cdc::observe::logging;
use milvus_cdc::server;
use milvus_cdc::task::runner::Runner;

fn main() -> ExitCode {
    // Prints help, version and mistakes itself, and ends with code 0 or 2.
    let arguments = Arguments::parse();
    ExitCode::from(run(&arguments).code())
}

fn run(arguments: &Arguments) -> ExitStatus {
    let config = match Config::load(arguments.config.as_deref(), |name| env::var(name).ok()) {
        Ok(config) => config,
        Err(error) => return fail(&error, ExitStatus::Usage),
    };
    logging::init(config.log_level);
    let config = Arc::new(config);
    let engine = Arc::new(Runner::new(Arc::clone(&config)));
    match server::run(&config, engine) {
        Ok(()) => ExitStatus::Stopped,
        Err(error) => fail(&error, ExitStatus::CannotStart),
    }
}

/// One line for the person who typed the command.
fn fail(error: &dyn std::error::Error, status: ExitStatus) -> ExitStatus {
    // Without a stderr there is nobody to tell; the exit code still does.
    let _ = writeln!(std::io::stderr(), "milvus-cdc: {error}");
    status
}
