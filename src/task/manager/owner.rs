/*!
The manager's thread: what it holds, what can wake it, how it begins and how it ends.
*/

use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Select, Sender, bounded};

use super::command::{Admission, Command, ManagerError, Operation, PositionSource, Reply, TaskView};
use crate::journal::{Journal, JournalError};
use crate::task::definition::{TaskDefinition, TaskState};
use crate::task::engine::{Engine, EngineError, Phase, TaskEvent, TaskHandle, TaskStatus};
use crate::task::history::{EventKind, History};
use crate::task::spec::{TaskId, TaskSpec};

/// Messages of threads that stop tasks; they wait when it is full.
const DONE_QUEUE: usize = 16;
/// A task says at most once that it has ended.
const EVENT_QUEUE: usize = 2;
/// How much later than its deadline a stop may return before it is given up at the server's end.
const STOP_GRACE: Duration = Duration::from_millis(500);

/// All tasks and what belongs to them.
pub(super) struct Owner {
    pub(super) engine: Arc<dyn Engine>,
    pub(super) journal: Box<dyn Journal>,
    pub(super) max_tasks: usize,
    pub(super) tasks: BTreeMap<TaskId, Entry>,
    commands: Receiver<Command>,
    pub(super) done_sender: Sender<Done>,
    done: Receiver<Done>,
}

/// One task.
pub(super) struct Entry {
    pub(super) spec: Arc<TaskSpec>,
    pub(super) state: TaskState,
    /// What has happened, over all runs.
    pub(super) history: Arc<History>,
    /// What could not be carried over in the last run.
    pub(super) skipped: BTreeMap<String, u64>,
    pub(super) run: Option<Run>,
    pub(super) busy: Option<Busy>,
    /// What came in while it was busy, in order.
    pub(super) waiting: VecDeque<Operation>,
}

/// A running task. The receiver belongs to this run alone, so a late message of an earlier run cannot be mistaken.
pub(super) struct Run {
    pub(super) handle: Arc<dyn TaskHandle>,
    pub(super) events: Receiver<TaskEvent>,
}

/// A thread that stops the task, and what comes after.
pub(super) struct Busy {
    pub(super) then: Then,
    pub(super) thread: JoinHandle<()>,
}

/// What is left to do when a task has stopped.
pub(super) enum Then {
    /// Nothing: it ended by itself, or the server ends.
    Nothing,
    /// Answer a pause.
    Paused(Reply<Result<(), ManagerError>>),
    /// Take it out of the journal and answer.
    Deleted(Reply<Result<(), ManagerError>>),
}

/// A thread has stopped its task (and removed its files, if it was to).
pub(super) struct Done {
    pub(super) id: TaskId,
    pub(super) outcome: Result<(), EngineError>,
}

enum Wake {
    Command(Command),
    Done(Done),
    Event(TaskId, Option<TaskEvent>),
    /// Nobody is left who could ask.
    Orphaned,
}

impl Owner {
    pub(super) fn new(
        engine: Arc<dyn Engine>,
        journal: Box<dyn Journal>,
        max_tasks: usize,
        commands: Receiver<Command>,
    ) -> Self {
        let (done_sender, done) = bounded(DONE_QUEUE);
        Owner { engine, journal, max_tasks, tasks: BTreeMap::new(), commands, done_sender, done }
    }

    /// Takes over the journal's tasks and starts those that ran.
    pub(super) fn recover(&mut self) -> Result<(), JournalError> {
        for TaskDefinition { id, spec, state } in self.journal.tasks()? {
            let (was_running, auto_start) = (state == TaskState::Running, !spec.disable_auto_start);
            let entry = Entry::new(spec, state);
            self.engine.keep(&id, &entry.history);
            entry.history.add(EventKind::State, "the server has started");
            self.tasks.insert(id.clone(), entry);
            if was_running && !auto_start {
                self.set_state_or_log(&id, TaskState::paused("the task is disabled auto start"));
            } else if was_running && let Err(error) = self.start_run(&id) {
                log::error!(task:% = id; "fail to start task, err: {error}");
                self.set_state_or_log(&id, TaskState::stopped(format!("fail to start task, err: {error}")));
            }
        }
        Ok(())
    }

    /// Serves until it is told to end.
    pub(super) fn run(mut self) {
        loop {
            match self.next() {
                Wake::Command(Command::List(reply)) => {
                    let views = self.tasks.iter().map(|(id, entry)| entry.view(id)).collect();
                    let _ = reply.send(views);
                }
                Wake::Command(Command::Get(id, reply)) => {
                    let _ = reply.send(self.tasks.get(&id).map(|entry| entry.view(&id)));
                }
                Wake::Command(Command::Positions(id, reply)) => {
                    let _ = reply.send(self.position_sources(id.as_ref()));
                }
                Wake::Command(Command::Admit(id, wanted, reply)) => {
                    let known = id.is_some_and(|id| self.tasks.contains_key(&id));
                    let admitted =
                        if known { Ok(Admission::Known) } else { self.admit(&wanted).map(|_| Admission::New) };
                    let _ = reply.send(admitted);
                }
                Wake::Command(Command::Limit(max_tasks)) => self.max_tasks = max_tasks,
                Wake::Command(Command::Change(id, operation)) => self.change(id, operation),
                Wake::Command(Command::Shutdown(deadline, reply)) => {
                    self.stop_all(deadline);
                    let _ = reply.send(());
                    return;
                }
                Wake::Done(done) => self.finish(done),
                Wake::Event(id, event) => self.ended_by_itself(id, event),
                Wake::Orphaned => return,
            }
        }
    }

    fn next(&self) -> Wake {
        let mut select = Select::new();
        let commands = select.recv(&self.commands);
        let done = select.recv(&self.done);
        let runs: Vec<_> = self.tasks.iter().filter_map(|(id, entry)| Some((id, entry.run.as_ref()?))).collect();
        for (_, run) in &runs {
            select.recv(&run.events);
        }
        let ready = select.select();
        match ready.index() {
            index if index == commands => ready.recv(&self.commands).map_or(Wake::Orphaned, Wake::Command),
            index if index == done => ready.recv(&self.done).map_or(Wake::Orphaned, Wake::Done),
            // The runs follow the two above.
            index => {
                let (id, run) = runs[index - 2];
                Wake::Event(id.clone(), ready.recv(&run.events).ok())
            }
        }
    }

    /// Starts a task's threads.
    pub(super) fn start_run(&mut self, id: &TaskId) -> Result<(), EngineError> {
        let Some(entry) = self.tasks.get_mut(id) else {
            return Ok(());
        };
        let (sender, events) = bounded(EVENT_QUEUE);
        // A task that panics while it starts must not take the others with it.
        let started =
            catch_unwind(AssertUnwindSafe(|| self.engine.start(id, &entry.spec, sender, Arc::clone(&entry.history))));
        let handle = started.unwrap_or_else(|_| Err(EngineError::State("starting it panicked, see the log".into())))?;
        entry.run = Some(Run { handle: Arc::from(handle), events });
        log::info!(task:% = id; "started, target {}", entry.spec.target.address());
        Ok(())
    }

    /// For a change that has happened already: it counts even if it cannot be stored.
    pub(super) fn set_state_or_log(&mut self, id: &TaskId, state: TaskState) {
        if let Err(error) = self.store_state(id, &state) {
            log::error!(task:% = id; "{error}");
        }
        if let Some(entry) = self.tasks.get_mut(id) {
            entry.enter(state);
        }
    }

    pub(super) fn store_state(&mut self, id: &TaskId, state: &TaskState) -> Result<(), ManagerError> {
        let Some(entry) = self.tasks.get(id) else {
            return Ok(());
        };
        let task = TaskDefinition { id: id.clone(), spec: Arc::clone(&entry.spec), state: state.clone() };
        self.journal.put(&task).map_err(|source| ManagerError::UpdateState { id: id.clone(), source })
    }

    fn position_sources(&self, wanted: Option<&TaskId>) -> Vec<PositionSource> {
        let tasks = self.tasks.iter().filter(|(id, _)| wanted.is_none_or(|wanted| wanted == *id));
        tasks
            .map(|(id, entry)| PositionSource {
                id: id.clone(),
                running: entry.run.as_ref().map(|run| Arc::clone(&run.handle)),
                engine: Arc::clone(&self.engine),
            })
            .collect()
    }

    /// The server ends: everything stops side by side, and what the journal says stays as it is.
    fn stop_all(&mut self, deadline: Instant) {
        let running: Vec<TaskId> =
            self.tasks.iter().filter(|(_, entry)| entry.run.is_some()).map(|(id, _)| id.clone()).collect();
        for id in &running {
            self.stop_run(id, deadline, Then::Nothing);
        }
        for entry in self.tasks.values_mut() {
            // Who waits learns from the dropped reply that the server ends.
            entry.waiting.clear();
        }
        while self.tasks.values().any(|entry| entry.busy.is_some()) {
            match self.done.recv_deadline(deadline + STOP_GRACE) {
                Ok(done) => self.finish(done),
                Err(_) => {
                    log::error!("some tasks did not stop in time and are left to end with the process");
                    return;
                }
            }
        }
    }
}

impl Entry {
    pub(super) fn new(spec: Arc<TaskSpec>, state: TaskState) -> Self {
        Entry {
            spec,
            state,
            history: Arc::default(),
            skipped: BTreeMap::new(),
            run: None,
            busy: None,
            waiting: VecDeque::new(),
        }
    }

    /// Changes the state, and tells so.
    pub(super) fn enter(&mut self, state: TaskState) {
        let told = match &state {
            TaskState::Running => "running".to_owned(),
            TaskState::Paused { reason, stopped: false } => format!("paused: {reason}"),
            TaskState::Paused { reason, stopped: true } => format!("stopped: {reason}"),
        };
        self.history.add(EventKind::State, told);
        self.state = state;
    }

    fn view(&self, id: &TaskId) -> TaskView {
        let status = match (&self.state, &self.run) {
            (TaskState::Running, Some(run)) => run.handle.status(),
            (TaskState::Running, None) => self.resting(Phase::Connecting, None),
            (TaskState::Paused { reason, stopped: false }, _) => self.resting(Phase::Paused, Some(reason)),
            (TaskState::Paused { reason, stopped: true }, _) => self.resting(Phase::Stopped, Some(reason)),
        };
        TaskView {
            id: id.clone(),
            spec: Arc::clone(&self.spec),
            state: self.state.clone(),
            status,
            history: Arc::clone(&self.history),
            running: self.run.as_ref().map(|run| Arc::clone(&run.handle)),
        }
    }

    fn resting(&self, phase: Phase, reason: Option<&String>) -> TaskStatus {
        TaskStatus { phase, lag_ms: None, skipped: self.skipped.clone(), reason: reason.cloned(), source_log: None }
    }
}
