/*!
The last step of a switchover before the roles change: both sides are compared.

Users have moved by then, and what they write to the target is on its way to the source: it differs for a moment. So
only what two comparisons in a row have found to differ counts.
*/

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::engine::TaskHandle;
use super::owner::Owner;
use super::switchover::HALTED;
use super::switchover_watch::{Comparing, SwitchoverWatch};
use crate::domain::TaskId;
use crate::task::switchover::{FinalComparison, Switchover};
use crate::verify::{Depth, VerifyReport, VerifyRequest, VerifyState};

/// How soon both sides are compared again.
const COMPARED_AGAIN: Duration = Duration::from_secs(5);
const IS_COMPARED: &str = "both sides are compared";

/// What a comparison comes to.
enum ComparedSites {
    /// It goes on.
    Compared(String),
    /// So many keys or rows are equal.
    Equal(u64),
    /// For good.
    Different(String),
}

impl Owner {
    /// Answers what is waited for.
    pub(super) fn compare(&mut self, id: &TaskId, by: &TaskId, switchover: &Switchover) -> Option<String> {
        let quiet = self.quiet_source(id, by, switchover.quiet_ms);
        let entry = self.tasks.get_mut(id)?;
        let Some(run) = &entry.run else {
            entry.switchover.comparing = Comparing::NotBegun;
            return Some(HALTED.to_owned());
        };
        let handle = Arc::clone(&run.handle);
        match step(handle.as_ref(), switchover.comparison, &mut entry.switchover) {
            ComparedSites::Compared(waits) => Some(waits),
            ComparedSites::Different(why) => {
                self.end_switchover(id, &why);
                None
            }
            ComparedSites::Equal(keys) => match quiet {
                Ok(still) => self.change_places(id, still, keys),
                Err(why) => Some(why),
            },
        }
    }
}

fn step(handle: &dyn TaskHandle, comparison: FinalComparison, watch: &mut SwitchoverWatch) -> ComparedSites {
    match watch.comparing {
        Comparing::NotBegun => {
            let depth = if comparison == FinalComparison::Rows { Depth::Rows } else { Depth::Keys };
            match handle.verify(VerifyRequest { depth, repair: false }) {
                Ok(()) => watch.comparing = Comparing::Begun,
                Err(refused) => return ComparedSites::Compared(refused.to_string()),
            }
            ComparedSites::Compared(IS_COMPARED.to_owned())
        }
        Comparing::Begun => match handle.verification().map(|view| (view.state, view.progress)) {
            Some((VerifyState::Running, progress)) => ComparedSites::Compared(format!(
                "{IS_COMPARED}: {} of {} collections, {} keys",
                progress.collections, progress.of_collections, progress.rows
            )),
            Some((VerifyState::Cancelled, _)) => ComparedSites::Different("the comparison was cancelled".to_owned()),
            Some((VerifyState::Done(outcome), _)) => judge(&outcome.report, watch),
            // The task has been started again.
            None => {
                watch.comparing = Comparing::NotBegun;
                ComparedSites::Compared(IS_COMPARED.to_owned())
            }
        },
        Comparing::Again(at) => {
            if Instant::now() >= at {
                watch.comparing = Comparing::NotBegun;
            }
            ComparedSites::Compared(watch.waiting_for.clone().unwrap_or_else(|| IS_COMPARED.to_owned()))
        }
        Comparing::Equal(keys) => ComparedSites::Equal(keys),
    }
}

fn judge(report: &VerifyReport, watch: &mut SwitchoverWatch) -> ComparedSites {
    let found = differences(report);
    let before = std::mem::replace(&mut watch.suspects, found);
    let (found, differ) = (&watch.suspects, named(report, |one| one.differs().then(|| one.source.to_string())));
    if let (Some(differ), true) = (&differ, found.intersection(&before).next().is_some()) {
        return ComparedSites::Different(format!(
            "both sides differ in {differ}: `verify` shows in what; `repair` only while nobody writes to either side"
        ));
    }
    let failed = named(report, |one| one.failure.as_ref().map(|why| format!("{} ({why})", one.source)));
    let again = match (differ, report.failure.clone().or(failed)) {
        (Some(differ), _) => format!("{IS_COMPARED} again: {differ} differed, which may have been on its way"),
        (None, Some(why)) => format!("{IS_COMPARED} again, since that failed: {why}"),
        (None, None) => {
            let compared = report.collections.iter().map(|one| one.counts.compared).sum();
            watch.comparing = Comparing::Equal(compared);
            return ComparedSites::Equal(compared);
        }
    };
    watch.comparing = Comparing::Again(Instant::now() + COMPARED_AGAIN);
    ComparedSites::Compared(again)
}

fn named(report: &VerifyReport, name: impl Fn(&crate::verify::CollectionReport) -> Option<String>) -> Option<String> {
    let names: Vec<String> = report.collections.iter().filter_map(name).collect();
    (!names.is_empty()).then(|| names.join(", "))
}

/// What differs, as far as the report names it.
fn differences(report: &VerifyReport) -> BTreeSet<String> {
    let of_one = |one: &crate::verify::CollectionReport| {
        let name = one.source.to_string();
        let catalog = one.catalog.iter().map(|found| format!("{name}: {}: {}", found.what, found.difference));
        let rows = one.first.iter().map(|row| format!("{name}: {}: {:?}", row.partition, row.key));
        // Numbers alone differ where rows are there twice.
        let is_unnamed = one.differs() && one.catalog.is_empty() && one.first.is_empty();
        catalog.chain(rows).chain(is_unnamed.then(|| name.clone())).collect::<Vec<_>>()
    };
    report.collections.iter().flat_map(of_one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::CollectionName;
    use crate::scan::Key;
    use crate::verify::{CollectionReport, Counts, RowDifference, RowKind};

    fn report(keys: &[i64], failure: Option<&str>) -> VerifyReport {
        let row = |key: &i64| RowDifference { key: Key::Int(*key), partition: "p".into(), kind: RowKind::Extra };
        let counts = Counts { compared: 9, extra: keys.len() as u64, ..Counts::default() };
        let one = CollectionReport {
            source: CollectionName::new("default", "a"),
            counts,
            first: keys.iter().map(row).collect(),
            failure: failure.map(str::to_owned),
            ..CollectionReport::default()
        };
        VerifyReport { collections: vec![one], failure: None }
    }

    #[test]
    fn only_what_differs_twice_in_a_row_counts() {
        let mut watch = SwitchoverWatch::default();
        let mut look = |keys: &[i64], failure| match judge(&report(keys, failure), &mut watch) {
            ComparedSites::Compared(waits) => waits,
            ComparedSites::Equal(keys) => format!("equal {keys}"),
            ComparedSites::Different(why) => format!("different: {why}"),
        };
        assert!(look(&[5, 6], None).contains("default.a differed"));
        assert!(look(&[7], None).contains("default.a differed"), "what was on its way has arrived, and more is");
        assert!(look(&[], Some("not loaded")).contains("failed: default.a (not loaded)"));
        assert!(look(&[7], None).contains("again"), "not in a row");
        let different = look(&[4, 7], None);
        assert!(different.starts_with("different: both sides differ in default.a"), "{different}");
        assert_eq!(look(&[], None), "equal 9");
    }
}
