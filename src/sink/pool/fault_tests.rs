use std::collections::BTreeMap;

use super::*;
use crate::domain::{Channel, Keys, Mark, RowLocation, Timestamp};
use crate::failpoint::{CallFault, Faults, HandOverFault};
use crate::milvus::fake::{FakeCollection, FakeMilvus, Repeats};
use crate::milvus::field_data::KnownFields;
use crate::milvus::field_data::testing::longs;
use crate::milvus::rows::WriteRequest;
use crate::pipeline::{WritableCollection, testing};

/// A FAKE target with an empty collection `default.c`.
fn target() -> Arc<FakeMilvus> {
    let target = FakeMilvus::new(Repeats::Succeed);
    target.put("default", "c", FakeCollection::default());
    target
}

fn place() -> RowLocation {
    RowLocation { db: "default".into(), collection: "c".into(), partition: String::new() }
}

fn call(work: Work) -> Call {
    let collection = WritableCollection {
        db: "default".into(),
        unnamed_partitions: true,
        fields: KnownFields::named(&["id", "value"]),
        ..testing::collection()
    };
    let (channel, latest) = (Channel::new("a"), Timestamp(1));
    let mark = Mark::of(CollectionId(7), Timestamp(9));
    Call { id: CallId(1), collection: Arc::new(collection), place: place(), work, channel, mark, latest }
}

fn insert(keys: &[i64]) -> Work {
    let rows = WriteRequest::new(&place(), vec![longs("id", keys), longs("value", keys)], keys.len());
    Work::Write { write: Write::Insert, rows }
}

/// The call's outcome, and how often it was tried again.
fn carried_out(pool: &Pool, work: Work) -> (CallOutcome, usize) {
    pool.send(CallAttempt::first(call(work)));
    let mut retries = 0;
    loop {
        match pool.events().recv().unwrap() {
            PoolEvent::Postponed(postponed) => {
                retries += usize::from(postponed.failure.is_some());
                std::thread::sleep(postponed.due.saturating_duration_since(Instant::now()));
                pool.send(postponed.attempt);
            }
            PoolEvent::Ended { outcome, .. } => return (outcome, retries),
        }
    }
}

/// Keys on the target, and how many rows each has.
fn counts(target: &FakeMilvus) -> BTreeMap<i64, usize> {
    target.collections()["default"]["c"].rows.iter().map(|(&key, rows)| (key, rows.len())).collect()
}

fn start(target: &Arc<FakeMilvus>) -> Pool {
    Pool::start("t", &target.client("target:1"), &Cancel::default(), None).unwrap()
}

#[test]
fn an_insert_whose_answer_is_lost_is_repeated_as_an_upsert() {
    let (target, faults) = (target(), Faults::install());
    faults.at_call("Insert", 1, CallFault::AnswerLost);
    faults.at_call("Upsert", 1, CallFault::AnswerLost);
    let (outcome, retries) = carried_out(&start(&target), insert(&[1, 2]));
    assert!(matches!(outcome, CallOutcome::Done), "{outcome:?}");
    assert_eq!(target.done(), ["insert [1, 2]", "upsert [1, 2]", "upsert [1, 2]"]);
    assert_eq!((counts(&target), retries), ([(1, 1), (2, 1)].into(), 2));
    let mark = Mark::of(CollectionId(7), Timestamp(9));
    assert_eq!(target.marked(), [("Insert", mark), ("Upsert", mark), ("Upsert", mark)]);
}

/// Nobody knows whether it has arrived.
#[test]
fn an_insert_that_does_not_reach_the_target_is_repeated_as_an_upsert() {
    let (target, faults) = (target(), Faults::install());
    faults.at_call("Insert", 1, CallFault::Unreachable);
    carried_out(&start(&target), insert(&[1, 2]));
    assert_eq!(target.done(), ["upsert [1, 2]"]);
}

#[test]
fn halves_are_repeated_as_a_whole_when_the_answer_to_one_is_lost() {
    let (target, faults) = (target(), Faults::install());
    faults.at_call("Insert", 1, CallFault::TooLarge);
    faults.at_call("Insert", 3, CallFault::AnswerLost);
    let (outcome, _) = carried_out(&start(&target), insert(&[1, 2, 3, 4]));
    assert!(matches!(outcome, CallOutcome::Done), "{outcome:?}");
    assert_eq!(target.done(), ["insert [1, 2]", "insert [3, 4]", "upsert [1, 2, 3, 4]"]);
    assert_eq!(counts(&target), [1, 2, 3, 4].map(|key| (key, 1)).into());
    assert_eq!(target.marked().len(), 3, "halves and what is repeated");
}

/// Rows of several messages are one call, sealed.
#[test]
fn merged_rows_are_split_when_they_are_too_large() {
    let (target, faults) = (target(), Faults::install());
    faults.at_call("Insert", 1, CallFault::TooLarge);
    let mut columns = vec![longs("id", &[1, 2]), longs("value", &[1, 2])];
    columns[0].append(longs("id", &[3, 4]));
    columns[1].append(longs("value", &[3, 4]));
    let rows = WriteRequest::new(&place(), columns, 4);
    let (outcome, _) = carried_out(&start(&target), Work::Write { write: Write::Insert, rows });
    assert!(matches!(outcome, CallOutcome::Done), "{outcome:?}");
    assert_eq!(target.done(), ["insert [1, 2]", "insert [3, 4]"]);
}

/// A rate limit that names its rate, and a quota.
#[test]
fn what_is_refused_before_it_began_is_repeated_as_what_it_was() {
    for fault in [CallFault::RateLimited(1_000_000), CallFault::Refused(9)] {
        let (target, faults) = (target(), Faults::install());
        faults.at_call("Insert", 1, fault);
        faults.at_call("Insert", 2, fault);
        let (outcome, retries) = carried_out(&start(&target), insert(&[1, 2]));
        assert!(matches!(outcome, CallOutcome::Done), "{outcome:?}");
        assert_eq!((target.done(), retries), (vec!["insert [1, 2]".to_owned()], 2), "{fault:?}");
    }
}

#[test]
fn a_limit_that_a_part_behind_the_proxy_reports_may_have_let_rows_through() {
    let (target, faults) = (target(), Faults::install());
    faults.at_call("Insert", 1, CallFault::Refused(8));
    carried_out(&start(&target), insert(&[1, 2]));
    assert_eq!(target.done(), ["upsert [1, 2]"]);
}

#[test]
fn halves_are_repeated_as_a_whole_when_the_second_is_refused() {
    let (target, faults) = (target(), Faults::install());
    faults.at_call("Insert", 1, CallFault::TooLarge);
    faults.at_call("Insert", 3, CallFault::Refused(9));
    let (outcome, _) = carried_out(&start(&target), insert(&[1, 2, 3, 4]));
    assert!(matches!(outcome, CallOutcome::Done), "{outcome:?}");
    assert_eq!(target.done(), ["insert [1, 2]", "upsert [1, 2, 3, 4]"]);
}

#[test]
fn deletes_and_truncations_are_repeated() {
    for (method, work) in [("Delete", Work::Delete(Keys::Int(vec![1]))), ("TruncateCollection", Work::Truncate)] {
        for fault in [CallFault::AnswerLost, CallFault::Unreachable, CallFault::Refused(8)] {
            let (target, faults) = (target(), Faults::install());
            let pool = start(&target);
            carried_out(&pool, insert(&[1]));
            faults.at_call(method, 1, fault);
            let work = match &work {
                Work::Delete(keys) => Work::Delete(keys.clone()),
                _ => Work::Truncate,
            };
            let (outcome, retries) = carried_out(&pool, work);
            assert!(matches!(outcome, CallOutcome::Done), "{method}, {fault:?}: {outcome:?}");
            assert_eq!((counts(&target), retries), (BTreeMap::new(), 1), "{method}, {fault:?}");
        }
    }
}

#[test]
fn what_is_refused_for_good_is_tried_once_and_says_why() {
    let (target, faults) = (target(), Faults::install());
    faults.at_call("Insert", 1, CallFault::Refused(1100));
    let (outcome, retries) = carried_out(&start(&target), insert(&[1]));
    let CallOutcome::Refused(why) = outcome else { panic!("{outcome:?}") };
    assert!(why.contains("Insert at target:1 for default.c: code 1100"), "{why}");
    assert_eq!((target.done().len(), retries), (0, 0));
}

/// The login is the task's, whichever part of a write is the first to be refused.
#[test]
fn a_login_that_is_refused_in_the_middle_of_a_write_is_about_the_task() {
    let (target, faults) = (target(), Faults::install());
    faults.at_call("Insert", 1, CallFault::TooLarge);
    faults.at_call("Insert", 3, CallFault::LoginRefused);
    let (outcome, _) = carried_out(&start(&target), insert(&[1, 2]));
    assert!(matches!(outcome, CallOutcome::Hopeless(_)), "{outcome:?}");
}

/// The other threads are alive, so nothing else would tell.
#[test]
fn a_call_whose_thread_panics_ends() {
    let (target, faults) = (target(), Faults::install());
    faults.at_call("Insert", 1, CallFault::Panics);
    let pool = start(&target);
    let (outcome, _) = carried_out(&pool, insert(&[1]));
    let CallOutcome::Hopeless(why) = outcome else { panic!("{outcome:?}") };
    assert!(why.contains("panicked"), "{why}");
    for _ in 0..WORKERS {
        let (outcome, _) = carried_out(&pool, insert(&[2]));
        assert!(matches!(outcome, CallOutcome::Done), "{outcome:?}");
    }
}

/// A call that is cancelled between the target's answer and its report is reported, once the report is let through.
#[test]
fn the_report_of_a_call_that_was_cancelled_meanwhile_is_not_lost() {
    let (target, faults) = (target(), Faults::install());
    let gate = faults.pause_at(HandOver::SinkReport, 1);
    let cancel = Cancel::default();
    let pool = Pool::start("t", &target.client("target:1"), &cancel, None).unwrap();
    pool.send(CallAttempt::first(call(insert(&[1]))));
    gate.wait_until_reached();
    assert_eq!(counts(&target), [(1, 1)].into());
    cancel.cancel();
    gate.open();
    let PoolEvent::Ended { outcome, .. } = pool.events().recv().unwrap() else { panic!("tried again") };
    assert!(matches!(outcome, CallOutcome::Done), "{outcome:?}");
}

/// The others find themselves dead as well, and nothing waits for a report that will not come.
#[test]
fn a_process_that_dies_in_a_call_leaves_what_the_target_has_carried_out() {
    for (fault, done) in [(CallFault::CrashBefore, vec![]), (CallFault::CrashAfter, vec!["insert [1, 2]"])] {
        let (target, faults) = (target(), Faults::install());
        faults.at_call("Insert", 1, fault);
        let life = faults.process(|| {
            let pool = start(&target);
            pool.send(CallAttempt::first(call(insert(&[1, 2]))));
            faults.wait_until_dead();
        });
        life.unwrap_err();
        assert_eq!(target.done(), done);
    }
}

#[test]
fn threads_whose_reports_nobody_takes_end() {
    let (target, faults) = (target(), Faults::install());
    (1..=WORKERS).for_each(|n| faults.at_hand_over(HandOver::SinkReport, n, HandOverFault::Closed));
    let pool = start(&target);
    (0..WORKERS).for_each(|_| pool.send(CallAttempt::first(call(Work::Truncate))));
    assert!(pool.events().recv().is_err(), "a report came through");
}

/// As a target over its quota does until something is dropped there.
#[test]
fn a_thread_is_free_as_soon_as_its_call_has_failed() {
    let (target, faults) = (target(), Faults::install());
    (1..=WORKERS).for_each(|n| faults.at_call("Insert", n, CallFault::Refused(9)));
    let pool = start(&target);
    let mut refused: Vec<PostponedCall> = Vec::new();
    for key in 0..WORKERS as i64 {
        pool.send(CallAttempt::first(call(insert(&[key]))));
        let PoolEvent::Postponed(postponed) = pool.events().recv().unwrap() else { panic!("it has ended") };
        refused.push(*postponed);
    }
    let whys = refused.iter().map(|postponed| postponed.failure.as_ref().unwrap().why.contains("code 9"));
    assert_eq!(whys.filter(|is_named| *is_named).count(), WORKERS);
    let (outcome, retries) = carried_out(&pool, Work::Delete(Keys::Int(vec![9])));
    assert!(matches!(outcome, CallOutcome::Done), "{outcome:?}");
    assert_eq!((target.done().len(), retries), (1, 0), "none of the refused ones was tried meanwhile");
}

/// The pace is one at a time: what is not its turn comes back at once, too.
#[test]
fn a_call_that_has_to_wait_for_its_turn_keeps_no_thread() {
    let (target, faults) = (target(), Faults::install());
    faults.at_call("Insert", 1, CallFault::RateLimited(1));
    let pool = start(&target);
    for (key, is_sent) in [(1, true), (2, false)] {
        pool.send(CallAttempt::first(call(insert(&[key]))));
        let PoolEvent::Postponed(postponed) = pool.events().recv().unwrap() else { panic!("it has ended") };
        assert_eq!(postponed.failure.is_some(), is_sent);
        assert!(postponed.due > Instant::now());
    }
    assert!(target.done().is_empty());
}

#[test]
fn calls_of_one_collection_give_up_when_told_and_others_do_not() {
    let (target, faults) = (target(), Faults::install());
    let gates: Vec<_> = (1..=WORKERS).map(|n| faults.pause_at(HandOver::SinkReport, n)).collect();
    let pool = start(&target);
    let keys = 0..=WORKERS as i64;
    keys.for_each(|key| pool.send(CallAttempt::first(call(insert(&[key])))));
    gates.iter().for_each(|gate| gate.wait_until_reached());
    pool.cancel(CollectionId(8));
    // Every thread has made a call, and the last one waits for a thread.
    pool.cancel(CollectionId(7));
    gates.iter().for_each(|gate| gate.open());
    let outcomes: Vec<CallOutcome> = pool
        .events()
        .iter()
        .take(WORKERS + 1)
        .map(|event| match event {
            PoolEvent::Ended { outcome, .. } => outcome,
            PoolEvent::Postponed(_) => panic!("tried again"),
        })
        .collect();
    let cancelled = outcomes.iter().filter(|outcome| matches!(outcome, CallOutcome::Cancelled)).count();
    assert_eq!((cancelled, target.done().len()), (1, WORKERS), "{outcomes:?}");
    let (outcome, _) = carried_out(&pool, Work::Delete(Keys::Int(vec![1])));
    assert!(matches!(outcome, CallOutcome::Done), "later ones are made: {outcome:?}");
}
