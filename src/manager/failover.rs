/*!
A task's role and its changes: each is in the journal before it takes effect, and the runs of a task are those that its
role gives a mandate for.

```text
 failover ──▶ journal: failing_over ──▶ the run ends ──▶ the drain runs ──▶ it ends with a report
                                                                              │
                          nothing runs any more ◀── journal: failed_over ◀────┘
```

A crash at any arrow finds the role on disk and goes on from there: the drain is repeated, which applies nothing twice.
*/

use std::time::Instant;

use super::command::{FailoverOrder, ManagerError, Reply};
use super::operations::{STOP_TIMEOUT, answer};
use super::owner::{Owner, Then, store};
use crate::domain::{TaskId, Timestamp};
use crate::task::definition::{TaskDefinition, TaskState};
use crate::task::failover::FailoverReport;
use crate::task::history::EventKind;
use crate::task::role::{Epoch, Failover, Role, RoleChange, RoleState};

impl Owner {
    /// Changes the role, and lets run what the new one is for.
    pub(super) fn fail_over(&mut self, id: &TaskId, order: FailoverOrder, reply: Reply<Result<(), ManagerError>>) {
        match self.prepare_failover(id, order) {
            Err(error) => answer(&reply, Err(error)),
            Ok(Outcome::AsItIs) => answer(&reply, Ok(())),
            Ok(Outcome::Changed) => self.stop_run(id, Instant::now() + STOP_TIMEOUT, Then::StartAgain(Some(reply))),
        }
    }

    fn prepare_failover(&mut self, id: &TaskId, order: FailoverOrder) -> Result<Outcome, ManagerError> {
        let entry = self.tasks.get(id).ok_or_else(|| ManagerError::NotFound(id.to_string()))?;
        let change = match order {
            FailoverOrder::Cancel => RoleChange::Cancel,
            FailoverOrder::Begin(insistence) => {
                let last_sign = entry.run.as_ref().and_then(|run| run.handle.last_sign_of_life());
                RoleChange::Begin(Failover {
                    since_ms: Timestamp::now().physical_ms(),
                    insistence,
                    last_sign_ms: last_sign.map(Timestamp::physical_ms),
                })
            }
        };
        let is_halted = matches!(entry.role.role, Role::FailingOver(_)) && entry.run.is_none();
        let next = entry.role.after(change).map_err(|source| ManagerError::Role { id: id.clone(), source })?;
        match next {
            Some(next) => self.enter_role(id, next, TaskState::Running)?,
            // An error has stopped the drain: it is tried again.
            None if is_halted => {
                let role = entry.role.clone();
                self.enter_role(id, role, TaskState::Running)?;
            }
            None => return Ok(Outcome::AsItIs),
        }
        Ok(Outcome::Changed)
    }

    /// The task has this role from here on: it is on disk first.
    pub(super) fn enter_role(&mut self, id: &TaskId, role: RoleState, state: TaskState) -> Result<(), ManagerError> {
        let Some(entry) = self.tasks.get_mut(id) else { return Ok(()) };
        let task = TaskDefinition { state: state.clone(), role: role.clone(), ..entry.definition(id) };
        store(self.journal.as_mut(), &task)?;
        entry.history.add(EventKind::State, format!("role: {} (epoch {})", role.name(), role.epoch.0));
        entry.role = role;
        if entry.state != state {
            entry.enter(state);
        }
        Ok(())
    }

    /// The log of a source that is given up was read for the last time: the target takes over.
    pub(super) fn drained(&mut self, id: &TaskId, epoch: Epoch, report: Box<FailoverReport>) {
        let sentence = report.sentence();
        let Some(entry) = self.tasks.get(id) else { return };
        let then = match entry.role.after(RoleChange::Conclude(epoch, report)) {
            // It was given up, or told to go on without the log, just before it ended.
            Ok(None) | Err(_) => return,
            Ok(Some(next)) => match self.enter_role(id, next, TaskState::paused(&format!("failed over: {sentence}"))) {
                Ok(()) => {
                    log::warn!(task:% = id; "failed over: {sentence}");
                    Then::Nothing
                }
                // What is not on disk has not happened. The drain finds nothing left to do.
                Err(error) => {
                    log::warn!(task:% = id; "the failover cannot be concluded, and is tried again: {error}");
                    Then::StartAgain(None)
                }
            },
        };
        self.stop_run(id, Instant::now() + STOP_TIMEOUT, then);
    }
}

/// What an order comes to.
pub(super) enum Outcome {
    AsItIs,
    Changed,
}

#[cfg(test)]
mod fault_tests;
