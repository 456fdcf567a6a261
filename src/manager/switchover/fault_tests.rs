//! What becomes of a switchover when the process dies, or the power fails, at any step of a file.

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
use crate::manager::{ManagerError, SwitchoverOrder, TaskManager, TaskView};
use crate::task::role::{Epoch, Role};
use crate::task::switchover::FinalComparison;

const BEGIN: SwitchoverOrder = SwitchoverOrder::Begin { quiet_ms: 0, comparison: FinalComparison::Nothing };

fn id(text: &str) -> TaskId {
    TaskId::parse(text).unwrap()
}

/// One life of a server in which a user wants a switchover, and then one back. Ends with it, or with the process.
fn life(folder: &Path, switched: &[&str]) -> Arc<NotingEngine> {
    let noting = NotingEngine { is_reversible: true, source_answers: true, ..NotingEngine::of(folder, None) };
    let engine = Arc::new(noting);
    let journal = Box::new(FileJournal::open(folder).unwrap());
    let (manager, thread) = TaskManager::start(Arc::clone(&engine) as Arc<dyn Engine>, journal, 5).unwrap();
    let _ = manager.create(Some(id("t")), spec("http://t:1", "default", &["*"]));
    let is_switching = |view: &TaskView| matches!(view.role.role, Role::Switching(_));
    for task in switched {
        // A manager that has died refuses, and the life is over. One that has switched already refuses, too.
        let _ = manager.switch_over(&id(task), BEGIN);
        // One that an earlier life has begun goes on as well.
        while manager.list().is_ok_and(|tasks| tasks.iter().any(is_switching)) {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    manager.shutdown(Instant::now() + Duration::from_secs(30));
    thread.join();
    engine
}

fn role_on_disk(folder: &Path, task: &str) -> Option<(&'static str, Epoch)> {
    on_disk(folder, task).map(|state| (state.name(), state.epoch))
}

#[test]
fn there_and_back_again() {
    let folder = folder();
    life(folder.path(), &["t"]);
    let roles = |folder: &Path| ["t", "t-reverse"].map(|task| role_on_disk(folder, task).unwrap().0);
    assert_eq!(roles(folder.path()), ["reversed", "forward"]);
    let engine = life(folder.path(), &["t-reverse"]);
    assert_eq!(roles(folder.path()), ["forward", "reversed"]);
    assert_eq!(*engine.unauthorised.lock(), Vec::<String>::new());
    life(folder.path(), &["t"]);
    assert_eq!(roles(folder.path()), ["reversed", "forward"], "as often as it is wanted");
    let epochs = ["t", "t-reverse"].map(|task| role_on_disk(folder.path(), task).unwrap().1);
    assert!(epochs.iter().all(|epoch| *epoch > Epoch(3)), "{epochs:?}");
}

#[test]
fn what_stands_in_the_way_is_said_before_anything_happens() {
    let folder = folder();
    let engine = Arc::new(NotingEngine::of(folder.path(), None));
    let journal = Box::new(FileJournal::open(folder.path()).unwrap());
    let (manager, thread) = TaskManager::start(engine, journal, 5).unwrap();
    manager.create(Some(id("t")), spec("http://t:1", "default", &["*"])).unwrap();
    let refused = manager.switch_over(&id("t"), BEGIN).unwrap_err();
    assert!(matches!(&refused, ManagerError::NoSwitchover(why) if why.len() == 2), "{refused}");
    assert!(refused.to_string().contains("does not answer; its target t:1 is not among the `peers`"), "{refused}");
    assert_eq!(role_on_disk(folder.path(), "t").unwrap().0, "forward");
    manager.pause(&id("t")).unwrap();
    assert!(manager.switch_over(&id("t"), BEGIN).unwrap_err().to_string().contains("resume it first"));
    manager.shutdown(Instant::now() + Duration::from_secs(30));
    thread.join();
}

#[test]
fn a_death_at_any_step_leaves_a_direction_open_and_the_next_life_goes_on() {
    for fault in FileFault::DEATHS {
        for n in 1.. {
            let (folder, faults) = (folder(), Faults::install());
            faults.at_file_step(n, fault);
            let _ = faults.process(|| {
                assert_eq!(*life(folder.path(), &["t", "t-reverse"]).unauthorised.lock(), Vec::<String>::new());
            });
            let has_struck = faults.has_struck();
            let at = format!("{fault:?} at step {n}: {:?}", faults.trace().last());
            faults.clear();
            let left = ["t", "t-reverse"].map(|task| on_disk(folder.path(), task));
            if left.iter().any(Option::is_some) {
                let open = left.iter().flatten().filter(|state| state.mandate().is_some());
                assert!(open.count() > 0, "{at}: both directions are closed: {left:?}");
            }
            let next = life(folder.path(), &["t"]);
            assert_eq!(*next.unauthorised.lock(), Vec::<String>::new(), "{at}");
            for (task, left) in ["t", "t-reverse"].iter().zip(left) {
                let now = on_disk(folder.path(), task).unwrap_or_default();
                assert!(!matches!(now.role, Role::Switching(_)), "{at}: it goes on: {now:?}");
                assert!(now.epoch >= left.unwrap_or_default().epoch, "{at}");
            }
            if !has_struck {
                assert!(n > 10, "the walk has not begun");
                break;
            }
        }
    }
}
