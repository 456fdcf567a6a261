//! The configuration of a task whose brokers are fake.

use super::client::fake::Fake;
use crate::config::{PulsarConfig, SubscriptionMode};

/// The configuration for reading from this broker.
pub(super) fn config(fake: &Fake) -> PulsarConfig {
    let settings = fake.settings();
    PulsarConfig {
        service: settings.service,
        web: None,
        max_message_size: settings.max_message_size,
        tenant: "public".into(),
        namespace: "default".into(),
        token: settings.token,
        tls: settings.tls,
        subscription: SubscriptionMode::Auto,
    }
}
