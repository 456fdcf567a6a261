//! What a task shows of itself, kept by its thread and read by the API at any time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::domain::Channel;
use crate::task::detail::TaskDetail;
use crate::task::engine::{ChannelPosition, Phase, TaskStatus};

/// Shared between the task's thread and whoever asks.
#[derive(Debug)]
pub(crate) struct Board {
    /// And when it was shown.
    status: Mutex<(TaskStatus, Instant)>,
    positions: Mutex<Vec<ChannelPosition>>,
    detail: Mutex<Arc<TaskDetail>>,
    /// When the checkpoint was written last.
    saved: Mutex<Option<Instant>>,
}

/// A thread that has shown nothing for so long hangs: it does so ten times a second.
const HANGS: Duration = Duration::from_secs(10);

impl Board {
    pub(super) fn new() -> Board {
        let status = TaskStatus {
            phase: Phase::Connecting,
            lag_ms: None,
            skipped: BTreeMap::new(),
            reason: None,
            source_log: None,
        };
        Board {
            status: Mutex::new((status, Instant::now())),
            positions: Mutex::new(Vec::new()),
            detail: Mutex::default(),
            saved: Mutex::new(None),
        }
    }

    /// The condition now. What nobody has renewed has grown older: the lag of a task that hangs grows.
    pub(crate) fn status(&self) -> TaskStatus {
        self.status_at(Instant::now())
    }

    fn status_at(&self, now: Instant) -> TaskStatus {
        let (mut status, shown) = self.status.lock().clone();
        let age = now.saturating_duration_since(shown);
        // A lag of exactly 0 says that nothing is followed.
        status.lag_ms = status.lag_ms.map(|lag| if lag == 0 { 0 } else { lag + age.as_millis() as u64 });
        if age > HANGS {
            if status.phase == Phase::Following {
                status.phase = Phase::CatchingUp;
            }
            let hangs =
                format!("the task's thread has not moved for {} s, which is a bug or a hanging disk", age.as_secs());
            status.reason = Some(status.reason.map_or(hangs.clone(), |reason| format!("{hangs}; {reason}")));
        }
        status
    }

    pub(crate) fn detail(&self) -> TaskDetail {
        let detail = TaskDetail::clone(&self.detail.lock().clone());
        TaskDetail { checkpoint_age: self.saved.lock().map(|at| at.elapsed()), ..detail }
    }

    pub(crate) fn positions(&self) -> Vec<ChannelPosition> {
        self.positions.lock().clone()
    }

    pub(super) fn show(&self, status: TaskStatus) {
        *self.status.lock() = (status, Instant::now());
    }

    pub(super) fn show_detail(&self, detail: TaskDetail) {
        *self.detail.lock() = Arc::new(detail);
    }

    /// The checkpoint has been written.
    pub(super) fn saved(&self) {
        *self.saved.lock() = Some(Instant::now());
    }

    pub(super) fn show_positions(&self, positions: Vec<ChannelPosition>) {
        *self.positions.lock() = positions;
    }
}

/// A gap in a channel's log while nobody tells where the log ends.
#[derive(Debug)]
pub(super) struct OpenGap {
    /// Of the reading that has met it.
    pub(super) epoch: u64,
    pub(super) why: String,
    /// When it was looked at last.
    pub(super) at: Instant,
}

/// What fails at the moment, by where.
#[derive(Debug, Default)]
pub(super) struct Troubles {
    /// Of the catalog watcher, which says itself when they are over.
    pub(super) catalog: Vec<String>,
    /// Of the log's reader, likewise.
    pub(super) log: Option<String>,
    /// Gaps that cannot be dealt with, by channel.
    pub(super) gaps: BTreeMap<Channel, OpenGap>,
    /// Of calls to the target: the last one, and when. Over when calls end well again.
    target: Option<(String, Instant)>,
    /// Of copies, by collection.
    pub(super) copies: BTreeMap<i64, String>,
    /// Of collections that cannot be taken in, by collection.
    pub(super) joins: BTreeMap<i64, String>,
    /// Of our own files.
    pub(super) disk: Option<String>,
}

/// A retried call reports again at the latest after its longest wait and its time limit; then it is not retried any more.
const TARGET_TROUBLE_LASTS: Duration = Duration::from_secs(40);

impl Troubles {
    pub(super) fn target_fails(&mut self, why: String) {
        self.target = Some((why, Instant::now()));
    }

    pub(super) fn target_works(&mut self) {
        self.target = None;
    }

    /// Everything that fails and is tried again.
    pub(super) fn retried(&self) -> Vec<String> {
        let target = self.target.iter().filter(|(_, at)| at.elapsed() < TARGET_TROUBLE_LASTS).map(|(why, _)| why);
        let all: BTreeSet<&String> = target
            .chain(&self.catalog)
            .chain(&self.log)
            .chain(self.gaps.values().map(|gap| &gap.why))
            .chain(&self.disk)
            .chain(self.copies.values())
            .chain(self.joins.values())
            .collect();
        all.into_iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(lag_ms: Option<u64>, ago: Duration) -> TaskStatus {
        let board = Board::new();
        board.show(TaskStatus {
            phase: Phase::Following,
            lag_ms,
            skipped: BTreeMap::new(),
            reason: Some("x".into()),
            source_log: None,
        });
        let shown = board.status.lock().1;
        board.status_at(shown + ago)
    }

    #[test]
    fn the_lag_of_a_task_that_hangs_grows() {
        let fresh = shown(Some(300), Duration::ZERO);
        assert_eq!(fresh.lag_ms, Some(300));
        assert_eq!((fresh.phase, fresh.reason.as_deref()), (Phase::Following, Some("x")));
        let hanging = shown(Some(300), Duration::from_secs(60));
        assert_eq!(hanging.lag_ms, Some(60_300));
        assert_eq!(hanging.phase, Phase::CatchingUp);
        assert!(hanging.reason.unwrap().starts_with("the task's thread has not moved for 60 s"));
    }

    #[test]
    fn nothing_followed_and_nothing_known_stay_so() {
        assert_eq!(shown(Some(0), Duration::from_secs(3)).lag_ms, Some(0));
        assert_eq!(shown(None, Duration::from_secs(3)).lag_ms, None);
    }
}
