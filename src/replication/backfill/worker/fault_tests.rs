//! What becomes of a backfill when the process dies, or an answer is lost, at any call, any step of a file and any
//! hand-over. Source and target are FAKES: the answer must be lost at one certain call.

use std::path::Path;
use std::sync::Arc;

use crossbeam_channel::{bounded, unbounded};
use rustix::io::Errno;

use super::*;
use crate::domain::CollectionId;
use crate::failpoint::walk::folder;
use crate::failpoint::{CallFault, Faults, FileFault, HandOverFault};
use crate::milvus::fake::{FakeCollection, FakeMilvus, Repeats};
use crate::milvus::field_data::KnownFields;
use crate::pipeline::{Replacement, WritableCollection, testing};
use crate::replication::backfill::job::SurplusRows;
use crate::source::NoLog;

/// A kind of backfill, and what there is before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Into an empty collection; the log is replayed over it.
    First,
    /// The same from a source without a log.
    FirstOfScan,
    /// The next one of those: rows have come, gone and changed.
    Rescan,
    /// Into a collection with rows of its own, some of them to be removed.
    Repair,
    /// The same where the target generates keys unless they are given.
    RepairOfGeneratedKeys,
}

const KINDS: [Kind; 5] = [Kind::First, Kind::FirstOfScan, Kind::Rescan, Kind::Repair, Kind::RepairOfGeneratedKeys];

struct Between {
    kind: Kind,
    source: Arc<FakeMilvus>,
    target: Arc<FakeMilvus>,
    folder: tempfile::TempDir,
}

/// Some pages, the smallest key among them.
fn keys() -> impl Iterator<Item = i64> {
    [i64::MIN, -5].into_iter().chain(0..14)
}

fn server(rows: impl Iterator<Item = (i64, i64)>) -> Arc<FakeMilvus> {
    let server = FakeMilvus::new(Repeats::Succeed);
    server.answers_at_most(5);
    let mut collection = FakeCollection { id: 7, is_loaded: true, ..FakeCollection::default() };
    collection.set_rows(rows);
    server.put("default", "c", collection);
    server
}

fn rows_of(server: &FakeMilvus) -> BTreeMap<i64, Vec<Vec<Vec<u8>>>> {
    server.collections()["default"]["c"].rows.clone()
}

impl Between {
    /// After the first copy from a source without a log.
    fn scanned(source: Arc<FakeMilvus>) -> Between {
        let target = server(std::iter::empty());
        let first = Between { kind: Kind::FirstOfScan, source, target, folder: folder() };
        first.assert_done("the first copy");
        first
    }

    fn of(kind: Kind) -> Between {
        let plain = || keys().map(|key| (key, key));
        let changed = || keys().filter(|key| *key != 3).chain([40, 41]).map(|key| (key, key + i64::from(key % 5 == 0)));
        let folder = folder();
        let nothing = || server(std::iter::empty());
        match kind {
            Kind::First | Kind::FirstOfScan => Between { kind, source: server(plain()), target: nothing(), folder },
            Kind::Repair => Between { kind, source: server(changed()), target: server(plain()), folder },
            Kind::RepairOfGeneratedKeys => {
                let target = server(plain());
                target.generate_keys("default", "c");
                Between { kind, source: server(changed()), target, folder }
            }
            Kind::Rescan => Between { kind, source: server(changed()), ..Between::scanned(server(plain())) },
        }
    }

    fn job(&self) -> BackfillJob {
        let against = match self.kind {
            Kind::First | Kind::FirstOfScan => Against::Nothing,
            Kind::Rescan => Against::State,
            Kind::Repair | Kind::RepairOfGeneratedKeys => Against::Target,
        };
        let replacement = match self.kind {
            Kind::RepairOfGeneratedKeys => Replacement::DeleteAndInsert,
            _ => Replacement::Upsert,
        };
        let info = WritableCollection {
            db: "default".into(),
            unnamed_partitions: true,
            fields: KnownFields::named(&["id", "value"]),
            replacement,
            ..testing::collection()
        };
        BackfillJob {
            info: Arc::new(info),
            source: CollectionName::new("default", "c"),
            against,
            surplus: SurplusRows::Remove,
            adopted: false,
            keeps_state: matches!(self.kind, Kind::FirstOfScan | Kind::Rescan),
            unless_count: None,
        }
    }

    /// A process makes one attempt: how that ended, `None` when it has to be made again.
    fn attempt(&self) -> Option<BackfillOutcome> {
        let ((reports, received), (outcomes, outcome)) = (unbounded(), unbounded());
        // The task, which says where the replay starts: nowhere, since there is no log.
        std::thread::spawn(move || {
            for event in received {
                match event {
                    BackfillEvent::Began(_, answer) => drop(answer.send(BTreeMap::new())),
                    BackfillEvent::Ended(_, how) => outcomes.send(Some(how)).unwrap(),
                    BackfillEvent::Waiting(..) => outcomes.send(None).unwrap(),
                    _ => {}
                }
            }
        });
        let worker = BackfillWorker {
            refused_rows: None,
            task: "t".into(),
            source: self.source.client("source:1"),
            target: self.target.client("target:1"),
            log: Arc::new(NoLog),
            folder: self.folder.path().to_owned(),
            reports,
        };
        let (jobs, queue) = bounded(1);
        jobs.send(Assignment { job: self.job(), cancel: Cancel::default() }).unwrap();
        drop(jobs);
        worker.run(&queue);
        drop(worker);
        outcome.recv().ok().flatten()
    }

    fn assert_done(&self, at: &str) {
        let outcome = self.attempt();
        assert!(matches!(outcome, Some(BackfillOutcome::Done(_))), "{at}: {outcome:?}");
        let (wanted, found) = (rows_of(&self.source), rows_of(&self.target));
        let doubled: Vec<_> = found.iter().filter(|(_, copies)| copies.len() != 1).map(|(key, _)| key).collect();
        assert!(doubled.is_empty(), "{at}: more than once on the target: {doubled:?}; {:?}", self.target.done());
        assert!(wanted == found, "{at}: {:?} against {:?}", found.keys(), wanted.keys());
        let marked = self.target.marked();
        assert!(marked.iter().all(|(_, mark)| mark.is_of(CollectionId(7))), "{at}: {marked:?}");
        let reads = ["Connect", "GetVersion", "Query", "DescribeCollection", "GetLoadState", "ShowPartitions"];
        assert!(self.target.unmarked().is_subset(&reads.into()));
    }

    fn folder(&self) -> &Path {
        self.folder.path()
    }
}

/// Whether the process died; then the next one completes the backfill.
fn dies(kind: Kind, at: &str, arm: impl FnOnce(&Faults)) -> bool {
    let between = Between::of(kind);
    let faults = Faults::install();
    arm(&faults);
    let life = faults.process(|| between.attempt());
    if !faults.has_struck() {
        faults.lose_power();
        assert!(matches!(life, Ok(Some(BackfillOutcome::Done(_)))), "{kind:?}, {at}: {life:?}");
        return false;
    }
    life.unwrap_err();
    between.assert_done(&format!("{kind:?}, {at}, {:?}", faults.trace().last()));
    true
}

#[test]
fn a_process_that_dies_at_any_call_is_followed_by_one_that_neither_loses_nor_doubles_a_row() {
    for kind in KINDS {
        // Before the next call is after this one.
        let dies_at =
            |n| dies(kind, &format!("after call {n}"), |faults| faults.at_call("*", n, CallFault::CrashAfter));
        assert!((1..).take_while(|&n| dies_at(n)).count() > 5, "{kind:?}");
    }
}

#[test]
fn a_process_that_dies_at_any_step_of_a_file_is_followed_by_one_that_neither_loses_nor_doubles_a_row() {
    for kind in KINDS {
        for fault in FileFault::DEATHS {
            let dies_at = |n| dies(kind, &format!("{fault:?} at step {n}"), |faults| faults.at_file_step(n, fault));
            assert!((1..).take_while(|&n| dies_at(n)).count() > 5, "{kind:?}");
        }
    }
}

#[test]
fn a_process_that_dies_at_any_hand_over_is_followed_by_one_that_neither_loses_nor_doubles_a_row() {
    for kind in KINDS {
        for channel in [HandOver::BackfillReport, HandOver::Page] {
            let fault = || HandOverFault::Crash;
            let dies_at =
                |n| dies(kind, &format!("{channel:?} {n}"), |faults| faults.at_hand_over(channel, n, fault()));
            assert!((1..).take_while(|&n| dies_at(n)).count() > 1, "{kind:?}");
        }
    }
}

/// In the same process, which tries again.
#[test]
fn a_call_whose_answer_is_lost_is_repeated_without_doubling_a_row() {
    for kind in KINDS {
        for method in ["Insert", "Upsert", "Delete", "Query"] {
            for fault in [CallFault::AnswerLost, CallFault::Unreachable] {
                let (faults, between) = (Faults::install(), Between::of(kind));
                faults.at_call(method, 2, fault);
                between.assert_done(&format!("{kind:?}, {fault:?} at {method}"));
            }
        }
    }
}

/// The attempt ends, and the next one goes on at the last place that is on disk.
#[test]
fn a_disk_that_fails_at_any_step_delays_a_backfill_and_no_more() {
    for kind in KINDS {
        // The others are tried where files are written.
        for fault in [FileFault::FailsHalfway(Errno::NOSPC), FileFault::Fails(Errno::IO)] {
            for n in 1.. {
                let (faults, between) = (Faults::install(), Between::of(kind));
                faults.at_file_step(n, fault);
                let first = between.attempt();
                faults.clear();
                let at = format!("{kind:?}, {fault:?} at step {n}, {:?}", faults.trace().last());
                match first {
                    Some(BackfillOutcome::Done(_)) | None => between.assert_done(&at),
                    Some(BackfillOutcome::StateLost(_)) => panic!("{at}: what is written is given up"),
                    other => panic!("{at}: {other:?}"),
                }
                assert!(between.folder().exists());
                if !faults.has_struck() {
                    break;
                }
            }
        }
    }
}

#[test]
fn most_of_a_collection_is_removed_only_where_a_user_wants_it_compared() {
    let rows = |count| server((0..count).map(|key| (key, key)));
    let before = Between::scanned(rows(150));
    let emptied = Between { kind: Kind::Rescan, source: rows(20), ..before };
    let outcome = emptied.attempt();
    let Some(BackfillOutcome::Hopeless(why)) = &outcome else { panic!("{outcome:?}") };
    assert!(why.contains("has 20 rows at the source, and had 150"), "{why}");
    assert_eq!(rows_of(&emptied.target).len(), 150);
    let back = Between { source: rows(140), ..emptied };
    back.assert_done("they are back");
    let emptied = Between { source: rows(20), ..back };
    assert!(matches!(emptied.attempt(), Some(BackfillOutcome::Hopeless(_))));
    Between { kind: Kind::Repair, ..emptied }.assert_done("asked for");
}

/// The count at its beginning says nothing of that.
#[test]
fn a_source_that_is_emptied_while_it_is_read_loses_nothing_on_the_target() {
    let rows = |count| server((0..count).map(|key| (key, key)));
    let before = Between::scanned(rows(150));
    let read = Between { kind: Kind::Rescan, ..before };
    let faults = Faults::install();
    let gate = faults.pause_at(HandOver::Page, 2);
    let outcome = std::thread::scope(|scope| {
        let emptied = Arc::clone(&read.source);
        scope.spawn(move || {
            gate.wait_until_reached();
            emptied.become_this(server(std::iter::empty()).collections());
            gate.open();
        });
        read.attempt()
    });
    let Some(BackfillOutcome::Hopeless(why)) = &outcome else { panic!("{outcome:?}") };
    assert!(why.contains("has 0 rows at the source, and had 150"), "{why}");
    assert_eq!(rows_of(&read.target).len(), 150);
    faults.clear();
    Between { source: rows(150), ..read }.assert_done("they are back");
}

/// Its partitions may have been loaded a moment before, so that queries do not show all rows yet.
#[test]
fn a_collection_that_is_seen_for_the_first_time_loses_no_row() {
    let partitioned = |rows: &[i64]| {
        let server = server(rows.iter().map(|key| (*key, *key)));
        let mut collections = server.collections();
        let collection = collections.get_mut("default").unwrap().get_mut("c").unwrap();
        collection.partitions.extend(["_default".to_owned(), "q".to_owned()]);
        server.become_this(collections);
        server
    };
    let first = Between::scanned(partitioned(&[1, 2, 3]));
    let grown = Between { kind: Kind::Rescan, source: partitioned(&[1, 2, 3, 4]), ..first };
    grown.assert_done("what removes nothing does not wait");
    let lacking = Between { source: partitioned(&[1, 4]), ..grown };
    let outcome = lacking.attempt();
    assert!(outcome.is_none(), "it waits: {outcome:?}");
    assert_eq!(rows_of(&lacking.target).len(), 4);
}
