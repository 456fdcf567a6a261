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
use crate::config::Config;
use crate::journal::{DataDir, DataDirError, FileJournal, JournalError};
use crate::signals::{self, SignalError, StopSignal};
use crate::task::engine::Engine;
use crate::task::manager::{StartError, TaskManager};

/// How long stopping may take.
const STOP_TIMEOUT: Duration = Duration::from_secs(9);
/// How long answers may take after that.
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

/// Runs until a signal says stop.
///
/// # Errors
/// [`ServerError`] when it cannot start. Once it runs, it ends by a signal only.
pub fn run(config: &Config, engine: Arc<dyn Engine>) -> Result<(), ServerError> {
    if config.is_open_to_all() {
        log::warn!(
            "everybody who reaches {} may use the API: there is no api.token, and api.allowUnauthenticated is set",
            config.address
        );
    }
    let stop = signals::listen()?;
    let data_dir = DataDir::open(&config.data_dir)?;
    let journal = FileJournal::open(data_dir.path())?;
    let listen = |source| ServerError::Listen { address: config.address.clone(), source };
    let listener = TcpListener::bind(&config.address).map_err(listen)?;

    let (manager, manager_thread) = TaskManager::start(engine, Box::new(journal), config.max_task_num)?;
    let api = Api::new(manager.clone(), config);
    let http = HttpServer::start(listener, Limits::default(), move |request| api.handle(request)).map_err(listen)?;
    log::info!("serving on http://{}, data in {}", http.address(), data_dir.path().display());

    let StopSignal(name) = stop.wait();
    log::info!("{name} received, stopping");
    let deadline = Instant::now() + STOP_TIMEOUT;
    http.stop_accepting();
    manager.shutdown(deadline);
    manager_thread.join();
    http.finish(deadline.min(Instant::now() + ANSWER_TIMEOUT));
    log::info!("stopped");
    Ok(())
}
