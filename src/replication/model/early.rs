//! Rows that are sent before their tick, with a crash after every effect: few of them, in any order in the log.

use std::time::Instant;

use super::history::{Change, History, Late, Op};
use super::life::{Fuse, Life};
use super::world::World;
use super::{FIRST, come_to_rest, settle};

/// Whether calls are acknowledged at once, and which are carried out nevertheless when the process dies.
const FATES: [(bool, u32); 3] = [(true, u32::MAX), (false, 0), (false, u32::MAX)];

const fn change(change: Change, key: i64) -> Op {
    Op::Change { change, id: FIRST, key }
}

/// What happens to one key before and after, with an upsert whose delete comes late between the two.
const AROUND_A_TORN_UPSERT: &[(Op, Late)] = &[
    (change(Change::Delete, 0), Late::Nothing),
    (change(Change::Upsert, 1), Late::Delete),
    (change(Change::Insert, 0), Late::Nothing),
];
const DELETE_AND_INSERT: &[(Op, Late)] = &[
    (change(Change::Delete, 0), Late::Nothing),
    (change(Change::Insert, 0), Late::Nothing),
    (change(Change::Insert, 2), Late::Nothing),
];
const UPSERT_BETWEEN: &[(Op, Late)] = &[
    (change(Change::Insert, 2), Late::Nothing),
    (change(Change::Upsert, 2), Late::Nothing),
    (change(Change::InsertAgain, 0), Late::Nothing),
];

const ONE_ROW: &[(Op, Late)] = &[(change(Change::Insert, 2), Late::Nothing)];

/// Two rows are there, and these changes stand in one window of the log, in this order.
fn history(window: &[(Op, Late)], shuffle: &[usize]) -> History {
    let insert = |key| (change(Change::Insert, key), Late::Nothing);
    let before = [insert(0), insert(1), (Op::Tick, Late::Nothing), (Op::Tick, Late::Nothing)];
    let after = (Op::Tick, Late::Nothing);
    let (ops, late): (Vec<Op>, Vec<Late>) = before.iter().chain(window).copied().chain([after, after]).unzip();
    History::new(&ops, &late, shuffle)
}

/// Reads one message after the other, and dies after so many effects.
fn check(window: &[(Op, Late)], shuffle: &[usize], fuse: Fuse, acknowledges: bool) -> bool {
    let mut life = Life::begin(World::new(history(window, shuffle)), Instant::now());
    (0..2).for_each(|_| assert!(life.fake.world.go_on()));
    life.describe(FIRST);
    settle(&mut life);
    life.read(usize::MAX / 2);
    (0..4).for_each(|_| {
        life.acknowledge(0);
        life.tell_saved();
    });
    while life.fake.world.go_on() {}
    life.light(fuse);
    for _ in 0..6 {
        life.read(1);
        life.tell_saved();
        if acknowledges {
            life.acknowledge(0);
        }
        life.heartbeat();
    }
    let has_died = life.is_dead();
    if has_died {
        life = life.restart();
    }
    life.put_out();
    assert!(come_to_rest(&mut life), "{window:?} {shuffle:?} {fuse:?}: it never comes to rest");
    let [expected, found] = life.fake.world.expected_and_found();
    assert_eq!(found, expected, "{window:?} {shuffle:?} {fuse:?} {acknowledges}");
    has_died
}

#[test]
fn rows_that_go_early_are_neither_lost_nor_doubled_wherever_the_process_dies() {
    for window in [AROUND_A_TORN_UPSERT, DELETE_AND_INSERT, UPSERT_BETWEEN, ONE_ROW] {
        for (first, second) in (0..9).map(|number| (number % 3, number / 3)) {
            // Never a multiple of three: nothing is sent again.
            let shuffle = [first, second, (first + second) % 3].map(|place| [4, 1, 2][place]);
            for (acknowledges, carried_out) in FATES {
                let dies = |after: &usize| check(window, &shuffle, Fuse { after: *after, carried_out }, acknowledges);
                assert!((0..100).take_while(dies).count() > 5);
            }
        }
    }
}
