//! Two tasks between two servers, which are FAKES ([`FakeMilvus`]): what their logs show is said by the tests, which
//! know what a server keeps.

use super::*;
use crate::catalog::ask_opposite::{OppositeFinding, ask_opposite};
use crate::domain::{CollectionId, Timestamp};
use crate::failpoint::{CallFault, Faults};
use crate::milvus::Cancel;
use crate::milvus::fake::{FakeCollection, FakeMilvus, Repeats};

const MARKING: &str = "v2.3.5";

/// Servers A and B, and what replicates from A to B and back.
struct Pair {
    a: Arc<FakeMilvus>,
    b: Arc<FakeMilvus>,
    now: Instant,
}

impl Pair {
    fn of(versions: [&'static str; 2]) -> Pair {
        let [a, b] = [FakeMilvus::new(Repeats::Succeed), FakeMilvus::new(Repeats::Succeed)];
        a.be(1, versions[0]);
        b.be(2, versions[1]);
        Pair { a, b, now: Instant::now() }
    }

    fn task(&self, [source, target]: [&Arc<FakeMilvus>; 2], log: LogMarks) -> Opposite {
        let call = CallContext { timeout: Duration::from_secs(5), cancel: Cancel::default() };
        let servers = OppositeServers { source: source.client("source:1"), target: target.client("target:1"), call };
        Opposite::new(servers, log)
    }

    fn there(&self) -> Opposite {
        self.task([&self.a, &self.b], LogMarks::Kept)
    }

    fn back(&self) -> Opposite {
        self.task([&self.b, &self.a], LogMarks::Kept)
    }

    /// Time passes before the round.
    fn round(
        &mut self,
        task: &mut Opposite,
        logged: &[LoggedAnnouncement],
        passed: Duration,
    ) -> Result<OppositeAdmission, String> {
        self.now += passed;
        task.round(None, logged, self.now).map_err(|error| error.to_string())
    }

    /// A task that runs: nobody has answered it, and its question is gone.
    fn run(&mut self, mut task: Opposite) -> Opposite {
        assert_eq!(self.round(&mut task, &[], Duration::ZERO), Ok(OppositeAdmission::Pending));
        for passed in [PATIENCE_OF_LISTINGS, ABSENCE, ABSENCE] {
            assert_eq!(self.round(&mut task, &[], passed), Ok(OppositeAdmission::Granted));
        }
        task
    }
}

/// What the log of this server shows of the last two announcements that were made there.
fn shown(server: &FakeMilvus, mark: Option<Mark>) -> Vec<LoggedAnnouncement> {
    let names =
        server.done().into_iter().rev().filter_map(|done| Some(done.strip_prefix("create database ")?.to_owned()));
    names.take(2).map(|name| LoggedAnnouncement { name, mark }).collect()
}

fn standing(server: &FakeMilvus) -> usize {
    server.collections().len() - 1
}

fn mark() -> Option<Mark> {
    Some(Mark::of(CollectionId(7), Timestamp(9)))
}

const SOON: Duration = Duration::from_millis(100);

#[test]
fn who_is_not_answered_replicates_and_leaves_nothing_behind() {
    let mut pair = Pair::of([MARKING; 2]);
    let mut there = pair.there();
    assert_eq!(pair.round(&mut there, &[], Duration::ZERO), Ok(OppositeAdmission::Pending));
    assert_eq!(standing(&pair.b), 1);
    assert_eq!(pair.round(&mut there, &[], PATIENCE - SOON), Ok(OppositeAdmission::Pending));
    assert_eq!(pair.round(&mut there, &[], SOON), Ok(OppositeAdmission::Granted));
    assert_eq!(pair.round(&mut there, &[], STANDS), Ok(OppositeAdmission::Granted));
    assert_eq!((standing(&pair.a), standing(&pair.b)), (0, 0));
}

#[test]
fn a_task_that_ends_leaves_nothing_behind() {
    let (mut pair, mut there, mut back) = unmarked();
    assert_eq!(pair.round(&mut back, &[], SOON), Ok(OppositeAdmission::Pending));
    assert_eq!(pair.round(&mut there, &[], SOON), Ok(OppositeAdmission::Granted));
    assert_eq!((standing(&pair.a), standing(&pair.b)), (1, 1));
    back.servers.call.cancel.cancel();
    there.leave();
    back.leave();
    assert_eq!((standing(&pair.a), standing(&pair.b)), (0, 0));
}

#[test]
fn a_copy_of_the_source_is_not_asked() {
    let mut pair = Pair::of([MARKING; 2]);
    pair.b.be(1, MARKING);
    let mut there = pair.there();
    assert_eq!(pair.round(&mut there, &[], Duration::ZERO), Ok(OppositeAdmission::Granted));
    assert!(pair.b.done().is_empty());
}

#[test]
fn an_answer_whose_mark_the_log_shows_grants() {
    let mut pair = Pair::of([MARKING; 2]);
    let mut there = pair.there();
    there = pair.run(there);
    let mut back = pair.back();
    assert_eq!(pair.round(&mut back, &[], STANDS), Ok(OppositeAdmission::Pending));
    let asked = shown(&pair.a, mark());
    assert_eq!(pair.round(&mut there, &asked, SOON), Ok(OppositeAdmission::Granted));
    assert_eq!(pair.round(&mut there, &asked, SOON), Ok(OppositeAdmission::Granted), "answered once");
    assert_eq!(pair.round(&mut back, &[], PATIENCE), Ok(OppositeAdmission::Pending), "listed, and not in the log yet");
    assert_eq!(pair.round(&mut back, &shown(&pair.b, mark()), SOON), Ok(OppositeAdmission::Granted));
    assert!(back.is_proven && !there.is_proven);
    assert!(back.is_met() && !there.is_met(), "whoever has asked may have been a check");
    assert_eq!(pair.round(&mut there, &[], ASK_BACK), Ok(OppositeAdmission::Granted));
    assert_eq!(pair.round(&mut back, &shown(&pair.b, mark()), SOON), Ok(OppositeAdmission::Granted));
    assert_eq!(pair.round(&mut there, &shown(&pair.a, mark()), SOON), Ok(OppositeAdmission::Granted));
    assert!(there.is_met());
    for task in [&mut there, &mut back] {
        assert_eq!(pair.round(task, &[], STANDS), Ok(OppositeAdmission::Granted));
        assert_eq!(pair.round(task, &[], STANDS), Ok(OppositeAdmission::Granted));
    }
    assert_eq!((standing(&pair.a), standing(&pair.b)), (0, 0));
}

#[test]
fn a_check_makes_no_pair() {
    let mut pair = Pair::of([MARKING; 2]);
    let mut there = pair.there();
    there = pair.run(there);
    let asked = Announcement::question(Site(2)).name();
    let asked = vec![LoggedAnnouncement { name: asked, mark: mark() }];
    assert_eq!(pair.round(&mut there, &asked, STANDS), Ok(OppositeAdmission::Granted));
    assert_eq!(standing(&pair.b), 1, "answered");
    assert_eq!(pair.round(&mut there, &[], ASK_BACK), Ok(OppositeAdmission::Granted));
    assert_eq!(standing(&pair.b), 1, "asked back");
    assert_eq!(pair.round(&mut there, &[], STANDS), Ok(OppositeAdmission::Granted));
    assert_eq!(standing(&pair.b), 0);
    assert!(!there.is_met());
}

/// Both follow servers whose logs keep no marks; the first one runs.
fn unmarked() -> (Pair, Opposite, Opposite) {
    let mut pair = Pair::of(["v2.6.20", "v3.0.0"]);
    let (there, back) = (pair.there(), pair.back());
    let there = pair.run(there);
    (pair, there, back)
}

#[test]
fn an_answer_counts_whenever_it_comes() {
    let (mut pair, mut there, back) = unmarked();
    // The first one is busy.
    let mut back = back;
    assert_eq!(pair.round(&mut back, &[], SOON), Ok(OppositeAdmission::Pending));
    assert_eq!(pair.round(&mut back, &[], PATIENCE_OF_LISTINGS), Ok(OppositeAdmission::Granted));
    assert_eq!(pair.round(&mut there, &[], SOON), Ok(OppositeAdmission::Granted));
    let why = pair.round(&mut back, &[], SOON).unwrap_err();
    assert!(why.contains("delete one of the two tasks"), "{why}");
}

#[test]
fn whoever_was_away_asks_anew() {
    let (mut pair, mut there, back) = unmarked();
    let mut back = pair.run(back);
    assert_eq!(standing(&pair.a), 0);
    assert_eq!(pair.round(&mut there, &[], SOON), Ok(OppositeAdmission::Granted));
    assert_eq!(pair.round(&mut back, &[], SOON), Ok(OppositeAdmission::Granted), "it answers");
    assert!(pair.round(&mut there, &[], SOON).is_err());
    assert!(there.is_met());
}

#[test]
fn of_two_that_ask_at_once_the_earlier_goes_on() {
    let mut pair = Pair::of(["v2.6.20", "v3.0.0"]);
    let (mut there, mut back) = (pair.there(), pair.back());
    assert_eq!(pair.round(&mut there, &[], SOON), Ok(OppositeAdmission::Pending));
    // Questions that were asked in one millisecond are told apart by whoever has asked: either may be the first.
    std::thread::sleep(Duration::from_millis(2));
    assert!(pair.round(&mut back, &[], SOON).is_err(), "it gives way");
    assert_eq!(pair.round(&mut there, &[], SOON), Ok(OppositeAdmission::Pending));
    assert_eq!(pair.round(&mut there, &[], PATIENCE_OF_LISTINGS), Ok(OppositeAdmission::Granted));
    assert!(pair.round(&mut back, &[], SOON).is_err());
}

#[test]
fn a_question_that_a_process_has_left_is_given_way_to_once() {
    let mut pair = Pair::of(["v2.6.20", "v3.0.0"]);
    let mut there = pair.there();
    assert_eq!(pair.round(&mut there, &[], SOON), Ok(OppositeAdmission::Pending));
    std::thread::sleep(Duration::from_millis(2));
    // It has died.
    let mut back = pair.back();
    assert!(pair.round(&mut back, &[], SOON).is_err());
    assert_eq!(pair.round(&mut back, &[], ASK_AGAIN), Ok(OppositeAdmission::Pending));
    assert_eq!(pair.round(&mut back, &[], PATIENCE_OF_LISTINGS), Ok(OppositeAdmission::Granted));
}

#[test]
fn whoever_is_refused_leaves_the_other_in_peace() {
    let (mut pair, mut there, mut back) = unmarked();
    assert_eq!(pair.round(&mut back, &[], STANDS), Ok(OppositeAdmission::Pending));
    assert_eq!(pair.round(&mut there, &[], SOON), Ok(OppositeAdmission::Granted));
    assert!(pair.round(&mut back, &[], SOON).is_err());
    // The first one is started again.
    let mut there = pair.there();
    assert_eq!(pair.round(&mut there, &[], SOON), Ok(OppositeAdmission::Pending));
    assert!(pair.round(&mut back, &[], SOON).is_err());
    for passed in [PATIENCE_OF_LISTINGS, ABSENCE, ABSENCE] {
        assert_eq!(pair.round(&mut there, &[], passed), Ok(OppositeAdmission::Granted));
    }
    assert_eq!(pair.round(&mut back, &[], ASK_AGAIN_UNMARKED), Ok(OppositeAdmission::Pending));
    assert_eq!(pair.round(&mut there, &[], SOON), Ok(OppositeAdmission::Granted));
    assert!(pair.round(&mut back, &[], SOON).is_err(), "it does not start beside the other");
}

#[test]
fn a_login_that_may_not_ask_is_told_where_nothing_else_protects() {
    for (version, finds) in [("v2.6.20", true), (MARKING, false)] {
        let pair = Pair::of([version, MARKING]);
        let faults = Faults::install();
        faults.at_call("CreateDatabase", 1, CallFault::Refused(65535));
        let call = CallContext { timeout: Duration::from_secs(5), cancel: Cancel::default() };
        let servers = OppositeServers { source: pair.a.client("source:1"), target: pair.b.client("target:1"), call };
        let finding = ask_opposite(servers, LogMarks::Kept, Vec::new).unwrap();
        assert_eq!(matches!(finding, OppositeFinding::Unasked(_)), finds, "{finding:?}");
    }
}

#[test]
fn an_answer_without_its_mark_refuses_until_one_comes_with_it() {
    let mut pair = Pair::of([MARKING; 2]);
    let mut there = pair.there();
    there = pair.run(there);
    let mut back = pair.back();
    assert_eq!(pair.round(&mut back, &[], STANDS), Ok(OppositeAdmission::Pending));
    assert_eq!(pair.round(&mut there, &[], SOON), Ok(OppositeAdmission::Granted));
    let why = pair.round(&mut back, &shown(&pair.b, None), SOON).unwrap_err();
    assert!(why.contains("the marks of its writes do not come back") && why.contains("`baggage`"), "{why}");
    assert!(pair.round(&mut back, &[], SOON).is_err());
    // The proxy lets the header pass again.
    assert_eq!(pair.round(&mut back, &[], ASK_AGAIN), Ok(OppositeAdmission::Pending), "it asks again");
    assert_eq!(pair.round(&mut there, &[], SOON), Ok(OppositeAdmission::Granted));
    assert_eq!(pair.round(&mut back, &shown(&pair.b, mark()), SOON), Ok(OppositeAdmission::Granted));
}

#[test]
fn an_answer_that_the_log_does_not_show_refuses_the_second_time() {
    let mut pair = Pair::of([MARKING; 2]);
    let mut there = pair.there();
    there = pair.run(there);
    let mut back = pair.back();
    for last in [false, true] {
        assert_eq!(pair.round(&mut back, &[], STANDS), Ok(OppositeAdmission::Pending));
        assert_eq!(pair.round(&mut there, &[], SOON), Ok(OppositeAdmission::Granted));
        assert_eq!(pair.round(&mut back, &[], SOON), Ok(OppositeAdmission::Pending));
        assert_eq!(pair.round(&mut back, &[], LOG_PATIENCE).is_err(), last);
    }
}

#[test]
fn a_task_that_runs_notices_marks_that_stop_to_come() {
    let mut pair = Pair::of([MARKING; 2]);
    let mut back = pair.back();
    back = pair.run(back);
    let mut there = pair.there();
    assert_eq!(pair.round(&mut there, &[], STANDS), Ok(OppositeAdmission::Pending));
    assert!(pair.round(&mut back, &shown(&pair.b, None), SOON).is_err());
}

#[test]
fn servers_without_marks_are_refused_by_the_listing_alone() {
    for (versions, log) in [
        (["v2.6.20", MARKING], LogMarks::Kept),
        ([MARKING, "v3.0.0"], LogMarks::Kept),
        ([MARKING, MARKING], LogMarks::Dropped),
    ] {
        let mut pair = Pair::of(versions);
        let mut there = pair.there();
        there = pair.run(there);
        let mut back = pair.task([&pair.b, &pair.a], log);
        assert_eq!(pair.round(&mut back, &[], STANDS), Ok(OppositeAdmission::Pending));
        assert_eq!(pair.round(&mut there, &[], SOON), Ok(OppositeAdmission::Granted), "who was there first goes on");
        let why = pair.round(&mut back, &[], SOON).unwrap_err();
        assert!(why.contains("delete one of the two tasks") && why.contains(versions[0]), "{why}");
    }
}

#[test]
fn what_a_process_has_left_is_removed_and_others_is_not() {
    let mut pair = Pair::of([MARKING; 2]);
    let stale = "cdc_probe_q_1_18f2a3b4c5d_7";
    for name in [stale, "cdc_probe_q_9_18f2a3b4c5d_7", "cdc_probe_other"] {
        let mut all = pair.b.collections();
        all.entry(name.into()).or_default();
        pair.b.become_this(all);
    }
    let mut there = pair.there();
    assert_eq!(pair.round(&mut there, &[], Duration::ZERO), Ok(OppositeAdmission::Pending));
    assert!(!pair.b.collections().contains_key(stale));
    assert_eq!(standing(&pair.b), 3, "and the question");
}

#[test]
fn whoever_asks_before_a_task_is_created_takes_the_question_back() {
    let mut pair = Pair::of(["v2.6.20", MARKING]);
    let call = CallContext { timeout: Duration::from_secs(5), cancel: Cancel::default() };
    let servers =
        || OppositeServers { source: pair.b.client("source:1"), target: pair.a.client("target:1"), call: call.clone() };
    assert_eq!(ask_opposite(servers(), LogMarks::Dropped, Vec::new).unwrap(), OppositeFinding::Nobody);
    let ask = servers();
    let mut there = pair.there();
    there = pair.run(there);
    let asks = std::thread::spawn(move || ask_opposite(ask, LogMarks::Dropped, Vec::new).unwrap());
    while !asks.is_finished() {
        assert_eq!(pair.round(&mut there, &[], SOON), Ok(OppositeAdmission::Granted));
        std::thread::sleep(SOON / 10);
    }
    let finding = asks.join().unwrap();
    assert!(matches!(finding, OppositeFinding::Unprotected(_)), "{finding:?}");
    assert_eq!(standing(&pair.a), 0);
}

#[test]
fn what_a_silent_target_may_have_made_or_kept_is_taken_back_later() {
    let later = Duration::from_secs(21);
    for (method, fault) in [
        ("CreateDatabase", CallFault::AnswerLost),
        ("DropDatabase", CallFault::Unreachable),
        ("DropDatabase", CallFault::AnswerLost),
    ] {
        let (faults, mut pair) = (Faults::install(), Pair::of([MARKING; 2]));
        let mut there = pair.there();
        faults.at_call(method, 1, fault);
        for passed in [Duration::ZERO, PATIENCE, STANDS, SOON, later, PATIENCE, STANDS] {
            drop(pair.round(&mut there, &[], passed));
        }
        assert!(faults.has_struck() && there.is_granted(), "{fault:?} at {method}");
        assert_eq!(standing(&pair.b), 0, "{fault:?} at {method}: {:?}", pair.b.done());
    }
}

/// Every look at the source waits for such calls.
#[test]
fn a_task_that_replicates_asks_a_silent_target_once_and_goes_on() {
    let (faults, mut pair) = (Faults::install(), Pair::of([MARKING; 2]));
    let mut there = pair.there();
    there = pair.run(there);
    let mut back = pair.back();
    assert_eq!(pair.round(&mut back, &[], STANDS), Ok(OppositeAdmission::Pending));
    let asked = shown(&pair.a, mark());
    faults.at_call("CreateDatabase", 1, CallFault::Unreachable);
    for _ in 0..5 {
        assert_eq!(pair.round(&mut there, &asked, SOON), Ok(OppositeAdmission::Granted));
    }
    let tried = faults.trace().iter().filter(|method| *method == "CreateDatabase").count();
    assert_eq!(tried, 1 + 1 + 1, "two questions, and one answer that was lost");
    assert_eq!(pair.round(&mut there, &asked, Duration::from_secs(21)), Ok(OppositeAdmission::Granted));
    assert!(pair.b.collections().keys().any(|db| db.starts_with("cdc_probe_a_")), "it answers late");
}

#[test]
fn what_is_left_of_a_proof_is_removed_by_the_next_task() {
    for sites in [[1, 2], [1, 1]] {
        let mut pair = Pair::of([MARKING; 2]);
        pair.a.be(sites[0], MARKING);
        pair.b.be(sites[1], MARKING);
        let name = |ago_s: u64| format!("cdc_probe_p_{:x}_1", Timestamp::now().physical_ms() - ago_s * 1000);
        let (left, under_way) = (name(3600), name(5));
        let mut all = pair.b.collections();
        all.entry(left.clone()).or_default();
        all.entry(under_way.clone()).or_default();
        all.get_mut("default").unwrap().insert(left.clone(), FakeCollection::default());
        pair.b.become_this(all);
        let mut there = pair.there();
        pair.round(&mut there, &[], Duration::ZERO).unwrap();
        let all = pair.b.collections();
        assert!(!all.contains_key(&left) && all.contains_key(&under_way), "{:?}", all.keys());
        assert!(all["default"].is_empty());
    }
}

/// What others have left there is no business of a login for another database.
#[test]
fn a_login_that_may_not_see_the_default_database_replicates() {
    let (faults, mut pair) = (Faults::install(), Pair::of([MARKING; 2]));
    faults.at_call("ShowCollections", 1, CallFault::Refused(1100));
    let there = pair.there();
    assert!(pair.run(there).is_granted() && faults.has_struck());
}
