//! What a task shows of itself, kept by its thread and read by the API at any time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::domain::Timestamp;
use crate::milvus::{KnownServer, SourceTime};
use crate::task::detail::{ServersDetail, TaskDetail};
use crate::task::status::{ChannelPosition, Phase, TaskStatus};
use crate::task::switchover::Stillness;

/// Shared between the task's thread and whoever asks.
#[derive(Debug)]
pub(crate) struct StatusBoard {
    status: Mutex<ShownStatus>,
    positions: Mutex<Vec<ChannelPosition>>,
    detail: Mutex<Arc<TaskDetail>>,
    /// When the checkpoint was written last.
    saved: Mutex<Option<Instant>>,
    /// How far the target is, and when users changed the source last.
    still: Mutex<Stillness>,
    source_time: Arc<SourceTime>,
    servers: Mutex<Option<ServerPair>>,
}

/// What is known of the servers on both sides.
#[derive(Debug, Clone)]
pub(super) struct ServerPair {
    pub(super) source: Arc<KnownServer>,
    pub(super) target: Arc<KnownServer>,
}

#[derive(Debug, Clone)]
struct ShownStatus {
    status: TaskStatus,
    at: Instant,
}

/// A thread that has shown nothing for so long hangs: it does so ten times a second.
const HANGS: Duration = Duration::from_secs(10);

impl StatusBoard {
    pub(super) fn new() -> StatusBoard {
        let status = TaskStatus {
            phase: Phase::Connecting,
            lag_ms: None,
            followed: Phase::Connecting,
            collections: None,
            skipped: BTreeMap::new(),
            reason: None,
            source_log: None,
        };
        StatusBoard {
            status: Mutex::new(ShownStatus { status, at: Instant::now() }),
            positions: Mutex::new(Vec::new()),
            detail: Mutex::default(),
            saved: Mutex::new(None),
            still: Mutex::default(),
            source_time: Arc::default(),
            servers: Mutex::default(),
        }
    }

    /// The condition now. What nobody has renewed has grown older: the lag of a task that hangs grows.
    pub(crate) fn status(&self) -> TaskStatus {
        self.status_at(Instant::now())
    }

    fn status_at(&self, now: Instant) -> TaskStatus {
        let ShownStatus { mut status, at } = self.status.lock().clone();
        let age = now.saturating_duration_since(at);
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
        let clock_skew_ms = self.source_time.skew().map(|skew| skew.ms);
        let checkpoint_age = self.saved.lock().map(|at| at.elapsed());
        TaskDetail { checkpoint_age, clock_skew_ms, servers: self.servers(), ..detail }
    }

    fn servers(&self) -> ServersDetail {
        let Some(known) = self.servers.lock().clone() else { return ServersDetail::default() };
        ServersDetail { source: known.source.last(), target: known.target.last() }
    }

    /// Shows from now on which servers these are.
    pub(super) fn show_servers(&self, servers: ServerPair) {
        *self.servers.lock() = Some(servers);
    }

    pub(crate) fn positions(&self) -> Vec<ChannelPosition> {
        self.positions.lock().clone()
    }

    pub(super) fn show(&self, status: TaskStatus) {
        *self.status.lock() = ShownStatus { status, at: Instant::now() };
    }

    pub(super) fn show_detail(&self, detail: TaskDetail) {
        *self.detail.lock() = Arc::new(detail);
    }

    /// The source's time.
    pub(super) fn source_time(&self) -> &Arc<SourceTime> {
        &self.source_time
    }

    /// Everything that the source acknowledged up to here, in the time that the lag is counted in, is on the target.
    pub(super) fn reached(&self) -> Option<Timestamp> {
        self.stillness().applied
    }

    pub(super) fn stillness(&self) -> Stillness {
        *self.still.lock()
    }

    pub(super) fn show_stillness(&self, still: Stillness) {
        *self.still.lock() = still;
    }

    /// The checkpoint has been written.
    pub(super) fn saved(&self) {
        *self.saved.lock() = Some(Instant::now());
    }

    pub(super) fn show_positions(&self, positions: Vec<ChannelPosition>) {
        *self.positions.lock() = positions;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(lag_ms: Option<u64>, ago: Duration) -> TaskStatus {
        let board = StatusBoard::new();
        board.show(TaskStatus {
            phase: Phase::Following,
            lag_ms,
            followed: Phase::Following,
            collections: None,
            skipped: BTreeMap::new(),
            reason: Some("x".into()),
            source_log: None,
        });
        let shown = board.status.lock().at;
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
