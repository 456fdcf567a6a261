/*!
The real loop against a model of the world: any history of a few keys of two collections on one channel, read,
released, sent and acknowledged in any order, where messages may stand behind a tick that is later than they are, and
halves of upserts on both sides of it. The second collection joins late, from the log or by a backfill; both may be held
and compared; the log loses messages; answers of the target are lost, and whole collections there; the disk is full;
questions to the log and writes of the checkpoint are answered whenever the test wants; and the process may die between
any two effects. Whatever happens, the target ends with the source's rows, each once.
*/

mod described;
mod draining;
mod early;
mod history;
mod job;
mod life;
mod restored;
mod world;

use std::time::Instant;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

pub(super) use self::described::ready;
use self::history::{Change, History, KEYS, Late, Op, late, op};
use self::life::{Fuse, Life};
pub(super) use self::restored::restored;
use self::world::World;
use crate::catalog::CallsInFlight;
use crate::domain::CollectionId;
use crate::replication::checkpoint::CollectionCheckpoint;
use crate::task::collection_request::CollectionWish;

const FIRST: CollectionId = CollectionId(1);
const SECOND: CollectionId = CollectionId(2);

/// What happens next.
#[derive(Debug, Clone, Copy)]
enum Decision {
    /// The source writes on to its next tick.
    Write,
    /// The log loses its old messages.
    Trim,
    Read(usize),
    Acknowledge(usize),
    LoseAnswer(usize),
    AnswerQuestion {
        works: bool,
    },
    TellSaved,
    /// Everything that is asked is answered, and backfills go on.
    Settle,
    Heartbeat,
    Describe(CollectionId),
    Miss(CollectionId),
    Block(CollectionId, CallsInFlight),
    /// The catalog cannot carry the collection over.
    Hold(CollectionId),
    /// Nothing of a collection can be applied for long.
    SetAside(CollectionId),
    /// The target refuses a call.
    Refuse(usize),
    /// Rows of the collection go at the source, and the log says nothing of it.
    Compare(CollectionId),
    /// Somebody drops the collection on the target.
    Lose(CollectionId),
    /// The file that says how far the copy of the collection has come is damaged.
    Damage(CollectionId),
    /// A user wants something of the collection.
    Wish(CollectionId, CollectionWish),
    Backfill(usize),
    Disk {
        is_full: bool,
    },
    /// The process dies after so many effects.
    Crash(Fuse),
    Stop,
}

fn step() -> impl Strategy<Value = Decision> {
    let id = || prop_oneof![Just(FIRST), Just(SECOND)];
    prop_oneof![
        5 => Just(Decision::Write),
        1 => Just(Decision::Trim),
        8 => (1usize..6).prop_map(Decision::Read),
        6 => any::<usize>().prop_map(Decision::Acknowledge),
        2 => any::<usize>().prop_map(Decision::LoseAnswer),
        6 => proptest::bool::weighted(0.8).prop_map(|works| Decision::AnswerQuestion { works }),
        9 => Just(Decision::TellSaved),
        3 => Just(Decision::Settle),
        3 => Just(Decision::Heartbeat),
        4 => id().prop_map(Decision::Describe),
        1 => id().prop_map(Decision::Miss),
        1 => id().prop_map(|id| Decision::Block(id, CallsInFlight::Awaited)),
        6 => any::<usize>().prop_map(Decision::Backfill),
        1 => proptest::bool::weighted(0.3).prop_map(|is_full| Decision::Disk { is_full }),
        2 => (0usize..6, any::<u32>()).prop_map(|(after, carried_out)| Decision::Crash(Fuse { after, carried_out })),
        1 => Just(Decision::Stop),
    ]
}

/// The same, and collections that are set aside and compared.
fn step_with_holds() -> impl Strategy<Value = Decision> {
    let id = || prop_oneof![Just(FIRST), Just(SECOND)];
    prop_oneof![
        50 => step(),
        1 => id().prop_map(|id| Decision::Block(id, CallsInFlight::Cancelled)),
        1 => id().prop_map(Decision::Hold),
        1 => id().prop_map(Decision::SetAside),
        1 => any::<usize>().prop_map(Decision::Refuse),
        1 => id().prop_map(Decision::Compare),
        1 => id().prop_map(Decision::Lose),
        1 => id().prop_map(Decision::Damage),
        2 => (id(), wish()).prop_map(|(id, wish)| Decision::Wish(id, wish)),
    ]
}

fn wish() -> impl Strategy<Value = CollectionWish> {
    prop_oneof![Just(CollectionWish::Pause), Just(CollectionWish::Resume), Just(CollectionWish::Resync)]
}

fn take(life: &mut Life, step: Decision) {
    match step {
        Decision::Write => drop(life.fake.world.go_on()),
        Decision::Trim => life.fake.world.trim(),
        Decision::Read(limit) => life.read(limit),
        Decision::Acknowledge(which) => life.acknowledge(which),
        Decision::LoseAnswer(which) => life.lose_answer(which),
        Decision::AnswerQuestion { works } => life.answer_question(works),
        Decision::TellSaved => life.tell_saved(),
        Decision::Settle => settle(life),
        Decision::Heartbeat => life.heartbeat(),
        Decision::Describe(id) => life.describe(id),
        Decision::Miss(id) => life.miss(id),
        Decision::Block(id, calls) => life.block(id, calls),
        Decision::Hold(id) => life.hold(id),
        Decision::SetAside(id) => life.set_aside(id),
        Decision::Refuse(which) => life.refuse(which),
        Decision::Compare(id) => life.compare(id),
        Decision::Lose(id) => life.lose(id),
        Decision::Damage(id) => life.fake.world.damage(id),
        Decision::Wish(id, wish) => life.wish(id, wish),
        Decision::Backfill(which) => life.step_backfill(which),
        Decision::Disk { is_full } => life.fake.world.disk_is_full = is_full,
        Decision::Crash(fuse) => life.light(fuse),
        Decision::Stop => life.stop(),
    }
}

fn settle(life: &mut Life) {
    for _ in 0..8 {
        life.tell_saved();
        life.answer_question(true);
        life.step_backfill(0);
        life.step_backfill(1);
    }
}

/// Everything works, for as long as it takes: the source has written all, and nothing is left to do.
fn come_to_rest(life: &mut Life) -> bool {
    life.fake.world.disk_is_full = false;
    while life.fake.world.go_on() {}
    life.tell_saved();
    [FIRST, SECOND].into_iter().for_each(|id| life.wish(id, CollectionWish::Resume));
    let mut idle = 0;
    for _ in 0..1000 {
        life.heartbeat();
        [FIRST, SECOND].into_iter().for_each(|id| life.describe(id));
        settle(life);
        (0..8).for_each(|which| life.acknowledge(which));
        life.read(usize::MAX / 2);
        idle = if life.is_idle() { idle + 1 } else { 0 };
        if idle == 4 {
            return true;
        }
    }
    false
}

/// Everything has been acknowledged, and both collections follow the log.
fn is_through(life: &Life) -> bool {
    let world = &life.fake.world;
    let Some(checkpoint) = &world.checkpoint else { return false };
    let exists = |id: &CollectionId| world.exists(*id);
    let follows =
        |id: CollectionId| matches!(checkpoint.collections.get(&id.0), Some(CollectionCheckpoint::Streaming { .. }));
    checkpoint.channels.get("c").is_some_and(|channel| channel.time_tick == world.last_tick())
        && [FIRST, SECOND].into_iter().filter(exists).all(follows)
}

/// Takes these steps, with a new life where one has ended.
fn take_all(mut life: Life, steps: Vec<Decision>) -> Life {
    for step in steps {
        take(&mut life, step);
        if life.is_over() {
            life = life.restart();
        }
    }
    life
}

/// It comes to rest, and the target has what the source has.
fn check_rest(life: &mut Life) -> Result<(), TestCaseError> {
    prop_assert!(come_to_rest(life), "it never comes to rest");
    life.stop();
    prop_assert!(is_through(life), "stuck: {:?}", life.fake.world.checkpoint);
    let [expected, found] = life.fake.world.expected_and_found();
    prop_assert_eq!(found, expected);
    Ok(())
}

/// Any steps in any order, then rest.
fn check(ops: &[Op], late: &[Late], shuffle: &[usize], steps: Vec<Decision>) -> Result<(), TestCaseError> {
    let world = World::new(History::new(ops, late, shuffle));
    let mut life = take_all(Life::begin(world, Instant::now()), steps);
    life.put_out();
    check_rest(&mut life)
}

/// A first copy that has come far: its rows are on the target, all of them, as plain inserts.
fn copied() -> Life {
    let insert = |key| Op::Change { change: Change::Insert, id: FIRST, key };
    let ops: Vec<Op> = (0..KEYS).map(insert).chain([Op::Tick; 4]).collect();
    let mut world = World::new(History::new(&ops, &[Late::Nothing; 40], &[]));
    (0..4).for_each(|_| assert!(world.go_on()));
    world.trim();
    let mut life = Life::begin(world, Instant::now());
    life.describe(FIRST);
    while life.fake.world.target_rows(FIRST).len() < KEYS as usize {
        life.tell_saved();
        life.answer_question(true);
        life.step_backfill(0);
    }
    life
}

#[test]
fn a_copy_whose_file_is_damaged_begins_again_wherever_the_process_dies() {
    for after in 0..20 {
        let mut life = copied();
        life.fake.world.damage(FIRST);
        life.light(Fuse { after, carried_out: 0 });
        (0..4).for_each(|_| {
            life.step_backfill(0);
            life.tell_saved();
        });
        if life.is_over() {
            life = life.restart();
        }
        life.put_out();
        assert!(come_to_rest(&mut life), "dead after {after} effects: it never comes to rest");
        let [expected, found] = life.fake.world.expected_and_found();
        assert_eq!(found, expected, "dead after {after} effects");
    }
}

/// The same cases in every run, so that a change is judged by what it does. `PROPTEST_RNG_SEED=<number>` takes others.
const SEED: u64 = 1;

fn config() -> ProptestConfig {
    let seed = std::env::var("PROPTEST_RNG_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(SEED);
    ProptestConfig {
        cases: 5000,
        rng_seed: RngSeed::Fixed(seed),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn rows_of_the_log_are_neither_lost_nor_doubled(
        ops in vec(op(&[FIRST, FIRST, SECOND]), 1..40),
        late in vec(late(), 40),
        shuffle in vec(any::<usize>(), 40),
        steps in vec(step().prop_filter("the log keeps everything", |step| !matches!(step, Decision::Trim)), 0..200),
    ) {
        check(&ops, &late, &shuffle, steps)?;
    }

    #[test]
    fn copied_rows_are_neither_lost_nor_doubled(
        ops in vec(op(&[FIRST, FIRST, SECOND]), 1..40),
        late in vec(late(), 40),
        shuffle in vec(any::<usize>(), 40),
        steps in vec(step(), 0..250),
    ) {
        check(&ops, &late, &shuffle, steps)?;
    }

    #[test]
    fn rows_of_what_was_held_are_neither_lost_nor_doubled(
        ops in vec(op(&[FIRST, FIRST, SECOND]), 1..40),
        late in vec(late(), 40),
        shuffle in vec(any::<usize>(), 40),
        steps in vec(step_with_holds(), 0..250),
    ) {
        check(&ops, &late, &shuffle, steps)?;
    }
}
