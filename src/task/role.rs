/*!
Which part a task plays for its two sites, and how that changes.

```text
            begin                        conclude
 forward ─────────▶ failing_over ───────────────────▶ failed_over
    ▲               │   the log is drained             the target is the primary;
    └───────────────┘                                  nothing of the source is applied any more
         cancel                                           │    ▲
                                            begin_failback│    │go_on, cancel
                                                          ▼    │
                                                       failing_back: listing ──▶ merging ──▶ reversing
                                                                                                │
                                                       reversed ◀──────────────reverse──────────┘

            begin_switchover                                                     switch_over
 forward ─────────────────────▶ switching: opening ──▶ draining ──▶ comparing ──────────────▶ reversed
    ▲                               │                                                            │
    └───────────────────────────────┘                                                            │
    ▲      cancel, end_switchover                                                                │
    └──────────────────────────────────────── reopen ────────────────────────────────────────────┘
```

`reopen` is the other task's doing: its own switchover, or failback, needs this one again.

| role | what runs |
|---|---|
| `forward` | the task, from the source to the target |
| `failing_over` | the drain: what the source's log still holds is applied, and the source itself is not asked |
| `failed_over` | nothing, whatever comes back |
| `failing_back` | the step: what the old primary has written is listed, and merged if a user wants that |
| `switching` | the task, and from the second step on the one in the opposite direction as well |
| `reversed` | nothing of this task; another one makes the source equal to the target, and follows that |

A role is in the journal before it takes effect. Every change raises the epoch. Whatever applies rows does so by a
[`Mandate`], which only a role gives and which carries the epoch; the epoch is in the checkpoint, too, so that files
which a later role has left are not taken up by an earlier one (a `tasks.json` out of a backup). Both directions at once
will be a further role beside these.
*/

use super::failback::{Failback, FailbackIntent, FailbackStep};
use super::failover::FailoverReport;
use super::switchover::{Switchover, SwitchoverReport, SwitchoverStep};
use crate::domain::TaskId;

/// Counts the changes of a task's role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Epoch(pub u64);

/// The part that a task plays.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Role {
    /// The target follows the source.
    #[default]
    Forward,
    /// The target is about to take the source's place.
    FailingOver(Failover),
    /// The target has taken the source's place.
    FailedOver(Box<FailoverReport>),
    /// The same, and the source is back.
    FailingBack(Failback, Box<FailoverReport>),
    /// The sites are about to change places.
    Switching(Switchover),
    /// The source has become the target's standby.
    Reversed(Box<Reversed>),
}

/// What a task leaves to the one in the opposite direction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reversed {
    /// How the target took the source's place.
    pub handover: Handover,
    /// The task that follows the target.
    pub by: TaskId,
    /// Since when, in milliseconds since 1970.
    pub since_ms: u64,
}

/// How a target took its source's place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Handover {
    /// The source was gone, and is back.
    FailedOver(FailoverReport),
    /// Both were well.
    SwitchedOver(SwitchoverReport),
}

/// A failover under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failover {
    /// When it began, in milliseconds since 1970.
    pub since_ms: u64,
    /// Whether it goes on without what cannot be had.
    pub insistence: Insistence,
    /// The source's last sign of life by then, in its time in milliseconds since 1970; `None` when there was none.
    pub last_sign_ms: Option<u64>,
}

/// What a failover does when the log cannot be read, or the source answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Insistence {
    /// It waits, or does not begin.
    Patient,
    /// It goes on without.
    Forced,
}

/// A task's role with its epoch.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RoleState {
    /// The role.
    pub role: Role,
    /// How often it has changed.
    pub epoch: Epoch,
}

/// The right to apply rows, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mandate {
    /// Of the role that has given it.
    pub epoch: Epoch,
    /// What is to be done.
    pub errand: Errand,
}

/// What a run of a task is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Errand {
    /// It follows the source.
    Follow,
    /// It applies what the log still holds, and ends.
    Drain(Failover),
    /// It carries out one step of a failback, and ends.
    FailBack(Failback),
}

/// A change of the role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RoleChange {
    /// A failover begins; or one that waits is told to go on without.
    Begin(Failover),
    /// The failover is given up.
    Cancel,
    /// The drain that was begun in this epoch has ended.
    Conclude(Epoch, Box<FailoverReport>),
    /// A failback begins; or one that has not changed anything yet gets another plan.
    BeginFailback(Failback),
    /// The failback is given up.
    CancelFailback,
    /// The step of a failback that was begun in this epoch has ended: this one comes next; `None`: that was all.
    GoOn(Epoch, Option<FailbackStep>),
    /// The task in the opposite direction exists.
    Reverse {
        /// Which it is.
        by: TaskId,
        /// Since when, in milliseconds since 1970.
        since_ms: u64,
    },
    /// A switchover begins.
    BeginSwitchover(Switchover),
    /// The switchover is given up.
    CancelSwitchover,
    /// The switchover that was begun in this epoch comes to this step.
    GoOnSwitching(Epoch, SwitchoverStep),
    /// The switchover that was begun in this epoch has ended, and the sites keep their places.
    EndSwitchover(Epoch),
    /// The switchover that was begun in this epoch is complete.
    SwitchOver(Epoch, Box<SwitchoverReport>),
    /// This task, which is in the opposite direction, gives its place back.
    Reopen(TaskId),
}

/// Why a role cannot change so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RoleRefused {
    /// The point of no return is behind.
    #[error(
        "the task has failed over, and its target may have been written to since: nothing of its source is applied any \
         more, and that cannot be undone; delete the task, and create one in the direction that is wanted"
    )]
    FailedOver,
    /// There is nothing to give up.
    #[error("no failover of the task is under way")]
    NotUnderWay,
    /// A failover is under way.
    #[error("a failover of the task is under way: look at it with `failover status`, or give it up with `cancel`")]
    UnderWay,
    /// A failback is under way.
    #[error("a failback of the task is under way: look at it with `failback status`")]
    FailingBack,
    /// Nobody has taken the source's place.
    #[error("the task has not failed over, so there is nothing to fail back from")]
    NotFailedOver,
    /// The sites have changed places.
    #[error(
        "the sites of the task have changed places: its source is the standby of its target, by the task {0}; a \
         switchover or a failover of that one brings the old primary back (if that one was deleted, delete this one, \
         too, and create it anew)"
    )]
    Reversed(TaskId),
    /// There is no failback to give up.
    #[error("no failback of the task is under way")]
    NoFailback,
    /// A switchover is under way.
    #[error(
        "a switchover of the task is under way: look at it with `switchover status`, or give it up with `cancel` first \
         (and before a failover delete the task in the opposite direction)"
    )]
    Switching,
    /// There is no switchover to give up.
    #[error("no switchover of the task is under way")]
    NoSwitchover,
    /// Lost writes are on the target by now.
    #[error("the failback has begun to change things, which cannot be undone: it ends by itself in a moment")]
    Merging,
}

impl RoleState {
    /// The role after a change; `None`: as it is, because that has happened already.
    ///
    /// # Errors
    /// [`RoleRefused`] when this role does not change so.
    pub fn after(&self, change: RoleChange) -> Result<Option<RoleState>, RoleRefused> {
        let role = match change {
            RoleChange::Begin(failover) => self.begun(failover),
            RoleChange::Cancel => match &self.role {
                Role::FailingOver(_) => Ok(Some(Role::Forward)),
                Role::FailedOver(_) | Role::FailingBack(..) | Role::Reversed(_) => Err(RoleRefused::FailedOver),
                Role::Forward | Role::Switching(_) => Err(RoleRefused::NotUnderWay),
            },
            RoleChange::Conclude(epoch, report) => match &self.role {
                Role::FailingOver(_) if epoch == self.epoch => Ok(Some(Role::FailedOver(report))),
                Role::FailingOver(_) | Role::FailedOver(_) | Role::FailingBack(..) | Role::Reversed(_) => Ok(None),
                Role::Forward | Role::Switching(_) => Err(RoleRefused::NotUnderWay),
            },
            RoleChange::BeginFailback(failback) => self.failback_begun(failback),
            RoleChange::CancelFailback => self.failback_cancelled(),
            RoleChange::GoOn(epoch, next) => Ok(match (&self.role, next) {
                (Role::FailingBack(failback, report), Some(step)) if epoch == self.epoch => {
                    Some(Role::FailingBack(Failback { step, ..*failback }, report.clone()))
                }
                (Role::FailingBack(_, report), None) if epoch == self.epoch => Some(Role::FailedOver(report.clone())),
                // It was given up just before its step ended.
                _ => None,
            }),
            RoleChange::Reverse { by, since_ms } => Ok(match &self.role {
                Role::FailingBack(Failback { step: FailbackStep::Reversing, .. }, report) => {
                    let handover = Handover::FailedOver(report.as_ref().clone());
                    Some(Role::Reversed(Box::new(Reversed { handover, by, since_ms })))
                }
                _ => None,
            }),
            RoleChange::BeginSwitchover(switchover) => self.switchover_begun(switchover),
            RoleChange::CancelSwitchover => match &self.role {
                Role::Switching(_) => Ok(Some(Role::Forward)),
                Role::Reversed(reversed) => Err(RoleRefused::Reversed(reversed.by.clone())),
                _ => Err(RoleRefused::NoSwitchover),
            },
            RoleChange::GoOnSwitching(epoch, _)
            | RoleChange::EndSwitchover(epoch)
            | RoleChange::SwitchOver(epoch, _)
                if epoch != self.epoch =>
            {
                Ok(None)
            }
            change => Ok(self.switched(change)),
        };
        Ok(role?.map(|role| RoleState { role, epoch: Epoch(self.epoch.0 + 1) }))
    }

    /// What comes of a step of a switchover of this epoch; `None`: it was given up just before.
    fn switched(&self, change: RoleChange) -> Option<Role> {
        Some(match (&self.role, change) {
            (Role::Switching(switchover), RoleChange::GoOnSwitching(_, step)) => {
                Role::Switching(Switchover { step, ..switchover.clone() })
            }
            (Role::Switching(_), RoleChange::EndSwitchover(_)) => Role::Forward,
            (Role::Switching(switchover), RoleChange::SwitchOver(_, report)) => {
                let (by, since_ms) = (switchover.step.by()?.clone(), report.at_ms);
                Role::Reversed(Box::new(Reversed { handover: Handover::SwitchedOver(*report), by, since_ms }))
            }
            (Role::Reversed(reversed), RoleChange::Reopen(by)) if reversed.by == by => Role::Forward,
            _ => return None,
        })
    }

    fn switchover_begun(&self, switchover: Switchover) -> Result<Option<Role>, RoleRefused> {
        match &self.role {
            Role::Forward => Ok(Some(Role::Switching(switchover))),
            Role::Switching(before) => {
                let again = Switchover { since_ms: before.since_ms, step: before.step.clone(), ..switchover };
                Ok((again != *before).then_some(Role::Switching(again)))
            }
            Role::FailingOver(_) => Err(RoleRefused::UnderWay),
            Role::FailedOver(_) => Err(RoleRefused::FailedOver),
            Role::FailingBack(..) => Err(RoleRefused::FailingBack),
            Role::Reversed(reversed) => Err(RoleRefused::Reversed(reversed.by.clone())),
        }
    }

    fn failback_cancelled(&self) -> Result<Option<Role>, RoleRefused> {
        match &self.role {
            Role::FailingBack(Failback { step: FailbackStep::Listing, .. }, report) => {
                Ok(Some(Role::FailedOver(report.clone())))
            }
            Role::FailingBack(..) => Err(RoleRefused::Merging),
            Role::Reversed(reversed) => Err(RoleRefused::Reversed(reversed.by.clone())),
            Role::Forward | Role::FailingOver(_) | Role::FailedOver(_) | Role::Switching(_) => {
                Err(RoleRefused::NoFailback)
            }
        }
    }

    fn begun(&self, failover: Failover) -> Result<Option<Role>, RoleRefused> {
        match &self.role {
            Role::Forward => Ok(Some(Role::FailingOver(failover))),
            Role::Switching(_) => Err(RoleRefused::Switching),
            Role::FailingOver(before)
                if before.insistence == Insistence::Patient && failover.insistence == Insistence::Forced =>
            {
                Ok(Some(Role::FailingOver(Failover { insistence: Insistence::Forced, ..*before })))
            }
            Role::FailingOver(_) | Role::FailedOver(_) | Role::FailingBack(..) | Role::Reversed(_) => Ok(None),
        }
    }

    fn failback_begun(&self, failback: Failback) -> Result<Option<Role>, RoleRefused> {
        match &self.role {
            Role::Forward => Err(RoleRefused::NotFailedOver),
            Role::Switching(_) => Err(RoleRefused::Switching),
            Role::FailingOver(_) => Err(RoleRefused::UnderWay),
            Role::FailedOver(report) => Ok(Some(Role::FailingBack(failback, report.clone()))),
            Role::FailingBack(before, report) => {
                let again = Failback { since_ms: before.since_ms, step: before.step, ..failback };
                match before.step {
                    _ if again == *before => Ok(None),
                    // Whoever only wants to see the list takes nothing back of what is under way.
                    FailbackStep::Listing
                        if again.intent == FailbackIntent::List && before.intent == FailbackIntent::GoOn =>
                    {
                        Ok(None)
                    }
                    FailbackStep::Listing => Ok(Some(Role::FailingBack(again, report.clone()))),
                    FailbackStep::Merging | FailbackStep::Reversing => Err(RoleRefused::Merging),
                }
            }
            Role::Reversed(_) => Ok(None),
        }
    }

    /// The right to apply rows, if the role gives one.
    pub fn mandate(&self) -> Option<Mandate> {
        let errand = match &self.role {
            Role::Forward | Role::Switching(_) => Errand::Follow,
            Role::FailingOver(failover) => Errand::Drain(*failover),
            Role::FailedOver(_) | Role::Reversed(_) => return None,
            // Another task is what that makes.
            Role::FailingBack(Failback { step: FailbackStep::Reversing, .. }, _) => return None,
            Role::FailingBack(failback, _) => Errand::FailBack(*failback),
        };
        Some(Mandate { epoch: self.epoch, errand })
    }

    /// Whether a user may pause the task, resume it, or change how it connects.
    ///
    /// # Errors
    /// [`RoleRefused`] when a change of the sites' places is under way, or has happened.
    pub fn permits_change(&self) -> Result<(), RoleRefused> {
        match &self.role {
            Role::Forward => Ok(()),
            Role::FailingOver(_) => Err(RoleRefused::UnderWay),
            Role::FailedOver(_) => Err(RoleRefused::FailedOver),
            Role::FailingBack(..) => Err(RoleRefused::FailingBack),
            Role::Switching(_) => Err(RoleRefused::Switching),
            Role::Reversed(reversed) => Err(RoleRefused::Reversed(reversed.by.clone())),
        }
    }

    /// The role's name in the API.
    pub fn name(&self) -> &'static str {
        match self.role {
            Role::Forward => "forward",
            Role::FailingOver(_) => "failing_over",
            Role::FailedOver(_) => "failed_over",
            Role::FailingBack(..) => "failing_back",
            Role::Switching(_) => "switching",
            Role::Reversed(_) => "reversed",
        }
    }

    /// The report of a failover that has happened.
    pub fn report(&self) -> Option<&FailoverReport> {
        match &self.role {
            Role::FailedOver(report) | Role::FailingBack(_, report) => Some(report),
            Role::Reversed(reversed) => match &reversed.handover {
                Handover::FailedOver(report) => Some(report),
                Handover::SwitchedOver(_) => None,
            },
            Role::Forward | Role::FailingOver(_) | Role::Switching(_) => None,
        }
    }
}

#[cfg(test)]
mod tests;
