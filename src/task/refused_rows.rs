//! Rows that a target refuses for good, and what a task does with them.

use super::collection_request::CollectionRefused;

/// What a task does with rows that the target refuses for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnRefused {
    /// Their collection stands still, and is tried again with growing pauses.
    #[default]
    Hold,
    /// They are written to a file of the task, and their collection goes on.
    SetAside,
}

impl OnRefused {
    /// By the name that a request gives; empty for the default.
    pub fn named(name: &str) -> Option<OnRefused> {
        match name {
            "" | "hold" => Some(OnRefused::Hold),
            "set_aside" => Some(OnRefused::SetAside),
            _ => None,
        }
    }

    /// As a request names it.
    pub fn name(self) -> &'static str {
        match self {
            OnRefused::Hold => "hold",
            OnRefused::SetAside => "set_aside",
        }
    }
}

/// One row that was set aside, without its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedRow {
    /// Counts the rows of the file; later ones have higher numbers.
    pub number: u64,
    /// Id of the collection at the source.
    pub collection_id: i64,
    /// Database and name of the collection on the target.
    pub target: String,
    /// Name of the partition; empty where the target chooses.
    pub partition: String,
    /// The primary key, strings in quotes.
    pub key: String,
    /// Physical channel that the row was read from; empty if a copy or a comparison has brought it.
    pub channel: String,
    /// The latest hybrid timestamp of the call that carried the row; 0 if a copy or a comparison has brought it.
    pub timestamp: u64,
    /// When it was set aside, in Unix milliseconds.
    pub since_ms: u64,
    /// What the target said.
    pub reason: String,
}

/// What becomes of rows that were set aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusedRowsDecision {
    /// Their collections are compared with the source, which writes what the target takes by now.
    Apply,
    /// They are forgotten.
    Discard,
}

/// Why a decision about rows that were set aside is not carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RefusedRowsError {
    /// A collection of theirs cannot be compared now.
    #[error(transparent)]
    Collection(#[from] CollectionRefused),
    /// The file cannot be written.
    #[error("{0}")]
    Files(String),
}

/// What a task that does not run has set aside.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoredRefusedRows {
    /// In the order in which they were set aside.
    pub rows: Vec<RefusedRow>,
    /// How much that is.
    pub amount: RefusedRowsAmount,
}

/// How much is set aside.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RefusedRowsAmount {
    /// Number of rows.
    pub rows: usize,
    /// Length of the file in bytes.
    pub bytes: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for on_refused in [OnRefused::Hold, OnRefused::SetAside] {
            assert_eq!(OnRefused::named(on_refused.name()), Some(on_refused));
        }
        assert_eq!((OnRefused::named(""), OnRefused::named("skip")), (Some(OnRefused::Hold), None));
    }
}
