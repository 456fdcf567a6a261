//! What becomes of collections that the source has no longer. Source and target are FAKES ([`FakeMilvus`]): the process
//! must die at one certain call.

use std::collections::BTreeMap;

use super::super::retries::RetrySubject;
use super::fault_tests::{Between, Case, MANNERS, collection, dies_after_each_call, world, world_of};
use super::*;
use crate::domain::{CollectionId, CollectionName};
use crate::failpoint::{CallFault, Faults, FileFault};
use crate::milvus::fake::{Collections, FakeMilvus, Repeats};
use crate::task::drops::{DropDecision, HeldKind};
use rustix::io::Errno;

/// Collections of these ids.
fn those(ids: &[i64]) -> Collections {
    world_of(ids.iter().map(|id| ("default", collection(*id, &format!("c{id}")))))
}

/// The source has had the collections 1 to 4, and has `left` now.
fn of_four(left: Collections) -> Between {
    let case = Case { name: "drop", before: those(&[1, 2, 3, 4]), after: left, methods: &[] };
    Between::of(&case, Repeats::Succeed)
}

fn names(server: &FakeMilvus) -> Vec<String> {
    server.collections()["default"].keys().cloned().collect()
}

fn rounds(between: &Between) -> CatalogWatch {
    let mut watch = between.process();
    rounds_of(&mut watch);
    watch
}

#[test]
fn a_drop_that_the_log_shows_does_not_wait_for_what_vanishes_next() {
    for hint in [Hint::Dropped(CollectionId(1)), Hint::Anything] {
        let between = of_four(those(&[2, 3, 4]));
        between.process().run_round(&mut vec![hint.clone()]).unwrap();
        assert_eq!(between.is_equal(), matches!(hint, Hint::Dropped(_)), "{hint:?}");
    }
}

#[test]
fn drops_that_the_log_shows_are_held_where_much_vanishes() {
    let between = of_four(world([]));
    let mut watch = between.process();
    watch.run_round(&mut (1..=4).map(|id| Hint::Dropped(CollectionId(id))).collect()).unwrap();
    assert_eq!((names(&between.target).len(), watch.desk.held().len()), (4, 4));
}

#[test]
fn what_was_decided_is_no_part_of_what_the_brake_counts() {
    let between = of_four(world([]));
    let mut watch = between.process();
    watch.run_round(&mut (1..=4).map(|id| Hint::Dropped(CollectionId(id))).collect()).unwrap();
    assert_eq!(watch.desk.decide(DropDecision::Discard).len(), 4);
    watch.run_round(&mut Vec::new()).unwrap();
    assert_eq!((names(&between.target).len(), watch.steps.target.record().ids()), (4, Vec::new()));
}

#[test]
fn what_a_restored_source_lacks_is_held_and_later_drops_follow() {
    let mut earlier = those(&[2, 3, 4]);
    earlier.get_mut("default").unwrap().get_mut("c2").unwrap().partitions.remove("p");
    let with_partition = |mut there: Collections| {
        there.get_mut("default").unwrap().get_mut("c2").unwrap().partitions.insert("p".into());
        there
    };
    let case = Case { name: "restored", before: with_partition(those(&[1, 2, 3, 4])), after: earlier, methods: &[] };
    let between = Between::of(&case, Repeats::Succeed);
    let guard = || SourceGuard::open(between.path(), Arc::new(crate::source::NoLog)).unwrap();
    guard().set_restored(true).unwrap();
    let watch = rounds(&between);
    assert_eq!(names(&between.target), ["c1", "c2", "c3", "c4"]);
    assert_eq!(watch.desk.held().iter().map(|held| held.id).collect::<Vec<_>>(), [1]);
    assert!(between.target.collections()["default"]["c2"].partitions.contains("p"), "nobody has dropped it");
    assert!(!guard().is_restored(), "all that is missing is held");
    drop(watch);
    between.source.become_this(those(&[2, 4]));
    let mut watch = between.process();
    watch.run_round(&mut vec![Hint::Dropped(CollectionId(3))]).unwrap();
    assert_eq!(names(&between.target), ["c1", "c2", "c4"]);
    assert_eq!(watch.desk.held().len(), 1, "still held");
}

/// It may have been restored to an earlier time, which its log tells when everything is opened again.
#[test]
fn what_a_source_lacks_that_was_away_ends_the_run_before_it_is_dropped() {
    let (faults, between) = (Faults::install(), of_four(those(&[1, 2, 3, 4])));
    let mut watch = between.process();
    watch.run_round(&mut vec![]).unwrap();
    between.source.become_this(those(&[2, 3, 4]));
    faults.at_call("ShowCollections", 1, CallFault::Unreachable);
    watch.run_round(&mut vec![]).unwrap();
    let outcome = watch.run_round(&mut vec![Hint::Dropped(CollectionId(1))]);
    assert!(matches!(outcome, Err(CatalogError::Stopping)), "{outcome:?}");
    assert_eq!(names(&between.target), ["c1", "c2", "c3", "c4"]);
    // Asked, the log has shown nothing.
    let mut watch = between.process();
    watch.run_round(&mut vec![Hint::Dropped(CollectionId(1))]).unwrap();
    assert_eq!(names(&between.target), ["c2", "c3", "c4"]);
    // What is there already is not asked for.
    faults.at_call("ShowCollections", 1, CallFault::Unreachable);
    watch.run_round(&mut vec![]).unwrap();
    watch.run_round(&mut vec![]).unwrap();
}

/// Else it would go without a question as soon as it is resumed.
#[test]
fn the_drop_of_what_is_paused_is_held_as_well() {
    for is_restored in [true, false] {
        // Not restored: most of it has vanished at once, counted with what is paused.
        let left = if is_restored { those(&[2, 3, 4]) } else { those(&[4]) };
        let between = of_four(left);
        let mut guard = SourceGuard::open(between.path(), Arc::new(crate::source::NoLog)).unwrap();
        guard.set_restored(is_restored).unwrap();
        let mut watch = between.process();
        watch.steps.paused.set([CollectionId(1)].into_iter());
        watch.run_round(&mut vec![Hint::Anything]).unwrap();
        assert!(watch.desk.held().iter().any(|held| held.id == 1), "restored: {is_restored}");
        watch.steps.paused.set([].into_iter());
        for _ in 0..3 {
            watch.run_round(&mut vec![Hint::Dropped(CollectionId(1))]).unwrap();
        }
        assert_eq!(names(&between.target).len(), 4, "restored: {is_restored}");
    }
}

#[test]
fn what_is_paused_is_dropped_once_it_is_resumed() {
    let between = of_four(those(&[2, 3, 4]));
    let mut watch = between.process();
    watch.steps.paused.set([CollectionId(1)].into_iter());
    watch.run_round(&mut vec![Hint::Dropped(CollectionId(1))]).unwrap();
    assert_eq!(names(&between.target).len(), 4);
    watch.steps.paused.set([].into_iter());
    watch.run_round(&mut vec![]).unwrap();
    assert_eq!(names(&between.target), ["c2", "c3", "c4"]);
}

fn renaming(between: Between, hours: u32) -> Between {
    Between { on_drop: OnDrop::Rename { hours }, ..between }
}

#[test]
fn a_dropped_collection_keeps_another_name_wherever_the_process_dies() {
    for manner in MANNERS {
        let case = Case { name: "rename", before: those(&[1]), after: world([]), methods: &[] };
        let look = |between: &Between, n| {
            let watch = rounds(between);
            assert_eq!(names(&between.target), ["c1_dropped_1"], "{manner:?}, after call {n}");
            let aside = watch.desk.set_aside();
            assert_eq!((aside.len(), aside[0].source.as_str()), (1, "default.c1"), "{manner:?}, after call {n}");
            assert!(watch.steps.target.record().ids().is_empty(), "{manner:?}, after call {n}");
        };
        let walked = dies_after_each_call(|| renaming(Between::of(&case, manner), 1), look);
        assert!(walked > 5, "{manner:?}");
    }
}

#[test]
fn a_collection_that_is_made_anew_follows_beside_the_one_that_was_renamed() {
    let anew = world([("default", collection(9, "c1"))]);
    let case = Case { name: "rename", before: those(&[1]), after: anew, methods: &[] };
    let between = renaming(Between::of(&case, Repeats::Succeed), 1);
    rounds(&between);
    assert_eq!(names(&between.target), ["c1", "c1_dropped_1"]);
}

#[test]
fn what_was_renamed_is_dropped_when_its_time_is_over_and_nothing_else() {
    let case = Case { name: "expired", before: those(&[1]), after: world([]), methods: &[] };
    for is_replaced in [false, true] {
        let between = renaming(Between::of(&case, Repeats::Succeed), 1);
        let watch = rounds(&between);
        watch.steps.target.drop_expired(crate::domain::Timestamp::now().physical_ms()).unwrap();
        assert_eq!(names(&between.target), ["c1_dropped_1"], "its time is not over");
        if is_replaced {
            between.target.put("default", "c1_dropped_1", collection(77, "c1_dropped_1"));
        }
        drop(watch);
        // After a restart, an hour later.
        let watch = between.process();
        let later = crate::domain::Timestamp::now().physical_ms() + 2 * 3_600_000;
        watch.steps.target.drop_expired(later).unwrap();
        assert_eq!(names(&between.target).len(), usize::from(is_replaced), "replaced: {is_replaced}");
        let name = CollectionName::new("default", "c1_dropped_1");
        assert!(watch.steps.target.record().held_drops().all_set_aside().is_empty(), "{name}");
    }
}

#[test]
fn a_database_that_the_target_refuses_keeps_no_other_waiting() {
    let (faults, before) = (Faults::install(), world([]));
    let after: Collections = ["a", "b", "default"].map(|db| (db.to_owned(), BTreeMap::new())).into();
    let between = Between::of(&Case { name: "databases", before, after, methods: &[] }, Repeats::Succeed);
    faults.at_call("CreateDatabase", 1, CallFault::Refused(1100));
    let mut watch = between.process();
    watch.run_round(&mut vec![Hint::Anything]).unwrap();
    assert_eq!(between.target.collections().into_keys().collect::<Vec<_>>(), ["b", "default"]);
    between.converge("it is taken later");
}

#[test]
fn one_that_the_target_does_not_let_go_of_keeps_no_other_and_stops_nothing() {
    let (faults, later) = (Faults::install(), crate::domain::Timestamp::now().physical_ms() + 2 * 3_600_000);
    let case = Case { name: "expired", before: those(&[1, 2]), after: world([]), methods: &[] };
    let between = renaming(Between::of(&case, Repeats::Succeed), 1);
    let watch = rounds(&between);
    faults.at_call("DropCollection", 1, CallFault::Refused(1100));
    let error = watch.steps.target.drop_expired(later).unwrap_err();
    // Side by side, either of them may have been renamed first.
    let left = names(&between.target);
    assert_eq!(left.len(), 1);
    let why = format!("{} stays on the target", left[0]);
    assert!(!error.is_final() && error.to_string().contains(&why), "{left:?}: {error}");
    watch.steps.target.drop_expired(later).unwrap();
    assert!(names(&between.target).is_empty());
}

/// Before any listing of the target shows it.
#[test]
fn what_stands_there_instead_is_neither_dropped_nor_renamed() {
    for on_drop in [OnDrop::Follow, OnDrop::Rename { hours: 1 }] {
        let case = Case { name: "replaced", before: those(&[1]), after: world([]), methods: &[] };
        let between = Between { on_drop, ..Between::of(&case, Repeats::Succeed) };
        between.target.put("default", "c1", collection(77, "c1"));
        let watch = between.process();
        watch.steps.target.drop_collection(CollectionId(1)).unwrap();
        assert_eq!(names(&between.target), ["c1"], "{on_drop:?}");
        let record = watch.steps.target.record();
        assert!(record.ids().is_empty() && record.held_drops().all_set_aside().is_empty(), "{on_drop:?}");
    }
}

#[test]
fn a_database_that_somebody_drops_on_the_target_is_created_again() {
    let there = || world([("d", collection(1, "c1"))]);
    let case = Case { name: "database", before: world([]), after: there(), methods: &[] };
    let between = Between::of(&case, Repeats::Succeed);
    let mut watch = between.process();
    watch.run_round(&mut vec![Hint::Anything]).unwrap();
    assert!(between.is_equal());
    between.target.become_this(world([]));
    rounds_until(&mut watch, &[Hint::TargetDrift(CollectionId(1))], |_| between.is_equal());
}

/// Whatever could not be written to disk when it was decided.
#[test]
fn a_discarded_drop_is_discarded_in_the_end() {
    let mut failed = 0;
    for step in 1..100 {
        let (faults, between) = (Faults::install(), of_four(world([])));
        let mut watch = between.process();
        watch.run_round(&mut (1..=4).map(|id| Hint::Dropped(CollectionId(id))).collect()).unwrap();
        watch.desk.decide(DropDecision::Discard);
        faults.at_file_step(step, FileFault::Fails(Errno::NOSPC));
        let _ = watch.run_round(&mut Vec::new());
        if !faults.has_struck() {
            break;
        }
        failed += 1;
        faults.clear();
        rounds_until(&mut watch, &[], |watch| watch.steps.target.record().ids().is_empty());
        assert_eq!(names(&between.target).len(), 4, "file step {step}");
    }
    assert!(failed > 3, "{failed}");
}

#[test]
fn the_trouble_of_what_is_paused_or_held_is_over() {
    for is_held in [false, true] {
        let (faults, between) = (Faults::install(), of_four(those(&[2, 3, 4])));
        faults.at_call("DropCollection", 1, CallFault::Unreachable);
        let mut watch = between.process();
        watch.run_round(&mut vec![Hint::Dropped(CollectionId(1))]).unwrap();
        let subject = RetrySubject::Collection(CollectionId(1));
        assert!(watch.retries.is_in_trouble(&subject));
        if is_held {
            between.source.become_this(world([]));
            watch.run_round(&mut (2..=4).map(|id| Hint::Dropped(CollectionId(id))).collect()).unwrap();
            assert!(watch.desk.held().iter().any(|held| held.id == 1));
        } else {
            between.source.become_this(those(&[1, 2, 3, 4]));
            watch.steps.paused.set([CollectionId(1)].into_iter());
            watch.run_round(&mut vec![Hint::Collection(CollectionId(1), 1)]).unwrap();
        }
        assert!(!watch.retries.is_in_trouble(&subject), "held: {is_held}");
    }
}

#[test]
fn a_database_that_is_back_is_not_decided_about() {
    let there = || world_of((1..=3).map(|id| (["d", "e", "f"][id - 1], collection(id as i64, "c"))));
    let case = Case { name: "databases", before: there(), after: world([]), methods: &[] };
    let between = Between::of(&case, Repeats::Succeed);
    let mut watch = rounds(&between);
    watch.desk.decide(DropDecision::Confirm);
    rounds_of(&mut watch);
    let held = |watch: &CatalogWatch| watch.desk.held().iter().filter(|held| held.kind == HeldKind::Database).count();
    assert_eq!(held(&watch), 3);
    watch.desk.decide(DropDecision::Discard);
    between.source.become_this(there());
    rounds_of(&mut watch);
    assert_eq!(watch.steps.target.record().databases().len(), 3);
}

fn rounds_of(watch: &mut CatalogWatch) {
    for _ in 0..3 {
        watch.run_round(&mut vec![Hint::Anything]).unwrap();
    }
}

/// What failed is tried again after a pause.
fn rounds_until(watch: &mut CatalogWatch, hints: &[Hint], is_done: impl Fn(&CatalogWatch) -> bool) {
    for _ in 0..1000 {
        if is_done(watch) {
            return;
        }
        watch.run_round(&mut hints.to_vec()).unwrap();
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("it never comes: {:?}", watch.desk.held());
}
