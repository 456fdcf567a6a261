//! What becomes of a failover when the process dies, or the power fails, at any step of a file.

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
use crate::manager::{FailoverOrder, TaskManager};
use crate::task::role::Insistence;

/// One life of a server in which a user wants a failover. Ends with it, or with the process.
fn life(folder: &Path) -> Arc<NotingEngine> {
    let engine = Arc::new(NotingEngine::of(folder, None));
    let journal = Box::new(FileJournal::open(folder).unwrap());
    let (manager, thread) = TaskManager::start(Arc::clone(&engine) as Arc<dyn Engine>, journal, 5).unwrap();
    let id = TaskId::parse("t").unwrap();
    let failed_over = || manager.get(&id).map(|view| view.is_some_and(|view| view.role.report().is_some()));
    // A manager that has died refuses, and the life is over.
    let _ = manager.create(Some(id.clone()), spec("http://t:1", "default", &["*"]));
    let _ = manager.fail_over(&id, FailoverOrder::Begin(Insistence::Patient));
    while matches!(failed_over(), Ok(false)) {
        std::thread::sleep(Duration::from_millis(1));
    }
    manager.shutdown(Instant::now() + Duration::from_secs(30));
    thread.join();
    engine
}

#[test]
fn a_death_at_any_step_leaves_a_role_that_the_next_life_goes_on_with() {
    for fault in FileFault::DEATHS {
        for n in 1.. {
            let (folder, faults) = (folder(), Faults::install());
            faults.at_file_step(n, fault);
            let _ = faults.process(|| {
                assert_eq!(*life(folder.path()).unauthorised.lock(), Vec::<String>::new());
            });
            let has_struck = faults.has_struck();
            let at = format!("{fault:?} at step {n}: {:?}", faults.trace().last());
            faults.clear();
            let left = on_disk(folder.path(), "t").unwrap_or_default();
            let next = life(folder.path());
            assert_eq!(*next.unauthorised.lock(), Vec::<String>::new(), "{at}");
            if left.mandate().is_none() {
                assert_eq!(*next.started.lock(), Vec::new(), "{at}: it had failed over");
            }
            let over = on_disk(folder.path(), "t").unwrap();
            assert!(over.mandate().is_none() && over.epoch >= left.epoch, "{at}: {over:?} after {left:?}");
            let last = life(folder.path());
            assert_eq!(*last.started.lock(), Vec::new(), "{at}: nothing runs ever after");
            assert_eq!(on_disk(folder.path(), "t"), Some(over), "{at}");
            if !has_struck {
                assert!(n > 5, "the walk has not begun");
                break;
            }
        }
    }
}
