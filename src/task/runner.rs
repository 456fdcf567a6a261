/*!
The engine that runs tasks against real servers.
*/

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;

use super::detail::TaskDetail;
use super::engine::{ChannelPosition, Engine, EngineError, TaskEvent, TaskHandle, TaskStatus};
use super::folder;
use super::follow::{FollowSetup, Following, follow, load_checkpoint};
use super::history::History;
use super::same_server::{are_told_apart, is_same_server, meet};
use super::spec::{TargetSpec, TaskId, TaskSpec};
use super::verify::{VerifyRefused, VerifyRequest, VerifyView};
use crate::check::{self, Question, Report};
use crate::config::{self, Config};
use crate::domain::LogKind;
use crate::milvus::{CallContext, Cancel, Client, Endpoint, Tls};
use crate::source::{self, LogSettings};

/// The file of a task's events, in its folder.
const EVENTS: &str = "events.jsonl";

/// Runs tasks between the configured source and their targets.
#[derive(Debug)]
pub struct Runner {
    config: Arc<Config>,
}

impl Runner {
    /// An engine for this configuration's source.
    pub fn new(config: Arc<Config>) -> Self {
        Runner { config }
    }

    /// The folder of what a task keeps.
    fn folder(&self, id: &TaskId) -> PathBuf {
        folder::of(&self.config.data_dir, id)
    }
}

impl Engine for Runner {
    fn check_target(&self, target: &TargetSpec) -> Result<(), EngineError> {
        let cancel = Cancel::default();
        let context = CallContext { timeout: target.endpoint().connect_timeout, cancel };
        let connect = |error: crate::milvus::Error| EngineError::Connect(error.to_string());
        let client = Client::open(&endpoint(target.endpoint())).map_err(connect)?;
        client.connect(&context.cancel).map_err(connect)?;
        if client.lacks_time_ticks(&context).map_err(connect)? {
            return Err(EngineError::Invalid(format!(
                "the target {} runs with common.ttMsgEnabled false, as the Go milvus-cdc wants it: rows written to it with \
                 ordinary calls never become visible; set it to true (the default)",
                client.address()
            )));
        }
        // The source may be away at the moment; the task will wait for it, and then there is nothing to compare.
        let Ok(source) = Client::open(&endpoint(&self.config.source.endpoint)) else { return Ok(()) };
        let addresses = [&self.config.source.endpoint.address, &target.endpoint().address];
        if source.connect(&context.cancel).is_ok() && is_same_server([&source, &client], addresses, &context) {
            return Err(EngineError::Invalid(format!(
                "the target {} is the source {} itself",
                client.address(),
                source.address()
            )));
        }
        Ok(())
    }

    fn is_same_target(&self, targets: [&TargetSpec; 2]) -> bool {
        if !meet(targets.map(TargetSpec::address)) {
            return false;
        }
        let connect = |target: &TargetSpec| {
            let client = Client::open(&endpoint(target.endpoint())).ok()?;
            client.connect(&Cancel::default()).ok().map(|_| client)
        };
        let [Some(one), Some(other)] = targets.map(connect) else { return true };
        let timeout = targets[0].endpoint().connect_timeout;
        !are_told_apart([&one, &other], &CallContext { timeout, cancel: Cancel::default() })
    }

    fn check(&self, spec: &TaskSpec, pause: Duration) -> Report {
        let question = Question { target: Some(&spec.target), scope: &spec.scope, mapping: &spec.mapping, pause };
        check::check(&self.config, question)
    }

    fn start(
        &self,
        id: &TaskId,
        spec: &TaskSpec,
        events: Sender<TaskEvent>,
        history: Arc<History>,
    ) -> Result<Box<dyn TaskHandle>, EngineError> {
        let log = log_settings(&self.config);
        log.candidates().map_err(|error| EngineError::State(error.to_string()))?;
        let setup = FollowSetup {
            task: id.as_str().into(),
            spec: spec.clone(),
            source: endpoint(&self.config.source.endpoint),
            target: endpoint(spec.target.endpoint()),
            log,
            scan_interval: self.config.source.scan_interval,
            replicate_channel: self.config.source.replicate_channel.clone(),
            folder: self.folder(id),
            history,
        };
        let stopped = id.clone();
        let on_failure = move |reason| {
            // A manager that has gone needs to know nothing any more.
            let _ = events.send(TaskEvent::Stopped { id: stopped, reason });
        };
        let following = follow(setup, on_failure).map_err(|error| EngineError::State(error.to_string()))?;
        Ok(Box::new(following))
    }

    fn forget(&self, id: &TaskId) -> Result<(), EngineError> {
        let folder = self.folder(id);
        if let Err(left) = source::forget(&log_settings(&self.config), &folder) {
            log::error!(task:% = id; "{left}");
        }
        folder::remove(&folder).map_err(|error| EngineError::State(format!("{}: {error}", folder.display())))
    }

    fn keep(&self, id: &TaskId, history: &History) {
        let folder = self.folder(id);
        match std::fs::create_dir_all(&folder) {
            Ok(()) => history.keep_in(&folder.join(EVENTS)),
            Err(error) => log::warn!(task:% = id; "events are not kept: {}: {error}", folder.display()),
        }
    }

    fn stored_positions(&self, id: &TaskId) -> Vec<ChannelPosition> {
        let Ok(Some(checkpoint)) = load_checkpoint(&self.folder(id)) else { return Vec::new() };
        let Some(kind) = LogKind::named(&checkpoint.log) else { return Vec::new() };
        let shown = |(channel, record): (&String, &super::follow::ChannelRecord)| {
            Some(ChannelPosition {
                channel: channel.clone(),
                message_id: kind.message_id(record.position?.into()),
                time_tick: record.time_tick,
            })
        };
        checkpoint.channels.iter().filter_map(shown).collect()
    }
}

impl TaskHandle for Following {
    fn status(&self) -> TaskStatus {
        Following::status(self)
    }

    fn detail(&self) -> TaskDetail {
        Following::detail(self)
    }

    fn positions(&self) -> Vec<ChannelPosition> {
        Following::positions(self)
    }

    fn verify(&self, request: VerifyRequest) -> Result<(), VerifyRefused> {
        Following::verify(self, request)
    }

    fn verification(&self) -> Option<VerifyView> {
        Following::verification(self)
    }

    fn cancel_verification(&self) {
        Following::cancel_verification(self);
    }

    fn stop(&self, deadline: Instant) {
        Following::stop(self, deadline);
    }
}

/// What the configuration says about the source's log.
pub(crate) fn log_settings(config: &Config) -> LogSettings {
    let source = &config.source;
    LogSettings {
        wanted: source.log,
        rocksmq: source.rocksmq_path.clone(),
        kafka: source.kafka.clone(),
        pulsar: source.pulsar.clone(),
    }
}

pub(crate) fn endpoint(endpoint: &config::Endpoint) -> Endpoint {
    let tls = match &endpoint.tls {
        config::Tls::Off => None,
        config::Tls::System { server_name } => Some(Tls { server_name: server_name.clone(), ..Tls::default() }),
        config::Tls::Server { ca, server_name } => {
            Some(Tls { roots: Some(ca.clone()), identity: None, server_name: server_name.clone() })
        }
        config::Tls::Mutual { ca, client, key, server_name } => Some(Tls {
            roots: Some(ca.clone()),
            identity: Some((client.clone(), key.clone())),
            server_name: server_name.clone(),
        }),
    };
    Endpoint {
        address: endpoint.address.to_string(),
        token: endpoint.token.expose().to_owned(),
        tls,
        connect_timeout: endpoint.connect_timeout,
    }
}
