/*!
The binary: command line, configuration, log, server, exit code.
*/

use std::env;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use milvus_cdc::cli::{self, Arguments, ExitStatus};
use milvus_cdc::config::{Config, Leftover};
use milvus_cdc::observe::logging;
use milvus_cdc::server;
use milvus_cdc::task::runner::Runner;
use tikv_jemallocator::Jemalloc;

/// For C++ as well (Cargo.toml says why); its settings are in `.cargo/config.toml`.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    // Prints help, version and mistakes itself, and ends with code 0 or 2.
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
        Err(error) => return cli::tell(&error, ExitStatus::Usage),
    };
    logging::init(config.log_level, config.log_format);
    for Leftover { key, line, why } in &config.leftovers {
        log::warn!(
            "`{key}` in line {line} of the configuration is a key of the Go milvus-cdc and has no meaning here: {why}"
        );
    }
    let config = Arc::new(config);
    let engine = Arc::new(Runner::new(Arc::clone(&config)));
    match server::run(&config, engine, &load) {
        Ok(()) => ExitStatus::Done,
        Err(error) => cli::tell(&error, ExitStatus::CannotStart),
    }
}
