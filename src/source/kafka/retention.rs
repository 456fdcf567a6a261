//! How long topics keep their messages, as their brokers say.

use std::collections::BTreeSet;
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, ConfigResource, ResourceSpecifier};
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::error::KafkaError;

use super::client::{Events, settings};
use crate::config::KafkaConfig;
use crate::domain::Channel;
use crate::source::Keeps;

/// The setting of a topic, in milliseconds; -1 is for ever.
const SETTING: &str = "retention.ms";
const PATIENCE: Duration = Duration::from_secs(5);

/// What the topic that keeps its messages for the shortest time says.
///
/// # Errors
/// The brokers do not say: not there, or not to us.
pub(super) fn retention(config: &KafkaConfig, channels: &BTreeSet<Channel>) -> Result<Keeps, KafkaError> {
    let client = AdminClient::from_config_and_context(&settings(config), Events::default())?;
    let topics: Vec<ResourceSpecifier<'_>> =
        channels.iter().map(|channel| ResourceSpecifier::Topic(channel.as_str())).collect();
    let options = AdminOptions::new().request_timeout(Some(PATIENCE)).operation_timeout(Some(PATIENCE));
    let told = futures_executor::block_on(client.describe_configs(&topics, &options))?;
    let mut shortest = None;
    for resource in told {
        let keeps = keeps(&resource.map_err(KafkaError::AdminOp)?);
        shortest = shortest.map(|known| shorter(known, keeps)).or(Some(keeps));
    }
    Ok(shortest.unwrap_or(Keeps::Unknown))
}

fn keeps(topic: &ConfigResource) -> Keeps {
    let entry = topic.entries.iter().find(|entry| entry.name == SETTING);
    match entry.and_then(|entry| entry.value.as_deref()?.parse::<i64>().ok()) {
        None => Keeps::Unknown,
        Some(ms) => u64::try_from(ms).map_or(Keeps::ForEver, |ms| Keeps::For(Duration::from_millis(ms))),
    }
}

fn shorter(a: Keeps, b: Keeps) -> Keeps {
    match (a, b) {
        (Keeps::For(a), Keeps::For(b)) => Keeps::For(a.min(b)),
        (Keeps::For(time), _) | (_, Keeps::For(time)) => Keeps::For(time),
        (Keeps::Unknown, _) | (_, Keeps::Unknown) => Keeps::Unknown,
        (a, _) => a,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shortest_counts() {
        let hours = |hours: u64| Keeps::For(Duration::from_secs(3600 * hours));
        assert_eq!(shorter(hours(2), hours(1)), hours(1));
        assert_eq!(shorter(Keeps::ForEver, hours(1)), hours(1));
        assert_eq!(shorter(Keeps::ForEver, Keeps::Unknown), Keeps::Unknown);
        assert_eq!(shorter(Keeps::ForEver, Keeps::ForEver), Keeps::ForEver);
    }
}
