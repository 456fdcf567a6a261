/*!
The engine that runs tasks against real servers.
*/

mod opposite;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;

use crate::catalog::{LogMarks, OppositeFinding, OppositeServers, ask_opposite, drop_marks};
use crate::config::{Address, Config, SourceConfig};
use crate::domain::{LogKind, SourceSite, TaskId, Timestamp};
use crate::manager::engine::{
    AdmissionReport, Engine, EngineError, NoOpposite, Refusal, ReverseTask, SourceSighting, TaskHandle,
};
use crate::milvus::capabilities::Support;
use crate::milvus::same_server::{are_told_apart, is_source_itself, meet};
use crate::milvus::{CallContext, Cancel, Capabilities, Client, ConnectOptions, ServerDescription};
use crate::preflight::{CheckExtent, PreflightReport, PreflightRequest, RecoveryQuestion};
use crate::replication::{LostWritesFiles, ReplicationSetup, RunEnd, RunningTask, load_checkpoint, replicate};
use crate::sink::RefusedRowsFile;
use crate::source::log_settings;
use crate::storage::{disk, task_folder};
use crate::task::collection_request::{CollectionOutcome, CollectionRefused, CollectionWish};
use crate::task::detail::TaskDetail;
use crate::task::drops::{DropDecision, HeldDrop, SetAside};
use crate::task::failback::{LostLines, LostWrites, LostWritesError};
use crate::task::history::History;
use crate::task::refused_rows::{RefusedRow, RefusedRowsDecision, RefusedRowsError, StoredRefusedRows};
use crate::task::role::Mandate;
use crate::task::spec::{TargetSpec, TaskSpec};
use crate::task::status::{ChannelPosition, TaskEvent, TaskStatus};
use crate::task::switchover::Stillness;
use crate::verify::{VerifyRefused, VerifyRequest, VerifyView};
use crate::{catalog, milvus, preflight, source};

/// The file of a task's events in its folder.
const EVENTS: &str = "events.jsonl";

/// How much of a list of lost writes one answer has, about.
const LOST_LINES_BYTES: usize = 1 << 20;

/// Runs tasks between the configured source and their targets.
#[derive(Debug)]
pub struct Runner {
    config: Arc<Config>,
}

impl Runner {
    /// An engine that replicates from this configuration's source.
    pub fn new(config: Arc<Config>) -> Self {
        Runner { config }
    }

    /// The folder of a task's files.
    fn folder(&self, id: &TaskId) -> PathBuf {
        task_folder::of(&self.config.data_dir, id)
    }

    /// The site that a task replicates from.
    fn site(&self, site: &SourceSite) -> Result<&SourceConfig, UnknownPeer> {
        self.config.site(site).ok_or_else(|| UnknownPeer(site.clone()))
    }

    /// The source; `None` when it does not answer: the task will wait for it.
    fn source(&self, site: &SourceConfig) -> Option<Arc<Client>> {
        let source = Client::open(&ConnectOptions::from(&site.endpoint)).ok()?;
        source.connect(&Cancel::default()).ok()?;
        Some(Arc::new(source))
    }

    /// The source's address, if the target is the source itself.
    fn source_behind(&self, site: &SourceConfig, [source, target]: [&Client; 2], spec: &TargetSpec) -> Option<String> {
        let addresses = [&site.endpoint.address, spec.address()];
        let context = CallContext { timeout: spec.endpoint().connect_timeout, cancel: Cancel::default() };
        let is_itself = is_source_itself([source, target], addresses, &context);
        // Looked at again when the task starts.
        let is_itself = is_itself.inspect_err(|error| log::warn!("{error}")).unwrap_or(false);
        is_itself.then(|| source.address().to_owned())
    }

    /// Why a task in the opposite direction would be sent its own rows. `None` also when the source keeps marks: then
    /// it is found out when the task starts.
    fn opposite_without_marks(&self, site: &SourceConfig, servers: OppositeServers) -> Option<String> {
        let is_dropped = drop_marks([&servers.source, &servers.target], &servers.call).ok()?;
        let marks = log_settings(site).wanted.map_or(LogMarks::Kept, LogMarks::of);
        if marks == LogMarks::Kept && !is_dropped {
            return None;
        }
        match ask_opposite(servers, LogMarks::Dropped, Vec::new) {
            Ok(OppositeFinding::Unprotected(why)) => Some(why),
            Ok(OppositeFinding::Nobody | OppositeFinding::Unasked(_) | OppositeFinding::Protected) => None,
            Err(error) => {
                log::warn!("whether a task replicates in the opposite direction is not known: {error}");
                None
            }
        }
    }
}

/// The configuration lacks a peer that a task names.
#[derive(Debug, thiserror::Error)]
#[error("the configuration has no peer `{0}`, which the task replicates from: add it to `peers` again")]
struct UnknownPeer(SourceSite);

/// A client of a target that answers.
fn connect(target: &TargetSpec) -> Result<Client, milvus::Error> {
    let client = Client::open(&ConnectOptions::from(target.endpoint()))?;
    client.connect(&Cancel::default())?;
    Ok(client)
}

/// How long a `create` may look at the source's collections to find what a user should know.
const REVIEW_TIME: Duration = Duration::from_secs(3);

fn refuse_too_old(side: &'static str, client: &Client, told: &ServerDescription) -> Result<(), Refusal> {
    match Capabilities::of(&told.version).support {
        Support::Tested | Support::Untested => Ok(()),
        Support::TooOld => Err(Refusal::TooOld {
            side,
            address: client.address().to_owned(),
            version: told.version.to_string(),
            needed: Capabilities::OLDEST.to_string(),
        }),
    }
}

/// The addresses of the `existing` targets that lead to the same server. `client` opens the connection to this target
/// when the first address needs it. Where a server does not answer, equal addresses count as one server.
fn aliases(
    target: &TargetSpec,
    existing: &[Arc<TaskSpec>],
    client: impl FnOnce() -> Option<Arc<Client>>,
) -> Vec<Address> {
    let candidates = existing.iter().map(|task| &task.target);
    let candidates: Vec<_> = candidates.filter(|other| meet([target.address(), other.address()])).collect();
    if candidates.is_empty() {
        return Vec::new();
    }
    let context = CallContext { timeout: target.endpoint().connect_timeout, cancel: Cancel::default() };
    let client = client();
    let are_one = |other: &&TargetSpec| match (&client, connect(other).ok()) {
        (Some(client), Some(other)) => !are_told_apart([client.as_ref(), &other], &context),
        _ => true,
    };
    candidates.into_iter().filter(are_one).map(|other| other.address().clone()).collect()
}

impl Engine for Runner {
    fn admit(&self, spec: &TaskSpec, existing: &[Arc<TaskSpec>]) -> Result<AdmissionReport, Refusal> {
        let target = &spec.target;
        let unreachable = |error: milvus::Error| Refusal::Unreachable(error.into());
        let client = Arc::new(connect(target).map_err(unreachable)?);
        let context = CallContext { timeout: target.endpoint().connect_timeout, cancel: Cancel::default() };
        if client.lacks_time_ticks(&context).map_err(unreachable)? {
            return Err(Refusal::NoTimeTicks { target: client.address().to_owned() });
        }
        let told = client.describe_server(&context).map_err(unreachable)?;
        refuse_too_old("target", &client, &told)?;
        let mut warnings = Vec::new();
        let site = self.site(&spec.source).map_err(|error| Refusal::UnknownPeer(error.to_string()))?;
        if let Some(source) = self.source(site) {
            let answered = source.describe_server(&context);
            if let Ok(told) = answered {
                refuse_too_old("source", &source, &told)?;
            }
            if let Some(origin) = self.source_behind(site, [&source, &client], target) {
                return Err(Refusal::IsSource { target: client.address().to_owned(), origin });
            }
            if let Some(why) = source::denied(&log_settings(site), &source, &Cancel::default()) {
                return Err(Refusal::LogDenied(why));
            }
            let (call, target) = (context.clone(), Arc::clone(&client));
            let servers = OppositeServers { source: Arc::clone(&source), target, call };
            if let Some(why) = self.opposite_without_marks(site, servers) {
                return Err(Refusal::Unprotected(why));
            }
            let until = Instant::now() + REVIEW_TIME;
            let warning = preflight::promotion_warning(&source, &told, &spec.scope, &context, until);
            // `check` says it, too, and what fails.
            warnings.extend(warning.inspect_err(|error| log::debug!("{error}")).unwrap_or_default());
        }
        Ok(AdmissionReport { aliases: aliases(target, existing, || Some(client)), warnings })
    }

    fn aliases(&self, target: &TargetSpec, existing: &[Arc<TaskSpec>]) -> Vec<Address> {
        aliases(target, existing, || connect(target).ok().map(Arc::new))
    }

    fn check(&self, spec: &TaskSpec, pause: Duration, extent: CheckExtent) -> PreflightReport {
        let recovery = RecoveryQuestion { spec, sites: &self.config };
        let recovery = (extent == CheckExtent::Recovery).then_some(recovery);
        let TaskSpec { target, scope, mapping, .. } = spec;
        let question = PreflightRequest { target: Some(target), scope, mapping, pause, recovery };
        match self.site(&spec.source) {
            Ok(site) => preflight::check(&self.config.as_of(site), question),
            Err(error) => {
                let mut report = PreflightReport::default();
                report.problem("source", error.to_string(), "add the peer to the configuration, and start anew");
                report
            }
        }
    }

    fn look_at_source(&self, spec: &TaskSpec) -> SourceSighting {
        match self.site(&spec.source) {
            Ok(site) => {
                SourceSighting { address: site.endpoint.address.to_string(), answers: self.source(site).is_some() }
            }
            Err(unknown) => SourceSighting { address: unknown.0.to_string(), answers: false },
        }
    }

    fn opposite_of(&self, id: &TaskId, spec: &TaskSpec) -> Result<TaskSpec, NoOpposite> {
        self.opposite(id, spec)
    }

    fn reversed(&self, id: &TaskId, spec: &TaskSpec) -> Result<ReverseTask, NoOpposite> {
        // The user has decided about what only the old primary has.
        let spec = TaskSpec { prune: true, ..self.reversed_spec(spec)? };
        Ok(ReverseTask { id: id.reversed(), spec })
    }

    fn start(
        &self,
        id: &TaskId,
        spec: &TaskSpec,
        mandate: Mandate,
        events: Sender<TaskEvent>,
        history: Arc<History>,
    ) -> Result<Box<dyn TaskHandle>, EngineError> {
        let site = self.site(&spec.source).map_err(|error| EngineError::State(error.into()))?;
        let log = log_settings(site);
        log.candidates().map_err(|error| EngineError::State(error.into()))?;
        let setup = ReplicationSetup {
            task: id.as_str().into(),
            spec: spec.clone(),
            source: ConnectOptions::from(&site.endpoint),
            target: ConnectOptions::from(spec.target.endpoint()),
            log,
            scan_interval: site.scan_interval,
            release_after: site.release_after,
            replicate_channel: site.replicate_channel.clone(),
            data_dir: self.config.data_dir.clone(),
            folder: self.folder(id),
            mandate,
            source_address: site.endpoint.address.clone(),
            history,
        };
        let stopped = id.clone();
        let on_end = move |end| {
            let event = match end {
                RunEnd::Failed(reason) => TaskEvent::Stopped { id: stopped, reason },
                RunEnd::Drained(report) => TaskEvent::Drained { id: stopped, epoch: mandate.epoch, report },
                RunEnd::FailbackStep(writes) => TaskEvent::FailbackStep { id: stopped, epoch: mandate.epoch, writes },
            };
            // The receiver is gone when the manager has ended.
            let _ = events.send(event);
        };
        let following = replicate(setup, on_end).map_err(|error| EngineError::State(error.into()))?;
        Ok(Box::new(following))
    }

    fn forget(&self, id: &TaskId, source: &SourceSite) -> Result<(), EngineError> {
        let folder = self.folder(id);
        let left = match self.site(source) {
            Ok(site) => source::forget(&log_settings(site), &folder).err(),
            Err(unknown) => Some(format!("{unknown}; what the task has left at its log stays there")),
        };
        if let Some(left) = left {
            log::error!(task:% = id; "{left}");
        }
        catalog::remember_made(&self.config.data_dir, &folder);
        task_folder::remove(&folder).map_err(|source| EngineError::Folder { path: folder, source })
    }

    fn keep(&self, id: &TaskId, history: &History) {
        let folder = self.folder(id);
        match disk::create_folders(&folder) {
            Ok(()) => history.keep_in(&folder.join(EVENTS)),
            Err(error) => {
                log::warn!(task:% = id; "events are not persisted: {}: {error}", folder.display())
            }
        }
    }

    fn stored_positions(&self, id: &TaskId) -> Vec<ChannelPosition> {
        let Ok(Some(checkpoint)) = load_checkpoint(&self.folder(id)) else { return Vec::new() };
        let Some(kind) = LogKind::named(&checkpoint.log) else { return Vec::new() };
        let shown = |(channel, record): (&String, &crate::replication::ChannelRecord)| {
            Some(ChannelPosition {
                channel: channel.clone(),
                message_id: source::message_id(kind, record.position?.into()),
                time_tick: record.time_tick,
            })
        };
        checkpoint.channels.iter().filter_map(shown).collect()
    }

    fn stored_refused_rows(&self, id: &TaskId) -> Result<StoredRefusedRows, RefusedRowsError> {
        let file = RefusedRowsFile::open(&self.folder(id));
        let file = file.map_err(|error| RefusedRowsError::Files(error.to_string()))?;
        Ok(StoredRefusedRows { rows: file.rows(), amount: file.amount() })
    }

    fn lost_writes(&self, id: &TaskId) -> Result<Option<LostWrites>, LostWritesError> {
        LostWritesFiles::of(&self.folder(id)).load().map_err(|error| LostWritesError(error.to_string()))
    }

    fn lost_lines(&self, id: &TaskId, from: u64) -> Result<LostLines, LostWritesError> {
        let page = LostWritesFiles::of(&self.folder(id)).page(from, LOST_LINES_BYTES);
        page.map_err(|error| LostWritesError(error.to_string()))
    }
}

impl TaskHandle for RunningTask {
    fn status(&self) -> TaskStatus {
        RunningTask::status(self)
    }

    fn detail(&self) -> TaskDetail {
        RunningTask::detail(self)
    }

    fn last_sign_of_life(&self) -> Option<Timestamp> {
        RunningTask::last_sign_of_life(self)
    }

    fn stillness(&self) -> Stillness {
        RunningTask::stillness(self)
    }

    fn positions(&self) -> Vec<ChannelPosition> {
        RunningTask::positions(self)
    }

    fn held_drops(&self) -> Vec<HeldDrop> {
        RunningTask::held_drops(self)
    }

    fn decide_drops(&self, decision: DropDecision) -> Vec<HeldDrop> {
        RunningTask::decide_drops(self, decision)
    }

    fn refused_rows(&self) -> Vec<RefusedRow> {
        RunningTask::refused_rows(self)
    }

    fn decide_refused_rows(&self, decision: RefusedRowsDecision) -> Result<Vec<RefusedRow>, RefusedRowsError> {
        RunningTask::decide_refused_rows(self, decision)
    }

    fn change_collection(
        &self,
        collection: &str,
        wish: CollectionWish,
    ) -> Result<CollectionOutcome, CollectionRefused> {
        RunningTask::change_collection(self, collection, wish)
    }

    fn set_aside(&self) -> Vec<SetAside> {
        RunningTask::set_aside(self)
    }

    fn verify(&self, request: VerifyRequest) -> Result<(), VerifyRefused> {
        RunningTask::verify(self, request)
    }

    fn verification(&self) -> Option<VerifyView> {
        RunningTask::verification(self)
    }

    fn cancel_verification(&self) {
        RunningTask::cancel_verification(self);
    }

    fn stop(&self, deadline: Instant) {
        RunningTask::stop(self, deadline);
    }
}
