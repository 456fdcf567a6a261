//! Comparing and repairing a running task: what stands between the API and the comparison's own thread.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Sender, bounded};
use parking_lot::Mutex;

use super::event::RepairOrder;
use super::setup::ReplicationSetup;
use super::status_board::StatusBoard;
use crate::milvus::{Cancel, Client, ConnectOptions};
use crate::task::spec::TaskSpec;
use crate::verify::{Verification, VerifyRefused, VerifyRequest, VerifySetup, VerifyView};

/// Starts comparisons; at most one runs.
pub(super) struct VerifyControl {
    task: String,
    spec: TaskSpec,
    source: ConnectOptions,
    target: ConnectOptions,
    scan_interval: Duration,
    board: Arc<StatusBoard>,
    cancel: Cancel,
    repairs: Sender<RepairOrder>,
    current: Mutex<Option<Verification>>,
}

impl VerifyControl {
    pub(super) fn new(
        setup: &ReplicationSetup,
        board: &Arc<StatusBoard>,
        cancel: &Cancel,
        repairs: Sender<RepairOrder>,
    ) -> VerifyControl {
        VerifyControl {
            task: setup.task.clone(),
            spec: setup.spec.clone(),
            source: setup.source.clone(),
            target: setup.target.clone(),
            scan_interval: setup.scan_interval,
            board: Arc::clone(board),
            cancel: cancel.clone(),
            repairs,
            current: Mutex::new(None),
        }
    }

    pub(super) fn start(&self, request: VerifyRequest) -> Result<(), VerifyRefused> {
        let mut current = self.current.lock();
        if current.as_ref().is_some_and(Verification::is_running) {
            return Err(VerifyRefused::Running);
        }
        let open = |endpoint| Client::open(endpoint).map_err(|error| VerifyRefused::Connection(error.to_string()));
        let (board, progress) = (Arc::clone(&self.board), Arc::clone(&self.board));
        let repairs = self.repairs.clone();
        let setup = VerifySetup {
            task: self.task.clone(),
            source: open(&self.source)?,
            target: open(&self.target)?,
            scope: self.spec.scope.clone(),
            mapping: self.spec.mapping.clone(),
            ignore_partitions: self.spec.target.given().ignore_partition,
            load: self.spec.load,
            scan_interval: self.scan_interval,
            source_time: Arc::clone(board.source_time()),
            status: Box::new(move || board.status()),
            reached: Box::new(move || progress.reached()),
            repair: Box::new(move |collections| {
                let (done, waiting) = bounded(0);
                // A task that has ended may leave it in the channel: its cancel ends the waiting then.
                let _ = repairs.send(RepairOrder { collections, done });
                waiting
            }),
            cancel: self.cancel.clone(),
        };
        *current = Some(Verification::start(setup, request)?);
        Ok(())
    }

    pub(super) fn view(&self) -> Option<VerifyView> {
        self.current.lock().as_ref().map(Verification::view)
    }

    pub(super) fn cancel(&self) {
        if let Some(current) = self.current.lock().as_ref() {
            current.cancel();
        }
    }

    /// Ends what runs and waits for its thread.
    pub(super) fn end(&self) {
        drop(self.current.lock().take());
    }
}
