/*!
The engine that runs tasks against real servers.
*/

use std::sync::Arc;

use crossbeam_channel::Sender;

use super::engine::{ChannelPosition, Engine, EngineError, TaskEvent, TaskHandle};
use super::spec::{TargetSpec, TaskId, TaskSpec};
use crate::config::Config;

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

    fn refusal(&self) -> EngineError {
        EngineError::Connect(format!(
            "following {} is not built in",
            self.config.source.endpoint.address
        ))
    }
}

impl Engine for Runner {
    fn check_target(&self, _target: &TargetSpec) -> Result<(), EngineError> {
        Err(self.refusal())
    }

    fn start(
        &self,
        _id: &TaskId,
        _spec: &TaskSpec,
        _events: Sender<TaskEvent>,
    ) -> Result<Box<dyn TaskHandle>, EngineError> {
        Err(self.refusal())
    }

    fn forget(&self, _id: &TaskId) -> Result<(), EngineError> {
        Ok(())
    }

    fn stored_positions(&self, _id: &TaskId) -> Vec<ChannelPosition> {
        Vec::new()
    }
}
