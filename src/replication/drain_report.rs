//! What a failover comes to, out of how its drain has ended and what is on disk.

use std::collections::BTreeMap;
use std::path::Path;

use super::checkpoint::{self, Checkpoint, CollectionCheckpoint};
use super::drain::DrainOutcome;
use crate::catalog;
use crate::domain::{CollectionId, Timestamp};
use crate::storage::sealed_file::SealedError;
use crate::task::failover::{DrainedChannel, FailoverReport, IncompleteCollection};
use crate::task::role::{Epoch, Failover};

/// Marks the task's files as those of this epoch, and reports.
///
/// # Errors
/// The files cannot be read, or the checkpoint cannot be written: nothing is concluded.
pub(super) fn conclude(
    folder: &Path,
    epoch: Epoch,
    failover: &Failover,
    outcome: &DrainOutcome,
) -> Result<FailoverReport, SealedError> {
    let names = catalog::followed(folder)?;
    let saved = checkpoint::load(folder)?;
    if let Some(saved) = saved.as_ref().filter(|saved| saved.epoch != epoch.0) {
        checkpoint::save(folder, &Checkpoint { epoch: epoch.0, ..saved.clone() })?;
    }
    Ok(report(&saved.unwrap_or_default(), &names, failover, outcome))
}

fn report(
    saved: &Checkpoint,
    names: &BTreeMap<CollectionId, String>,
    failover: &Failover,
    outcome: &DrainOutcome,
) -> FailoverReport {
    let ms = |at: Timestamp| at.physical_ms();
    let acknowledged_ms = saved.oldest().map(ms).filter(|acknowledged| *acknowledged > 0);
    let read_ms = outcome.newest.map(ms);
    let channels = saved.channels.iter().map(|(channel, record)| DrainedChannel {
        channel: channel.clone(),
        acknowledged_ms: Timestamp(record.time_tick).physical_ms(),
    });
    FailoverReport {
        at_ms: Timestamp::now().physical_ms(),
        acknowledged_ms,
        read_ms,
        last_sign_ms: failover.last_sign_ms.max(read_ms).max(acknowledged_ms),
        log: outcome.log.clone(),
        incomplete: incomplete(saved, names, outcome),
        unknown_collections: outcome.unknown,
        channels: channels.collect(),
    }
}

/// The collections of which rows are missing, whatever the log held.
fn incomplete(
    saved: &Checkpoint,
    names: &BTreeMap<CollectionId, String>,
    outcome: &DrainOutcome,
) -> Vec<IncompleteCollection> {
    let known = saved.collections.keys().map(|id| CollectionId(*id));
    let ids: std::collections::BTreeSet<CollectionId> = names.keys().copied().chain(known).collect();
    let why = |id: &CollectionId| match saved.collections.get(&id.0) {
        _ if saved.paused.contains_key(&id.0) => Some("paused by a user"),
        None => Some("it had not been taken in yet"),
        Some(CollectionCheckpoint::Streaming { .. }) if outcome.leftover.contains(id) => {
            Some("rows of it were read and could not be applied")
        }
        Some(_) => checkpoint::beside_the_log(saved, *id),
    };
    let named = |id: CollectionId| names.get(&id).cloned().unwrap_or_else(|| format!("collection {id}"));
    let missing = |id: CollectionId| Some(IncompleteCollection { collection: named(id), why: why(&id)?.to_owned() });
    ids.into_iter().filter_map(missing).collect()
}

#[cfg(test)]
mod tests {
    use super::super::checkpoint::{ChannelRecord, PauseRecord};
    use super::*;
    use crate::task::failover::DrainedLog;
    use crate::task::role::Insistence;

    const FAILOVER: Failover = Failover { since_ms: 1, insistence: Insistence::Forced, last_sign_ms: Some(700) };

    fn at(ms: u64) -> u64 {
        Timestamp::at_ms(ms).0
    }

    fn saved() -> Checkpoint {
        let streaming = || CollectionCheckpoint::Streaming {
            upsert_until: [("a".to_owned(), None), ("b".to_owned(), None)].into(),
            complete_until: BTreeMap::new(),
        };
        let backfill = CollectionCheckpoint::Backfill { prune: false, compare: true, begun: BTreeMap::new() };
        let channel = |ms| ChannelRecord { time_tick: at(ms), ..ChannelRecord::default() };
        Checkpoint {
            channels: [("a".to_owned(), channel(500)), ("b".to_owned(), channel(400))].into(),
            collections: [(1, streaming()), (2, backfill), (3, streaming()), (4, streaming())].into(),
            paused: [(4, PauseRecord { source: "d.c4".into(), since: 1 })].into(),
            ..Checkpoint::default()
        }
    }

    fn names() -> BTreeMap<CollectionId, String> {
        [1, 2, 4, 5].map(|id| (CollectionId(id), format!("d.c{id}"))).into()
    }

    #[test]
    fn the_slowest_channel_bounds_what_is_certain_and_every_collection_that_lacks_rows_is_named() {
        let outcome = DrainOutcome { leftover: [CollectionId(3)].into(), ..DrainOutcome::default() };
        let report = report(&saved(), &names(), &FAILOVER, &outcome);
        assert_eq!((report.acknowledged_ms, report.last_sign_ms), (Some(400), Some(700)));
        let missing: Vec<&str> = report.incomplete.iter().map(|one| one.collection.as_str()).collect();
        assert_eq!(missing, ["d.c2", "collection 3", "d.c4", "d.c5"]);
    }

    #[test]
    fn the_newest_of_all_that_was_heard_is_the_last_sign_of_life() {
        let newest = |ms| DrainOutcome { newest: Some(Timestamp::at_ms(ms)), ..DrainOutcome::default() };
        let sign = |failover: &Failover, outcome| report(&saved(), &names(), failover, &outcome).last_sign_ms;
        let unheard = Failover { last_sign_ms: None, ..FAILOVER };
        assert_eq!(sign(&FAILOVER, newest(900)), Some(900));
        assert_eq!(sign(&FAILOVER, newest(600)), Some(700));
        assert_eq!(sign(&unheard, DrainOutcome::default()), Some(400));
    }

    #[test]
    fn the_files_bear_the_epoch_before_anything_is_concluded() {
        let folder = tempfile::tempdir().unwrap();
        let log = DrainedLog::InPart("gone".into());
        let outcome = DrainOutcome { log: log.clone(), ..DrainOutcome::default() };
        let nothing = conclude(folder.path(), Epoch(3), &FAILOVER, &outcome).unwrap();
        assert_eq!((nothing.acknowledged_ms, nothing.log), (None, log), "a task that has never followed anything");
        checkpoint::save(folder.path(), &saved()).unwrap();
        conclude(folder.path(), Epoch(3), &FAILOVER, &outcome).unwrap();
        let on_disk = checkpoint::load(folder.path()).unwrap().unwrap();
        assert_eq!(on_disk, Checkpoint { epoch: 3, ..saved() });
    }
}
