/*!
The binary: parses the command line, then runs a command or the server, and sets the exit code.
*/

use std::env;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use milvus_cdc::cli::{Arguments, ExitStatus};
use milvus_cdc::{Config, Leftover, Runner, cli, init_logging, server};
use tikv_jemallocator::Jemalloc;

/// Used by the C++ libraries as well (Cargo.toml says why); its settings are in `.cargo/config.toml`.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    // Prints help, version and usage errors itself, and exits with code 0 or 2.
    let arguments = Arguments::parse();
    let status = match arguments.command {
        Some(command) => cli::run(command),
        None => serve(arguments.config.as_deref()),
    };
    ExitCode::from(status.code())
}

fn serve(path: Option<&Path>) -> ExitStatus {
    let load = || Config::load(path, |name| env::var(name).ok());
    let config = match load() {
        Ok(config) => config,
        Err(error) => return cli::report(&error, ExitStatus::Usage),
    };
    init_logging(config.log_level, config.log_format);
    for Leftover { key, line, why } in &config.leftovers {
        log::warn!(
            "`{key}` in line {line} of the configuration is a key of the Go milvus-cdc and has no effect: {why}"
        );
    }
    let config = Arc::new(config);
    let engine = Arc::new(Runner::new(Arc::clone(&config)));
    match server::run(&config, engine, &load) {
        Ok(()) => ExitStatus::Done,
        Err(error) => cli::report(&error, ExitStatus::CannotStart),
    }
}
