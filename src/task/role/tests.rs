//! The roles' changes.

use proptest::prelude::*;

use super::super::failback::{LostWritesPlan, Rebuild};
use super::super::switchover::FinalComparison;
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

fn by() -> TaskId {
    TaskId::parse("back").unwrap()
}

fn begin_switchover(comparison: FinalComparison) -> RoleChange {
    let step = SwitchoverStep::Opening;
    RoleChange::BeginSwitchover(Switchover { since_ms: 5, step, quiet_ms: 10_000, comparison })
}

fn switched() -> SwitchoverReport {
    SwitchoverReport {
        at_ms: 9,
        applied_ms: 8,
        last_change_ms: None,
        comparison: FinalComparison::Nothing,
        compared: 0,
    }
}

fn steps() -> impl Strategy<Value = SwitchoverStep> {
    prop_oneof![
        Just(SwitchoverStep::Opening),
        Just(SwitchoverStep::Draining(by())),
        Just(SwitchoverStep::Comparing(by()))
    ]
}

#[test]
fn a_switchover_from_its_beginning_to_its_end_and_the_way_back() {
    let forward = RoleState::default();
    assert_eq!(forward.after(RoleChange::CancelSwitchover), Err(RoleRefused::NoSwitchover));
    let opening = then(&forward, begin_switchover(FinalComparison::Keys));
    assert_eq!(opening.after(begin_switchover(FinalComparison::Keys)), Ok(None), "again");
    assert_eq!((opening.name(), opening.mandate().unwrap().errand), ("switching", Errand::Follow));
    assert_eq!(opening.after(begin(Insistence::Forced)), Err(RoleRefused::Switching), "one after the other");
    assert_eq!(opening.permits_change(), Err(RoleRefused::Switching));
    let done = |of: &RoleState| RoleChange::SwitchOver(of.epoch, Box::new(switched()));
    assert_eq!(opening.after(done(&opening)), Ok(None), "there is nobody to take over");
    let draining = then(&opening, RoleChange::GoOnSwitching(opening.epoch, SwitchoverStep::Draining(by())));
    let other = then(&draining, begin_switchover(FinalComparison::Rows));
    assert_eq!(other.after(done(&draining)), Ok(None), "the earlier one ends late");
    assert!(matches!(&other.role, Role::Switching(Switchover { step: SwitchoverStep::Draining(_), .. })));
    assert_eq!(then(&draining, RoleChange::CancelSwitchover).role, Role::Forward);
    assert_eq!(then(&draining, RoleChange::EndSwitchover(draining.epoch)).role, Role::Forward);
    let reversed = then(&other, done(&other));
    assert_eq!((reversed.name(), reversed.mandate(), reversed.report()), ("reversed", None, None));
    assert_eq!(reversed.after(begin_switchover(FinalComparison::Keys)), Err(RoleRefused::Reversed(by())));
    let stranger = RoleChange::Reopen(TaskId::parse("other").unwrap());
    assert_eq!(reversed.after(stranger), Ok(None), "only who has its place gives it back");
    let again = then(&reversed, RoleChange::Reopen(by()));
    assert_eq!((again.role, again.epoch), (Role::Forward, Epoch(reversed.epoch.0 + 1)));
}

fn changes() -> impl Strategy<Value = RoleChange> {
    prop_oneof![
        Just(failback(LostWritesPlan::Ask)),
        Just(failback(LostWritesPlan::Merge)),
        Just(RoleChange::CancelFailback),
        (0..9u64).prop_map(|epoch| RoleChange::GoOn(Epoch(epoch), None)),
        (0..9u64).prop_map(|epoch| RoleChange::GoOn(Epoch(epoch), Some(FailbackStep::Merging))),
        (0..9u64).prop_map(|epoch| RoleChange::GoOn(Epoch(epoch), Some(FailbackStep::Reversing))),
        Just(RoleChange::Reverse { by: by(), since_ms: 1 }),
        Just(begin_switchover(FinalComparison::Keys)),
        Just(RoleChange::CancelSwitchover),
        (0..9u64, steps()).prop_map(|(epoch, step)| RoleChange::GoOnSwitching(Epoch(epoch), step)),
        (0..9u64).prop_map(|epoch| RoleChange::EndSwitchover(Epoch(epoch))),
        (0..9u64).prop_map(|epoch| RoleChange::SwitchOver(Epoch(epoch), Box::new(switched()))),
        prop_oneof![Just("back"), Just("other")].prop_map(|by| RoleChange::Reopen(TaskId::parse(by).unwrap())),
        Just(begin(Insistence::Patient)),
        Just(begin(Insistence::Forced)),
        Just(RoleChange::Cancel),
        (0..6u64).prop_map(conclude),
    ]
}

proptest! {
    /// Whatever is asked in whatever order: the epoch rises with every change and by nothing else, no two roles
    /// share an epoch, and once the target has the source's place nothing of the source is followed or drained again,
    /// unless the task that has the place gives it back.
    #[test]
    fn nothing_is_applied_of_a_source_that_has_lost_its_place(asked in proptest::collection::vec(changes(), 0..20)) {
        let mut state = RoleState::default();
        let mut is_over = false;
        for change in asked {
            let is_given_back = change == RoleChange::Reopen(by()) && matches!(state.role, Role::Reversed(_));
            let next = match state.after(change) {
                Ok(Some(next)) => next,
                Ok(None) | Err(_) => continue,
            };
            prop_assert_eq!(next.epoch.0, state.epoch.0 + 1);
            let was_over = is_over && !is_given_back;
            is_over = next.report().is_some() || matches!(next.role, Role::Reversed(_));
            prop_assert!(is_over || !was_over, "what was over was undone");
            let errand = next.mandate().map(|mandate| mandate.errand);
            prop_assert_eq!(matches!(errand, None | Some(Errand::FailBack(_))), is_over);
            state = next;
        }
    }
}
