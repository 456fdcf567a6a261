/*!
Going on without the source: it does not answer, but its log outlives it, in a folder or at a broker.

Only what the log proves counts then. It must be the very log that was read so far, and hold what was read of it last;
what has a gap, or has gone back, is left alone until the source itself can say why.
*/

use std::collections::BTreeSet;
use std::fmt::Display;
use std::path::Path;

use super::checkpoint::{Checkpoint, CollectionCheckpoint};
use super::setup_error::{SetupError, hopeless, passing};
use crate::catalog::{SourceAway, SourcePast, Vigil, is_known_log};
use crate::domain::CollectionId;
use crate::source::OpenLog;
use crate::task::role::Epoch;

/// Whether the source takes part in a run.
#[derive(Debug, Clone)]
pub(super) enum SourcePresence {
    Answers,
    /// Its log alone is read.
    Away(SourceAway),
}

/// What a run without the source is about.
///
/// # Errors
/// The log cannot be told to be the one that was followed, or nothing of it can be applied: the source is waited for.
pub(super) fn go_on_without(
    silence: &dyn Display,
    vigil: Vigil,
    folder: &Path,
    opened: &OpenLog,
    saved: &Checkpoint,
    past: SourcePast,
) -> Result<SourcePresence, SetupError> {
    let is_known = is_known_log(&opened.log, folder).map_err(|error| hopeless(&error))?;
    let streaming = streaming(saved);
    match (objection(is_known, past, &streaming), vigil) {
        (None, _) => {}
        (Some(why), Vigil::UntilItAnswers) => {
            return Err(passing(&format!("{silence}; {why}, so the task waits for the source")));
        }
        (Some(why), Vigil::Never) => return Err(SetupError::Log(format!("{silence}; {why}"))),
    }
    let why = match vigil {
        Vigil::UntilItAnswers => format!(
            "the source does not answer, and what its log still holds is applied to the collections that are known: \
             {silence}"
        ),
        Vigil::Never => silence.to_string(),
    };
    Ok(SourcePresence::Away(SourceAway { why, streaming, vigil }))
}

/// A task's files are not taken up by a role before the one that has left them.
///
/// # Errors
/// The journal is older than the files: the target may have taken over since.
pub(super) fn check_epoch(saved: &Checkpoint, mandate: Epoch, folder: &Path) -> Result<(), SetupError> {
    if saved.epoch <= mandate.0 {
        return Ok(());
    }
    Err(SetupError::Hopeless(format!(
        "the task's files in {} are from a later role of it (epoch {}) than tasks.json has (epoch {}), which was \
         restored from a backup: the target may be the primary since, so nothing is applied; bring the right \
         tasks.json back, or delete the task",
        folder.display(),
        saved.epoch,
        mandate.0
    )))
}

/// Why the log is not read without the source.
fn objection(is_known_log: bool, past: SourcePast, streaming: &BTreeSet<CollectionId>) -> Option<&'static str> {
    if !is_known_log {
        Some("its log cannot be told to be the one that was followed")
    } else if past == SourcePast::RolledBack {
        Some("its log lacks what was read of it before")
    } else if streaming.is_empty() {
        Some("no collection of the task is read from its log")
    } else {
        None
    }
}

/// The collections whose rows come from the log.
fn streaming(saved: &Checkpoint) -> BTreeSet<CollectionId> {
    let is_streaming = |record: &CollectionCheckpoint| matches!(record, CollectionCheckpoint::Streaming { .. });
    saved.collections.iter().filter(|(_, record)| is_streaming(record)).map(|(id, _)| CollectionId(*id)).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::source::{Log, NoLog};

    #[test]
    fn only_the_known_log_with_all_that_was_read_of_it_is_read_without_the_source() {
        let (continues, some) = (SourcePast::Continues, BTreeSet::from([CollectionId(1)]));
        assert_eq!(objection(true, continues, &some), None);
        assert!(objection(false, continues, &some).is_some_and(|why| why.contains("cannot be told")));
        assert!(objection(true, SourcePast::RolledBack, &some).is_some_and(|why| why.contains("lacks what was read")));
        assert!(objection(true, continues, &BTreeSet::new()).is_some_and(|why| why.contains("no collection")));
    }

    #[test]
    fn a_log_that_tells_nothing_of_itself_is_no_known_one() {
        let (folder, log) = (tempfile::tempdir().unwrap(), Arc::new(NoLog) as Arc<dyn Log>);
        assert!(!is_known_log(&log, folder.path()).unwrap());
    }

    #[test]
    fn files_of_a_later_role_are_not_taken_up() {
        let check = |saved, mandate| {
            let saved = Checkpoint { epoch: saved, ..Checkpoint::default() };
            check_epoch(&saved, Epoch(mandate), Path::new("/data/tasks/t"))
        };
        assert!(check(0, 0).is_ok() && check(1, 2).is_ok() && check(2, 2).is_ok());
        let Err(SetupError::Hopeless(why)) = check(1, 0) else { panic!("it is taken up") };
        assert!(why.contains("/data/tasks/t") && why.contains("(epoch 1)") && why.contains("(epoch 0)"), "{why}");
    }

    #[test]
    fn what_is_copied_or_scanned_needs_the_source() {
        let backfill = CollectionCheckpoint::Backfill { prune: false, compare: false, begun: <_>::default() };
        let streaming_one =
            CollectionCheckpoint::Streaming { upsert_until: <_>::default(), complete_until: <_>::default() };
        let collections = [(1, backfill), (2, streaming_one), (3, CollectionCheckpoint::Rescan)].into();
        let saved = Checkpoint { collections, ..Checkpoint::default() };
        assert_eq!(streaming(&saved), BTreeSet::from([CollectionId(2)]));
    }
}
