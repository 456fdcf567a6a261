//! The last reading of a log whose source has died, in any state of the task, with crashes at any effect; and one that
//! is given up, because the source is back after all.

use std::collections::BTreeSet;
use std::time::Instant;

use proptest::collection::vec;
use proptest::prelude::*;

use super::history::{History, Late, Op, late, op};
use super::life::{Fuse, Life};
use super::world::World;
use super::{Decision, FIRST, SECOND, check_rest, config, step, step_with_holds, take, take_all};
use crate::catalog::CallsInFlight;
use crate::domain::CollectionId;
use crate::replication::checkpoint::CollectionCheckpoint;
use crate::replication::drain::DrainOutcome;
use crate::replication::task_loop::End;
use crate::task::failover::DrainedLog;
use crate::task::role::{Errand, Failover, Insistence};

const DRAIN: Errand = Errand::Drain(Failover { since_ms: 0, insistence: Insistence::Patient, last_sign_ms: None });

/// What happens before the source dies.
fn before() -> impl Strategy<Value = Decision> {
    step().prop_filter("the log keeps everything", |step| !matches!(step, Decision::Trim))
}

/// The same, with collections that are set aside, refused, held, compared and paused.
fn before_with_holds() -> impl Strategy<Value = Decision> {
    step_with_holds().prop_filter("the log keeps everything", |step| !matches!(step, Decision::Trim))
}

/// What happens while the log is drained.
fn during() -> impl Strategy<Value = Decision> {
    let id = || prop_oneof![Just(FIRST), Just(SECOND)];
    prop_oneof![
        6 => (1usize..6).prop_map(Decision::Read),
        6 => any::<usize>().prop_map(Decision::Acknowledge),
        2 => any::<usize>().prop_map(Decision::LoseAnswer),
        9 => Just(Decision::TellSaved),
        6 => Just(Decision::Heartbeat),
        6 => id().prop_map(Decision::Describe),
        1 => id().prop_map(Decision::SetAside),
        1 => proptest::bool::weighted(0.3).prop_map(|is_full| Decision::Disk { is_full }),
        2 => (0usize..6, any::<u32>()).prop_map(|(after, carried_out)| Decision::Crash(Fuse { after, carried_out })),
    ]
}

/// The same, with what keeps collections from being carried to their end.
fn during_with_holds() -> impl Strategy<Value = Decision> {
    let id = || prop_oneof![Just(FIRST), Just(SECOND)];
    prop_oneof![
        20 => during(),
        1 => id().prop_map(Decision::Hold),
        1 => any::<usize>().prop_map(Decision::Refuse),
        1 => id().prop_map(|id| Decision::Block(id, CallsInFlight::Awaited)),
    ]
}

/// Those whose rows come from the log, as a restart finds them: nobody else can be described.
fn streaming(life: &Life) -> BTreeSet<CollectionId> {
    let saved = life.fake.world.checkpoint.iter().flat_map(|saved| &saved.collections);
    let is_streaming = |it: &CollectionCheckpoint| matches!(it, CollectionCheckpoint::Streaming { .. });
    saved.filter(|(_, it)| is_streaming(it)).map(|(id, _)| CollectionId(*id)).collect()
}

/// One step of a drain. True at its end.
fn drain(life: &mut Life, known: &BTreeSet<CollectionId>, step: Decision) -> bool {
    match step {
        Decision::Describe(id) if !known.contains(&id) => life.miss(id),
        step => take(life, step),
    }
    matches!(life.how_it_ended(), Some(End::Drained(_)))
}

/// Everything works until the drain has ended.
fn drain_to_the_end(life: &mut Life, known: &BTreeSet<CollectionId>) -> bool {
    life.put_out();
    life.fake.world.disk_is_full = false;
    (0..200).any(|_| {
        let reads = [Decision::TellSaved, Decision::Read(usize::MAX / 2), Decision::TellSaved];
        life.settle_catalog();
        let describes = [Decision::Describe(FIRST), Decision::Describe(SECOND), Decision::Heartbeat];
        let calls = (0..8).flat_map(|which| [Decision::Acknowledge(which), Decision::TellSaved]);
        reads.into_iter().chain(describes).chain(calls).any(|step| drain(life, known, step))
    })
}

/// The source dies after these steps, and its log is drained through these.
fn check_drained(
    history: (&[Op], &[Late], &[usize]),
    before: Vec<Decision>,
    during: Vec<Decision>,
) -> Result<(), TestCaseError> {
    let Drained { life, known, outcome } = drained(history, before, during)?;
    prop_assert!(outcome.leftover.is_empty(), "{:?}", outcome);
    check_rows(&life, &known)
}

/// The same: a collection that lacks rows is named, as [`drain_report`](crate::replication::drain_report) names it.
fn check_named(
    history: (&[Op], &[Late], &[usize]),
    before: Vec<Decision>,
    during: Vec<Decision>,
) -> Result<(), TestCaseError> {
    let Drained { life, known, outcome } = drained(history, before, during)?;
    let paused = life.fake.world.checkpoint.iter().flat_map(|saved| saved.paused.keys());
    let paused: BTreeSet<CollectionId> = paused.map(|id| CollectionId(*id)).collect();
    let following = streaming(&life);
    let is_complete =
        |id: &&CollectionId| following.contains(*id) && !outcome.leftover.contains(*id) && !paused.contains(*id);
    check_rows(&life, &known.iter().filter(is_complete).copied().collect())
}

/// The target has all rows of these.
fn check_rows(life: &Life, complete: &BTreeSet<CollectionId>) -> Result<(), TestCaseError> {
    let [mut expected, mut found] = life.fake.world.expected_and_found();
    [&mut expected, &mut found].into_iter().for_each(|rows| rows.retain(|(id, _), _| complete.contains(id)));
    prop_assert_eq!(found, expected);
    Ok(())
}

/// A drain that has ended.
struct Drained {
    life: Life,
    /// Those whose rows came from the log.
    known: BTreeSet<CollectionId>,
    outcome: DrainOutcome,
}

fn drained(
    (ops, late, shuffle): (&[Op], &[Late], &[usize]),
    before: Vec<Decision>,
    during: Vec<Decision>,
) -> Result<Drained, TestCaseError> {
    let world = World::new(History::that_stops(ops, late, shuffle));
    let mut life = take_all(Life::begin(world, Instant::now()), before);
    while life.fake.world.go_on() {}
    let known = streaming(&life);
    let mut life = life.restart_on(DRAIN);
    for step in during {
        let has_ended = drain(&mut life, &known, step);
        // Once more from what is on disk, after its end as well: a server that dies then drains again.
        if has_ended || life.is_over() {
            life = life.restart();
        }
    }
    life.tell_all_saved();
    let has_ended = matches!(life.how_it_ended(), Some(End::Drained(_)));
    if life.is_over() && !has_ended {
        life = life.restart();
    }
    prop_assert!(has_ended || drain_to_the_end(&mut life, &known), "it never ends");
    let Some(End::Drained(outcome)) = life.how_it_ended().cloned() else {
        return Err(TestCaseError::fail("no end"));
    };
    prop_assert_eq!(&outcome.log, &DrainedLog::ToItsEnd);
    Ok(Drained { life, known, outcome })
}

/// A drain begins at some point, and is given up: the source goes on, and so does the task.
fn check_given_up(
    (ops, late, shuffle): (&[Op], &[Late], &[usize]),
    before: Vec<Decision>,
    during: Vec<Decision>,
) -> Result<(), TestCaseError> {
    let world = World::new(History::new(ops, late, shuffle));
    let life = take_all(Life::begin(world, Instant::now()), before);
    let known = streaming(&life);
    let mut life = life.restart_on(DRAIN);
    for step in during {
        if drain(&mut life, &known, step) || life.is_over() {
            life = life.restart();
        }
    }
    check_rest(&mut life.restart_on(Errand::Follow))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..config() })]

    #[test]
    fn a_dead_sources_log_is_applied_to_its_last_row(
        ops in vec(op(&[FIRST, FIRST, SECOND]), 1..40),
        late in vec(late(), 40),
        shuffle in vec(any::<usize>(), 40),
        before in vec(before(), 0..150),
        during in vec(during(), 0..100),
    ) {
        check_drained((&ops, &late, &shuffle), before, during)?;
    }

    #[test]
    fn what_a_drain_could_not_bring_is_named(
        ops in vec(op(&[FIRST, FIRST, SECOND]), 1..40),
        late in vec(late(), 40),
        shuffle in vec(any::<usize>(), 40),
        before in vec(before_with_holds(), 0..150),
        during in vec(during_with_holds(), 0..100),
    ) {
        check_named((&ops, &late, &shuffle), before, during)?;
    }

    #[test]
    fn a_drain_that_is_given_up_has_lost_and_doubled_nothing(
        ops in vec(op(&[FIRST, FIRST, SECOND]), 1..40),
        late in vec(late(), 40),
        shuffle in vec(any::<usize>(), 40),
        before in vec(before(), 0..150),
        during in vec(during(), 0..100),
    ) {
        check_given_up((&ops, &late, &shuffle), before, during)?;
    }
}
