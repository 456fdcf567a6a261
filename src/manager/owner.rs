/*!
The manager's thread: its state, its events, its start and its end.
*/

use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Select, Sender, bounded};

use super::command::{Admission, ManagerCommand, ManagerError, Operation, PositionSource, Reply, TaskView, permitted};
use super::same_id::is_repeated;
use super::switchover_view::SwitchoverView;
use super::switchover_watch::{OpenedOpposite, SwitchoverWatch, TENDED_EVERY};
use crate::domain::TaskId;
use crate::manager::engine::{Engine, EngineError, TaskHandle};
use crate::manager::store::{Journal, JournalError};
use crate::task::definition::{TaskDefinition, TaskState};
use crate::task::history::{EventKind, History};
use crate::task::refused_rows::RefusedRowsAmount;
use crate::task::role::{Role, RoleState};
use crate::task::spec::TaskSpec;
use crate::task::status::{Phase, TaskEvent, TaskStatus};

/// Outcomes of threads that stop tasks; those threads wait when it is full.
const STOPPED_QUEUE: usize = 16;
/// A task reports its end at most once.
const EVENT_QUEUE: usize = 2;
/// How much later than its deadline a stop may return before the shutdown abandons it.
const STOP_GRACE: Duration = Duration::from_millis(500);

/// The reason of a task that stays paused after a restart, in the Go server's words.
const AUTO_START_DISABLED: &str = "the task is disabled auto start";

/// The state of the manager's thread.
pub(super) struct Owner {
    pub(super) engine: Arc<dyn Engine>,
    pub(super) journal: Box<dyn Journal>,
    pub(super) max_tasks: usize,
    pub(super) tasks: BTreeMap<TaskId, TaskEntry>,
    commands: Receiver<ManagerCommand>,
    pub(super) stopped_sender: Sender<StoppedTask>,
    stopped: Receiver<StoppedTask>,
    pub(super) opened_sender: Sender<OpenedOpposite>,
    pub(super) opened: Receiver<OpenedOpposite>,
    /// The threads that ask for tasks in the opposite direction.
    pub(super) openings: BTreeMap<TaskId, JoinHandle<()>>,
    /// When switchovers are looked at next.
    tend_at: Instant,
}

/// One task.
pub(super) struct TaskEntry {
    pub(super) spec: Arc<TaskSpec>,
    pub(super) state: TaskState,
    pub(super) role: RoleState,
    /// Events, lag and rate over all runs.
    pub(super) history: Arc<History>,
    /// What the last run did not replicate, counted per reason.
    pub(super) skipped: BTreeMap<String, u64>,
    /// What it has set aside, while it does not run.
    pub(super) refused_rows: RefusedRowsAmount,
    pub(super) run: Option<TaskRun>,
    pub(super) busy: Option<Busy>,
    pub(super) switchover: SwitchoverWatch,
    /// Why the last one has ended without a change.
    pub(super) switchover_outcome: Option<String>,
    /// Operations that arrived while the task was being stopped, in order.
    pub(super) waiting: VecDeque<Operation>,
}

/// A running task. The receiver belongs to this run alone, so a late event of an earlier run cannot be mistaken for one
/// of this run.
pub(super) struct TaskRun {
    pub(super) handle: Arc<dyn TaskHandle>,
    pub(super) events: Receiver<TaskEvent>,
}

/// A thread that stops the task, and what follows.
pub(super) struct Busy {
    pub(super) then: Then,
    pub(super) thread: JoinHandle<()>,
    /// The run that ends.
    pub(super) stopped: Option<Arc<dyn TaskHandle>>,
}

/// What follows when a task has stopped.
pub(super) enum Then {
    /// Nothing: the task ended by itself, or the server is shutting down.
    Nothing,
    /// Start it again, with its new connection or in its new role, and answer.
    StartAgain(Option<Reply<Result<(), ManagerError>>>),
    /// Answer a pause.
    Paused(Reply<Result<(), ManagerError>>),
    /// Remove it from the journal and answer.
    Deleted(Reply<Result<(), ManagerError>>),
}

/// A task that its thread has stopped, with its files removed where it is deleted.
pub(super) struct StoppedTask {
    pub(super) id: TaskId,
    pub(super) outcome: Result<(), EngineError>,
}

enum Wake {
    Command(ManagerCommand),
    Stopped(StoppedTask),
    Event(TaskId, Option<TaskEvent>),
    Opened(OpenedOpposite),
    /// Time for a look at what switchovers wait for.
    Tend,
    /// Every client of the manager is gone.
    Orphaned,
}

impl Owner {
    pub(super) fn new(
        engine: Arc<dyn Engine>,
        journal: Box<dyn Journal>,
        max_tasks: usize,
        commands: Receiver<ManagerCommand>,
    ) -> Self {
        let (stopped_sender, stopped) = bounded(STOPPED_QUEUE);
        let (opened_sender, opened) = bounded(STOPPED_QUEUE);
        let (tasks, openings, tend_at) = (BTreeMap::new(), BTreeMap::new(), Instant::now());
        Owner {
            engine,
            journal,
            max_tasks,
            tasks,
            commands,
            stopped_sender,
            stopped,
            opened_sender,
            opened,
            openings,
            tend_at,
        }
    }

    /// Loads the journal's tasks and starts those that were running.
    pub(super) fn recover(&mut self) -> Result<(), JournalError> {
        for TaskDefinition { id, spec, state, role } in self.journal.tasks()? {
            let was_running = state == TaskState::Running;
            // A failover goes on at its step.
            let auto_start = !spec.disable_auto_start || role.permits_change().is_err();
            let entry = TaskEntry { role, ..TaskEntry::new(spec, state) };
            self.engine.keep(&id, &entry.history);
            entry.history.add(EventKind::State, "the server has started");
            self.tasks.insert(id.clone(), entry);
            if was_running && !auto_start {
                self.set_state_or_log(&id, TaskState::paused(AUTO_START_DISABLED));
            } else if was_running && let Err(error) = self.start_run(&id) {
                log::error!(task:% = id; "fail to start task, err: {error}");
                self.set_state_or_log(&id, TaskState::stopped(format!("fail to start task, err: {error}")));
            }
            // One that runs has its own.
            if let Some(entry) = self.tasks.get_mut(&id).filter(|entry| entry.run.is_none()) {
                let stored = self.engine.stored_refused_rows(&id);
                entry.refused_rows = stored.map(|stored| stored.amount).unwrap_or_default();
            }
        }
        // When all of them are known: what is made may be there already.
        for id in self.tasks.keys().cloned().collect::<Vec<_>>() {
            self.reverse(&id);
        }
        Ok(())
    }

    /// Serves commands until a shutdown.
    pub(super) fn run(mut self) {
        loop {
            match self.next() {
                Wake::Command(ManagerCommand::List(reply)) => {
                    let views = self.tasks.iter().map(|(id, entry)| entry.view(id)).collect();
                    let _ = reply.send(views);
                }
                Wake::Command(ManagerCommand::Get(id, reply)) => {
                    let _ = reply.send(self.tasks.get(&id).map(|entry| entry.view(&id)));
                }
                Wake::Command(ManagerCommand::Positions(id, reply)) => {
                    let _ = reply.send(self.position_sources(id.as_ref()));
                }
                Wake::Command(ManagerCommand::Admit(id, request, reply)) => {
                    let known = id.and_then(|id| Some((self.tasks.get(&id)?, id)));
                    let admission = match known {
                        Some((known, id)) => known.answers_again(&id, &request.spec).map(|()| Admission::Known),
                        None => self.admit(&request).map(|_| Admission::New),
                    };
                    let _ = reply.send(admission);
                }
                Wake::Command(ManagerCommand::Limit(max_tasks)) => self.max_tasks = max_tasks,
                Wake::Command(ManagerCommand::Change(id, operation)) => self.change(id, operation),
                Wake::Command(ManagerCommand::Shutdown(deadline, reply)) => {
                    self.stop_all(deadline);
                    let _ = reply.send(());
                    return;
                }
                Wake::Stopped(task) => self.finish(task),
                Wake::Event(id, Some(TaskEvent::Drained { epoch, report, .. })) => self.drained(&id, epoch, report),
                Wake::Event(id, Some(TaskEvent::FailbackStep { epoch, writes, .. })) => {
                    self.failback_step_ended(&id, epoch, &writes);
                }
                Wake::Event(id, Some(TaskEvent::Stopped { reason, .. })) => self.ended_by_itself(id, Some(reason)),
                Wake::Event(id, None) => self.ended_by_itself(id, None),
                Wake::Opened(opened) => self.opposite_answered(opened),
                Wake::Tend => {
                    self.tend_at = Instant::now() + TENDED_EVERY;
                    self.tend_switchovers();
                }
                Wake::Orphaned => return,
            }
        }
    }

    fn next(&self) -> Wake {
        // However many requests come.
        let tend_at = self.tends().then_some(self.tend_at);
        if tend_at.is_some_and(|at| at <= Instant::now()) {
            return Wake::Tend;
        }
        let mut select = Select::new();
        let commands = select.recv(&self.commands);
        let stopped = select.recv(&self.stopped);
        let opened = select.recv(&self.opened);
        let runs: Vec<_> = self.tasks.iter().filter_map(|(id, entry)| Some((id, entry.run.as_ref()?))).collect();
        for (_, run) in &runs {
            select.recv(&run.events);
        }
        let ready = match tend_at {
            Some(at) => match select.select_deadline(at) {
                Ok(ready) => ready,
                Err(_) => return Wake::Tend,
            },
            None => select.select(),
        };
        match ready.index() {
            index if index == commands => ready.recv(&self.commands).map_or(Wake::Orphaned, Wake::Command),
            index if index == stopped => ready.recv(&self.stopped).map_or(Wake::Orphaned, Wake::Stopped),
            index if index == opened => ready.recv(&self.opened).map_or(Wake::Orphaned, Wake::Opened),
            // The runs follow the three channels above.
            index => {
                let (id, run) = runs[index - 3];
                Wake::Event(id.clone(), ready.recv(&run.events).ok())
            }
        }
    }

    /// Starts a task's threads.
    pub(super) fn start_run(&mut self, id: &TaskId) -> Result<(), EngineError> {
        let Some(entry) = self.tasks.get_mut(id) else {
            return Ok(());
        };
        // Nothing runs without a mandate.
        let Some(mandate) = entry.role.mandate() else { return Ok(()) };
        let (sender, events) = bounded(EVENT_QUEUE);
        // A task that panics while it starts must not end the others.
        let started = catch_unwind(AssertUnwindSafe(|| {
            self.engine.start(id, &entry.spec, mandate, sender, Arc::clone(&entry.history))
        }));
        let handle = started.unwrap_or(Err(EngineError::StartPanicked))?;
        entry.run = Some(TaskRun { handle: Arc::from(handle), events });
        log::info!(task:% = id; "started, target {}", entry.spec.target.address());
        Ok(())
    }

    /// For a change that has happened already: it takes effect even if it cannot be stored.
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
        let task = TaskDefinition { state: state.clone(), ..entry.definition(id) };
        store(self.journal.as_mut(), &task)
    }

    fn position_sources(&self, only: Option<&TaskId>) -> Vec<PositionSource> {
        let tasks = self.tasks.iter().filter(|(id, _)| only.is_none_or(|only| only == *id));
        tasks
            .map(|(id, entry)| PositionSource {
                id: id.clone(),
                running: entry.run.as_ref().map(|run| Arc::clone(&run.handle)),
                engine: Arc::clone(&self.engine),
            })
            .collect()
    }

    /// Shutdown: all tasks stop concurrently; their states in the journal do not change.
    fn stop_all(&mut self, deadline: Instant) {
        let running: Vec<TaskId> =
            self.tasks.iter().filter(|(_, entry)| entry.run.is_some()).map(|(id, _)| id.clone()).collect();
        for id in &running {
            self.stop_run(id, deadline, Then::Nothing);
        }
        for entry in self.tasks.values_mut() {
            // A dropped reply tells the client that the server is shutting down.
            entry.waiting.clear();
            if let Some(busy) = &mut entry.busy
                && matches!(busy.then, Then::StartAgain(_))
            {
                busy.then = Then::Nothing;
            }
        }
        while self.tasks.values().any(|entry| entry.busy.is_some()) {
            match self.stopped.recv_deadline(deadline + STOP_GRACE) {
                Ok(task) => self.finish(task),
                Err(_) => {
                    log::warn!("some tasks missed the shutdown deadline; abandoning their threads");
                    return;
                }
            }
        }
        if !self.join_openings(deadline + STOP_GRACE) {
            log::warn!("servers that were asked for a switchover do not answer; abandoning the threads that asked");
        }
    }
}

/// A changed task is on disk before it is anywhere else.
pub(super) fn store(journal: &mut dyn Journal, task: &TaskDefinition) -> Result<(), ManagerError> {
    journal.put(task).map_err(|source| ManagerError::UpdateState { id: task.id.clone(), source })
}

impl TaskEntry {
    /// Whether a task with this id and this definition is the one that exists, and may be answered as such.
    pub(super) fn answers_again(&self, id: &TaskId, wanted: &TaskSpec) -> Result<(), ManagerError> {
        is_repeated(id, &self.spec, wanted)?;
        permitted(id, &self.role)
    }

    /// What a run has counted is shown after it, too.
    pub(super) fn keep_counts(&mut self, run: &dyn TaskHandle) {
        self.skipped = run.status().skipped;
        self.refused_rows = run.detail().refused_rows;
    }

    pub(super) fn new(spec: Arc<TaskSpec>, state: TaskState) -> Self {
        TaskEntry {
            spec,
            state,
            role: RoleState::default(),
            history: Arc::default(),
            skipped: BTreeMap::new(),
            refused_rows: RefusedRowsAmount::default(),
            run: None,
            busy: None,
            switchover: SwitchoverWatch::default(),
            switchover_outcome: None,
            waiting: VecDeque::new(),
        }
    }

    /// As the journal has it.
    pub(super) fn definition(&self, id: &TaskId) -> TaskDefinition {
        let (spec, state, role) = (Arc::clone(&self.spec), self.state.clone(), self.role.clone());
        TaskDefinition { id: id.clone(), spec, state, role }
    }

    /// Changes the state and records the change in the history.
    pub(super) fn enter(&mut self, state: TaskState) {
        let text = match &state {
            TaskState::Running => "running".to_owned(),
            TaskState::Paused { reason } => format!("paused: {reason}"),
            TaskState::Stopped { reason } => format!("stopped: {reason}"),
        };
        self.history.add(EventKind::State, text);
        self.state = state;
    }

    fn view(&self, id: &TaskId) -> TaskView {
        let status = match (&self.state, &self.run) {
            (TaskState::Running, Some(run)) => run.handle.status(),
            (TaskState::Running, None) => self.resting(Phase::Connecting, None),
            (TaskState::Paused { reason }, _) => self.resting(Phase::Paused, Some(reason)),
            (TaskState::Stopped { reason }, _) => self.resting(Phase::Stopped, Some(reason)),
        };
        TaskView {
            id: id.clone(),
            spec: Arc::clone(&self.spec),
            state: self.state.clone(),
            role: self.role.clone(),
            status,
            history: Arc::clone(&self.history),
            refused_rows: self.refused_rows,
            switchover: self.switchover_view(),
            running: self.run.as_ref().map(|run| Arc::clone(&run.handle)),
        }
    }

    fn switchover_view(&self) -> SwitchoverView {
        let waiting_for = self.switchover.waiting_for.clone().filter(|_| matches!(self.role.role, Role::Switching(_)));
        SwitchoverView { waiting_for, outcome: self.switchover_outcome.clone() }
    }

    fn resting(&self, phase: Phase, reason: Option<&String>) -> TaskStatus {
        TaskStatus {
            phase,
            lag_ms: None,
            followed: phase,
            collections: None,
            skipped: self.skipped.clone(),
            reason: reason.cloned(),
            source_log: None,
        }
    }
}
