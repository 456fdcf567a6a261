//! Ends what a deleted task has left at the brokers.

use std::path::Path;

use super::cluster::Cluster;
use super::durable_subscriptions::{DurableSubscriptions, ExistingSubscriptions};
use crate::config::PulsarConfig;

/// Ends the subscriptions of a deleted task. `config`: the brokers, if they are still configured; `own`: the task's
/// folder.
///
/// # Errors
/// What is left, and what to do about it.
pub(in crate::source) fn forget(config: Option<&PulsarConfig>, own: &Path) -> Result<(), String> {
    let subscriptions = DurableSubscriptions::load(own).map_err(|error| error.to_string())?;
    match (subscriptions.out_of_reach(config), config) {
        (Some(left), _) => Err(left),
        (None, Some(config)) if subscriptions.existing() == ExistingSubscriptions::Some => {
            subscriptions.end(&Cluster::new(config, || {}))
        }
        _ => Ok(()),
    }
}
