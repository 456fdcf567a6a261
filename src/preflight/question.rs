//! The request of a check.

use std::time::Duration;

use crate::config::Config;
use crate::task::mapping::NameMapping;
use crate::task::scope::Scope;
use crate::task::spec::{TargetSpec, TaskSpec};

/// What is to be checked.
#[derive(Debug, Clone, Copy)]
pub struct PreflightRequest<'a> {
    /// The target; without one only the source and this host are checked.
    pub target: Option<&'a TargetSpec>,
    /// The collections.
    pub scope: &'a Scope,
    /// Their names on the target.
    pub mapping: &'a NameMapping,
    /// The pause of the task, or outage of its target, that should be survived.
    pub pause: Duration,
    /// What a switchover, a failover and a failback need is checked, too.
    pub recovery: Option<RecoveryQuestion<'a>>,
}

/// Which task is to be recovered by.
#[derive(Debug, Clone, Copy)]
pub struct RecoveryQuestion<'a> {
    /// The task.
    pub spec: &'a TaskSpec,
    /// The server's own configuration, with all sites.
    pub sites: &'a Config,
}

/// How far a check goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CheckExtent {
    /// What the task needs.
    #[default]
    Task,
    /// And what a switchover, a failover and a failback need.
    Recovery,
}
