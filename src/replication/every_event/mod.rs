/*!
Every event in every state. All states that one collection can be in are found by trying: from the first one, each
[`Happening`] is let happen in each state that was found, until no new one comes. What becomes of the state is compared
with [`spec`], which says it a second time, in a few rules. Beside it another collection follows the log, and nothing
that is about the first may touch it.

(`replication::model` looks at rows, under random events and crashes; this looks at states, all of them.)
*/

mod bench;
mod spec;

use std::collections::{BTreeMap, VecDeque};

use self::bench::{Bench, Happening, Kind};
use super::collections::Sight;

/// How each state was come to.
type Found = BTreeMap<Sight, Vec<Happening>>;

/// A task in which all of this has happened.
fn after(kind: Kind, path: &[Happening]) -> Bench {
    let mut bench = Bench::new(kind);
    for happening in path {
        bench.happen(*happening);
    }
    bench
}

fn explore(kind: Kind) -> Found {
    let first = Bench::new(kind).sight();
    let mut found = Found::from([(first, Vec::new())]);
    let mut open = VecDeque::from([first]);
    let mut wrong = Vec::new();
    while let Some(before) = open.pop_front() {
        let path = found[&before].clone();
        for &happening in Happening::ALL {
            let mut bench = after(kind, &path);
            assert_eq!(bench.sight(), before, "{kind:?} {path:?}");
            if !bench.can_happen(happening) {
                continue;
            }
            bench.happen(happening);
            let seen = bench.sight();
            let at = format!("{kind:?}: {happening:?} in {before:?} (after {path:?})");
            // When the log is asked again is not told here.
            let expected = Sight { awaits: seen.awaits, ..spec::after(kind, before, happening) };
            if seen != expected {
                wrong.push(format!("{at}:\n  is        {seen:?}\n  should be {expected:?}"));
            }
            bench.check(&at);
            found.entry(seen).or_insert_with(|| {
                open.push_back(seen);
                path.iter().copied().chain([happening]).collect()
            });
            bench.check_what_is_stored(&at);
        }
    }
    assert!(wrong.is_empty(), "{} transitions are wrong:\n{}", wrong.len(), wrong[..wrong.len().min(20)].join("\n"));
    found
}

#[test]
fn every_event_in_every_state_of_a_collection_with_a_log() {
    let found = explore(Kind::Log);
    assert!(found.len() > 60, "only {} states were found", found.len());
}

#[test]
fn every_event_in_every_state_of_a_collection_without_a_log() {
    let found = explore(Kind::Scan);
    assert!(found.len() > 50, "only {} states were found", found.len());
}

#[test]
fn everything_is_compared_with_a_restored_target() {
    for (kind, path) in [
        (Kind::Log, vec![Happening::Ready, Happening::JoinsLog]),
        (Kind::Scan, vec![Happening::Ready, Happening::JoinsByCopy, Happening::BackfillDone]),
    ] {
        after(kind, &path).check_that_a_restored_target_is_compared();
    }
}

#[test]
fn a_row_that_cannot_be_read_holds_its_collection_alone() {
    after(Kind::Log, &[Happening::Ready, Happening::JoinsLog])
        .check_that_an_unreadable_row_holds_its_collection_alone();
}

/// The brake on rows holds it (`backfill::removal_brake`).
#[test]
fn a_restored_target_does_not_undo_the_brake_on_rows() {
    let rescans = [Happening::Ready, Happening::JoinsByCopy, Happening::BackfillDone, Happening::AnHourPasses];
    let mut bench = after(Kind::Scan, &rescans);
    bench.happen(Happening::BackfillHopeless);
    bench.check_that_a_held_collection_keeps_its_rows();
}
