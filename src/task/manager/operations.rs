/*!
What can be done to a task, and what it can do by itself.
*/

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::command::{ManagerError, Operation, Reply, Wanted};
use super::overlap::left_to_others;
use super::owner::{Busy, Done, Entry, Owner, Then};
use crate::observe::metrics;
use crate::task::definition::{TaskDefinition, TaskState};
use crate::task::engine::{EngineError, TaskEvent, TaskHandle};
use crate::task::history::EventKind;
use crate::task::spec::{TaskId, TaskSpec};

/// How long a task may take to stop: 10 s are promised, and an answer, the checkpoint's last write and a slow disk want theirs.
pub(crate) const STOP_TIMEOUT: Duration = Duration::from_secs(9);
const PAUSED_BY_HAND: &str = "manually pause through http interface";
const BEING_DELETED: &str = "the task is being deleted";

impl Owner {
    /// Does it now, or after what the task is busy with.
    pub(super) fn change(&mut self, id: TaskId, operation: Operation) {
        if let Some(entry) = self.tasks.get_mut(&id)
            && entry.busy.is_some()
        {
            entry.waiting.push_back(operation);
            return;
        }
        match operation {
            Operation::Create(wanted, reply) => answer(&reply, self.create(&id, &wanted)),
            Operation::Resume(reply) => answer(&reply, self.resume(&id)),
            Operation::Pause(reply) => {
                if let Err(error) = self.prepare_pause(&id) {
                    answer(&reply, Err(error));
                } else {
                    self.stop_run(&id, Instant::now() + STOP_TIMEOUT, Then::Paused(reply));
                }
            }
            Operation::Delete(reply) => {
                if let Err(error) = self.prepare_delete(&id) {
                    answer(&reply, Err(error));
                } else {
                    self.stop_run(&id, Instant::now() + STOP_TIMEOUT, Then::Deleted(reply));
                }
            }
        }
    }

    /// The task as it would be beside the others: without what they carry already.
    pub(super) fn admit(&self, Wanted { spec, aliases }: &Wanted) -> Result<TaskSpec, ManagerError> {
        let excluded = left_to_others(spec, aliases, self.tasks.values().map(|entry| entry.spec.as_ref()))?;
        if !spec.mapping.within(&spec.scope) {
            return Err(ManagerError::MappingOutside);
        }
        if self.tasks.len() >= self.max_tasks {
            return Err(ManagerError::TooManyTasks(self.max_tasks));
        }
        let scope = spec.scope.clone().without(excluded);
        Ok(TaskSpec { scope, ..TaskSpec::clone(spec) })
    }

    fn create(&mut self, id: &TaskId, wanted: &Wanted) -> Result<(), ManagerError> {
        if self.tasks.contains_key(id) {
            return Ok(());
        }
        let spec = Arc::new(self.admit(wanted)?);
        // Files of a task that the journal has lost belong to another definition. Before the journal: if we die in between, the
        // new task must not take them over.
        self.engine.forget(id).map_err(|source| ManagerError::Forget { id: id.clone(), source })?;
        let task = TaskDefinition { id: id.clone(), spec: Arc::clone(&spec), state: TaskState::Running };
        self.journal.put(&task).map_err(ManagerError::PutTask)?;
        let entry = Entry::new(spec, TaskState::Running);
        entry.history.add(EventKind::State, "created");
        self.tasks.insert(id.clone(), entry);
        self.start_run(id).map_err(|source| {
            if let Err(error) = self.journal.remove(id) {
                log::error!(task:% = id; "did not start and could not be removed again: {error}");
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
        if entry.state != TaskState::Running {
            return Err(ManagerError::AlreadyPaused(id.clone()));
        }
        self.move_to(id, TaskState::paused(PAUSED_BY_HAND))
    }

    /// Paused first: if we die between removing the task's files and the task itself, it must not run again by itself.
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

    /// Stops the task in a thread of its own; `finish` does the rest.
    pub(super) fn stop_run(&mut self, id: &TaskId, deadline: Instant, then: Then) {
        let Some(entry) = self.tasks.get_mut(id) else {
            return;
        };
        let handle = entry.run.take().map(|run| run.handle);
        if let Some(handle) = &handle {
            entry.skipped = handle.status().skipped;
        }
        let (engine, history) = (Arc::clone(&self.engine), Arc::clone(&entry.history));
        let forget = matches!(then, Then::Deleted(_));
        let task = id.clone();
        let work = Arc::new(move || {
            stop(&task, handle.as_deref(), deadline);
            if !forget {
                return Ok(());
            }
            history.let_go();
            engine.forget(&task)
        });
        match self.spawn_stop(id, Arc::clone(&work)) {
            Ok(thread) => {
                if let Some(entry) = self.tasks.get_mut(id) {
                    entry.busy = Some(Busy { then, thread });
                }
            }
            Err(error) => {
                log::error!(task:% = id; "no thread to stop it, so all tasks wait for it: {error}");
                let outcome = work();
                self.conclude(id, then, outcome);
            }
        }
    }

    fn spawn_stop(
        &self,
        id: &TaskId,
        work: Arc<impl Fn() -> Result<(), EngineError> + Send + Sync + 'static>,
    ) -> io::Result<JoinHandle<()>> {
        let (id, done) = (id.clone(), self.done_sender.clone());
        thread::Builder::new().name(format!("stop-{id}")).spawn(move || {
            let panicked = || Err(EngineError::State("stopping the task panicked, see the log".to_owned()));
            let outcome = catch_unwind(AssertUnwindSafe(|| work())).unwrap_or_else(|_| panicked());
            // Nobody listens any more when the server has given up waiting for its end.
            let _ = done.send(Done { id, outcome });
        })
    }

    /// A task has stopped: answer, and go on with what has waited for it.
    pub(super) fn finish(&mut self, done: Done) {
        let Done { id, outcome } = done;
        let Some(Busy { then, thread }) = self.tasks.get_mut(&id).and_then(|entry| entry.busy.take()) else {
            return;
        };
        if thread.join().is_err() {
            log::error!(task:% = id; "the thread that stopped it panicked");
        }
        self.conclude(&id, then, outcome);
    }

    fn conclude(&mut self, id: &TaskId, then: Then, outcome: Result<(), EngineError>) {
        let mut deleted = false;
        match then {
            Then::Nothing => {}
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
        // After a delete the entry is gone, and what has waited meets a task that is not there.
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
            log::error!(task:% = id; "its files cannot be removed: {source}");
            ManagerError::Forget { id: id.clone(), source }
        })?;
        self.journal.remove(id).map_err(|source| ManagerError::DeleteTask { id: id.clone(), source })?;
        metrics::forget_task(id.as_str());
        log::info!(task:% = id; "deleted");
        Ok(())
    }

    /// A task has met an error that needs a human, or its threads are gone without a word.
    pub(super) fn ended_by_itself(&mut self, id: TaskId, event: Option<TaskEvent>) {
        let reason = match event {
            Some(TaskEvent::Stopped { reason, .. }) => reason,
            None => "the task's threads ended without a reason, which is a bug; see the log, then resume it".to_owned(),
        };
        log::error!(task:% = id; "stopped: {reason}");
        self.set_state_or_log(&id, TaskState::stopped(reason));
        self.stop_run(&id, Instant::now() + STOP_TIMEOUT, Then::Nothing);
    }
}

fn stop(id: &TaskId, handle: Option<&dyn TaskHandle>, deadline: Instant) {
    if let Some(handle) = handle {
        let begin = Instant::now();
        handle.stop(deadline);
        log::debug!("task {id}: stopped after {} ms", begin.elapsed().as_millis());
    }
}

/// Who asked may have gone; then nobody needs the answer.
fn answer(reply: &Reply<Result<(), ManagerError>>, result: Result<(), ManagerError>) {
    let _ = reply.send(result);
}
