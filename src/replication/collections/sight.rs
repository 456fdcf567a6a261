//! What can be told of one collection's state, for tests of the state machine.

use std::time::Instant;

use super::{CollectionState, Collections};
use crate::domain::CollectionId;
pub(in crate::replication) use crate::replication::held::Reasons;
use crate::replication::row_source::RowSource;

/// Where a collection's rows come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::replication) enum Rows {
    /// The task does not have it.
    Nowhere,
    Joining,
    Log,
    Copy,
    Scan,
}

/// What a thread does about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::replication) enum Running {
    Nothing,
    /// It is looked at again later.
    Waits,
    Backfill,
    /// A backfill that was told to give up.
    Cancelled,
    /// A backfill that was told to give up and is of no use, however it ends.
    Void,
}

/// One collection's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::replication) struct Sight {
    pub(in crate::replication) rows: Rows,
    /// The catalog has described it in this run.
    pub(in crate::replication) described: bool,
    /// The catalog changes it, or holds it.
    pub(in crate::replication) blocked: bool,
    /// It is held or paused, or was until a moment ago and waits for the catalog to describe it.
    pub(in crate::replication) stands: bool,
    pub(in crate::replication) reasons: Reasons,
    pub(in crate::replication) running: Running,
    /// The answer to the log's last question about it counts.
    pub(in crate::replication) awaits: bool,
    /// Where the log stood when its backfill began is known.
    pub(in crate::replication) begun: bool,
}

impl Collections {
    /// `question`: to the log, about where the collection begins; 0: none.
    pub(in crate::replication) fn sight(&self, id: CollectionId, question: u64, now: Instant) -> Sight {
        let state = self.by_id.get(&id);
        let rows = match state.map(|state| state.rows()) {
            None => Rows::Nowhere,
            Some(None) => Rows::Joining,
            Some(Some(RowSource::Streaming(_))) => Rows::Log,
            Some(Some(RowSource::Backfill { .. })) => Rows::Copy,
            Some(Some(RowSource::Rescan)) => Rows::Scan,
        };
        let queue = self.backfills.queue();
        let running = match queue.is_running(id) {
            false if queue.is_active(id) => Running::Waits,
            false => Running::Nothing,
            true if self.backfills.is_void(id) => Running::Void,
            true if queue.is_cancelled(id) => Running::Cancelled,
            true => Running::Backfill,
        };
        Sight {
            rows,
            described: state.is_some_and(|state| state.ready().is_some()),
            blocked: state.is_some_and(CollectionState::is_blocked),
            stands: state.is_some_and(CollectionState::stands),
            reasons: self.held.reasons(id, now),
            running,
            awaits: state.is_some_and(|state| state.awaits(question)),
            begun: state.and_then(|state| state.backfill_starts()).is_some_and(|begun| !begun.is_empty()),
        }
    }

    /// Whether rows of the collection may be written: from the log, or by a backfill that is queued or with a thread.
    pub(in crate::replication) fn is_active(&self, id: CollectionId) -> bool {
        self.applicable(id).is_some() || self.backfills.queue().is_active(id)
    }
}
