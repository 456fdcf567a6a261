//! The part of the configuration that describes the source's log.

use super::open::LogSettings;
use crate::config::SourceConfig;

/// The settings of a source's log.
pub(crate) fn log_settings(source: &SourceConfig) -> LogSettings {
    LogSettings {
        wanted: source.log,
        rocksmq: source.rocksmq_path.clone(),
        kafka: source.kafka.clone(),
        pulsar: source.pulsar.clone(),
    }
}
