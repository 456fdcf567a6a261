/*!
A planned change of the primary, while both servers are well: nothing that the old primary acknowledged may be missing
on the new one, and nothing is copied for it.

```text
 opening ──▶ draining ──▶ comparing ──▶ the roles change
   │            │             │
   └────────────┴─────────────┴──▶ given up, or refused: the task follows its source as before
```

| step | what happens |
|---|---|
| opening | the task in the opposite direction is made; it begins at the end that the target's log has now |
| draining | users move; it ends when nobody has changed the source for a while and all of it is on the target |
| comparing | both sides are compared, and are equal |

Both directions are open from the second step on, so whoever writes to either side meanwhile writes to both.
*/

use std::time::{Duration, Instant};

use super::failover::moment;
use crate::domain::{TaskId, Timestamp};

/// A switchover under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Switchover {
    /// When it began, in milliseconds since 1970.
    pub since_ms: u64,
    /// What it is at.
    pub step: SwitchoverStep,
    /// How long nobody may have changed the source, in milliseconds.
    pub quiet_ms: u64,
    /// What is compared before the roles change.
    pub comparison: FinalComparison,
}

/// The steps of a switchover, in order. From the second one on with the task in the opposite direction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SwitchoverStep {
    /// The task in the opposite direction is made.
    Opening,
    /// Users move, and what they wrote to the source is applied.
    Draining(TaskId),
    /// Both sides are compared.
    Comparing(TaskId),
}

/// What is compared before the roles change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FinalComparison {
    /// Nothing.
    Nothing,
    /// Every key.
    #[default]
    Keys,
    /// Every row.
    Rows,
}

/// What a switchover has come to. Moments are the source's own time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SwitchoverReport {
    /// When the roles changed, in milliseconds since 1970 by this host's clock.
    pub at_ms: u64,
    /// Everything that the source acknowledged up to this, in milliseconds since 1970, is on the target.
    pub applied_ms: u64,
    /// The last change that a user made at the source; `None`: none since the task started.
    pub last_change_ms: Option<u64>,
    /// What was compared.
    pub comparison: FinalComparison,
    /// How many rows, or keys, were compared and equal.
    pub compared: u64,
}

impl SwitchoverStep {
    /// The step's name in the API.
    pub fn name(&self) -> &'static str {
        match self {
            SwitchoverStep::Opening => "opening",
            SwitchoverStep::Draining(_) => "draining",
            SwitchoverStep::Comparing(_) => "comparing",
        }
    }

    /// The task in the opposite direction, once there is one.
    pub fn by(&self) -> Option<&TaskId> {
        match self {
            SwitchoverStep::Opening => None,
            SwitchoverStep::Draining(by) | SwitchoverStep::Comparing(by) => Some(by),
        }
    }
}

impl FinalComparison {
    /// All, in the order in which they are documented.
    pub const ALL: [FinalComparison; 3] = [FinalComparison::Nothing, FinalComparison::Keys, FinalComparison::Rows];

    /// As requests and files have it.
    pub fn name(self) -> &'static str {
        match self {
            FinalComparison::Nothing => "none",
            FinalComparison::Keys => "keys",
            FinalComparison::Rows => "rows",
        }
    }

    /// The comparison of this name.
    pub fn named(name: &str) -> Option<FinalComparison> {
        FinalComparison::ALL.into_iter().find(|comparison| comparison.name() == name)
    }
}

impl SwitchoverReport {
    /// What is certain, in one sentence.
    pub fn sentence(&self) -> String {
        let last = match self.last_change_ms {
            Some(last) => format!("its last change was at {}", moment(last)),
            None => "no change of it was seen".to_owned(),
        };
        let compared = match self.comparison {
            FinalComparison::Nothing => "nothing was compared".to_owned(),
            FinalComparison::Keys => format!("{} keys were compared, and both sides are equal", self.compared),
            FinalComparison::Rows => format!("{} rows were compared, and both sides are equal", self.compared),
        };
        format!(
            "everything that the old primary acknowledged up to {} is on the new one; {last}; {compared}; what is \
             written to the old primary later is not replicated",
            moment(self.applied_ms)
        )
    }
}

/// How far a task is, and when users changed its source last; in the source's time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stillness {
    /// Everything that the source acknowledged up to here is on the target.
    pub applied: Option<Timestamp>,
    /// The newest change of a user that this run has met.
    pub last_change: Option<Timestamp>,
}

/// A source that nobody has changed for a while, and all of which is on the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuietSource {
    /// Everything up to here is on the target.
    pub applied: Timestamp,
    /// The newest change of a user.
    pub last_change: Option<Timestamp>,
}

/// Watches a source until nobody changes it any more. What was before it began counts as a change, and so does a time
/// in which the source told of no time: it may have been away, and its users with it.
#[derive(Debug, Default)]
pub struct QuietWatch {
    since: Option<Timestamp>,
    /// What was applied when it advanced last.
    advanced: Option<(Timestamp, Instant)>,
    /// The newest change of any run of the task.
    last_change: Option<Timestamp>,
}

/// How long a source that is up may tell of no new time. (Ticks come at least twice a second.)
const TELLS_TIME: Duration = Duration::from_secs(3);

impl QuietWatch {
    /// Whether nobody has changed the source for so long.
    ///
    /// # Errors
    /// What it waits for, for a person to read.
    pub fn look(&mut self, still: Stillness, quiet: Duration, now: Instant) -> Result<QuietSource, String> {
        self.last_change = self.last_change.max(still.last_change);
        let Some(applied) = still.applied else {
            // What a new run has met begins anew.
            (self.since, self.advanced) = (None, None);
            return Err("how far the task is, is not known yet".to_owned());
        };
        match self.advanced {
            Some((before, at)) if now.saturating_duration_since(at) > TELLS_TIME => {
                if before == applied {
                    return Err(format!("the source has told of no time after {}", moment(applied.physical_ms())));
                }
                self.since = Some(applied);
            }
            _ => {}
        }
        if self.advanced.is_none_or(|(before, _)| before != applied) {
            self.advanced = Some((applied, now));
        }
        let since = *self.since.get_or_insert(applied);
        let lasts = |since: Timestamp| applied.physical_ms().saturating_sub(since.physical_ms());
        let (wanted, quiet_s) = (quiet.as_millis() as u64, quiet.as_secs_f64());
        match self.last_change.filter(|last| lasts(*last) < wanted) {
            Some(last) => Err(format!(
                "the source was changed last at {}: move the clients to the target; the roles change when nobody has \
                 changed the source for {quiet_s} s",
                moment(last.physical_ms())
            )),
            None if lasts(since) < wanted => {
                Err(format!("nobody has changed the source yet, and for {quiet_s} s nobody may"))
            }
            None => Ok(QuietSource { applied, last_change: self.last_change }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUIET: Duration = Duration::from_secs(10);

    fn at(s: u64) -> Timestamp {
        Timestamp((s * 1000) << 18)
    }

    /// Looks once for every second, up to this one.
    struct Looks {
        watch: QuietWatch,
        start: Instant,
    }

    impl Looks {
        fn new() -> Looks {
            Looks { watch: QuietWatch::default(), start: Instant::now() }
        }

        fn at(&mut self, applied: u64, last_change: Option<u64>) -> Result<QuietSource, String> {
            let still = Stillness { applied: Some(at(applied)), last_change: last_change.map(at) };
            self.watch.look(still, QUIET, self.start + Duration::from_secs(applied))
        }

        fn through(&mut self, seconds: std::ops::RangeInclusive<u64>, last_change: Option<u64>) -> Vec<bool> {
            seconds.map(|second| self.at(second, last_change).is_ok()).collect()
        }
    }

    #[test]
    fn a_source_is_quiet_when_what_is_applied_is_well_behind_its_last_change() {
        let mut looks = Looks::new();
        assert!(looks.watch.look(Stillness::default(), QUIET, looks.start).unwrap_err().contains("not known yet"));
        assert!(looks.at(100, Some(50)).unwrap_err().contains("nobody has changed the source yet"));
        assert_eq!(looks.through(101..=107, Some(50)), [false; 7]);
        let written = looks.at(109, Some(108)).unwrap_err();
        assert!(written.contains("1970-01-01T00:01:48.000Z: move the clients"), "{written}");
        assert_eq!(looks.through(110..=117, Some(108)), [false; 8]);
        let quiet = QuietSource { applied: at(118), last_change: Some(at(108)) };
        assert_eq!(looks.at(118, Some(108)), Ok(quiet));
        looks.at(119, Some(119)).unwrap_err();
        let mut without = Looks::new();
        assert_eq!(without.through(100..=109, None), [false; 10]);
        assert_eq!(without.at(110, None), Ok(QuietSource { applied: at(110), last_change: None }));
    }

    #[test]
    fn a_source_that_was_away_has_not_been_quiet() {
        let mut looks = Looks::new();
        looks.through(100..=105, None);
        let still = Stillness { applied: Some(at(105)), last_change: None };
        let silent = looks.watch.look(still, QUIET, looks.start + Duration::from_secs(109)).unwrap_err();
        assert!(silent.contains("no time after 1970-01-01T00:01:45.000Z"), "{silent}");
        assert!(looks.at(120, None).is_err(), "its users come back with it");
        assert_eq!(looks.through(121..=129, None), [false; 9]);
        looks.at(130, None).unwrap();
    }

    #[test]
    fn a_run_that_begins_anew_forgets_no_change() {
        let mut looks = Looks::new();
        looks.through(100..=109, Some(50));
        looks.at(110, Some(110)).unwrap_err();
        looks.at(111, None).unwrap_err();
        let (unknown, at) = (Stillness::default(), looks.start + Duration::from_secs(112));
        looks.watch.look(unknown, QUIET, at).unwrap_err();
        assert_eq!(looks.through(113..=122, None), [false; 10]);
        assert_eq!(looks.at(123, None).unwrap().last_change, Some(super::tests::at(110)));
    }

    #[test]
    fn the_report_says_what_is_certain() {
        let report = SwitchoverReport {
            at_ms: 20_000,
            applied_ms: 15_000,
            last_change_ms: Some(5_000),
            comparison: FinalComparison::Keys,
            compared: 7,
        };
        let said = report.sentence();
        assert!(said.starts_with("everything that the old primary acknowledged up to 1970-01-01T00:00:15.000Z"));
        assert!(said.contains("its last change was at 1970-01-01T00:00:05.000Z; 7 keys were compared"), "{said}");
        let bare = SwitchoverReport { last_change_ms: None, comparison: FinalComparison::Nothing, ..report };
        assert!(bare.sentence().contains("no change of it was seen; nothing was compared"), "{}", bare.sentence());
    }
}
