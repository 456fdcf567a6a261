/*!
Owns all tasks: their definitions, whether they run, and the order of what is done to each of them.

One thread holds the state and decides; nothing else changes it, so limits and duplicates cannot be raced. What takes long
happens elsewhere: a target is checked by the thread that serves the request, a task is stopped by a thread of its own, and
while that goes on the other tasks, and `list` and `get` of this one, are served. What concerns the task waits its turn.

A change is stored before it is done. If it cannot be stored, it is not done.
*/

mod claim;
mod command;
mod operations;
mod overlap;
mod owner;

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Sender, bounded};
use parking_lot::Mutex;

use self::command::{Admission, Command, Operation, Reply, Wanted};
pub use self::command::{ManagerError, PositionSource, TaskView};
pub(crate) use self::operations::STOP_TIMEOUT;
use self::owner::Owner;
use super::engine::{Engine, TaskHandle};
use super::spec::{TargetSpec, TaskId, TaskSpec};
use super::verify::VerifyRefused;
use crate::check::Report;
use crate::config::Address;
use crate::journal::{Journal, JournalError};

/// What a check's findings about tasks are filed under.
const TASK: &str = "task";

/// Asks the manager's thread. Cheap to clone, one for each thread that serves requests.
#[derive(Clone)]
pub struct TaskManager {
    commands: Sender<Command>,
    engine: Arc<dyn Engine>,
    /// Held from looking at the targets that are there until one more is: no two creates look past each other.
    creating: Arc<Mutex<()>>,
}

/// The manager's thread, to be joined after [`TaskManager::shutdown`].
#[derive(Debug)]
pub struct ManagerThread(JoinHandle<()>);

/// Why the manager could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The tasks are not readable.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The system gave no thread.
    #[error("cannot start the task manager's thread: {0}")]
    Thread(#[from] io::Error),
}

impl TaskManager {
    /// Takes over what is in the journal, starts what ran before, and serves commands from then on.
    ///
    /// # Errors
    /// [`StartError`] when the journal or a thread is not to be had.
    pub fn start(
        engine: Arc<dyn Engine>,
        journal: Box<dyn Journal>,
        max_tasks: usize,
    ) -> Result<(Self, ManagerThread), StartError> {
        // Handed over, never queued: what the manager's end finds in a queue would stay there, and who asked would wait.
        let (commands, inbox) = bounded(0);
        let mut owner = Owner::new(Arc::clone(&engine), journal, max_tasks, inbox);
        owner.recover()?;
        let thread = thread::Builder::new().name("task-manager".into()).spawn(move || owner.run())?;
        Ok((TaskManager { commands, engine, creating: Arc::default() }, ManagerThread(thread)))
    }

    /// Checks the target, then adds and starts a task. An id that is there already is answered, nothing is changed then.
    ///
    /// # Errors
    /// [`ManagerError`] when the target, the other tasks, the limit or the journal stand against it.
    pub fn create(&self, id: Option<TaskId>, spec: TaskSpec) -> Result<TaskId, ManagerError> {
        self.engine.check_target(&spec.target)?;
        let id = id.unwrap_or_else(TaskId::random);
        let _creating = self.creating.lock();
        let aliases = self.aliases(&spec.target)?;
        let wanted = Wanted { spec: Arc::new(spec), aliases };
        self.change(&id, |reply| Operation::Create(wanted, reply))?;
        Ok(id)
    }

    /// Looks at everything that a task would need, and changes nothing. `pause` is how long one may last.
    ///
    /// # Errors
    /// [`ManagerError::ShuttingDown`]
    pub fn check(&self, id: Option<TaskId>, spec: TaskSpec, pause: Duration) -> Result<Report, ManagerError> {
        let spec = Arc::new(spec);
        let mut report = self.engine.check(&spec, pause);
        let named = id.as_ref().map(ToString::to_string).unwrap_or_default();
        let wanted = Wanted { aliases: self.aliases(&spec.target)?, spec };
        match self.ask(|reply| Command::Admit(id, wanted, reply))? {
            Ok(Admission::New) => {
                report.good(TASK, "no other task of this server carries these collections to the target")
            }
            Ok(Admission::Known) => {
                let text = format!("a task {named} exists: create would answer it and change nothing");
                report.warning(TASK, text, "give another task_id, or delete that task first");
            }
            Err(ManagerError::ShuttingDown) => return Err(ManagerError::ShuttingDown),
            Err(error) => {
                report.problem(TASK, error.to_string(), "change the request, or delete the task that is in the way")
            }
        }
        Ok(report)
    }

    /// Pauses a task; returns when nothing of it is in flight.
    ///
    /// # Errors
    /// [`ManagerError`] when it is not there, paused already, or the journal cannot be written.
    pub fn pause(&self, id: &TaskId) -> Result<(), ManagerError> {
        self.change(id, Operation::Pause)
    }

    /// Lets a paused task go on.
    ///
    /// # Errors
    /// [`ManagerError`] when it is not there, running already, or does not start.
    pub fn resume(&self, id: &TaskId) -> Result<(), ManagerError> {
        self.change(id, Operation::Resume)
    }

    /// Stops and forgets a task.
    ///
    /// # Errors
    /// [`ManagerError`] when it is not there or cannot be removed from the disk.
    pub fn delete(&self, id: &TaskId) -> Result<(), ManagerError> {
        self.change(id, Operation::Delete)
    }

    /// All tasks, in the order of their ids.
    ///
    /// # Errors
    /// [`ManagerError::ShuttingDown`]
    pub fn list(&self) -> Result<Vec<TaskView>, ManagerError> {
        self.ask(Command::List)
    }

    /// One task, if it is there.
    ///
    /// # Errors
    /// [`ManagerError::ShuttingDown`]
    pub fn get(&self, id: &TaskId) -> Result<Option<TaskView>, ManagerError> {
        self.ask(|reply| Command::Get(id.clone(), reply))
    }

    /// Who knows the positions of one task, or of all.
    ///
    /// # Errors
    /// [`ManagerError::ShuttingDown`]
    pub fn positions(&self, id: Option<TaskId>) -> Result<Vec<PositionSource>, ManagerError> {
        self.ask(|reply| Command::Positions(id, reply))
    }

    /// A task that runs.
    ///
    /// # Errors
    /// [`ManagerError`] when it is not there or does not run.
    pub fn running(&self, id: &TaskId) -> Result<Arc<dyn TaskHandle>, ManagerError> {
        let source = self.positions(Some(id.clone()))?.into_iter().next();
        let source = source.ok_or_else(|| ManagerError::NotFound(id.to_string()))?;
        source.running.ok_or(ManagerError::Verify(VerifyRefused::NotRunning))
    }

    /// How many tasks there may be from now on. Those that are there stay.
    pub fn limit(&self, max_tasks: usize) {
        // An error means that it has ended, and makes no tasks any more.
        let _ = self.commands.send(Command::Limit(max_tasks));
    }

    /// Stops all tasks side by side, at the latest at the deadline; they run again after the next start.
    pub fn shutdown(&self, deadline: Instant) {
        // An error means that it has ended already.
        let _ = self.ask(|reply| Command::Shutdown(deadline, reply));
    }

    /// The addresses of other tasks' targets that are other names of this one. Looking may take time.
    fn aliases(&self, target: &TargetSpec) -> Result<Vec<Address>, ManagerError> {
        let mut looked_at: Vec<Address> = vec![target.address().clone()];
        let mut aliases = Vec::new();
        for view in self.list()? {
            let address = view.spec.target.address();
            if looked_at.contains(address) {
                continue;
            }
            looked_at.push(address.clone());
            if !address.same_as(target.address()) && self.engine.is_same_target([target, &view.spec.target]) {
                aliases.push(address.clone());
            }
        }
        Ok(aliases)
    }

    fn change(
        &self,
        id: &TaskId,
        operation: impl FnOnce(Reply<Result<(), ManagerError>>) -> Operation,
    ) -> Result<(), ManagerError> {
        self.ask(|reply| Command::Change(id.clone(), operation(reply)))?
    }

    fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, ManagerError> {
        let (reply, answer) = bounded(1);
        self.commands.send(command(reply)).map_err(|_| ManagerError::ShuttingDown)?;
        answer.recv().map_err(|_| ManagerError::ShuttingDown)
    }
}

impl ManagerThread {
    /// Waits for its end.
    pub fn join(self) {
        if self.0.join().is_err() {
            log::error!("the task manager's thread panicked");
        }
    }
}
