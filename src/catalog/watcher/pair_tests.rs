//! What becomes of collections that somebody drops on the target, where a task in the opposite direction runs and where
//! none does. Source and target are FAKES ([`FakeMilvus`](crate::milvus::fake::FakeMilvus)), and so is the moment.

use super::fault_tests::{Between, Case, collection, world};
use super::*;
use crate::domain::CollectionId;
use crate::failpoint::{CallFault, Faults};
use crate::milvus::fake::{Collections, Repeats};

const ID: CollectionId = CollectionId(1);

fn books() -> Collections {
    world([("default", collection(ID.0, "books"))])
}

/// The collection is on both sides; `met`: a task in the opposite direction has been found to run.
fn replicated(met: Met) -> Between {
    let case = Case { name: "pair", before: books(), after: books(), methods: &[] };
    let between = Between::of(&case, Repeats::Succeed);
    if met == Met::Yes {
        between.process().steps.target.meet_opposite().unwrap();
    }
    between
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Met {
    Yes,
    No,
}

/// A process that was started anew and has listed the target.
fn looks(between: &Between) -> CatalogWatch {
    let mut watch = between.process();
    for _ in 0..3 {
        watch.run_round(&mut vec![Hint::Anything]).unwrap();
    }
    watch
}

fn id_on_target(between: &Between) -> Option<i64> {
    between.target.collections()["default"].get("books").map(|found| found.id)
}

#[test]
fn what_is_dropped_on_the_target_is_created_again_where_nobody_follows_it() {
    let between = replicated(Met::No);
    between.target.become_this(world([]));
    looks(&between);
    assert!(id_on_target(&between).is_some());
}

#[test]
fn what_is_dropped_on_the_target_of_a_pair_stays_dropped_until_a_user_wants_it_back() {
    let between = replicated(Met::Yes);
    between.target.become_this(world([]));
    for start in ["when it is found", "after a restart"] {
        let watch = looks(&between);
        assert_eq!((id_on_target(&between), watch.retries.held().collect::<Vec<_>>()), (None, vec![ID]), "{start}");
    }
    let mut watch = between.process();
    watch.run_round(&mut vec![Hint::TargetDrift(ID)]).unwrap();
    assert_eq!(id_on_target(&between), None, "no user's wish");
    watch.run_round(&mut vec![Hint::Resync(ID)]).unwrap();
    assert!(id_on_target(&between).is_some() && watch.retries.held().next().is_none());
}

#[test]
fn what_is_replaced_on_the_target_of_a_pair_is_left_alone() {
    let between = replicated(Met::Yes);
    between.target.become_this(world([("default", collection(77, "books"))]));
    let watch = looks(&between);
    assert_eq!((id_on_target(&between), watch.retries.held().collect::<Vec<_>>()), (Some(77), vec![ID]));
    // The source drops its own: what a user has made on the target stays.
    between.source.become_this(world([]));
    let watch = looks(&between);
    assert_eq!(id_on_target(&between), Some(77));
    assert!(watch.steps.target.record().ids().is_empty());
}

#[test]
fn what_the_source_drops_is_dropped_on_the_target_of_a_pair() {
    let between = replicated(Met::Yes);
    between.source.become_this(world([]));
    let watch = looks(&between);
    assert!(id_on_target(&between).is_none() && watch.steps.target.record().ids().is_empty());
}

/// The listing that tells of a task in the opposite direction fails, where no mark does.
#[test]
fn hints_outlive_a_round_that_fails() {
    let (faults, between) = (Faults::install(), Between { log_marks: LogMarks::Dropped, ..replicated(Met::No) });
    let mut watch = between.process();
    while !watch.opposite.is_granted() {
        watch.run_round(&mut Vec::new()).unwrap();
    }
    faults.at_call("ListDatabases", 1, CallFault::Unreachable);
    let mut hints = vec![Hint::Resync(ID)];
    watch.run_round(&mut hints).unwrap();
    assert!(faults.has_struck() && hints.len() == 1);
    watch.run_round(&mut hints).unwrap();
    assert!(hints.is_empty());
}
