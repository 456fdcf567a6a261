//! The owners of a task as a checkpoint has left them, without the threads of a real one.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::domain::{Channel, LogKind};
use crate::replication::backfill::SurplusRows;
use crate::replication::channels::Channels;
use crate::replication::checkpoint::Checkpoint;
use crate::replication::collections::Collections;
use crate::replication::effect::Effects;
use crate::replication::health::Health;
use crate::replication::joins::Joins;
use crate::replication::owners::Owners;
use crate::replication::reconciliations::Reconciliations;
use crate::replication::requests_channel::RequestsChannel;

/// `rounds`: those over a source without a log.
pub(in crate::replication) fn restored(
    saved: &Checkpoint,
    kind: LogKind,
    rounds: Option<Reconciliations>,
    now: Instant,
) -> Owners {
    let mut effects = Effects::default();
    let requests = RequestsChannel::new(Channel::new("requests"), kind);
    let channels = Channels::restore(&saved.channels, &mut effects);
    let joins = Joins::new(BTreeMap::new(), SurplusRows::Keep);
    let collections = Collections::restore(&saved.collections, &saved.truncated, joins, rounds);
    let collections = collections.with_paused(&saved.paused);
    let health = Health::new(kind, String::new(), saved.skipped.clone(), &saved.unreplicated);
    Owners::new(requests, channels, collections, health, effects, now)
}
