//! What is found by collections' turns alone. Source and target are FAKES ([`FakeMilvus`]): one certain call must hang
//! or fail.

use super::fault_tests::{Between, Case, collection, world, world_of};
use super::*;
use crate::catalog::periodic_describe::PeriodicDescribe;
use crate::catalog::source::QuickLook;
use crate::domain::CollectionId;
use crate::failpoint::{CallFault, Faults};
use crate::milvus::fake::{FakeCollection, Repeats};

/// Few enough that no whole comparison is due with them.
const COUNT: i64 = 10;

/// A task that has replicated ten collections.
fn replicated() -> (Between, CatalogWatch) {
    let after = world_of((1..=COUNT).map(|id| ("default", collection(id, &format!("c{id}")))));
    let between = Between::of(&Case { name: "", before: world([]), after, methods: &[] }, Repeats::AreRefused);
    let mut watch = between.process();
    watch.run_round(&mut vec![]).unwrap();
    assert!(between.is_equal());
    (between, watch)
}

fn change(between: &Between, id: i64, change: impl FnOnce(&mut FakeCollection)) {
    let mut changed = between.source.collections();
    change(changed.get_mut("default").unwrap().get_mut(&format!("c{id}")).unwrap());
    between.source.become_this(changed);
}

fn add_alias(between: &Between, id: i64) {
    change(between, id, |collection| collection.aliases.extend([format!("alias{id}")]));
}

/// Lets the turn of every collection come.
fn make_due(watch: &mut CatalogWatch) {
    watch.periodic = PeriodicDescribe::new(Instant::now().checked_sub(Duration::from_millis(1500)).unwrap());
}

fn go_on(watch: &mut CatalogWatch) {
    while watch.under_way() > 0 {
        watch.take_next_report().unwrap();
    }
}

fn described(faults: &Faults) -> usize {
    faults.trace().iter().filter(|method| *method == "DescribeCollection").count()
}

#[test]
fn all_whose_turn_it_is_are_described_in_one_step_and_what_differs_follows() {
    let faults = Faults::install();
    let (between, mut watch) = replicated();
    make_due(&mut watch);
    let (gate, before) = (faults.hold_calls("DescribeCollection", "c5"), described(&faults));
    watch.begin_round(&mut vec![]).unwrap();
    gate.wait_until_reached();
    assert_eq!(watch.under_way(), 1);
    gate.open();
    go_on(&mut watch);
    assert_eq!(described(&faults), before + COUNT as usize, "each of them, once");

    add_alias(&between, 3);
    change(&between, 4, |collection| collection.partitions.extend(["p".to_owned()]));
    change(&between, COUNT, |collection| {
        collection.properties.insert("collection.ttl.seconds".into(), "60".into());
    });
    make_due(&mut watch);
    watch.run_round(&mut vec![]).unwrap();
    assert!(between.is_equal(), "in the same round: {:?}", between.target.done());
}

#[test]
fn one_that_cannot_be_described_is_retried_and_the_others_follow() {
    let faults = Faults::install();
    let (between, mut watch) = replicated();
    (1..=2).for_each(|id| add_alias(&between, id));
    make_due(&mut watch);
    faults.at_call("DescribeCollection", 1, CallFault::Refused(65535));
    watch.run_round(&mut vec![]).unwrap();
    assert!(faults.has_struck());
    let aliases = |id: i64| between.target.collections()["default"][&format!("c{id}")].aliases.len();
    assert_eq!((aliases(1), aliases(2)), (0, 1), "{:?}", between.target.done());
    for _ in 0..200 {
        watch.run_round(&mut vec![]).unwrap();
        if between.is_equal() {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(between.is_equal(), "{:?}", between.target.done());
}

#[test]
fn a_source_that_does_not_answer_is_told_once() {
    let faults = Faults::install();
    let (_between, mut watch) = replicated();
    make_due(&mut watch);
    (1..=3).for_each(|n| faults.at_call("DescribeCollection", n, CallFault::Unreachable));
    watch.run_round(&mut vec![]).unwrap();
    assert!(faults.has_struck());
    let is_replicated = |id| watch.steps.source.is_replicated(CollectionId(id));
    let forgotten: Vec<i64> = (1..=COUNT).filter(|id| !is_replicated(*id)).collect();
    assert_eq!(forgotten.len(), 1, "{forgotten:?}");
}

#[test]
fn one_whose_answer_takes_long_is_visited_alone() {
    let (between, mut watch) = replicated();
    add_alias(&between, 7);
    let unanswered = vec![CollectionId(7), CollectionId(8)];
    watch.settle_look(QuickLook { unanswered, ..QuickLook::default() }).unwrap();
    watch.run_round(&mut vec![]).unwrap();
    assert!(between.is_equal(), "{:?}", between.target.done());
}

/// The step may have seen it before it was changed.
#[test]
fn one_that_a_step_is_busy_with_is_looked_at_after_that_step() {
    let faults = Faults::install();
    let (between, mut watch) = replicated();
    let gate = faults.hold_calls("ShowPartitions", "c2");
    watch.begin_round(&mut vec![Hint::Collection(CollectionId(2), 1)]).unwrap();
    gate.wait_until_reached();
    add_alias(&between, 2);
    make_due(&mut watch);
    watch.begin_round(&mut vec![]).unwrap();
    gate.open();
    go_on(&mut watch);
    assert!(between.is_equal(), "without another round: {:?}", between.target.done());
}
