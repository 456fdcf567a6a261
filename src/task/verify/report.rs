//! What is asked of a comparison, and what it finds.

use crate::scan::Key;

/// How deep rows are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Depth {
    /// Every row, by key and contents.
    #[default]
    Rows,
    /// Every key.
    Keys,
    /// Every key, and the contents of about so many rows of each collection.
    Sample(u64),
}

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct VerifyRequest {
    /// How deep.
    pub depth: Depth,
    /// Mend what differs, through the task.
    pub repair: bool,
}

/// A comparison, as it stands.
#[derive(Debug, Clone)]
pub struct VerifyView {
    /// What was asked.
    pub request: VerifyRequest,
    /// Whether it goes on.
    pub state: VerifyState,
    /// How far it has come.
    pub progress: VerifyProgress,
}

/// Whether a comparison goes on.
#[derive(Debug, Clone)]
pub enum VerifyState {
    /// It does.
    Running,
    /// It was told to end.
    Cancelled,
    /// It is complete.
    Done(Box<Outcome>),
}

/// What a complete comparison has found.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// What differs; after a repair, what still does.
    pub report: Report,
    /// What differed before the repair; `None` without one.
    pub before: Option<Report>,
}

/// How far a comparison has come.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VerifyProgress {
    /// What it is at.
    pub doing: String,
    /// Collections that are done.
    pub collections: usize,
    /// Of so many.
    pub of_collections: usize,
    /// Keys of the source that were compared.
    pub rows: u64,
    /// Of about so many.
    pub of_rows: u64,
}

/// Everything that was compared.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// One by one.
    pub collections: Vec<CollectionReport>,
    /// Why the whole could not be compared.
    pub failure: Option<String>,
}

/// One collection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CollectionReport {
    /// Database and name at the source.
    pub source: (String, String),
    /// Database and name on the target.
    pub target: (String, String),
    /// Schema, indexes, aliases, partitions, load state.
    pub catalog: Vec<CatalogDifference>,
    /// Its rows.
    pub counts: Counts,
    /// The first differences.
    pub first: Vec<RowDifference>,
    /// Why its rows could not be compared.
    pub failure: Option<String>,
}

/// A difference that is not in the rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatalogDifference {
    /// Of what: `schema`, `index`, `alias`, `partition`, `load state`, `collection`.
    pub what: &'static str,
    /// What differs, for a person.
    pub difference: String,
}

/// Numbers of rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// `count(*)` of the source; `None` where it cannot be asked.
    pub source: Option<u64>,
    /// `count(*)` of the target.
    pub target: Option<u64>,
    /// What the two counts say.
    pub verdict: CountVerdict,
    /// Keys of the source that were compared.
    pub compared: u64,
    /// Keys that the target lacks.
    pub missing: u64,
    /// Keys that only the target has.
    pub extra: u64,
    /// Rows with other contents.
    pub different: u64,
    /// Rows in another partition.
    pub misplaced: u64,
    /// Rows that changed with every look: nothing can be said of them.
    pub unsettled: u64,
}

/// What the numbers of rows of both sides say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CountVerdict {
    /// They are equal, or cannot be asked.
    #[default]
    Equal,
    /// They differ, and not because of writes.
    Different,
    /// They changed with every look: nothing can be said of them.
    Unsettled,
}

/// One row that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowDifference {
    /// Its key.
    pub key: Key,
    /// Its partition; empty where none was asked for.
    pub partition: String,
    /// How it differs.
    pub kind: RowKind,
}

/// How a row differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowKind {
    /// The target lacks it.
    Missing,
    /// Only the target has it.
    Extra,
    /// Its contents are others.
    Different,
    /// It is in another partition.
    Misplaced,
}

impl RowKind {
    /// Its name in answers.
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

    /// Rows, their number or the catalog differ.
    pub fn differs(&self) -> bool {
        !self.catalog.is_empty() || self.counts.differences() > 0 || self.counts.verdict == CountVerdict::Different
    }
}

impl Report {
    /// This, of collections that were repaired, and with it those that could not be compared before, so that nothing was known to repair.
    pub(super) fn with_uncompared(mut self, before: &Report) -> Report {
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
        CollectionReport { source: ("default".into(), name.into()), ..CollectionReport::default() }
    }

    #[test]
    fn what_could_not_be_compared_is_told_after_a_repair() {
        let failed = CollectionReport { failure: Some("not loaded".into()), ..named("a") };
        let missing = Counts { missing: 1, ..Counts::default() };
        let broken = CollectionReport { counts: missing, ..named("b") };
        let both = CollectionReport { failure: Some("not loaded".into()), counts: missing, ..named("c") };
        let before = Report { collections: vec![failed.clone(), broken, both, named("d")], failure: None };
        let after = Report { collections: vec![named("b"), named("c")], failure: None }.with_uncompared(&before);
        assert_eq!(after.collections, [failed, named("b"), named("c")]);
        assert!(after.is_incomplete() && !after.differs());
    }
}
