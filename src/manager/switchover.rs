/*!
A switchover: the changes of a role while both servers are well. Each step's outcome is in the journal before the next
one is entered, and a step that a crash has cut short is begun again, so what it makes may be there already.

Nothing here waits: the thread of the manager looks every 200 ms at what a switchover waits for. Only the first step,
which asks the servers, has a thread of its own.
*/

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::TaskManager;
use super::command::{ManagerError, Operation, Reply, SwitchoverOrder, TaskRequest, TaskView, permitted};
use super::engine::{SourceSighting, TaskHandle};
use super::operations::{STOP_TIMEOUT, answer};
use super::owner::{Owner, TaskEntry, Then, store};
use super::same_id::is_repeated;
use super::switchover_watch::{AdmittedOpposite, NotOpened, OpenedOpposite, SwitchoverWatch};
use crate::domain::{TaskId, Timestamp};
use crate::observe::thread::ThreadSpec;
use crate::task::definition::{TaskDefinition, TaskState};
use crate::task::history::EventKind;
use crate::task::role::{Epoch, Role, RoleChange};
use crate::task::spec::TaskSpec;
use crate::task::status::Phase;
use crate::task::switchover::{FinalComparison, QuietSource, Stillness, Switchover, SwitchoverReport, SwitchoverStep};

/// How soon servers that did not answer are asked again.
const OPENED_AGAIN: Duration = Duration::from_secs(2);
/// What a switchover of a task that an error has stopped waits for.
pub(super) const HALTED: &str = "the task has stopped: look why, and ask for the switchover again";

/// What follows an order.
enum AfterOrder {
    /// The task runs on.
    GoOn,
    /// It is started again, in its new role.
    StartAgain,
}

impl Owner {
    /// Begins a switchover, or gives it up.
    pub(super) fn switch_over(&mut self, id: &TaskId, order: SwitchoverOrder, reply: Reply<Result<(), ManagerError>>) {
        match self.prepare_switchover(id, order) {
            Err(error) => answer(&reply, Err(error)),
            Ok(AfterOrder::GoOn) => {
                self.tend_switchover(id);
                answer(&reply, Ok(()));
            }
            // The epoch of the switchover gets into the checkpoint, so that a `tasks.json` from before it is not
            // believed later. (One that an error has stopped is tried again.)
            Ok(AfterOrder::StartAgain) => {
                self.stop_run(id, Instant::now() + STOP_TIMEOUT, Then::StartAgain(Some(reply)));
            }
        }
    }

    fn prepare_switchover(&mut self, id: &TaskId, order: SwitchoverOrder) -> Result<AfterOrder, ManagerError> {
        let entry = self.tasks.get_mut(id).ok_or_else(|| ManagerError::NotFound(id.to_string()))?;
        let is_switching = matches!(entry.role.role, Role::Switching(_));
        let is_halted = is_switching && entry.run.is_none();
        let change = match order {
            SwitchoverOrder::Cancel => RoleChange::CancelSwitchover,
            SwitchoverOrder::Begin { quiet_ms, comparison } => RoleChange::BeginSwitchover(Switchover {
                since_ms: Timestamp::now().physical_ms(),
                step: SwitchoverStep::Opening,
                quiet_ms,
                comparison,
            }),
        };
        let next = entry.role.after(change).map_err(|source| ManagerError::Role { id: id.clone(), source })?;
        let state = entry.state.clone();
        match (next, order) {
            (Some(next), SwitchoverOrder::Cancel) => {
                let said = given_up(&entry.role.role);
                self.enter_role(id, next, state)?;
                self.tell_outcome(id, said);
                return Ok(AfterOrder::GoOn);
            }
            (Some(_), SwitchoverOrder::Begin { .. }) if state != TaskState::Running && !is_halted => {
                return Err(ManagerError::NotRunning(id.clone()));
            }
            (None, _) if !is_halted => return Ok(AfterOrder::GoOn),
            (next, _) => {
                entry.switchover_outcome = None;
                entry.switchover = SwitchoverWatch::default();
                let role = next.unwrap_or_else(|| entry.role.clone());
                self.enter_role(id, role, TaskState::Running)?;
            }
        }
        Ok(if is_switching && !is_halted { AfterOrder::GoOn } else { AfterOrder::StartAgain })
    }

    /// Looks at every switchover that is under way.
    pub(super) fn tend_switchovers(&mut self) {
        let under_way = self.tasks.iter().filter(|(_, entry)| matches!(entry.role.role, Role::Switching(_)));
        for id in under_way.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
            self.tend_switchover(&id);
        }
    }

    /// Whether a switchover is under way.
    pub(super) fn tends(&self) -> bool {
        self.tasks.values().any(|entry| matches!(entry.role.role, Role::Switching(_)))
    }

    /// Looks at the switchover of this task, if one is under way.
    pub(super) fn tend_switchover(&mut self, id: &TaskId) {
        let Some(entry) = self.tasks.get_mut(id).filter(|entry| entry.busy.is_none()) else { return };
        let Role::Switching(switchover) = entry.role.role.clone() else { return };
        let epoch = entry.role.epoch;
        if entry.switchover.epoch != epoch {
            // The next step of the same switchover: how long the source has been quiet counts on.
            let quiet = std::mem::take(&mut entry.switchover.quiet);
            entry.switchover = SwitchoverWatch { epoch, quiet, ..SwitchoverWatch::default() };
        }
        let is_lost = switchover.step.by().is_some_and(|by| !self.tasks.contains_key(by));
        let waits = match &switchover.step {
            // The task in the opposite direction was deleted: it is made again.
            _ if is_lost => self.go_on(id, SwitchoverStep::Opening),
            SwitchoverStep::Opening => self.ask_for_opposite(id, epoch),
            SwitchoverStep::Draining(by) => match self.quiet_source(id, by, switchover.quiet_ms) {
                Ok(still) if switchover.comparison == FinalComparison::Nothing => self.change_places(id, still, 0),
                Ok(_) => self.go_on(id, SwitchoverStep::Comparing(by.clone())),
                Err(why) => Some(why),
            },
            SwitchoverStep::Comparing(by) => self.compare(id, by, &switchover),
        };
        self.show_waiting(id, waits);
    }

    fn show_waiting(&mut self, id: &TaskId, waits: Option<String>) {
        if let Some(entry) = self.tasks.get_mut(id) {
            entry.switchover.waiting_for = waits;
        }
    }

    /// Asks the servers, in a thread of its own. Answers what is waited for.
    fn ask_for_opposite(&mut self, id: &TaskId, epoch: Epoch) -> Option<String> {
        let entry = self.tasks.get(id)?;
        let is_early = entry.switchover.open_at.is_some_and(|at| Instant::now() < at);
        if self.openings.contains_key(id) || is_early {
            let asked = || "the servers are asked where the task in the opposite direction begins".to_owned();
            return Some(entry.switchover.waiting_for.clone().unwrap_or_else(asked));
        }
        let compared = self.tasks.values().map(|other| Arc::clone(&other.spec)).collect::<Vec<_>>();
        let (engine, of, answers) = (Arc::clone(&self.engine), Arc::clone(&entry.spec), self.opened_sender.clone());
        let task = id.clone();
        let thread = ThreadSpec::of_task("open", id.as_str()).spawn(move || {
            let ask = || -> Result<AdmittedOpposite, NotOpened> {
                let spec = engine.opposite_of(&task, &of)?;
                let aliases = engine.admit(&spec, &compared)?.aliases;
                Ok(AdmittedOpposite { spec: Arc::new(spec), aliases, compared })
            };
            let panicked = |_| Err(NotOpened::Yet("asking the servers panicked, see the log".to_owned()));
            let outcome = catch_unwind(AssertUnwindSafe(ask)).unwrap_or_else(panicked);
            // The receiver is gone when the manager has ended.
            let _ = answers.send(OpenedOpposite { id: task, epoch, of, outcome });
        });
        let entry = self.tasks.get_mut(id)?;
        match thread {
            Ok(thread) => {
                let waits = entry.switchover.waiting_for.clone();
                self.openings.insert(id.clone(), thread);
                waits
            }
            Err(error) => {
                entry.switchover.open_at = Some(Instant::now() + OPENED_AGAIN);
                Some(format!("no thread to ask the servers: {error}"))
            }
        }
    }

    /// The servers have answered: the task in the opposite direction is made, before the role says so.
    pub(super) fn opposite_answered(&mut self, OpenedOpposite { id, epoch, of, outcome }: OpenedOpposite) {
        if self.openings.remove(&id).is_some_and(|thread| thread.join().is_err()) {
            log::error!(task:% = id; "the thread that asked for the opposite direction panicked");
        }
        let is_meant =
            |entry: &TaskEntry| entry.role.epoch == epoch && Arc::ptr_eq(&entry.spec, &of) && entry.busy.is_none();
        if !self.tasks.get(&id).is_some_and(is_meant) {
            // It was given up or deleted meanwhile, or begins anew.
            return;
        }
        let made = outcome.and_then(|AdmittedOpposite { spec, aliases, compared }| {
            let is_compared = |other: &TaskEntry| {
                let address = other.spec.target.address();
                compared.iter().any(|known| known.target.address() == address)
            };
            if !self.tasks.values().all(is_compared) {
                return Err(NotOpened::Yet("another task was created meanwhile: the servers are asked again".into()));
            }
            let request = TaskRequest { spec, aliases };
            self.make_opposite(&id, id.reversed(), &request).map_err(NotOpened::from)
        });
        match made {
            Ok(by) => {
                log::info!(task:% = id; "switchover: both directions are open, the other one by the task {by}");
                let waits = self.go_on(&id, SwitchoverStep::Draining(by));
                self.show_waiting(&id, waits);
                self.tend_switchover(&id);
            }
            Err(NotOpened::Yet(why)) => {
                if let Some(entry) = self.tasks.get_mut(&id) {
                    entry.switchover.open_at = Some(Instant::now() + OPENED_AGAIN);
                    entry.switchover.waiting_for = Some(why);
                }
            }
            Err(NotOpened::Ever(why)) => self.end_switchover(&id, &why),
        }
    }

    /// The task in the opposite direction: one that runs, the one whose place this task has, or a new one with this id.
    /// So this can be repeated.
    pub(super) fn make_opposite(
        &mut self,
        of: &TaskId,
        id: TaskId,
        request: &TaskRequest,
    ) -> Result<TaskId, ManagerError> {
        let is_it = |(id, entry): &(&TaskId, &TaskEntry)| {
            entry.role.role == Role::Forward && is_repeated(id, &entry.spec, &request.spec).is_ok()
        };
        if let Some((id, _)) = self.tasks.iter().find(is_it) {
            return Ok(id.clone());
        }
        match self.place_kept_by(of, &request.spec) {
            Some(kept) => self.reopen(&kept, of, request).map(|()| kept),
            None => self.create(&id, request).map(|()| id),
        }
    }

    /// The task whose place this one has.
    fn place_kept_by(&self, by: &TaskId, request: &TaskSpec) -> Option<TaskId> {
        let is_it = |entry: &TaskEntry| {
            let is_by = matches!(&entry.role.role, Role::Reversed(reversed) if reversed.by == *by);
            // One that was created later under the id of a deleted one has nobody's place.
            is_by
                && entry.spec.source == request.source
                && entry.spec.target.address().same_as(request.target.address())
        };
        self.tasks.iter().find(|(_, entry)| is_it(entry)).map(|(id, _)| id.clone())
    }

    /// Gives a task its place back, with this definition: it begins as a new one, under its old id.
    fn reopen(&mut self, id: &TaskId, by: &TaskId, request: &TaskRequest) -> Result<(), ManagerError> {
        let spec = Arc::new(self.admit_but(request, Some(id))?);
        let entry = self.tasks.get_mut(id).ok_or_else(|| ManagerError::NotFound(id.to_string()))?;
        let next = entry.role.after(RoleChange::Reopen(by.clone()));
        let next = next.map_err(|source| ManagerError::Role { id: id.clone(), source })?;
        let Some(role) = next else { return Ok(()) };
        if entry.busy.is_some() {
            return Err(ManagerError::Stopping(id.clone()));
        }
        // Its files first: after a crash in between, they must not be taken for those of the new definition. As long as
        // the journal has the old role, the task does not run.
        entry.history.let_go();
        let (state, definition) = (TaskState::Running, Arc::clone(&spec));
        let task = TaskDefinition { id: id.clone(), spec: definition, state, role: role.clone() };
        let forgotten = self.engine.forget(id, &entry.spec.source);
        let stored = forgotten.map_err(|source| ManagerError::Forget { id: id.clone(), source });
        if let Err(error) = stored.and_then(|()| store(self.journal.as_mut(), &task)) {
            self.engine.keep(id, &entry.history);
            return Err(error);
        }
        entry.history.add(EventKind::State, format!("role: {} (epoch {})", role.name(), role.epoch.0));
        (entry.spec, entry.role) = (spec, role);
        entry.enter(TaskState::Running);
        self.engine.keep(id, &entry.history);
        self.start_again(id)
    }

    /// Nobody changes the source any more, all of it is on the target, and the other direction is as far.
    pub(super) fn quiet_source(&mut self, id: &TaskId, by: &TaskId, quiet_ms: u64) -> Result<QuietSource, String> {
        let Some(entry) = self.tasks.get_mut(id) else { return Err("the task was deleted".to_owned()) };
        let Some(run) = &entry.run else {
            // What it meets when it runs again begins anew.
            let _ = entry.switchover.quiet.look(Stillness::default(), Duration::ZERO, Instant::now());
            return Err(HALTED.to_owned());
        };
        // Looked at whatever stands in the way beside it: how long the source has been quiet counts on.
        let quiet = Duration::from_millis(quiet_ms);
        let looked = entry.switchover.quiet.look(run.handle.stillness(), quiet, Instant::now());
        let obstacle_here = obstacle(run.handle.as_ref());
        let other = self.tasks.get(by).ok_or_else(|| format!("the task {by} was deleted"))?;
        if other.role.role != Role::Forward {
            // One direction stays open, whatever is asked for both.
            return Err(format!("the task {by} is `{}`, and has to be `forward`", other.role.name()));
        }
        let other = other.run.as_ref().ok_or_else(|| format!("the task {by} does not run: resume it"))?;
        if let Some(why) = obstacle(other.handle.as_ref()) {
            return Err(format!("the task {by}: {why}"));
        }
        obstacle_here.map_or(looked, Err)
    }

    fn go_on(&mut self, id: &TaskId, step: SwitchoverStep) -> Option<String> {
        let entry = self.tasks.get(id)?;
        let next = entry.role.after(RoleChange::GoOnSwitching(entry.role.epoch, step)).ok().flatten()?;
        let state = entry.state.clone();
        // What is not on disk has not happened: the step is repeated.
        self.enter_role(id, next, state).err().map(|error| error.to_string())
    }

    /// The sites change places. Answers what is waited for.
    pub(super) fn change_places(&mut self, id: &TaskId, still: QuietSource, compared: u64) -> Option<String> {
        let entry = self.tasks.get(id)?;
        let Role::Switching(switchover) = &entry.role.role else { return None };
        let report = SwitchoverReport {
            at_ms: Timestamp::now().physical_ms(),
            applied_ms: still.applied.physical_ms(),
            last_change_ms: still.last_change.map(Timestamp::physical_ms),
            comparison: switchover.comparison,
            compared,
        };
        let sentence = report.sentence();
        let next = entry.role.after(RoleChange::SwitchOver(entry.role.epoch, Box::new(report))).ok().flatten()?;
        if let Err(error) = self.enter_role(id, next, TaskState::paused(&format!("switched over: {sentence}"))) {
            return Some(error.to_string());
        }
        log::warn!(task:% = id; "switched over: {sentence}");
        self.stop_run(id, Instant::now() + STOP_TIMEOUT, Then::Nothing);
        None
    }

    /// The sites keep their places.
    pub(super) fn end_switchover(&mut self, id: &TaskId, why: &str) {
        let Some(entry) = self.tasks.get(id) else { return };
        let open = match &entry.role.role {
            Role::Switching(Switchover { step, .. }) => still_open(step),
            _ => String::new(),
        };
        let Ok(Some(next)) = entry.role.after(RoleChange::EndSwitchover(entry.role.epoch)) else { return };
        let state = entry.state.clone();
        match self.enter_role(id, next, state) {
            Ok(()) => self.tell_outcome(id, format!("the sites keep their places: {why}{open}")),
            Err(error) => log::warn!(task:% = id; "the switchover cannot be ended, and is tried again: {error}"),
        }
    }

    fn tell_outcome(&mut self, id: &TaskId, said: String) {
        log::warn!(task:% = id; "switchover: {said}");
        if let Some(entry) = self.tasks.get_mut(id) {
            entry.history.add(EventKind::State, format!("switchover: {said}"));
            entry.switchover_outcome = Some(said);
        }
    }

    /// Waits for the threads that ask servers. Answers whether all have ended in time.
    pub(super) fn join_openings(&mut self, deadline: Instant) -> bool {
        while !self.openings.is_empty() {
            let Ok(opened) = self.opened.recv_deadline(deadline) else { return false };
            self.openings.remove(&opened.id).map(JoinHandle::join);
        }
        true
    }
}

impl TaskManager {
    /// Lets the sites of a task change places, or gives that up. Answers once the role is on disk; the end of a
    /// switchover shows in the task's role.
    ///
    /// # Errors
    /// [`ManagerError`] when the task does not exist or is not in step, the role does not allow it, or the journal
    /// cannot be written.
    pub fn switch_over(&self, id: &TaskId, order: SwitchoverOrder) -> Result<(), ManagerError> {
        let view = self.view(id)?;
        if matches!((order, &view.role.role), (SwitchoverOrder::Begin { .. }, Role::Forward)) {
            let objections = self.switchover_objections(&view, &self.look_at_source(&view.spec));
            if !objections.is_empty() {
                return Err(ManagerError::NoSwitchover(objections));
            }
        }
        self.change(id, |reply| Operation::Switchover(order, reply))
    }

    /// Why a switchover would not begin now. Asks no server beyond what was seen.
    pub fn switchover_objections(&self, view: &TaskView, source: &SourceSighting) -> Vec<String> {
        let mut why = Vec::new();
        why.extend(permitted(&view.id, &view.role).err().map(|error| error.to_string()));
        why.extend((!source.answers).then(|| format!("the source {} does not answer", source.address)));
        why.extend(self.engine.reversed(&view.id, &view.spec).err().map(|error| error.to_string()));
        match &view.running {
            Some(running) => {
                why.extend(obstacle(running.as_ref()).map(|why| format!("the task is not in step: {why}")))
            }
            None if view.role.role == Role::Forward => why.push("the task does not run: resume it first".to_owned()),
            None => {}
        }
        why
    }
}

/// What keeps a task from being in step, beyond its lag.
fn obstacle(handle: &dyn TaskHandle) -> Option<String> {
    let status = handle.status();
    if status.phase != Phase::Following {
        let phase = status.phase.name();
        return Some(status.reason.map_or_else(|| format!("it is {phase}"), |why| format!("it is {phase}: {why}")));
    }
    let standing = status.collections.unwrap_or_default();
    let standing = standing.waiting + standing.copying + standing.held + standing.paused;
    if standing > 0 {
        return Some(format!("{standing} collections do not follow: see `details` of `get`"));
    }
    let refused = handle.detail().refused_rows.rows;
    if refused > 0 {
        return Some(format!("{refused} rows are set aside: apply or discard them by `refused_rows`"));
    }
    let held = handle.held_drops().len();
    (held > 0).then(|| format!("{held} drops are held: decide about them by `drops`"))
}

fn given_up(role: &Role) -> String {
    let open = match role {
        Role::Switching(Switchover { step, .. }) => still_open(step),
        _ => String::new(),
    };
    format!("it was given up, and the sites keep their places{open}")
}

/// The other direction stays: it may have brought rows that somebody has written to the target.
fn still_open(step: &SwitchoverStep) -> String {
    let open = |by| format!("; the other direction stays open, by the task {by}: delete that task to close it");
    step.by().map(open).unwrap_or_default()
}

#[cfg(test)]
mod fault_tests;
