//! What a guard does when the server behind the target's address changes. The server is a FAKE ([`FakeMilvus`]): it
//! must change between two certain calls.

use super::*;
use crate::catalog::record::ReplicatedCollection;
use crate::domain::{CollectionId, CollectionName, Mark};
use crate::failpoint::walk::folder;
use crate::failpoint::{CallFault, Faults};
use crate::milvus::Cancel;
use crate::milvus::fake::{FakeCollection, FakeMilvus, Repeats};

const ID: CollectionId = CollectionId(1);

/// A task that has written to a target, with the collection `c` there.
struct Written {
    target: Arc<FakeMilvus>,
    folder: tempfile::TempDir,
}

impl Written {
    fn new() -> Written {
        let written = Written { target: FakeMilvus::new(Repeats::Succeed), folder: folder() };
        written.put(70);
        let record = written.record();
        let name = CollectionName::new("default", "c");
        let ours = ReplicatedCollection { name, created: true, target_id: 70, ..ReplicatedCollection::default() };
        record.entry(ID).put(ours);
        record.save().unwrap();
        written.recognise().unwrap();
        written
    }

    fn put(&self, id: i64) {
        self.target.put("default", "c", FakeCollection { id, ..FakeCollection::default() });
    }

    fn record(&self) -> CatalogRecord {
        CatalogRecord::open(self.folder.path()).unwrap()
    }

    /// As at each start of a task.
    fn recognise(&self) -> Result<(), TargetRefused> {
        recognise_target(&self.target.client("target:1"), self.folder.path(), &History::default(), &context())
    }

    fn is_lost(&self) -> bool {
        self.record().get(ID).unwrap().lost
    }
}

fn context() -> CallContext {
    CallContext { timeout: Duration::from_secs(1), cancel: Cancel::default() }
}

#[test]
fn a_wiped_target_has_lost_everything_and_another_one_is_left_alone() {
    let written = Written::new();
    written.recognise().unwrap();
    assert!(!written.is_lost());
    written.target.reinstall();
    written.put(99);
    let refused = written.recognise().unwrap_err().to_string();
    assert!(refused.contains("another server than the one that this task writes to"), "{refused}");
    assert!(!written.is_lost(), "it may come back");
    written.target.become_this([("default".to_owned(), Default::default())].into());
    written.recognise().unwrap();
    assert!(written.is_lost());
    written.recognise().unwrap();
}

#[test]
fn a_target_whose_collections_are_there_is_the_same_one_whatever_it_tells() {
    let written = Written::new();
    written.target.reinstall();
    written.put(70);
    written.recognise().unwrap();
    assert!(!written.is_lost());
}

#[test]
fn a_process_that_dies_while_it_takes_a_wiped_target_finds_it_wiped_again_or_has_taken_it() {
    let walked = (1..).take_while(|&n| {
        let (faults, written) = (Faults::install(), Written::new());
        written.target.reinstall();
        faults.at_call("*", n, CallFault::CrashAfter);
        let life = faults.process(|| drop(written.recognise()));
        faults.clear();
        if !faults.has_struck() {
            return false;
        }
        life.unwrap_err();
        written.recognise().unwrap();
        assert!(written.is_lost(), "after call {n}");
        true
    });
    assert!(walked.count() > 1);
}

#[test]
fn a_running_task_ends_its_run_before_another_server_is_changed() {
    let (faults, written) = (Faults::install(), Written::new());
    let (client, record) = (written.target.client("target:1"), written.record());
    let guard = TargetGuard::open(written.folder.path()).unwrap();
    assert!(guard.is_due(&client));
    guard.recognise(&client, &record, &context()).unwrap();
    assert!(!guard.is_due(&client), "it was looked at");
    faults.at_call("CreateDatabase", 1, CallFault::Unreachable);
    client.marked(Mark::OF_NO_COLLECTION).create_database("a", &context()).unwrap_err();
    written.target.reinstall();
    assert!(guard.is_due(&client), "the connection was lost");
    client.marked(Mark::OF_NO_COLLECTION).create_database("a", &context()).unwrap_err();
    let refused = guard.recognise(&client, &record, &context()).unwrap_err();
    assert!(matches!(&refused, CatalogError::OtherSource(why) if why.contains("is empty")), "{refused}");
    assert_eq!(written.target.done(), Vec::<String>::new());
}

/// Rounds look as well as steps do, and must not wait for a step whose look hangs.
#[test]
fn whoever_looks_is_not_waited_for() {
    let written = Written::new();
    let guard = TargetGuard::open(written.folder.path()).unwrap();
    let client = written.target.client("target:1");
    assert!(guard.is_due(&client));
    let looks = guard.state.lock();
    assert!(!guard.is_due(&client));
    drop(looks);
    assert!(guard.is_due(&client));
}

/// The known server answers again just after an empty one did.
#[test]
fn what_was_seen_is_what_is_accepted() {
    let written = Written::new();
    let (guard, record) = (TargetGuard::open(written.folder.path()).unwrap(), written.record());
    written.target.reinstall();
    let client = written.target.client("target:1");
    let SeenTarget { verdict, server } = guard.look(&client, &record, &context()).unwrap();
    assert_eq!(verdict, TargetVerdict::Wiped);
    written.target.reinstall();
    guard.accept_wiped(&client, &record, server).unwrap();
    assert_eq!(guard.state.lock().known, server);
}
