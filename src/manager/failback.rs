/*!
A failback: the changes of a role that has failed over, once the old primary is back. Each is in the journal before it
takes effect, and each step's outcome is on disk before the next one is entered: a crash repeats the step.
*/

use std::sync::Arc;
use std::time::Instant;

use super::command::{FailbackOrder, ManagerError, Reply, TaskRequest};
use super::engine::ReverseTask;
use super::failover::Outcome;
use super::operations::{STOP_TIMEOUT, answer};
use super::owner::{Owner, Then};
use crate::domain::{TaskId, Timestamp};
use crate::task::definition::TaskState;
use crate::task::failback::{AfterListing, Failback, FailbackIntent, FailbackOutcome, FailbackStep, LostWrites};
use crate::task::failover::{DrainedLog, FailoverReport};
use crate::task::role::{Epoch, Role, RoleChange};

impl Owner {
    /// Begins a failback, or gives it up.
    pub(super) fn fail_back(&mut self, id: &TaskId, order: FailbackOrder, reply: Reply<Result<(), ManagerError>>) {
        match self.prepare_failback(id, order) {
            Err(error) => answer(&reply, Err(error)),
            Ok(Outcome::AsItIs) => answer(&reply, Ok(())),
            Ok(Outcome::Changed) => {
                self.stop_run(id, Instant::now() + STOP_TIMEOUT, Then::StartAgain(Some(reply)));
                self.reverse(id);
            }
        }
    }

    fn prepare_failback(&mut self, id: &TaskId, order: FailbackOrder) -> Result<Outcome, ManagerError> {
        let entry = self.tasks.get(id).ok_or_else(|| ManagerError::NotFound(id.to_string()))?;
        let is_list = matches!(order, FailbackOrder::Begin { intent: FailbackIntent::List, .. });
        let change = match order {
            FailbackOrder::Cancel => RoleChange::CancelFailback,
            FailbackOrder::Begin { intent, plan, rebuild } => RoleChange::BeginFailback(Failback {
                since_ms: Timestamp::now().physical_ms(),
                step: FailbackStep::Listing,
                intent,
                plan,
                rebuild,
                drained_ms: entry.role.report().and_then(drained_until),
            }),
        };
        let is_halted = matches!(entry.role.role, Role::FailingBack(..)) && entry.run.is_none();
        let next = entry.role.after(change).map_err(|source| ManagerError::Role { id: id.clone(), source })?;
        let next = match next {
            // An error has stopped its step: it is tried again.
            None if is_halted && !is_list => entry.role.clone(),
            None => return Ok(Outcome::AsItIs),
            Some(next) => next,
        };
        let state = match (&next.role, next.report()) {
            (Role::FailedOver(_), Some(report)) => resting(report, "the failback was given up"),
            _ if next.mandate().is_none() => entry.state.clone(),
            _ => TaskState::Running,
        };
        self.enter_role(id, next, state)?;
        Ok(Outcome::Changed)
    }

    /// A step of a failback has ended, and what it has come to is on disk.
    pub(super) fn failback_step_ended(&mut self, id: &TaskId, epoch: Epoch, writes: &LostWrites) {
        let Some(entry) = self.tasks.get(id) else { return };
        let Role::FailingBack(failback, report) = &entry.role.role else { return };
        let (mut next, mut said) = after(failback, writes);
        if next == Some(FailbackStep::Reversing)
            && let Err(why) = self.engine.reversed(id, &entry.spec)
        {
            said.push_str(&format!("; the direction is not reversed: {why}"));
            next = None;
        }
        let state = match next {
            Some(FailbackStep::Listing | FailbackStep::Merging) => TaskState::Running,
            Some(FailbackStep::Reversing) | None => resting(report, &said),
        };
        let then = match entry.role.after(RoleChange::GoOn(epoch, next)) {
            // It was given up, or got another plan, just before it ended.
            Ok(None) | Err(_) => return,
            Ok(Some(role)) => match self.enter_role(id, role, state) {
                Ok(()) => {
                    log::warn!(task:% = id; "failback: {said}");
                    if next == Some(FailbackStep::Merging) { Then::StartAgain(None) } else { Then::Nothing }
                }
                // What is not on disk has not happened: the step is repeated.
                Err(error) => {
                    log::warn!(task:% = id; "the failback cannot go on, and is tried again: {error}");
                    Then::StartAgain(None)
                }
            },
        };
        self.stop_run(id, Instant::now() + STOP_TIMEOUT, then);
        self.reverse(id);
    }

    /// Makes the task in the opposite direction if the role says so: it first compares, and then follows. What is made
    /// already is taken for that, so this can be repeated.
    pub(super) fn reverse(&mut self, id: &TaskId) {
        let Some(entry) = self.tasks.get(id) else { return };
        let Role::FailingBack(Failback { step: FailbackStep::Reversing, .. }, report) = &entry.role.role else {
            return;
        };
        let (report, role) = (report.clone(), entry.role.clone());
        let made = self.engine.reversed(id, &entry.spec).map_err(|error| error.to_string());
        let made = made.and_then(|ReverseTask { id: by, spec }| {
            let request = TaskRequest { spec: Arc::new(spec), aliases: Vec::new() };
            self.make_opposite(id, by, &request).map_err(|error| error.to_string())
        });
        let (change, said) = match made {
            Ok(by) => {
                let said = format!("the source is the target's standby by the task {by}");
                (RoleChange::Reverse { by, since_ms: Timestamp::now().physical_ms() }, said)
            }
            Err(why) => (RoleChange::GoOn(role.epoch, None), format!("the direction is not reversed: {why}")),
        };
        log::warn!(task:% = id; "failback: {said}");
        let Ok(Some(next)) = role.after(change) else { return };
        if let Err(error) = self.enter_role(id, next, resting(&report, &said)) {
            log::error!(task:% = id; "the failback cannot be concluded, and goes on after a restart: {error}");
        }
    }
}

/// Up to when everything that the log held was applied to every collection.
fn drained_until(report: &FailoverReport) -> Option<u64> {
    (report.log == DrainedLog::ToItsEnd && report.incomplete.is_empty()).then_some(report.read_ms)?
}

/// The step that comes next, and what is to be said of the one that has ended.
fn after(failback: &Failback, writes: &LostWrites) -> (Option<FailbackStep>, String) {
    let listed = writes.sentence();
    match (failback.step, failback.intent) {
        (FailbackStep::Listing, FailbackIntent::List) => (None, listed),
        (FailbackStep::Listing, FailbackIntent::GoOn) => match writes.lead_to(failback.plan, failback.rebuild) {
            AfterListing::Merge => (Some(FailbackStep::Merging), listed),
            AfterListing::End(FailbackOutcome::Refused(why)) => (None, format!("refused: {why}")),
            AfterListing::End(_) => (Some(FailbackStep::Reversing), writes.outcome_sentence().unwrap_or(listed)),
        },
        (FailbackStep::Merging | FailbackStep::Reversing, _) => {
            let is_all = !matches!(writes.outcome, Some(FailbackOutcome::Merged { gone: 1.., .. }));
            // The old primary may have the only copy of what found no place.
            (is_all.then_some(FailbackStep::Reversing), writes.outcome_sentence().unwrap_or(listed))
        }
    }
}

fn resting(report: &FailoverReport, said: &str) -> TaskState {
    TaskState::paused(&format!("failed over: {}; failback: {said}", report.sentence()))
}

#[cfg(test)]
mod fault_tests;
