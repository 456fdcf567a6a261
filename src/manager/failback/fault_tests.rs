//! What becomes of a failback when the process dies, or the power fails, at any step of a file.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::domain::TaskId;
use crate::failpoint::walk::folder;
use crate::failpoint::{Faults, FileFault};
use crate::manager::engine::Engine;
use crate::manager::noting_engine::{NotingEngine, on_disk};
use crate::manager::overlap::testing::spec;
use crate::manager::store::FileJournal;
use crate::manager::{FailbackOrder, FailoverOrder, ManagerError, TaskManager};
use crate::task::failback::{
    Failback, FailbackIntent, FailbackOutcome, FailbackStep, LostInCollection, LostWrites, LostWritesPlan, Rebuild,
    ReturnedPrimary,
};
use crate::task::role::{Errand, Insistence, Mandate, Role};

fn lost() -> LostWrites {
    let one = LostInCollection { puts: 3, mergeable: 2, undecided: 1, ..LostInCollection::default() };
    LostWrites {
        at_ms: 1,
        address: "west:1".into(),
        primary: ReturnedPrimary::Same,
        unlisted: None,
        collections: vec![one],
        unknown: Vec::new(),
        outcome: None,
    }
}

fn merge(intent: FailbackIntent) -> FailbackOrder {
    FailbackOrder::Begin { intent, plan: LostWritesPlan::Merge, rebuild: Rebuild::Refused }
}

/// The steps that were begun.
fn steps(engine: &NotingEngine) -> Vec<FailbackStep> {
    let step = |mandate: &Mandate| match mandate.errand {
        Errand::FailBack(failback) => Some(failback.step),
        Errand::Follow | Errand::Drain(_) => None,
    };
    engine.started.lock().iter().filter_map(step).collect()
}

/// One life of a server in which a user wants a failover and then this. Ends with it, or with the process.
fn life(folder: &Path, orders: &[FailbackOrder], is_reversible: bool) -> Arc<NotingEngine> {
    let engine = Arc::new(NotingEngine { is_reversible, ..NotingEngine::of(folder, Some(lost())) });
    let journal = Box::new(FileJournal::open(folder).unwrap());
    let (manager, thread) = TaskManager::start(Arc::clone(&engine) as Arc<dyn Engine>, journal, 5).unwrap();
    let id = TaskId::parse("t").unwrap();
    // A manager that has died answers nothing, and the life is over.
    let await_rest = || {
        let rests = |role: &Role| matches!(role, Role::FailedOver(_) | Role::Reversed(_));
        while matches!(manager.get(&id), Ok(Some(view)) if !rests(&view.role.role)) {
            std::thread::sleep(Duration::from_millis(1));
        }
    };
    let _ = manager.create(Some(id.clone()), spec("http://t:1", "default", &["*"]));
    let _ = manager.fail_over(&id, FailoverOrder::Begin(Insistence::Patient));
    await_rest();
    for order in orders {
        let _ = manager.fail_back(&id, *order);
        await_rest();
    }
    manager.shutdown(Instant::now() + Duration::from_secs(30));
    thread.join();
    engine
}

#[test]
fn a_list_changes_nothing_and_a_merge_follows_its_list() {
    let folder = folder();
    use FailbackStep::{Listing, Merging};
    assert_eq!(steps(&life(folder.path(), &[merge(FailbackIntent::List)], false)), [Listing]);
    assert_eq!(steps(&life(folder.path(), &[merge(FailbackIntent::GoOn)], false)), [Listing, Merging]);
    let ask =
        FailbackOrder::Begin { intent: FailbackIntent::GoOn, plan: LostWritesPlan::Ask, rebuild: Rebuild::Refused };
    assert_eq!(steps(&life(folder.path(), &[ask], true)), [Listing], "nothing is written unasked");
    assert!(matches!(on_disk(folder.path(), "t").unwrap().role, Role::FailedOver(_)), "nor reversed");
    assert_eq!(on_disk(folder.path(), "t-reverse"), None);
}

/// Dies at every step of every file. Answers how many there are.
fn die_everywhere(fault: FileFault, is_reversible: bool) -> usize {
    for n in 1.. {
        let (folder, faults) = (folder(), Faults::install());
        faults.at_file_step(n, fault);
        let _ = faults.process(|| {
            let engine = life(folder.path(), &[merge(FailbackIntent::GoOn)], is_reversible);
            assert_eq!(*engine.unauthorised.lock(), [""; 0]);
        });
        let has_struck = faults.has_struck();
        let at = format!("{fault:?} at step {n}: {:?}", faults.trace().last());
        faults.clear();
        let left = on_disk(folder.path(), "t").unwrap_or_default();
        let next = life(folder.path(), &[], is_reversible);
        assert_eq!(*next.unauthorised.lock(), Vec::<String>::new(), "{at}");
        // Nobody asks again: it goes on at the step on disk, and ends.
        let expected: &[FailbackStep] = match &left.role {
            Role::FailingBack(failback, _) => match failback.step {
                FailbackStep::Listing => &[FailbackStep::Listing, FailbackStep::Merging],
                FailbackStep::Merging => &[FailbackStep::Merging],
                FailbackStep::Reversing => &[],
            },
            _ => &[],
        };
        assert_eq!(steps(&next), expected, "{at}");
        let over = on_disk(folder.path(), "t").unwrap();
        assert!(over.mandate().is_none() && over.epoch >= left.epoch, "{at}: {over:?} after {left:?}");
        let back = on_disk(folder.path(), "t-reverse");
        match (&left.role, &over.role) {
            (_, Role::Reversed(reversed)) => {
                assert_eq!(reversed.by.as_str(), "t-reverse", "{at}");
                assert!(back.is_some_and(|back| back.mandate().is_some()), "{at}: it follows");
            }
            (Role::FailingBack(..), role) => assert!(!is_reversible, "{at}: {role:?}"),
            (_, role) => assert!(matches!(role, Role::FailedOver(_)) && back.is_none(), "{at}: {role:?}"),
        }
        if !has_struck {
            return n;
        }
    }
    unreachable!("the range has no end")
}

#[test]
fn a_death_at_any_step_leaves_a_role_that_the_next_life_goes_on_with() {
    for fault in FileFault::DEATHS {
        let steps = [false, true].map(|is_reversible| die_everywhere(fault, is_reversible));
        assert!(steps[0] > 10 && steps[1] > steps[0] + 5, "{steps:?}: the walk has not begun");
    }
}

/// What users have written to the target since is in no log that such a task would begin with.
#[test]
fn a_task_that_has_failed_over_has_no_opposite_but_by_a_failback() {
    let folder = folder();
    life(folder.path(), &[], true);
    let engine = Arc::new(NotingEngine::of(folder.path(), Some(lost())));
    let journal = Box::new(FileJournal::open(folder.path()).unwrap());
    let (manager, thread) = TaskManager::start(engine as Arc<dyn Engine>, journal, 5).unwrap();
    let refused = manager.create_opposite(None, &TaskId::parse("t").unwrap()).unwrap_err();
    assert!(matches!(&refused, ManagerError::Role { .. }), "{refused}");
    manager.shutdown(Instant::now() + Duration::from_secs(30));
    thread.join();
}

#[test]
fn what_found_no_place_keeps_the_direction() {
    let order = |step| Failback {
        since_ms: 1,
        step,
        intent: FailbackIntent::GoOn,
        plan: LostWritesPlan::Merge,
        rebuild: Rebuild::Refused,
        drained_ms: None,
    };
    let merged =
        |gone| LostWrites { outcome: Some(FailbackOutcome::Merged { written: 1, present: 0, gone }), ..lost() };
    let (next, said) = super::after(&order(FailbackStep::Merging), &merged(1));
    assert!(next.is_none() && said.contains("1 rows have no place there any more"), "{said}");
    let (next, _) = super::after(&order(FailbackStep::Merging), &merged(0));
    assert_eq!(next, Some(FailbackStep::Reversing));
}
