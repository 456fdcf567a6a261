//! The request, the progress and the result of a comparison.

use crate::domain::CollectionName;
use crate::scan::Key;

/// How thoroughly rows are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Depth {
    /// Every row, by key and contents.
    #[default]
    Rows,
    /// Every key.
    Keys,
    /// Every key, and the contents of about this many rows of each collection.
    Sample(u64),
}

/// Why a comparison was not started.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyRefused {
    /// A comparison of the task is running.
    #[error("a comparison of this task is running: wait for its end, or cancel it")]
    Running,
    /// The task is not running.
    #[error("the task is not running, and what it has not carried over yet would count as different: resume it first")]
    NotRunning,
    /// A connection cannot be opened, for example because a certificate file is missing.
    #[error("{0}")]
    Connection(String),
    /// The system cannot start a thread.
    #[error("cannot start a thread: {0}")]
    Thread(String),
}

/// The request of a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct VerifyRequest {
    /// How thoroughly rows are compared.
    pub depth: Depth,
    /// Let the task repair the differences.
    pub repair: bool,
}

/// A snapshot of a comparison.
#[derive(Debug, Clone)]
pub struct VerifyView {
    /// The request.
    pub request: VerifyRequest,
    /// Running, cancelled or done.
    pub state: VerifyState,
    /// Its progress.
    pub progress: VerifyProgress,
}

/// The state of a comparison.
#[derive(Debug, Clone)]
pub enum VerifyState {
    /// It is running.
    Running,
    /// It was cancelled.
    Cancelled,
    /// It is complete.
    Done(Box<VerifyOutcome>),
}

/// The result of a complete comparison.
#[derive(Debug, Clone)]
pub struct VerifyOutcome {
    /// The differences; after a repair, those that remain.
    pub report: VerifyReport,
    /// The differences before the repair; `None` without a repair.
    pub before: Option<VerifyReport>,
}

/// The progress of a comparison.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VerifyProgress {
    /// The current step.
    pub doing: String,
    /// Collections that are compared.
    pub collections: usize,
    /// Number of all collections.
    pub of_collections: usize,
    /// Keys of the source that are compared.
    pub rows: u64,
    /// Approximate number of all keys.
    pub of_rows: u64,
}

/// The result for all collections.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// The compared collections.
    pub collections: Vec<CollectionReport>,
    /// Why the comparison as a whole failed.
    pub failure: Option<String>,
}

/// The result for one collection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CollectionReport {
    /// Database and name at the source.
    pub source: CollectionName,
    /// Database and name on the target.
    pub target: CollectionName,
    /// Differences of schema, indexes, aliases, partitions, load state.
    pub catalog: Vec<CatalogDifference>,
    /// Numbers of rows.
    pub counts: Counts,
    /// The first differing rows.
    pub first: Vec<RowDifference>,
    /// Why its rows could not be compared.
    pub failure: Option<String>,
}

/// A difference in the catalog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatalogDifference {
    /// The kind of object: `schema`, `index`, `alias`, `partition`, `load state`, `collection`.
    pub what: &'static str,
    /// A description of the difference.
    pub difference: String,
}

/// Numbers of rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// `count(*)` of the source; `None` if it cannot be counted.
    pub source: Option<u64>,
    /// `count(*)` of the target.
    pub target: Option<u64>,
    /// The verdict on the two counts.
    pub verdict: CountVerdict,
    /// Keys of the source that were compared.
    pub compared: u64,
    /// Keys that the target lacks.
    pub missing: u64,
    /// Keys that only the target has.
    pub extra: u64,
    /// Keys that only the target has, of a collection with a TTL: the source's rows may have expired, and the target's
    /// will later. They do not count as differences.
    pub outlived: u64,
    /// Rows with other contents.
    pub different: u64,
    /// Rows in another partition.
    pub misplaced: u64,
    /// Rows that changed between all rechecks: inconclusive.
    pub unsettled: u64,
}

/// The verdict on the row counts of both sides.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CountVerdict {
    /// Equal, or not countable.
    #[default]
    Equal,
    /// Different, and not because of writes.
    Different,
    /// The counts changed between all rechecks: inconclusive.
    Unsettled,
}

/// A differing row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowDifference {
    /// Its key.
    pub key: Key,
    /// Its partition; empty if the collection was compared as a whole.
    pub partition: String,
    /// The kind of difference.
    pub kind: RowKind,
}

/// The kind of a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowKind {
    /// Only the source has the row.
    Missing,
    /// Only the target has the row.
    Extra,
    /// The contents differ.
    Different,
    /// The row is in another partition.
    Misplaced,
}

impl RowKind {
    /// Its name in API responses.
    pub fn name(self) -> &'static str {
        match self {
            RowKind::Missing => "missing",
            RowKind::Extra => "extra",
            RowKind::Different => "different",
            RowKind::Misplaced => "misplaced",
        }
    }
}

/// Rows that a report names, a collection.
const NAMED: usize = 20;

impl Counts {
    /// Rows that differ.
    pub fn differences(&self) -> u64 {
        self.missing + self.extra + self.different + self.misplaced
    }
}

impl CollectionReport {
    /// Counts a difference, and names it if it is one of the first.
    pub(super) fn add(&mut self, difference: RowDifference) {
        let counted = match difference.kind {
            RowKind::Missing => &mut self.counts.missing,
            RowKind::Extra => &mut self.counts.extra,
            RowKind::Different => &mut self.counts.different,
            RowKind::Misplaced => &mut self.counts.misplaced,
        };
        *counted += 1;
        if self.first.len() < NAMED {
            self.first.push(difference);
        }
    }

    /// The collection's rows expire, on the target as much later as they were applied later: what only the target has
    /// is no difference, nor is a higher count.
    pub(super) fn allow_for_ttl(&mut self) {
        self.counts.outlived = std::mem::take(&mut self.counts.extra);
        self.first.retain(|difference| difference.kind != RowKind::Extra);
        if self.counts.target > self.counts.source {
            self.counts.verdict = CountVerdict::Equal;
        }
    }

    /// Rows, their number or the catalog differ.
    pub fn differs(&self) -> bool {
        !self.catalog.is_empty() || self.counts.differences() > 0 || self.counts.verdict == CountVerdict::Different
    }
}

impl VerifyReport {
    /// This report of the repaired collections, completed by those that could not be compared before the repair.
    pub(super) fn with_uncompared(mut self, before: &VerifyReport) -> VerifyReport {
        let is_uncompared = |collection: &&CollectionReport| collection.failure.is_some() && !collection.differs();
        self.collections.extend(before.collections.iter().filter(is_uncompared).cloned());
        self.collections.sort_by(|a, b| a.source.cmp(&b.source));
        self
    }

    /// Something differs.
    pub fn differs(&self) -> bool {
        self.collections.iter().any(CollectionReport::differs)
    }

    /// Something could not be compared.
    pub fn is_incomplete(&self) -> bool {
        self.failure.is_some() || self.collections.iter().any(|collection| collection.failure.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> CollectionReport {
        CollectionReport { source: CollectionName::new("default", name), ..CollectionReport::default() }
    }

    #[test]
    fn rows_that_expire_later_on_the_target_do_not_differ() {
        let row = |key, kind| RowDifference { key: Key::Int(key), partition: String::new(), kind };
        let mut report = named("a");
        report.add(row(1, RowKind::Extra));
        report.add(row(2, RowKind::Extra));
        report.counts.target = Some(12);
        report.counts.source = Some(10);
        report.counts.verdict = CountVerdict::Different;
        let mut lost = report.clone();
        report.allow_for_ttl();
        assert!(!report.differs() && report.counts.outlived == 2 && report.first.is_empty());
        lost.add(row(3, RowKind::Missing));
        lost.counts.target = Some(9);
        lost.allow_for_ttl();
        assert!(lost.differs() && lost.counts.verdict == CountVerdict::Different);
        assert_eq!(lost.first, [row(3, RowKind::Missing)]);
    }

    #[test]
    fn what_could_not_be_compared_is_told_after_a_repair() {
        let failed = CollectionReport { failure: Some("not loaded".into()), ..named("a") };
        let missing = Counts { missing: 1, ..Counts::default() };
        let broken = CollectionReport { counts: missing, ..named("b") };
        let both = CollectionReport { failure: Some("not loaded".into()), counts: missing, ..named("c") };
        let before = VerifyReport { collections: vec![failed.clone(), broken, both, named("d")], failure: None };
        let after = VerifyReport { collections: vec![named("b"), named("c")], failure: None }.with_uncompared(&before);
        assert_eq!(after.collections, [failed, named("b"), named("c")]);
        assert!(after.is_incomplete() && !after.differs());
    }
}
