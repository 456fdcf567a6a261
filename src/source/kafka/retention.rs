//! Retention of topics, as their brokers report it.

use std::collections::BTreeSet;
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, ConfigResource, ResourceSpecifier};
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::error::KafkaError;

use super::client::{KafkaEvents, settings};
use crate::config::KafkaConfig;
use crate::domain::Channel;
use crate::source::log::LogRetention;

/// The setting of a topic, in milliseconds; -1: for ever.
const SETTING: &str = "retention.ms";
const PATIENCE: Duration = Duration::from_secs(5);

/// The shortest retention of these topics.
///
/// # Errors
/// The brokers are out of reach, or do not let us describe their settings.
pub(super) fn retention(config: &KafkaConfig, channels: &BTreeSet<Channel>) -> Result<LogRetention, KafkaError> {
    let client = AdminClient::from_config_and_context(&settings(config), KafkaEvents::default())?;
    let topics: Vec<ResourceSpecifier<'_>> =
        channels.iter().map(|channel| ResourceSpecifier::Topic(channel.as_str())).collect();
    let options = AdminOptions::new().request_timeout(Some(PATIENCE)).operation_timeout(Some(PATIENCE));
    let answers = futures_executor::block_on(client.describe_configs(&topics, &options))?;
    let mut shortest = None;
    for resource in answers {
        let retention = retention_of(&resource.map_err(KafkaError::AdminOp)?);
        shortest = shortest.map(|known| shorter(known, retention)).or(Some(retention));
    }
    Ok(shortest.unwrap_or(LogRetention::Unknown))
}

fn retention_of(topic: &ConfigResource) -> LogRetention {
    let entry = topic.entries.iter().find(|entry| entry.name == SETTING);
    match entry.and_then(|entry| entry.value.as_deref()?.parse::<i64>().ok()) {
        None => LogRetention::Unknown,
        Some(ms) => u64::try_from(ms).map_or(LogRetention::ForEver, |ms| LogRetention::For(Duration::from_millis(ms))),
    }
}

fn shorter(a: LogRetention, b: LogRetention) -> LogRetention {
    match (a, b) {
        (LogRetention::For(a), LogRetention::For(b)) => LogRetention::For(a.min(b)),
        (LogRetention::For(time), _) | (_, LogRetention::For(time)) => LogRetention::For(time),
        (LogRetention::Unknown, _) | (_, LogRetention::Unknown) => LogRetention::Unknown,
        (a, _) => a,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shortest_counts() {
        let hours = |hours: u64| LogRetention::For(Duration::from_secs(3600 * hours));
        assert_eq!(shorter(hours(2), hours(1)), hours(1));
        assert_eq!(shorter(LogRetention::ForEver, hours(1)), hours(1));
        assert_eq!(shorter(LogRetention::ForEver, LogRetention::Unknown), LogRetention::Unknown);
        assert_eq!(shorter(LogRetention::ForEver, LogRetention::ForEver), LogRetention::ForEver);
    }
}
