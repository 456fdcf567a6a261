//! The request of a check.

use std::time::Duration;

use crate::task::mapping::NameMapping;
use crate::task::scope::Scope;
use crate::task::spec::TargetSpec;

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
}
