/*!
The return of a primary that was given up: what it has written that never got across, and what becomes of that.

The types are the content of a file of the task's as well (`lost-writes.json`).
*/

use serde::{Deserialize, Serialize};

/// A failback under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failback {
    /// When it began, in milliseconds since 1970.
    pub since_ms: u64,
    /// What it is at.
    pub step: FailbackStep,
    /// How far it goes.
    pub intent: FailbackIntent,
    /// What becomes of writes that never got across.
    pub plan: LostWritesPlan,
    /// Whether an old primary that lacks what it had is made equal to the target.
    pub rebuild: Rebuild,
    /// Everything up to this, in the old primary's time, was applied when its log was read to its end; `None`: that
    /// was not done, or not for every collection.
    pub drained_ms: Option<u64>,
}

/// The steps of a failback, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailbackStep {
    /// The old primary's log is read, and nothing is changed.
    Listing,
    /// Lost writes are written to the target. There is no way back from here.
    Merging,
    /// The task in the opposite direction is made.
    Reversing,
}

/// How far a failback goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailbackIntent {
    /// It lists the lost writes.
    List,
    /// It carries its plan out.
    GoOn,
}

/// What becomes of writes that never got across.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LostWritesPlan {
    /// The user is asked.
    #[default]
    Ask,
    /// Those that the target has nothing against are written to it.
    Merge,
    /// The target's rows count.
    Discard,
}

/// Whether an old primary that lacks what it had is made equal to the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Rebuild {
    /// Not without being told to.
    #[default]
    Refused,
    /// A user has said so.
    Ordered,
}

/// Who answers at the old primary's address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReturnedPrimary {
    /// The old primary, with the log that was read of it.
    Same,
    /// The same server, restored to an earlier time.
    Restored,
    /// The same server without any of the task's collections.
    Emptied,
    /// The same server with another log.
    NewLog,
    /// Nothing tells which server it is.
    Unsure,
    /// Another server.
    Other,
}

impl ReturnedPrimary {
    /// What is to be said of it.
    pub fn sentence(&self) -> &'static str {
        match self {
            ReturnedPrimary::Same => "the old primary is back, and is the server that the task has followed",
            ReturnedPrimary::Restored => {
                "the old primary is the server that the task has followed, restored to an earlier time: its log lacks \
                 what was read of it"
            }
            ReturnedPrimary::Emptied => {
                "the old primary is the server that the task has followed, and has none of the task's collections any \
                 more"
            }
            ReturnedPrimary::NewLog => {
                "the old primary is the server that the task has followed, and its log was made anew: what the old log \
                 held is gone"
            }
            ReturnedPrimary::Unsure => {
                "nothing tells whether the server at the old primary's address is the one that the task has followed: \
                 it has none of the task's collections"
            }
            ReturnedPrimary::Other => {
                "another server answers at the old primary's address than the one that the task has followed"
            }
        }
    }

    /// Whether it would have to be made equal to the target as a whole.
    fn needs_rebuild(&self) -> bool {
        matches!(self, ReturnedPrimary::Restored | ReturnedPrimary::Emptied | ReturnedPrimary::NewLog)
    }
}

/// The writes of an old primary that never got across.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LostWrites {
    /// When they were listed, in milliseconds since 1970.
    pub at_ms: u64,
    /// Its address.
    pub address: String,
    /// Who answers there.
    pub primary: ReturnedPrimary,
    /// Why its log could not be read for them.
    pub unlisted: Option<String>,
    /// Those of them that have any.
    pub collections: Vec<LostInCollection>,
    /// Collections of which the log does not tell all: only a comparison would.
    pub unknown: Vec<UnknownWrites>,
    /// What a failback that was asked for has come to.
    pub outcome: Option<FailbackOutcome>,
}

/// Those of one collection. Each key counts once, by its last write.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LostInCollection {
    /// Database and name at the old primary.
    pub collection: String,
    /// Database and name on the target.
    pub target: String,
    /// Keys that were written last.
    pub puts: u64,
    /// Keys that were deleted last.
    pub deletes: u64,
    /// Of the first: keys that the target has never had and lacks.
    pub mergeable: u64,
    /// Keys that the target lacks and may have deleted itself, or has with another row.
    pub undecided: u64,
    /// Keys that were read, and of which the target has the same row, or as little: they are not lost.
    pub same: u64,
}

/// A collection of which the log does not tell all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnknownWrites {
    /// Database and name at the old primary.
    pub collection: String,
    /// Why not.
    pub why: String,
}

/// How a failback has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailbackOutcome {
    /// It was refused, and nothing was changed.
    Refused(String),
    /// Nothing was in the way.
    Settled(LostWritesPlan),
    /// Lost writes were written to the target.
    Merged {
        /// How many of them it lacked until then.
        written: u64,
        /// How many keys it had by then: written by a client meanwhile, or by an attempt that a restart has ended.
        present: u64,
        /// How many rows had no place any more: their collection or partition was dropped on the target.
        #[serde(default)]
        gone: u64,
    },
}

/// Lines of the list of lost writes, as they stand in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LostLines {
    /// One JSON object each.
    pub lines: Vec<String>,
    /// Where the next one begins; `None`: that was the last.
    pub next: Option<u64>,
}

/// The files of lost writes cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct LostWritesError(pub String);

/// What a listing leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AfterListing {
    /// The failback ends.
    End(FailbackOutcome),
    /// Lost writes are written to the target.
    Merge,
}

impl LostWrites {
    fn sum(&self, count: impl Fn(&LostInCollection) -> u64) -> u64 {
        self.collections.iter().map(count).sum()
    }

    /// Keys whose last write is lost.
    pub fn keys(&self) -> u64 {
        self.sum(|one| one.puts + one.deletes)
    }

    /// Those that a merge would write.
    pub fn mergeable(&self) -> u64 {
        self.sum(|one| one.mergeable)
    }

    /// Those that only a user can decide about.
    pub fn undecided(&self) -> u64 {
        self.sum(|one| one.undecided)
    }

    /// What a failback with this plan comes to.
    pub fn lead_to(&self, plan: LostWritesPlan, rebuild: Rebuild) -> AfterListing {
        let refused = |why: String| AfterListing::End(FailbackOutcome::Refused(why));
        match &self.primary {
            ReturnedPrimary::Other | ReturnedPrimary::Unsure => {
                return refused(format!(
                    "{}: bring the old primary back, or delete the task and create one in the other direction",
                    self.primary.sentence()
                ));
            }
            primary if primary.needs_rebuild() && rebuild == Rebuild::Refused => {
                return refused(format!(
                    "{}; `rebuild` makes it equal to the target by a comparison, and removes what only it has",
                    primary.sentence()
                ));
            }
            _ => {}
        }
        let is_unlisted = (self.unlisted.is_some() || !self.unknown.is_empty()) && rebuild == Rebuild::Refused;
        match plan {
            LostWritesPlan::Ask if self.keys() > 0 || is_unlisted => refused(format!(
                "{}: say what becomes of them (`lost_writes`): `merge` writes {} keys to the target and leaves {} to \
                 the target's rows; `discard` leaves all {} to the target's rows",
                self.sentence(),
                self.mergeable(),
                self.undecided(),
                self.keys()
            )),
            // It may have the only copy of what nobody has seen.
            LostWritesPlan::Merge | LostWritesPlan::Discard if is_unlisted => refused(format!(
                "{}: making it equal to the target would remove that; look at it there first, and insist with \
                 `rebuild`",
                self.sentence()
            )),
            LostWritesPlan::Merge if self.mergeable() > 0 => AfterListing::Merge,
            plan => AfterListing::End(FailbackOutcome::Settled(plan)),
        }
    }

    /// How the failback that was asked for last has ended, in one sentence; `None`: none has.
    pub fn outcome_sentence(&self) -> Option<String> {
        Some(match self.outcome.as_ref()? {
            FailbackOutcome::Refused(why) => format!("refused: {why}"),
            FailbackOutcome::Settled(LostWritesPlan::Discard) if self.keys() > 0 => {
                format!("the target's rows count, and lost writes of {} keys are discarded", self.keys())
            }
            FailbackOutcome::Settled(_) if self.undecided() > 0 => {
                format!("nothing was to be merged, and of {} keys the target's rows count", self.undecided())
            }
            FailbackOutcome::Settled(_) => "no lost writes were to be decided about".to_owned(),
            FailbackOutcome::Merged { written, present, gone } if *gone > 0 => format!(
                "{written} lost writes were merged, {present} keys were on the target by then, and {gone} rows have no \
                 place there any more, since their collection or partition was dropped: export them, then begin again"
            ),
            FailbackOutcome::Merged { written, present, .. } => format!(
                "{written} lost writes were merged, {present} keys were on the target by then, and of {} keys the \
                 target's rows count",
                self.undecided()
            ),
        })
    }

    /// What is to be said of them, in one sentence.
    pub fn sentence(&self) -> String {
        let mut text = self.primary.sentence().to_owned();
        if self.keys() > 0 {
            text.push_str(&format!(
                "; writes of {} keys never got across ({} rows and {} deletes, in {} collections): {} of these keys \
                 were new, and the target lacks them; of {} it has another row, or may have deleted them",
                self.keys(),
                self.sum(|one| one.puts),
                self.sum(|one| one.deletes),
                self.collections.iter().filter(|one| one.puts + one.deletes > 0).count(),
                self.mergeable(),
                self.undecided()
            ));
        }
        match &self.unlisted {
            Some(why) => text.push_str(&format!(
                "; not all that it wrote and that never got across can be listed ({why}): only a comparison shows \
                 what it alone has"
            )),
            None if self.keys() == 0 => {
                text.push_str("; none of its writes that its log holds is missing on the target");
            }
            None => {}
        }
        const NAMED: usize = 20;
        if !self.unknown.is_empty() {
            let named = self.unknown.iter().take(NAMED).map(|one| format!("{} ({})", one.collection, one.why));
            let named = named.collect::<Vec<_>>().join(", ");
            let more = self.unknown.len().saturating_sub(NAMED);
            let more = if more > 0 { format!(", and {more} more") } else { String::new() };
            text.push_str(&format!(
                "; the log does not tell all of {} collections, and only a comparison would: {named}{more}",
                self.unknown.len()
            ));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(primary: ReturnedPrimary, puts: u64, mergeable: u64) -> LostWrites {
        let one = LostInCollection {
            collection: "d.a".into(),
            target: "e.b".into(),
            puts,
            deletes: 0,
            mergeable,
            undecided: puts - mergeable,
            same: 3,
        };
        LostWrites {
            at_ms: 5,
            address: "west:1".into(),
            primary,
            unlisted: None,
            collections: vec![one],
            unknown: Vec::new(),
            outcome: None,
        }
    }

    fn refusal(writes: &LostWrites, plan: LostWritesPlan, rebuild: Rebuild) -> Option<String> {
        match writes.lead_to(plan, rebuild) {
            AfterListing::End(FailbackOutcome::Refused(why)) => Some(why),
            _ => None,
        }
    }

    #[test]
    fn lost_writes_are_decided_about_by_a_user() {
        use LostWritesPlan::{Ask, Discard, Merge};
        let some = listed(ReturnedPrimary::Same, 5, 2);
        let why = refusal(&some, Ask, Rebuild::Refused).unwrap();
        assert!(why.contains("`merge` writes 2 keys to the target and leaves 3"), "{why}");
        assert_eq!(some.lead_to(Merge, Rebuild::Refused), AfterListing::Merge);
        let settled = |plan| AfterListing::End(FailbackOutcome::Settled(plan));
        assert_eq!(some.lead_to(Discard, Rebuild::Refused), settled(Discard));
        let none = listed(ReturnedPrimary::Same, 0, 0);
        assert_eq!(none.lead_to(Ask, Rebuild::Refused), settled(Ask));
        assert_eq!(none.lead_to(Merge, Rebuild::Refused), settled(Merge));
        let gone = LostWrites { unlisted: Some("retention".into()), ..none };
        assert!(refusal(&gone, Ask, Rebuild::Refused).unwrap().contains("only a comparison shows"));
    }

    #[test]
    fn a_primary_that_lacks_what_it_had_is_rebuilt_by_order_only_and_another_one_never() {
        use ReturnedPrimary::{Emptied, NewLog, Other, Restored, Same, Unsure};
        for primary in [Emptied, NewLog, Restored] {
            let writes = listed(primary, 0, 0);
            let why = refusal(&writes, LostWritesPlan::Discard, Rebuild::Refused).unwrap();
            assert!(why.starts_with(writes.primary.sentence()) && why.contains("`rebuild`"), "{why}");
            assert_eq!(refusal(&writes, LostWritesPlan::Discard, Rebuild::Ordered), None);
        }
        for primary in [Other, Unsure] {
            let writes = listed(primary, 0, 0);
            assert!(refusal(&writes, LostWritesPlan::Discard, Rebuild::Ordered).is_some());
        }
        assert_eq!(refusal(&listed(Same, 0, 0), LostWritesPlan::Ask, Rebuild::Refused), None);
    }

    #[test]
    fn what_is_not_known_is_said() {
        let none = listed(ReturnedPrimary::Same, 0, 0);
        assert!(none.sentence().ends_with("none of its writes that its log holds is missing on the target"));
        let one = |n| UnknownWrites { collection: format!("d.c{n}"), why: "was dropped there".into() };
        let some = LostWrites { unknown: (0..22).map(one).collect(), ..listed(ReturnedPrimary::Same, 5, 2) };
        let said = some.sentence();
        assert!(said.contains("writes of 5 keys never got across (5 rows and 0 deletes, in 1 collections)"), "{said}");
        assert!(said.contains("all of 22 collections") && said.ends_with(", and 2 more"), "{said}");
        assert!(
            refusal(&LostWrites { collections: Vec::new(), ..some }, LostWritesPlan::Ask, Rebuild::Refused).is_some()
        );
    }
}
