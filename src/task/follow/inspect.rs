//! Comparing and repairing a running task: what stands between the API and the comparison's own thread.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use parking_lot::Mutex;

use super::core::Core;
use super::members::Rows;
use super::setup::FollowSetup;
use super::status::Board;
use crate::catalog::Hint;
use crate::domain::CollectionId;
use crate::milvus::{Cancel, Client, Endpoint};
use crate::task::spec::TaskSpec;
use crate::task::verify::{Verification, VerifyRefused, VerifyRequest, VerifySetup, VerifyView};

/// Collections (database and name at the source) to be made equal; whoever waits is told by `done` being dropped.
#[derive(Debug)]
pub(super) struct Repair {
    collections: Vec<(String, String)>,
    done: Sender<()>,
}

/// Repairs that wait for the task's thread.
const REPAIRS: usize = 4;

/// Starts comparisons; at most one runs.
pub(super) struct Inspector {
    task: String,
    spec: TaskSpec,
    source: Endpoint,
    target: Endpoint,
    scan_interval: Duration,
    board: Arc<Board>,
    cancel: Cancel,
    repairs: Sender<Repair>,
    current: Mutex<Option<Verification>>,
}

impl Inspector {
    pub(super) fn new(setup: &FollowSetup, board: &Arc<Board>, cancel: &Cancel) -> (Inspector, Receiver<Repair>) {
        let (repairs, receiver) = bounded(REPAIRS);
        let inspector = Inspector {
            task: setup.task.clone(),
            spec: setup.spec.clone(),
            source: setup.source.clone(),
            target: setup.target.clone(),
            scan_interval: setup.scan_interval,
            board: Arc::clone(board),
            cancel: cancel.clone(),
            repairs,
            current: Mutex::new(None),
        };
        (inspector, receiver)
    }

    pub(super) fn start(&self, request: VerifyRequest) -> Result<(), VerifyRefused> {
        let mut current = self.current.lock();
        if current.as_ref().is_some_and(Verification::is_running) {
            return Err(VerifyRefused::Running);
        }
        let open = |endpoint| Client::open(endpoint).map_err(|error| VerifyRefused::Connection(error.to_string()));
        let (board, repairs) = (Arc::clone(&self.board), self.repairs.clone());
        let setup = VerifySetup {
            task: self.task.clone(),
            source: open(&self.source)?,
            target: open(&self.target)?,
            scope: self.spec.scope.clone(),
            mapping: self.spec.mapping.clone(),
            ignore_partitions: self.spec.target.given().ignore_partition,
            scan_interval: self.scan_interval,
            status: Box::new(move || board.status()),
            mender: Box::new(move |collections| {
                let (done, waiting) = bounded(0);
                // A task that has ended may leave it in the channel: its cancel ends the waiting then.
                let _ = repairs.send(Repair { collections, done });
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

impl Core {
    /// Compares collections with the source and mends them; the log is replayed over them afterwards, as over any copy.
    pub(super) fn on_repair(&mut self, repair: Repair) {
        let is_meant = |place: &(String, String)| repair.collections.contains(place);
        let meant: Vec<CollectionId> = self
            .members
            .iter()
            .filter(|(_, member)| member.ready.as_ref().is_some_and(|ready| is_meant(&ready.source)))
            .map(|(id, _)| id)
            .collect();
        for id in meant {
            self.watcher.hint(Hint::Afresh(id));
            if !matches!(self.members.get(id).map(|member| &member.rows), Some(Rows::Copying { .. }) | None) {
                self.copy_again(id, true);
            }
            self.repairs.entry(id).or_default().push(repair.done.clone());
        }
        self.write_checkpoint();
    }
}
