/*!
The operations on a task, and its end by itself.
*/

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::command::{ManagerError, Operation, Reply, TaskRequest, permitted};
use super::overlap::left_to_others;
use super::owner::{Busy, Owner, StoppedTask, TaskEntry, Then, store};
use crate::domain::TaskId;
use crate::manager::engine::{EngineError, TaskHandle};
use crate::observe::metrics;
use crate::observe::thread::ThreadSpec;
use crate::task::definition::{TaskDefinition, TaskState};
use crate::task::history::EventKind;
use crate::task::role::RoleState;
use crate::task::spec::{TargetSpec, TaskSpec};

/// How long a task may take to stop: 10 s are promised, and the answer, the last checkpoint and a slow disk take their
/// share.
pub(crate) const STOP_TIMEOUT: Duration = Duration::from_secs(9);
/// The reason of a task that a user has paused, in the Go server's words.
const PAUSED_BY_HAND: &str = "manually pause through http interface";
const BEING_DELETED: &str = "the task is being deleted";

impl Owner {
    /// Executes an operation now, or once the task has stopped if it is being stopped.
    pub(super) fn change(&mut self, id: TaskId, operation: Operation) {
        if let Some(entry) = self.tasks.get_mut(&id)
            && entry.busy.is_some()
        {
            entry.waiting.push_back(operation);
            return;
        }
        match operation {
            Operation::Create(request, reply) => answer(&reply, self.create(&id, &request)),
            Operation::Resume(reply) => answer(&reply, self.resume(&id)),
            Operation::Pause(reply) => {
                if let Err(error) = self.prepare_pause(&id) {
                    answer(&reply, Err(error));
                } else {
                    self.stop_run(&id, Instant::now() + STOP_TIMEOUT, Then::Paused(reply));
                }
            }
            Operation::Reconnect(target, reply) => match self.prepare_reconnect(&id, *target) {
                Err(error) => answer(&reply, Err(error)),
                Ok(TaskState::Running) => {
                    self.stop_run(&id, Instant::now() + STOP_TIMEOUT, Then::StartAgain(Some(reply)));
                }
                Ok(TaskState::Paused { .. } | TaskState::Stopped { .. }) => answer(&reply, Ok(())),
            },
            Operation::Failover(order, reply) => self.fail_over(&id, order, reply),
            Operation::Failback(order, reply) => self.fail_back(&id, order, reply),
            Operation::Switchover(order, reply) => self.switch_over(&id, order, reply),
            Operation::Delete(reply) => {
                if let Err(error) = self.prepare_delete(&id) {
                    answer(&reply, Err(error));
                } else {
                    self.stop_run(&id, Instant::now() + STOP_TIMEOUT, Then::Deleted(reply));
                }
            }
        }
    }

    /// The task's definition without the collections that other tasks replicate already.
    pub(super) fn admit(&self, request: &TaskRequest) -> Result<TaskSpec, ManagerError> {
        self.admit_but(request, None)
    }

    /// The same in the place of a task that exists.
    pub(super) fn admit_but(
        &self,
        TaskRequest { spec, aliases }: &TaskRequest,
        replaced: Option<&TaskId>,
    ) -> Result<TaskSpec, ManagerError> {
        let others = self.tasks.iter().filter(|(id, _)| Some(*id) != replaced);
        let excluded = left_to_others(spec, aliases, others.map(|(_, entry)| entry.spec.as_ref()))?;
        if !spec.mapping.within(&spec.scope) {
            return Err(ManagerError::MappingOutside);
        }
        if replaced.is_none() && self.tasks.len() >= self.max_tasks {
            return Err(ManagerError::TooManyTasks(self.max_tasks));
        }
        let scope = spec.scope.clone().without(excluded);
        Ok(TaskSpec { scope, ..TaskSpec::clone(spec) })
    }

    pub(super) fn create(&mut self, id: &TaskId, request: &TaskRequest) -> Result<(), ManagerError> {
        if let Some(known) = self.tasks.get(id) {
            return known.answers_again(id, &request.spec);
        }
        let spec = Arc::new(self.admit(request)?);
        // Files of a task that the journal has lost belong to another definition. They are removed before the journal
        // is written: after a crash in between, the new task must not take them over.
        self.engine.forget(id, &spec.source).map_err(|source| ManagerError::Forget { id: id.clone(), source })?;
        let (state, role) = (TaskState::Running, RoleState::default());
        let task = TaskDefinition { id: id.clone(), spec: Arc::clone(&spec), state, role };
        self.journal.put(&task).map_err(ManagerError::PutTask)?;
        let entry = TaskEntry::new(spec, TaskState::Running);
        entry.history.add(EventKind::State, "created");
        self.tasks.insert(id.clone(), entry);
        self.start_run(id).map_err(|source| {
            if let Err(error) = self.journal.remove(id) {
                log::error!(task:% = id; "failed to start and cannot be removed from the journal: {error}");
            }
            self.tasks.remove(id);
            ManagerError::Start { id: id.clone(), source }
        })?;
        if let Some(entry) = self.tasks.get(id) {
            self.engine.keep(id, &entry.history);
        }
        Ok(())
    }

    fn resume(&mut self, id: &TaskId) -> Result<(), ManagerError> {
        let entry = self.tasks.get(id).ok_or_else(|| ManagerError::NotFound(id.to_string()))?;
        permitted(id, &entry.role)?;
        let before = entry.state.clone();
        if before == TaskState::Running {
            return Err(ManagerError::AlreadyRunning(id.clone()));
        }
        self.store_state(id, &TaskState::Running)?;
        if let Err(source) = self.start_run(id) {
            self.set_state_or_log(id, before);
            return Err(ManagerError::Start { id: id.clone(), source });
        }
        if let Some(entry) = self.tasks.get_mut(id) {
            entry.enter(TaskState::Running);
        }
        Ok(())
    }

    fn prepare_pause(&mut self, id: &TaskId) -> Result<(), ManagerError> {
        let entry = self.tasks.get(id).ok_or_else(|| ManagerError::NotFound(id.to_string()))?;
        permitted(id, &entry.role)?;
        if entry.state != TaskState::Running {
            return Err(ManagerError::AlreadyPaused(id.clone()));
        }
        self.move_to(id, TaskState::paused(PAUSED_BY_HAND))
    }

    /// The task's definition gets the new connection. Answers the state that the task is to be in.
    fn prepare_reconnect(&mut self, id: &TaskId, target: TargetSpec) -> Result<TaskState, ManagerError> {
        let entry = self.tasks.get_mut(id).ok_or_else(|| ManagerError::NotFound(id.to_string()))?;
        permitted(id, &entry.role)?;
        let state = match &entry.state {
            TaskState::Stopped { .. } => TaskState::Running,
            state => state.clone(),
        };
        let spec = Arc::new(TaskSpec { target, ..TaskSpec::clone(&entry.spec) });
        let task = TaskDefinition { spec: Arc::clone(&spec), state: state.clone(), ..entry.definition(id) };
        store(self.journal.as_mut(), &task)?;
        entry.spec = spec;
        entry.history.add(EventKind::State, "the connection to the target was changed");
        if entry.state != state {
            entry.enter(state.clone());
        }
        Ok(state)
    }

    /// Starts a task that was stopped for its new connection or its new role.
    pub(super) fn start_again(&mut self, id: &TaskId) -> Result<(), ManagerError> {
        self.start_run(id).map_err(|source| {
            self.set_state_or_log(id, TaskState::stopped(format!("fail to start task, err: {source}")));
            ManagerError::Start { id: id.clone(), source }
        })
    }

    /// Pauses the task first: after a crash between removing its files and removing its definition, it must not start
    /// by itself.
    fn prepare_delete(&mut self, id: &TaskId) -> Result<(), ManagerError> {
        let entry = self.tasks.get(id).ok_or_else(|| ManagerError::NotFound(id.to_string()))?;
        if entry.state == TaskState::Running { self.move_to(id, TaskState::paused(BEING_DELETED)) } else { Ok(()) }
    }

    fn move_to(&mut self, id: &TaskId, state: TaskState) -> Result<(), ManagerError> {
        self.store_state(id, &state)?;
        if let Some(entry) = self.tasks.get_mut(id) {
            entry.enter(state);
        }
        Ok(())
    }

    /// Stops the task in a thread of its own; `finish` takes over when the thread is done.
    pub(super) fn stop_run(&mut self, id: &TaskId, deadline: Instant, then: Then) {
        let Some(entry) = self.tasks.get_mut(id) else {
            return;
        };
        let handle = entry.run.take().map(|run| run.handle);
        if let Some(handle) = &handle {
            entry.keep_counts(handle.as_ref());
        }
        let stopped = handle.clone();
        let (engine, history, source) =
            (Arc::clone(&self.engine), Arc::clone(&entry.history), entry.spec.source.clone());
        let forget = matches!(then, Then::Deleted(_));
        let task = id.clone();
        let work = Arc::new(move || {
            stop(&task, handle.as_deref(), deadline);
            if !forget {
                return Ok(());
            }
            history.let_go();
            engine.forget(&task, &source)
        });
        match self.spawn_stop(id, Arc::clone(&work)) {
            Ok(thread) => {
                if let Some(entry) = self.tasks.get_mut(id) {
                    entry.busy = Some(Busy { then, thread, stopped });
                }
            }
            Err(error) => {
                log::warn!(task:% = id; "no thread to stop the task, so all tasks wait for it: {error}");
                let outcome = work();
                self.keep_counts(id, stopped.as_deref());
                self.conclude(id, then, outcome);
            }
        }
    }

    fn spawn_stop(
        &self,
        id: &TaskId,
        work: Arc<impl Fn() -> Result<(), EngineError> + Send + Sync + 'static>,
    ) -> io::Result<JoinHandle<()>> {
        let (id, stopped) = (id.clone(), self.stopped_sender.clone());
        ThreadSpec::of_task("stop", id.as_str()).spawn(move || {
            let outcome = catch_unwind(AssertUnwindSafe(|| work())).unwrap_or(Err(EngineError::StopPanicked));
            // The receiver is gone when the shutdown has abandoned this thread.
            let _ = stopped.send(StoppedTask { id, outcome });
        })
    }

    /// A task has stopped: answers the request, then executes the operations that waited.
    pub(super) fn finish(&mut self, StoppedTask { id, outcome }: StoppedTask) {
        let Some(Busy { then, thread, stopped }) = self.tasks.get_mut(&id).and_then(|entry| entry.busy.take()) else {
            return;
        };
        if thread.join().is_err() {
            log::error!(task:% = id; "the thread that stopped the task panicked");
        }
        self.keep_counts(&id, stopped.as_deref());
        self.conclude(&id, then, outcome);
    }

    /// The last rows of a run count, too.
    fn keep_counts(&mut self, id: &TaskId, stopped: Option<&dyn TaskHandle>) {
        if let (Some(entry), Some(stopped)) = (self.tasks.get_mut(id), stopped) {
            entry.keep_counts(stopped);
        }
    }

    fn conclude(&mut self, id: &TaskId, then: Then, outcome: Result<(), EngineError>) {
        let mut deleted = false;
        match then {
            Then::Nothing => {}
            Then::StartAgain(None) => drop(self.start_again(id)),
            Then::StartAgain(Some(reply)) => {
                answer(&reply, self.start_again(id));
                self.tend_switchover(id);
            }
            Then::Paused(reply) => {
                log::info!(task:% = id; "paused");
                answer(&reply, Ok(()));
            }
            Then::Deleted(reply) => {
                let result = self.finish_delete(id, outcome);
                deleted = result.is_ok();
                answer(&reply, result);
            }
        }
        // After a delete the entry is gone, and the operations that waited find no task.
        let waiting = self.tasks.get_mut(id).map(|entry| std::mem::take(&mut entry.waiting)).unwrap_or_default();
        if deleted {
            self.tasks.remove(id);
        }
        for operation in waiting {
            self.change(id.clone(), operation);
        }
    }

    fn finish_delete(&mut self, id: &TaskId, outcome: Result<(), EngineError>) -> Result<(), ManagerError> {
        outcome.map_err(|source| {
            log::error!(task:% = id; "the task's files cannot be removed: {source}");
            ManagerError::Forget { id: id.clone(), source }
        })?;
        self.journal.remove(id).map_err(|source| ManagerError::DeleteTask { id: id.clone(), source })?;
        metrics::forget_task(id.as_str());
        log::info!(task:% = id; "deleted");
        Ok(())
    }

    /// A task has stopped with an error that needs a human, or its threads are gone without an event.
    pub(super) fn ended_by_itself(&mut self, id: TaskId, reason: Option<String>) {
        let reason = reason.unwrap_or_else(|| {
            "the task's threads ended without a reason, which is a bug; see the log, then resume it".to_owned()
        });
        log::error!(task:% = id; "stopped: {reason}");
        self.set_state_or_log(&id, TaskState::stopped(reason));
        self.stop_run(&id, Instant::now() + STOP_TIMEOUT, Then::Nothing);
    }
}

fn stop(id: &TaskId, handle: Option<&dyn TaskHandle>, deadline: Instant) {
    if let Some(handle) = handle {
        let begin = Instant::now();
        handle.stop(deadline);
        log::debug!(task:% = id; "stopped after {} ms", begin.elapsed().as_millis());
    }
}

/// The client may be gone; then the answer is dropped.
pub(super) fn answer(reply: &Reply<Result<(), ManagerError>>, result: Result<(), ManagerError>) {
    let _ = reply.send(result);
}
