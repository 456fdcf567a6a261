//! Where a task's topics are.

use serde::{Deserialize, Serialize};

use crate::config::{PulsarConfig, PulsarService};
use crate::domain::Channel;

/// A namespace of a cluster, as a file stores it. Nothing in it is secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Namespace {
    service: String,
    tenant: String,
    namespace: String,
}

impl Namespace {
    /// The namespace that the configuration names.
    pub(super) fn of(config: &PulsarConfig) -> Namespace {
        let (service, tenant, namespace) =
            (config.service.to_string(), config.tenant.clone(), config.namespace.clone());
        Namespace { service, tenant, namespace }
    }

    /// Whether the configuration names it. One common address is enough: the brokers of a cluster know of each other.
    pub(super) fn is_named_by(&self, config: &PulsarConfig) -> bool {
        let known = PulsarService::parse(&self.service).map_or(Vec::new(), |service| service.addresses);
        let is_there = config.service.addresses.iter().any(|address| known.contains(address));
        is_there && self.tenant == config.tenant && self.namespace == config.namespace
    }

    /// The full name of a channel's topic.
    pub(super) fn topic(&self, channel: &Channel) -> String {
        format!("persistent://{}/{}/{channel}", self.tenant, self.namespace)
    }
}

impl std::fmt::Display for Namespace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}, {}/{}", self.service, self.tenant, self.namespace)
    }
}
