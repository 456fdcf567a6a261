//! What one backfill is asked to do, and what it reports.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Sender;

use crate::domain::{Channel, CollectionId, CollectionName, Position, Timestamp};
use crate::pipeline::WritableCollection;
use crate::source::Start;

/// One collection whose rows are read and written to the target.
#[derive(Debug, Clone)]
pub(crate) struct BackfillJob {
    pub(crate) info: Arc<WritableCollection>,
    /// Database and name at the source.
    pub(crate) source: CollectionName,
    /// What its rows are compared with.
    pub(crate) against: Against,
    /// What becomes of rows that only the target has.
    pub(crate) surplus: SurplusRows,
    /// It was on the target before the task: others may write to it.
    pub(crate) adopted: bool,
    /// Keys and digests of what is on the target afterwards are kept in a file, for the next rescan to compare with.
    pub(crate) keeps_state: bool,
    /// The rescan is skipped when the source still counts this many rows.
    pub(crate) unless_count: Option<u64>,
}

impl BackfillJob {
    /// A key that is not known to be on the target is certainly not there.
    pub(crate) fn is_alone(&self) -> bool {
        !self.adopted && self.against != Against::Target
    }

    /// Keys that the target holds more than once are to be there once. Only counting tells, and only page by page:
    /// other rows may be missing, and the source may grow.
    pub(crate) fn undoubles(&self) -> bool {
        self.surplus == SurplusRows::Remove && self.against == Against::Target
    }
}

/// What becomes of rows that only the target has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SurplusRows {
    /// They are left there and counted.
    Keep,
    /// They are removed.
    Remove,
}

/// What the source's rows are compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Against {
    /// The target has none.
    Nothing,
    /// The target's own rows.
    Target,
    /// What the last rescan left.
    State,
}

/// What a backfill reports.
#[derive(Debug)]
pub(crate) enum BackfillEvent {
    /// The first page is about to be read: asks where the replay will start. Dropping the sender says that there is
    /// no answer now.
    Began(CollectionId, Sender<BTreeMap<Channel, Start>>),
    /// The collection cannot be read yet: why.
    Waiting(CollectionId, String),
    /// A call failed and is tried again.
    Retrying(CollectionId, String),
    /// The number of rows to copy, as far as the source can tell.
    Counted(CollectionId, u64),
    /// The number of rows done.
    Progress(CollectionId, u64),
    /// The backfill is over.
    Ended(CollectionId, BackfillOutcome),
}

impl BackfillEvent {
    pub(crate) fn collection(&self) -> CollectionId {
        match self {
            BackfillEvent::Began(id, _)
            | BackfillEvent::Waiting(id, _)
            | BackfillEvent::Retrying(id, _)
            | BackfillEvent::Counted(id, _)
            | BackfillEvent::Progress(id, _)
            | BackfillEvent::Ended(id, _) => *id,
        }
    }

    pub(crate) fn has_ended(&self) -> bool {
        matches!(self, BackfillEvent::Ended(..))
    }
}

/// How a backfill ended.
#[derive(Debug)]
pub(crate) enum BackfillOutcome {
    /// All rows are there.
    Done(BackfillDone),
    /// The row count had not changed, so nothing was read.
    Unchanged,
    /// It was cancelled, or the collection is gone.
    Cancelled,
    /// The file of what is on the target cannot be used: why.
    StateLost(String),
    /// It cannot be done: why.
    Hopeless(String),
}

impl BackfillOutcome {
    /// A word for metrics.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            BackfillOutcome::Done(_) => "done",
            BackfillOutcome::Unchanged => "unchanged",
            BackfillOutcome::StateLost(_) => "state_lost",
            BackfillOutcome::Cancelled => "cancelled",
            BackfillOutcome::Hopeless(_) => "failed",
        }
    }
}

/// A complete backfill.
#[derive(Debug)]
pub(crate) struct BackfillDone {
    /// What the rows were compared with.
    pub(crate) against: Against,
    /// The source's rows.
    pub(crate) rows: u64,
    /// Rows that only the target has.
    pub(crate) extra: u64,
    /// Everything acknowledged at the source before this moment was seen.
    pub(crate) began: Timestamp,
    /// How long the last attempt took.
    pub(crate) took: Duration,
    /// By channel, the stretch of the log that may hold the same rows.
    pub(crate) spans: BTreeMap<Channel, Span>,
    /// The source's own count, where it was asked.
    pub(crate) count: Option<u64>,
    /// What the last attempt changed on the target.
    pub(crate) changes: RowChanges,
}

/// The stretch of a channel that a backfill may or may not have seen.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    /// Before the backfill began.
    pub(crate) start: Start,
    /// The last message when the backfill had ended; every row that it saw stands at or before it.
    pub(crate) until: Option<Position>,
}

/// Rows that one attempt has changed on the target.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct RowChanges {
    pub(crate) written: u64,
    pub(crate) removed: u64,
}
