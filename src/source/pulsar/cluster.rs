//! A task's topics at the brokers: a client of the cluster, and the namespace that the topics are in.

use super::client::{PulsarClient, PulsarConsumer, PulsarError, PulsarSettings, Subscription};
use super::namespace::Namespace;
use crate::config::PulsarConfig;
use crate::domain::Channel;

/// Subscribes to channels' topics.
pub(super) struct Cluster {
    client: PulsarClient,
    namespace: Namespace,
}

impl Cluster {
    /// Connects when there is something to do; see [`PulsarClient::new`].
    pub(super) fn new(config: &PulsarConfig, notify: impl Fn() + Send + Sync + 'static) -> Cluster {
        let settings = PulsarSettings {
            service: config.service.clone(),
            token: config.token.clone(),
            tls: config.tls.clone(),
            max_message_size: config.max_message_size,
        };
        Cluster { client: PulsarClient::new(settings, notify), namespace: Namespace::of(config) }
    }

    pub(super) fn client(&self) -> &PulsarClient {
        &self.client
    }

    pub(super) fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// The full name of a channel's topic.
    pub(super) fn topic(&self, channel: &Channel) -> String {
        self.namespace.topic(channel)
    }

    /// Subscribes to a channel's topic; see [`PulsarClient::subscribe`].
    pub(super) fn subscribe(&self, channel: &Channel, wanted: Subscription<'_>) -> Result<PulsarConsumer, PulsarError> {
        self.client.subscribe(self.topic(channel), wanted)
    }
}
