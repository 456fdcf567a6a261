//! FAKE: an engine that notes what it is asked to run, and compares that with the role on disk. Its drains, and the
//! steps of its failbacks, end at once.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use parking_lot::Mutex;

use crate::config::Address;
use crate::domain::{SourceSite, TaskId, Timestamp};
use crate::manager::engine::{
    AdmissionReport, Engine, EngineError, NoOpposite, Refusal, ReverseTask, SourceSighting, TaskHandle,
};
use crate::manager::overlap::testing::spec;
use crate::manager::store::{FileJournal, Journal};
use crate::preflight::{CheckExtent, PreflightReport};
use crate::task::collection_request::{CollectionOutcome, CollectionRefused, CollectionWish};
use crate::task::detail::TaskDetail;
use crate::task::drops::{DropDecision, HeldDrop, SetAside};
use crate::task::failback::{LostLines, LostWrites, LostWritesError};
use crate::task::failover::FailoverReport;
use crate::task::history::History;
use crate::task::refused_rows::{RefusedRow, RefusedRowsDecision, RefusedRowsError, StoredRefusedRows};
use crate::task::reverse::Irreversible;
use crate::task::role::{Errand, Mandate, RoleState};
use crate::task::spec::{TargetSpec, TaskSpec};
use crate::task::status::{ChannelPosition, Phase, TaskEvent, TaskStatus};
use crate::task::switchover::Stillness;
use crate::verify::{VerifyRefused, VerifyRequest, VerifyView};

pub(super) struct NotingEngine {
    pub(super) folder: PathBuf,
    pub(super) started: Mutex<Vec<Mandate>>,
    /// Runs that the role on disk did not call for.
    pub(super) unauthorised: Mutex<Vec<String>>,
    /// What every step of a failback comes to.
    pub(super) writes: Option<LostWrites>,
    /// Whether tasks have opposites.
    pub(super) is_reversible: bool,
    /// Whether sources answer.
    pub(super) source_answers: bool,
}

impl NotingEngine {
    /// An engine of one life.
    pub(super) fn of(folder: &Path, writes: Option<LostWrites>) -> NotingEngine {
        let (started, unauthorised) = Default::default();
        NotingEngine {
            folder: folder.to_owned(),
            started,
            unauthorised,
            writes,
            is_reversible: false,
            source_answers: false,
        }
    }
}

/// The role on disk of the task with this id; `None` without one.
pub(super) fn on_disk(folder: &Path, id: &str) -> Option<RoleState> {
    let tasks = FileJournal::open(folder).unwrap().tasks().unwrap();
    tasks.into_iter().find(|task| task.id.as_str() == id).map(|task| task.role)
}

impl Engine for NotingEngine {
    fn start(
        &self,
        id: &TaskId,
        _: &TaskSpec,
        mandate: Mandate,
        events: Sender<TaskEvent>,
        _: Arc<History>,
    ) -> Result<Box<dyn TaskHandle>, EngineError> {
        let called_for = on_disk(&self.folder, id.as_str()).and_then(|role| role.mandate());
        if called_for != Some(mandate) {
            self.unauthorised.lock().push(format!("{id}: {mandate:?} runs, and on disk is {called_for:?}"));
        }
        self.started.lock().push(mandate);
        if let Errand::Drain(_) = mandate.errand {
            let report = Box::new(FailoverReport { acknowledged_ms: Some(5), ..FailoverReport::default() });
            events.send(TaskEvent::Drained { id: id.clone(), epoch: mandate.epoch, report }).unwrap();
        }
        if let (Errand::FailBack(_), Some(writes)) = (mandate.errand, &self.writes) {
            let (epoch, writes) = (mandate.epoch, Box::new(writes.clone()));
            events.send(TaskEvent::FailbackStep { id: id.clone(), epoch, writes }).unwrap();
        }
        Ok(Box::new(NoRun { _events: events }))
    }

    fn admit(&self, _: &TaskSpec, _: &[Arc<TaskSpec>]) -> Result<AdmissionReport, Refusal> {
        Ok(AdmissionReport::default())
    }

    fn aliases(&self, _: &TargetSpec, _: &[Arc<TaskSpec>]) -> Vec<Address> {
        Vec::new()
    }

    fn check(&self, _: &TaskSpec, _: Duration, _: CheckExtent) -> PreflightReport {
        PreflightReport::default()
    }

    fn look_at_source(&self, _: &TaskSpec) -> SourceSighting {
        SourceSighting { address: "source:1".into(), answers: self.source_answers }
    }

    fn opposite_of(&self, id: &TaskId, spec: &TaskSpec) -> Result<TaskSpec, NoOpposite> {
        self.reversed(id, spec).map(|reversed| reversed.spec)
    }

    fn reversed(&self, id: &TaskId, of: &TaskSpec) -> Result<ReverseTask, NoOpposite> {
        let other = if of.target.address().to_string() == "t:1" { "http://s:1" } else { "http://t:1" };
        match self.is_reversible {
            true => Ok(ReverseTask { id: id.reversed(), spec: spec(other, "default", &["*"]) }),
            false => Err(Irreversible::UnknownSite("t:1".to_owned()).into()),
        }
    }

    fn forget(&self, _: &TaskId, _: &SourceSite) -> Result<(), EngineError> {
        Ok(())
    }

    fn keep(&self, _: &TaskId, _: &History) {}

    fn stored_refused_rows(&self, _: &TaskId) -> Result<StoredRefusedRows, RefusedRowsError> {
        Ok(StoredRefusedRows::default())
    }

    fn lost_writes(&self, _: &TaskId) -> Result<Option<LostWrites>, LostWritesError> {
        Ok(self.writes.clone())
    }

    fn lost_lines(&self, _: &TaskId, _: u64) -> Result<LostLines, LostWritesError> {
        unreachable!("{NOT_ASKED}")
    }

    fn stored_positions(&self, _: &TaskId) -> Vec<ChannelPosition> {
        Vec::new()
    }
}

/// A run that only has a beginning.
struct NoRun {
    /// While it lives, the run has not ended.
    _events: Sender<TaskEvent>,
}

const NOT_ASKED: &str = "nobody asks for this here";

impl TaskHandle for NoRun {
    fn status(&self) -> TaskStatus {
        let phase = Phase::Following;
        TaskStatus {
            phase,
            lag_ms: None,
            followed: phase,
            collections: None,
            skipped: Default::default(),
            reason: None,
            source_log: None,
        }
    }

    fn stillness(&self) -> Stillness {
        Stillness { applied: Some(Timestamp::now()), last_change: None }
    }

    fn last_sign_of_life(&self) -> Option<Timestamp> {
        None
    }

    fn stop(&self, _: Instant) {}

    fn detail(&self) -> TaskDetail {
        TaskDetail::default()
    }

    fn positions(&self) -> Vec<ChannelPosition> {
        unreachable!("{NOT_ASKED}")
    }

    fn held_drops(&self) -> Vec<HeldDrop> {
        Vec::new()
    }

    fn decide_drops(&self, _: DropDecision) -> Vec<HeldDrop> {
        unreachable!("{NOT_ASKED}")
    }

    fn refused_rows(&self) -> Vec<RefusedRow> {
        unreachable!("{NOT_ASKED}")
    }

    fn decide_refused_rows(&self, _: RefusedRowsDecision) -> Result<Vec<RefusedRow>, RefusedRowsError> {
        unreachable!("{NOT_ASKED}")
    }

    fn change_collection(&self, _: &str, _: CollectionWish) -> Result<CollectionOutcome, CollectionRefused> {
        unreachable!("{NOT_ASKED}")
    }

    fn set_aside(&self) -> Vec<SetAside> {
        unreachable!("{NOT_ASKED}")
    }

    fn verify(&self, _: VerifyRequest) -> Result<(), VerifyRefused> {
        unreachable!("{NOT_ASKED}")
    }

    fn verification(&self) -> Option<VerifyView> {
        unreachable!("{NOT_ASKED}")
    }

    fn cancel_verification(&self) {}
}
