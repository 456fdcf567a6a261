/*!
The life of the server: the order in which its parts start and stop.

1. The data folder is locked and the journal read: nothing starts on top of damaged or foreign files.
2. The address is bound, so that a conflict is found before any task runs.
3. The tasks that were running are started again.
4. Requests are served until a signal arrives.
5. No request is accepted any more, all tasks stop concurrently, and pending requests get their answers.
*/

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::api::Api;
use crate::api::http::{HttpServer, Limits};
use crate::config::{Config, ConfigError};
use crate::manager::engine::Engine;
use crate::manager::store::{FileJournal, JournalError};
use crate::manager::{ManagerStartError, STOP_TIMEOUT, TaskManager};
use crate::observe::logging;
use crate::signals::{self, Signal, SignalError};
use crate::storage::{DataDir, DataDirError, task_folder};

/// Time for pending answers after the tasks have stopped.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(500);

/// Why the server could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartupError {
    /// The data folder cannot be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The journal cannot be read.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The API's address cannot be bound.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Address as configured.
        address: String,
        /// Error of the operating system.
        source: io::Error,
    },
    /// The task manager could not start.
    #[error(transparent)]
    Manager(#[from] ManagerStartError),
    /// Signals cannot be received.
    #[error(transparent)]
    Signals(#[from] SignalError),
}

/// Reloads the configuration.
pub type Reload<'a> = &'a dyn Fn() -> Result<Config, ConfigError>;

/// Runs the server until a signal stops it. SIGHUP applies the log level and the limits that `reload` returns.
///
/// # Errors
/// [`StartupError`] when the server cannot start. Once it runs, only a signal ends it.
pub fn run(config: &Config, engine: Arc<dyn Engine>, reload: Reload<'_>) -> Result<(), StartupError> {
    if config.is_open_to_all() {
        log::warn!(
            "the API at {} is open to everyone who can reach it: no api.token, and api.allowUnauthenticated is set",
            config.address
        );
    }
    let signals = signals::listen()?;
    let data_dir = DataDir::open(&config.data_dir)?;
    task_folder::remove_leftovers(data_dir.path());
    let journal = FileJournal::open(data_dir.path())?;
    let listen = |source| StartupError::Listen { address: config.address.clone(), source };
    let listener = TcpListener::bind(&config.address).map_err(listen)?;

    let (manager, manager_thread) = TaskManager::start(engine, Box::new(journal), config.max_task_num)?;
    let api = Arc::new(Api::new(manager.clone(), config));
    let serving = Arc::clone(&api);
    let http =
        HttpServer::start(listener, Limits::default(), move |request| serving.handle(request)).map_err(listen)?;
    log::info!("serving on http://{}, data in {}", http.address(), data_dir.path().display());

    let name = loop {
        match signals.wait() {
            Signal::Stop(name) => break name,
            Signal::Reload => apply(reload(), config, &manager, &api),
        }
    };
    log::info!("{name} received, stopping");
    let deadline = Instant::now() + STOP_TIMEOUT;
    http.stop_accepting();
    manager.shutdown(deadline);
    manager_thread.join();
    http.finish(deadline.min(Instant::now() + ANSWER_TIMEOUT));
    log::info!("stopped");
    Ok(())
}

/// Applies the settings that may change while the server runs. An invalid configuration changes nothing.
fn apply(reloaded: Result<Config, ConfigError>, at_start: &Config, manager: &TaskManager, api: &Api) {
    let config = match reloaded {
        Ok(config) => config,
        Err(error) => return log::error!("SIGHUP: reload failed, keeping the current configuration: {error}"),
    };
    logging::set_level(config.log_level);
    manager.limit(config.max_task_num);
    api.limit_names(config.max_name_length);
    let level = config.log_level.as_str().to_ascii_lowercase();
    log::info!(logLevel:% = level, maxTaskNum = config.max_task_num, maxNameLength = config.max_name_length;
        "SIGHUP: configuration reloaded");
    let mut rest = config;
    (rest.log_level, rest.max_task_num) = (at_start.log_level, at_start.max_task_num);
    rest.max_name_length = at_start.max_name_length;
    if rest != *at_start {
        log::warn!("other configuration changes take effect after a restart");
    }
}
