//! What a task shows of itself, kept by its thread and read by the API at any time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::task::engine::{ChannelPosition, Phase, TaskStatus};

/// Shared between the task's thread and whoever asks.
#[derive(Debug)]
pub(crate) struct Board {
    status: Mutex<TaskStatus>,
    positions: Mutex<Vec<ChannelPosition>>,
}

impl Board {
    pub(super) fn new() -> Board {
        let status = TaskStatus {
            phase: Phase::Connecting,
            lag_ms: None,
            skipped: BTreeMap::new(),
            reason: None,
            source_log: None,
        };
        Board { status: Mutex::new(status), positions: Mutex::new(Vec::new()) }
    }

    pub(crate) fn status(&self) -> TaskStatus {
        self.status.lock().clone()
    }

    pub(crate) fn positions(&self) -> Vec<ChannelPosition> {
        self.positions.lock().clone()
    }

    pub(super) fn show(&self, status: TaskStatus) {
        *self.status.lock() = status;
    }

    pub(super) fn show_positions(&self, positions: Vec<ChannelPosition>) {
        *self.positions.lock() = positions;
    }
}

/// What fails at the moment, by where.
#[derive(Debug, Default)]
pub(super) struct Troubles {
    /// Of the catalog watcher, which says itself when they are over.
    pub(super) catalog: Vec<String>,
    /// Of the log's reader, likewise.
    pub(super) log: Option<String>,
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
            .chain(&self.disk)
            .chain(self.copies.values())
            .chain(self.joins.values())
            .collect();
        all.into_iter().cloned().collect()
    }
}
