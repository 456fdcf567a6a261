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
```

| role | what runs |
|---|---|
| `forward` | the task, from the source to the target |
| `failing_over` | the drain: what the source's log still holds is applied, and the source itself is not asked |
| `failed_over` | nothing, whatever comes back |
| `failing_back` | the step: what the old primary has written is listed, and merged if a user wants that |
| `reversed` | nothing of this task; another one makes the source equal to the target, and follows that |

A role is in the journal before it takes effect. Every change raises the epoch. Whatever applies rows does so by a
[`Mandate`], which only a role gives and which carries the epoch; the epoch is in the checkpoint, too, so that files
which a later role has left are not taken up by an earlier one (a `tasks.json` out of a backup). Switching over and both
directions at once will be further roles beside these.
*/

use super::failback::{Failback, FailbackIntent, FailbackStep};
use super::failover::FailoverReport;
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
    /// The source has become the target's standby.
    Reversed(Box<Reversed>),
}

/// What a task leaves to the one in the opposite direction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reversed {
    /// How the target took the source's place.
    pub report: FailoverReport,
    /// The task that follows the target.
    pub by: TaskId,
    /// Since when, in milliseconds since 1970.
    pub since_ms: u64,
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
        "the task has failed back: its source is the standby of its target since, by the task {0}; a failover of that \
         one brings the old primary back"
    )]
    Reversed(TaskId),
    /// There is no failback to give up.
    #[error("no failback of the task is under way")]
    NoFailback,
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
                Role::Forward => Err(RoleRefused::NotUnderWay),
            },
            RoleChange::Conclude(epoch, report) => match &self.role {
                Role::FailingOver(_) if epoch == self.epoch => Ok(Some(Role::FailedOver(report))),
                Role::FailingOver(_) | Role::FailedOver(_) | Role::FailingBack(..) | Role::Reversed(_) => Ok(None),
                Role::Forward => Err(RoleRefused::NotUnderWay),
            },
            RoleChange::BeginFailback(failback) => self.failback_begun(failback),
            RoleChange::CancelFailback => match &self.role {
                Role::FailingBack(Failback { step: FailbackStep::Listing, .. }, report) => {
                    Ok(Some(Role::FailedOver(report.clone())))
                }
                Role::FailingBack(..) => Err(RoleRefused::Merging),
                Role::Reversed(reversed) => Err(RoleRefused::Reversed(reversed.by.clone())),
                Role::Forward | Role::FailingOver(_) | Role::FailedOver(_) => Err(RoleRefused::NoFailback),
            },
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
                    let report = report.as_ref().clone();
                    Some(Role::Reversed(Box::new(Reversed { report, by, since_ms })))
                }
                _ => None,
            }),
        };
        Ok(role?.map(|role| RoleState { role, epoch: Epoch(self.epoch.0 + 1) }))
    }

    fn begun(&self, failover: Failover) -> Result<Option<Role>, RoleRefused> {
        Ok(match &self.role {
            Role::Forward => Some(Role::FailingOver(failover)),
            Role::FailingOver(before)
                if before.insistence == Insistence::Patient && failover.insistence == Insistence::Forced =>
            {
                Some(Role::FailingOver(Failover { insistence: Insistence::Forced, ..*before }))
            }
            Role::FailingOver(_) | Role::FailedOver(_) | Role::FailingBack(..) | Role::Reversed(_) => None,
        })
    }

    fn failback_begun(&self, failback: Failback) -> Result<Option<Role>, RoleRefused> {
        match &self.role {
            Role::Forward => Err(RoleRefused::NotFailedOver),
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
            Role::Forward => Errand::Follow,
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
    /// [`RoleRefused`] when a failover or a failback is under way, or a failover has happened.
    pub fn permits_change(&self) -> Result<(), RoleRefused> {
        match &self.role {
            Role::Forward => Ok(()),
            Role::FailingOver(_) => Err(RoleRefused::UnderWay),
            Role::FailedOver(_) => Err(RoleRefused::FailedOver),
            Role::FailingBack(..) => Err(RoleRefused::FailingBack),
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
            Role::Reversed(_) => "reversed",
        }
    }

    /// The report of a failover that has happened.
    pub fn report(&self) -> Option<&FailoverReport> {
        match &self.role {
            Role::FailedOver(report) | Role::FailingBack(_, report) => Some(report),
            Role::Reversed(reversed) => Some(&reversed.report),
            Role::Forward | Role::FailingOver(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::failback::{LostWritesPlan, Rebuild};
    use super::*;

    fn failover(insistence: Insistence) -> Failover {
        Failover { since_ms: 5, insistence, last_sign_ms: None }
    }

    fn begin(insistence: Insistence) -> RoleChange {
        RoleChange::Begin(failover(insistence))
    }

    fn conclude(epoch: u64) -> RoleChange {
        RoleChange::Conclude(Epoch(epoch), Box::default())
    }

    fn then(state: &RoleState, change: RoleChange) -> RoleState {
        state.after(change).unwrap().unwrap()
    }

    #[test]
    fn a_failover_from_its_beginning_to_its_end() {
        let forward = RoleState::default();
        assert_eq!(forward.mandate().map(|mandate| mandate.errand), Some(Errand::Follow));
        let waiting = then(&forward, begin(Insistence::Patient));
        assert_eq!(waiting.after(begin(Insistence::Patient)), Ok(None), "again");
        let forced = then(&waiting, begin(Insistence::Forced));
        assert_eq!(forced.after(begin(Insistence::Patient)), Ok(None), "who insists goes on insisting");
        assert_eq!(forced.after(conclude(waiting.epoch.0)), Ok(None), "an earlier drain ends late");
        let over = then(&forced, conclude(forced.epoch.0));
        assert_eq!((over.name(), over.epoch, over.mandate()), ("failed_over", Epoch(3), None));
        assert_eq!(over.after(begin(Insistence::Forced)), Ok(None), "again");
        assert_eq!(over.after(RoleChange::Cancel), Err(RoleRefused::FailedOver));
    }

    #[test]
    fn what_is_given_up_goes_on_as_before() {
        let forward = RoleState::default();
        assert_eq!(forward.after(RoleChange::Cancel), Err(RoleRefused::NotUnderWay));
        assert_eq!(forward.after(conclude(0)), Err(RoleRefused::NotUnderWay));
        let back = then(&then(&forward, begin(Insistence::Patient)), RoleChange::Cancel);
        assert_eq!((back.role.clone(), back.epoch), (Role::Forward, Epoch(2)));
        assert_eq!(back.after(conclude(1)), Err(RoleRefused::NotUnderWay), "the drain that was given up ends late");
    }

    fn failback(plan: LostWritesPlan) -> RoleChange {
        let (step, intent, rebuild) = (FailbackStep::Listing, FailbackIntent::GoOn, Rebuild::Refused);
        RoleChange::BeginFailback(Failback { since_ms: 7, step, intent, plan, rebuild, drained_ms: None })
    }

    fn failed_over() -> RoleState {
        let draining = then(&RoleState::default(), begin(Insistence::Patient));
        then(&draining, conclude(draining.epoch.0))
    }

    #[test]
    fn a_failback_from_its_beginning_to_its_end() {
        let ask = failback(LostWritesPlan::Ask);
        assert_eq!(RoleState::default().after(ask.clone()), Err(RoleRefused::NotFailedOver));
        let over = failed_over();
        assert_eq!(over.after(RoleChange::CancelFailback), Err(RoleRefused::NoFailback));
        let listing = then(&over, ask.clone());
        assert_eq!((listing.name(), listing.report()), ("failing_back", over.report()));
        assert_eq!(listing.after(ask.clone()), Ok(None), "again");
        let RoleChange::BeginFailback(order) = ask else { unreachable!("it is one") };
        let look = RoleChange::BeginFailback(Failback { intent: FailbackIntent::List, ..order });
        assert_eq!(listing.after(look), Ok(None), "who looks gives nothing up");
        let other = then(&listing, failback(LostWritesPlan::Merge));
        assert_eq!(other.after(RoleChange::GoOn(listing.epoch, None)), Ok(None), "the earlier listing ends late");
        let back = then(&other, RoleChange::CancelFailback);
        assert_eq!((&back.role, back.mandate()), (&over.role, None));
        let merging = then(&other, RoleChange::GoOn(other.epoch, Some(FailbackStep::Merging)));
        assert_eq!(merging.after(RoleChange::CancelFailback), Err(RoleRefused::Merging), "no return");
        assert_eq!(merging.after(failback(LostWritesPlan::Discard)), Err(RoleRefused::Merging));
        assert_eq!(merging.after(failback(LostWritesPlan::Merge)), Ok(None), "again");
        assert_eq!(then(&merging, RoleChange::GoOn(merging.epoch, None)).role, over.role);
        let reverse = || RoleChange::Reverse { by: TaskId::parse("back").unwrap(), since_ms: 9 };
        assert_eq!(merging.after(reverse()), Ok(None), "not yet");
        let reversing = then(&merging, RoleChange::GoOn(merging.epoch, Some(FailbackStep::Reversing)));
        assert_eq!((reversing.name(), reversing.mandate()), ("failing_back", None));
        let reversed = then(&reversing, reverse());
        assert_eq!((reversed.name(), reversed.mandate(), reversed.report()), ("reversed", None, over.report()));
        assert_eq!(reversed.after(reverse()), Ok(None), "again");
        assert_eq!(reversed.after(failback(LostWritesPlan::Merge)), Ok(None), "again");
        assert!(reversed.permits_change().unwrap_err().to_string().contains("by the task back"));
    }

    fn changes() -> impl Strategy<Value = RoleChange> {
        prop_oneof![
            Just(failback(LostWritesPlan::Ask)),
            Just(failback(LostWritesPlan::Merge)),
            Just(RoleChange::CancelFailback),
            (0..9u64).prop_map(|epoch| RoleChange::GoOn(Epoch(epoch), None)),
            (0..9u64).prop_map(|epoch| RoleChange::GoOn(Epoch(epoch), Some(FailbackStep::Merging))),
            (0..9u64).prop_map(|epoch| RoleChange::GoOn(Epoch(epoch), Some(FailbackStep::Reversing))),
            Just(RoleChange::Reverse { by: TaskId::random(), since_ms: 1 }),
            Just(begin(Insistence::Patient)),
            Just(begin(Insistence::Forced)),
            Just(RoleChange::Cancel),
            (0..6u64).prop_map(conclude),
        ]
    }

    proptest! {
        /// Whatever is asked in whatever order: the epoch rises with every change and by nothing else, no two roles
        /// share an epoch, and after a failover nothing of the source is ever followed or drained again.
        #[test]
        fn nothing_is_applied_after_a_failover(asked in proptest::collection::vec(changes(), 0..20)) {
            let mut state = RoleState::default();
            let mut is_over = false;
            for change in asked {
                let next = match state.after(change) {
                    Ok(Some(next)) => next,
                    Ok(None) | Err(_) => continue,
                };
                prop_assert_eq!(next.epoch.0, state.epoch.0 + 1);
                prop_assert!(!is_over || next.report().is_some(), "a failover was undone");
                is_over = next.report().is_some();
                let errand = next.mandate().map(|mandate| mandate.errand);
                prop_assert_eq!(matches!(errand, None | Some(Errand::FailBack(_))), is_over);
                state = next;
            }
        }
    }
}
