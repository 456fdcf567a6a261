//! Which steps wait for which. Source and target are FAKES ([`FakeMilvus`]): one certain call must hang, or end before
//! another begins.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::fault_tests::{Between, Case, collection, world, world_of};
use super::*;
use crate::catalog::step_workers::WORKERS;
use crate::domain::CollectionId;
use crate::failpoint::{CallFault, Faults};
use crate::milvus::fake::{Collections, FakeMilvus, Repeats};

const REPEATS: Repeats = Repeats::AreRefused;

fn those(ids: impl Iterator<Item = i64>) -> Collections {
    world_of(ids.map(|id| ("default", collection(id, &format!("c{id}")))))
}

/// The target has nothing yet of these collections.
fn first_comparison_of(ids: impl Iterator<Item = i64>) -> Between {
    Between::of(&Case { name: "first", before: world([]), after: those(ids), methods: &[] }, Repeats::AreRefused)
}

fn names(server: &FakeMilvus) -> BTreeSet<String> {
    server.collections().into_values().flat_map(|names| names.into_keys()).collect()
}

/// Takes the ends of steps until all that can begin has ended, but for so many.
fn go_on(watch: &mut CatalogWatch, hanging: usize) {
    while watch.under_way() > hanging {
        watch.take_next_report().unwrap();
    }
}

#[test]
fn a_collection_whose_calls_hang_holds_up_no_other() {
    for (method, hangs_at) in [("CreateCollection", "c7"), ("DescribeCollection", "c7"), ("LoadCollection", "c7")] {
        let (faults, between) = (Faults::install(), first_comparison_of(1..=30));
        between.source.load("default", "c7");
        let gate = faults.hold_calls(method, hangs_at);
        let mut watch = between.process();
        watch.begin_round(&mut vec![]).unwrap();
        go_on(&mut watch, 1);
        let rest = |ids: std::ops::RangeInclusive<i64>| ids.filter(|id| *id != 7).map(|id| format!("c{id}"));
        let others: BTreeSet<String> = rest(1..=30).collect();
        assert!(names(&between.target).is_superset(&others), "{method}: {:?}", between.target.done());
        // What comes later, too: the next listing does not wait either.
        between.source.put("default", "c31", collection(31, "c31"));
        watch.begin_round(&mut vec![Hint::Collection(CollectionId(31), 5)]).unwrap();
        go_on(&mut watch, 1);
        assert!(names(&between.target).contains("c31"), "{method}: {:?}", between.target.done());
        assert!(!between.is_equal());
        gate.open();
        go_on(&mut watch, 0);
        watch.run_round(&mut vec![Hint::Anything]).unwrap();
        assert!(between.is_equal(), "{method}: {:?}", between.target.done());
    }
}

/// A listing by name has no id of its collection: it may tell of the next one.
#[test]
fn what_is_listed_of_the_next_collection_of_a_name_drops_nothing_of_this_one() {
    for adopted in [false, true] {
        let books = |id, partitions: &[&str]| {
            let mut books = collection(id, "books");
            books.partitions.extend(partitions.iter().map(|name| (*name).to_owned()));
            world([("default", books)])
        };
        let (faults, before) = (Faults::install(), books(1, &["p"]));
        let between = Between::of(&Case { name: "", before: world([]), after: before.clone(), methods: &[] }, REPEATS);
        if adopted {
            between.target.become_this(books(9, &["p"]));
        }
        between.converge("at first");
        let gate = faults.hold_calls("ShowPartitions", "books");
        let mut watch = between.process();
        watch.begin_round(&mut vec![Hint::Collection(CollectionId(1), 5)]).unwrap();
        gate.wait_until_reached();
        between.source.become_this(books(2, &[]));
        gate.open();
        go_on(&mut watch, 0);
        let done = between.target.done();
        assert!(!done.iter().any(|done| done.starts_with("drop")), "adopted: {adopted}: {done:?}");
        let noted = watch.steps.target.record().entry(CollectionId(1)).get().unwrap().default_partition_at_source();
        assert_eq!(noted, Some(101), "adopted: {adopted}");
        if !adopted {
            watch.run_round(&mut vec![Hint::Dropped(CollectionId(1))]).unwrap();
            between.converge("the next one");
        }
    }
}

#[test]
fn a_hint_goes_before_all_that_waits_during_the_first_comparison() {
    let (faults, between) = (Faults::install(), first_comparison_of(1..=60));
    let gate = faults.hold_calls("CreateCollection", "");
    let mut watch = between.process();
    watch.begin_round(&mut vec![]).unwrap();
    gate.wait_until_reached();
    between.source.put("default", "hinted", collection(99, "hinted"));
    watch.begin_round(&mut vec![Hint::Collection(CollectionId(99), 1)]).unwrap();
    gate.open();
    go_on(&mut watch, 0);
    let created = between.target.done();
    let place = created.iter().position(|done| done == "create collection hinted").unwrap();
    // In its turn it would be the last. Before it are those that were under way, and those that began while its own
    // calls were made: how many is up to how threads are scheduled.
    assert!(place < created.len() / 2, "{place} of {}: {created:?}", created.len());
}

#[test]
fn threads_that_are_not_needed_any_more_end() {
    let between = first_comparison_of(1..=30);
    let mut watch = between.process();
    watch.run_round(&mut vec![]).unwrap();
    let (workers, now) = (watch.workers_mut(), Instant::now());
    assert_eq!(workers.threads(), WORKERS);
    let hour = Duration::from_secs(3600);
    workers.trim(now + hour);
    for turn in 2..20 {
        workers.trim(now + hour * turn);
        if workers.threads() > 1 {
            let left = workers.reports().recv_timeout(Duration::from_secs(30)).unwrap();
            assert!(workers.note(left).is_none());
        }
    }
    assert_eq!(workers.threads(), 1, "one waits for the next step");
    between.source.put("default", "c31", collection(31, "c31"));
    watch.run_round(&mut vec![Hint::Anything]).unwrap();
    assert!(between.is_equal());
}

#[test]
fn a_step_that_panics_ends_the_catalog_as_if_its_own_thread_had() {
    let (faults, between) = (Faults::install(), first_comparison_of(1..=12));
    faults.at_call("CreateCollection", 3, CallFault::Panics);
    let mut watch = between.process();
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| watch.run_round(&mut vec![])));
    assert!(outcome.is_err() && faults.has_struck());
}

/// Half of the threads at most are busy with what fails.
#[test]
fn collections_in_trouble_leave_room_for_the_others() {
    let (faults, between) = (Faults::install(), first_comparison_of(1..=12));
    (1..=12).for_each(|n| faults.at_call("CreateCollection", n, CallFault::Refused(65535)));
    let mut watch = between.process();
    watch.run_round(&mut vec![]).unwrap();
    assert!(names(&between.target).is_empty(), "all of them have failed");
    let gate = faults.hold_calls("CreateCollection", "");
    let hints = || (1..=12).map(|id| Hint::Collection(CollectionId(id), 0)).collect();
    watch.begin_round(&mut hints()).unwrap();
    gate.wait_until_reached();
    assert_eq!(watch.under_way(), WORKERS / 2);
    gate.open();
    go_on(&mut watch, 0);
    watch.run_round(&mut hints()).unwrap();
    assert!(between.is_equal(), "{:?}", between.target.done());
}

#[test]
fn what_a_hint_has_found_on_the_target_is_not_forgotten_when_the_target_fails() {
    let (faults, between) = (Faults::install(), first_comparison_of(1..=2));
    between.converge("first");
    let mut watch = between.process();
    watch.run_round(&mut vec![]).unwrap();
    // Somebody has dropped an index there, say; the question what is left fails.
    let mut changed = between.target.collections();
    changed.get_mut("default").unwrap().get_mut("c1").unwrap().partitions.clear();
    between.target.become_this(changed);
    let mut with_partition = between.source.collections();
    with_partition.get_mut("default").unwrap().get_mut("c2").unwrap().partitions.insert("p".into());
    between.source.become_this(with_partition);
    faults.at_call("ShowPartitions", 1, CallFault::Refused(65535));
    let hints = [Hint::TargetDrift(CollectionId(1)), Hint::Collection(CollectionId(2), 0)];
    for _ in 0..200 {
        watch.run_round(&mut if faults.has_struck() { vec![] } else { hints.to_vec() }).unwrap();
        if between.is_equal() {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(faults.has_struck() && between.is_equal(), "{:?}", between.target.done());
}

/// Rounds that ask it themselves would wait with it.
#[test]
fn a_target_that_does_not_answer_hides_nothing_of_the_source() {
    let (faults, between) = (Faults::install(), first_comparison_of(1..=3));
    let mut watch = between.process();
    watch.run_round(&mut vec![]).unwrap();
    faults.at_call("CreateCollection", 1, CallFault::Unreachable);
    between.source.put("default", "c9", collection(9, "c9"));
    watch.run_round(&mut vec![]).unwrap();
    watch.steps.target.note_stall();
    assert!(watch.steps.target.is_look_due(), "who it is would be asked");
    let gate = between.target.stall();
    between.source.become_this(those([2, 3, 4].into_iter()));
    watch.begin_round(&mut vec![Hint::Dropped(CollectionId(1)), Hint::Collection(CollectionId(4), 5)]).unwrap();
    gate.wait_until_reached();
    assert!(watch.under_way() >= 2, "a drop and a new one");
    between.source.become_this(those([2, 3, 4, 5].into_iter()));
    watch.begin_round(&mut vec![Hint::Collection(CollectionId(5), 6), Hint::TargetDrift(CollectionId(2))]).unwrap();
    assert!(watch.under_way() >= 4);
    gate.open();
    go_on(&mut watch, 0);
    watch.run_round(&mut vec![Hint::Anything]).unwrap();
    assert!(between.is_equal(), "{:?}", between.target.done());
}

/// Servers from 2.6 on must be asked for them by a call of their own.
#[test]
fn aliases_are_asked_for_where_they_count() {
    let asked = |faults: &Faults| faults.trace().iter().filter(|method| *method == "ListAliases").count();
    let (faults, between) = (Faults::install(), first_comparison_of(1..=1));
    let mut watch = between.process();
    watch.run_round(&mut vec![]).unwrap();
    assert!(between.is_equal());
    assert_eq!(asked(&faults), 1, "with the description of the source: {:?}", faults.trace());
}

/// Six collections with these names, in this database each, and who has which alias.
fn arranged(order: &[usize], databases: &[bool], holders: &[usize], replaced: bool) -> Collections {
    let mut arranged: Vec<_> = order
        .iter()
        .zip(databases)
        .enumerate()
        .map(|(id, (name, is_other))| {
            let db = if *is_other { "other" } else { "default" };
            (db, collection(id as i64 + 1, &format!("n{name}")))
        })
        .collect();
    for (alias, holder) in holders.iter().enumerate() {
        if let Some((_, collection)) = arranged.get_mut(*holder) {
            collection.aliases.insert(format!("alias{alias}"));
        }
    }
    // Dropped, or dropped and made anew, under a name that always stays the same.
    arranged.push(("default", collection(if replaced { 77 } else { 7 }, "n6")));
    world_of(arranged.into_iter())
}

fn arrangement() -> impl Strategy<Value = Collections> {
    let order = Just((0..6).collect::<Vec<usize>>()).prop_shuffle();
    let databases = prop::collection::vec(any::<bool>(), 6);
    (order, databases, prop::collection::vec(0_usize..8, 4), any::<bool>())
        .prop_map(|(order, databases, holders, replaced)| arranged(&order, &databases, &holders, replaced))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Names and aliases change hands in any way at once, and every step finds others in its way.
    #[test]
    fn whatever_changes_hands_at_once_the_target_follows(before in arrangement(), after in arrangement()) {
        let case = Case { name: "arranged", before, after, methods: &[] };
        let between = Between::of(&case, Repeats::AreRefused);
        let mut watch = between.process();
        for _ in 0..300 {
            watch.run_round(&mut vec![Hint::Anything]).unwrap();
            if between.is_equal() {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        prop_assert!(between.is_equal(), "the target did {:?}", between.target.done());
        drop(watch);
        between.converge("after a restart");
    }
}
