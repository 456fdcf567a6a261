/*!
What a failover comes to: what is certain to be on the target, and what may be missing.

All moments are the source's own time; a client's write counts from the moment at which the source acknowledged it.
*/

use std::time::{Duration, UNIX_EPOCH};

/// How a failover ended, for whoever has to answer for it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FailoverReport {
    /// When the target took over, in milliseconds since 1970 by this host's clock.
    pub at_ms: u64,
    /// Everything that the source acknowledged before this, in milliseconds since 1970, is on the target.
    pub acknowledged_ms: Option<u64>,
    /// The newest record that was read from the log.
    pub read_ms: Option<u64>,
    /// The last moment at which the source is known to have been alive.
    pub last_sign_ms: Option<u64>,
    /// How far the log was read.
    pub log: DrainedLog,
    /// Collections of which rows are missing, whatever the log held.
    pub incomplete: Vec<IncompleteCollection>,
    /// Collections that the log names and the task had not met yet. They may be outside its scope.
    pub unknown_collections: usize,
    /// How far each channel was acknowledged by its ticks.
    pub channels: Vec<DrainedChannel>,
}

/// How far a log was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum DrainedLog {
    /// Nothing was left in it.
    #[default]
    ToItsEnd,
    /// Not to its end: why.
    InPart(String),
}

/// A collection of which rows are missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IncompleteCollection {
    /// Database and name at the source, or the id.
    pub collection: String,
    /// Why.
    pub why: String,
}

/// One channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DrainedChannel {
    /// Its name.
    pub channel: String,
    /// Everything before this is acknowledged by the target, in milliseconds since 1970.
    pub acknowledged_ms: u64,
}

impl FailoverReport {
    /// What is certain and what may be missing, in one sentence.
    pub fn sentence(&self) -> String {
        let certain = match (&self.log, self.acknowledged_ms) {
            (DrainedLog::ToItsEnd, _) => {
                let last = self.read_ms.or(self.acknowledged_ms);
                let last = last.map(|last| format!(" (last written {})", moment(last))).unwrap_or_default();
                format!(
                    "everything that the source acknowledged is on the target, as far as its log holds it, which was \
                     read to its end{last}"
                )
            }
            (DrainedLog::InPart(why), Some(acknowledged)) => {
                format!(
                    "everything that the source acknowledged before {} is on the target; what it acknowledged later \
                     may be missing, because its log could not be read to its end ({why}); {}",
                    moment(acknowledged),
                    self.after(acknowledged)
                )
            }
            (DrainedLog::InPart(why), None) => format!("nothing is known to be on the target: {why}"),
        };
        format!("{certain}{}", self.exceptions())
    }

    /// What is known of the source after what is certain.
    fn after(&self, acknowledged: u64) -> String {
        match self.last_sign_ms.filter(|last| *last > acknowledged) {
            Some(last) => format!(
                "its last sign of life was at {}, so that is {:.1} s of writes if it died then",
                moment(last),
                Duration::from_millis(last - acknowledged).as_secs_f64()
            ),
            None => "nothing was heard of it after that, so how much that is, is not known".to_owned(),
        }
    }

    fn exceptions(&self) -> String {
        const NAMED: usize = 20;
        let mut text = String::new();
        if !self.incomplete.is_empty() {
            let named = self.incomplete.iter().take(NAMED).map(|one| format!("{} ({})", one.collection, one.why));
            let more = self.incomplete.len().saturating_sub(NAMED);
            let more = if more > 0 { format!(", and {more} more") } else { String::new() };
            let named = named.collect::<Vec<_>>().join(", ");
            text.push_str(&format!("; rows are missing of {} collections: {named}{more}", self.incomplete.len()));
        }
        if self.unknown_collections > 0 {
            text.push_str(&format!(
                "; {} collections that were created last, or are outside the task's scope, were not copied",
                self.unknown_collections
            ));
        }
        text
    }
}

/// `2026-11-22T18:19:09.123Z`. A time beyond 9999 is shown as the last moment of that year.
pub(super) fn moment(ms: u64) -> String {
    let at = UNIX_EPOCH.checked_add(Duration::from_millis(ms)).and_then(|at| jiff::Timestamp::try_from(at).ok());
    at.unwrap_or(jiff::Timestamp::MAX).strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: u64 = 1_795_348_800_000;

    fn report(log: DrainedLog) -> FailoverReport {
        FailoverReport { acknowledged_ms: Some(NOON), log, ..FailoverReport::default() }
    }

    #[test]
    fn a_log_that_was_read_to_its_end_bounds_nothing() {
        let drained = FailoverReport { read_ms: Some(NOON + 1_250), ..report(DrainedLog::ToItsEnd) };
        assert_eq!(
            drained.sentence(),
            "everything that the source acknowledged is on the target, as far as its log holds it, which was read to \
             its end (last written 2026-11-22T12:00:01.250Z)"
        );
    }

    #[test]
    fn what_may_be_missing_is_bounded_by_the_last_sign_of_life() {
        let gone = report(DrainedLog::InPart("no folder".into()));
        let seen = FailoverReport { last_sign_ms: Some(NOON + 1_750), ..gone.clone() };
        assert_eq!(
            seen.sentence(),
            "everything that the source acknowledged before 2026-11-22T12:00:00.000Z is on the target; what it \
             acknowledged later may be missing, because its log could not be read to its end (no folder); its last \
             sign of life was at 2026-11-22T12:00:01.750Z, so that is 1.8 s of writes if it died then"
        );
        for last_sign_ms in [None, Some(NOON), Some(NOON - 1)] {
            let unseen = FailoverReport { last_sign_ms, ..gone.clone() };
            assert!(unseen.sentence().ends_with("how much that is, is not known"), "no bound is invented");
        }
        let nothing = FailoverReport { acknowledged_ms: None, ..gone };
        assert_eq!(nothing.sentence(), "nothing is known to be on the target: no folder");
    }

    #[test]
    fn what_is_missing_whatever_the_log_held_is_named() {
        let one = |n: usize| IncompleteCollection { collection: format!("d.c{n}"), why: "was being copied".into() };
        let two =
            FailoverReport { incomplete: vec![one(1), one(2)], unknown_collections: 3, ..report(DrainedLog::ToItsEnd) };
        let sentence = two.sentence();
        assert!(sentence.contains("missing of 2 collections: d.c1 (was being copied), d.c2 (was being copied); 3 "));
        let many = FailoverReport { incomplete: (0..25).map(one).collect(), ..two };
        assert!(many.sentence().contains("d.c19 (was being copied), and 5 more"), "{}", many.sentence());
    }
}
