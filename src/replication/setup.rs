//! Starting a task's threads, in the order in which they need each other.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::backfill::{Backfiller, SurplusRows};
use super::call_metrics::{CallMetrics, Side};
use super::channels::Channels;
use super::checkpoint::{self, Checkpoint};
use super::collections::Collections;
use super::effect::Effects;
use super::executor::{LiveExecutor, Threads, Wiring};
use super::health::Health;
use super::joins::Joins;
use super::log_asker::LogAsker;
use super::log_past::LogPast;
use super::owners::Owners;
use super::reconciliations::Reconciliations;
use super::requests_channel::RequestsChannel;
use super::setup_error::{SetupError, hopeless, passing};
use super::source_away::{self, SourcePresence};
use super::status_board::ServerPair;
use super::task_loop::TaskLoop;
use crate::catalog::{self, LogMarks, SourcePast, SourceRefused, TargetRefused, Vigil};
use crate::config::Address;
use crate::domain::{Channel, CollectionId, LogKind, Timestamp};
use crate::milvus::same_server::is_source_itself;
use crate::milvus::{CallContext, Cancel, Client, ConnectOptions, SourceTime};
use crate::sink::Pool;
use crate::source::{self, LogSettings, OpenError, OpenLog, Start, spawn_reader};
use crate::storage::disk;
use crate::task::history::History;
use crate::task::refused_rows::OnRefused;
use crate::task::role::{Errand, Mandate};
use crate::task::spec::TaskSpec;

/// What replicating needs.
pub(crate) struct ReplicationSetup {
    /// The task's name.
    pub(crate) task: String,
    /// What it is asked to do.
    pub(crate) spec: TaskSpec,
    /// Where the source is.
    pub(crate) source: ConnectOptions,
    /// Where the target is.
    pub(crate) target: ConnectOptions,
    /// The source's log.
    pub(crate) log: LogSettings,
    /// How often a source without a log is scanned.
    pub(crate) scan_interval: Duration,
    /// How long a release must last where the log shows no request.
    pub(crate) release_after: Duration,
    /// The source's channel of users' requests.
    pub(crate) replicate_channel: String,
    /// The folder of all tasks' files.
    pub(crate) data_dir: PathBuf,
    /// The task's own folder.
    pub(crate) folder: PathBuf,
    /// What lets the task apply rows.
    pub(crate) mandate: Mandate,
    /// The source's address as it was configured.
    pub(crate) source_address: Address,
    /// Is told what happens.
    pub(crate) history: Arc<History>,
}

/// A task that is ready to run, and its world.
pub(super) struct Assembly {
    pub(super) task: TaskLoop,
    pub(super) executor: LiveExecutor,
}

/// Makes the task's folder, where it is missing.
pub(super) fn make_folder(setup: &ReplicationSetup) -> Result<(), SetupError> {
    let failed = |error| SetupError::Passing(format!("{}: {error}", setup.folder.display()));
    disk::create_folders(&setup.folder).map_err(failed)
}

pub(super) fn assemble(setup: &ReplicationSetup, wiring: Wiring) -> Result<Assembly, SetupError> {
    make_folder(setup)?;
    let saved = checkpoint::load(&setup.folder).map_err(|error| hopeless(&error))?;
    if let Some(saved) = &saved {
        source_away::check_epoch(saved, setup.mandate.epoch, &setup.folder)?;
    }
    let (source, target) = clients(setup)?;
    // Before the log is opened: as long as the source is away, the folder of its log may be a half of what is being
    // restored, and would be read as one that never had more.
    let away = who_is_away(setup.mandate.errand, &source, &wiring.cancel);
    target.connect(&wiring.cancel).map_err(|error| passing(&error))?;
    name_servers(&wiring, [&source, &target], &away)?;
    // What was chosen once stays: positions of one log mean nothing to another.
    let before = saved.as_ref().and_then(|saved| LogKind::named(&saved.log));
    match &away {
        Some(AwaySource { silence, vigil }) if !before.is_some_and(LogKind::outlives_source) => {
            return Err(match vigil {
                Vigil::UntilItAnswers => SetupError::Passing(silence.clone()),
                Vigil::Never => SetupError::Log(format!("{silence}; its log ends with the source")),
            });
        }
        _ => {}
    }
    let settings = LogSettings { wanted: setup.log.wanted.or(before), ..setup.log.clone() };
    let opened = source::open(&settings, &source, &wiring.cancel, &setup.folder).map_err(|error| match &error {
        OpenError::Unconfigured(_) | OpenError::Unusable(_) => hopeless(&error),
        OpenError::Unreachable(_) => SetupError::Log(error.to_string()),
    })?;
    log::info!("reads the source's log by `{}`: {}", opened.kind.name(), opened.why);
    let mut saved = saved.unwrap_or_else(|| first_checkpoint(&setup.spec, opened.kind));
    if saved.log != opened.kind.name() {
        return Err(SetupError::Hopeless(format!(
            "the task has read the source's log by `{}` so far, and its positions mean nothing to `{}`: set \
             sourceConfig.log back, or delete the task and create it again (its rows are compared, none is doubled)",
            saved.log,
            opened.kind.name()
        )));
    }
    wiring.paused.set(saved.paused.keys().map(|id| CollectionId(*id)));
    let past = LogPast::ask(opened.log.as_ref(), &saved);
    let presence = match away {
        None => SourcePresence::Answers,
        Some(AwaySource { silence, vigil }) => {
            source_away::go_on_without(&silence, vigil, &setup.folder, &opened, &saved, past.past())?
        }
    };
    if past.past() == SourcePast::RolledBack {
        saved.keep_surplus_rows();
    }
    let known = past.past();
    recognise(setup, &wiring, (&opened, &mut saved), (known, &presence), [&source, &target])?;
    let past = Arc::new(Mutex::new(past));
    let threads = start_threads(setup, &wiring, (&opened, &presence), [source, target], &past)?;
    let task = task_loop(setup, &saved, (known, &opened), wiring.board.source_time());
    Ok(Assembly { task, executor: LiveExecutor::new(wiring, opened.log, past, threads) })
}

/// Clients of both sides, which have not connected yet.
pub(super) fn clients(setup: &ReplicationSetup) -> Result<(Arc<Client>, Arc<Client>), SetupError> {
    let open = |endpoint, side| {
        let client = Client::open(endpoint).map_err(|error| hopeless(&error))?;
        Ok(Arc::new(client.observed(CallMetrics::new(&setup.task, side))))
    };
    Ok((open(&setup.source, Side::Source)?, open(&setup.target, Side::Target)?))
}

/// Asks both servers which they are, to be shown and logged; a source that takes no part is not asked.
fn name_servers(
    wiring: &Wiring,
    [source, target]: [&Arc<Client>; 2],
    presence: &Option<AwaySource>,
) -> Result<(), SetupError> {
    let [known_source, known_target] = [source, target].map(|client| Arc::clone(client.known_server()));
    wiring.board.show_servers(ServerPair { source: known_source, target: known_target });
    let context = CallContext { timeout: RECOGNISE_TIMEOUT, cancel: wiring.cancel.clone() };
    let asked = [("source", source), ("target", target)];
    for (side, client) in asked.into_iter().skip(usize::from(presence.is_some())) {
        let told = client.describe_server(&context).map_err(|error| passing(&error))?;
        log::info!("the {side} {} is {told}", client.address());
    }
    Ok(())
}

/// A source that takes no part.
struct AwaySource {
    /// Why.
    silence: String,
    vigil: Vigil,
}

/// A source that is given up is not even asked.
fn who_is_away(errand: Errand, source: &Client, cancel: &Cancel) -> Option<AwaySource> {
    match errand {
        Errand::Follow | Errand::FailBack(_) => {
            let silence = source.connect(cancel).err()?.to_string();
            Some(AwaySource { silence, vigil: Vigil::UntilItAnswers })
        }
        Errand::Drain(_) => {
            let silence = "failing over: what the source's log still holds is applied".to_owned();
            Some(AwaySource { silence, vigil: Vigil::Never })
        }
    }
}

fn start_threads(
    setup: &ReplicationSetup,
    wiring: &Wiring,
    (opened, presence): (&OpenLog, &SourcePresence),
    [source, target]: [Arc<Client>; 2],
    past: &Arc<Mutex<LogPast>>,
) -> Result<Threads, SetupError> {
    let reader = spawn_reader(&setup.task, Arc::clone(&opened.log)).map_err(|error| passing(&error))?;
    let refused_rows = Some(&wiring.refused_rows).filter(|_| setup.spec.on_refused == OnRefused::SetAside);
    let pool = Pool::start(&setup.task, &target, &wiring.cancel, refused_rows).map_err(|error| passing(&error))?;
    let backfiller = Backfiller::spawn(&setup.task, &source, &target, &opened.log, &setup.folder, refused_rows)
        .map_err(|error| passing(&error))?;
    let asker = LogAsker::start(&setup.task, Arc::clone(&opened.log), Arc::clone(past), presence)
        .map_err(|error| passing(&error))?;
    let catalog = catalog::Setup {
        task: setup.task.clone(),
        source,
        target,
        scope: setup.spec.scope.clone(),
        mapping: setup.spec.mapping.clone(),
        ignore_partitions: setup.spec.target.given().ignore_partition,
        log: Arc::clone(&opened.log),
        log_marks: LogMarks::of(opened.kind),
        on_drop: setup.spec.on_drop,
        drops: Arc::clone(&wiring.drops),
        paused: Arc::clone(&wiring.paused),
        load: setup.spec.load,
        release_after: setup.release_after,
        noted_ends: setup.spec.noted_ends.clone(),
        data_dir: setup.data_dir.clone(),
        folder: setup.folder.clone(),
        history: Arc::clone(&setup.history),
        source_time: Arc::clone(wiring.board.source_time()),
        cancel: wiring.cancel.clone(),
    };
    let watcher = match presence {
        SourcePresence::Answers => catalog::spawn(catalog),
        SourcePresence::Away(away) => catalog::spawn_source_away(catalog, away.clone()),
    };
    let watcher = watcher.map_err(|error| hopeless(&error))?;
    Ok(Threads { reader, watcher, backfiller, pool, asker })
}

/// The task as the checkpoint has left it.
fn task_loop(
    setup: &ReplicationSetup,
    saved: &Checkpoint,
    (past, opened): (SourcePast, &OpenLog),
    source_time: &Arc<SourceTime>,
) -> TaskLoop {
    let kind = opened.kind;
    let mut effects = Effects::default();
    let requests = RequestsChannel::new(Channel::new(&setup.replicate_channel), kind);
    let channels = Channels::restore(&saved.channels, &mut effects);
    let surplus = if setup.spec.prune { SurplusRows::Remove } else { SurplusRows::Keep };
    let joins =
        Joins::new(given_starts(&setup.spec, kind), surplus).with_noted_ends(setup.spec.noted_ends.as_ref(), kind);
    let reconciliations = (kind == LogKind::Scan).then(|| Reconciliations::every(setup.scan_interval));
    let collections =
        Collections::restore(&saved.collections, &saved.truncated, joins, reconciliations).with_paused(&saved.paused);
    let health = Health::new(kind, opened.why.clone(), saved.skipped.clone(), &saved.unreplicated);
    let health = health.with_source_time(Arc::clone(source_time));
    let owners = Owners::new(requests, channels, collections, health, effects, Instant::now());
    TaskLoop::new(owners.following(past).sent_to(setup.mandate.errand))
}

/// Timeout of one call about who a server is.
const RECOGNISE_TIMEOUT: Duration = Duration::from_secs(10);

/// Nothing starts before the source is known to be the one that was followed so far, and the target not to be it.
fn recognise(
    setup: &ReplicationSetup,
    wiring: &Wiring,
    (opened, saved): (&OpenLog, &mut Checkpoint),
    (past, presence): (SourcePast, &SourcePresence),
    [source, target]: [&Arc<Client>; 2],
) -> Result<(), SetupError> {
    let context = CallContext { timeout: RECOGNISE_TIMEOUT, cancel: wiring.cancel.clone() };
    let (scope, folder) = (&setup.spec.scope, &setup.folder);
    if let SourcePresence::Answers = presence {
        // Before the new log is known as the source's: after a crash in between it is another one again.
        let note_new_log = || {
            saved.begin_in_another_log();
            checkpoint::save(folder, saved)
        };
        let recognised = catalog::recognise_source(source, &opened.log, scope, folder, past, &context, note_new_log);
        recognised.map_err(|error| match error {
            SourceRefused::Later(why) => SetupError::Passing(why),
            SourceRefused::Files(error) => hopeless(&error),
        })?;
    }
    let recognised = catalog::recognise_target(target, &setup.folder, &setup.history, &context);
    recognised.map_err(|error| match error {
        TargetRefused::Later(why) => SetupError::Passing(why),
        TargetRefused::Files(error) => hopeless(&error),
    })?;
    if let SourcePresence::Away(_) = presence {
        return Ok(());
    }
    let addresses = [&setup.source_address, setup.spec.target.address()];
    match is_source_itself([source, target], addresses, &context) {
        Ok(false) => Ok(()),
        Ok(true) => Err(SetupError::Hopeless(format!(
            "the target {} is the source {} itself: bring the right target back and resume the task, or delete it",
            target.address(),
            source.address()
        ))),
        Err(error) => Err(passing(&error)),
    }
}

/// What a new task starts with: what was asked for and cannot be done is counted from the beginning.
fn first_checkpoint(spec: &TaskSpec, kind: LogKind) -> Checkpoint {
    let mut checkpoint = Checkpoint { log: kind.name().into(), ..Checkpoint::default() };
    if spec.enable_user_role {
        log::warn!(
            "extra_info.enable_user_role: users, roles and privileges are not carried over (Milvus 2.3 does not log \
             them)"
        );
        checkpoint.skipped.insert("users and roles".into(), 1);
    }
    if spec.target.given().channel_num > 0 {
        log::warn!(
            "milvus_connect_param.channel_num has no meaning here: the target spreads its collections by itself"
        );
    }
    checkpoint
}

/// The positions of the request, by collection and physical channel. Positions of another kind of log are ignored.
fn given_starts(spec: &TaskSpec, kind: LogKind) -> BTreeMap<CollectionId, BTreeMap<Channel, Start>> {
    let mut given: BTreeMap<CollectionId, BTreeMap<Channel, Start>> = BTreeMap::new();
    for start in &spec.start_positions {
        match source::parse_message_id(kind, &start.message_id) {
            Some(position) => {
                let place = Start { position: Some(position), after: Timestamp(start.timestamp) };
                let channels = given.entry(CollectionId(start.collection_id)).or_default();
                channels.insert(Channel::new(&start.pchannel), place);
            }
            None => log::warn!("the position of {} is not one of this log: it is ignored", start.vchannel),
        }
    }
    given
}
