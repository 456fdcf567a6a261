/*!
Owns all tasks: their definitions, their states, and the order of the operations on each of them.

One thread holds the state and decides; nothing else changes it, so concurrent requests cannot exceed limits or create
duplicates. Slow work happens elsewhere: the thread that serves the request visits the target, and a thread of its own
stops a task. Meanwhile the manager serves the other tasks, and `list` and `get` of this one; further operations on this
task wait in order.

A change is stored before it takes effect. A change that cannot be stored does not happen.
*/

mod command;
pub mod engine;
mod failback;
mod failover;
#[cfg(test)]
mod noting_engine;
mod operations;
mod overlap;
mod owner;
mod ownership;
mod same_id;
pub mod store;
mod switchover;
mod switchover_comparison;
mod switchover_view;
mod switchover_watch;

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Sender, bounded};
use parking_lot::Mutex;

use self::command::{Admission, ManagerCommand, Operation, Reply, TaskRequest, permitted};
pub use self::command::{FailbackOrder, FailoverOrder, ManagerError, PositionSource, SwitchoverOrder, TaskView};
use self::engine::{AdmissionReport, Engine, SourceSighting, TaskHandle};
pub(crate) use self::operations::STOP_TIMEOUT;
use self::owner::Owner;
use crate::domain::TaskId;
use crate::manager::store::{Journal, JournalError};
use crate::observe::thread::ThreadSpec;
use crate::preflight::{CheckExtent, PreflightReport};
use crate::task::collection_request::{CollectionOutcome, CollectionWish};
use crate::task::drops::{DropDecision, DropsView};
use crate::task::failback::{LostLines, LostWrites};
use crate::task::refused_rows::{RefusedRow, RefusedRowsDecision};
use crate::task::role::Insistence;
use crate::task::spec::{TargetSpec, TaskSpec};
use crate::verify::VerifyRefused;

/// The subject of a check's findings about other tasks.
const TASK: &str = "task";

/// A client of the manager's thread. Cheap to clone, one for each thread that serves requests.
#[derive(Clone)]
pub struct TaskManager {
    commands: Sender<ManagerCommand>,
    engine: Arc<dyn Engine>,
    /// Held from listing the existing targets until the new task is among them: no two creates miss each other.
    creating: Arc<Mutex<()>>,
}

/// A task that was created, or was there already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreatedTask {
    /// Its id.
    pub id: TaskId,
    /// What a user should know before relying on it.
    pub warnings: Vec<String>,
}

/// The handle of the manager's thread, to be joined after [`TaskManager::shutdown`].
#[derive(Debug)]
pub struct ManagerThread(JoinHandle<()>);

/// Why the manager could not start.
#[derive(Debug, thiserror::Error)]
pub enum ManagerStartError {
    /// The journal cannot be read.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The system refused a thread.
    #[error("cannot start the task manager's thread: {0}")]
    Thread(#[from] io::Error),
}

impl TaskManager {
    /// Loads the journal, starts the tasks that were running, and serves commands from then on.
    ///
    /// # Errors
    /// [`ManagerStartError`] when the journal cannot be read or the thread cannot be started.
    pub fn start(
        engine: Arc<dyn Engine>,
        journal: Box<dyn Journal>,
        max_tasks: usize,
    ) -> Result<(Self, ManagerThread), ManagerStartError> {
        // A rendezvous, not a queue: commands left in a queue when the manager ends would never be answered.
        let (commands, inbox) = bounded(0);
        let mut owner = Owner::new(Arc::clone(&engine), journal, max_tasks, inbox);
        owner.recover()?;
        let thread = ThreadSpec::of_server("task-manager").spawn(move || owner.run())?;
        Ok((TaskManager { commands, engine, creating: Arc::default() }, ManagerThread(thread)))
    }

    /// Visits the target, then adds and starts a task. If a task with this id exists, its id is answered and nothing
    /// changes.
    ///
    /// # Errors
    /// [`ManagerError`] when the target, another task, the limit or the journal prevents it.
    pub fn create(&self, id: Option<TaskId>, spec: TaskSpec) -> Result<CreatedTask, ManagerError> {
        let id = id.unwrap_or_else(TaskId::random);
        let mut compared = self.tasks_on_other_addresses(&spec.target)?;
        let AdmissionReport { mut aliases, warnings } = self.engine.admit(&spec, &compared)?;
        loop {
            let creating = self.creating.lock();
            let mut missed = self.tasks_on_other_addresses(&spec.target)?;
            missed.retain(|task| !compared.iter().any(|known| known.target.address() == task.target.address()));
            if missed.is_empty() {
                let request = TaskRequest { spec: Arc::new(spec), aliases };
                self.change(&id, |reply| Operation::Create(request, reply))?;
                warnings.iter().for_each(|warning| log::warn!(task:% = id; "{warning}"));
                return Ok(CreatedTask { id, warnings });
            }
            // Created while the target was visited. Servers are never contacted with the lock held.
            drop(creating);
            aliases.extend(self.engine.aliases(&spec.target, &missed));
            compared.extend(missed);
        }
    }

    /// Creates the task in the opposite direction of another one, which goes on. It begins at the end that the log of
    /// that one's target has now, and copies nothing of what both sides have. If it exists, its id is answered.
    ///
    /// # Errors
    /// As [`Self::create`]; [`ManagerError::NoOpposite`] when the task has none.
    pub fn create_opposite(&self, id: Option<TaskId>, of: &TaskId) -> Result<CreatedTask, ManagerError> {
        let view = self.view(of)?;
        // After a failover it would leave out what users have written to the target since.
        permitted(of, &view.role)?;
        let id = id.unwrap_or_else(|| of.reversed());
        let opposite = self.engine.opposite_of(of, &view.spec);
        let opposite = opposite.map_err(|source| ManagerError::NoOpposite { id: of.clone(), source })?;
        self.create(Some(id), opposite)
    }

    /// Checks everything that a task would need, and changes nothing. `pause` is the longest pause that the log must
    /// bridge.
    ///
    /// # Errors
    /// [`ManagerError::ShuttingDown`]
    pub fn check(
        &self,
        id: Option<TaskId>,
        spec: TaskSpec,
        pause: Duration,
        extent: CheckExtent,
    ) -> Result<PreflightReport, ManagerError> {
        let mut report = self.engine.check(&spec, pause, extent);
        let name = id.as_ref().map(ToString::to_string).unwrap_or_default();
        let aliases = self.engine.aliases(&spec.target, &self.tasks_on_other_addresses(&spec.target)?);
        let request = TaskRequest { spec: Arc::new(spec), aliases };
        match self.ask(|reply| ManagerCommand::Admit(id, request, reply))? {
            Ok(Admission::New) => {
                report.good(TASK, "no other task of this server replicates these collections to the target")
            }
            Ok(Admission::Known) if extent == CheckExtent::Recovery => {
                report.good(TASK, format!("the task {name} exists"))
            }
            Ok(Admission::Known) => {
                let text = format!("a task {name} exists: create would return its id and change nothing");
                report.warning(TASK, text, "choose another task_id, or delete that task first");
            }
            Err(ManagerError::ShuttingDown) => return Err(ManagerError::ShuttingDown),
            Err(error) => {
                report.problem(TASK, error.to_string(), "change the request, or delete the task that is in the way")
            }
        }
        Ok(report)
    }

    /// Pauses a task; returns when none of its calls is in flight.
    ///
    /// # Errors
    /// [`ManagerError`] when it does not exist, is paused already, or the journal cannot be written.
    pub fn pause(&self, id: &TaskId) -> Result<(), ManagerError> {
        self.change(id, Operation::Pause)
    }

    /// Resumes a paused task.
    ///
    /// # Errors
    /// [`ManagerError`] when it does not exist, is running already, or does not start.
    pub fn resume(&self, id: &TaskId) -> Result<(), ManagerError> {
        self.change(id, Operation::Resume)
    }

    /// A task at this moment.
    ///
    /// # Errors
    /// [`ManagerError`] when it does not exist.
    pub fn view(&self, id: &TaskId) -> Result<TaskView, ManagerError> {
        self.get(id)?.ok_or_else(|| ManagerError::NotFound(id.to_string()))
    }

    /// Visits the target with another connection to it, then lets a task use that; its place stays. A task that an
    /// error has stopped runs again, a paused one stays paused.
    ///
    /// # Errors
    /// [`ManagerError`] when the task does not exist, the connection leads elsewhere or nowhere, or the journal cannot
    /// be written.
    pub fn reconnect(&self, id: &TaskId, target: TargetSpec) -> Result<(), ManagerError> {
        let view = self.view(id)?;
        permitted(id, &view.role)?;
        let known = view.spec.target.address();
        if !known.same_as(target.address()) {
            return Err(ManagerError::OtherTarget { id: id.clone(), target: known.clone() });
        }
        let spec = TaskSpec { target, ..TaskSpec::clone(&view.spec) };
        self.engine.admit(&spec, &[])?;
        self.change(id, |reply| Operation::Reconnect(Box::new(spec.target), reply))
    }

    /// Lets the target take the source's place, or gives that up. Answers once the role is on disk and what it is for
    /// runs; the end of a failover shows in the task's role.
    ///
    /// # Errors
    /// [`ManagerError`] when the task does not exist, the source answers and nobody insists, the role does not allow
    /// it, or the journal cannot be written.
    pub fn fail_over(&self, id: &TaskId, order: FailoverOrder) -> Result<(), ManagerError> {
        if order == FailoverOrder::Begin(Insistence::Patient)
            && let Some(why) = self.failover_objection(id)?
        {
            return Err(why);
        }
        self.change(id, |reply| Operation::Failover(order, reply))
    }

    /// Why a failover that does not insist would not begin now. Asks the source.
    ///
    /// # Errors
    /// [`ManagerError`] when the task does not exist.
    pub fn failover_objection(&self, id: &TaskId) -> Result<Option<ManagerError>, ManagerError> {
        let view = self.view(id)?;
        // One that has begun goes on.
        if view.role.permits_change().is_err() {
            return Ok(None);
        }
        let source = self.look_at_source(&view.spec);
        Ok(source.answers.then_some(ManagerError::SourceAnswers(source.address)))
    }

    /// Begins a failback, gives it another plan, or gives it up. Answers once the role is on disk and what it is for
    /// runs; its end shows in the task's role.
    ///
    /// # Errors
    /// [`ManagerError`] when the task does not exist, the role does not allow it, or the journal cannot be written.
    pub fn fail_back(&self, id: &TaskId, order: FailbackOrder) -> Result<(), ManagerError> {
        self.change(id, |reply| Operation::Failback(order, reply))
    }

    /// The lost writes of a task's old primary, as they were listed last.
    ///
    /// # Errors
    /// [`ManagerError`] when the file cannot be read.
    pub fn lost_writes(&self, id: &TaskId) -> Result<Option<LostWrites>, ManagerError> {
        Ok(self.engine.lost_writes(id)?)
    }

    /// Some of the list's lines.
    ///
    /// # Errors
    /// [`ManagerError`] when there is no list, or it cannot be read.
    pub fn lost_lines(&self, id: &TaskId, from: u64) -> Result<LostLines, ManagerError> {
        Ok(self.engine.lost_lines(id, from)?)
    }

    /// Whether the source of a task answers now. Asks it.
    pub fn look_at_source(&self, spec: &TaskSpec) -> SourceSighting {
        self.engine.look_at_source(spec)
    }

    /// Stops a task and removes its files and definition.
    ///
    /// # Errors
    /// [`ManagerError`] when it does not exist or cannot be removed from the disk.
    pub fn delete(&self, id: &TaskId) -> Result<(), ManagerError> {
        self.change(id, Operation::Delete)
    }

    /// All tasks, in the order of their ids.
    ///
    /// # Errors
    /// [`ManagerError::ShuttingDown`]
    pub fn list(&self) -> Result<Vec<TaskView>, ManagerError> {
        self.ask(ManagerCommand::List)
    }

    /// The task with this id, if it exists.
    ///
    /// # Errors
    /// [`ManagerError::ShuttingDown`]
    pub fn get(&self, id: &TaskId) -> Result<Option<TaskView>, ManagerError> {
        self.ask(|reply| ManagerCommand::Get(id.clone(), reply))
    }

    /// Position providers of one task, or of all.
    ///
    /// # Errors
    /// [`ManagerError::ShuttingDown`]
    pub fn positions(&self, id: Option<TaskId>) -> Result<Vec<PositionSource>, ManagerError> {
        self.ask(|reply| ManagerCommand::Positions(id, reply))
    }

    /// The handle of a running task.
    ///
    /// # Errors
    /// [`ManagerError`] when it does not exist or is not running.
    pub fn running(&self, id: &TaskId) -> Result<Arc<dyn TaskHandle>, ManagerError> {
        self.running_or(id, ManagerError::Verify(VerifyRefused::NotRunning))
    }

    /// The handle of a running task; of one that rests, this error, unless its role keeps it from running.
    fn running_or(&self, id: &TaskId, resting: ManagerError) -> Result<Arc<dyn TaskHandle>, ManagerError> {
        let view = self.view(id)?;
        match view.running {
            Some(running) => Ok(running),
            None => permitted(id, &view.role).and(Err(resting)),
        }
    }

    /// The drops that a running task holds; with a decision, those that it is about.
    ///
    /// # Errors
    /// [`ManagerError`] when the task does not exist or is not running.
    pub fn drops(&self, id: &TaskId, decision: Option<DropDecision>) -> Result<DropsView, ManagerError> {
        let running = self.running_or(id, ManagerError::NotRunning(id.clone()))?;
        let held = match decision {
            None => running.held_drops(),
            Some(decision) => running.decide_drops(decision),
        };
        Ok(DropsView { held, set_aside: running.set_aside() })
    }

    /// Pauses, resumes or compares one collection of a running task.
    ///
    /// # Errors
    /// [`ManagerError`] when the task does not exist or is not running, or the collection is not in a state for that.
    pub fn change_collection(
        &self,
        id: &TaskId,
        collection: &str,
        wish: CollectionWish,
    ) -> Result<CollectionOutcome, ManagerError> {
        let running = self.running_or(id, ManagerError::CollectionsRest(id.clone()))?;
        Ok(running.change_collection(collection, wish)?)
    }

    /// The rows that a task has set aside; with a decision, which only a running one takes, those that it is about.
    ///
    /// # Errors
    /// [`ManagerError`] when the task does not exist, or the decision cannot be carried out.
    pub fn refused_rows(
        &self,
        id: &TaskId,
        decision: Option<RefusedRowsDecision>,
    ) -> Result<Vec<RefusedRow>, ManagerError> {
        match decision {
            None => match self.view(id)?.running {
                Some(running) => Ok(running.refused_rows()),
                None => Ok(self.engine.stored_refused_rows(id)?.rows),
            },
            Some(decision) => {
                let running = self.running_or(id, ManagerError::RefusedRowsRest(id.clone()))?;
                Ok(running.decide_refused_rows(decision)?)
            }
        }
    }

    /// Sets the largest number of tasks. Existing tasks stay.
    pub fn limit(&self, max_tasks: usize) {
        // An error means that the manager has ended and creates no tasks.
        let _ = self.commands.send(ManagerCommand::Limit(max_tasks));
    }

    /// Stops all tasks concurrently, at the latest at the deadline; they run again after the next start.
    pub fn shutdown(&self, deadline: Instant) {
        // An error means that the manager has ended already.
        let _ = self.ask(|reply| ManagerCommand::Shutdown(deadline, reply));
    }

    /// Tasks whose targets have other addresses than this one, one task per address.
    fn tasks_on_other_addresses(&self, target: &TargetSpec) -> Result<Vec<Arc<TaskSpec>>, ManagerError> {
        let mut found: Vec<Arc<TaskSpec>> = Vec::new();
        for TaskView { spec, .. } in self.list()? {
            let address = spec.target.address();
            if !address.same_as(target.address()) && !found.iter().any(|known| known.target.address() == address) {
                found.push(spec);
            }
        }
        Ok(found)
    }

    fn change(
        &self,
        id: &TaskId,
        operation: impl FnOnce(Reply<Result<(), ManagerError>>) -> Operation,
    ) -> Result<(), ManagerError> {
        self.ask(|reply| ManagerCommand::Change(id.clone(), operation(reply)))?
    }

    fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> ManagerCommand) -> Result<T, ManagerError> {
        let (reply, answer) = bounded(1);
        self.commands.send(command(reply)).map_err(|_| ManagerError::ShuttingDown)?;
        answer.recv().map_err(|_| ManagerError::ShuttingDown)
    }
}

impl ManagerThread {
    /// Waits until the thread has ended.
    pub fn join(self) {
        if self.0.join().is_err() {
            log::error!("the task manager's thread panicked");
        }
    }
}
