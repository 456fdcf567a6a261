/*!
The server as a whole: what is opened in which order, and closed in which order.

1. The data folder is taken and the journal read: nothing is started on top of damaged or foreign files.
2. The address is bound, so that a taken one is found before any task runs.
3. The tasks that ran before run again.
4. Requests are served until a signal comes.
5. No more requests; all tasks stop side by side; what is still being answered gets its answer.
*/

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::api::Api;
use crate::api::http::{HttpServer, Limits};
use crate::config::{Config, ConfigError};
use crate::journal::{DataDir, DataDirError, FileJournal, JournalError};
use crate::observe::logging;
use crate::signals::{self, Signal, SignalError};
use crate::task::engine::Engine;
use crate::task::folder;
use crate::task::manager::{STOP_TIMEOUT, StartError, TaskManager};

/// How long answers may take after the tasks have stopped.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(500);

/// Why the server could not start.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The data folder.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The tasks of earlier runs.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The API's address.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// As configured.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// The tasks' owner.
    #[error(transparent)]
    Manager(#[from] StartError),
    /// Signals.
    #[error(transparent)]
    Signals(#[from] SignalError),
}

/// Reads the configuration again.
pub type Reload<'a> = &'a dyn Fn() -> Result<Config, ConfigError>;

/// Runs until a signal says stop. With SIGHUP it takes over the log level and the limits of what `reload` reads.
///
/// # Errors
/// [`ServerError`] when it cannot start. Once it runs, it ends by a signal only.
pub fn run(config: &Config, engine: Arc<dyn Engine>, reload: Reload<'_>) -> Result<(), ServerError> {
    if config.is_open_to_all() {
        log::warn!(
            "everybody who reaches {} may use the API: there is no api.token, and api.allowUnauthenticated is set",
            config.address
        );
    }
    let signals = signals::listen()?;
    let data_dir = DataDir::open(&config.data_dir)?;
    folder::remove_leftovers(data_dir.path());
    let journal = FileJournal::open(data_dir.path())?;
    let listen = |source| ServerError::Listen { address: config.address.clone(), source };
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
            Signal::Reload => take_over(reload(), config, &manager, &api),
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

/// Takes over what can change while the server runs. A configuration that is wrong changes nothing.
fn take_over(read: Result<Config, ConfigError>, at_start: &Config, manager: &TaskManager, api: &Api) {
    let config = match read {
        Ok(config) => config,
        Err(error) => return log::error!("SIGHUP received, but nothing is taken over: {error}"),
    };
    logging::set_level(config.log_level);
    manager.limit(config.max_task_num);
    api.limit_names(config.max_name_length);
    let level = config.log_level.as_str().to_ascii_lowercase();
    log::info!(logLevel:% = level, maxTaskNum = config.max_task_num, maxNameLength = config.max_name_length;
        "SIGHUP received, taken over");
    let mut rest = config;
    (rest.log_level, rest.max_task_num) = (at_start.log_level, at_start.max_task_num);
    rest.max_name_length = at_start.max_name_length;
    if rest != *at_start {
        log::warn!("the configuration has other changes, which count after a restart only");
    }
}
